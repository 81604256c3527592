//! Names of system calls.

use syscalls::x86_64::Sysno;

/// The name of a system call on x86-64; `None` if it has none yet.
pub fn syscall_name(number: u64) -> Option<&'static str> {
    usize::try_from(number).ok().and_then(Sysno::new).map(|call| call.name())
}

/// All system calls that have names.
pub fn syscall_numbers() -> impl Iterator<Item = (u64, &'static str)> {
    Sysno::iter().map(|call| (call as u64, call.name()))
}

/// The name of an error of system calls (`ENOENT`); `None` if it has none.
pub fn syscall_error_name(errno: i32) -> Option<&'static str> {
    syscalls::Errno::new(errno).name()
}
