//! Why a child could not execute its program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use outpost_target::TargetError;

use crate::error::{os_error, words};
use crate::sys::spawn::ChildStage;

/// How much of a program's file is looked at: `BINPRM_BUF_SIZE` for scripts, the headers for ELF files.
const HEAD: u64 = 4096;
/// `PT_INTERP` of a program header.
const PT_INTERP: u32 = 3;

/// Turns the child's message into words; `None` for no message, which means that it executed.
pub(super) fn explain(message: &[u8], program: &Path, directory: Option<&str>) -> Option<TargetError> {
    let (&stage, errno) = message.split_first()?;
    let errno = i32::from_le_bytes(errno.get(..4)?.try_into().ok()?);
    let error = io::Error::from_raw_os_error(errno);
    let file = |path: String, reason: String| TargetError::File { path, reason };
    Some(if stage == ChildStage::Directory as u8 {
        file(directory.unwrap_or_default().to_owned(), format!("cannot be the working directory: {}", words(&error)))
    } else if stage == ChildStage::Stdio as u8 {
        os_error("set up standard streams", error)
    } else {
        file(program.display().to_string(), why_not_executed(errno, program).unwrap_or_else(|| words(&error)))
    })
}

fn why_not_executed(errno: i32, program: &Path) -> Option<String> {
    let head = || {
        let mut head = Vec::new();
        File::open(program).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
        Some(head)
    };
    match errno {
        libc::ENOENT if program.exists() => {
            let head = head()?;
            let interpreter = interpreter(&head)?;
            Some(format!("its interpreter {interpreter} does not exist"))
        }
        libc::EACCES if program.is_file() => {
            use std::os::unix::fs::PermissionsExt;
            let mode = program.metadata().ok()?.permissions().mode();
            let head = head().unwrap_or_default();
            Some(if mode & 0o111 == 0 {
                "is not executable (no x permission)".into()
            } else if let Some(interpreter) = interpreter(&head).filter(|path| !is_executable(Path::new(path))) {
                format!("its interpreter {interpreter} is not executable")
            } else {
                "must not be executed by this user, or its file system is mounted noexec".into()
            })
        }
        libc::ENOEXEC => Some("is no program: neither ELF for this machine nor a script that begins with #!".into()),
        libc::ETXTBSY => Some("is open for writing".into()),
        libc::E2BIG => Some("arguments and environment are too long".into()),
        _ => None,
    }
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The interpreter that a script's first line or an ELF file names.
fn interpreter(head: &[u8]) -> Option<String> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii();
        let path = line.split(|byte| byte.is_ascii_whitespace()).next()?;
        return Some(String::from_utf8_lossy(path.strip_suffix(b"\r").unwrap_or(path)).into_owned());
    }
    if head.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    // Elf64_Ehdr: e_phoff at 32, e_phentsize at 54, e_phnum at 56; Elf64_Phdr: p_type at 0, p_offset at 8, p_filesz at 32.
    let word = |at: usize| Some(u64::from_le_bytes(head.get(at..at.checked_add(8)?)?.try_into().ok()?) as usize);
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    let (table, size, count) = (word(32)?, half(54)?, half(56)?);
    (0..count).find_map(|index| {
        let header = table.checked_add(index.checked_mul(size)?)?;
        let kind = u32::from_le_bytes(head.get(header..header.checked_add(4)?)?.try_into().ok()?);
        if kind != PT_INTERP {
            return None;
        }
        let (offset, len) = (word(header + 8)?, word(header + 32)?);
        let path = head.get(offset..offset.checked_add(len)?)?;
        Some(String::from_utf8_lossy(path.strip_suffix(&[0]).unwrap_or(path)).into_owned())
    })
}
