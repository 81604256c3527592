use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use outpost_target::FixupKind;

use super::*;
use crate::code::real_code;

const SITE: u64 = 0x5555_5555_5000;
const PAD: u64 = 0x5555_6666_0000;

/// Places code as the server would.
pub(super) fn place(code: &[u8], fixups: &[Fixup], at: u64) -> Vec<u8> {
    let mut bytes = code.to_vec();
    for fixup in fixups {
        assert_eq!(fixup.kind, FixupKind::Relative32);
        let field = usize::from(fixup.offset);
        let displacement = fixup.destination.0.wrapping_sub(at + field as u64 + 4) as i64;
        bytes[field..field + 4].copy_from_slice(&i32::try_from(displacement).unwrap().to_le_bytes());
    }
    bytes
}

fn listing(bytes: &[u8], at: u64) -> String {
    let mut formatter = IntelFormatter::new();
    let mut lines = Vec::new();
    for instruction in &mut Decoder::with_ip(64, bytes, at, DecoderOptions::NONE) {
        let mut line = String::new();
        formatter.format(&instruction, &mut line);
        lines.push(line);
    }
    lines.join("; ")
}

fn check(code: &[u8], expected: &str) {
    let pad = make_pad(Va(SITE), code).unwrap();
    assert_eq!(pad.expected, code);
    assert_eq!(listing(&place(&pad.bytes, &pad.fixups, PAD), PAD), expected);
}

#[test]
fn plain_instructions_run_and_jump_back() {
    check(&[0x55], "push rbp; jmp 0000555555555001h");
    check(&[0xf3, 0x0f, 0x1e, 0xfa], "endbr64; jmp 0000555555555004h");
    check(&[0xc3], "ret");
    check(&[0xc2, 0x08, 0x00], "ret 8");
}

#[test]
fn rip_relative_operands_keep_their_address() {
    // mov eax,[rip+0x10]; cmp dword [rip+0x10],5 (an immediate behind the displacement)
    check(&[0x8b, 0x05, 0x10, 0, 0, 0], "mov eax,[555555555016h]; jmp 0000555555555006h");
    check(&[0x83, 0x3d, 0x10, 0, 0, 0, 5], "cmp dword ptr [555555555017h],5; jmp 0000555555555007h");
}

#[test]
fn branches_keep_their_destination() {
    check(&[0xeb, 0x10], "jmp 0000555555555012h");
    check(&[0x74, 0x10], "je 0000555555555012h; jmp 0000555555555002h");
    check(&[0x0f, 0x8f, 0, 1, 0, 0], "jg 0000555555555106h; jmp 0000555555555006h");
    check(
        &[0xe3, 0x10],
        "jrcxz 0000555566660004h; jmp short 0000555566660009h; jmp 0000555555555012h; jmp 0000555555555002h",
    );
    check(&[0xff, 0xe0], "jmp rax");
}

#[test]
fn calls_push_the_sites_return_address() {
    check(&[0xe8, 0, 1, 0, 0], "push 55555005h; mov dword ptr [rsp+4],5555h; jmp 0000555555555105h");
    check(&[0xff, 0xd0], "push 55555002h; mov dword ptr [rsp+4],5555h; jmp rax");
    check(&[0xff, 0x54, 0x24, 0x08], "push 55555004h; mov dword ptr [rsp+4],5555h; jmp qword ptr [rsp+10h]");
    check(&[0xff, 0x14, 0x24], "push 55555003h; mov dword ptr [rsp+4],5555h; jmp qword ptr [rsp+8]");
    check(&[0xff, 0x15, 0x10, 0, 0, 0], "push 55555006h; mov dword ptr [rsp+4],5555h; jmp qword ptr [555555555016h]");
    check(
        &[0x41, 0xff, 0x54, 0xc5, 0x10],
        "push 55555005h; mov dword ptr [rsp+4],5555h; jmp qword ptr [r13+rax*8+10h]",
    );
}

#[test]
fn what_depends_on_its_place_has_no_pad() {
    let refused = |code: &[u8]| make_pad(Va(SITE), code).unwrap_err();
    assert_eq!(refused(&[0x0f, 0x05]), NoPad::SystemCall);
    assert_eq!(refused(&[0x48, 0xcf]), NoPad::Position { mnemonic: "iret" });
    assert_eq!(refused(&[0xff, 0xd4]), NoPad::Position { mnemonic: "this form of call" });
    assert!(matches!(refused(&[0xc7, 0xf8, 0, 0, 0, 0]), NoPad::Position { .. }));
    assert_eq!(refused(&[0x06]), NoPad::NotAnInstruction { at: Va(SITE) });
    assert_eq!(refused(&[0xe8, 0]), NoPad::NotAnInstruction { at: Va(SITE) });
}

/// Instructions of one form that are looked at.
const MAX_ALIKE: u32 = 64;

/// What makes an instruction's encoding one of its own: mnemonic with its operands' sorts, how memory is named, prefixes.
type Form = (Code, Register, bool, [bool; 3]);

fn form_of(instruction: &Instruction) -> Form {
    let prefixes =
        [instruction.has_rep_prefix(), instruction.has_repne_prefix(), instruction.segment_prefix() != Register::None];
    let base = instruction.memory_base();
    // Of the registers that memory is named by, two are told apart by what is made of them.
    let base = if matches!(base, Register::RIP | Register::EIP | Register::RSP) { base } else { Register::None };
    (instruction.code(), base, instruction.memory_index() != Register::None, prefixes)
}

/// Asserts that the pad of `original` does what that does: the same operation on the same operands, then on to the same
/// place. Whether it has a pad.
fn survives_the_move(original: &Instruction, code: &[u8]) -> bool {
    let pad = match make_pad(Va(original.ip()), code) {
        Ok(pad) => pad,
        Err(why) => {
            let excused = match why {
                NoPad::SystemCall => {
                    matches!(original.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int)
                }
                NoPad::Position { .. } => {
                    is_far(original)
                        || original.is_call_far()
                        || original.is_call_far_indirect()
                        || !matches!(
                            original.flow_control(),
                            FlowControl::Next | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
                        )
                }
                NoPad::NotAnInstruction { .. } => false,
            };
            assert!(excused, "{original}: {why}");
            return false;
        }
    };
    assert_eq!(pad.expected, code, "{original}");
    assert!(pad.bytes.len() <= 64, "{original}");
    let placed = place(&pad.bytes, &pad.fixups, PAD);
    let moved: Vec<Instruction> = Decoder::with_ip(64, &placed, PAD, DecoderOptions::NONE).into_iter().collect();
    let goes_to = |jump: &Instruction, destination| {
        assert_eq!((jump.mnemonic(), jump.near_branch_target()), (Mnemonic::Jmp, destination), "{original}");
    };
    match (original.flow_control(), moved.as_slice()) {
        // Equal are operation, prefixes and operands, those relative to rip by their address; not the place.
        (FlowControl::Next, [same, back]) => {
            assert_eq!(same, original);
            goes_to(back, original.next_ip());
        }
        (FlowControl::Return | FlowControl::IndirectBranch, [same]) => assert_eq!(same, original),
        (FlowControl::UnconditionalBranch, [jump]) => goes_to(jump, original.near_branch_target()),
        (FlowControl::ConditionalBranch, [branch, back]) => {
            assert_eq!(branch.condition_code(), original.condition_code(), "{original}");
            assert_eq!(branch.near_branch_target(), original.near_branch_target(), "{original}");
            goes_to(back, original.next_ip());
        }
        (FlowControl::ConditionalBranch, [branch, over, jump, back]) => {
            assert_eq!((branch.code(), branch.near_branch_target()), (original.code(), jump.ip()), "{original}");
            goes_to(over, back.ip());
            goes_to(jump, original.near_branch_target());
            goes_to(back, original.next_ip());
        }
        (FlowControl::Call | FlowControl::IndirectCall, [low, high, jump]) => {
            assert_eq!((low.code(), high.code()), (Code::Pushq_imm32, Code::Mov_rm32_imm32), "{original}");
            assert_eq!((high.memory_base(), high.memory_displacement64()), (Register::RSP, 4), "{original}");
            let pushed = u64::from(low.immediate32()) | u64::from(high.immediate32()) << 32;
            assert_eq!(pushed, original.next_ip(), "{original}");
            assert_eq!(jump.mnemonic(), Mnemonic::Jmp, "{original}");
            assert_eq!(operand_of(jump, 0), operand_of(original, 8), "{original}");
        }
        (_, moved) => panic!("{original} became {moved:?}"),
    }
    true
}

/// Where a jump or call goes: its destination, register, or memory, `pushed` being added to what counts from rsp.
fn operand_of(transfer: &Instruction, pushed: u64) -> (u64, Register, Register, Register, u32, u64, Register) {
    let base = transfer.memory_base();
    (
        transfer.near_branch_target(),
        if transfer.op0_kind() == OpKind::Register { transfer.op0_register() } else { Register::None },
        base,
        transfer.memory_index(),
        transfer.memory_index_scale(),
        transfer.memory_displacement64().wrapping_add(if base == Register::RSP { pushed } else { 0 }),
        transfer.segment_prefix(),
    )
}

/// Looks at the forms of instructions in these files, as many as there are of those beginning with `name` in `folders`.
fn check_forms(folders: &[&str], name: &str) {
    let file = real_code::find(folders, name);
    let mut forms: HashMap<Form, u32> = HashMap::new();
    let (mut looked_at, mut without) = (0_u32, 0_u32);
    for (start, code) in real_code::code_of(&file) {
        let start = SITE + start;
        for original in &mut Decoder::with_ip(64, &code, start, DecoderOptions::NONE) {
            let at = (original.ip() - start) as usize;
            // The end of a stretch may cut one, and there is data among code.
            let Some(code) = code.get(at..at + original.len()).filter(|_| !original.is_invalid()) else { continue };
            let alike = forms.entry(form_of(&original)).or_default();
            if *alike < MAX_ALIKE {
                *alike += 1;
                looked_at += 1;
                without += u32::from(!survives_the_move(&original, code));
            }
        }
    }
    println!("{}: {} forms, {looked_at} instructions, {without} without a pad", file.display(), forms.len());
    assert!(forms.len() > 500 && without < looked_at / 10, "{} forms, {without} of {looked_at}", forms.len());
}

#[test]
fn the_c_librarys_instructions_survive_the_move() {
    check_forms(&real_code::LIBRARIES, "libc.so.6");
}

#[test]
fn the_cpp_librarys_instructions_survive_the_move() {
    check_forms(&real_code::LIBRARIES, "libstdc++.so.6");
}

#[test]
fn a_large_rust_librarys_instructions_survive_the_move() {
    let sysroot = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let folder = format!("{}/lib", String::from_utf8(sysroot.stdout).unwrap().trim());
    check_forms(&[&folder], "librustc_driver-");
}
