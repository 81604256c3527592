//! What a server answers.

use outpost_base::{ProcessId, RegisterContext, Va};
use outpost_target::{
    BreakpointState, DirectoryEntry, FileId, HandleInfo, ModuleInfo, OsProcess, ProcessInfo, Region, ServerSession,
    SigInfo, StopBundle, TargetError, ThreadInfo, ThreadTimes,
};

use super::{Encodable, decode, payload_with};
use crate::convert::{TailBuilder, TailReader, all, breakpoint, each, event, required};
use crate::frame::Frame;
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// An answer; which one belongs to which request is said in `docs/protocol.md`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the result of the method that its request names")]
pub enum Reply {
    Done,
    Processes(Vec<ProcessInfo>),
    Threads(Vec<ThreadInfo>),
    ThreadTimes(Vec<ThreadTimes>),
    Modules(Vec<ModuleInfo>),
    Regions(Vec<Region>),
    Read(Vec<Vec<u8>>),
    Registers(Vec<Result<RegisterContext, TargetError>>),
    Search(Vec<Va>),
    Attached(Option<StopBundle>),
    Created(ProcessId, Option<StopBundle>),
    Written(Vec<u64>),
    SuspendCounts(Vec<u32>),
    PendingSignal(Option<SigInfo>),
    BreakpointChanges(Vec<Result<BreakpointState, TargetError>>),
    BreakpointStates(Vec<BreakpointState>),
    OsProcesses(Vec<OsProcess>),
    FileOpened(FileId, u64),
    Directory(Vec<DirectoryEntry>),
    Handles(Vec<HandleInfo>),
    Clock { time_us: u64, uptime_us: u64 },
    Sessions(Vec<ServerSession>),
    Failed(TargetError),
}

/// A reply to a request of kind `to` as a frame's payload. Bulk bytes are moved into the tail.
pub fn encode_reply(to: Kind, reply: Reply) -> Payload {
    let kind = to.reply_number();
    let with = |message: &dyn Encodable| payload_with(kind, message, Vec::new());
    match reply {
        Reply::Done => with(&proto::Empty {}),
        Reply::Processes(processes) => with(&proto::ProcessesReply { processes: each(processes) }),
        Reply::Threads(threads) => with(&proto::ThreadsReply { threads: each(threads) }),
        Reply::ThreadTimes(threads) => with(&proto::ThreadTimesReply { threads: each(threads) }),
        Reply::Modules(modules) => with(&proto::ModulesReply { modules: each(modules) }),
        Reply::Regions(regions) => with(&proto::RegionsReply { regions: each(regions) }),
        Reply::Read(answers) => {
            let len = answers.iter().map(|bytes| bytes.len() as u64).collect();
            let mut tail = TailBuilder::default();
            answers.into_iter().for_each(|bytes| tail.push(bytes));
            payload_with(kind, &proto::ReadReply { len }, tail.into_pieces())
        }
        Reply::Registers(answers) => {
            let answers = answers.into_iter().map(from_registers).collect();
            with(&proto::RegistersReply { answers })
        }
        Reply::Search(hits) => with(&proto::SearchReply { hits: hits.into_iter().map(|hit| hit.0).collect() }),
        Reply::Attached(bundle) => {
            let (stop, tail) = bundle_out(bundle);
            payload_with(kind, &proto::AttachReply { stop }, tail)
        }
        Reply::Created(process, bundle) => {
            let (stop, tail) = bundle_out(bundle);
            payload_with(kind, &proto::CreateReply { process: process.0, stop }, tail)
        }
        Reply::Written(written) => with(&proto::WriteReply { written }),
        Reply::SuspendCounts(counts) => with(&proto::AdjustSuspendReply { counts }),
        Reply::PendingSignal(signal) => with(&proto::PendingSignalReply { signal: signal.map(Into::into) }),
        Reply::BreakpointChanges(answers) => with(&proto::ChangeBreakpointsReply { answers: each(answers) }),
        Reply::BreakpointStates(states) => with(&proto::BreakpointStatesReply { states: each(states) }),
        Reply::OsProcesses(processes) => with(&proto::ListProcessesReply { processes: each(processes) }),
        Reply::FileOpened(file, len) => with(&proto::OpenFileReply { file: file.0, len }),
        Reply::Directory(entries) => with(&proto::ListDirectoryReply { entries: each(entries) }),
        Reply::Handles(handles) => with(&proto::HandlesReply { handles: each(handles) }),
        Reply::Clock { time_us, uptime_us } => with(&proto::ClockReply { time_us, uptime_us }),
        Reply::Sessions(sessions) => with(&proto::SessionsReply { sessions: each(sessions) }),
        Reply::Failed(error) => payload_with(Kind::Failed.number(), &proto::Failure::from(error), Vec::new()),
    }
}

/// The reply in a frame that answers a request of kind `to`.
///
/// # Errors
/// A frame that answers something else, a malformed message, lengths that do not match the tail.
pub fn decode_reply(to: Kind, frame: &Frame<'_>) -> Result<Reply, WireError> {
    if frame.header.kind == Kind::Failed.number() {
        return Ok(Reply::Failed(decode::<proto::Failure>(frame)?.try_into()?));
    }
    if frame.header.kind != to.reply_number() {
        return Err(WireError::UnexpectedKind { kind: frame.header.kind });
    }
    let mut tail = TailReader::new(frame.tail);
    let reply = match to {
        Kind::Processes => Reply::Processes(all(decode::<proto::ProcessesReply>(frame)?.processes)?),
        Kind::Threads => Reply::Threads(all(decode::<proto::ThreadsReply>(frame)?.threads)?),
        Kind::ThreadTimes => Reply::ThreadTimes(each(decode::<proto::ThreadTimesReply>(frame)?.threads)),
        Kind::Modules => Reply::Modules(all(decode::<proto::ModulesReply>(frame)?.modules)?),
        Kind::Regions => Reply::Regions(all(decode::<proto::RegionsReply>(frame)?.regions)?),
        Kind::Read | Kind::ReadFile => {
            return Ok(Reply::Read(read_parts(to, frame)?.into_iter().map(<[u8]>::to_vec).collect()));
        }
        Kind::Registers => {
            let answers = decode::<proto::RegistersReply>(frame)?.answers;
            Reply::Registers(answers.into_iter().map(to_registers).collect::<Result<_, _>>()?)
        }
        Kind::Search => Reply::Search(decode::<proto::SearchReply>(frame)?.hits.into_iter().map(Va).collect()),
        Kind::Attach => Reply::Attached(bundle_in(decode::<proto::AttachReply>(frame)?.stop, &mut tail)?),
        Kind::Create => {
            let reply: proto::CreateReply = decode(frame)?;
            Reply::Created(ProcessId(reply.process), bundle_in(reply.stop, &mut tail)?)
        }
        Kind::Write => Reply::Written(decode::<proto::WriteReply>(frame)?.written),
        Kind::AdjustSuspend => Reply::SuspendCounts(decode::<proto::AdjustSuspendReply>(frame)?.counts),
        Kind::PendingSignal => {
            let signal = decode::<proto::PendingSignalReply>(frame)?.signal;
            Reply::PendingSignal(signal.map(TryInto::try_into).transpose()?)
        }
        Kind::ChangeBreakpoints => {
            let answers = decode::<proto::ChangeBreakpointsReply>(frame)?.answers;
            let answers = answers.into_iter().map(breakpoint::state_or_failure).collect::<Result<_, _>>()?;
            Reply::BreakpointChanges(answers)
        }
        Kind::BreakpointStates => Reply::BreakpointStates(each(decode::<proto::BreakpointStatesReply>(frame)?.states)),
        Kind::ListProcesses => Reply::OsProcesses(all(decode::<proto::ListProcessesReply>(frame)?.processes)?),
        Kind::OpenFile => {
            let reply: proto::OpenFileReply = decode(frame)?;
            Reply::FileOpened(FileId(reply.file), reply.len)
        }
        Kind::ListDirectory => Reply::Directory(each(decode::<proto::ListDirectoryReply>(frame)?.entries)),
        Kind::Handles => Reply::Handles(each(decode::<proto::HandlesReply>(frame)?.handles)),
        Kind::Clock => {
            let reply: proto::ClockReply = decode(frame)?;
            Reply::Clock { time_us: reply.time_us, uptime_us: reply.uptime_us }
        }
        Kind::Sessions => Reply::Sessions(each(decode::<proto::SessionsReply>(frame)?.sessions)),
        Kind::Resume
        | Kind::SetRegisters
        | Kind::Detach
        | Kind::Kill
        | Kind::SetDetachOnExit
        | Kind::WaitForProcess
        | Kind::CloseFile
        | Kind::WriteStdin
        | Kind::ResizeTerminal
        | Kind::EndServer => decode::<proto::Empty>(frame).map(|_| Reply::Done)?,
        _ => return Err(WireError::UnexpectedKind { kind: frame.header.kind }),
    };
    tail.finish()?;
    Ok(reply)
}

/// The ranges in a reply to [`Kind::Read`] or [`Kind::ReadFile`], where they lie in the frame.
///
/// # Errors
/// As [`decode_reply`]; for [`Kind::Failed`], too.
pub fn read_parts<'a>(to: Kind, frame: &Frame<'a>) -> Result<Vec<&'a [u8]>, WireError> {
    if frame.header.kind != to.reply_number() {
        return Err(WireError::UnexpectedKind { kind: frame.header.kind });
    }
    let mut tail = TailReader::new(frame.tail);
    let lengths = decode::<proto::ReadReply>(frame)?.len;
    let parts = lengths.into_iter().map(|len| tail.take(len)).collect::<Result<_, _>>()?;
    tail.finish()?;
    Ok(parts)
}

/// A bundle for a message, and the pieces of its tail.
pub(crate) fn bundle_out(bundle: Option<StopBundle>) -> (Option<proto::StopBundle>, Vec<Vec<u8>>) {
    let mut tail = TailBuilder::default();
    let bundle = bundle.map(|bundle| event::from_bundle(bundle, &mut tail));
    (bundle, tail.into_pieces())
}

/// A bundle from a message and its tail.
pub(crate) fn bundle_in(
    bundle: Option<proto::StopBundle>,
    tail: &mut TailReader<'_>,
) -> Result<Option<StopBundle>, WireError> {
    bundle.map(|bundle| event::to_bundle(bundle, tail)).transpose()
}

fn from_registers(answer: Result<RegisterContext, TargetError>) -> proto::RegistersOrFailure {
    use proto::registers_or_failure::Answer;
    let answer = match answer {
        Ok(context) => Answer::Context(context.into()),
        Err(error) => Answer::Failure(error.into()),
    };
    proto::RegistersOrFailure { answer: Some(answer) }
}

fn to_registers(answer: proto::RegistersOrFailure) -> Result<Result<RegisterContext, TargetError>, WireError> {
    use proto::registers_or_failure::Answer;
    Ok(match required(answer.answer, "answer")? {
        Answer::Context(context) => Ok(context.try_into()?),
        Answer::Failure(failure) => Err(failure.try_into()?),
    })
}
