//! `fork` and what happens in the child up to `execve`.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Bit of personality(2) that switches address space layout randomisation off.
const ADDR_NO_RANDOMIZE: libc::c_ulong = 0x004_0000;
/// Signal numbers end here (`_NSIG`).
const LAST_SIGNAL: i32 = 64;

/// How the child relates to terminals and to the server's process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildSession {
    /// The server's process group: it shares the server's terminal, and Ctrl+C there reaches it.
    Shared,
    /// A process group of its own.
    OwnGroup,
    /// A session of its own, whose terminal is the standard input.
    OwnTerminal,
}

/// What the child does; everything is made ready before it exists, since it may not allocate.
#[derive(Debug)]
pub(crate) struct ChildPlan<'a> {
    /// Path of the program.
    pub(crate) program: &'a CStr,
    /// Arguments with the program's name for itself first.
    pub(crate) arguments: &'a [&'a CStr],
    /// Environment as `NAME=value`.
    pub(crate) environment: &'a [&'a CStr],
    /// Working directory.
    pub(crate) directory: Option<&'a CStr>,
    /// Standard input, output and error; all numbers above 2.
    pub(crate) stdio: Option<[BorrowedFd<'a>; 3]>,
    /// Terminal and group.
    pub(crate) session: ChildSession,
    /// Whether addresses are randomised as the machine has it.
    pub(crate) randomize: bool,
    /// The child executes when a byte can be read here, and exits at end of file.
    pub(crate) go: BorrowedFd<'a>,
    /// Number to be closed in the child: the other end of `go`, which would keep it from seeing the end of file.
    pub(crate) go_writer: BorrowedFd<'a>,
    /// Where a failure is told: one byte for the stage, four for `errno`. Closed by a successful execve.
    pub(crate) failure: BorrowedFd<'a>,
}

/// What the child was doing when it failed; the byte that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ChildStage {
    /// Standard streams, terminal, group.
    Stdio = 1,
    /// Changing the directory.
    Directory = 2,
    /// Executing the program.
    Execute = 3,
}

/// Forks a child that carries out `plan`; returns its id.
pub(crate) fn fork_child(plan: &ChildPlan<'_>) -> io::Result<u32> {
    let ended = |strings: &[&CStr]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (ended(plan.arguments), ended(plan.environment));
    // SAFETY: the child calls only functions that signal-safety(7) lists or bare system calls, touches no lock and
    // allocates nothing, as POSIX demands of the child of a process with threads; it never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => run_child(plan, &arguments, &environment),
        child => Ok(child as u32),
    }
}

fn run_child(plan: &ChildPlan<'_>, arguments: &[*const c_char], environment: &[*const c_char]) -> ! {
    // SAFETY: plain system calls on numbers and on strings that the parent ended by NUL; the pointer arrays end by a
    // null pointer. The child has one thread, its memory is its own copy.
    unsafe {
        libc::close(plan.go_writer.as_raw_fd());
        // What the server ignores or blocks is its own affair; ignored signals and masks would survive execve.
        // The bare call, since libraries keep signals 32 and 33 to themselves; a zero `struct sigaction` is SIG_DFL.
        let default = [0_u64; 4];
        for signal in 1..=LAST_SIGNAL {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0_usize, size_of::<u64>());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        match plan.session {
            ChildSession::Shared => {}
            ChildSession::OwnGroup => drop(libc::setpgid(0, 0)),
            ChildSession::OwnTerminal => drop(libc::setsid()),
        }
        if let Some(stdio) = plan.stdio {
            for (number, from) in (0..).zip(stdio) {
                if libc::dup2(from.as_raw_fd(), number) == -1 {
                    fail(plan, ChildStage::Stdio);
                }
            }
        }
        if plan.session == ChildSession::OwnTerminal && libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
            fail(plan, ChildStage::Stdio);
        }
        if let Some(directory) = plan.directory
            && libc::chdir(directory.as_ptr()) == -1
        {
            fail(plan, ChildStage::Directory);
        }
        if !plan.randomize {
            let now = libc::personality(0xffff_ffff);
            libc::personality(now as libc::c_ulong | ADDR_NO_RANDOMIZE);
        }
        // Whatever else is open here is no business of the program.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let mut byte = 0_u8;
        loop {
            match libc::read(plan.go.as_raw_fd(), (&raw mut byte).cast(), 1) {
                1 => break,
                -1 if *libc::__errno_location() == libc::EINTR => {}
                _ => libc::_exit(127),
            }
        }
        libc::execve(plan.program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        fail(plan, ChildStage::Execute)
    }
}

/// # Safety
/// Only in the child.
unsafe fn fail(plan: &ChildPlan<'_>, stage: ChildStage) -> ! {
    // SAFETY: as in `run_child`; the message is a local.
    unsafe {
        let errno = (*libc::__errno_location()).to_le_bytes();
        let message = [stage as u8, errno[0], errno[1], errno[2], errno[3]];
        libc::write(plan.failure.as_raw_fd(), message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}
