//! Plans: what threads do next.

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};
use outpost_target::step::InstructionKinds;
use outpost_target::{
    Action, BundleRequest, CallPlan, CallWord, EntryPoint, EventMask, Fence, FenceKind, Plan, SignalAction, StepPlan,
    StopGeneration, StopScope, ThreadPlan,
};

use super::{all, each, enumeration, required};
use crate::{WireError, proto};

/// All bits of [`InstructionKinds`]: call, return, branch, system call.
const KNOWN_KINDS: u32 = 0x0f;

enumeration!(scope_number, scope, StopScope, proto::StopScope, "scope":
    Thread = ScopeThread,
    Process = ScopeProcess,
    System = ScopeSystem,
);

enumeration!(fence_number, fence_kind, FenceKind, proto::fence::Kind, "kind":
    Return = Return,
    Unwind = Unwind,
    User = User,
);

impl From<BundleRequest> for proto::BundleRequest {
    fn from(request: BundleRequest) -> proto::BundleRequest {
        let subscription = |(space, range): (AddressSpaceId, outpost_base::VaRange)| proto::Subscription {
            space: space.0,
            range: Some(range.into()),
        };
        proto::BundleRequest {
            stack_bytes: request.stack_bytes,
            code_bytes: request.code_bytes,
            all_registers: request.all_registers,
            subscriptions: request.subscriptions.into_iter().map(subscription).collect(),
        }
    }
}

impl TryFrom<proto::BundleRequest> for BundleRequest {
    type Error = WireError;

    fn try_from(request: proto::BundleRequest) -> Result<BundleRequest, WireError> {
        let subscription =
            |entry: proto::Subscription| Ok((AddressSpaceId(entry.space), required(entry.range, "range")?.into()));
        Ok(BundleRequest {
            stack_bytes: request.stack_bytes,
            code_bytes: request.code_bytes,
            all_registers: request.all_registers,
            subscriptions: request.subscriptions.into_iter().map(subscription).collect::<Result<_, WireError>>()?,
        })
    }
}

impl From<SignalAction> for proto::SignalAction {
    fn from(action: SignalAction) -> proto::SignalAction {
        use proto::signal_action::Action;
        let action = match action {
            SignalAction::Deliver => Action::Deliver(proto::Empty {}),
            SignalAction::Swallow => Action::Swallow(proto::Empty {}),
            SignalAction::Replace(info) => Action::Replace(info.into()),
        };
        proto::SignalAction { action: Some(action) }
    }
}

impl TryFrom<proto::SignalAction> for SignalAction {
    type Error = WireError;

    fn try_from(action: proto::SignalAction) -> Result<SignalAction, WireError> {
        use proto::signal_action::Action;
        Ok(match required(action.action, "signal")? {
            Action::Deliver(_) => SignalAction::Deliver,
            Action::Swallow(_) => SignalAction::Swallow,
            Action::Replace(info) => SignalAction::Replace(info.try_into()?),
        })
    }
}

impl From<Action> for proto::Action {
    fn from(action: Action) -> proto::Action {
        use proto::action::Action as Theirs;
        let action = match action {
            Action::Run => Theirs::Run(proto::Empty {}),
            Action::Hold => Theirs::Hold(proto::Empty {}),
            Action::Step(plan) => Theirs::Step(plan.into()),
            Action::Call(plan) => Theirs::Call(plan.into()),
            Action::EndCall => Theirs::EndCall(proto::Empty {}),
        };
        proto::Action { action: Some(action) }
    }
}

impl TryFrom<proto::Action> for Action {
    type Error = WireError;

    fn try_from(action: proto::Action) -> Result<Action, WireError> {
        use proto::action::Action as Theirs;
        Ok(match required(action.action, "action")? {
            Theirs::Run(_) => Action::Run,
            Theirs::Hold(_) => Action::Hold,
            Theirs::Step(plan) => Action::Step(plan.try_into()?),
            Theirs::Call(plan) => Action::Call(plan.try_into()?),
            Theirs::EndCall(_) => Action::EndCall,
        })
    }
}

impl From<CallPlan> for proto::CallPlan {
    fn from(plan: CallPlan) -> proto::CallPlan {
        use proto::call_word::Word;
        let word = |word: CallWord| {
            let word = match word {
                CallWord::Value(value) => Word::Value(value),
                CallWord::Data(offset) => Word::Data(offset),
            };
            proto::CallWord { word: Some(word) }
        };
        proto::CallPlan {
            function: plan.function.0,
            integers: plan.integers.into_iter().map(word).collect(),
            vectors: plan.vectors,
            data: plan.data,
            stops: plan.stops.into_iter().map(|at| at.0).collect(),
            stack: plan.stack.into_iter().map(word).collect(),
        }
    }
}

impl TryFrom<proto::CallPlan> for CallPlan {
    type Error = WireError;

    fn try_from(plan: proto::CallPlan) -> Result<CallPlan, WireError> {
        use proto::call_word::Word;
        let bounds = [
            ("integers", plan.integers.len(), CallPlan::MAX_INTEGERS),
            ("vectors", plan.vectors.len(), CallPlan::MAX_VECTORS),
            ("data", plan.data.len(), CallPlan::MAX_DATA),
            ("stops", plan.stops.len(), CallPlan::MAX_STOPS),
            ("stack", plan.stack.len(), CallPlan::MAX_STACK),
        ];
        if let Some((field, ..)) = bounds.into_iter().find(|(_, len, most)| len > most) {
            return Err(WireError::Field { field });
        }
        let word = |word: proto::CallWord| {
            Ok(match required(word.word, "word")? {
                Word::Value(value) => CallWord::Value(value),
                Word::Data(offset) if offset as usize <= plan.data.len() => CallWord::Data(offset),
                Word::Data(_) => return Err(WireError::Field { field: "word" }),
            })
        };
        Ok(CallPlan {
            function: Va(plan.function),
            integers: plan.integers.into_iter().map(word).collect::<Result<_, WireError>>()?,
            stack: plan.stack.into_iter().map(word).collect::<Result<_, WireError>>()?,
            vectors: plan.vectors,
            data: plan.data,
            stops: plan.stops.into_iter().map(Va).collect(),
        })
    }
}

impl From<StepPlan> for proto::StepPlan {
    fn from(plan: StepPlan) -> proto::StepPlan {
        let entry = |point: EntryPoint| proto::EntryPoint { entry: point.entry.0, body: point.body.0 };
        let fence =
            |fence: Fence| proto::Fence { at: fence.at.0, min_sp: fence.min_sp.0, kind: fence_number(fence.kind) };
        proto::StepPlan {
            count: plan.count,
            over_calls: plan.over_calls,
            ranges: each(plan.ranges),
            function: each(plan.function),
            cfa: plan.cfa.0,
            enter: plan.enter.into_iter().map(entry).collect(),
            stop_unknown_calls: plan.stop_unknown_calls,
            pass_through: each(plan.pass_through),
            fences: plan.fences.into_iter().map(fence).collect(),
            stop_on_return: plan.stop_on_return,
            ranges_after_return: each(plan.ranges_after_return),
            stop_before: u32::from(plan.stop_before.0),
            limit: plan.limit,
            run: plan.run,
            trace: plan.trace,
        }
    }
}

impl TryFrom<proto::StepPlan> for StepPlan {
    type Error = WireError;

    fn try_from(plan: proto::StepPlan) -> Result<StepPlan, WireError> {
        let entry = |point: proto::EntryPoint| EntryPoint { entry: Va(point.entry), body: Va(point.body) };
        let fence = |fence: proto::Fence| {
            Ok(Fence { at: Va(fence.at), min_sp: Va(fence.min_sp), kind: fence_kind(fence.kind)? })
        };
        let stop_before = match plan.stop_before {
            kinds if kinds & !KNOWN_KINDS == 0 => InstructionKinds(kinds as u8),
            _ => return Err(WireError::Field { field: "stop_before" }),
        };
        Ok(StepPlan {
            count: plan.count,
            over_calls: plan.over_calls,
            ranges: each(plan.ranges),
            function: each(plan.function),
            cfa: Va(plan.cfa),
            enter: plan.enter.into_iter().map(entry).collect(),
            stop_unknown_calls: plan.stop_unknown_calls,
            pass_through: each(plan.pass_through),
            fences: plan.fences.into_iter().map(fence).collect::<Result<_, WireError>>()?,
            stop_on_return: plan.stop_on_return,
            ranges_after_return: each(plan.ranges_after_return),
            stop_before,
            limit: plan.limit,
            run: plan.run,
            trace: plan.trace,
        })
    }
}

impl From<ThreadPlan> for proto::ThreadPlan {
    fn from(plan: ThreadPlan) -> proto::ThreadPlan {
        proto::ThreadPlan { thread: plan.thread.0, action: Some(plan.action.into()), signal: Some(plan.signal.into()) }
    }
}

impl TryFrom<proto::ThreadPlan> for ThreadPlan {
    type Error = WireError;

    fn try_from(plan: proto::ThreadPlan) -> Result<ThreadPlan, WireError> {
        Ok(ThreadPlan {
            thread: ThreadId(plan.thread),
            action: required(plan.action, "action")?.try_into()?,
            signal: required(plan.signal, "signal")?.try_into()?,
        })
    }
}

impl From<EventMask> for proto::EventMask {
    fn from(mask: EventMask) -> proto::EventMask {
        proto::EventMask {
            thread_start: mask.thread_start,
            thread_exit: mask.thread_exit,
            fork: mask.fork,
            follow_forks: mask.follow_forks,
            exec: mask.exec,
            modules: mask.modules,
            syscalls: mask.syscalls,
            pass_signals_low: mask.pass_signals as u64,
            pass_signals_high: (mask.pass_signals >> 64) as u64,
            drop_signals_low: mask.drop_signals as u64,
            drop_signals_high: (mask.drop_signals >> 64) as u64,
            second_chance_signals_low: mask.second_chance_signals as u64,
            second_chance_signals_high: (mask.second_chance_signals >> 64) as u64,
        }
    }
}

impl From<proto::EventMask> for EventMask {
    fn from(mask: proto::EventMask) -> EventMask {
        let joined = |low: u64, high: u64| u128::from(low) | (u128::from(high) << 64);
        EventMask {
            thread_start: mask.thread_start,
            thread_exit: mask.thread_exit,
            fork: mask.fork,
            follow_forks: mask.follow_forks,
            exec: mask.exec,
            modules: mask.modules,
            syscalls: mask.syscalls,
            pass_signals: joined(mask.pass_signals_low, mask.pass_signals_high),
            drop_signals: joined(mask.drop_signals_low, mask.drop_signals_high),
            second_chance_signals: joined(mask.second_chance_signals_low, mask.second_chance_signals_high),
        }
    }
}

impl From<Plan> for proto::Plan {
    fn from(plan: Plan) -> proto::Plan {
        proto::Plan {
            generation: plan.generation.0,
            processes: plan.processes.into_iter().map(|process| process.0).collect(),
            threads: each(plan.threads),
            others: Some(plan.others.into()),
            others_signal: Some(plan.others_signal.into()),
            scope: scope_number(plan.scope),
            events: Some(plan.events.into()),
            bundle: Some(plan.bundle.into()),
        }
    }
}

impl TryFrom<proto::Plan> for Plan {
    type Error = WireError;

    fn try_from(plan: proto::Plan) -> Result<Plan, WireError> {
        Ok(Plan {
            generation: StopGeneration(plan.generation),
            processes: plan.processes.into_iter().map(ProcessId).collect(),
            threads: all(plan.threads)?,
            others: required(plan.others, "others")?.try_into()?,
            others_signal: required(plan.others_signal, "others_signal")?.try_into()?,
            scope: scope(plan.scope)?,
            events: required(plan.events, "events")?.into(),
            bundle: required(plan.bundle, "bundle")?.try_into()?,
        })
    }
}
