//! Step plans: the machine of `outpost_target::step` decides, this carries out.
//!
//! A thread on a plan either executes single instructions or runs to a place, with traps that only it is stopped by.
//! Things the machine does not know are settled here:
//!
//! | what the thread met | what is done |
//! | --- | --- |
//! | `pushf` under TF | TF is taken out of the pushed word, since the program did not set it |
//! | `syscall` under TF | TF is taken out of r11, into which the processor copied the flags |
//! | a repeated string instruction | one iteration is a step of its own; a plan that steps over calls runs behind it |
//! | a breakpoint of the client on the way | judged like a hit; if it stops, the plan is over |
//! | a signal with a handler that does not stop | the handler runs freely; the plan goes on when it came back |
//! | SIGTRAP blocked by the program | unblocked for the length of the plan: the kernel would reset the program's action |

use std::time::{Duration, Instant};

use outpost_base::{MemoryReader, ThreadId, Va};
use outpost_target::step::{Next, StepMachine, StepView};
use outpost_target::{Event, StepPlan, StopReason, TraceStep};

use crate::breakpoints::{Judgement, Owner, Passed, Unbroken};
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_registers::{GeneralRegisters, word};
use crate::tracer::{Part, Space, Tracer};
use crate::traps::has_pending_trap;

/// Traced instructions are sent in portions of this many, or after this time.
const TRACE_PORTION: usize = 64;
const TRACE_INTERVAL: Duration = Duration::from_millis(50);

const TRAP_FLAG: u64 = 0x100;
const SIGTRAP_BIT: u64 = 1 << (libc::SIGTRAP - 1);
const SIGILL_BIT: u64 = 1 << (libc::SIGILL - 1);

/// What a thread on a plan is doing.
#[derive(Debug, Clone, Copy)]
enum Primitive {
    /// Nothing yet.
    Begin,
    /// One instruction.
    Instruction,
    /// Running to a place, or to a fence.
    Run { at: Option<Va>, min_sp: Va },
    /// Running a signal's handler until it comes back to `at`; then the instruction there.
    Handler { at: Va, min_sp: Va },
    /// Running to behind a repeated string instruction, which is then done.
    Repetition { behind: Va },
}

/// A thread's way through a step plan.
#[derive(Debug)]
pub(crate) struct Stepping {
    machine: StepMachine,
    primitive: Primitive,
    from_pc: Va,
    from_sp: Va,
    from_flags: u64,
    /// Places with a trap for this thread.
    planted: Vec<Va>,
    fences_planted: bool,
    /// The signal mask to put back.
    mask: Option<u64>,
    trace: Vec<TraceStep>,
    trace_since: Instant,
}

struct View<'a> {
    registers: &'a GeneralRegisters,
    space: &'a Space,
}

impl StepView for View<'_> {
    fn pc(&self) -> Va {
        Va(self.registers.pc())
    }
    fn sp(&self) -> Va {
        Va(self.registers.sp())
    }
    fn word(&mut self, at: Va) -> Option<u64> {
        Unbroken(self.space).read_u64(at)
    }
    fn code(&mut self) -> Vec<u8> {
        code_at(self.space, Va(self.registers.pc()))
    }
}

impl Stepping {
    pub(crate) fn new(plan: StepPlan) -> Stepping {
        Stepping {
            machine: StepMachine::new(plan),
            primitive: Primitive::Begin,
            from_pc: Va(0),
            from_sp: Va(0),
            from_flags: 0,
            planted: Vec::new(),
            fences_planted: false,
            mask: None,
            trace: Vec::new(),
            trace_since: Instant::now(),
        }
    }

    /// Where the last instruction stood.
    pub(crate) fn last_pc(&self) -> Va {
        self.from_pc
    }

    fn steps_over(&self) -> bool {
        let plan = self.machine.plan();
        plan.over_calls || !plan.ranges.is_empty()
    }

    /// Whether a place is where the thread was sent, or a fence.
    fn is_sent_to(&self, pc: Va, sp: Va) -> bool {
        let fences = &self.machine.plan().fences;
        match self.primitive {
            Primitive::Run { at, min_sp } => {
                (at == Some(pc) && sp >= min_sp) || fences.iter().any(|fence| fence.at == pc && sp >= fence.min_sp)
            }
            Primitive::Handler { at, min_sp } => {
                (at == pc && sp >= min_sp) || fences.iter().any(|fence| fence.at == pc && sp >= fence.min_sp)
            }
            Primitive::Repetition { behind } => behind == pc,
            Primitive::Begin | Primitive::Instruction => false,
        }
    }
}

impl Tracer {
    /// A stopped thread on a step plan goes on with it.
    pub(crate) fn go_stepping(&mut self, tid: ThreadId) {
        loop {
            let Some(primitive) = self.stepping(tid).map(|stepping| stepping.primitive) else { return };
            let injects = self.threads.get(&tid).is_some_and(|thread| thread.signal.is_some());
            match primitive {
                Primitive::Begin => {
                    if !self.begin_plan(tid) {
                        return;
                    }
                }
                // With a signal to deliver, the step ends at the handler's first instruction.
                Primitive::Instruction if injects => return self.step_instruction(tid),
                Primitive::Instruction if self.is_at_site(tid) => match self.pass(tid) {
                    Passed::Done => {
                        if !self.after_instruction(tid) {
                            return;
                        }
                    }
                    Passed::InSyscall => return self.launch(tid, Go::Step),
                    Passed::Elsewhere => return,
                },
                Primitive::Instruction => return self.step_instruction(tid),
                Primitive::Run { .. } | Primitive::Handler { .. } | Primitive::Repetition { .. } => {
                    if !injects && self.stands_on_judged_site(tid) && self.pass(tid) == Passed::Elsewhere {
                        return;
                    }
                    return self.launch(tid, Go::Continue);
                }
            }
        }
    }

    /// A single step ended.
    pub(crate) fn stepped(&mut self, tid: ThreadId) {
        if self.close_behind(tid) {
            return;
        }
        let is_instruction =
            self.stepping(tid).is_some_and(|stepping| matches!(stepping.primitive, Primitive::Instruction));
        if !is_instruction {
            return self.settle(tid);
        }
        if let Some(registers) = self.registers(tid) {
            self.take_back_trap_flag(tid, registers);
        }
        if self.debug_registers_used(tid) {
            let ids = self.judge_debug_registers(tid);
            if !ids.is_empty() {
                return self.stop_at_breakpoints(tid, ids);
            }
        }
        if self.after_instruction(tid) {
            self.settle(tid);
        }
    }

    /// A thread came to a place where a trap was set for it.
    pub(crate) fn step_plan_arrived(&mut self, tid: ThreadId) {
        let Some(registers) = self.registers(tid) else { return self.settle(tid) };
        let (pc, sp) = (Va(registers.pc()), Va(registers.sp()));
        if self.call_arrived(tid, pc, sp) {
            return;
        }
        let Some(stepping) = self.stepping(tid) else { return self.settle(tid) };
        if !stepping.is_sent_to(pc, sp) {
            return self.settle(tid);
        }
        let went_on = match stepping.primitive {
            Primitive::Handler { at, .. } if at == pc => {
                // The instruction that was about to be executed when the signal came still is.
                self.unplant_place(tid, pc);
                self.set_primitive(tid, Primitive::Instruction);
                true
            }
            Primitive::Run { at: Some(at), .. } | Primitive::Repetition { behind: at } if at == pc => {
                self.unplant_place(tid, pc);
                self.ask_machine(tid)
            }
            _ => self.ask_machine(tid),
        };
        if went_on {
            self.settle(tid);
        }
    }

    /// A signal that does not stop is about to enter a handler in the middle of a plan.
    pub(crate) fn run_handler(&mut self, tid: ThreadId) {
        let Some(registers) = self.registers(tid) else { return };
        let (at, min_sp) = (Va(registers.pc()), Va(registers.sp()));
        let Some(stepping) = self.stepping(tid) else { return };
        if matches!(stepping.primitive, Primitive::Instruction | Primitive::Begin) && self.plant_place(tid, at) {
            self.set_primitive(tid, Primitive::Handler { at, min_sp });
        }
    }

    /// A plan is over: nothing of it stays in the thread. Returns what its trace did not tell yet.
    pub(crate) fn end_step_plan(&mut self, tid: ThreadId) -> Vec<TraceStep> {
        let Some(thread) = self.threads.get_mut(&tid) else { return Vec::new() };
        let Part::Step(stepping) = std::mem::replace(&mut thread.part, Part::Hold) else {
            return Vec::new();
        };
        let stopped = thread.is_stopped();
        thread.mask_before_step = stepping.mask;
        self.unplant_for(tid, &stepping.planted);
        if stopped {
            self.restore_mask_before_step(tid);
        }
        stepping.trace
    }

    /// Puts SIGTRAP back into the mask of a thread whose plan is over, unless the program has set another meanwhile.
    pub(crate) fn restore_mask_before_step(&mut self, tid: ThreadId) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let (process, Some(mask)) = (thread.process, thread.mask_before_step) else { return };
        // The trap of the last step is still to come, should the thread have stopped for something else first: blocked, it
        // would wait for ever. At the stop for it this is called again. With the flag for another trap still set, a thread
        // that blocks it would die should we be killed: this is called again when that is gone.
        if thread.is_trapping || has_pending_trap(process, tid.0) {
            return;
        }
        thread.mask_before_step = None;
        // SIGILL may just have been forced by a site of the plan's, which is put right by itself.
        let ours = SIGTRAP_BIT | SIGILL_BIT;
        if let Ok(now) = ptrace::signal_mask(tid.0)
            && now | ours == mask | ours
        {
            let _ = ptrace::set_signal_mask(tid.0, now | SIGTRAP_BIT);
        }
        self.journal.trap_unblocked(process, tid, false);
    }

    fn begin_plan(&mut self, tid: ThreadId) -> bool {
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return false };
        if let Some(space) = self.space_id_of(tid) {
            // An orphaned step kills as surely as a breakpoint does.
            self.protect(space);
        }
        if let Ok(mask) = ptrace::signal_mask(tid.0)
            && mask & SIGTRAP_BIT != 0
        {
            self.journal.trap_unblocked(process, tid, true);
            if ptrace::set_signal_mask(tid.0, mask & !SIGTRAP_BIT).is_ok()
                && let Some(stepping) = self.stepping(tid)
            {
                stepping.mask = Some(mask);
            }
        }
        let steps_over = self.stepping(tid).is_some_and(|stepping| stepping.steps_over());
        let signal = self.threads.get(&tid).and_then(|thread| thread.signal);
        let Some(next) = self.with_machine(tid, |machine, view| machine.begin(view)) else { return false };
        let goes_on = self.apply(tid, next);
        if let Some(info) = signal
            && steps_over
            && crate::tracer::has_handler(tid, info.signo())
        {
            self.run_handler(tid);
        }
        goes_on
    }

    /// An instruction was executed; `true`: the thread goes on.
    fn after_instruction(&mut self, tid: ThreadId) -> bool {
        let Some(registers) = self.registers(tid) else { return false };
        let pc = Va(registers.pc());
        if self.call_returned(tid, pc, Va(registers.sp())) {
            return false;
        }
        let Some(space) = self.space_of(tid) else { return false };
        let has_client = space.sites.get(pc).is_some_and(|site| site.has_client());
        let Some(stepping) = self.stepping(tid) else { return false };
        let repeats = pc == stepping.from_pc;
        if repeats
            && stepping.steps_over()
            && let Some(len) = self.repetition_at(tid, pc)
        {
            let behind = pc + len;
            return match self.plant_place(tid, behind) {
                true => {
                    self.set_primitive(tid, Primitive::Repetition { behind });
                    true
                }
                false => true,
            };
        }
        if has_client && !repeats {
            self.has_arrived(tid);
            self.settle_pads(tid, pc);
            if let Judgement::Stop(ids) = self.judge(tid, pc) {
                self.stop_at_breakpoints(tid, ids);
                return false;
            }
        }
        self.ask_machine(tid)
    }

    fn ask_machine(&mut self, tid: ThreadId) -> bool {
        let asked = self.with_machine(tid, |machine, view| {
            let before = machine.counted();
            (machine.next(view), machine.counted() > before)
        });
        let Some((next, is_step)) = asked else { return false };
        if is_step && let Some(registers) = self.registers(tid) {
            self.record(tid, &registers);
        }
        self.apply(tid, next)
    }

    /// Turns the machine's answer into a primitive; `false`: the plan is over and reported.
    fn apply(&mut self, tid: ThreadId, next: Next) -> bool {
        match next {
            Next::StepInstruction => {
                self.set_primitive(tid, Primitive::Instruction);
                true
            }
            Next::Run { at, min_sp } => {
                self.plant_fences(tid);
                if let Some(at) = at {
                    self.plant_place(tid, at);
                }
                self.set_primitive(tid, Primitive::Run { at, min_sp });
                // The thread stands here already: a trap at this very place is for its next arrival.
                self.has_arrived(tid);
                true
            }
            Next::Stop(outcome) => {
                self.report(tid, StopReason::Step { outcome });
                false
            }
        }
    }

    fn step_instruction(&mut self, tid: ThreadId) {
        let Some(registers) = self.registers(tid) else { return self.lost(tid) };
        if let Some(stepping) = self.stepping(tid) {
            stepping.from_pc = Va(registers.pc());
            stepping.from_sp = Va(registers.sp());
            stepping.from_flags = registers.0[word::FLAGS];
        }
        self.launch(tid, Go::Step);
    }

    /// Removes TF from where the last instruction copied the flags, unless the program had set it.
    fn take_back_trap_flag(&mut self, tid: ThreadId, registers: GeneralRegisters) {
        let Some(stepping) = self.stepping(tid) else { return };
        if stepping.from_flags & TRAP_FLAG != 0 {
            return;
        }
        let (from_pc, from_sp) = (stepping.from_pc, stepping.from_sp);
        let (pc, sp) = (registers.pc(), Va(registers.sp()));
        let after_syscall = registers.0[word::RCX] == pc && pc == (from_pc + 2).0;
        if after_syscall && registers.0[word::R11] & TRAP_FLAG != 0 {
            let mut registers = registers;
            registers.0[word::R11] &= !TRAP_FLAG;
            self.set_registers(tid, registers);
            return;
        }
        let pushed = from_sp - sp;
        if (pushed != 8 && pushed != 2) || pc == from_pc.0 || pc > from_pc.0 + 4 {
            return;
        }
        let Some(space) = self.space_of(tid) else { return };
        let code = code_at(space, from_pc);
        let opcode = code.iter().find(|byte| !matches!(byte, 0x66 | 0x40..=0x4f));
        let mut flags = [0; 2];
        if opcode == Some(&0x9c) && space.memory.read(sp, &mut flags) == 2 {
            flags[1] &= !1;
            space.memory.write(sp, &flags);
        }
    }

    /// Length of the repeated string instruction at `pc`, if there is one.
    fn repetition_at(&self, tid: ThreadId, pc: Va) -> Option<u64> {
        let code = code_at(self.space_of(tid)?, pc);
        let mut repeated = false;
        for (at, byte) in code.iter().enumerate() {
            match byte {
                0xf2 | 0xf3 => repeated = true,
                0x66 | 0x67 | 0x40..=0x4f | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
                0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf if repeated => return Some(at as u64 + 1),
                _ => return None,
            }
        }
        None
    }

    /// Keeps a traced step, and tells the client of many; the newest, which may be the stop, stays for the bundle.
    fn record(&mut self, tid: ThreadId, registers: &GeneralRegisters) {
        let wanted = self.stepping(tid).is_some_and(|stepping| stepping.machine.plan().trace);
        if !wanted {
            return;
        }
        let code = self.space_of(tid).map(|space| code_at(space, Va(registers.pc()))).unwrap_or_default();
        let Some(stepping) = self.stepping(tid) else { return };
        let newest = TraceStep { general: registers.0.to_vec(), code };
        let is_due = stepping.trace.len() >= TRACE_PORTION || stepping.trace_since.elapsed() >= TRACE_INTERVAL;
        if is_due && !stepping.trace.is_empty() {
            stepping.trace_since = Instant::now();
            let steps = std::mem::take(&mut stepping.trace);
            stepping.trace.push(newest);
            self.events.push_back(Event::Trace { thread: tid, steps });
        } else {
            stepping.trace.push(newest);
        }
    }

    fn plant_fences(&mut self, tid: ThreadId) {
        let Some(stepping) = self.stepping(tid) else { return };
        if std::mem::replace(&mut stepping.fences_planted, true) {
            return;
        }
        let places: Vec<Va> = stepping.machine.plan().fences.iter().map(|fence| fence.at).collect();
        for at in places {
            self.plant_place(tid, at);
        }
    }

    /// Sets a trap for one thread; `false` if the place cannot be written, which no thread then arrives at.
    fn plant_place(&mut self, tid: ThreadId, at: Va) -> bool {
        let Some(space) = self.space_id_of(tid) else { return false };
        if self.is_site_of_call(tid, at) || self.stepping(tid).is_some_and(|stepping| stepping.planted.contains(&at)) {
            return true;
        }
        if let Err(error) = self.add_owner(space, at, Owner::Stepping(tid)) {
            tracing::warn!(%tid, %at, %error, "no trap for a step");
            return false;
        }
        if let Some(stepping) = self.stepping(tid) {
            stepping.planted.push(at);
        }
        true
    }

    /// Takes a trap away again, unless it is a fence.
    fn unplant_place(&mut self, tid: ThreadId, at: Va) {
        let Some(stepping) = self.stepping(tid) else { return };
        if stepping.fences_planted && stepping.machine.plan().fences.iter().any(|fence| fence.at == at) {
            return;
        }
        stepping.planted.retain(|planted| *planted != at);
        self.unplant_for(tid, &[at]);
    }

    fn is_at_site(&mut self, tid: ThreadId) -> bool {
        let Some(registers) = self.registers(tid) else { return false };
        let Some(stepping) = self.stepping(tid) else { return false };
        (stepping.from_pc, stepping.from_sp) = (Va(registers.pc()), Va(registers.sp()));
        stepping.from_flags = registers.0[word::FLAGS];
        self.space_of(tid).is_some_and(|space| space.sites.get(Va(registers.pc())).is_some())
    }

    fn set_primitive(&mut self, tid: ThreadId, primitive: Primitive) {
        if let Some(stepping) = self.stepping(tid) {
            stepping.primitive = primitive;
        }
    }

    fn stepping(&mut self, tid: ThreadId) -> Option<&mut Stepping> {
        match &mut self.threads.get_mut(&tid)?.part {
            Part::Step(stepping) => Some(stepping),
            _ => None,
        }
    }

    fn with_machine<T>(
        &mut self,
        tid: ThreadId,
        ask: impl FnOnce(&mut StepMachine, &mut dyn StepView) -> T,
    ) -> Option<T> {
        let registers = self.registers(tid)?;
        let space = self.spaces.get(&self.space_id_of(tid)?)?;
        let Part::Step(stepping) = &mut self.threads.get_mut(&tid)?.part else { return None };
        Some(ask(&mut stepping.machine, &mut View { registers: &registers, space }))
    }
}

/// Up to 16 bytes of code, breakpoints hidden.
fn code_at(space: &Space, at: Va) -> Vec<u8> {
    let mut code = vec![0; 16];
    let count = Unbroken(space).read(at, &mut code);
    code.truncate(count);
    code
}
