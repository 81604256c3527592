use std::collections::HashMap;

use super::*;
use crate::code::real_code;
use crate::disassembly::{NoSymbols, decode};

const AT: Va = Va(0x5555_5555_5000);

/// Numbers as the disassembler writes them, and one symbol.
fn value(word: &str) -> Result<u64, AssemblyError> {
    let digits = word.replace('`', "");
    let digits = digits.strip_suffix('h').unwrap_or(&digits);
    match word {
        "prog!total" => Ok(AT.0 + 0x3010),
        "-1" => Ok(u64::MAX),
        _ => u64::from_str_radix(digits, 16)
            .map_err(|_| AssemblyError::Wrong { problem: format!("{word} is no number") }),
    }
}

fn hex(text: &str) -> Result<String, String> {
    let code = assemble(Arch::X86_64, AT, text, &mut value).map_err(|error| error.to_string())?;
    Ok(code.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn instructions_have_the_codes_of_the_manual() {
    for (text, code) in [
        ("nop", "90"),
        ("ret", "c3"),
        ("INT3", "cc"),
        ("mov eax,10", "b810000000"),
        ("mov rax,7fff`12345678", "48b878563412ff7f0000"),
        ("mov rax,-1", "48c7c0ffffffff"),
        ("mov byte ptr [rbp-8],0FFh", "c645f8ff"),
        ("lea rdi,[rbp+rcx*4-0A8h]", "488dbc8d58ffffff"),
        ("mov rax,qword ptr fs:[28h]", "64488b042528000000"),
        ("lock cmpxchg dword ptr [rdi],ecx", "f00fb10f"),
        ("rep movsb", "f3a4"),
        ("vaddps ymm0,ymm1,ymmword ptr [rsi+rcx*4]", "c5f458048e"),
        ("fxch st(1)", "d9c9"),
        // Short where that reaches, and relative to where the code will be.
        ("jmp 00005555`55555010", "eb0e"),
        ("jne 00005555`55556000", "0f85fa0f0000"),
        ("jmp short 00005555`55555002", "eb00"),
        ("call prog!total", "e80b300000"),
        ("mov rdx,qword ptr [prog!total (00005555`55558010)]", "488b1509300000"),
        ("cmp dword ptr [prog!total],5", "833d0930000005"),
    ] {
        assert_eq!(hex(text), Ok(code.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_instruction_is_said_to_be_none() {
    for (text, problem) in [
        ("foo eax", "no such instruction: `foo eax'"),
        ("mov eax", "number of operands mismatch for `mov'"),
        ("mov eax,nowhere", "nowhere is no number"),
        (".incbin \"/etc/passwd\"", "an instruction is expected"),
        ("nop; .byte 1", "an instruction is expected"),
        ("here:", "an instruction is expected"),
        (
            "mov rax,qword ptr [7fff`12345678]",
            "00007fff`12345678 is more than 2 GB away; an address in a register reaches it",
        ),
        ("call 1", "00000000`00000001 is more than 2 GB away; an address in a register reaches it"),
    ] {
        assert_eq!(hex(text), Err(problem.to_owned()), "{text}");
    }
}

/// One instruction of each form that is in the C library comes back from its text.
#[test]
fn what_is_disassembled_is_assembled_to_the_same() {
    let mut forms = HashMap::new();
    for (start, code) in real_code::code_of(&real_code::find(&real_code::LIBRARIES, "libc.so.6")) {
        let start = AT.0 + start;
        for instruction in &mut iced_x86::Decoder::with_ip(64, &code, start, 0) {
            let at = (instruction.ip() - start) as usize;
            if !instruction.is_invalid()
                && let Some(code) = code.get(at..at + instruction.len())
            {
                forms.entry(instruction.code()).or_insert((Va(instruction.ip()), code.to_vec()));
            }
        }
    }
    let (mut done, mut different) = (0, Vec::new());
    for (form, (at, code)) in forms {
        let text = decode(Arch::X86_64, at, &code, &mut NoSymbols).text;
        let again = assemble(Arch::X86_64, at, &text, &mut value).map_err(|error| error.to_string());
        let again = again.map(|again| decode(Arch::X86_64, at, &again, &mut NoSymbols).text);
        done += 1;
        if again.as_ref() != Ok(&text) {
            different.push(format!("{form:?} {text} -> {again:?}"));
        }
    }
    println!("{done} forms, {} different: {different:#?}", different.len());
    assert!(done > 500 && different.is_empty());
}
