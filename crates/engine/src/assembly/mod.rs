//! Machine code from text: one instruction, as the disassembler writes it, by GNU `as` of the debugger's machine.
//!
//! Numbers and symbols are the debugger's words, not the assembler's: they are given their values here, by whoever evaluates
//! expressions (`operands`). The encoding is left to binutils, which every machine with a compiler has.

mod operands;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use operands::TARGET;
use outpost_base::{Arch, Va};

/// Why there is no code. Display texts are whole answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// It is no instruction.
    #[error("{problem}")]
    Wrong {
        /// Why not, in the words of the assembler.
        problem: String,
    },
    /// A relative operand reaches 2 GiB; this one is further away.
    #[error("{target} is more than 2 GB away; an address in a register reaches it")]
    TooFar {
        /// The operand.
        target: Va,
    },
    /// The assembler cannot be used.
    #[error("{program} of binutils is needed on the debugger's machine ({reason}); eb writes bytes of code")]
    NoAssembler {
        /// `as` or `objcopy`.
        program: &'static str,
        /// Why not.
        reason: String,
    },
}

/// The code of one instruction at an address.
///
/// Operands are MASM's, as the disassembler shows them: `mov rax,qword ptr [rbp-8]`, `jne prog!main+0x1f`, `call qword ptr
/// [prog!table (00005555`55558010)]`. An address in brackets is relative to the pc, as it is in position-independent code.
/// `value` is asked for each number and symbol.
///
/// # Errors
/// [`AssemblyError`], or what `value` says.
pub fn assemble<E: From<AssemblyError>>(
    arch: Arch,
    at: Va,
    text: &str,
    value: &mut dyn FnMut(&str) -> Result<u64, E>,
) -> Result<Vec<u8>, E> {
    let wrong = |problem: &str| AssemblyError::Wrong { problem: problem.to_owned() };
    if arch != Arch::X86_64 {
        return Err(wrong("instructions of this processor are not assembled").into());
    }
    // Only instructions: the assembler has statements of other kinds, which read files and define names.
    if !text.trim_start().starts_with(|c: char| c.is_ascii_alphabetic()) || text.contains(['\n', ';', '#', '"', '=']) {
        return Err(wrong("an instruction is expected").into());
    }
    let translated = operands::translate(at, text, value)?;
    let target = translated.distance.map(|distance| format!(".set {TARGET}, here + ({distance})\n"));
    let source = format!(".intel_syntax noprefix\nhere:\n{}{}\n", target.unwrap_or_default(), translated.text);
    let code = code_of(&source)?;
    if code.is_empty() { Err(wrong("an instruction is expected").into()) } else { Ok(code) }
}

/// What the assembler makes of a source text.
fn code_of(source: &str) -> Result<Vec<u8>, AssemblyError> {
    let no = |program| move |error: std::io::Error| AssemblyError::NoAssembler { program, reason: error.to_string() };
    let folder = tempfile::tempdir().map_err(no("as"))?;
    let (object, code) = (folder.path().join("object"), folder.path().join("code"));
    run("as", &["--64".as_ref(), "-o".as_ref(), object.as_os_str()], source)?;
    let arguments = ["-O", "binary", "-j", ".text"].map(OsStr::new);
    run("objcopy", &[&arguments[..], &[object.as_os_str(), code.as_os_str()]].concat(), "")?;
    std::fs::read(code).map_err(no("objcopy"))
}

fn run(program: &'static str, arguments: &[&OsStr], input: &str) -> Result<(), AssemblyError> {
    let no = |error: std::io::Error| AssemblyError::NoAssembler { program, reason: error.to_string() };
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(no)?;
    // A few lines: a pipe takes them whole, whatever becomes of the reader.
    child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes())).map_err(no)?;
    let output = child.wait_with_output().map_err(no)?;
    if output.status.success() {
        return Ok(());
    }
    // `{standard input}:4: Error: no such instruction: `foo eax'`
    let said = String::from_utf8_lossy(&output.stderr);
    let problem = said.lines().find_map(|line| Some(line.split_once("Error: ")?.1));
    let problem = problem.or(said.lines().last()).unwrap_or_default().to_owned();
    Err(AssemblyError::Wrong { problem })
}
