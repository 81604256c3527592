//! Which memory the kernel may touch in a system call.
//!
//! Calls whose arguments lead to nothing but strings, small structures and buffers of a stated length are listed, with
//! what gives the length. All others may touch anything: those that pass pointers in structures (`readv`, `recvmsg`,
//! `ioctl`), that change mappings or make copies of them (`mremap`, `fork`), and that this list does not know.

use outpost_base::{Va, VaRange};

use crate::sys::ptrace_registers::GeneralRegisters;

/// Longest string (`PATH_MAX`), and longer than any structure of these calls.
const REACH: u64 = 4096;
/// More bytes than a poll has: it was another call then.
const MAX_POLLED: u64 = 1 << 24;
/// Words of the arguments in `user_regs_struct`: rdi, rsi, rdx, r10, r8, r9.
const ARGUMENTS: [usize; 6] = [14, 13, 12, 7, 9, 8];

/// Calls by number: how many arguments there are, which of them is a length, and of how many bytes each.
/// Source: the manual page of each, section 2.
fn shape(number: i64) -> Option<(usize, Option<usize>, u64)> {
    Some(match number {
        libc::SYS_getpid
        | libc::SYS_gettid
        | libc::SYS_getppid
        | libc::SYS_getuid
        | libc::SYS_geteuid
        | libc::SYS_getgid
        | libc::SYS_getegid
        | libc::SYS_sched_yield
        | libc::SYS_pause
        | libc::SYS_rt_sigreturn
        | libc::SYS_close
        | libc::SYS_dup
        | libc::SYS_fsync
        | libc::SYS_fdatasync
        | libc::SYS_alarm
        | libc::SYS_lseek
        | libc::SYS_dup2
        | libc::SYS_dup3
        | libc::SYS_kill
        | libc::SYS_tgkill
        | libc::SYS_ftruncate
        | libc::SYS_eventfd2
        | libc::SYS_epoll_create1
        | libc::SYS_socket
        | libc::SYS_listen
        | libc::SYS_shutdown => (0, None, 0),
        libc::SYS_stat
        | libc::SYS_fstat
        | libc::SYS_lstat
        | libc::SYS_access
        | libc::SYS_open
        | libc::SYS_unlink
        | libc::SYS_chdir
        | libc::SYS_uname
        | libc::SYS_sysinfo
        | libc::SYS_gettimeofday
        | libc::SYS_time
        | libc::SYS_nanosleep
        | libc::SYS_clock_gettime
        | libc::SYS_getrusage
        | libc::SYS_pipe
        | libc::SYS_pipe2
        | libc::SYS_rt_sigsuspend => (3, None, 0),
        libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_unlinkat
        | libc::SYS_clock_nanosleep
        | libc::SYS_rt_sigprocmask
        | libc::SYS_rt_sigaction
        | libc::SYS_wait4
        | libc::SYS_epoll_ctl
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_connect
        | libc::SYS_bind
        | libc::SYS_prlimit64
        | libc::SYS_select
        | libc::SYS_waitid
        | libc::SYS_rt_sigtimedwait
        | libc::SYS_getsockname
        | libc::SYS_getpeername
        | libc::SYS_setsockopt
        | libc::SYS_getsockopt
        | libc::SYS_futex => (6, None, 0),
        libc::SYS_read | libc::SYS_write | libc::SYS_pread64 | libc::SYS_pwrite64 | libc::SYS_getdents64 => {
            (2, Some(2), 1)
        }
        libc::SYS_getrandom | libc::SYS_getcwd => (1, Some(1), 1),
        libc::SYS_sendto | libc::SYS_recvfrom => (6, Some(2), 1),
        // struct pollfd, struct epoll_event.
        libc::SYS_poll => (1, Some(1), 8),
        // Begun anew after an interruption with its first arguments: nanosleep, clock_nanosleep, futex or poll.
        libc::SYS_restart_syscall => (6, Some(1), 8),
        libc::SYS_ppoll => (4, Some(1), 8),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => (5, Some(2), 12),
        // Of mappings: from the first argument, of the length in the second.
        libc::SYS_mmap | libc::SYS_munmap | libc::SYS_mprotect | libc::SYS_madvise => (1, Some(1), 1),
        _ => return None,
    })
}

/// Whether the call that a thread is about to make may touch memory that `is_watched`.
pub(super) fn may_touch(registers: &GeneralRegisters, number: i64, is_watched: impl Fn(VaRange) -> bool) -> bool {
    let Some((count, length, size)) = shape(number) else { return true };
    let argument = |index: usize| registers.0.get(ARGUMENTS[index]).copied().unwrap_or(0);
    let reach = length.map_or(REACH, |length| argument(length).saturating_mul(size).max(REACH));
    let reach = if number == libc::SYS_restart_syscall && reach > MAX_POLLED { REACH } else { reach };
    (0..count).any(|index| is_watched(VaRange::from_len(Va(argument(index)), reach)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_judged_by_their_buffers() {
        let watched = VaRange { start: Va(0x10_0000), end: Va(0x10_1000) };
        let check = |number: i64, arguments: [u64; 6], expected: bool| {
            let mut registers = GeneralRegisters::default();
            ARGUMENTS.into_iter().zip(arguments).for_each(|(word, argument)| registers.0[word] = argument);
            assert_eq!(may_touch(&registers, number, |range| range.overlaps(watched)), expected, "call {number}");
        };
        check(libc::SYS_read, [3, 0x10_0800, 16, 0, 0, 0], true);
        check(libc::SYS_read, [3, 0x8_0000, 0x8_0001, 0, 0, 0], true);
        check(libc::SYS_read, [3, 0x8_0000, 0x7_f000, 0, 0, 0], false);
        check(libc::SYS_read, [3, 0x20_0000, u64::MAX, 0, 0, 0], true);
        check(libc::SYS_read, [3, 0x20_0000, 8, 0x10_0000, 0x10_0000, 0x10_0000], false);
        check(libc::SYS_futex, [0x20_0000, 0, 0, 0x10_0ff8, 0, 0], true);
        check(libc::SYS_munmap, [0xf_f000, 0x2000, 0, 0, 0, 0], true);
        check(libc::SYS_restart_syscall, [0x20_0000, 0x7fff_0000_0000, 0, 0, 0, 0], false);
        check(libc::SYS_restart_syscall, [0xf_8000, 0x1001, 0, 0, 0, 0], true);
        check(libc::SYS_getpid, [0x10_0000; 6], false);
        check(libc::SYS_readv, [3, 0x20_0000, 1, 0, 0, 0], true);
        check(libc::SYS_clone, [0; 6], true);
        check(100_000, [0; 6], true);
    }
}
