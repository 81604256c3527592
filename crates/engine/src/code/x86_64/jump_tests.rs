use std::process::Command;

use iced_x86::{Decoder, DecoderOptions};
use outpost_base::{RegisterContext, RegisterValue, SliceMemory};
use outpost_target::condition::Assembler;
use outpost_testkit::Build;
use proptest::prelude::*;

use super::super::tests::place;
use super::*;

/// As in `fixtures/jump_harness.c`.
const BASE: u64 = 0x1000_0000_0000;
const STACK: u64 = 0x2345_6789_0000;
const PAGE: u64 = 4096;
/// The registers in the harness' order.
const ORDER: [&str; 16] =
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
/// What conditions may name; not rsp, through which they could read what the harness has left on the stack.
const READABLE: [&str; 23] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
    "eax", "al", "ah", "cx", "dl", "r9d", "sil",
];
/// `nop dword ptr [rax + rax]`, 5 bytes.
const NOP: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];
/// Ends a case in the harness.
const END: u8 = 0xcc;

/// A condition and what it is looked at with.
#[derive(Debug, Clone)]
struct Case {
    condition: Condition,
    registers: Vec<u64>,
    flags: u64,
}

fn data_byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
}

impl Case {
    fn build((steps, registers, flags, near_edge): (Vec<(u8, u64)>, Vec<u64>, u64, bool)) -> Case {
        let mut code = Assembler::default();
        let mut depth = 0;
        for (kind, value) in steps {
            let binary = [
                Op::Add,
                Op::Subtract,
                Op::Multiply,
                Op::DivideUnsigned,
                Op::DivideSigned,
                Op::RemainderUnsigned,
                Op::RemainderSigned,
                Op::And,
                Op::Or,
                Op::Xor,
                Op::ShiftLeft,
                Op::ShiftRight,
                Op::ShiftRightSigned,
                Op::Equal,
                Op::LessUnsigned,
                Op::LessSigned,
                Op::LessEqualUnsigned,
                Op::LessEqualSigned,
            ];
            match kind {
                0..=7 if depth >= 2 => {
                    code.op(binary[value as usize % binary.len()]);
                    depth -= 1;
                }
                8 if depth >= 2 => code.op(Op::Swap),
                9 if depth >= 1 => code.load([1, 2, 4, 8][value as usize % 4], value & 8 != 0),
                10 if depth >= 1 => code.resize([1, 2, 4][value as usize % 3], value & 8 != 0),
                11 if depth >= 1 => code.op([Op::Complement, Op::Negate, Op::IsZero][value as usize % 3]),
                12 if depth >= 1 => {
                    let otherwise = code.skip(Op::SkipIfZero);
                    code.constant(value);
                    let end = code.skip(Op::Skip);
                    code.land(otherwise);
                    code.constant(!value);
                    code.land(end);
                }
                13 if (1..20).contains(&depth) => {
                    code.op(Op::Duplicate);
                    depth += 1;
                }
                14 if depth >= 2 => {
                    code.op(Op::Drop);
                    depth -= 1;
                }
                15..=19 if depth < 20 => {
                    code.constant(value);
                    depth += 1;
                }
                20.. if depth < 20 => {
                    let name = READABLE[value as usize % READABLE.len()];
                    code.register(Arch::X86_64.register_by_name(name).unwrap());
                    depth += 1;
                }
                _ => {}
            }
        }
        if depth == 0 {
            code.constant(0);
            depth = 1;
        }
        (1..depth).for_each(|_| code.op(Op::Xor));
        let mut registers = registers;
        // On the edge the frame's first store faults; 128 bytes more would not be there either.
        registers[7] = STACK + if near_edge { 128 } else { 0x8000 };
        Case { condition: code.finish().unwrap(), registers, flags }
    }

    fn expected(&self, site: u64, image: &[u8]) -> bool {
        let mut context = RegisterContext::new(Arch::X86_64);
        for (name, value) in ORDER.iter().zip(&self.registers) {
            let id = Arch::X86_64.register_by_name(name).unwrap();
            context.set(id, RegisterValue::from_u64(*value, 64));
        }
        context.set(Arch::X86_64.pc(), RegisterValue::from_u64(site, 64));
        self.condition.evaluate(&context, &mut SliceMemory { start: Va(BASE), bytes: image }) != Ok(0)
    }
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0..PAGE + 4).prop_map(|offset| BASE + offset),
        any::<u64>(),
        0..70_u64,
        Just(u64::MAX),
        Just(i64::MIN as u64),
        Just(0)
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let steps = prop::collection::vec((0..30_u8, value()), 1..40);
    (steps, prop::collection::vec(value(), 16), any::<u64>(), prop::bool::weighted(0.05)).prop_map(
        |(steps, registers, flags, near_edge)| {
            // CF PF AF ZF SF OF, and the bit that is always set.
            Case::build((steps, registers, flags & 0x8d5 | 2, near_edge))
        },
    )
}

/// Runs cases on the processor; for each: times trapped, what differed at the trap and at the end. And what was mapped.
fn run(cases: &[Case]) -> (Vec<(u32, u32, u32)>, Vec<u8>) {
    run_with(cases, None)
}

/// The same with something else in the first word of the thread's control block.
fn run_with(cases: &[Case], control_word: Option<u64>) -> (Vec<(u32, u32, u32)>, Vec<u8>) {
    // A page of data, one with sites, then a page for each pad.
    let (sites, pads) = (BASE + PAGE, BASE + 2 * PAGE);
    let mut image: Vec<u8> = (0..PAGE).map(data_byte).collect();
    image.resize((2 + cases.len() as u64) as usize * PAGE as usize, 0);
    let mut words = vec![cases.len() as u64];
    for (index, case) in cases.iter().enumerate() {
        let (site, pad) = (sites + 16 * index as u64, pads + PAGE * index as u64);
        let mut code = NOP.to_vec();
        code.resize(20, END);
        let jump = make_jump(Va(site), &code, (&case.condition).into()).unwrap();
        assert!(jump.is_sound());
        let bytes = place(&jump.bytes, &jump.fixups, pad);
        let offset = (pad - BASE) as usize;
        image[offset..offset + bytes.len()].copy_from_slice(&bytes);
        let distance = i32::try_from(pad as i64 - (site as i64 + 5)).unwrap();
        let offset = (site - BASE) as usize;
        image[offset] = 0xe9;
        image[offset + 1..offset + 5].copy_from_slice(&distance.to_le_bytes());
        image[offset + 5] = END;
        words.extend_from_slice(&case.registers);
        let behind = pad + u64::from(jump.copies[0].pad_offset);
        words.extend_from_slice(&[case.flags, site, pad + u64::from(jump.trap), behind, jump.exits.len() as u64]);
        for exit in &jump.exits {
            words.extend_from_slice(&[pad + u64::from(exit.at), pad + u64::from(exit.seen)]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (of_cases, of_image) = (folder.path().join("cases"), folder.path().join("image"));
    std::fs::write(&of_cases, words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    std::fs::write(&of_image, &image).unwrap();
    let harness = Build::fixture("jump_harness.c").path();
    let mut command = Command::new(harness);
    command.arg(of_cases).arg(of_image);
    command.envs(control_word.map(|word| ("CONTROL_WORD", word.to_string())));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{:?}: {text}", output.status);
    let hex = |word: &str| u32::from_str_radix(word, 16).unwrap();
    let line = |line: &str| {
        let words: Vec<u32> = line.split_whitespace().map(hex).collect();
        (words[0], words[1], words[2])
    };
    (text.lines().map(line).collect(), image)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The processor finds what the stack machine finds, and no register, flag or byte of the red zone changes.
    #[test]
    fn compiled_conditions_agree_with_the_stack_machine(cases in prop::collection::vec(case(), 32)) {
        let (results, image) = run(&cases);
        prop_assert_eq!(results.len(), cases.len());
        for (index, (case, (traps, at_trap, at_end))) in cases.iter().zip(results).enumerate() {
            let site = BASE + PAGE + 16 * index as u64;
            // A frame that cannot be made leads to the trap, too: the server looks at the condition then.
            let expected = u32::from(case.expected(site, &image) || case.registers[7] == STACK + 128);
            prop_assert_eq!((traps, at_trap, at_end), (expected, 0, 0), "{:?}", case);
        }
    }
}

fn constant(value: u64) -> Condition {
    let mut code = Assembler::default();
    code.constant(value);
    code.finish().unwrap()
}

#[test]
fn the_stack_pointer_is_the_functions() {
    let equals = |value: u64| {
        let mut code = Assembler::default();
        code.register(Arch::X86_64.sp());
        code.constant(value);
        code.op(Op::Equal);
        Case {
            condition: code.finish().unwrap(),
            registers: [vec![0; 7], vec![STACK + 0x8000], vec![0; 8]].concat(),
            flags: 2,
        }
    };
    assert_eq!(run(&[equals(STACK + 0x8000), equals(STACK + 0x7000)]).0, [(1, 0, 0), (0, 0, 0)]);
}

#[test]
fn the_thread_pointer_is_where_the_control_block_says_it_is() {
    let condition = |compared: &dyn Fn(&mut Assembler)| {
        let mut code = Assembler::default();
        code.register(Arch::X86_64.register_by_name("fs_base").unwrap());
        compared(&mut code);
        code.op(Op::Equal);
        let registers = [vec![0; 7], vec![STACK + 0x8000], vec![0; 8]].concat();
        Case { condition: code.finish().unwrap(), registers, flags: 0x8d7 }
    };
    // glibc has the thread's own address in the third word, too (tcbhead_t, `self`).
    let own = condition(&|code| {
        code.register(Arch::X86_64.register_by_name("fs_base").unwrap());
        code.constant(16);
        code.op(Op::Add);
        code.load(8, false);
    });
    let another = condition(&|code| code.constant(STACK));
    let cases = [own, another];
    assert_eq!(run(&cases).0, [(1, 0, 0), (0, 0, 0)]);
    // Without such a block, be the word no address or one of something else, the target has to look.
    for word in [7, BASE + 64] {
        assert_eq!(run_with(&cases, Some(word)).0, [(1, 0, 0), (1, 0, 0)]);
    }
}

#[test]
fn whole_instructions_are_displaced() {
    // push rbp; mov rbp,rsp; sub rsp,16
    let code = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90];
    let jump = make_jump(Va(0x40_1000), &code, (&constant(0)).into()).unwrap();
    let offsets: Vec<u8> = jump.copies.iter().map(|copy| copy.site_offset).collect();
    assert_eq!((offsets, jump.expected.len()), (vec![0, 1, 4], 8));
    let start = usize::from(jump.copies[0].pad_offset);
    let bytes = place(&jump.bytes, &jump.fixups, 0x50_0000);
    let mut decoder = Decoder::with_ip(64, &bytes[start..], 0x50_0000 + start as u64, DecoderOptions::NONE);
    let last = decoder.iter().nth(3).unwrap();
    assert_eq!(last.near_branch_target(), 0x40_1008);
}

#[test]
fn what_cannot_be_moved_or_read_is_refused() {
    let syscall = [0x90, 0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90];
    let refused = make_jump(Va(0x40_1000), &syscall, (&constant(1)).into()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("the instruction at {} cannot be moved: a system call is not run out of line", Va(0x40_1001))
    );
    let mut code = Assembler::default();
    code.register(Arch::X86_64.register_by_name("xmm0").unwrap());
    let refused = make_jump(Va(0x40_1000), &NOP, (&code.finish().unwrap()).into()).unwrap_err();
    assert_eq!(refused, NoJump::Register { register: "xmm0" });
}

/// What a pad writes down is what the target would have.
mod logs {
    use outpost_target::jump_data::{self, CAPACITY, CELLS, DROPPED, HEAD, PASSES, RECORDS, TAIL, THREAD};
    use outpost_target::{BreakpointId, LogArgument, LogPlan, LogValue};

    use super::*;

    /// Where in the image what pads share is, and how much of it there is.
    const DATA: u64 = 64 * PAGE;
    const IMAGE: u64 = DATA + jump_data::LEN;

    struct Pad<'a> {
        plan: JumpPlan<'a>,
        registers: Vec<u64>,
    }

    /// Runs pads in a row, each entered once, over what they share; gives what is there then, and traps.
    fn run(pads: &[Pad<'_>], words: &[(u64, u64)]) -> (Vec<u8>, Vec<u32>) {
        let mut image: Vec<u8> = (0..PAGE).map(data_byte).collect();
        image.resize(IMAGE as usize, 0);
        for (at, word) in words {
            image[(DATA + at) as usize..][..8].copy_from_slice(&word.to_le_bytes());
        }
        let mut cases = vec![pads.len() as u64];
        for (index, case) in pads.iter().enumerate() {
            let (site, pad) = (BASE + PAGE + 16 * index as u64, BASE + (2 + index as u64) * PAGE);
            let mut code = NOP.to_vec();
            code.resize(20, END);
            let jump = make_jump(Va(site), &code, case.plan).unwrap();
            assert!(jump.is_sound() && jump.needs_data());
            let mut placed = jump.clone();
            placed.fixups.retain(|fixup| fixup.kind == FixupKind::Relative32);
            let mut bytes = place(&placed.bytes, &placed.fixups, pad);
            for fixup in &jump.fixups {
                let value = match fixup.kind {
                    FixupKind::Data64 => BASE + DATA,
                    FixupKind::Cells64 => BASE + DATA + CELLS,
                    _ => continue,
                };
                bytes[usize::from(fixup.offset)..][..8].copy_from_slice(&value.to_le_bytes());
            }
            image[(pad - BASE) as usize..][..bytes.len()].copy_from_slice(&bytes);
            let distance = i32::try_from(pad as i64 - (site as i64 + 5)).unwrap();
            let site_bytes = [&[0xe9][..], &distance.to_le_bytes(), &[END]].concat();
            image[(site - BASE) as usize..][..6].copy_from_slice(&site_bytes);
            cases.extend_from_slice(&case.registers);
            let behind = pad + u64::from(jump.copies[0].pad_offset);
            cases.extend_from_slice(&[2, site, pad + u64::from(jump.trap), behind, jump.exits.len() as u64]);
            for exit in &jump.exits {
                cases.extend_from_slice(&[pad + u64::from(exit.at), pad + u64::from(exit.seen)]);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (of_cases, of_image) = (folder.path().join("cases"), folder.path().join("image"));
        std::fs::write(&of_cases, cases.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        std::fs::write(&of_image, &image).unwrap();
        let harness = Build::fixture("jump_harness.c").path();
        let output = Command::new(harness).args([&of_cases, &of_image]).arg(DATA.to_string()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{:?}: {text}", output.status);
        let traps = text.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1..], ["0", "0"], "registers, flags and the red zone are as they were");
            words[0].parse().unwrap()
        });
        (std::fs::read(&of_image).unwrap().split_off(DATA as usize), traps.collect())
    }

    fn word(data: &[u8], at: u64) -> u64 {
        u64::from_le_bytes(data[at as usize..][..8].try_into().unwrap())
    }

    fn register(name: &str) -> Condition {
        let mut code = Assembler::default();
        code.register(Arch::X86_64.register_by_name(name).unwrap());
        code.finish().unwrap()
    }

    fn registers(first: u64) -> Vec<u64> {
        let mut registers: Vec<u64> = (0..16).map(|index| 0x1111_1111 * index).collect();
        (registers[5], registers[7]) = (first, STACK + 0x8000);
        registers
    }

    /// The records from `tail` on.
    fn records(data: &[u8], mut tail: u64, plan: &LogPlan) -> Vec<Vec<LogValue>> {
        let mut found = Vec::new();
        while tail < word(data, HEAD) {
            let at = RECORDS + tail % CAPACITY;
            let (id, words) = jump_data::read_header(word(data, at)).unwrap();
            assert_eq!(words, plan.words());
            let values = &data[at as usize + 8..][..8 * usize::from(words)];
            found.push(plan.read(BreakpointId(id), values).values);
            tail += 8 + 8 * u64::from(words);
        }
        found
    }

    #[test]
    fn values_and_texts_are_those_at_the_site() {
        let argument = |name, text| LogArgument { value: register(name), text };
        let log = LogPlan {
            arguments: vec![argument("rdi", 20), argument("rax", 0), argument("rdi", 3), argument("rip", 0)],
        };
        let image: Vec<u8> = (0..PAGE).map(data_byte).collect();
        let texts = [BASE + 40, BASE + 700, BASE + PAGE - 2];
        let plan = JumpPlan { log: Some((BreakpointId(9), &log)), ..JumpPlan::default() };
        // The last has no zero before what is not zero either: the next page has sites.
        let pads: Vec<Pad<'_>> = texts.iter().map(|at| Pad { plan, registers: registers(*at) }).collect();
        let unreadable = Pad { plan, registers: registers(8) };
        let pads: Vec<Pad<'_>> = pads.into_iter().chain([unreadable]).collect();
        // Records run over the ring's end, and where the place of a word is.
        let start = 5 * CAPACITY - 40;
        let (data, traps) = run(&pads, &[(HEAD, start), (TAIL, start)]);
        assert_eq!(traps, [0, 0, 0, 1], "what cannot be read is for the target to see");
        let found = records(&data, start, &log);
        assert_eq!(found.len(), 3);
        for (index, (values, at)) in found.iter().zip(texts).enumerate() {
            let LogValue::Text { bytes, is_whole } = &values[0] else { panic!("{values:?}") };
            let offset = (at - BASE) as usize;
            let here = &image[offset..image.len().min(offset + 20)];
            let end = here.iter().position(|byte| *byte == 0);
            assert!(bytes.starts_with(&here[..end.unwrap_or(here.len())]), "{bytes:x?} {here:x?}");
            assert_eq!(*is_whole, bytes.len() < 20);
            assert_eq!(values[1], LogValue::Number(0));
            let LogValue::Text { bytes: first, .. } = &values[2] else { panic!("{values:?}") };
            assert_eq!(first[..], bytes[..first.len()]);
            assert_eq!(values[3], LogValue::Number(BASE + PAGE + 16 * index as u64));
        }
        assert_eq!(word(&data, CELLS + DROPPED), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let log = LogPlan { arguments: vec![LogArgument { value: register("rdi"), text: 0 }] };
        let plan = JumpPlan { log: Some((BreakpointId(1), &log)), ..JumpPlan::default() };
        let pads: Vec<Pad<'_>> = (0..5).map(|n| Pad { plan, registers: registers(n) }).collect();
        // There is room for two.
        let tail = 3 * CAPACITY + 8;
        let (data, traps) = run(&pads, &[(HEAD, tail + CAPACITY - 39), (TAIL, tail)]);
        assert_eq!((traps, word(&data, HEAD)), (vec![0; 5], tail + CAPACITY - 39 + 32));
        assert_eq!(word(&data, CELLS + DROPPED), 3);
    }

    #[test]
    fn hits_pass_and_other_threads_do() {
        let condition = register("rdi");
        let plan = JumpPlan { passes: true, ..JumpPlan::from(&condition) };
        let pads = |plan| [5, 0, 5, 5, 0, 5].map(|first| Pad { plan, registers: registers(first) });
        let (data, traps) = run(&pads(plan), &[(CELLS + PASSES, 2)]);
        assert_eq!(traps, [0, 0, 0, 1, 0, 1], "a false condition is no pass");
        assert_eq!(word(&data, CELLS + PASSES) as i64, -2);
        // The harness' own thread pointer is none of these.
        let plan = JumpPlan { one_thread: true, ..plan };
        let (data, traps) = run(&pads(plan), &[(CELLS + PASSES, 2), (CELLS + THREAD, u64::MAX)]);
        assert_eq!((traps, word(&data, CELLS + PASSES)), (vec![0; 6], 2));
    }
}
