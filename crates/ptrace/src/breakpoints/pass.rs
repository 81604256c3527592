//! Getting a thread past a site without leaving the others unguarded.

use std::io::IoSlice;

use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::Pid;
use outpost_base::{ThreadId, Va, VaRange};

use super::emulate::StackAccess;
use crate::memory::ProcessMemory;
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_wait::{Decoded, Whom, wait_blocking};
use crate::tracer::{State, Thread, Tracer, trap_code};

/// How a pass went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The displaced instruction was executed; the thread is stopped behind it.
    Done,
    /// It was a system call, which was entered; the thread is stopped there.
    InSyscall,
    /// Something else happened and was dealt with; the thread is on no way of ours any more.
    Elsewhere,
}

/// The stack by system calls that respect page protection.
struct Stack<'a> {
    memory: &'a ProcessMemory,
    thread: ThreadId,
}

impl StackAccess for Stack<'_> {
    fn load(&mut self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.memory.read(Va(at), &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    }

    fn store(&mut self, at: u64, value: u64) -> Option<()> {
        // Not by /proc/PID/mem, which writes to read-only pages too.
        let bytes = value.to_le_bytes();
        let remote = [RemoteIoVec { base: usize::try_from(at).ok()?, len: 8 }];
        let written = process_vm_writev(Pid::from_raw(self.thread.0 as i32), &[IoSlice::new(&bytes)], &remote);
        (written == Ok(8)).then_some(())
    }
}

impl Tracer {
    /// Executes the instruction under the site at which the stopped thread `tid` stands.
    pub(crate) fn pass(&mut self, tid: ThreadId) -> Passed {
        if self.emulate(tid).is_some() {
            self.has_left(tid);
            return Passed::Done;
        }
        if let Some(passed) = self.step_through_pad(tid) {
            return passed;
        }
        self.pass_alone(tid)
    }

    /// The same for a thread that is about to run: it may still have to execute the instruction, but not at the site.
    pub(crate) fn pass_running(&mut self, tid: ThreadId) -> Passed {
        if self.emulate(tid).or_else(|| self.enter_pad(tid)).is_some() {
            self.has_left(tid);
            return Passed::Done;
        }
        self.pass_alone(tid)
    }

    /// With the original byte in place and everybody else held.
    fn pass_alone(&mut self, tid: ThreadId) -> Passed {
        let space = self.space_id_of(tid);
        let in_space = |tracer: &Tracer, thread: &Thread| tracer.space_id_of(thread.id) == space;
        let paused = self.pause(&in_space, Some(tid));
        let passed = self.step_over(tid);
        self.unpause(paused);
        passed
    }

    /// The judged instruction is behind the thread: the next time it comes here is a hit again.
    fn has_left(&mut self, tid: ThreadId) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.arrival = None;
        }
    }

    fn emulate(&mut self, tid: ThreadId) -> Option<()> {
        let mut registers = self.registers(tid)?;
        let space = self.space_of(tid)?;
        // Behind the first of the instructions that a jump covers another one faults: the pad has them all.
        let pc = Va(registers.pc());
        if !space.sites.jumps_over(VaRange::from_len(pc, 1)).is_empty() {
            return None;
        }
        let instruction = space.sites.get(Va(registers.pc()))?.instruction?;
        instruction.execute(&mut registers, &mut Stack { memory: &space.memory, thread: tid })?;
        self.set_registers(tid, registers);
        Some(())
    }

    /// One step with the original byte in place. All others of the address space are stopped.
    fn step_over(&mut self, tid: ThreadId) -> Passed {
        let Some(registers) = self.registers(tid) else { return Passed::Elsewhere };
        let at = Va(registers.pc());
        let Some(original) = self.space_of(tid).and_then(|space| space.sites.get(at)).map(|site| site.original) else {
            return Passed::Done;
        };
        let mut code = [0; 2];
        let is_syscall = self.space_of(tid).is_some_and(|space| {
            let count = space.memory.read(at, &mut code);
            space.sites.hide(at, &mut code[..count]);
            matches!(code, [0x0f, 0x05 | 0x34] | [0xcd, 0x80])
        });
        // A system call may block until one of the threads held now does something: only its entry is waited for.
        let how = if is_syscall { Go::ToSyscall } else { Go::Step };
        self.set_planted(tid, at, original, false);
        if how == Go::Step {
            self.tell_step(tid);
        }
        let status = match self.flush(tid).and_then(|()| ptrace::go(tid.0, how, 0)) {
            Ok(()) => loop {
                match wait_blocking(Whom::Thread(tid.0)) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other.ok(),
                }
            },
            Err(_) => None,
        };
        self.set_planted(tid, at, original, true);
        let Some((_, status)) = status else {
            self.lost(tid);
            return Passed::Elsewhere;
        };
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.registers = None;
            thread.dirty = false;
            thread.state = State::Stopped;
        }
        match status.decode() {
            Decoded::Stopped { signal, event: 0 }
                if signal == libc::SIGTRAP | 0x80 && !self.space_of(tid).is_some_and(|space| space.pages.is_used()) =>
            {
                self.has_left(tid);
                Passed::InSyscall
            }
            Decoded::Stopped { signal: libc::SIGTRAP, event: 0 } if is_step(tid) && !self.debug_registers_used(tid) => {
                if let Some(thread) = self.threads.get_mut(&tid) {
                    thread.in_delivery = false;
                }
                self.has_left(tid);
                Passed::Done
            }
            _ => {
                self.on_status(tid, status);
                Passed::Elsewhere
            }
        }
    }

    fn set_planted(&mut self, tid: ThreadId, at: Va, original: u8, planted: bool) {
        let Some(space) = self.space_id_of(tid).and_then(|space| self.spaces.get_mut(&space)) else { return };
        if let Some(site) = space.sites.get_mut(at) {
            site.planted = planted;
            space.memory.write(at, &[if planted { site.trap } else { original }]);
        }
    }
}

fn is_step(tid: ThreadId) -> bool {
    ptrace::signal_info(tid.0).is_ok_and(|info| trap_code::is_step(info.code()))
}
