//! The body of the fuzz target for code that is moved, and for conditions that are made into code.

use outpost_base::{Arch, Va};
use outpost_target::condition::Condition;
use outpost_target::{BreakpointId, Fixup, LogArgument, LogPlan};

use super::{JumpPlan, make_jump, make_pad};

/// Any bytes as code of a site, after a condition of the length that the first two bytes say, which begins there if it is
/// one. What is made of them can be placed, whatever they are.
pub fn fuzz_pads(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (condition, code) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    // Addresses at both ends of what a process has.
    for site in [Va(0x1000), Va(0x7fff_ffff_e000)] {
        if let Ok(pad) = make_pad(Arch::X86_64, site, code) {
            assert!(pad.bytes.len() <= 64 && code.starts_with(&pad.expected), "{pad:x?}");
            assert_fields(&pad.bytes, &pad.fixups);
        }
        let Ok(condition) = Condition::verify(condition.to_vec()) else { continue };
        // The same code as a condition and as what is written down, of a text and a number.
        let argument = |text| LogArgument { value: condition.clone(), text };
        let log = LogPlan { arguments: vec![argument(0), argument(100)] };
        let log = code.first().is_some_and(|byte| byte & 1 == 1).then_some((BreakpointId(7), &log));
        let is_set = |bit: u8| code.last().is_some_and(|byte| byte >> bit & 1 == 1);
        let plan = JumpPlan { one_thread: is_set(0), passes: is_set(1), log, ..JumpPlan::from(&condition) };
        if let Ok(jump) = make_jump(Arch::X86_64, site, code, plan) {
            assert!(jump.is_sound() && code.starts_with(&jump.expected), "{jump:x?}");
            assert_fields(&jump.bytes, &jump.fixups);
        }
    }
}

/// Fields that are filled in are empty, within the code, and apart from each other.
fn assert_fields(code: &[u8], fixups: &[Fixup]) {
    let mut end = 0;
    for fixup in fixups {
        let start = usize::from(fixup.offset);
        let len = fixup.kind.size();
        assert!(start >= end && code[start..start + len].iter().all(|byte| *byte == 0), "{fixup:?} in {code:x?}");
        end = start + len;
    }
}

#[cfg(test)]
mod tests {
    use outpost_target::condition::{Assembler, Op};
    use proptest::prelude::*;

    use super::*;

    /// A call, a branch before an operand relative to rip, and an indirect call through the stack.
    const CODE: [&[u8]; 3] =
        [&[0xe8, 0, 1, 0, 0], &[0x74, 0x10, 0x8b, 0x05, 0x10, 0, 0, 0, 0x55], &[0xff, 0x54, 0x24, 0x08, 0xe3, 0x10]];

    /// `dword [rdi] == 5` before each of [`CODE`].
    fn seeds() -> Vec<Vec<u8>> {
        let mut condition = Assembler::default();
        condition.register(Arch::X86_64.register_by_name("rdi").unwrap());
        condition.load(4, true);
        condition.constant(5);
        condition.op(Op::Equal);
        let condition = condition.finish().unwrap();
        let seed = |code: &[u8]| {
            assert!(make_jump(Arch::X86_64, Va(0x1000), code, (&condition).into()).is_ok(), "{code:x?}");
            [&(condition.code().len() as u16).to_le_bytes(), condition.code(), code].concat()
        };
        CODE.map(seed).to_vec()
    }

    #[test]
    fn seeds_and_changed_ones_are_taken() {
        for seed in seeds() {
            fuzz_pads(&seed);
            for (at, bit) in (0..seed.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut changed = seed.clone();
                changed[at] ^= 1 << bit;
                fuzz_pads(&changed);
            }
        }
    }

    proptest! {
        #[test]
        fn any_code_is_taken(seed in 0..CODE.len(), code: Vec<u8>) {
            let kept = seeds()[seed].len() - CODE[seed].len();
            fuzz_pads(&[&seeds()[seed][..kept], &code].concat());
        }
    }
}
