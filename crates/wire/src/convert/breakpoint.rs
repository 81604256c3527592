//! Breakpoints. A condition's code is verified when it arrives, so that what the target gets can be run.

use outpost_base::{AddressSpaceId, ThreadId, Va};
use outpost_target::condition::Condition;
use outpost_target::{
    BreakpointChange, BreakpointId, BreakpointKind, BreakpointSpec, BreakpointState, Fixup, FixupKind, HardwareAccess,
    KillSafety, PadCode, TargetError, ThreadFilter,
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
);

impl From<PadCode> for proto::PadCode {
    fn from(pad: PadCode) -> proto::PadCode {
        let fixup = |fixup: Fixup| proto::Fixup {
            offset: u32::from(fixup.offset),
            kind: fixup_number(fixup.kind),
            destination: fixup.destination.0,
        };
        proto::PadCode { bytes: pad.bytes, fixups: pad.fixups.into_iter().map(fixup).collect(), expected: pad.expected }
    }
}

impl TryFrom<proto::PadCode> for PadCode {
    type Error = WireError;

    fn try_from(pad: proto::PadCode) -> Result<PadCode, WireError> {
        let len = pad.bytes.len();
        let fixup = |fixup: proto::Fixup| {
            let kind = fixup_kind(fixup.kind)?;
            let size = match kind {
                FixupKind::Relative32 => 4,
                FixupKind::Absolute64 => 8,
            };
            // The field must lie in the code, since it is going to be written there.
            let inside = (fixup.offset as usize).checked_add(size).is_some_and(|end| end <= len);
            match u16::try_from(fixup.offset) {
                Ok(offset) if inside => Ok(Fixup { offset, kind, destination: Va(fixup.destination) }),
                _ => Err(WireError::Field { field: "fixups" }),
            }
        };
        if len == 0 || len > 64 || pad.expected.len() > 64 {
            return Err(WireError::Field { field: "pad" });
        }
        let fixups = pad.fixups.into_iter().map(fixup).collect::<Result<_, WireError>>()?;
        Ok(PadCode { bytes: pad.bytes, fixups, expected: pad.expected })
    }
}

impl From<BreakpointSpec> for proto::BreakpointSpec {
    fn from(spec: BreakpointSpec) -> proto::BreakpointSpec {
        let kind = match spec.kind {
            BreakpointKind::Software => Kind::Software(proto::Empty {}),
            BreakpointKind::Hardware { access, len } => {
                Kind::Hardware(Hardware { access: access_number(access), len: u32::from(len) })
            }
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
            pad: spec.pad.map(Into::into),
        }
    }
}

impl TryFrom<proto::BreakpointSpec> for BreakpointSpec {
    type Error = WireError;

    fn try_from(spec: proto::BreakpointSpec) -> Result<BreakpointSpec, WireError> {
        let kind = match required(spec.kind, "kind")? {
            Kind::Software(_) => BreakpointKind::Software,
            Kind::Hardware(Hardware { access: number, len }) => match u8::try_from(len) {
                Ok(len @ (1 | 2 | 4 | 8)) => BreakpointKind::Hardware { access: access(number)?, len },
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
            pad: spec.pad.map(TryInto::try_into).transpose()?,
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
        proto::BreakpointState {
            id: state.id.0,
            hits: state.hits,
            kill_safe: state.safety == KillSafety::Safe,
            reason: state.reason,
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
