//! What a client asks for.

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va};
use outpost_target::{
    AttachMode, BreakpointChange, BundleRequest, CreateSpec, DetachMode, FileId, Plan, ProcessQuery, ReadRequest,
    RegisterSets, SearchRequest, WriteRequest,
};

use super::{Encodable, MAX_REQUEST_MESSAGE, decode_bounded, payload_with};
use crate::convert::{TailBuilder, TailReader, all, each, os, required};
use crate::frame::Frame;
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// A request; each is one method of the target's traits.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the method of the same name, and its fields are the method's arguments")]
pub enum Request {
    Processes,
    Threads { process: ProcessId },
    ThreadTimes { process: ProcessId },
    Modules { process: ProcessId },
    Regions { process: ProcessId },
    Read { space: AddressSpaceId, reads: Vec<ReadRequest> },
    Registers { threads: Vec<ThreadId>, sets: RegisterSets },
    Search { space: AddressSpaceId, request: SearchRequest },
    Attach { process: ProcessId, mode: AttachMode, bundle: BundleRequest },
    Create { spec: CreateSpec, bundle: BundleRequest },
    Resume { plan: Plan },
    Write { space: AddressSpaceId, writes: Vec<WriteRequest> },
    SetRegisters { thread: ThreadId, context: RegisterContext },
    AdjustSuspend { threads: Vec<ThreadId>, delta: i32 },
    PendingSignal { thread: ThreadId },
    Detach { process: ProcessId, mode: DetachMode },
    Kill { process: ProcessId },
    SetDetachOnExit { detach: bool },
    BreakIn,
    ChangeBreakpoints { changes: Vec<BreakpointChange> },
    BreakpointStates,
    ListProcesses { query: ProcessQuery, with_attachability: bool },
    WaitForProcess { name: Option<String> },
    OpenFile { process: Option<ProcessId>, path: String },
    ReadFile { file: FileId, ranges: Vec<(u64, u64)> },
    CloseFile { file: FileId },
    ListDirectory { path: String },
    Handles { process: ProcessId },
    WriteStdin { process: ProcessId, bytes: Vec<u8> },
    ResizeTerminal { process: ProcessId, columns: u16, rows: u16 },
    Clock,
    EndServer,
    Sessions,
}

impl Request {
    /// The kind of its frame.
    pub fn kind(&self) -> Kind {
        match self {
            Request::Processes => Kind::Processes,
            Request::Threads { .. } => Kind::Threads,
            Request::ThreadTimes { .. } => Kind::ThreadTimes,
            Request::Modules { .. } => Kind::Modules,
            Request::Regions { .. } => Kind::Regions,
            Request::Read { .. } => Kind::Read,
            Request::Registers { .. } => Kind::Registers,
            Request::Search { .. } => Kind::Search,
            Request::Attach { .. } => Kind::Attach,
            Request::Create { .. } => Kind::Create,
            Request::Resume { .. } => Kind::Resume,
            Request::Write { .. } => Kind::Write,
            Request::SetRegisters { .. } => Kind::SetRegisters,
            Request::AdjustSuspend { .. } => Kind::AdjustSuspend,
            Request::PendingSignal { .. } => Kind::PendingSignal,
            Request::Detach { .. } => Kind::Detach,
            Request::Kill { .. } => Kind::Kill,
            Request::SetDetachOnExit { .. } => Kind::SetDetachOnExit,
            Request::BreakIn => Kind::BreakIn,
            Request::ChangeBreakpoints { .. } => Kind::ChangeBreakpoints,
            Request::BreakpointStates => Kind::BreakpointStates,
            Request::ListProcesses { .. } => Kind::ListProcesses,
            Request::WaitForProcess { .. } => Kind::WaitForProcess,
            Request::OpenFile { .. } => Kind::OpenFile,
            Request::ReadFile { .. } => Kind::ReadFile,
            Request::CloseFile { .. } => Kind::CloseFile,
            Request::ListDirectory { .. } => Kind::ListDirectory,
            Request::Handles { .. } => Kind::Handles,
            Request::WriteStdin { .. } => Kind::WriteStdin,
            Request::ResizeTerminal { .. } => Kind::ResizeTerminal,
            Request::Clock => Kind::Clock,
            Request::EndServer => Kind::EndServer,
            Request::Sessions => Kind::Sessions,
        }
    }
}

/// A request as a frame's payload. Bulk bytes are moved into the tail.
pub fn encode_request(request: Request) -> Payload {
    let kind = request.kind().number();
    let with = |message: &dyn Encodable| payload_with(kind, message, Vec::new());
    match request {
        Request::Processes
        | Request::BreakIn
        | Request::BreakpointStates
        | Request::Clock
        | Request::EndServer
        | Request::Sessions => with(&proto::Empty {}),
        Request::Threads { process }
        | Request::ThreadTimes { process }
        | Request::Modules { process }
        | Request::Regions { process }
        | Request::Kill { process }
        | Request::Handles { process } => with(&proto::ProcessRequest { process: process.0 }),
        Request::Read { space, reads } => {
            let (at, len) = reads.into_iter().map(|read| (read.at.0, read.len)).unzip();
            with(&proto::ReadRequest { space: space.0, at, len })
        }
        Request::Registers { threads, sets } => with(&proto::RegistersRequest {
            threads: threads.into_iter().map(|thread| thread.0).collect(),
            floating: sets.floating,
            debug: sets.debug,
        }),
        Request::Search { space, request } => with(&proto::SearchRequest {
            space: space.0,
            range: Some(request.range.into()),
            pattern: request.pattern,
            alignment: request.alignment,
            writable_only: request.writable_only,
            limit: request.limit,
        }),
        Request::Attach { process, mode, bundle } => with(&proto::AttachRequest {
            process: process.0,
            mode: os::attach_number(mode),
            bundle: Some(bundle.into()),
        }),
        Request::Create { spec, bundle } => with(&proto::CreateRequest { bundle: Some(bundle.into()), ..spec.into() }),
        Request::Resume { plan } => with(&proto::Plan::from(plan)),
        Request::Write { space, writes } => {
            let mut tail = TailBuilder::default();
            let (mut at, mut len) = (Vec::new(), Vec::new());
            for write in writes {
                at.push(write.at.0);
                len.push(write.bytes.len() as u64);
                tail.push(write.bytes);
            }
            payload_with(kind, &proto::WriteRequest { space: space.0, at, len }, tail.into_pieces())
        }
        Request::SetRegisters { thread, context } => {
            with(&proto::SetRegistersRequest { thread: thread.0, context: Some(context.into()) })
        }
        Request::AdjustSuspend { threads, delta } => {
            with(&proto::AdjustSuspendRequest { threads: threads.into_iter().map(|thread| thread.0).collect(), delta })
        }
        Request::PendingSignal { thread } => with(&proto::ThreadRequest { thread: thread.0 }),
        Request::Detach { process, mode } => {
            with(&proto::DetachRequest { process: process.0, mode: os::detach_number(mode) })
        }
        Request::SetDetachOnExit { detach } => with(&proto::SetDetachOnExitRequest { detach }),
        Request::ChangeBreakpoints { changes } => with(&proto::ChangeBreakpointsRequest { changes: each(changes) }),
        Request::ListProcesses { query, with_attachability } => with(&os::from_query(query, with_attachability)),
        Request::WaitForProcess { name } => with(&proto::WaitForProcessRequest { name }),
        Request::OpenFile { process, path } => {
            with(&proto::OpenFileRequest { process: process.map(|process| process.0), path })
        }
        Request::ReadFile { file, ranges } => {
            let (offset, len) = ranges.into_iter().unzip();
            with(&proto::ReadFileRequest { file: file.0, offset, len })
        }
        Request::CloseFile { file } => with(&proto::CloseFileRequest { file: file.0 }),
        Request::ListDirectory { path } => with(&proto::ListDirectoryRequest { path }),
        Request::ResizeTerminal { process, columns, rows } => {
            let (columns, rows) = (u32::from(columns), u32::from(rows));
            with(&proto::ResizeTerminalRequest { process: process.0, columns, rows })
        }
        Request::WriteStdin { process, bytes } => {
            payload_with(kind, &proto::WriteStdinRequest { process: process.0 }, vec![bytes])
        }
    }
}

/// The request in a frame.
///
/// # Errors
/// A kind that is no request, a malformed message, a value out of its range, lengths that do not match the tail.
pub fn decode_request(frame: &Frame<'_>) -> Result<Request, WireError> {
    let kind = Kind::of(frame.header.kind)?;
    let mut tail = TailReader::new(frame.tail);
    let request = match kind {
        Kind::Processes => decoded::<proto::Empty>(frame).map(|_| Request::Processes)?,
        Kind::Threads => Request::Threads { process: process(frame)? },
        Kind::ThreadTimes => Request::ThreadTimes { process: process(frame)? },
        Kind::Modules => Request::Modules { process: process(frame)? },
        Kind::Regions => Request::Regions { process: process(frame)? },
        Kind::Read => {
            let request: proto::ReadRequest = decoded(frame)?;
            let ranges = pairs(request.at, request.len)?;
            let reads = ranges.into_iter().map(|(at, len)| ReadRequest { at: Va(at), len }).collect();
            Request::Read { space: AddressSpaceId(request.space), reads }
        }
        Kind::Registers => {
            let request: proto::RegistersRequest = decoded(frame)?;
            let sets = RegisterSets { floating: request.floating, debug: request.debug };
            Request::Registers { threads: threads(request.threads), sets }
        }
        Kind::Search => search(decoded(frame)?)?,
        Kind::Attach => {
            let request: proto::AttachRequest = decoded(frame)?;
            Request::Attach {
                process: ProcessId(request.process),
                mode: os::attach_mode(request.mode)?,
                bundle: required(request.bundle, "bundle")?.try_into()?,
            }
        }
        Kind::Create => {
            let mut request: proto::CreateRequest = decoded(frame)?;
            let bundle = required(request.bundle.take(), "bundle")?.try_into()?;
            Request::Create { spec: request.try_into()?, bundle }
        }
        Kind::Resume => Request::Resume { plan: decoded::<proto::Plan>(frame)?.try_into()? },
        Kind::Write => {
            let request: proto::WriteRequest = decoded(frame)?;
            let write = |(at, len)| Ok(WriteRequest { at: Va(at), bytes: tail.take(len)?.to_vec() });
            let writes = pairs(request.at, request.len)?.into_iter().map(write).collect::<Result<_, WireError>>()?;
            Request::Write { space: AddressSpaceId(request.space), writes }
        }
        Kind::SetRegisters => {
            let request: proto::SetRegistersRequest = decoded(frame)?;
            let context = required(request.context, "context")?.try_into()?;
            Request::SetRegisters { thread: ThreadId(request.thread), context }
        }
        Kind::AdjustSuspend => {
            let request: proto::AdjustSuspendRequest = decoded(frame)?;
            Request::AdjustSuspend { threads: threads(request.threads), delta: request.delta }
        }
        Kind::PendingSignal => {
            Request::PendingSignal { thread: ThreadId(decoded::<proto::ThreadRequest>(frame)?.thread) }
        }
        Kind::Detach => {
            let request: proto::DetachRequest = decoded(frame)?;
            Request::Detach { process: ProcessId(request.process), mode: os::detach_mode(request.mode)? }
        }
        Kind::Kill => Request::Kill { process: process(frame)? },
        Kind::SetDetachOnExit => {
            Request::SetDetachOnExit { detach: decoded::<proto::SetDetachOnExitRequest>(frame)?.detach }
        }
        Kind::BreakIn => decoded::<proto::Empty>(frame).map(|_| Request::BreakIn)?,
        Kind::ChangeBreakpoints => {
            Request::ChangeBreakpoints { changes: all(decoded::<proto::ChangeBreakpointsRequest>(frame)?.changes)? }
        }
        Kind::BreakpointStates => decoded::<proto::Empty>(frame).map(|_| Request::BreakpointStates)?,
        Kind::ListProcesses => {
            let (query, with_attachability) = os::to_query(decoded(frame)?)?;
            Request::ListProcesses { query, with_attachability }
        }
        Kind::WaitForProcess => Request::WaitForProcess { name: decoded::<proto::WaitForProcessRequest>(frame)?.name },
        Kind::OpenFile => {
            let request: proto::OpenFileRequest = decoded(frame)?;
            Request::OpenFile { process: request.process.map(ProcessId), path: request.path }
        }
        Kind::ReadFile => {
            let request: proto::ReadFileRequest = decoded(frame)?;
            Request::ReadFile { file: FileId(request.file), ranges: pairs(request.offset, request.len)? }
        }
        Kind::CloseFile => Request::CloseFile { file: FileId(decoded::<proto::CloseFileRequest>(frame)?.file) },
        Kind::ListDirectory => Request::ListDirectory { path: decoded::<proto::ListDirectoryRequest>(frame)?.path },
        Kind::Handles => Request::Handles { process: process(frame)? },
        Kind::WriteStdin => {
            let process = ProcessId(decoded::<proto::WriteStdinRequest>(frame)?.process);
            Request::WriteStdin { process, bytes: tail.take(frame.tail.len() as u64)?.to_vec() }
        }
        Kind::ResizeTerminal => {
            let request: proto::ResizeTerminalRequest = decoded(frame)?;
            let size = |number: u32| u16::try_from(number).map_err(|_| WireError::Field { field: "terminal size" });
            let (columns, rows) = (size(request.columns)?, size(request.rows)?);
            Request::ResizeTerminal { process: ProcessId(request.process), columns, rows }
        }
        Kind::Clock => decoded::<proto::Empty>(frame).map(|_| Request::Clock)?,
        Kind::EndServer => decoded::<proto::Empty>(frame).map(|_| Request::EndServer)?,
        Kind::Sessions => decoded::<proto::Empty>(frame).map(|_| Request::Sessions)?,
        _ => return Err(WireError::UnexpectedKind { kind: frame.header.kind }),
    };
    tail.finish()?;
    Ok(request)
}

fn decoded<M: prost::Message + Default>(frame: &Frame<'_>) -> Result<M, WireError> {
    decode_bounded(frame, MAX_REQUEST_MESSAGE)
}

fn process(frame: &Frame<'_>) -> Result<ProcessId, WireError> {
    Ok(ProcessId(decoded::<proto::ProcessRequest>(frame)?.process))
}

fn threads(ids: Vec<u32>) -> Vec<ThreadId> {
    ids.into_iter().map(ThreadId).collect()
}

/// Two lists that belong together.
fn pairs(first: Vec<u64>, second: Vec<u64>) -> Result<Vec<(u64, u64)>, WireError> {
    match first.len() == second.len() {
        true => Ok(first.into_iter().zip(second).collect()),
        false => Err(WireError::Field { field: "len" }),
    }
}

fn search(request: proto::SearchRequest) -> Result<Request, WireError> {
    if request.pattern.is_empty() || request.pattern.len() > 1024 {
        return Err(WireError::Field { field: "pattern" });
    }
    if request.alignment == 0 {
        return Err(WireError::Field { field: "alignment" });
    }
    Ok(Request::Search {
        space: AddressSpaceId(request.space),
        request: SearchRequest {
            range: required(request.range, "range")?.into(),
            pattern: request.pattern,
            alignment: request.alignment,
            writable_only: request.writable_only,
            limit: request.limit,
        },
    })
}
