//! What this machine allows any debugger that uses ptrace: the same loops without a debugger around them.

use std::io::IoSliceMut;
use std::time::Instant;

use anyhow::ensure;
use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use outpost_testkit::Running;

use crate::debuggee;

/// Stops a second: a thread is stepped, waited for, and its registers read. Each costs the wake-up of two processes, which
/// is most of it where the processors sleep between.
pub(crate) fn stops() -> anyhow::Result<f64> {
    const COUNT: u32 = 20_000;
    let mut debuggee = Running::start(debuggee::spin(), &["1000"]);
    debuggee.line();
    let pid = Pid::from_raw(debuggee.pid().cast_signed());
    ptrace::seize(pid, ptrace::Options::empty())?;
    ptrace::interrupt(pid)?;
    waitpid(pid, Some(WaitPidFlag::__WALL))?;
    let begin = Instant::now();
    for _ in 0..COUNT {
        ptrace::step(pid, None)?;
        let status = waitpid(pid, Some(WaitPidFlag::__WALL))?;
        ensure!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
        ptrace::getregs(pid)?;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    ptrace::detach(pid, None)?;
    Ok(f64::from(COUNT) / elapsed)
}

/// Calls a second of the function that breakpoints are set on, without any.
pub(crate) fn calls() -> anyhow::Result<f64> {
    const COUNT: u32 = 200_000_000;
    let mut debuggee = Running::start(debuggee::spin(), &[&COUNT.to_string(), "timed"]);
    debuggee.line();
    let seconds: f64 = debuggee.line().parse()?;
    Ok(f64::from(COUNT) / seconds)
}

/// MiB a second that `process_vm_readv` copies out of another process, 1 MiB a call.
pub(crate) fn memory() -> anyhow::Result<f64> {
    const COUNT: usize = 256;
    const PIECE: usize = 1 << 20;
    let mut debuggee = Running::start(debuggee::spin(), &["1000"]);
    let start = usize::from_str_radix(&debuggee.line(), 16)?;
    let pid = Pid::from_raw(debuggee.pid().cast_signed());
    let mut buffer = vec![0; PIECE];
    let begin = Instant::now();
    for piece in 0..COUNT {
        let remote = RemoteIoVec { base: start + piece * PIECE, len: PIECE };
        let count = process_vm_readv(pid, &mut [IoSliceMut::new(&mut buffer)], &[remote])?;
        ensure!(count == PIECE, "{count} bytes");
    }
    Ok(COUNT as f64 / begin.elapsed().as_secs_f64())
}
