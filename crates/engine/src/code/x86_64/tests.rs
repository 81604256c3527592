use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use outpost_target::FixupKind;

use super::*;

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

/// Every instruction of a large real library either has a pad that reads and goes where the original does, or is one
/// of the kinds that have none.
#[test]
fn the_c_librarys_instructions_survive_the_move() {
    let path =
        ["/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/libc.so.6"].iter().find_map(|path| std::fs::read(path).ok());
    let bytes = path.expect("a C library is installed");
    let text = &bytes[bytes.len() / 8..bytes.len() / 2];
    let (mut padded, mut refused) = (0_u32, 0_u32);
    for original in &mut Decoder::with_ip(64, text, SITE, DecoderOptions::NONE) {
        let start = (original.ip() - SITE) as usize;
        let Some(code) = text.get(start..start + original.len()) else { continue };
        let Ok(pad) = make_pad(Va(original.ip()), code) else {
            refused += 1;
            continue;
        };
        padded += 1;
        assert!(pad.bytes.len() <= 64, "{original}");
        let placed = place(&pad.bytes, &pad.fixups, PAD);
        let moved = Decoder::with_ip(64, &placed, PAD, DecoderOptions::NONE).decode();
        if original.is_ip_rel_memory_operand() && moved.code() == original.code() {
            assert_eq!(moved.ip_rel_memory_address(), original.ip_rel_memory_address(), "{original}");
        }
        if original.flow_control() == FlowControl::Next {
            assert_eq!(moved.code(), original.code(), "{original}");
            let back = Decoder::with_ip(64, &placed[moved.len()..], moved.next_ip(), DecoderOptions::NONE).decode();
            assert_eq!(back.near_branch_target(), original.next_ip(), "{original}");
        }
    }
    assert!(padded > 100_000 && refused < padded / 20, "{padded} padded, {refused} refused");
}
