use outpost_base::{RegisterValue, SliceMemory, VaRange};

use super::*;

const BASE: Va = Va(0x5555_5555_5225);

struct Named;

impl CodeSymbols for Named {
    fn symbolize(&mut self, at: Va) -> Option<String> {
        match at.0.checked_sub(BASE.0)? {
            0 => Some("prog!main".into()),
            offset @ 1..0x1000 => Some(format!("prog!main+{offset:#x}")),
            _ => None,
        }
    }
}

#[track_caller]
fn check(code: &[u8], expected: &str) {
    let listed = decode(Arch::X86_64, BASE, code, &mut Named);
    assert_eq!(listed.line(), format!("00005555`55555225 {expected}"));
}

#[test]
fn lines_as_the_reference_spells_them() {
    check(&[0x48, 0x89, 0x45, 0xf8], "488945f8        mov     qword ptr [rbp-8],rax");
    check(&[0x48, 0x83, 0xec, 0x20], "4883ec20        sub     rsp,20h");
    check(&[0x48, 0x81, 0xec, 0xa8, 0, 0, 0], "4881eca8000000  sub     rsp,0A8h");
    check(&[0xe8, 0x10, 0, 0, 0], "e810000000      call    prog!main+0x15 (00005555`5555523a)");
    check(&[0xeb, 0xfe], "ebfe            jmp     prog!main (00005555`55555225)");
    check(&[0x0f, 0x84, 0, 0x10, 0, 0], "0f8400100000    je      00005555`5555622b");
    check(&[0x48, 0x8d, 0x05, 1, 0, 0, 0], "488d0501000000  lea     rax,[prog!main+0x8 (00005555`5555522d)]");
    check(&[0x48, 0x8b, 0x05, 1, 0, 0, 0], "488b0501000000  mov     rax,qword ptr [prog!main+0x8 (00005555`5555522d)]");
    check(&[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0], "64488b042528000000 mov     rax,qword ptr fs:[28h]");
    check(&[0x8b, 0x44, 0xc8, 0x10], "8b44c810        mov     eax,dword ptr [rax+rcx*8+10h]");
    check(&[0xc3], "c3              ret");
    check(&[0xf3, 0x0f, 0x1e, 0xfa], "f30f1efa        endbr64");
    check(&[0x0f, 0x05], "0f05            syscall");
    check(&[0x06], "06              ???");
    check(&[], "??              ???");
}

#[test]
fn listings_end_at_unreadable_memory() {
    let mut memory = SliceMemory { start: BASE, bytes: &[0x90, 0xc3] };
    let listed = disassemble(Arch::X86_64, &mut memory, &mut NoSymbols, BASE, 8, false);
    let texts: Vec<_> = listed.iter().map(|line| line.text.trim_end()).collect();
    assert_eq!(texts, ["nop", "ret", "???"]);
    let past = disassemble(Arch::X86_64, &mut memory, &mut NoSymbols, BASE, 8, true);
    assert_eq!(past.len(), 8);
}

fn context(values: &[(&str, u64)]) -> RegisterContext {
    let mut context = RegisterContext::new(Arch::X86_64);
    for (name, value) in values {
        let id = Arch::X86_64.register_by_name(name).unwrap();
        context.set(id, RegisterValue::from_u64(*value, 64));
    }
    context
}

#[test]
fn annotations_show_what_is_about_to_be_touched() {
    let mut words = Vec::new();
    words.extend_from_slice(&0x1122_3344_5566_7788u64.to_le_bytes());
    words.extend_from_slice(&(BASE.0 + 4).to_le_bytes());
    let mut memory = SliceMemory { start: Va(0x1000), bytes: &words };
    let registers = context(&[("rbp", 0x1008), ("rbx", 0x1000), ("fs_base", 0x900), ("zf", 1), ("rcx", 1)]);
    let mut check = |code: &[u8], expected: &str| {
        let instruction = decode(Arch::X86_64, BASE, code, &mut NoSymbols);
        assert_eq!(
            annotation(&instruction, &registers, Some(&mut memory), &mut Named),
            expected,
            "{}",
            instruction.text
        );
    };
    check(&[0x48, 0x89, 0x45, 0xf8], " ss:00000000`00001000=1122334455667788");
    check(&[0x8b, 0x03], " ds:00000000`00001000=55667788");
    check(&[0x0f, 0xb6, 0x43, 0x01], " ds:00000000`00001001=77");
    check(&[0x48, 0x8b, 0x43, 0x10], " ds:00000000`00001010=????????????????");
    check(&[0xff, 0x53, 0x08], " ds:00000000`00001008={prog!main+0x4 (00005555`55555229)}");
    check(&[0x64, 0x8b, 0x04, 0x25, 0, 7, 0, 0], " fs:00000000`00001000=55667788");
    check(&[0x48, 0x8d, 0x43, 0x08], "");
    check(&[0x74, 0x02], " [br=1]");
    check(&[0x75, 0x02], " [br=0]");
    check(&[0xe2, 0x02], " [br=0]");
    check(&[0x90], "");
}

#[test]
fn effective_addresses_and_registers_of_an_instruction() {
    let registers = context(&[("rsi", 0x2000), ("rdi", 0x3000), ("rbx", 0x1000)]);
    let movsq = decode(Arch::X86_64, BASE, &[0x48, 0xa5], &mut NoSymbols);
    assert_eq!(effective_addresses(&movsq, &registers), [Va(0x3000), Va(0x2000)]);
    let add = decode(Arch::X86_64, BASE, &[0x01, 0x43, 0x04], &mut NoSymbols);
    assert_eq!(effective_addresses(&add, &registers), [Va(0x1004)]);
    let names: Vec<_> =
        registers_used(Arch::X86_64, &add).into_iter().map(|id| Arch::X86_64.register(id).unwrap().name).collect();
    assert_eq!(names, ["rax", "rbx"]);
}

/// push rbp; mov rbp,rsp; sub rsp,10h; mov dword ptr [rbp-4],0; test eax,eax; je +3; nop; jmp -4 (to the nop);
/// leave; ret.
const FUNCTION: &[u8] = &[
    0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc7, 0x45, 0xfc, 0, 0, 0, 0, 0x85, 0xc0, 0x74, 0x03, 0x90, 0xeb,
    0xfd, 0xc9, 0xc3,
];

#[test]
fn backwards_from_anywhere_gives_the_same_instructions() {
    let mut memory = SliceMemory { start: BASE, bytes: FUNCTION };
    let forward = disassemble(Arch::X86_64, &mut memory, &mut NoSymbols, BASE, 10, false);
    for end in 4..forward.len() {
        let at = forward[end].at;
        let known = disassemble_before(Arch::X86_64, &mut memory, &mut NoSymbols, at, 3, &[BASE]);
        assert_eq!(known, forward[end - 3..end], "with a known start");
    }
    let at = forward[9].at;
    let guessed = disassemble_before(Arch::X86_64, &mut memory, &mut NoSymbols, at, 3, &[]);
    assert_eq!(guessed, forward[6..9], "without one");
    assert!(disassemble_before(Arch::X86_64, &mut memory, &mut NoSymbols, Va(0x10), 3, &[]).is_empty());
}

#[test]
fn functions_are_cut_into_blocks() {
    let mut memory = SliceMemory { start: BASE, bytes: FUNCTION };
    let blocks = function_blocks(Arch::X86_64, &mut memory, &mut NoSymbols, BASE, &[]);
    let shape: Vec<_> = blocks.iter().map(|b| (b.instructions[0].at - BASE, b.instructions.len())).collect();
    assert_eq!(shape, [(0, 6), (0x13, 2), (0x16, 2)]);
    let ranges = [VaRange::from_len(BASE, FUNCTION.len() as u64)];
    assert_eq!(function_blocks(Arch::X86_64, &mut memory, &mut NoSymbols, BASE, &ranges), blocks);
}
