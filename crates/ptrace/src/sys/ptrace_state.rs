//! ptrace(2): facts about a stopped thread that decide whether a call can be made in it.

use libc::pid_t;
use rustix::io::Errno;

use super::{Request, result};

/// `PTRACE_GET_SYSCALL_INFO` (include/uapi/linux/ptrace.h), and what the byte `op` of its answer says.
const GET_SYSCALL_INFO: Request = 0x420e;
const SYSCALL_INFO_ENTRY: u8 = 1;
const SYSCALL_INFO_EXIT: u8 = 2;
/// `PTRACE_GET_RSEQ_CONFIGURATION`.
const GET_RSEQ_CONFIGURATION: Request = 0x420f;
/// `PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG`.
const GET_SYSCALL_USER_DISPATCH_CONFIG: Request = 0x4211;

/// Address of the thread's `struct rseq`; `None` if it registered none or the kernel does not tell.
pub(crate) fn rseq_area(tid: u32) -> Option<u64> {
    // struct ptrace_rseq_configuration: pointer, size, signature, flags, pad.
    let mut configuration = [0_u64; 3];
    query(tid, GET_RSEQ_CONFIGURATION, &mut configuration)?;
    Some(configuration[0]).filter(|pointer| *pointer != 0)
}

/// Whether the thread has its system calls sent back to itself (prctl(2), `PR_SET_SYSCALL_USER_DISPATCH`).
pub(crate) fn dispatches_syscalls(tid: u32) -> bool {
    // struct ptrace_sud_config: mode, selector, offset, length.
    let mut configuration = [0_u64; 4];
    query(tid, GET_SYSCALL_USER_DISPATCH_CONFIG, &mut configuration).is_some() && configuration[0] != 0
}

/// Where in a system call a thread is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyscallStop {
    /// In none, or the kernel does not tell.
    None,
    /// At its entry.
    Entry,
    /// At its return.
    Return,
}

/// `PTRACE_GET_SYSCALL_INFO`.
pub(crate) fn syscall_stop(tid: u32) -> SyscallStop {
    // struct ptrace_syscall_info begins with the byte `op`.
    let mut information = [0_u64; 16];
    match query(tid, GET_SYSCALL_INFO, &mut information).map(|()| information[0] as u8) {
        Some(SYSCALL_INFO_ENTRY) => SyscallStop::Entry,
        Some(SYSCALL_INFO_EXIT) => SyscallStop::Return,
        _ => SyscallStop::None,
    }
}

/// Instructions of a filter (seccomp(2)) of the stopped thread, each a `struct sock_filter` as one word; `index` 0 is the
/// filter that was added last.
///
/// # Errors
/// `NOENT` behind the last one, `INVAL` for a thread without any, `ACCESS` without CAP_SYS_ADMIN or with a filter on the caller.
/// Source: kernel/seccomp.c, `seccomp_get_filter`.
pub(crate) fn seccomp_filter(tid: u32, index: u64) -> Result<Vec<u64>, Errno> {
    /// `PTRACE_SECCOMP_GET_FILTER`.
    const SECCOMP_GET_FILTER: Request = 0x420c;
    /// `BPF_MAXINSNS` (include/uapi/linux/bpf_common.h).
    const LONGEST: usize = 4096;
    let mut filter = vec![0_u64; LONGEST];
    // SAFETY: the kernel writes at most `BPF_MAXINSNS` instructions of 8 bytes.
    let count = result(unsafe {
        libc::ptrace(
            SECCOMP_GET_FILTER,
            tid as pid_t,
            index as *mut libc::c_void,
            filter.as_mut_ptr().cast::<libc::c_void>(),
        )
    })?;
    filter.truncate(count as usize);
    Ok(filter)
}

/// A request that fills a structure whose size is the address argument.
fn query(tid: u32, request: Request, into: &mut [u64]) -> Option<()> {
    // SAFETY: the kernel writes at most the stated size, which is that of `into`.
    result(unsafe {
        libc::ptrace(
            request,
            tid as pid_t,
            size_of_val(into) as *mut libc::c_void,
            into.as_mut_ptr().cast::<libc::c_void>(),
        )
    })
    .ok()
    .map(drop)
}
