//! The system call that a thread is blocked in, by its registers.

use outpost_base::{MemoryReader, RegisterContext, Va};
use outpost_target::FileLockKind;

use super::{WaitedFile, Waiting};
use crate::syscall_name;

/// What the kernel has left in rax of a thread that was stopped while it waited: calls that are to be restarted
/// (Linux include/linux/errno.h: ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK), and EINTR, with which
/// calls end that are not.
const INTERRUPTED: [i64; 5] = [-512, -513, -514, -516, -4];
/// Descriptors of poll(2) that are told.
const POLLED: u64 = 16;
/// Commands of futex(2) that wait: FUTEX_WAIT, FUTEX_LOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2.
const FUTEX_WAITS: [u64; 5] = [0, 6, 9, 11, 13];
const FUTEX_COMMAND: u64 = 0x7f;

/// The call that goes on with another after a stop (restart_syscall(2)), and those that it goes on with: `nanosleep`,
/// `clock_nanosleep`, `futex`, `poll`.
const RESTART: u64 = 219;
const RESTARTED: [u64; 4] = [35, 230, 202, 7];
/// Bytes before a call that its number is looked for in.
pub(super) const CODE: usize = 64;

/// A call with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SystemCall {
    name: &'static str,
    arguments: [u64; 6],
}

/// The call that a thread is blocked in; `None` if it runs code of its own. `code_before` gives up to [`CODE`] bytes of code
/// that end at an address.
pub(super) fn blocked_in(registers: &RegisterContext, code_before: impl Fn(Va) -> Vec<u8>) -> Option<SystemCall> {
    let arch = registers.arch;
    let value = |name: &str| registers.get_u64(arch.register_by_name(name)?);
    let number = value("orig_rax").filter(|number| *number as i64 >= 0)?;
    if !INTERRUPTED.contains(&(value("rax")? as i64)) {
        return None;
    }
    // A thread that was stopped before goes on with what it was in; the arguments are still where they were.
    let number = match number {
        RESTART => number_in(&code_before(registers.pc())).unwrap_or(number),
        number => number,
    };
    let mut arguments = [0; 6];
    for (slot, name) in arguments.iter_mut().zip(["rdi", "rsi", "rdx", "r10", "r8", "r9"]) {
        *slot = value(name)?;
    }
    Some(SystemCall::new(number, arguments))
}

/// The number of a call that may be restarted, by the last `mov eax, NUMBER` before it.
fn number_in(code: &[u8]) -> Option<u64> {
    code.windows(5).rev().find_map(|window| {
        let (0xb8, number) = window.split_first().map(|(first, rest)| (*first, rest))? else { return None };
        let number = u64::from(u32::from_le_bytes(*number.first_chunk()?));
        RESTARTED.contains(&number).then_some(number)
    })
}

/// A lock of a file that a call wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WantedLock {
    pub(super) kind: FileLockKind,
    pub(super) is_exclusive: bool,
    /// Of fcntl(2): `l_whence`, `l_start`, `l_len`.
    range: (u16, i64, i64),
}

impl WantedLock {
    /// First and last byte of the range, by the descriptor's position; the widest it can be where the file's length decides.
    pub(super) fn range(&self, position: u64) -> (u64, Option<u64>) {
        // SEEK_SET, SEEK_CUR (lseek(2)).
        let (whence, start, len) = self.range;
        let from = match whence {
            0 => start,
            1 => (position as i64).saturating_add(start),
            _ => return (0, None),
        };
        match len {
            0 => (from.max(0) as u64, None),
            1.. => (from.max(0) as u64, Some(from.saturating_add(len - 1).max(0) as u64)),
            _ => (from.saturating_add(len).max(0) as u64, Some((from - 1).max(0) as u64)),
        }
    }
}

impl SystemCall {
    /// The call of this number.
    pub(super) fn new(number: u64, arguments: [u64; 6]) -> SystemCall {
        SystemCall { name: syscall_name(number).unwrap_or("an unknown system call"), arguments }
    }

    /// The lock of a file that it waits for (flock(2), fcntl(2)), if it is such a call.
    pub(super) fn wanted_lock(&self, memory: &mut dyn MemoryReader) -> Option<WantedLock> {
        // LOCK_EX; F_SETLKW, F_OFD_SETLKW; F_WRLCK.
        const EXCLUSIVE: u64 = 2;
        const WAIT: u64 = 7;
        const WAIT_OF_DESCRIPTION: u64 = 38;
        const WRITE: u16 = 1;
        let [_, operation, at, ..] = self.arguments;
        let kind = match (self.name, operation) {
            ("flock", _) => {
                let is_exclusive = operation & EXCLUSIVE != 0;
                return Some(WantedLock { kind: FileLockKind::Whole, is_exclusive, range: (0, 0, 0) });
            }
            ("fcntl", WAIT) => FileLockKind::Record,
            ("fcntl", WAIT_OF_DESCRIPTION) => FileLockKind::Description,
            _ => return None,
        };
        // struct flock: l_type, l_whence, l_start, l_len.
        let mut word = |offset: u64, len: usize| memory.read_uint(Va(at.checked_add(offset)?), len);
        let is_exclusive = word(0, 2)? as u16 == WRITE;
        let range = (word(2, 2)? as u16, word(8, 8)? as i64, word(16, 8)? as i64);
        Some(WantedLock { kind, is_exclusive, range })
    }

    /// The word that is waited on, if it is futex(2).
    pub(super) fn futex(&self) -> Option<Va> {
        let waits = self.name == "futex" && FUTEX_WAITS.contains(&(self.arguments[1] & FUTEX_COMMAND));
        waits.then(|| Va(self.arguments[0]))
    }

    /// Whether it ends by itself after a time.
    pub(super) fn is_timed(&self) -> bool {
        let [_, _, third, fourth, fifth, _] = self.arguments;
        match self.name {
            "futex" => fourth != 0,
            "poll" => third as i32 >= 0,
            "epoll_wait" | "epoll_pwait" => fourth as i32 >= 0,
            "ppoll" => third != 0,
            "select" | "pselect6" => fifth != 0,
            "nanosleep" | "clock_nanosleep" => true,
            _ => false,
        }
    }

    /// What a call other than futex(2) waits for.
    pub(super) fn waiting(&self, memory: &mut dyn MemoryReader) -> Waiting {
        let [first, second, ..] = self.arguments;
        let one = |number: u64| vec![WaitedFile::of(number as u32)];
        let files = match self.name {
            "read" | "readv" | "pread64" | "preadv" | "preadv2" | "write" | "writev" | "pwrite64" | "pwritev"
            | "pwritev2" | "accept" | "accept4" | "connect" | "recvfrom" | "recvmsg" | "recvmmsg" | "sendto"
            | "sendmsg" | "sendmmsg" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "flock" | "fcntl" | "fsync"
            | "fdatasync" | "ioctl" | "splice" | "getdents64" => one(first),
            "sendfile" => vec![WaitedFile::of(second as u32), WaitedFile::of(first as u32)],
            "poll" | "ppoll" => polled(first, second, memory),
            "select" | "pselect6" | "open" | "openat" => Vec::new(),
            "nanosleep" | "clock_nanosleep" => return Waiting::Sleep,
            "wait4" => return Waiting::Child(u32::try_from(first as i32).ok().filter(|id| *id > 0)),
            // P_PID (waitid(2)).
            "waitid" => return Waiting::Child((first == 1).then_some(second as u32)),
            "pause" | "rt_sigsuspend" | "rt_sigtimedwait" => return Waiting::Signal,
            other => return Waiting::Call(other.to_owned()),
        };
        Waiting::File { call: self.name.to_owned(), files }
    }
}

/// Descriptors of an array of `struct pollfd`: descriptor, wanted and found events.
fn polled(at: u64, count: u64, memory: &mut dyn MemoryReader) -> Vec<WaitedFile> {
    let descriptor = |number: u64| memory.read_uint(Va(at.wrapping_add(8 * number)), 4);
    let numbers = (0..count.min(POLLED)).map_while(descriptor);
    numbers.filter(|number| *number as i32 >= 0).map(|number| WaitedFile::of(number as u32)).collect()
}

#[cfg(test)]
mod tests {
    use outpost_base::{Arch, RegisterValue};

    use super::*;

    fn call(number: u64, rax: i64, arguments: &[u64]) -> Option<SystemCall> {
        let mut registers = RegisterContext::new(Arch::X86_64);
        let mut set = |name: &str, value: u64| {
            let id = Arch::X86_64.register_by_name(name).unwrap();
            assert!(registers.set(id, RegisterValue::from_u64(value, 64)), "{name}");
        };
        set("orig_rax", number);
        set("rax", rax as u64);
        for (name, value) in ["rdi", "rsi", "rdx", "r10"].iter().zip(arguments) {
            set(name, *value);
        }
        blocked_in(&registers, |_| b"\x90\xb8\xca\0\0\0\x0f\x05".to_vec())
    }

    #[test]
    fn threads_are_in_calls_only_while_they_wait() {
        let wait = call(202, -512, &[0x1000, 0x80, 2, 0]).unwrap();
        assert_eq!((wait.futex(), wait.is_timed()), (Some(Va(0x1000)), false));
        assert_eq!(call(202, -516, &[0x1000, 0x189, 2, 0x2000]).map(|call| call.is_timed()), Some(true));
        assert_eq!(call(202, -512, &[0x1000, 1, 2, 0]).unwrap().futex(), None, "it wakes others");
        assert_eq!(call(202, 0, &[0x1000, 0x80, 2, 0]), None, "it has returned");
        assert_eq!(call(u64::MAX, -512, &[]), None, "no system call");
        let again = call(219, -516, &[0x1000, 0x189, 2, 0x2000]).unwrap();
        assert_eq!((again.futex(), again.is_timed()), (Some(Va(0x1000)), true), "it goes on with futex");
        assert_eq!(number_in(b"\xb8\x01\0\0\0\x0f\x05"), None, "no call that is restarted");
    }

    #[test]
    fn calls_say_what_they_wait_for() {
        let mut nothing = |_: Va, _: &mut [u8]| 0_usize;
        let mut check = |number: u64, arguments: &[u64], expected: &str| {
            let call = call(number, -512, arguments).unwrap();
            assert_eq!(call.waiting(&mut Reader(&mut nothing)).to_string(), expected);
        };
        check(0, &[3, 0, 0, 0], "waits in read for file descriptor 0n3");
        check(61, &[0x20, 0, 0, 0], "waits for child process 20");
        check(61, &[u64::MAX, 0, 0, 0], "waits for a child process");
        check(230, &[0, 0, 0, 0], "sleeps");
        check(34, &[0, 0, 0, 0], "waits for a signal");
    }

    #[test]
    fn calls_say_which_lock_of_a_file_they_want() {
        let lock = |kind: u16, whence: u16, start: i64, len: i64| {
            let fields = [kind.to_le_bytes(), whence.to_le_bytes(), [0; 2], [0; 2]].concat();
            [fields, start.to_le_bytes().to_vec(), len.to_le_bytes().to_vec()].concat()
        };
        let wanted = |number: u64, operation: u64, record: &[u8]| {
            let mut read = |at: Va, buf: &mut [u8]| {
                let rest = record.get((at.0 - 0x1000) as usize..).unwrap_or_default();
                let count = buf.len().min(rest.len());
                buf[..count].copy_from_slice(&rest[..count]);
                count
            };
            let call = call(number, -512, &[3, operation, 0x1000, 0]).unwrap();
            let wanted = call.wanted_lock(&mut Reader(&mut read))?;
            Some((wanted.kind, wanted.is_exclusive, wanted.range(50)))
        };
        let (flock, fcntl) = (73, 72);
        assert_eq!(wanted(flock, 1, &[]), Some((FileLockKind::Whole, false, (0, None))));
        assert_eq!(wanted(flock, 2, &[]), Some((FileLockKind::Whole, true, (0, None))));
        assert_eq!(wanted(fcntl, 7, &lock(1, 0, 10, 5)), Some((FileLockKind::Record, true, (10, Some(14)))));
        assert_eq!(wanted(fcntl, 7, &lock(0, 1, 10, 0)), Some((FileLockKind::Record, false, (60, None))));
        assert_eq!(wanted(fcntl, 38, &lock(1, 0, 10, -4)), Some((FileLockKind::Description, true, (6, Some(9)))));
        // From the end of the file: it may be any.
        assert_eq!(wanted(fcntl, 38, &lock(1, 2, -8, 8)), Some((FileLockKind::Description, true, (0, None))));
        assert_eq!(wanted(fcntl, 3, &lock(1, 0, 0, 0)), None, "it gets flags");
        assert_eq!(wanted(fcntl, 7, &[]), None, "its lock cannot be read");
    }

    struct Reader<'a>(&'a mut dyn FnMut(Va, &mut [u8]) -> usize);

    impl MemoryReader for Reader<'_> {
        fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
            (self.0)(at, buf)
        }
    }
}
