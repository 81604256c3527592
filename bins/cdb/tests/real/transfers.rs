//! Where calls and jumps lead, by their instructions: what a debugger says of tail calls can be checked by it.

use outpost_base::{MemoryReader, Va};
use outpost_engine::{FrameKind, StackFrame};

/// Whether the instructions of a function that is said to have ended by a tail call, whose rows are `ours[rows]`, and of the
/// function outside it, lead to where they are said to.
pub(crate) fn is_seen(memory: &mut dyn MemoryReader, ours: &[StackFrame], rows: std::ops::Range<usize>) -> bool {
    let has_function = |frame: &&StackFrame| frame.kind != FrameKind::Inline;
    let inner = ours[..rows.start].iter().rev().find(has_function);
    let outer = ours[rows.end..].iter().find(has_function);
    let (Some(inner), Some(outer), Some(own)) = (inner, outer, ours[rows].last()) else { return false };
    let start = |frame: &StackFrame| frame.instruction - frame.displacement;
    leads_to(memory, own.instruction, start(inner)) && leads_to(memory, outer.instruction, start(own))
}

/// Whether the instruction before `at`, or there, may be a call or a jump to `target` (Intel SDM, volume 2: CALL, JMP, Jcc).
fn leads_to(memory: &mut dyn MemoryReader, at: Va, target: Va) -> bool {
    const LONGEST: u64 = 6;
    (0..=LONGEST).map(|back| at.0 - back).any(|start| {
        let Some((length, to)) = transfer(memory, Va(start)) else { return false };
        (start == at.0 || start + length == at.0) && (to == target || stub(memory, to) == Some(target))
    })
}

/// Length and target of the call or jump at `at`.
fn transfer(memory: &mut dyn MemoryReader, at: Va) -> Option<(u64, Va)> {
    let mut bytes = [0; 6];
    memory.read_exact(at, &mut bytes)?;
    let far = |from: usize| i64::from(i32::from_le_bytes(bytes[from..from + 4].try_into().unwrap_or_default()));
    let (length, distance) = match bytes {
        [0xe8 | 0xe9, ..] => (5, far(1)),
        [0x0f, 0x80..=0x8f, ..] => (6, far(2)),
        [0xeb | 0x70..=0x7f, near, ..] => (2, i64::from(near as i8)),
        [0xff, 0x15 | 0x25, ..] => {
            let slot = Va(at.0.wrapping_add(6).wrapping_add_signed(far(2)));
            return Some((6, Va(memory.read_u64(slot)?)));
        }
        _ => return None,
    };
    Some((length, Va(at.0.wrapping_add(length).wrapping_add_signed(distance))))
}

/// Where an entry of a procedure linkage table leads.
fn stub(memory: &mut dyn MemoryReader, at: Va) -> Option<Va> {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let mut first = [0; 5];
    memory.read_exact(at, &mut first)?;
    let mut jump = at;
    if first[..4] == ENDBR64 {
        jump += 4;
        memory.read_exact(jump, &mut first)?;
    }
    // A prefix that says that the target need be no marked one.
    if first[0] == 0xf2 {
        jump += 1;
    }
    transfer(memory, jump).map(|(_, to)| to)
}
