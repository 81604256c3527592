//! Step plans as a pure state machine: observations in, primitive actions out.
//!
//! Every backend that runs uses it, so that stepping over a call, through a PLT stub or out of a frame means the same
//! everywhere and a source step costs one round trip. The machine is given what a stopped thread looks like
//! ([`StepView`]) and answers with the next primitive ([`Next`]); it reads nothing by itself and keeps no handle.
//!
//! How it tells what an instruction did, without a disassembler:
//!
//! | seen after one instruction | meaning |
//! | --- | --- |
//! | sp went down by a pointer and the word there lies just behind the old pc | a call; that word is where it returns |
//! | sp is at or above the plan's cfa | the frame returned (or was unwound) |
//! | pc in `pass_through` | on the way through a stub: keep stepping |
//! | pc outside `function`, neither of the above | a tail call: its return is the frame's own |

mod instruction;

use outpost_base::Va;

use crate::{EntryPoint, FenceKind, StepOutcome, StepPlan};

pub use instruction::{InstructionKind, InstructionKinds, classify};

/// What a stopped thread looks like. Reading is lazy, since most steps need only pc and sp.
pub trait StepView {
    /// The program counter.
    fn pc(&self) -> Va;
    /// The stack pointer.
    fn sp(&self) -> Va;
    /// The pointer at `at`, if readable.
    fn word(&mut self, at: Va) -> Option<u64>;
    /// Up to 16 bytes of code at pc, breakpoint bytes hidden.
    fn code(&mut self) -> Vec<u8>;
}

/// The next thing the backend does with the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Execute one instruction, then ask again.
    StepInstruction,
    /// Run until the thread is at `at` with sp at least `min_sp`, or at one of the plan's fences, then ask again.
    /// `at` is `None` where only the fences count.
    Run {
        /// Where to stop.
        at: Option<Va>,
        /// Lowest sp that counts there.
        min_sp: Va,
    },
    /// The plan ended.
    Stop(StepOutcome),
}

/// One thread's way through a [`StepPlan`].
#[derive(Debug, Clone)]
pub struct StepMachine {
    plan: StepPlan,
    /// Where the last primitive started.
    from_pc: Va,
    from_sp: Va,
    /// Whether the last primitive was one instruction.
    stepped: bool,
    /// Steps of the plan completed (a call stepped over is one); with `stop_before`, arrivals at such instructions.
    counted: u64,
    /// Instructions and runs executed.
    executed: u64,
    /// A call whose destination is still being resolved in a stub: its return address and sp at the callee's entry.
    call_in_stub: Option<(Va, Va)>,
    /// The body of the function being entered.
    entering: Option<Va>,
    /// Running to the frame's own return because of a tail call.
    tail_call: bool,
}

impl StepMachine {
    /// Begins a plan; the answer to [`StepMachine::begin`] is the first primitive.
    pub fn new(plan: StepPlan) -> StepMachine {
        StepMachine {
            plan,
            from_pc: Va(0),
            from_sp: Va(0),
            stepped: false,
            counted: 0,
            executed: 0,
            call_in_stub: None,
            entering: None,
            tail_call: false,
        }
    }

    /// The plan being carried out; its fences must be planted while [`Next::Run`] is carried out.
    pub fn plan(&self) -> &StepPlan {
        &self.plan
    }

    /// Steps of the plan that are done, as its `count` counts them. Those that go on are what a trace shows.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// The first primitive. Conditions are not looked at yet: a step always moves.
    pub fn begin(&mut self, view: &mut dyn StepView) -> Next {
        self.go_on(view)
    }

    /// The next primitive, after the last one was carried out.
    pub fn next(&mut self, view: &mut dyn StepView) -> Next {
        self.executed += 1;
        let (pc, sp) = (view.pc(), view.sp());
        if let Some(outcome) = self.fence_at(pc, sp) {
            return Next::Stop(outcome);
        }
        if self.plan.limit != 0 && self.executed >= self.plan.limit {
            return Next::Stop(StepOutcome::Limit);
        }
        if self.entering == Some(pc) {
            return Next::Stop(StepOutcome::Entered);
        }
        if self.plan.run {
            return self.go_on(view);
        }
        if self.tail_call && self.plan.cfa.0 != 0 && sp >= self.plan.cfa {
            return self.returned(view);
        }
        let was_in_stub = self.in_pass_through(self.from_pc);
        if self.in_pass_through(pc) {
            // Calls within stubs (a resolver's own) are not the one whose destination is being resolved.
            if !was_in_stub && let Some(call) = self.call_made(view) {
                self.call_in_stub = Some(call);
            }
            return self.go_on(view);
        }
        if was_in_stub && let Some((return_address, entry_sp)) = self.call_made(view) {
            // A stub calls out, as the loader does to choose an indirect function: back into the stub.
            self.stepped = false;
            return Next::Run { at: Some(return_address), min_sp: entry_sp + 1 };
        }
        // What was called may have been stub code itself (`__tls_get_addr` of the loader), and has returned.
        let in_stub = self.call_in_stub.take().filter(|(_, entry_sp)| sp <= *entry_sp);
        if let Some((return_address, entry_sp)) = in_stub.or_else(|| self.call_made(view)) {
            if let Some(next) = self.called(view, return_address, entry_sp) {
                return next;
            }
        } else if self.plan.cfa.0 != 0 && sp >= self.plan.cfa {
            return self.returned(view);
        }
        self.arrived(view)
    }

    /// A signal with a handler is about to be delivered in the middle of the plan: let the handler run and come back.
    pub fn handler_will_run(&mut self, view: &mut dyn StepView) -> Next {
        self.stepped = false;
        Next::Run { at: Some(view.pc()), min_sp: view.sp() }
    }

    /// The thread is somewhere and no call, return or stub explains it: the plan's own stop conditions decide.
    fn arrived(&mut self, view: &mut dyn StepView) -> Next {
        let pc = view.pc();
        let by_kind = !self.plan.stop_before.is_empty();
        self.counted += u64::from(!by_kind);
        if self.plan.count != 0 && !by_kind {
            return if self.counted >= self.plan.count { Next::Stop(StepOutcome::Counted) } else { self.go_on(view) };
        }
        if !self.plan.ranges.is_empty() && !self.plan.ranges.iter().any(|range| range.contains(pc)) {
            let left_function =
                !self.plan.function.is_empty() && !self.plan.function.iter().any(|range| range.contains(pc));
            if left_function && self.plan.cfa.0 != 0 {
                return self.tail_called(view);
            }
            return Next::Stop(StepOutcome::LeftRanges);
        }
        if by_kind && self.plan.stop_before.contains(classify(&view.code())) {
            self.counted += 1;
            if self.counted >= self.plan.count {
                return Next::Stop(StepOutcome::BeforeInstruction);
            }
        }
        self.go_on(view)
    }

    /// The last instruction was a call, which returns to `return_address`; sp at the callee's entry was `entry_sp`.
    /// `None`: the call is a step like any other.
    fn called(&mut self, view: &mut dyn StepView, return_address: Va, entry_sp: Va) -> Option<Next> {
        if let Some(next) = self.enter(view) {
            return Some(next);
        }
        if self.plan.stop_unknown_calls {
            return Some(Next::Stop(StepOutcome::UnknownCall));
        }
        if self.plan.over_calls || !self.plan.ranges.is_empty() {
            self.stepped = false;
            return Some(Next::Run { at: Some(return_address), min_sp: entry_sp + 1 });
        }
        None
    }

    fn tail_called(&mut self, view: &mut dyn StepView) -> Next {
        if let Some(next) = self.enter(view) {
            return next;
        }
        if self.plan.stop_unknown_calls {
            return Next::Stop(StepOutcome::UnknownCall);
        }
        // The callee returns where this frame would have; without that address the jump is where we stop.
        let own_return = self.plan.fences.iter().find(|fence| fence.kind == FenceKind::Return);
        let own_return = own_return.map(|fence| fence.at).or_else(|| view.word(self.plan.cfa - 8).map(Va));
        let Some(at) = own_return else { return Next::Stop(StepOutcome::LeftRanges) };
        self.tail_call = true;
        self.stepped = false;
        Next::Run { at: Some(at), min_sp: self.plan.cfa }
    }

    fn enter(&mut self, view: &mut dyn StepView) -> Option<Next> {
        let pc = view.pc();
        let EntryPoint { entry, body } = *self.plan.enter.iter().find(|point| point.entry == pc)?;
        if entry == body {
            return Some(Next::Stop(StepOutcome::Entered));
        }
        self.entering = Some(body);
        self.stepped = false;
        Some(Next::Run { at: Some(body), min_sp: Va(0) })
    }

    fn returned(&mut self, view: &mut dyn StepView) -> Next {
        let pc = view.pc();
        self.tail_call = false;
        let goes_on = !self.plan.stop_on_return && self.plan.ranges_after_return.iter().any(|range| range.contains(pc));
        if !goes_on {
            return Next::Stop(StepOutcome::Returned);
        }
        self.plan.ranges = std::mem::take(&mut self.plan.ranges_after_return);
        self.plan.cfa = Va(0);
        self.plan.function.clear();
        self.go_on(view)
    }

    fn go_on(&mut self, view: &mut dyn StepView) -> Next {
        (self.from_pc, self.from_sp) = (view.pc(), view.sp());
        if self.plan.run {
            self.stepped = false;
            return Next::Run { at: None, min_sp: Va(0) };
        }
        self.stepped = true;
        Next::StepInstruction
    }

    fn fence_at(&self, pc: Va, sp: Va) -> Option<StepOutcome> {
        let index = self.plan.fences.iter().position(|fence| fence.at == pc && sp >= fence.min_sp)?;
        // A step that meets its frame's return address by returning is judged as a return, not as a fence.
        if !self.plan.run && self.plan.fences[index].kind == FenceKind::Return {
            return None;
        }
        Some(StepOutcome::Fence { index: index as u32 })
    }

    fn in_pass_through(&self, pc: Va) -> bool {
        self.plan.pass_through.iter().any(|range| range.contains(pc))
    }

    /// Return address and entry sp, if the last instruction was a call. `call` to the next instruction (`call $+5`,
    /// used to read pc) is not one.
    fn call_made(&self, view: &mut dyn StepView) -> Option<(Va, Va)> {
        let (pc, sp) = (view.pc(), view.sp());
        if !self.stepped || sp + 8 != self.from_sp {
            return None;
        }
        let pushed = Va(view.word(sp)?);
        let behind = pushed.0.checked_sub(self.from_pc.0)?;
        ((2..=15).contains(&behind) && pushed != pc).then_some((pushed, sp))
    }
}

#[cfg(test)]
mod tests;
