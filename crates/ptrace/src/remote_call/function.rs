//! A function of the program's, called in one of its threads, that restores itself as a system call does.
//!
//! The frame is that of [`super`], with the function in place of the `syscall`: it returns into the signal restorer, which
//! takes the thread back to where it was. Where it has arguments on the stack, they lie between; it returns into a
//! `leave; ret` of the program's code then, and rbp, which functions keep, leads from there to the frame. If all of us are killed meanwhile, that is what happens. While we live, a trap
//! at the restorer's first instruction stops the thread there, since the next one overwrites what the function returned;
//! registers, vector state and signal mask are written back, and the thread is where it was without having executed the
//! restorer. Other threads that come to the restorer, and this one from a handler in the middle of the call, pass: the stack
//! pointer tells.
//!
//! What stops the thread on the way (a breakpoint, a signal, breaking in) leaves it in the function. It may then be given up:
//! it is put back as if it had returned.
//!
//! Signals are as they were, since the function may need them, but for those that a trap raises: blocked, one would end the
//! program. The one that the thread is stopped for waits until it is back.

use outpost_base::{ThreadId, Va};
use outpost_target::{CallPlan, CallWord, RegisterSets, StepOutcome, StopReason, TargetError};

use super::{ARGUMENTS, CallError, Caller, EVENT_STOP, RAX, RED_ZONE, TF_AND_DF, frame, gone, has_stack_below, wait};
use crate::breakpoints::{Owner, Protection};
use crate::memory::ProcessMemory;
use crate::sys::ptrace::{self, Go, RawSigInfo};
use crate::sys::ptrace_registers::{self as registers, GeneralRegisters, word};
use crate::sys::ptrace_state::{SyscallStop, syscall_stop};
use crate::sys::signal;
use crate::tracer::{State, Tracer};

/// Words of the arguments in `user_regs_struct`: rdi, rsi, rdx, rcx, r8, r9. System calls take r10 for the fourth.
const INTEGERS: [usize; CallPlan::MAX_INTEGERS] =
    [ARGUMENTS[0], ARGUMENTS[1], ARGUMENTS[2], word::RCX, ARGUMENTS[4], ARGUMENTS[5]];
/// What must be mapped below the frame for the function itself, where the stack does not grow.
const STACK_OF_FUNCTION: u64 = 64 << 10;
/// Signals, bit `signo - 1`, that a trap of ours raises.
const TRAP_SIGNALS: u64 = 1 << (libc::SIGILL - 1) | 1 << (libc::SIGTRAP - 1);
/// Calls in calls of one thread.
const MAX_NESTED: usize = 16;

/// Offsets in an XSAVE area (Intel SDM vol. 1, table 10-2): status and tag words of x87, the first vector register.
const X87_STATUS: usize = 2;
const X87_TAGS: usize = 4;
const VECTORS: usize = 160;
const VECTOR_LEN: usize = 16;

/// A function that a thread was made to call and has not come back from.
#[derive(Debug)]
pub(crate) struct PendingCall {
    before: GeneralRegisters,
    floating: Vec<u8>,
    mask: u64,
    /// What it was stopped for.
    signal: Option<RawSigInfo>,
    restorer: Va,
    /// Where the frame is, whose first word is the restorer's address.
    frame: Va,
    stops: Vec<Va>,
}

impl PendingCall {
    fn sites(&self) -> impl Iterator<Item = Va> {
        std::iter::once(self.restorer).chain(self.stops.iter().copied())
    }
}

impl Tracer {
    /// Sends a held thread into a function; it goes when it is let run.
    ///
    /// # Errors
    /// Why not; the thread is as it was.
    pub(crate) fn begin_call(&mut self, tid: ThreadId, plan: &CallPlan) -> Result<(), TargetError> {
        check_bounds(plan)?;
        let thread = self.visible_thread(tid)?;
        let process = thread.process;
        let refused = |reason: &str| TargetError::Invalid { reason: format!("no call in thread {tid}: {reason}") };
        if thread.state == State::GroupStopped {
            return Err(refused("it is stopped by job control"));
        }
        if thread.state != State::Stopped || !thread.held || thread.is_exiting || thread.vfork_child.is_some() {
            return Err(refused("it is not stopped where a call could be made"));
        }
        if thread.suspend > 0 {
            return Err(refused("it is suspended"));
        }
        if thread.calls.len() >= MAX_NESTED {
            return Err(refused("too many calls in it have not returned"));
        }
        let space_id = self.space_id_of(tid).ok_or(TargetError::NoThread { thread: tid })?;
        self.protect(space_id);
        self.flush(tid).map_err(|_| TargetError::NoThread { thread: tid })?;
        let space = self.space(space_id)?;
        let gadgets = match &space.protection {
            Protection::Installed { gadgets, .. } => *gadgets,
            Protection::Refused { why, .. } => return Err(refused(&why.to_string())),
            Protection::NotTried => return Err(refused("it cannot be kept from harm")),
        };
        let failed = |error: CallError| refused(&error.to_string());
        Caller::new(process, tid.0, &space.memory, gadgets, None).map_err(failed)?;
        if !gadgets.are_there(&space.memory) {
            return Err(refused("the code that it would come back by is gone"));
        }
        let before = registers::general(tid.0).map_err(gone).map_err(failed)?;
        let floating = registers::floating(tid.0).map_err(gone).map_err(failed)?;
        let mask = ptrace::signal_mask(tid.0).map_err(gone).map_err(failed)?;
        let returns = restartable(&before, &space.memory).ok_or_else(|| {
            refused("it sleeps in a system call whose remaining time the kernel would forget; let it return from it, or take another thread")
        })?;
        let data_at = (Va(before.sp()) - RED_ZONE - plan.data.len() as u64).align_down(64);
        // The stack pointer is 8 off a multiple of 16 at a function's entry (psABI, 3.2.2).
        let at = (data_at - frame::MAX_LEN).align_down(64) - 8;
        // Below the frame: a word for rbp, arguments at a multiple of 16, the return address.
        let (arguments_at, entry) = match plan.stack.len() as u64 {
            0 => (at, at),
            words => {
                let arguments_at = (at - 8 - words * 8).align_down(16);
                (arguments_at, arguments_at - 8)
            }
        };
        let leave = match plan.stack.is_empty() {
            true => gadgets.restorer,
            false => gadgets
                .leave(&space.memory)
                .ok_or_else(|| refused("there is no code to come back by from behind its arguments"))?,
        };
        if !has_stack_below(process, Va(before.sp()), Va(before.sp()) - entry + STACK_OF_FUNCTION) {
            return Err(refused("its stack has no room"));
        }
        let word_of = |argument: &CallWord| match argument {
            CallWord::Value(value) => *value,
            CallWord::Data(offset) => (data_at + u64::from(*offset)).0,
        };
        let bytes = frame::build(at, gadgets.restorer, &super::settled(&returns), &floating, mask)
            .ok_or_else(|| refused("its extended state cannot be kept in a signal frame"))?;
        if space.memory.write(data_at, &plan.data) != plan.data.len() || space.memory.write(at, &bytes) != bytes.len() {
            return Err(refused("its stack cannot be written"));
        }
        if !plan.stack.is_empty() {
            let words = std::iter::once(leave.0).chain(plan.stack.iter().map(word_of));
            let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
            if space.memory.write(entry, &bytes) != bytes.len() {
                return Err(refused("its stack cannot be written"));
            }
        }
        let call = PendingCall {
            before: returns,
            floating: floating.clone(),
            mask,
            signal: self.threads.get(&tid).and_then(|thread| thread.signal),
            restorer: gadgets.restorer,
            frame: at,
            stops: plan.stops.clone(),
        };
        if let Some(thread) = self.threads.get_mut(&tid) {
            // Looking whether calls can be made may have moved it to another stop; what it is stopped for waits with it.
            thread.in_delivery &= thread.signal.is_some();
            thread.registers = None;
        }
        for site in call.sites() {
            if let Err(error) = self.add_owner(space_id, site, Owner::Stepping(tid)) {
                self.remove_call_sites(tid, &call);
                return Err(error);
            }
        }
        let unsafe_because = self.spaces.get(&space_id).and_then(|space| space.sites.get(gadgets.restorer));
        if let Some(why) = unsafe_because.map(|site| site.unsafe_because.clone()).filter(|why| !why.is_empty()) {
            self.remove_call_sites(tid, &call);
            return Err(refused(&why));
        }
        let mut calling = before;
        calling.set_pc(plan.function.0);
        calling.0[word::SP] = entry.0;
        if arguments_at != at {
            calling.0[word::RBP] = (at - 8).0;
        }
        calling.0[word::FLAGS] &= !TF_AND_DF;
        calling.0[word::ORIG_RAX] = u64::MAX;
        // Functions with `...` are told how many vector registers there are.
        calling.0[RAX] = plan.vectors.len() as u64;
        for (index, argument) in INTEGERS.into_iter().zip(&plan.integers) {
            calling.0[index] = word_of(argument);
        }
        // At every instant the thread either is where it was, or goes back there, or makes the whole call.
        let mut on_its_way_back = calling;
        on_its_way_back.set_pc(gadgets.restorer.0);
        on_its_way_back.0[word::SP] = at.0 + 8;
        let sent = registers::set_general(tid.0, &on_its_way_back)
            .and_then(|()| registers::set_floating(tid.0, &for_call(&floating, &plan.vectors)))
            .and_then(|()| ptrace::set_signal_mask(tid.0, mask & !TRAP_SIGNALS))
            .and_then(|()| registers::set_general(tid.0, &calling));
        if let Err(errno) = sent {
            let _ = registers::set_floating(tid.0, &floating);
            let _ = ptrace::set_signal_mask(tid.0, mask);
            let _ = registers::set_general(tid.0, &before);
            self.remove_call_sites(tid, &call);
            return Err(failed(gone(errno)));
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return Err(TargetError::NoThread { thread: tid }) };
        thread.registers = Some(calling);
        thread.arrival = None;
        // A fault comes again by itself when the thread is back; a signal that was sent is still in the journal.
        if thread.signal.take().is_some_and(|signal| signal.code() > 0) {
            self.journal.signal_held(process, tid, 0);
        }
        thread.calls.push(call);
        Ok(())
    }

    /// A thread is at a place where a trap was set for it: `true` if that was for a call, and dealt with.
    pub(crate) fn call_arrived(&mut self, tid: ThreadId, pc: Va, sp: Va) -> bool {
        if self.call_returned(tid, pc, sp) {
            return true;
        }
        let stops = self.threads.get(&tid).and_then(|thread| thread.calls.last()).map(|call| &call.stops);
        let Some(index) = stops.and_then(|stops| stops.iter().position(|at| *at == pc)) else { return false };
        self.report(tid, StopReason::Step { outcome: StepOutcome::Fence { index: index as u32 } });
        true
    }

    /// The same for a thread that came there by a step, where only its return matters.
    pub(crate) fn call_returned(&mut self, tid: ThreadId, pc: Va, sp: Va) -> bool {
        let call = self.threads.get(&tid).and_then(|thread| thread.calls.last());
        if call.is_none_or(|call| call.restorer != pc || call.frame + 8 != sp) {
            return false;
        }
        let returned = self.context(tid, RegisterSets { floating: true, debug: false }).ok().map(Box::new);
        drop(self.end_step_plan(tid));
        match self.come_back(tid) {
            Ok(()) => self.report(tid, StopReason::CallEnded { returned }),
            Err(_) => self.lost(tid),
        }
        true
    }

    /// Gives up a thread's newest call; the thread's return is reported.
    ///
    /// # Errors
    /// Why it cannot be; the thread is still in the call.
    pub(crate) fn give_up_call(&mut self, tid: ThreadId) -> Result<(), TargetError> {
        let thread = self.visible_thread(tid)?;
        let refused = |reason: &str| TargetError::Invalid { reason: format!("the call cannot be given up: {reason}") };
        let Some(call) = thread.calls.last() else {
            return Err(refused(&format!("thread {tid} is in none")));
        };
        if thread.state != State::Stopped || !thread.held || thread.is_exiting || thread.vfork_child.is_some() {
            return Err(refused("the thread is not stopped where it could be taken back"));
        }
        if !thread.in_delivery && syscall_stop(tid.0) == SyscallStop::Entry {
            return Err(refused("the thread is about to make a system call; step on first"));
        }
        let (process, own) = (thread.process, thread.signal);
        let mut back = call.before;
        back.set_pc(call.restorer.0);
        back.0[word::SP] = call.frame.0 + 8;
        back.0[word::ORIG_RAX] = u64::MAX;
        let failed = |errno| refused(&gone(errno).to_string());
        registers::set_general(tid.0, &back).map_err(failed)?;
        // Only where signals are delivered does the kernel restart what it interrupted (arch/x86/kernel/signal.c); it stops for
        // an interrupt there, before the thread executes anything.
        ptrace::interrupt(tid.0).and_then(|()| ptrace::go(tid.0, Go::Continue, 0)).map_err(failed)?;
        if !matches!(wait(tid.0), Ok((_, EVENT_STOP))) {
            self.lost(tid);
            return Err(refused("the thread does not stop; it comes back by itself"));
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            (thread.in_delivery, thread.interrupted) = (false, false);
        }
        // What was sent to the program in the meantime is not lost with the call, as a fault of the function's is.
        if let Some(sent) = own.filter(|signal| signal.code() <= 0) {
            let _ = signal::send(process.0, tid.0, sent.signo());
        }
        self.come_back(tid).map_err(failed)?;
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.held = false;
        }
        self.report(tid, StopReason::CallEnded { returned: None });
        Ok(())
    }

    /// Whether a trap at `at` is there for a call of the thread's.
    pub(crate) fn is_site_of_call(&self, tid: ThreadId, at: Va) -> bool {
        let calls = self.threads.get(&tid).map(|thread| &thread.calls);
        calls.is_some_and(|calls| calls.iter().any(|call| call.sites().any(|site| site == at)))
    }

    /// Whether a thread was made to call a function and has not come back.
    pub(crate) fn is_in_call(&self, tid: ThreadId) -> bool {
        self.threads.get(&tid).is_some_and(|thread| !thread.calls.is_empty())
    }

    /// The thread is about to be let go: it comes back from its calls by itself. Signals that it was stopped for it gets now.
    pub(crate) fn leave_calls(&mut self, tid: ThreadId) {
        for call in self.take_calls(tid) {
            let process = self.threads.get(&tid).map(|thread| thread.process);
            if let (Some(process), Some(signal)) = (process, call.signal.filter(|signal| signal.code() <= 0)) {
                let _ = signal::send(process.0, tid.0, signal.signo());
            }
        }
    }

    /// A thread ended, or its image did: nothing is planted for its calls any more.
    pub(crate) fn forget_calls(&mut self, tid: ThreadId) {
        drop(self.take_calls(tid));
    }

    fn take_calls(&mut self, tid: ThreadId) -> Vec<PendingCall> {
        let calls = self.threads.get_mut(&tid).map(|thread| std::mem::take(&mut thread.calls)).unwrap_or_default();
        for call in &calls {
            self.remove_call_sites(tid, call);
        }
        calls
    }

    /// Puts a thread that is at the restorer back where it was before its newest call.
    fn come_back(&mut self, tid: ThreadId) -> Result<(), rustix::io::Errno> {
        let Some(call) = self.threads.get_mut(&tid).and_then(|thread| thread.calls.pop()) else { return Ok(()) };
        self.remove_call_sites(tid, &call);
        // Until the last of these the restorer would do the same.
        registers::set_floating(tid.0, &call.floating)?;
        ptrace::set_signal_mask(tid.0, call.mask)?;
        registers::set_general(tid.0, &call.before)?;
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        (thread.registers, thread.dirty, thread.signal) = (Some(call.before), false, call.signal);
        if let Some(signal) = call.signal {
            let process = thread.process;
            self.journal.signal_information(process, tid, &signal.0);
            self.journal.signal_held(process, tid, signal.signo());
        }
        Ok(())
    }

    fn remove_call_sites(&mut self, tid: ThreadId, call: &PendingCall) {
        let Some(space) = self.space_id_of(tid) else { return };
        for site in call.sites() {
            if !self.is_site_of_call(tid, site) {
                self.remove_owner(space, site, Owner::Stepping(tid));
            }
        }
    }
}

fn check_bounds(plan: &CallPlan) -> Result<(), TargetError> {
    let fits = plan.integers.len() <= CallPlan::MAX_INTEGERS
        && plan.vectors.len() <= CallPlan::MAX_VECTORS
        && plan.stack.len() <= CallPlan::MAX_STACK
        && plan.data.len() <= CallPlan::MAX_DATA
        && plan.stops.len() <= CallPlan::MAX_STOPS;
    match fits {
        true => Ok(()),
        false => Err(TargetError::Invalid { reason: "a call has more arguments or data than fit".into() }),
    }
}

/// The vector state that a function finds: its arguments, and an x87 stack with nothing on it, as the kernel gives handlers.
fn for_call(floating: &[u8], vectors: &[u64]) -> Vec<u8> {
    let mut area = floating.to_vec();
    if area.len() >= VECTORS + CallPlan::MAX_VECTORS * VECTOR_LEN {
        area[X87_STATUS..X87_STATUS + 2].fill(0);
        area[X87_TAGS] = 0;
        for (index, value) in vectors.iter().enumerate().take(CallPlan::MAX_VECTORS) {
            let at = VECTORS + index * VECTOR_LEN;
            area[at..at + 8].copy_from_slice(&value.to_le_bytes());
            area[at + 8..at + VECTOR_LEN].fill(0);
        }
    }
    area
}

/// The registers to come back to. A system call that keeps in the kernel how to go on (a restart block) would be restarted
/// with whatever the function leaves there: one that can as well be begun anew is, for the others there is no call.
/// Sources: fs/select.c (`poll`), kernel/futex/waitwake.c (`futex_wait`), kernel/time/hrtimer.c.
fn restartable(before: &GeneralRegisters, memory: &ProcessMemory) -> Option<GeneralRegisters> {
    const ERESTART_RESTARTBLOCK: i64 = -516;
    const COMMAND: u64 = 0x7f;
    const WAIT_BITSET: u64 = 9;
    let number = before.0[word::ORIG_RAX] as i64;
    if number < 0 || before.0[RAX] as i64 != ERESTART_RESTARTBLOCK {
        return Some(*before);
    }
    let argument = |index: usize| before.0[ARGUMENTS[index]];
    // It was interrupted before: then the number is in the code alone.
    let number = match number {
        libc::SYS_restart_syscall => loaded_number(memory, Va(before.pc()))?,
        number => number,
    };
    let begins_anew = match number {
        libc::SYS_poll => (argument(2) as i32) < 0,
        // Its time is absolute.
        libc::SYS_futex => argument(1) & COMMAND == WAIT_BITSET,
        _ => false,
    };
    begins_anew.then(|| {
        let mut anew = *before;
        anew.0[RAX] = number as u64;
        anew.0[word::ORIG_RAX] = u64::MAX;
        anew.set_pc(before.pc().wrapping_sub(2));
        anew
    })
}

/// The number that `mov eax, NUMBER` loads right before the `syscall` that ends at `pc`.
fn loaded_number(memory: &ProcessMemory, pc: Va) -> Option<i64> {
    let mut code = [0; 7];
    match (memory.read(pc - 7, &mut code), code) {
        (7, [0xb8, a, b, c, d, 0x0f, 0x05]) => Some(i32::from_le_bytes([a, b, c, d]).into()),
        _ => None,
    }
}
