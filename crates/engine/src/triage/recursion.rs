//! What uses up a stack: the cycle of a recursion, one large frame.

use outpost_base::{Va, VaRange};
use outpost_target::Region;

use super::Recursion;
use super::blame::{function_words, is_runtime_function};
use crate::stack::PhysicalStack;
use crate::{StackFrame, ThreadStack};

/// Longest cycle that is looked for, in frames.
const LONGEST: usize = 64;
/// Times that a cycle must be seen.
const ROUNDS: usize = 3;

/// The cycle that a stack's innermost frames go through, whose memory is `stack`.
pub(super) fn cycle_of(frames: &ThreadStack, stack: VaRange) -> Option<Recursion> {
    let physical: Vec<&StackFrame> = frames.frames.iter().filter(|frame| frame.is_physical()).collect();
    // Without symbols, the places that a recursion comes by are the same in each round.
    let key = |frame: &&StackFrame| match frame.module.as_str() {
        "" => (String::new(), frame.function.clone()),
        module => (module.to_owned(), function_words(frame)),
    };
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
    // Where in the cycle the stack ended is chance.
    let least = (0..cycle.len()).min_by_key(|at| &cycle[*at]).unwrap_or(0);
    cycle.rotate_left(least);
    Some(Recursion { cycle, bytes_per_round: bytes, rounds: stack.len() / bytes })
}

/// A frame that reaches beyond its stack.
pub(super) struct OversizedFrame {
    /// Its place among the physical frames.
    pub(super) frame: usize,
    /// The stack as far as it is mapped.
    pub(super) stack: VaRange,
    /// Bytes of it.
    pub(super) size: u64,
}

/// The frame by which the stack pointer left the stack, if that is why `at` could not be accessed by frame `first`: large
/// arrays and `alloca` move it further than a stack may grow.
pub(super) fn oversized_frame(
    physical: &PhysicalStack,
    first: usize,
    at: Va,
    regions: &[Region],
) -> Option<OversizedFrame> {
    /// How far below the stack pointer code accesses: the red zone, pushes, probes.
    const BELOW: u64 = 0x10000;
    /// Smaller frames are no news where a stack ends.
    const LARGE: u64 = 0x10000;
    let stack_of = |sp: Va| regions.iter().find(|region| region.read && region.write && region.range.contains(sp));
    let sp = |frame: usize| physical.frames.get(frame).map(|frame| frame.registers.sp());
    let innermost = sp(first)?;
    let frame = (first..physical.frames.len()).take(4).find(|frame| {
        sp(*frame).is_some_and(|sp| stack_of(sp).is_none()) && sp(frame + 1).is_some_and(|sp| stack_of(sp).is_some())
    })?;
    let (own, callers) = (sp(frame)?, sp(frame + 1)?);
    let stack = stack_of(callers)?.range;
    let size = callers.0.checked_sub(own.0).filter(|size| *size >= LARGE)?;
    (at.0 >= innermost.0.saturating_sub(BELOW) && at < stack.start).then_some(OversizedFrame { frame, stack, size })
}
