//! Breakpoints. A condition's code is verified when it arrives, so that what the target gets can be run.

use outpost_base::{AddressSpaceId, ThreadId, Va};
use outpost_target::condition::Condition;
use outpost_target::{
    BreakpointChange, BreakpointId, BreakpointKind, BreakpointSpec, BreakpointState, ConditionPlace, DisplacedCopy,
    FaultExit, Fixup, FixupKind, HardwareAccess, JumpCode, KillSafety, LogArgument, LogPlan, LogRecord, LogValue,
    MAX_WATCHED, PadCode, TargetError, ThreadFilter,
};

use super::{enumeration, required};
use crate::proto::breakpoint_spec::{Hardware, Kind};
use crate::{WireError, proto};

enumeration!(access_number, access, HardwareAccess, proto::HardwareAccess, "access":
    Execute = Execute,
    Write = Write,
    ReadWrite = ReadWrite,
);

enumeration!(fixup_number, fixup_kind, FixupKind, proto::fixup::Kind, "kind":
    Relative32 = Relative32,
    Absolute64 = Absolute64,
    Data64 = Data64,
    Cells64 = Cells64,
);

fn fixups_out(fixups: Vec<Fixup>) -> Vec<proto::Fixup> {
    let fixup = |fixup: Fixup| proto::Fixup {
        offset: u32::from(fixup.offset),
        kind: fixup_number(fixup.kind),
        destination: fixup.destination.0,
    };
    fixups.into_iter().map(fixup).collect()
}

/// Fixups of code of `len` bytes.
fn fixups_in(fixups: Vec<proto::Fixup>, len: usize) -> Result<Vec<Fixup>, WireError> {
    let fixup = |fixup: proto::Fixup| {
        let kind = fixup_kind(fixup.kind)?;
        let size = kind.size();
        // The field must lie in the code, since it is going to be written there.
        let inside = (fixup.offset as usize).checked_add(size).is_some_and(|end| end <= len);
        match u16::try_from(fixup.offset) {
            Ok(offset) if inside => Ok(Fixup { offset, kind, destination: Va(fixup.destination) }),
            _ => Err(WireError::Field { field: "fixups" }),
        }
    };
    fixups.into_iter().map(fixup).collect()
}

impl From<PadCode> for proto::PadCode {
    fn from(pad: PadCode) -> proto::PadCode {
        proto::PadCode { bytes: pad.bytes, fixups: fixups_out(pad.fixups), expected: pad.expected }
    }
}

impl TryFrom<proto::PadCode> for PadCode {
    type Error = WireError;

    fn try_from(pad: proto::PadCode) -> Result<PadCode, WireError> {
        let len = pad.bytes.len();
        if len == 0 || len > 64 || pad.expected.len() > 64 {
            return Err(WireError::Field { field: "pad" });
        }
        let fixups = fixups_in(pad.fixups, len)?;
        Ok(PadCode { bytes: pad.bytes, fixups, expected: pad.expected })
    }
}

impl From<JumpCode> for proto::JumpCode {
    fn from(jump: JumpCode) -> proto::JumpCode {
        let exit = |exit: FaultExit| proto::jump_code::FaultExit {
            at: u32::from(exit.at),
            seen: u32::from(exit.seen),
            unseen: u32::from(exit.unseen),
        };
        let copy = |copy: DisplacedCopy| proto::jump_code::DisplacedCopy {
            site_offset: u32::from(copy.site_offset),
            pad_offset: u32::from(copy.pad_offset),
        };
        proto::JumpCode {
            bytes: jump.bytes,
            fixups: fixups_out(jump.fixups),
            expected: jump.expected,
            trap: u32::from(jump.trap),
            exits: jump.exits.into_iter().map(exit).collect(),
            copies: jump.copies.into_iter().map(copy).collect(),
        }
    }
}

impl TryFrom<proto::JumpCode> for JumpCode {
    type Error = WireError;

    fn try_from(jump: proto::JumpCode) -> Result<JumpCode, WireError> {
        let wrong = WireError::Field { field: "jump" };
        let short = |offset: u32| u16::try_from(offset).map_err(|_| wrong.clone());
        let exit = |exit: proto::jump_code::FaultExit| {
            Ok(FaultExit { at: short(exit.at)?, seen: short(exit.seen)?, unseen: short(exit.unseen)? })
        };
        let copy = |copy: proto::jump_code::DisplacedCopy| {
            let site_offset = u8::try_from(copy.site_offset).map_err(|_| wrong.clone())?;
            Ok(DisplacedCopy { site_offset, pad_offset: short(copy.pad_offset)? })
        };
        let jump = JumpCode {
            fixups: fixups_in(jump.fixups, jump.bytes.len())?,
            bytes: jump.bytes,
            expected: jump.expected,
            trap: short(jump.trap)?,
            exits: jump.exits.into_iter().map(exit).collect::<Result<_, WireError>>()?,
            copies: jump.copies.into_iter().map(copy).collect::<Result<_, WireError>>()?,
        };
        if jump.is_sound() { Ok(jump) } else { Err(wrong) }
    }
}

impl From<LogPlan> for proto::LogPlan {
    fn from(plan: LogPlan) -> proto::LogPlan {
        let argument = |argument: LogArgument| proto::log_plan::Argument {
            value: argument.value.code().to_vec(),
            text: u32::from(argument.text),
        };
        proto::LogPlan { arguments: plan.arguments.into_iter().map(argument).collect() }
    }
}

impl TryFrom<proto::LogPlan> for LogPlan {
    type Error = WireError;

    fn try_from(plan: proto::LogPlan) -> Result<LogPlan, WireError> {
        let wrong = WireError::Field { field: "log" };
        let argument = |argument: proto::log_plan::Argument| {
            let value = Condition::verify(argument.value).map_err(|_| wrong.clone())?;
            Ok(LogArgument { value, text: u16::try_from(argument.text).map_err(|_| wrong.clone())? })
        };
        let plan = LogPlan { arguments: plan.arguments.into_iter().map(argument).collect::<Result<_, WireError>>()? };
        if plan.is_sound() { Ok(plan) } else { Err(wrong) }
    }
}

impl From<LogRecord> for proto::LogRecord {
    fn from(record: LogRecord) -> proto::LogRecord {
        use proto::log_value::Value;
        let value = |value: LogValue| {
            let value = match value {
                LogValue::Number(number) => Value::Number(number),
                LogValue::Text { bytes, is_whole: true } => Value::Text(bytes),
                LogValue::Text { bytes, is_whole: false } => Value::Beginning(bytes),
                LogValue::Missing => Value::Missing(proto::Empty {}),
            };
            proto::LogValue { value: Some(value) }
        };
        proto::LogRecord { breakpoint: record.breakpoint.0, values: record.values.into_iter().map(value).collect() }
    }
}

impl TryFrom<proto::LogRecord> for LogRecord {
    type Error = WireError;

    fn try_from(record: proto::LogRecord) -> Result<LogRecord, WireError> {
        use proto::log_value::Value;
        let value = |value: proto::LogValue| {
            Ok(match required(value.value, "value")? {
                Value::Number(number) => LogValue::Number(number),
                Value::Text(bytes) => LogValue::Text { bytes, is_whole: true },
                Value::Beginning(bytes) => LogValue::Text { bytes, is_whole: false },
                Value::Missing(_) => LogValue::Missing,
            })
        };
        let values = record.values.into_iter().map(value).collect::<Result<_, WireError>>()?;
        Ok(LogRecord { breakpoint: BreakpointId(record.breakpoint), values })
    }
}

impl From<BreakpointSpec> for proto::BreakpointSpec {
    fn from(spec: BreakpointSpec) -> proto::BreakpointSpec {
        let kind = match spec.kind {
            BreakpointKind::Software => Kind::Software(proto::Empty {}),
            BreakpointKind::Hardware { access, len } => Kind::Hardware(Hardware { access: access_number(access), len }),
        };
        let only_thread = match spec.threads {
            ThreadFilter::All => None,
            ThreadFilter::Only(thread) => Some(thread.0),
        };
        proto::BreakpointSpec {
            id: spec.id.0,
            space: spec.space.0,
            at: spec.at.0,
            kind: Some(kind),
            only_thread,
            condition: spec.condition.map(|condition| condition.code().to_vec()),
            skip: spec.skip,
            one_shot: spec.one_shot,
            auto_continue: spec.auto_continue,
            log: spec.log.map(Into::into),
            pad: spec.pad.map(Into::into),
            jump: spec.jump.map(|jump| Box::new((*jump).into())),
        }
    }
}

impl TryFrom<proto::BreakpointSpec> for BreakpointSpec {
    type Error = WireError;

    fn try_from(spec: proto::BreakpointSpec) -> Result<BreakpointSpec, WireError> {
        let kind = match required(spec.kind, "kind")? {
            Kind::Software(_) => BreakpointKind::Software,
            Kind::Hardware(Hardware { access: number, len }) => match len {
                1..=MAX_WATCHED => BreakpointKind::Hardware { access: access(number)?, len },
                _ => return Err(WireError::Field { field: "len" }),
            },
        };
        let verified = spec.condition.map(Condition::verify).transpose();
        Ok(BreakpointSpec {
            id: BreakpointId(spec.id),
            space: AddressSpaceId(spec.space),
            at: Va(spec.at),
            kind,
            threads: spec.only_thread.map_or(ThreadFilter::All, |thread| ThreadFilter::Only(ThreadId(thread))),
            condition: verified.map_err(|_| WireError::Field { field: "condition" })?,
            skip: spec.skip,
            one_shot: spec.one_shot,
            auto_continue: spec.auto_continue,
            log: spec.log.map(TryInto::try_into).transpose()?,
            pad: spec.pad.map(TryInto::try_into).transpose()?,
            jump: spec.jump.map(|jump| JumpCode::try_from(*jump).map(Box::new)).transpose()?,
        })
    }
}

impl From<BreakpointChange> for proto::BreakpointChange {
    fn from(change: BreakpointChange) -> proto::BreakpointChange {
        use proto::breakpoint_change::Change;
        let change = match change {
            BreakpointChange::Set(spec) => Change::Set(spec.into()),
            BreakpointChange::Clear(id) => Change::Clear(id.0),
        };
        proto::BreakpointChange { change: Some(change) }
    }
}

impl TryFrom<proto::BreakpointChange> for BreakpointChange {
    type Error = WireError;

    fn try_from(change: proto::BreakpointChange) -> Result<BreakpointChange, WireError> {
        use proto::breakpoint_change::Change;
        Ok(match required(change.change, "change")? {
            Change::Set(spec) => BreakpointChange::Set(spec.try_into()?),
            Change::Clear(id) => BreakpointChange::Clear(BreakpointId(id)),
        })
    }
}

impl From<BreakpointState> for proto::BreakpointState {
    fn from(state: BreakpointState) -> proto::BreakpointState {
        let (in_debuggee, by_server_because) = match state.condition {
            ConditionPlace::Debuggee => (true, String::new()),
            ConditionPlace::Target { because } => (false, because),
        };
        proto::BreakpointState {
            id: state.id.0,
            hits: state.hits,
            kill_safe: state.safety == KillSafety::Safe,
            reason: state.reason,
            in_debuggee,
            by_server_because,
            by_pages: state.by_pages,
            logs: state.logs,
        }
    }
}

impl From<proto::BreakpointState> for BreakpointState {
    fn from(state: proto::BreakpointState) -> BreakpointState {
        BreakpointState {
            id: BreakpointId(state.id),
            hits: state.hits,
            safety: if state.kill_safe { KillSafety::Safe } else { KillSafety::Unsafe },
            reason: state.reason,
            condition: match state.in_debuggee {
                true => ConditionPlace::Debuggee,
                false => ConditionPlace::Target { because: state.by_server_because },
            },
            by_pages: state.by_pages,
            logs: state.logs,
        }
    }
}

impl From<Result<BreakpointState, TargetError>> for proto::BreakpointStateOrFailure {
    fn from(answer: Result<BreakpointState, TargetError>) -> proto::BreakpointStateOrFailure {
        use proto::breakpoint_state_or_failure::Answer;
        let answer = match answer {
            Ok(state) => Answer::State(state.into()),
            Err(error) => Answer::Failure(error.into()),
        };
        proto::BreakpointStateOrFailure { answer: Some(answer) }
    }
}

/// The answer to one change.
pub(crate) fn state_or_failure(
    answer: proto::BreakpointStateOrFailure,
) -> Result<Result<BreakpointState, TargetError>, WireError> {
    use proto::breakpoint_state_or_failure::Answer;
    Ok(match required(answer.answer, "answer")? {
        Answer::State(state) => Ok(state.into()),
        Answer::Failure(failure) => Err(failure.try_into()?),
    })
}
