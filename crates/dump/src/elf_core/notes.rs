//! The notes of a core: threads, signal, auxiliary vector, mapped files.
//!
//! Layouts: Linux `include/linux/elfcore.h` (`elf_prstatus`, `elf_prpsinfo`) on x86-64, `fs/binfmt_elf.c`
//! (`fill_files_note`), `uapi/linux/elf.h` (note types).

use outpost_base::{Arch, ProcessId, RegisterContext, ThreadId, Va, VaRange};
use outpost_target::SigInfo;

const NT_PRSTATUS: u32 = 1;
const NT_PRFPREG: u32 = 2;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_X86_XSTATE: u32 = 0x202;
const NT_SIGINFO: u32 = 0x5349_4749;
const NT_FILE: u32 = 0x4649_4c45;

/// Offsets in `struct elf_prstatus`.
mod prstatus {
    pub(super) const CURSIG: usize = 12;
    pub(super) const PID: usize = 32;
    pub(super) const USER_TIME: usize = 48;
    pub(super) const SYSTEM_TIME: usize = 64;
    pub(super) const REGISTERS: usize = 112;
}

/// Offsets in `struct elf_prpsinfo`.
mod prpsinfo {
    pub(super) const PID: usize = 24;
    pub(super) const PPID: usize = 28;
    pub(super) const FNAME: usize = 40;
    pub(super) const ARGUMENTS: usize = 56;
    pub(super) const LEN: usize = 136;
}

/// Notes more numerous than this are not looked at.
const MAX_NOTES: usize = 1 << 20;

/// One thread.
#[derive(Debug, Clone)]
pub(super) struct CoreThread {
    pub(super) id: ThreadId,
    pub(super) signal: u16,
    pub(super) registers: RegisterContext,
    /// User and system time used, in microseconds.
    pub(super) times_us: (u64, u64),
    pub(super) siginfo: Option<SigInfo>,
}

/// A mapping of a file, from `NT_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MappedFile {
    pub(super) range: VaRange,
    pub(super) file_offset: u64,
    pub(super) path: String,
}

/// What the notes said.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// In the file's order; the kernel puts the thread that died first.
    pub(super) threads: Vec<CoreThread>,
    pub(super) process: ProcessId,
    pub(super) parent: ProcessId,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) auxv: Vec<(u64, u64)>,
    pub(super) files: Vec<MappedFile>,
    pub(super) problems: Vec<String>,
}

/// Parses the bytes of one note segment.
pub(super) fn parse(mut bytes: &[u8], notes: &mut Notes) {
    let mut count = 0;
    while !bytes.is_empty() && count < MAX_NOTES {
        count += 1;
        let Some((kind, description, rest)) = next_note(bytes) else {
            notes.problems.push(format!("a note is cut off: {} bytes are left", bytes.len()));
            return;
        };
        take(kind, description, notes);
        bytes = rest;
    }
}

/// Type, description and what follows. Name and description are padded to 4 bytes (gABI, "Note Section").
fn next_note(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let name_len = word32(bytes, 0)? as usize;
    let description_len = word32(bytes, 4)? as usize;
    let kind = word32(bytes, 8)?;
    let description = 12 + name_len.checked_next_multiple_of(4)?;
    let end = description.checked_add(description_len)?;
    let next = end.checked_next_multiple_of(4)?.min(bytes.len());
    Some((kind, bytes.get(description..end)?, bytes.get(next..)?))
}

fn take(kind: u32, bytes: &[u8], notes: &mut Notes) {
    let read = match kind {
        NT_PRSTATUS => thread(bytes).map(|thread| notes.threads.push(thread)),
        NT_PRFPREG => notes.threads.last_mut().map(|thread| {
            // The fuller NT_X86_XSTATE has it, too, and may come first.
            if thread.registers.floating.is_empty() {
                thread.registers.floating = bytes.into();
            }
        }),
        NT_X86_XSTATE => notes.threads.last_mut().map(|thread| thread.registers.floating = bytes.into()),
        NT_SIGINFO => notes.threads.last_mut().map(|thread| thread.siginfo = siginfo(bytes)),
        NT_PRPSINFO => process(bytes, notes),
        NT_AUXV => {
            let pairs = bytes.chunks_exact(16).filter_map(|pair| Some((word64(pair, 0)?, word64(pair, 8)?)));
            notes.auxv = pairs.take_while(|pair| pair.0 != 0).collect();
            Some(())
        }
        NT_FILE => files(bytes).map(|files| notes.files = files),
        _ => Some(()),
    };
    if read.is_none() {
        notes.problems.push(format!("a note of type {kind:#x} is damaged"));
    }
}

fn thread(bytes: &[u8]) -> Option<CoreThread> {
    let mut registers = RegisterContext::new(Arch::X86_64);
    for (index, word) in registers.general.iter_mut().enumerate() {
        *word = word64(bytes, prstatus::REGISTERS + 8 * index)?;
    }
    Some(CoreThread {
        id: ThreadId(word32(bytes, prstatus::PID)?),
        signal: u16::from_le_bytes([*bytes.get(prstatus::CURSIG)?, *bytes.get(prstatus::CURSIG + 1)?]),
        registers,
        siginfo: None,
        times_us: (timeval(bytes, prstatus::USER_TIME)?, timeval(bytes, prstatus::SYSTEM_TIME)?),
    })
}

/// `struct timeval` in microseconds.
fn timeval(bytes: &[u8], at: usize) -> Option<u64> {
    Some(word64(bytes, at)?.saturating_mul(1_000_000).saturating_add(word64(bytes, at + 8)?))
}

fn process(bytes: &[u8], notes: &mut Notes) -> Option<()> {
    notes.process = ProcessId(word32(bytes, prpsinfo::PID)?);
    notes.parent = ProcessId(word32(bytes, prpsinfo::PPID)?);
    notes.name = text(bytes.get(prpsinfo::FNAME..prpsinfo::ARGUMENTS)?);
    notes.arguments = text(bytes.get(prpsinfo::ARGUMENTS..prpsinfo::LEN)?).trim_end().into();
    Some(())
}

/// `siginfo_t`: signo, errno, code, then a union; for faults its first word is `si_addr`, for sent signals `si_pid`.
fn siginfo(bytes: &[u8]) -> Option<SigInfo> {
    let (signo, errno, code) = (word32(bytes, 0)? as i32, word32(bytes, 4)? as i32, word32(bytes, 8)? as i32);
    // SIGILL, SIGBUS, SIGFPE, SIGSEGV, SIGTRAP with a positive code come from the processor.
    let is_fault = code > 0 && matches!(signo, 4 | 5 | 7 | 8 | 11);
    let union_word = word64(bytes, 16)?;
    Some(SigInfo {
        signo,
        code,
        errno,
        address: Va(if is_fault { union_word } else { 0 }),
        sender: ProcessId(if code <= 0 { union_word as u32 } else { 0 }),
        raw: bytes.into(),
        fatal_by_default: true,
    })
}

/// Count and page size, then start, end and page offset of each mapping, then the paths, each with its NUL.
fn files(bytes: &[u8]) -> Option<Vec<MappedFile>> {
    let count = usize::try_from(word64(bytes, 0)?).ok()?;
    let page_size = word64(bytes, 8)?;
    let table = bytes.get(16..16_usize.checked_add(count.checked_mul(24)?)?)?;
    let mut paths = bytes.get(16 + count * 24..)?;
    let mut files = Vec::new();
    for entry in table.chunks_exact(24) {
        let end = paths.iter().position(|&byte| byte == 0)?;
        files.push(MappedFile {
            range: VaRange { start: Va(word64(entry, 0)?), end: Va(word64(entry, 8)?) },
            file_offset: word64(entry, 16)?.checked_mul(page_size)?,
            path: String::from_utf8_lossy(&paths[..end]).into_owned(),
        });
        paths = &paths[end + 1..];
    }
    Some(files)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, description: &[u8]) -> Vec<u8> {
        let mut bytes = [5_u32, description.len() as u32, kind].map(u32::to_le_bytes).concat();
        bytes.extend_from_slice(b"CORE\0\0\0\0");
        bytes.extend_from_slice(description);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn notes_after_a_thread_belong_to_it() {
        let mut status = vec![0; 336];
        status[prstatus::CURSIG] = 11;
        status[prstatus::PID] = 77;
        let mut fault = vec![0; 128];
        (fault[0], fault[8], fault[16]) = (11, 1, 0x42);
        let bytes = [note(NT_PRSTATUS, &status), note(NT_SIGINFO, &fault), note(NT_PRFPREG, &[9; 512])].concat();
        let mut notes = Notes::default();
        parse(&bytes, &mut notes);
        let thread = &notes.threads[0];
        assert_eq!((thread.id, thread.signal, thread.registers.floating.len()), (ThreadId(77), 11, 512));
        assert_eq!(thread.siginfo.as_ref().unwrap().address, Va(0x42));
        assert!(notes.problems.is_empty());
    }

    #[test]
    fn damage_is_told_and_the_rest_read() {
        let mut bytes = [note(NT_PRSTATUS, &[0; 10]), note(NT_AUXV, &[1; 16])].concat();
        bytes.extend_from_slice(&[0xff; 12]);
        let mut notes = Notes::default();
        parse(&bytes, &mut notes);
        assert_eq!((notes.threads.len(), notes.auxv.len(), notes.problems.len()), (0, 1, 2));
    }
}
