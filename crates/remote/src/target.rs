//! The target's traits as requests.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va};
use outpost_target::{
    AttachMode, BreakpointChange, BreakpointState, Breakpoints, BundleRequest, CreateSpec, DetachMode, DirectoryEntry,
    FileId, HandleInfo, Interrupter, LinkStatistics, Live, ModuleInfo, Os, OsProcess, Plan, ProcessInfo, ProcessQuery,
    ReadRequest, Region, RegisterSets, SearchRequest, SigInfo, StopBundle, Target, TargetError, TargetInfo, ThreadInfo,
    Waited, WriteRequest,
};
use outpost_wire::{Capabilities, Kind, Reply, Request, WireError, decode_reply, read_parts};

use crate::link::Link;
use crate::read::{Assembly, Piece, memory_read, requests};

/// A session on a process server. Dropping it ends the session; the server then does what its rules say.
#[derive(Debug)]
pub struct RemoteTarget {
    link: Link,
    info: TargetInfo,
    capabilities: Capabilities,
    /// A list of processes that was asked for with the session and not picked up yet.
    first: Option<ProcessQuery>,
}

/// A request's one good answer, or a broken connection: the server and this side disagree about the protocol.
macro_rules! expect {
    ($reply:expr, $pattern:pat => $value:expr) => {
        match $reply {
            $pattern => Ok($value),
            _ => Err(TargetError::ConnectionLost { reason: "an answer does not fit its request".into() }),
        }
    };
}

impl RemoteTarget {
    pub(crate) fn new(
        link: Link,
        info: TargetInfo,
        capabilities: Capabilities,
        first: Option<ProcessQuery>,
    ) -> RemoteTarget {
        RemoteTarget { link, info, capabilities, first }
    }

    pub(crate) fn rename(&mut self, name: String) {
        self.info.name = name;
    }

    /// Reads ranges of anything that answers with parts, many pieces at a time.
    fn read_pieces(
        &mut self,
        kind: Kind,
        count: usize,
        ranges: impl IntoIterator<Item = (u64, u64)>,
        request: impl Fn(&[Piece]) -> Request,
    ) -> Result<Vec<Vec<u8>>, TargetError> {
        let cut = requests(ranges);
        let asked = cut.iter().map(|pieces| request(pieces)).collect();
        let mut assembly = Assembly::new(count);
        let mut failure = None;
        self.link.call_many(asked, |index, frame| {
            if frame.header.kind == Kind::Failed.number() {
                if let Reply::Failed(error) = decode_reply(kind, frame)? {
                    failure.get_or_insert(error);
                }
                return Ok(());
            }
            let parts = read_parts(kind, frame)?;
            if parts.len() != cut[index].len() {
                return Err(WireError::Field { field: "len" });
            }
            cut[index].iter().zip(parts).for_each(|(piece, bytes)| assembly.put(*piece, bytes));
            Ok(())
        })?;
        match failure {
            Some(error) => Err(error),
            None => Ok(assembly.finish()),
        }
    }
}

impl Target for RemoteTarget {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        expect!(self.link.call(Request::Processes)?, Reply::Processes(list) => list)
    }

    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        expect!(self.link.call(Request::Threads { process })?, Reply::Threads(list) => list)
    }

    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        expect!(self.link.call(Request::Modules { process })?, Reply::Modules(list) => list)
    }

    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        expect!(self.link.call(Request::Regions { process })?, Reply::Regions(list) => list)
    }

    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        let ranges = reads.iter().map(|read| (read.at.0, read.len));
        self.read_pieces(Kind::Read, reads.len(), ranges, |pieces| Request::Read {
            space,
            reads: pieces.iter().map(memory_read).collect(),
        })
    }

    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        let request = Request::Registers { threads: threads.to_vec(), sets };
        expect!(self.link.call(request)?, Reply::Registers(list) => list)
    }

    fn search(&mut self, space: AddressSpaceId, request: &SearchRequest) -> Result<Vec<Va>, TargetError> {
        let request = Request::Search { space, request: request.clone() };
        expect!(self.link.call(request)?, Reply::Search(hits) => hits)
    }

    fn last_stop(&self) -> Option<&StopBundle> {
        self.link.last_stop()
    }

    fn as_live(&mut self) -> Option<&mut dyn Live> {
        if self.capabilities.live { Some(self) } else { None }
    }

    fn as_breakpoints(&mut self) -> Option<&mut dyn Breakpoints> {
        if self.capabilities.breakpoints { Some(self) } else { None }
    }

    fn as_os(&mut self) -> Option<&mut dyn Os> {
        if self.capabilities.os { Some(self) } else { None }
    }

    fn link_statistics(&self) -> LinkStatistics {
        self.link.statistics()
    }
}

impl Live for RemoteTarget {
    fn attach(
        &mut self,
        process: ProcessId,
        mode: AttachMode,
        request: &BundleRequest,
    ) -> Result<Option<StopBundle>, TargetError> {
        let request = Request::Attach { process, mode, bundle: request.clone() };
        let stop = expect!(self.link.call(request)?, Reply::Attached(stop) => stop)?;
        self.link.put_stop(stop.clone());
        Ok(stop)
    }

    fn create(
        &mut self,
        spec: &CreateSpec,
        request: &BundleRequest,
    ) -> Result<(ProcessId, Option<StopBundle>), TargetError> {
        let request = Request::Create { spec: spec.clone(), bundle: request.clone() };
        let (process, stop) = expect!(self.link.call(request)?, Reply::Created(process, stop) => (process, stop))?;
        self.link.put_stop(stop.clone());
        Ok((process, stop))
    }

    /// Does not wait for the server to accept the plan: a refusal is what [`Live::wait_event`] returns then.
    fn resume(&mut self, plan: &Plan) -> Result<(), TargetError> {
        self.link.resume(Request::Resume { plan: plan.clone() })
    }

    fn wait_event(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError> {
        self.link.wait(timeout, others)
    }

    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.link.fd())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.link.sender()
    }

    fn write_many(&mut self, space: AddressSpaceId, writes: &[WriteRequest]) -> Result<Vec<u64>, TargetError> {
        let request = Request::Write { space, writes: writes.to_vec() };
        expect!(self.link.call(request)?, Reply::Written(counts) => counts)
    }

    fn set_registers(&mut self, thread: ThreadId, context: &RegisterContext) -> Result<(), TargetError> {
        let request = Request::SetRegisters { thread, context: context.clone() };
        expect!(self.link.call(request)?, Reply::Done => ())
    }

    fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError> {
        let request = Request::AdjustSuspend { threads: threads.to_vec(), delta };
        expect!(self.link.call(request)?, Reply::SuspendCounts(counts) => counts)
    }

    fn pending_signal(&mut self, thread: ThreadId) -> Result<Option<SigInfo>, TargetError> {
        expect!(self.link.call(Request::PendingSignal { thread })?, Reply::PendingSignal(signal) => signal)
    }

    fn detach(&mut self, process: ProcessId, mode: DetachMode) -> Result<(), TargetError> {
        expect!(self.link.call(Request::Detach { process, mode })?, Reply::Done => ())
    }

    fn kill(&mut self, process: ProcessId) -> Result<(), TargetError> {
        expect!(self.link.call(Request::Kill { process })?, Reply::Done => ())
    }

    fn set_detach_on_exit(&mut self, detach: bool) -> Result<(), TargetError> {
        expect!(self.link.call(Request::SetDetachOnExit { detach })?, Reply::Done => ())
    }
}

impl Breakpoints for RemoteTarget {
    fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<Vec<Result<BreakpointState, TargetError>>, TargetError> {
        let request = Request::ChangeBreakpoints { changes: changes.to_vec() };
        expect!(self.link.call(request)?, Reply::BreakpointChanges(states) => states)
    }

    fn breakpoint_states(&mut self) -> Result<Vec<BreakpointState>, TargetError> {
        expect!(self.link.call(Request::BreakpointStates)?, Reply::BreakpointStates(states) => states)
    }
}

impl Os for RemoteTarget {
    fn list_processes(
        &mut self,
        query: &ProcessQuery,
        with_attachability: bool,
    ) -> Result<Vec<OsProcess>, TargetError> {
        if self.first.take().is_some_and(|asked| asked == *query) {
            match self.link.take_first()? {
                Some(Reply::OsProcesses(list)) => return Ok(list),
                Some(Reply::Failed(error)) => return Err(error),
                _ => {}
            }
        }
        let request = Request::ListProcesses { query: query.clone(), with_attachability };
        expect!(self.link.call(request)?, Reply::OsProcesses(list) => list)
    }

    fn wait_for_process(&mut self, name: Option<&str>) -> Result<(), TargetError> {
        let request = Request::WaitForProcess { name: name.map(String::from) };
        expect!(self.link.call(request)?, Reply::Done => ())
    }

    fn open_file(&mut self, process: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError> {
        let request = Request::OpenFile { process, path: path.into() };
        expect!(self.link.call(request)?, Reply::FileOpened(file, len) => (file, len))
    }

    fn read_file(&mut self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.read_pieces(Kind::ReadFile, ranges.len(), ranges.iter().copied(), |pieces| Request::ReadFile {
            file,
            ranges: pieces.iter().map(|piece| (piece.at, piece.len)).collect(),
        })
    }

    fn close_file(&mut self, file: FileId) -> Result<(), TargetError> {
        expect!(self.link.call(Request::CloseFile { file })?, Reply::Done => ())
    }

    fn list_directory(&mut self, path: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
        expect!(self.link.call(Request::ListDirectory { path: path.into() })?, Reply::Directory(list) => list)
    }

    fn handles(&mut self, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
        expect!(self.link.call(Request::Handles { process })?, Reply::Handles(list) => list)
    }

    fn write_stdin(&mut self, process: ProcessId, bytes: &[u8]) -> Result<(), TargetError> {
        let request = Request::WriteStdin { process, bytes: bytes.to_vec() };
        expect!(self.link.call(request)?, Reply::Done => ())
    }

    fn clock(&mut self) -> Result<(u64, u64), TargetError> {
        expect!(self.link.call(Request::Clock)?, Reply::Clock { time_us, uptime_us } => (time_us, uptime_us))
    }

    fn end_server(&mut self) -> Result<(), TargetError> {
        expect!(self.link.call(Request::EndServer)?, Reply::Done => ())
    }
}
