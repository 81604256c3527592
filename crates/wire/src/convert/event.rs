//! Events, stops and their bundles.

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};
use outpost_target::{
    BreakpointId, ExitStatus, MemoryBlock, OutputStream, SigInfo, StepOutcome, StopBundle, StopGeneration, StopReason,
    StopRecord, TraceStep,
};

use super::{TailBuilder, TailReader, all, each, enumeration, required};
use crate::proto::stop_reason::{Breakpoints, CallEnded, Execed, Forked, Reason, Syscall};
use crate::{WireError, proto};

/// Longest raw `siginfo_t`; the kernel's has 128 bytes.
const MAX_SIGINFO: usize = 256;

enumeration!(stream_number, stream, OutputStream, proto::OutputStream, "stream": Stdout = Stdout, Stderr = Stderr);

impl From<SigInfo> for proto::SigInfo {
    fn from(info: SigInfo) -> proto::SigInfo {
        proto::SigInfo {
            signo: info.signo,
            code: info.code,
            errno: info.errno,
            address: info.address.0,
            sender: info.sender.0,
            raw: info.raw,
            fatal_by_default: info.fatal_by_default,
        }
    }
}

impl TryFrom<proto::SigInfo> for SigInfo {
    type Error = WireError;

    fn try_from(info: proto::SigInfo) -> Result<SigInfo, WireError> {
        if info.raw.len() > MAX_SIGINFO {
            return Err(WireError::Field { field: "raw" });
        }
        Ok(SigInfo {
            signo: info.signo,
            code: info.code,
            errno: info.errno,
            address: Va(info.address),
            sender: ProcessId(info.sender),
            raw: info.raw,
            fatal_by_default: info.fatal_by_default,
        })
    }
}

impl From<ExitStatus> for proto::ExitStatus {
    fn from(status: ExitStatus) -> proto::ExitStatus {
        use proto::exit_status::{Signal, Status};
        let status = match status {
            ExitStatus::Code(code) => Status::Code(code),
            ExitStatus::Signal { signo, core_dumped } => Status::Signal(Signal { signo, core_dumped }),
            ExitStatus::Unknown => Status::Unknown(proto::Empty {}),
        };
        proto::ExitStatus { status: Some(status) }
    }
}

impl TryFrom<proto::ExitStatus> for ExitStatus {
    type Error = WireError;

    fn try_from(status: proto::ExitStatus) -> Result<ExitStatus, WireError> {
        use proto::exit_status::{Signal, Status};
        Ok(match required(status.status, "status")? {
            Status::Code(code) => ExitStatus::Code(code),
            Status::Signal(Signal { signo, core_dumped }) => ExitStatus::Signal { signo, core_dumped },
            Status::Unknown(_) => ExitStatus::Unknown,
        })
    }
}

impl From<StepOutcome> for proto::StepOutcome {
    fn from(outcome: StepOutcome) -> proto::StepOutcome {
        use proto::step_outcome::Kind;
        let (kind, index) = match outcome {
            StepOutcome::Counted => (Kind::Counted, 0),
            StepOutcome::LeftRanges => (Kind::LeftRanges, 0),
            StepOutcome::Entered => (Kind::Entered, 0),
            StepOutcome::Returned => (Kind::Returned, 0),
            StepOutcome::Fence { index } => (Kind::Fence, index),
            StepOutcome::UnknownCall => (Kind::UnknownCall, 0),
            StepOutcome::Limit => (Kind::Limit, 0),
            StepOutcome::BeforeInstruction => (Kind::BeforeInstruction, 0),
        };
        proto::StepOutcome { kind: kind as i32, index }
    }
}

impl TryFrom<proto::StepOutcome> for StepOutcome {
    type Error = WireError;

    fn try_from(outcome: proto::StepOutcome) -> Result<StepOutcome, WireError> {
        use proto::step_outcome::Kind;
        Ok(match Kind::try_from(outcome.kind) {
            Ok(Kind::Counted) => StepOutcome::Counted,
            Ok(Kind::LeftRanges) => StepOutcome::LeftRanges,
            Ok(Kind::Entered) => StepOutcome::Entered,
            Ok(Kind::Returned) => StepOutcome::Returned,
            Ok(Kind::Fence) => StepOutcome::Fence { index: outcome.index },
            Ok(Kind::UnknownCall) => StepOutcome::UnknownCall,
            Ok(Kind::Limit) => StepOutcome::Limit,
            Ok(Kind::BeforeInstruction) => StepOutcome::BeforeInstruction,
            Ok(Kind::Unspecified) | Err(_) => return Err(WireError::Field { field: "outcome" }),
        })
    }
}

impl From<StopReason> for proto::StopReason {
    fn from(reason: StopReason) -> proto::StopReason {
        let empty = proto::Empty {};
        let reason = match reason {
            StopReason::Attached => Some(Reason::Attached(empty)),
            StopReason::Created => Some(Reason::Created(empty)),
            StopReason::Breakpoint { ids } => {
                Some(Reason::Breakpoint(Breakpoints { ids: ids.into_iter().map(|id| id.0).collect() }))
            }
            StopReason::Step { outcome } => Some(Reason::Step(outcome.into())),
            StopReason::Signal(info) => Some(Reason::Signal(info.into())),
            StopReason::BreakIn => Some(Reason::BreakIn(empty)),
            StopReason::ForeignTrap => Some(Reason::ForeignTrap(empty)),
            StopReason::ThreadStarted => Some(Reason::ThreadStarted(empty)),
            StopReason::ThreadExiting { status } => Some(Reason::ThreadExiting(status.into())),
            StopReason::Forked { child, vfork, followed } => {
                Some(Reason::Forked(Forked { child: child.0, vfork, followed }))
            }
            StopReason::Execed { executable, former_thread } => {
                Some(Reason::Execed(Execed { executable, former_thread: former_thread.0 }))
            }
            StopReason::ModulesChanged => Some(Reason::ModulesChanged(empty)),
            StopReason::Syscall { number, leaving } => Some(Reason::Syscall(Syscall { number, leaving })),
            StopReason::Exited { status } => Some(Reason::Exited(status.into())),
            StopReason::DumpOpened => Some(Reason::DumpOpened(empty)),
            StopReason::CallEnded { returned } => {
                Some(Reason::CallEnded(CallEnded { returned: returned.map(|context| (*context).into()) }))
            }
            // A reason that this protocol cannot name yet is refused at the other end.
            _ => None,
        };
        proto::StopReason { reason }
    }
}

impl TryFrom<proto::StopReason> for StopReason {
    type Error = WireError;

    fn try_from(reason: proto::StopReason) -> Result<StopReason, WireError> {
        Ok(match required(reason.reason, "reason")? {
            Reason::Attached(_) => StopReason::Attached,
            Reason::Created(_) => StopReason::Created,
            Reason::Breakpoint(Breakpoints { ids }) => {
                StopReason::Breakpoint { ids: ids.into_iter().map(BreakpointId).collect() }
            }
            Reason::Step(outcome) => StopReason::Step { outcome: outcome.try_into()? },
            Reason::Signal(info) => StopReason::Signal(info.try_into()?),
            Reason::BreakIn(_) => StopReason::BreakIn,
            Reason::ForeignTrap(_) => StopReason::ForeignTrap,
            Reason::ThreadStarted(_) => StopReason::ThreadStarted,
            Reason::ThreadExiting(status) => StopReason::ThreadExiting { status: status.try_into()? },
            Reason::Forked(Forked { child, vfork, followed }) => {
                StopReason::Forked { child: ProcessId(child), vfork, followed }
            }
            Reason::Execed(Execed { executable, former_thread }) => {
                StopReason::Execed { executable, former_thread: ThreadId(former_thread) }
            }
            Reason::ModulesChanged(_) => StopReason::ModulesChanged,
            Reason::Syscall(Syscall { number, leaving }) => StopReason::Syscall { number, leaving },
            Reason::Exited(status) => StopReason::Exited { status: status.try_into()? },
            Reason::DumpOpened(_) => StopReason::DumpOpened,
            Reason::CallEnded(CallEnded { returned }) => StopReason::CallEnded {
                returned: returned.map(|context| context.try_into().map(Box::new)).transpose()?,
            },
        })
    }
}

impl From<StopRecord> for proto::StopRecord {
    fn from(record: StopRecord) -> proto::StopRecord {
        let StopRecord { process, thread, reason } = record;
        proto::StopRecord { process: process.0, thread: thread.0, reason: Some(reason.into()) }
    }
}

impl TryFrom<proto::StopRecord> for StopRecord {
    type Error = WireError;

    fn try_from(record: proto::StopRecord) -> Result<StopRecord, WireError> {
        Ok(StopRecord {
            process: ProcessId(record.process),
            thread: ThreadId(record.thread),
            reason: required(record.reason, "reason")?.try_into()?,
        })
    }
}

/// Takes a bundle apart; its bytes go to the tail.
pub(crate) fn from_bundle(bundle: StopBundle, tail: &mut TailBuilder) -> proto::StopBundle {
    let registers = |(thread, context): (ThreadId, outpost_base::RegisterContext)| proto::ThreadRegisters {
        thread: thread.0,
        context: Some(context.into()),
    };
    let list =
        |(process, modules): (ProcessId, Vec<_>)| proto::ModuleList { process: process.0, modules: each(modules) };
    let block = |block: MemoryBlock, tail: &mut TailBuilder| {
        let described = proto::MemoryBlock { space: block.space.0, at: block.at.0, len: block.bytes.len() as u64 };
        tail.push(block.bytes);
        described
    };
    proto::StopBundle {
        generation: bundle.generation.0,
        stop: Some(bundle.stop.into()),
        registers: bundle.registers.into_iter().map(registers).collect(),
        memory: bundle.memory.into_iter().map(|memory| block(memory, tail)).collect(),
        threads: bundle.threads.map(|threads| proto::ThreadList { threads: each(threads) }),
        modules: bundle.modules.map(|lists| proto::ModuleLists { lists: lists.into_iter().map(list).collect() }),
        unstoppable: bundle.unstoppable.into_iter().map(|thread| thread.0).collect(),
        hits: bundle.hits.into_iter().map(|(id, hits)| proto::BreakpointHits { id: id.0, hits }).collect(),
        trace: from_trace(bundle.trace, tail),
        queued: bundle.queued,
        undecided: bundle.undecided.into_iter().map(|id| id.0).collect(),
    }
}

/// Puts a bundle together.
pub(crate) fn to_bundle(bundle: proto::StopBundle, tail: &mut TailReader<'_>) -> Result<StopBundle, WireError> {
    let registers =
        |entry: proto::ThreadRegisters| Ok((ThreadId(entry.thread), required(entry.context, "context")?.try_into()?));
    let block = |block: proto::MemoryBlock| {
        let bytes = tail.take(block.len)?.to_vec();
        // Its addresses are walked later, so they must not run over the end of the address space.
        Va(block.at).checked_add(block.len).ok_or(WireError::Field { field: "memory" })?;
        Ok(MemoryBlock { space: AddressSpaceId(block.space), at: Va(block.at), bytes })
    };
    let list = |list: proto::ModuleList| Ok((ProcessId(list.process), all(list.modules)?));
    let memory = bundle.memory.into_iter().map(block).collect::<Result<_, WireError>>()?;
    let modules = bundle.modules.map(|lists| lists.lists.into_iter().map(list).collect::<Result<_, WireError>>());
    Ok(StopBundle {
        generation: StopGeneration(bundle.generation),
        stop: required(bundle.stop, "stop")?.try_into()?,
        registers: bundle.registers.into_iter().map(registers).collect::<Result<_, WireError>>()?,
        memory,
        threads: bundle.threads.map(|threads| all(threads.threads)).transpose()?,
        modules: modules.transpose()?,
        unstoppable: bundle.unstoppable.into_iter().map(ThreadId).collect(),
        hits: bundle.hits.into_iter().map(|hits| (BreakpointId(hits.id), hits.hits)).collect(),
        undecided: bundle.undecided.into_iter().map(BreakpointId).collect(),
        trace: to_trace(bundle.trace, tail)?,
        queued: bundle.queued,
    })
}

/// Takes traced steps apart; their code goes to the tail.
pub(crate) fn from_trace(steps: Vec<TraceStep>, tail: &mut TailBuilder) -> Vec<proto::TraceStep> {
    let step = |step: TraceStep| {
        let described = proto::TraceStep { general: step.general, code_len: step.code.len() as u32 };
        tail.push(step.code);
        described
    };
    steps.into_iter().map(step).collect()
}

/// Puts traced steps together.
pub(crate) fn to_trace(steps: Vec<proto::TraceStep>, tail: &mut TailReader<'_>) -> Result<Vec<TraceStep>, WireError> {
    let step = |step: proto::TraceStep| {
        Ok(TraceStep { general: step.general, code: tail.take(u64::from(step.code_len))?.to_vec() })
    };
    steps.into_iter().map(step).collect()
}
