//! The guardian's side: what the journal says at one moment, every number bounded by the layout.

use std::io;
use std::os::fd::BorrowedFd;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va, VaRange};
use rustix::io::{Errno, pread};

use super::layout::*;
use super::{RegionKind, SIGNAL_INFO_SIZE};
use crate::lifeline::KernelSigaction;
use crate::pages::ProtectedPages;
use crate::regions::parse_maps;
use crate::sys::mapping_query::mapping_at;

/// Highest signal number.
const MAX_SIGNAL: u64 = 64;

/// All that the journal holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalImage {
    /// Whether created processes are let go instead of ended.
    pub detach_on_exit: bool,
    /// Processes of the session.
    pub processes: Vec<JournaledProcess>,
    /// Places where bytes were, or were about to be, replaced.
    pub sites: Vec<JournaledSite>,
    /// Threads with something to undo.
    pub threads: Vec<JournaledThread>,
    /// Mappings of ours.
    pub regions: Vec<JournaledRegion>,
    /// Signal actions of ours in place of the program's.
    pub actions: Vec<JournaledAction>,
    /// Pages of programs that have, or were about to have, a protection of ours.
    pub pages: Vec<JournaledPages>,
    /// Records that make no sense and were left out.
    pub problems: u32,
}

/// A process of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournaledProcess {
    /// Its id.
    pub process: ProcessId,
    /// Whether the session created it.
    pub created: bool,
    /// Whether a filter of its threads' system calls forbids how a stopped sleep goes on.
    pub begins_anew: bool,
    /// Its start in clock ticks since that of the machine, to tell it from a later one of the same id; 0: not known.
    pub start_ticks: u64,
}

/// What is mapped at an address, so that a place can be found to be another one meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MappingIdentity {
    /// Device of the file, 0 for anonymous memory.
    pub device: u64,
    /// Its inode, 0 for anonymous memory.
    pub inode: u64,
    /// Offset in the file of the byte at the address; 0 for anonymous memory.
    pub offset: u64,
}

/// A place whose bytes were, or were about to be, replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledSite {
    /// Its address space.
    pub space: AddressSpaceId,
    /// A process that lives there.
    pub process: ProcessId,
    /// First address.
    pub at: Va,
    /// What belongs there, 1 to 16 bytes.
    pub original: Vec<u8>,
    /// What we wrote, of the same length.
    pub replacement: Vec<u8>,
    /// What was mapped there.
    pub identity: MappingIdentity,
}

/// A thread with something to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledThread {
    /// Its process.
    pub process: ProcessId,
    /// It.
    pub thread: ThreadId,
    /// Debug registers are, or were about to be, set.
    pub debug_registers: bool,
    /// It single-steps, or was about to.
    pub stepping: bool,
    /// It blocks SIGTRAP, which was, or was about to be, unblocked for its steps.
    pub trap_unblocked: bool,
    /// A signal that it was about to get and that its stop has swallowed; 0: none.
    pub signal: i32,
    /// That signal's `siginfo_t`, if it was told.
    pub information: Option<Box<[u8; SIGNAL_INFO_SIZE]>>,
}

/// A mapping of ours in a debuggee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournaledRegion {
    /// The debuggee.
    pub process: ProcessId,
    /// First address.
    pub at: Va,
    /// Bytes.
    pub len: u64,
    /// What it is for.
    pub kind: RegionKind,
}

/// A signal action of ours in place of the program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournaledAction {
    /// The debuggee.
    pub process: ProcessId,
    /// The signal.
    pub signal: i32,
    /// Our handler.
    pub ours: Va,
    /// What belongs there.
    pub own: KernelSigaction,
}

/// Pages of a program with a protection of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournaledPages {
    /// The debuggee.
    pub process: ProcessId,
    /// Which, and how they are protected.
    pub piece: ProtectedPages,
}

impl JournalImage {
    /// Reads the journal from its file. The writer may be dead, or alive and writing: then a record that is being
    /// written is left out or taken whole, except that one given back and taken again meanwhile may be mixed.
    ///
    /// # Errors
    /// `InvalidData` if it is no journal of this version; those of pread(2). A journal that was never opened by its
    /// writer is empty.
    pub fn read(file: BorrowedFd<'_>) -> io::Result<JournalImage> {
        let Some(header) = read_header(file)? else { return Ok(JournalImage::default()) };
        let detach_on_exit = header[WORD_POLICY] & 1 != 0;
        let mut image = JournalImage { detach_on_exit, ..JournalImage::default() };
        let problems = &mut image.problems;
        let table = |table: Table| read_table(file, table, header[table.used()]);
        image.processes = parse(&table(PROCESSES)?, problems, process);
        image.sites = parse(&table(SITES)?, problems, site);
        image.threads = parse(&table(THREADS)?, problems, thread);
        image.regions = parse(&table(REGIONS)?, problems, region);
        image.actions = parse(&table(ACTIONS)?, problems, action);
        image.pages = parse(&table(PAGES)?, problems, pages);
        Ok(image)
    }
}

impl JournalImage {
    /// The processes of the session alone.
    ///
    /// # Errors
    /// As [`JournalImage::read`].
    pub fn read_processes(file: BorrowedFd<'_>) -> io::Result<Vec<JournaledProcess>> {
        let Some(header) = read_header(file)? else { return Ok(Vec::new()) };
        Ok(parse(&read_table(file, PROCESSES, header[PROCESSES.used()])?, &mut 0, process))
    }
}

impl MappingIdentity {
    /// What is mapped at `at` in a process, asked through its open `maps`; `None` if nothing is.
    pub(crate) fn at(maps: BorrowedFd<'_>, process: ProcessId, at: Va) -> Option<MappingIdentity> {
        let (start, offset, device, inode) = match mapping_at(maps, at.0) {
            Ok(found) => (found.start, found.offset, found.device, found.inode),
            Err(Errno::NOENT) => return None,
            // An older kernel: look it up in the whole list.
            Err(_) => {
                let text = std::fs::read(crate::memory::file_by_memory(process, "maps")).ok()?;
                let region = parse_maps(&text).into_iter().find(|region| region.range.contains(at))?;
                (region.range.start.0, region.file_offset, region.device, region.inode)
            }
        };
        Some(match inode {
            0 => MappingIdentity::default(),
            inode => MappingIdentity { device, inode, offset: offset.wrapping_add(at.0.wrapping_sub(start)) },
        })
    }
}

/// The header's words; `None` if no writer ever opened the journal.
fn read_header(file: BorrowedFd<'_>) -> io::Result<Option<[u64; HEADER_WORDS]>> {
    let words = read_words(file, 0, HEADER_WORDS)?;
    let header: [u64; HEADER_WORDS] = words.try_into().map_err(|_| io::ErrorKind::UnexpectedEof)?;
    match (header[WORD_MAGIC], header[WORD_VERSION]) {
        (0, _) => Ok(None),
        (MAGIC, VERSION) => Ok(Some(header)),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

fn read_words(file: BorrowedFd<'_>, first: usize, count: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count * size_of::<u64>()];
    let mut done = 0;
    while done < bytes.len() {
        match pread(file, &mut bytes[done..], (first * size_of::<u64>() + done) as u64) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(got) => done += got,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// The fields of a table's valid records. `used` is the writer's word for how many to look at.
fn read_table(file: BorrowedFd<'_>, table: Table, used: u64) -> io::Result<Vec<Vec<u64>>> {
    let used = usize::try_from(used).unwrap_or(usize::MAX).min(table.capacity);
    let words = read_words(file, table.record(0), used * table.width)?;
    Ok(words.chunks_exact(table.width).filter(|record| record[0] == 1).map(|record| record[1..].to_vec()).collect())
}

fn parse<T>(records: &[Vec<u64>], problems: &mut u32, one: impl Fn(&[u64]) -> Option<T>) -> Vec<T> {
    let parsed = records.iter().filter_map(|record| {
        let parsed = one(record);
        *problems += u32::from(parsed.is_none());
        parsed
    });
    parsed.collect()
}

/// A process id that names a process: not 0, which is the caller, and not init.
fn process_id(word: u64) -> Option<ProcessId> {
    u32::try_from(word).ok().filter(|id| (2..=i32::MAX as u32).contains(id)).map(ProcessId)
}

fn process(fields: &[u64]) -> Option<JournaledProcess> {
    let [process, flags, start_ticks] = *fields else { return None };
    let (created, begins_anew) = (flags & PROCESS_CREATED != 0, flags & PROCESS_BEGINS_ANEW != 0);
    Some(JournaledProcess { process: process_id(process)?, created, begins_anew, start_ticks })
}

fn site(fields: &[u64]) -> Option<JournaledSite> {
    let [space, process, at, len, ref bytes @ .., device, inode, offset] = *fields else { return None };
    let bytes: Vec<u8> = bytes.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (original, replacement) = bytes.split_at_checked(SITE_BYTES)?;
    let len = usize::try_from(len).ok().filter(|len| (1..=SITE_BYTES).contains(len))?;
    Some(JournaledSite {
        space: AddressSpaceId(space),
        process: process_id(process)?,
        at: Va(at),
        original: original.get(..len)?.to_vec(),
        replacement: replacement.get(..len)?.to_vec(),
        identity: MappingIdentity { device, inode, offset },
    })
}

fn thread(fields: &[u64]) -> Option<JournaledThread> {
    let [ids, flags, ref information @ .., _] = *fields else { return None };
    let signal = flags >> THREAD_SIGNAL_SHIFT;
    let bytes: Vec<u8> = information.iter().flat_map(|word| word.to_le_bytes()).collect();
    let information = match flags & THREAD_HAS_INFORMATION {
        0 => None,
        _ => Some(Box::new(bytes.try_into().ok()?)),
    };
    Some(JournaledThread {
        process: process_id(ids >> 32)?,
        thread: ThreadId(process_id(ids & u64::from(u32::MAX))?.0),
        debug_registers: flags & THREAD_DEBUG_REGISTERS != 0,
        stepping: flags & THREAD_STEPPING != 0,
        trap_unblocked: flags & THREAD_TRAP_UNBLOCKED != 0,
        signal: i32::try_from(signal).ok().filter(|_| signal <= MAX_SIGNAL)?,
        information,
    })
}

fn region(fields: &[u64]) -> Option<JournaledRegion> {
    let [process, at, len, kind, _] = *fields else { return None };
    at.checked_add(len).filter(|_| len != 0)?;
    Some(JournaledRegion { process: process_id(process)?, at: Va(at), len, kind: RegionKind::from_word(kind)? })
}

fn action(fields: &[u64]) -> Option<JournaledAction> {
    let [process, signal, ours, handler, flags, restorer, mask] = *fields else { return None };
    Some(JournaledAction {
        process: process_id(process)?,
        signal: i32::try_from(signal).ok().filter(|signal| (1..=MAX_SIGNAL as i32).contains(signal))?,
        ours: Va(ours),
        own: KernelSigaction { handler, flags, restorer, mask },
    })
}

fn pages(fields: &[u64]) -> Option<JournaledPages> {
    let [process, at, len, own, ours] = *fields else { return None };
    let end = at.checked_add(len).filter(|end| len != 0 && at % 4096 == 0 && end % 4096 == 0)?;
    let flags = |word: u64| u32::try_from(word).ok().filter(|flags| *flags <= 7);
    let range = VaRange { start: Va(at), end: Va(end) };
    let piece = ProtectedPages { range, own: flags(own)?, ours: flags(ours)? };
    Some(JournaledPages { process: process_id(process)?, piece })
}
