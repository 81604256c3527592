//! A process's memory from outside: scatter reads, writes and searches that stop nobody.
//!
//! Reads go by `process_vm_readv(2)`, many ranges in one call. What it refuses (pages mapped without read permission, a
//! system call filter) is tried again by `/proc/PID/mem`, which also takes the writes: it ignores page protection, so
//! that read-only code can be changed, and it keeps working while the process runs and when its tracer died.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use memchr::memmem;
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use outpost_base::{MemoryReader, ProcessId, Va, VaRange};
use outpost_target::{ReadRequest, Region, SearchRequest, TargetError};

use crate::error::os_error;

/// Ranges read by one system call; the kernel takes up to 1024 (`UIO_MAXIOV`).
const MAX_RANGES_PER_CALL: usize = 512;
/// Ranges longer than this are read by themselves, piece by piece, so that memory is spent only on what is there.
const PIECE: u64 = 4 << 20;
/// All that one batch of reads may ask for.
const MAX_BATCH: u64 = 1 << 30;
/// How much a search reads at a time: half of a usual second-level cache, so that it is searched while hot.
const SEARCH_PIECE: usize = 256 << 10;
/// The granularity at which memory is readable or not.
const PAGE: u64 = 4096;

/// The memory of one process.
///
/// The value belongs to the address space that the process had when it was opened: after exec it must be opened anew.
#[derive(Debug)]
pub struct ProcessMemory {
    process: ProcessId,
    /// A thread that had the memory when it was opened; the first one may have ended before the others.
    thread: Pid,
    mem: File,
}

impl ProcessMemory {
    /// Opens a process's memory for reading and writing.
    ///
    /// # Errors
    /// [`TargetError::NoProcess`], or [`TargetError::Permission`] where the kernel would refuse to trace it, too.
    /// Source: `proc_pid_mem(5)`, `ptrace(2)` (access mode `PTRACE_MODE_ATTACH_FSCREDS`).
    pub fn open(process: ProcessId) -> Result<ProcessMemory, TargetError> {
        let thread = living_thread(process).ok_or(TargetError::NoProcess { process })?;
        let path = format!("/proc/{process}/task/{thread}/mem");
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(mem) => Ok(ProcessMemory { process, thread: Pid::from_raw(thread), mem }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound => TargetError::NoProcess { process },
                // It ended meanwhile, or it is a thread of the kernel, which has none.
                _ if error.raw_os_error() == Some(Errno::ESRCH as i32) => TargetError::NoProcess { process },
                io::ErrorKind::PermissionDenied => TargetError::Permission {
                    what: format!("the memory of process {process}"),
                    remedy: "run the server as the process's user or with CAP_SYS_PTRACE".into(),
                },
                _ => os_error(format!("open {path}"), error),
            }),
        }
    }

    /// Whose memory it is.
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// The open `/proc/PID/mem`; it outlives the tracing, and can be handed to another process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.mem.as_fd()
    }

    /// Reads at `at` into `buf`; returns the number of leading bytes that were readable.
    pub fn read(&self, at: Va, buf: &mut [u8]) -> usize {
        let got = self.read_ranges(&mut [buf], &[at]);
        if got == buf.len() { got } else { got + self.read_by_file(at + got as u64, &mut buf[got..]) }
    }

    /// Reads many ranges; each answer holds the leading bytes of its range that were readable, maybe none.
    ///
    /// # Errors
    /// [`TargetError::Invalid`] if all together are longer than 1 GiB.
    pub fn read_many(&self, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        let total = reads.iter().fold(0u64, |sum, read| sum.saturating_add(read.len));
        if total > MAX_BATCH {
            return Err(TargetError::Invalid { reason: format!("a batch of reads has at most {MAX_BATCH} bytes") });
        }
        let mut answers = Vec::with_capacity(reads.len());
        let mut rest = reads;
        while let Some(first) = rest.first() {
            if first.len > PIECE {
                answers.push(self.read_by_pieces(first));
                rest = &rest[1..];
                continue;
            }
            let mut bytes = 0;
            let count = rest
                .iter()
                .take(MAX_RANGES_PER_CALL)
                .take_while(|read| {
                    bytes += read.len;
                    bytes <= PIECE
                })
                .count();
            let (batch, further) = rest.split_at(count);
            self.read_batch(batch, &mut answers);
            rest = further;
        }
        Ok(answers)
    }

    /// Writes `bytes` at `at`, whatever the page's protection; returns the number of leading bytes written.
    pub fn write(&self, at: Va, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            match self.mem.write_at(&bytes[done..], (at + done as u64).0) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done
    }

    /// Finds a pattern in those parts of the request's range that `regions` names and that can be read.
    ///
    /// Hits ascend and may overlap; one that spans two adjacent regions is found. `hide` is called with each piece
    /// that was read, to put back what breakpoints displaced.
    ///
    /// # Errors
    /// [`TargetError::Invalid`] for a pattern that is empty or longer than 1024 bytes, or alignment 0.
    pub fn search(
        &self,
        regions: &[Region],
        request: &SearchRequest,
        mut hide: impl FnMut(Va, &mut [u8]),
    ) -> Result<Vec<Va>, TargetError> {
        let pattern = request.pattern.as_slice();
        if pattern.is_empty() || pattern.len() > 1024 || request.alignment == 0 {
            return Err(TargetError::Invalid {
                reason: "a search pattern has 1 to 1024 bytes and its alignment is not 0".into(),
            });
        }
        let finder = memmem::Finder::new(pattern);
        let overlap = pattern.len() - 1;
        let mut buf = vec![0; SEARCH_PIECE + overlap];
        let mut hits = Vec::new();
        for range in searched_ranges(regions, request) {
            // What the last piece left over: the bytes in which a hit may begin that ends in the next piece.
            let (mut carried, mut at) = (0, range.start);
            while at < range.end {
                let want = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(SEARCH_PIECE);
                let got = self.read(at, &mut buf[carried..carried + want]);
                hide(at, &mut buf[carried..carried + got]);
                let filled = carried + got;
                let first = at - carried as u64;
                let mut from = 0;
                while let Some(found) = finder.find(&buf[from..filled]) {
                    let hit = first + (from + found) as u64;
                    if (hit - request.range.start).is_multiple_of(u64::from(request.alignment)) {
                        hits.push(hit);
                        if hits.len() >= request.limit as usize {
                            return Ok(hits);
                        }
                    }
                    from += found + 1;
                }
                if got == want {
                    carried = overlap.min(filled);
                    buf.copy_within(filled - carried..filled, 0);
                    at += got as u64;
                } else {
                    // A hole inside a region: a mapped file that was cut short, or a region that just went away.
                    carried = 0;
                    let Some(next) = (at + got as u64).align_down(PAGE).checked_add(PAGE) else { break };
                    at = next;
                }
            }
        }
        Ok(hits)
    }

    fn read_batch(&self, reads: &[ReadRequest], answers: &mut Vec<Vec<u8>>) {
        let first = answers.len();
        answers.extend(reads.iter().map(|read| vec![0; read.len as usize]));
        let mut done = 0;
        while done < reads.len() {
            let mut parts: Vec<&mut [u8]> = answers[first + done..].iter_mut().map(Vec::as_mut_slice).collect();
            let starts: Vec<Va> = reads[done..].iter().map(|read| read.at).collect();
            let mut got = self.read_ranges(&mut parts, &starts);
            // Whole answers, then the one that ended early; behind it nothing was tried.
            while done < reads.len() && got >= answers[first + done].len() {
                got -= answers[first + done].len();
                done += 1;
            }
            if let Some(read) = reads.get(done) {
                let answer = &mut answers[first + done];
                let more = self.read_by_file(read.at + got as u64, &mut answer[got..]);
                answer.truncate(got + more);
                done += 1;
            }
        }
    }

    fn read_by_pieces(&self, read: &ReadRequest) -> Vec<u8> {
        let mut answer = Vec::new();
        while (answer.len() as u64) < read.len {
            let have = answer.len();
            let want = (read.len - have as u64).min(PIECE) as usize;
            answer.resize(have + want, 0);
            let got = self.read(read.at + have as u64, &mut answer[have..]);
            answer.truncate(have + got);
            if got < want {
                break;
            }
        }
        answer
    }

    /// One `process_vm_readv`: bytes read in all, the ranges being filled in order up to the first unreadable byte.
    ///
    /// The kernel copies page by page and counts what it copied, so that a range may be filled in part.
    fn read_ranges(&self, parts: &mut [&mut [u8]], starts: &[Va]) -> usize {
        let remote: Vec<RemoteIoVec> = starts
            .iter()
            .zip(parts.iter())
            .map(|(at, part)| RemoteIoVec { base: at.0 as usize, len: part.len() })
            .collect();
        let mut local: Vec<IoSliceMut<'_>> = parts.iter_mut().map(|part| IoSliceMut::new(part)).collect();
        loop {
            match process_vm_readv(self.thread, &mut local, &remote) {
                Ok(got) => return got,
                Err(Errno::EINTR) => {}
                // Unreadable, refused or no such call: the other way is tried.
                Err(_) => return 0,
            }
        }
    }

    fn read_by_file(&self, at: Va, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            match self.mem.read_at(&mut buf[done..], (at + done as u64).0) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done
    }
}

impl MemoryReader for ProcessMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        ProcessMemory::read(self, at, buf)
    }
}

impl MemoryReader for &ProcessMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        ProcessMemory::read(self, at, buf)
    }
}

/// A file of the process in `/proc` that goes by its memory: by a thread that has it, where the leader has not any more.
pub(crate) fn file_by_memory(process: ProcessId, name: &str) -> String {
    match living_thread(process) {
        Some(thread) if thread != process.0 as i32 => format!("/proc/{process}/task/{thread}/{name}"),
        _ => format!("/proc/{process}/{name}"),
    }
}

/// A thread of the process that still has its memory: a zombie leader, as `pthread_exit` in `main` leaves it, does not.
fn living_thread(process: ProcessId) -> Option<i32> {
    let leader = process.0 as i32;
    if has_memory(process, leader) {
        return Some(leader);
    }
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let mut threads = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    threads.find(|thread| has_memory(process, *thread))
}

/// Whether a thread has not ended. The leader stays, as a zombie, until all others have.
pub(crate) fn has_memory(process: ProcessId, thread: i32) -> bool {
    let stat = fs::read(format!("/proc/{process}/task/{thread}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold any byte (proc_pid_stat(5)).
    let state = stat.iter().rposition(|&byte| byte == b')').and_then(|at| stat.get(at + 2));
    state.is_some_and(|state| !b"ZX".contains(state))
}

/// The parts of the request's range to look at, adjacent ones joined.
fn searched_ranges(regions: &[Region], request: &SearchRequest) -> Vec<VaRange> {
    let mut ranges: Vec<VaRange> = Vec::new();
    for region in regions {
        if !region.read || (request.writable_only && !region.write) {
            continue;
        }
        let start = region.range.start.max(request.range.start);
        let end = region.range.end.min(request.range.end);
        if end <= start {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(VaRange { start, end }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use outpost_testkit::{Build, Compiler, Running};

    use super::*;
    use crate::regions::read_regions;

    fn own() -> ProcessMemory {
        ProcessMemory::open(ProcessId(std::process::id())).unwrap()
    }

    fn address(bytes: &[u8]) -> Va {
        Va(bytes.as_ptr() as u64)
    }

    fn everything(pattern: &[u8]) -> SearchRequest {
        SearchRequest {
            range: VaRange { start: Va(0), end: Va(u64::MAX) },
            pattern: pattern.to_vec(),
            alignment: 1,
            writable_only: false,
            limit: 1000,
        }
    }

    /// A program with four pages: `A`s without any access, `B`s read-only, nothing, `D`s; it prints where they start.
    fn holed() -> (Running, ProcessMemory, Va) {
        let source = r#"
            #include <stdio.h>
            #include <string.h>
            #include <sys/mman.h>
            #include <unistd.h>
            int main(void) {
                char *p = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                for (int i = 0; i < 4; i++) memset(p + i * 4096, 'A' + i, 4096);
                mprotect(p, 4096, PROT_NONE);
                mprotect(p + 4096, 4096, PROT_READ);
                munmap(p + 2 * 4096, 4096);
                printf("%lx\n", (unsigned long)p);
                fflush(stdout);
                pause();
            }
        "#;
        let mut program = Running::start(Build::source(Compiler::Gcc, "holed", source).path(), &[]);
        let start = Va(u64::from_str_radix(&program.line(), 16).unwrap());
        let memory = ProcessMemory::open(ProcessId(program.pid())).unwrap();
        (program, memory, start)
    }

    #[test]
    fn each_answer_is_the_readable_prefix() {
        let (_program, memory, start) = holed();
        let request = |at, len| ReadRequest { at, len };
        let reads = [
            request(start + 0x1ff8, 16),  // into the hole
            request(start + 0x2000, 16),  // in the hole
            request(start + 0xff8, 16),   // from the page without access into the next
            request(start + 0x3000, 16),  // behind the hole
            request(start, 8 << 20),      // more than a piece
            request(Va(u64::MAX - 3), 8), // around the end of the address space
            request(start + 0x3ffe, 0),
        ];
        let answers = memory.read_many(&reads).unwrap();
        assert_eq!(answers[0], [b'B'; 8]);
        assert_eq!(answers[1], []);
        assert_eq!(answers[2], [[b'A'; 8], [b'B'; 8]].concat());
        assert_eq!(answers[3], [b'D'; 16]);
        assert_eq!(answers[4], [[b'A'; 4096], [b'B'; 4096]].concat());
        assert_eq!((answers[5].len(), answers[6].len()), (0, 0));
    }

    #[test]
    fn a_thousand_ranges_come_in_order() {
        let numbers: Vec<u8> = (0..2000u32).flat_map(u32::to_le_bytes).collect();
        let reads: Vec<_> = (0..2000).map(|at| ReadRequest { at: address(&numbers) + at * 4, len: 4 }).collect();
        let answers = own().read_many(&reads).unwrap();
        assert_eq!(answers.concat(), numbers);
    }

    #[test]
    fn absurd_batches_are_refused_before_memory_is_taken() {
        let absurd = [ReadRequest { at: Va(0), len: u64::MAX }];
        assert!(matches!(own().read_many(&absurd), Err(TargetError::Invalid { .. })));
    }

    #[test]
    fn writes_ignore_protection_and_stop_at_holes() {
        let (_program, memory, start) = holed();
        assert_eq!(memory.write(start + 0x1ffc, b"12345678"), 4);
        assert_eq!(memory.write(start + 0x2000, b"x"), 0);
        let mut buf = [0; 5];
        assert_eq!(memory.read(start + 0x1ffb, &mut buf), 5);
        assert_eq!(&buf, b"B1234");
    }

    #[test]
    fn a_process_whose_first_thread_ended_is_readable() {
        let source = r#"
            #include <pthread.h>
            #include <stdio.h>
            #include <unistd.h>
            static volatile int here = 4711;
            static void *other(void *unused) { sleep(1); printf("%p\n", (void *)&here); fflush(stdout); pause(); return unused; }
            int main(void) { pthread_t t; pthread_create(&t, 0, other, 0); pthread_exit(0); }
        "#;
        let mut program = Running::start(Build::source(Compiler::Gcc, "leaderless", source).path(), &[]);
        let at = Va(u64::from_str_radix(program.line().trim_start_matches("0x"), 16).unwrap());
        let memory = ProcessMemory::open(ProcessId(program.pid())).unwrap();
        let mut buf = [0; 4];
        assert_eq!(memory.read(at, &mut buf), 4);
        assert_eq!(u32::from_le_bytes(buf), 4711);
    }

    #[test]
    fn no_such_process_is_said_so() {
        let error = ProcessMemory::open(ProcessId(u32::MAX >> 1)).unwrap_err();
        assert!(matches!(error, TargetError::NoProcess { .. }));
    }

    #[test]
    fn hits_on_seams_and_overlapping_ones_are_found() {
        let mut bytes = vec![b'.'; 3 * SEARCH_PIECE];
        // Filled at run time, so that the pattern is nowhere else in this process in one piece.
        let pattern: Vec<u8> = (0..9).map(|i| if i % 2 == 0 { b'q' ^ 0x55 } else { 0x9e }).collect();
        for at in [SEARCH_PIECE - 4, SEARCH_PIECE, 2 * SEARCH_PIECE - 1] {
            bytes[at..at + 9].copy_from_slice(&pattern);
        }
        let regions = read_regions(ProcessId(std::process::id()), &[]).unwrap();
        let range = VaRange::from_len(address(&bytes), bytes.len() as u64);
        let short = SearchRequest { range, ..everything(&pattern[..3]) };
        let hits = own().search(&regions, &short, |_, _| {}).unwrap();
        let naive: Vec<Va> = bytes
            .windows(3)
            .enumerate()
            .filter(|(_, window)| *window == &pattern[..3])
            .map(|(at, _)| range.start + at as u64)
            .collect();
        assert!(naive.len() >= 10);
        assert_eq!(hits, naive);
        let aligned = SearchRequest { alignment: 4, limit: 2, ..short };
        let expected: Vec<Va> =
            naive.into_iter().filter(|hit| (*hit - range.start).is_multiple_of(4)).take(2).collect();
        assert_eq!(own().search(&regions, &aligned, |_, _| {}).unwrap(), expected);
    }

    #[test]
    fn searches_pass_over_holes_and_see_what_is_hidden() {
        let (program, memory, start) = holed();
        let regions = read_regions(ProcessId(program.pid()), &[]).unwrap();
        let request = SearchRequest { range: VaRange::from_len(start, 4 * 4096), limit: 1, ..everything(b"DD") };
        assert_eq!(memory.search(&regions, &request, |_, _| {}).unwrap(), [start + 0x3000]);
        let hidden = SearchRequest { pattern: b"BxB".to_vec(), ..request };
        let hits = memory.search(&regions, &hidden, |at, bytes| {
            if let Some(byte) = (start + 0x1800 - at).try_into().ok().and_then(|skip: usize| bytes.get_mut(skip)) {
                *byte = b'x';
            }
        });
        assert_eq!(hits.unwrap(), [start + 0x17ff]);
    }
}
