//! A system call in a debuggee's thread that restores itself, whoever dies meanwhile.
//!
//! The thread's registers wait in a signal frame, extended state included, written by us to where the kernel would have
//! written it. The thread is then sent to a `syscall; ret` that the program has (libc, the dynamic loader), with the
//! return address of a signal restorer (`rt_sigreturn`) on top of the frame. If the tracer is killed at any instant, the
//! thread does the call, returns into the restorer and goes on where it was. Measured when this was designed: 0 of 300
//! programs died, 7 of 100 by plainly saving registers, calling and writing them back.
//!
//! A tracer that lives does not let it come that far: at the return of the call it writes the registers back itself and
//! lets the kernel stop the thread once more, before it executes anything. So a system call that was interrupted by the
//! stop is restarted by the kernel as if nothing had been. In the frame that is settled beforehand, since a restorer
//! knows of no restart: the call is begun anew, and a sleep with a restart block ends with EINTR.
//!
//! All signals are blocked meanwhile; the frame has the thread's mask.

mod frame;
mod function;
mod gadgets;

use outpost_base::{ProcessId, Va};
use rustix::io::Errno;

use crate::memory::ProcessMemory;
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_registers::{self as registers, GeneralRegisters, word};
use crate::sys::ptrace_state::{self, SyscallStop};
use crate::sys::ptrace_wait::{Decoded, Whom, wait_blocking};
use crate::sys::signal;
pub(crate) use function::PendingCall;
pub(crate) use gadgets::Gadgets;

/// Bytes below sp that belong to the function that runs (SysV x86-64 psABI, 3.2.2).
const RED_ZONE: u64 = 128;
/// What must be mapped below sp for a frame to be put there: a stack this deep is one, and not a small block of the heap
/// that a coroutine runs on.
const MIN_STACK_BELOW: u64 = 16 << 10;
/// Room for what a call writes, below its frame.
pub(crate) const SCRATCH: u64 = 256;
/// Selector of 64-bit user code (`__USER_CS`, arch/x86/include/asm/segment.h).
const USER_CS: u64 = 0x33;
const CS: usize = 17;
/// Words of the arguments in `user_regs_struct`: rdi, rsi, rdx, r10, r8, r9.
pub(crate) const ARGUMENTS: [usize; 6] = [14, 13, 12, 7, 9, 8];
pub(crate) const RAX: usize = 10;
/// `PTRACE_EVENT_STOP`.
const EVENT_STOP: i32 = 128;
/// `EFLAGS`: trap, direction.
const TF_AND_DF: u64 = 0x500;

/// Why there was no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The program has no code to call through.
    #[error("the program has no system call instruction to borrow")]
    NoGadget,
    /// The thread cannot be used now; another one may.
    #[error("{0}")]
    Unsuitable(&'static str),
    /// The thread or process ended.
    #[error("the thread ended")]
    Gone,
    /// A step failed.
    #[error("{0}: {1}")]
    Failed(&'static str, Errno),
}

/// A stopped thread that calls can be made in.
///
/// It must be in a ptrace-stop of the calling tracer, without a signal that is about to be delivered, and have been seized
/// with `PTRACE_O_TRACESYSGOOD`. A call leaves it in `PTRACE_EVENT_STOP`.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    process: ProcessId,
    thread: u32,
    memory: &'a ProcessMemory,
    gadgets: Gadgets,
    /// Where frames are put; `None`: on the thread's stack.
    place: Option<Va>,
}

impl<'a> Caller<'a> {
    /// Looks whether calls can be made in this thread.
    ///
    /// # Errors
    /// [`CallError::Unsuitable`] says why not.
    pub(crate) fn new(
        process: ProcessId,
        thread: u32,
        memory: &'a ProcessMemory,
        gadgets: Gadgets,
        place: Option<Va>,
    ) -> Result<Caller<'a>, CallError> {
        settle(thread)?;
        let general = registers::general(thread).map_err(gone)?;
        if general.0[CS] != USER_CS {
            return Err(CallError::Unsuitable("the thread does not run 64-bit code"));
        }
        check_thread(process, thread, memory, &general)?;
        if place.is_none() && !has_stack_below(process, Va(general.sp()), MIN_STACK_BELOW) {
            return Err(CallError::Unsuitable("the thread's stack has no room for a call"));
        }
        Ok(Caller { process, thread, memory, gadgets, place })
    }

    /// Where a call may write up to [`SCRATCH`] bytes: below the frame, valid for the next call.
    pub(crate) fn scratch(&self) -> Result<Va, CallError> {
        let general = registers::general(self.thread).map_err(gone)?;
        Ok(self.frame_place(&general, frame::MAX_LEN) - SCRATCH)
    }

    /// Makes a call; gives the value returned, or the error. The thread is stopped as before then, with its registers as
    /// they were; signals that came meanwhile are pending.
    ///
    /// # Errors
    /// What kept it from being made. The thread is as it was, or will be by itself when it is let go.
    pub(crate) fn call(&self, number: i64, arguments: [u64; 6]) -> Result<Result<u64, Errno>, CallError> {
        let thread = self.thread;
        if !self.gadgets.are_there(self.memory) {
            return Err(CallError::NoGadget);
        }
        let before = registers::general(thread).map_err(gone)?;
        let floating = registers::floating(thread).map_err(gone)?;
        let mask = ptrace::signal_mask(thread).map_err(gone)?;
        let at = self.frame_place(&before, frame::MAX_LEN);
        let bytes = frame::build(at, self.gadgets.restorer, &settled(&before), &floating, mask)
            .ok_or(CallError::Unsuitable("the thread's extended state cannot be kept in a signal frame"))?;
        if self.memory.write(at, &bytes) != bytes.len() {
            return Err(CallError::Unsuitable("the thread's stack cannot be written"));
        }
        let mut calling = before;
        calling.set_pc(self.gadgets.syscall.0);
        calling.0[word::SP] = at.0;
        calling.0[word::FLAGS] &= !TF_AND_DF;
        calling.0[word::ORIG_RAX] = u64::MAX;
        calling.0[RAX] = number as u64;
        for (word, argument) in ARGUMENTS.into_iter().zip(arguments) {
            calling.0[word] = argument;
        }
        // From here on the thread restores itself; the mask follows, since only the frame would take it back.
        registers::set_general(thread, &calling).map_err(gone)?;
        ptrace::set_signal_mask(thread, u64::MAX).map_err(gone)?;
        let mut stops = 0;
        let result = self.run_call(&mut stops);
        self.restore(&before, mask)?;
        if stops > 0 {
            // Pending again, and seen when the thread goes on.
            let _ = signal::send(self.process.0, thread, libc::SIGSTOP);
        }
        result
    }

    /// From before the `syscall` to the stop at its return.
    fn run_call(&self, stops: &mut u32) -> Result<Result<u64, Errno>, CallError> {
        for stop in [SyscallStop::Entry, SyscallStop::Return] {
            self.go_to_syscall_stop(stops)?;
            let is = ptrace_state::syscall_stop(self.thread);
            if is != stop && is != SyscallStop::None {
                return Err(CallError::Failed("the thread is in another system call", Errno::BUSY));
            }
        }
        let value = registers::general(self.thread).map_err(gone)?.0[RAX];
        // Errors are -4095 to -1 (psABI, A.2.1).
        Ok(match value as i64 {
            error @ -4095..=-1 => Err(Errno::from_raw_os_error(-error as i32)),
            _ => Ok(value),
        })
    }

    fn go_to_syscall_stop(&self, stops: &mut u32) -> Result<(), CallError> {
        for _ in 0..64 {
            ptrace::go(self.thread, Go::ToSyscall, 0).map_err(gone)?;
            match wait(self.thread)? {
                (signal, 0) if signal == libc::SIGTRAP | 0x80 => return Ok(()),
                // The one signal that cannot be blocked; it waits until the call is done.
                (libc::SIGSTOP, 0) => *stops += 1,
                (_, 0) => return Err(CallError::Failed("a fault interrupted the call", Errno::FAULT)),
                // Stops that have nothing to do with the call: an interrupt that was asked for before, a group-stop.
                _ => {}
            }
        }
        Err(CallError::Failed("the thread does not come to the call", Errno::AGAIN))
    }

    /// Writes registers and mask back and stops the thread once more, before it executes anything.
    fn restore(&self, before: &GeneralRegisters, mask: u64) -> Result<(), CallError> {
        // The interrupt comes first: should the tracer die behind it, the thread still passes the place in the kernel
        // where interrupted calls are restarted.
        ptrace::interrupt(self.thread).map_err(gone)?;
        ptrace::set_signal_mask(self.thread, mask).map_err(gone)?;
        registers::set_general(self.thread, before).map_err(gone)?;
        ptrace::go(self.thread, Go::Continue, 0).map_err(gone)?;
        // The kernel stops for an interrupt before it looks at signals (kernel/signal.c, `get_signal`).
        match wait(self.thread)? {
            (_, EVENT_STOP) => Ok(()),
            _ => Err(CallError::Failed("the thread does not stop behind the call", Errno::AGAIN)),
        }
    }

    fn frame_place(&self, general: &GeneralRegisters, len: u64) -> Va {
        match self.place {
            Some(place) => place + SCRATCH,
            None => (Va(general.sp()) - RED_ZONE - len).align_down(64),
        }
    }

    /// The same thread, with its frames on its stack.
    ///
    /// # Errors
    /// [`CallError::Unsuitable`] if there is no room.
    pub(crate) fn on_stack(&self) -> Result<Caller<'a>, CallError> {
        Caller::new(self.process, self.thread, self.memory, self.gadgets, None)
    }

    /// Its process's memory.
    pub(crate) fn memory(&self) -> &'a ProcessMemory {
        self.memory
    }

    /// Its process.
    pub(crate) fn process(&self) -> ProcessId {
        self.process
    }

    /// Puts frames of later calls elsewhere: at `place` are [`Caller::place_len`] bytes for them.
    pub(crate) fn move_to(&mut self, place: Va) {
        self.place = Some(place);
    }

    /// Bytes that a place for frames needs.
    pub(crate) fn place_len() -> u64 {
        SCRATCH + frame::MAX_LEN
    }
}

/// Whether calls had their frames at `place`: the last one is there yet.
pub(crate) fn has_frames(memory: &ProcessMemory, place: Va) -> bool {
    let mut bytes = [0; frame::SIGN_LEN];
    memory.read(place + SCRATCH, &mut bytes) == bytes.len()
        && frame::restorer_of(&bytes).is_some_and(|restorer| gadgets::is_restorer(memory, restorer))
}

/// Brings a thread that stopped at an event in the middle of a system call (exec, fork) to its end: the kernel sets the
/// result behind such a stop, whatever is written to the registers there.
fn settle(thread: u32) -> Result<(), CallError> {
    // A stop's `si_code` is SIGTRAP with the event above it (ptrace(2)); a group-stop has no information.
    let event = ptrace::signal_info(thread).map_or(0, |info| match info.signo() {
        libc::SIGTRAP if info.code() & 0xff == libc::SIGTRAP => info.code() >> 8,
        _ => 0,
    });
    match event {
        libc::PTRACE_EVENT_VFORK => return Err(CallError::Unsuitable("the thread lends its memory to a vfork child")),
        libc::PTRACE_EVENT_EXIT => return Err(CallError::Unsuitable("the thread is about to end")),
        libc::PTRACE_EVENT_EXEC
        | libc::PTRACE_EVENT_FORK
        | libc::PTRACE_EVENT_CLONE
        | libc::PTRACE_EVENT_VFORK_DONE => {}
        _ if ptrace_state::syscall_stop(thread) == SyscallStop::Entry => {
            return Err(CallError::Unsuitable("the thread is about to make a system call"));
        }
        _ => return Ok(()),
    }
    ptrace::interrupt(thread).map_err(gone)?;
    ptrace::go(thread, Go::Continue, 0).map_err(gone)?;
    match wait(thread)? {
        (_, EVENT_STOP) => Ok(()),
        _ => Err(CallError::Failed("the thread does not stop behind its system call", Errno::AGAIN)),
    }
}

fn wait(thread: u32) -> Result<(i32, i32), CallError> {
    loop {
        match wait_blocking(Whom::Thread(thread)) {
            Ok((_, status)) => match status.decode() {
                Decoded::Stopped { signal, event } => return Ok((signal, event)),
                Decoded::Exited(_) | Decoded::Killed { .. } => return Err(CallError::Gone),
            },
            Err(Errno::INTR) => {}
            Err(_) => return Err(CallError::Gone),
        }
    }
}

/// A seized thread answers until it ends.
fn gone(errno: Errno) -> CallError {
    match errno {
        Errno::SRCH => CallError::Gone,
        errno => CallError::Failed("ptrace", errno),
    }
}

/// The registers as a restorer shall set them: what the kernel would still have done for an interrupted system call is
/// done (arch/x86/kernel/signal.c, `arch_do_signal_or_restart`).
fn settled(before: &GeneralRegisters) -> GeneralRegisters {
    const ERESTARTSYS: i64 = -512;
    const ERESTARTNOINTR: i64 = -513;
    const ERESTARTNOHAND: i64 = -514;
    const ERESTART_RESTARTBLOCK: i64 = -516;
    let mut after = *before;
    if before.0[word::ORIG_RAX] as i64 >= 0 {
        match before.0[RAX] as i64 {
            ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => {
                after.0[RAX] = before.0[word::ORIG_RAX];
                after.set_pc(before.pc().wrapping_sub(2));
            }
            ERESTART_RESTARTBLOCK => after.0[RAX] = -i64::from(libc::EINTR) as u64,
            _ => {}
        }
    }
    after
}

/// States of a thread in which a call would be refused, seen or harmful.
fn check_thread(
    process: ProcessId,
    thread: u32,
    memory: &ProcessMemory,
    general: &GeneralRegisters,
) -> Result<(), CallError> {
    let status = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("Seccomp:").is_some_and(|mode| mode != "0") {
        return Err(CallError::Unsuitable("a system call filter (seccomp) is on the thread"));
    }
    if field("x86_Thread_features:").is_some_and(|features| features.contains("shstk")) {
        return Err(CallError::Unsuitable("the thread has a shadow stack"));
    }
    if ptrace_state::dispatches_syscalls(thread) {
        return Err(CallError::Unsuitable("the thread dispatches its own system calls"));
    }
    // struct rseq: cpu_id_start, cpu_id, rseq_cs; the kernel clears the last when the thread has left the section.
    if let Some(rseq) = ptrace_state::rseq_area(thread) {
        let mut section = [0; 8];
        if memory.read(Va(rseq) + 8, &mut section) == 8 && section != [0; 8] && is_inside(memory, section, general.pc())
        {
            return Err(CallError::Unsuitable("the thread is in a restartable sequence"));
        }
    }
    Ok(())
}

/// Whether pc is in the section that a `struct rseq_cs` describes: version and flags, start, length, abort address.
fn is_inside(memory: &ProcessMemory, section: [u8; 8], pc: u64) -> bool {
    let mut bytes = [0; 24];
    if memory.read(Va(u64::from_le_bytes(section)), &mut bytes) < bytes.len() {
        return true;
    }
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    pc.wrapping_sub(word(8)) < word(16)
}

/// Whether `len` bytes below sp are mapped and writable, or a stack that grows.
fn has_stack_below(process: ProcessId, sp: Va, len: u64) -> bool {
    let regions = crate::regions::read_regions(process, &[sp]).unwrap_or_default();
    regions
        .iter()
        .find(|region| region.range.contains(sp))
        .is_some_and(|region| region.write && (region.name == "[stack]" || sp - region.range.start >= len))
}

#[cfg(test)]
mod tests;
