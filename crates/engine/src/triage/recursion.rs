//! The cycle of a recursion.

use outpost_base::VaRange;

use super::Recursion;
use super::blame::is_runtime_function;
use crate::{StackFrame, ThreadStack};

/// Longest cycle that is looked for, in frames.
const LONGEST: usize = 64;
/// Times that a cycle must be seen.
const ROUNDS: usize = 3;

/// The cycle that a stack's innermost frames go through, whose memory is `stack`.
pub(super) fn cycle_of(frames: &ThreadStack, stack: VaRange) -> Option<Recursion> {
    let physical: Vec<&StackFrame> = frames.frames.iter().filter(|frame| !frame.is_inline()).collect();
    let key = |frame: &&StackFrame| (frame.module.clone(), frame.function.clone());
    let names: Vec<_> = physical.iter().map(key).collect();
    // The innermost frames may be a call out of the recursion (`malloc`, a constructor).
    let (start, length) = (0..names.len().min(LONGEST)).find_map(|start| {
        let rest = &names[start..];
        let fits = |length: &usize| {
            rest.len() >= length * ROUNDS
                && (*length..length * ROUNDS).all(|at| rest[at] == rest[at - length] && !rest[at].1.is_empty())
        };
        (1..=LONGEST).find(fits).map(|length| (start, length))
    })?;
    let first = physical.get(start)?;
    let next = physical.get(start + length)?;
    let bytes = next.sp.0.checked_sub(first.sp.0).filter(|bytes| *bytes != 0)?;
    let mut cycle: Vec<String> = names[start..start + length].iter().map(|(_, name)| name.clone()).collect();
    let own: Vec<String> = cycle.iter().filter(|name| !is_runtime_function(name)).cloned().collect();
    if !own.is_empty() {
        cycle = own;
    }
    Some(Recursion { cycle, bytes_per_round: bytes, rounds: stack.len() / bytes })
}
