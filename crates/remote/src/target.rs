//! The target's traits, spoken over the link.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va, VaRange};
use outpost_target::{
    Action, AttachMode, BreakpointChange, BreakpointKind, BreakpointState, Breakpoints, BundleRequest, CreateSpec,
    DetachMode, DirectoryEntry, Event, FileId, HandleInfo, Interrupter, LinkStatistics, LinkWatcher, Live, ModuleInfo,
    Os, OsProcess, Plan, ProcessInfo, ProcessQuery, ReadRequest, Region, RegisterSets, SearchRequest, ServerSession,
    SigInfo, StopBundle, Target, TargetError, TargetInfo, ThreadInfo, ThreadTimes, Waited, WriteRequest,
};
use outpost_wire::{Agreed, Capabilities, Reply, Request};

use crate::cache::Cache;
use crate::link::{Link, Ticket, Woken};
use crate::transfer;

/// Bytes written by one request.
const WRITE_CHUNK: usize = 1 << 20;

/// A session on a server. Dropping it ends the session; the server then carries out its exit policy.
#[derive(Debug)]
pub struct RemoteTarget {
    link: Link,
    info: TargetInfo,
    capabilities: Capabilities,
    agreed: Agreed,
    cache: Cache,
    /// A list of processes that was asked for with the session and not picked up yet.
    first: Option<(ProcessQuery, Ticket)>,
}

/// The answer if it is of the kind that belongs to the request.
macro_rules! expect {
    ($reply:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        match $reply? {
            $pattern $(if $guard)? => Ok($value),
            _ => Err(unexpected()),
        }
    };
}

impl RemoteTarget {
    pub(crate) fn new(
        link: Link,
        info: TargetInfo,
        capabilities: Capabilities,
        agreed: Agreed,
        stop: Option<StopBundle>,
        first: Option<(ProcessQuery, Ticket)>,
    ) -> RemoteTarget {
        RemoteTarget { link, info, capabilities, agreed, cache: Cache::new(stop), first }
    }

    pub(crate) fn rename(&mut self, name: String) {
        self.info.name = name;
    }

    fn done(&mut self, request: Request) -> Result<(), TargetError> {
        expect!(self.link.call(request), Reply::Done => ())
    }

    /// Notes that a process joined, and gets what everybody asks for next in the same flight.
    fn join(&mut self, ticket: Ticket) -> Result<Reply, TargetError> {
        let processes = self.link.submit(Request::Processes);
        let reply = self.link.collect(ticket);
        let processes = self.link.collect(processes);
        let (process, stop) = match &reply {
            Ok(Reply::Created(process, stop)) => (Some(*process), stop.as_ref()),
            Ok(Reply::Attached(Some(stop))) => (Some(stop.stop.process), Some(stop)),
            _ => (None, None),
        };
        if let Some(process) = process {
            self.cache.joined(process, stop);
        }
        if let (Ok(_), Ok(Reply::Processes(processes))) = (&reply, processes) {
            self.cache.put_processes(&processes);
        }
        reply
    }
}

/// Makes requests for memory of starts and lengths.
fn read_request(space: AddressSpaceId) -> impl Fn(Vec<(u64, u64)>) -> Request {
    let read = |(at, len)| ReadRequest { at: Va(at), len };
    move |parts| Request::Read { space, reads: parts.into_iter().map(read).collect() }
}

/// A server that answers one request with the answer of another.
pub(crate) fn unexpected() -> TargetError {
    TargetError::ConnectionLost { reason: "the server gave an answer of the wrong kind".into() }
}

impl Target for RemoteTarget {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        if let Some(known) = self.cache.processes() {
            return Ok(known.clone());
        }
        let processes = expect!(self.link.call(Request::Processes), Reply::Processes(list) => list)?;
        self.cache.put_processes(&processes);
        Ok(processes)
    }

    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        if let Some(known) = self.cache.threads(process) {
            return Ok(known.clone());
        }
        let threads = expect!(self.link.call(Request::Threads { process }), Reply::Threads(list) => list)?;
        self.cache.put_threads(process, &threads);
        Ok(threads)
    }

    fn thread_times(&mut self, process: ProcessId) -> Result<Vec<ThreadTimes>, TargetError> {
        if !self.capabilities.tells_thread_times {
            let reason = "the server is of a release that cannot do it".into();
            return Err(TargetError::Unsupported { operation: "telling the times of threads", reason });
        }
        expect!(self.link.call(Request::ThreadTimes { process }), Reply::ThreadTimes(list) => list)
    }

    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        if let Some(known) = self.cache.modules(process) {
            return Ok(known.clone());
        }
        let modules = expect!(self.link.call(Request::Modules { process }), Reply::Modules(list) => list)?;
        self.cache.put_modules(process, &modules);
        Ok(modules)
    }

    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        if let Some(known) = self.cache.regions(process) {
            return Ok(known.clone());
        }
        let regions = expect!(self.link.call(Request::Regions { process }), Reply::Regions(list) => list)?;
        self.cache.put_regions(process, &regions);
        Ok(regions)
    }

    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        let known = |read: &ReadRequest| self.cache.memory(space, read).map(<[u8]>::to_vec);
        let mut answers: Vec<Option<Vec<u8>>> = reads.iter().map(known).collect();
        let lacking = reads.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
        let ranges: Vec<(u64, u64)> = lacking.map(|(read, _)| (read.at.0, read.len)).collect();
        if !ranges.is_empty() {
            let make = read_request(space);
            let read = transfer::read(&mut self.link, self.agreed.requests as usize, &ranges, make)?;
            let open = answers.iter_mut().filter(|answer| answer.is_none());
            open.zip(read).for_each(|(answer, bytes)| *answer = Some(bytes));
        }
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn read_stream(
        &mut self,
        space: AddressSpaceId,
        range: VaRange,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<u64, TargetError> {
        let mut done = 0;
        let mut count = |_, bytes: &[u8]| {
            done += bytes.len() as u64;
            take(bytes)
        };
        let ranges = [(range.start.0, range.len())];
        transfer::stream(&mut self.link, self.agreed.requests as usize, &ranges, read_request(space), &mut count)?;
        Ok(done)
    }

    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        let known = |thread: &ThreadId| self.cache.registers(*thread, sets).map(|context| Ok(context.clone()));
        let mut answers: Vec<Option<Result<RegisterContext, TargetError>>> = threads.iter().map(known).collect();
        let lacking: Vec<ThreadId> =
            threads.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(thread, _)| *thread).collect();
        if !lacking.is_empty() {
            let request = Request::Registers { threads: lacking.clone(), sets };
            let fetched = expect!(self.link.call(request), Reply::Registers(list) => list)?;
            if fetched.len() != lacking.len() {
                return Err(unexpected());
            }
            for (thread, context) in lacking.iter().zip(&fetched) {
                if let Ok(context) = context {
                    self.cache.put_registers(*thread, context);
                }
            }
            let open = answers.iter_mut().filter(|answer| answer.is_none());
            open.zip(fetched).for_each(|(answer, context)| *answer = Some(context));
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn search(&mut self, space: AddressSpaceId, request: &SearchRequest) -> Result<Vec<Va>, TargetError> {
        expect!(self.link.call(Request::Search { space, request: request.clone() }), Reply::Search(hits) => hits)
    }

    fn last_stop(&self) -> Option<&StopBundle> {
        self.cache.stop.as_ref()
    }

    fn as_live(&mut self) -> Option<&mut dyn Live> {
        self.capabilities.live.then_some(self as &mut dyn Live)
    }

    fn as_breakpoints(&mut self) -> Option<&mut dyn Breakpoints> {
        self.capabilities.breakpoints.then_some(self as &mut dyn Breakpoints)
    }

    fn as_os(&mut self) -> Option<&mut dyn Os> {
        self.capabilities.os.then_some(self as &mut dyn Os)
    }

    fn watch_link(&mut self, watcher: Option<LinkWatcher>) {
        self.link.set_watcher(watcher);
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
        let ticket = self.link.submit(Request::Attach { process, mode, bundle: request.clone() });
        let stop = expect!(self.join(ticket), Reply::Attached(stop) => stop)?;
        if stop.is_none() {
            self.cache.joined(process, None);
        }
        Ok(stop)
    }

    fn create(
        &mut self,
        spec: &CreateSpec,
        request: &BundleRequest,
    ) -> Result<(ProcessId, Option<StopBundle>), TargetError> {
        let ticket = self.link.submit(Request::Create { spec: spec.clone(), bundle: request.clone() });
        expect!(self.join(ticket), Reply::Created(process, stop) => (process, stop))
    }

    fn resume(&mut self, plan: &Plan) -> Result<(), TargetError> {
        let calls = plan.threads.iter().any(|part| matches!(part.action, Action::Call(_) | Action::EndCall));
        if calls && !self.capabilities.calls_functions {
            let reason = "the server is of a release that cannot do it".into();
            return Err(TargetError::Unsupported { operation: "calling functions", reason });
        }
        let by_stack =
            plan.threads.iter().any(|part| matches!(&part.action, Action::Call(call) if !call.stack.is_empty()));
        if by_stack && !self.capabilities.passes_by_stack {
            let reason = "the server is of a release that passes arguments in registers alone".into();
            return Err(TargetError::Unsupported { operation: "calling functions with so many arguments", reason });
        }
        self.done(Request::Resume { plan: plan.clone() })?;
        self.cache.resumed(plan.scope);
        Ok(())
    }

    fn wait_event(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError> {
        let deadline = Link::deadline(timeout);
        loop {
            if let Some(event) = self.link.next_event() {
                if let Event::Stopped(stop) = &event {
                    self.cache.stopped(stop);
                }
                return Ok(Waited::Event(event));
            }
            self.link.check()?;
            match self.link.wait(deadline, others) {
                Woken::Link => {}
                Woken::Other => return Ok(Waited::OtherReadable),
                Woken::TimedOut => return Ok(Waited::TimedOut),
            }
        }
    }

    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.link.watch())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.link.sender().clone()
    }

    fn write_many(&mut self, space: AddressSpaceId, writes: &[WriteRequest]) -> Result<Vec<u64>, TargetError> {
        self.cache.forget_memory();
        let total: usize = writes.iter().map(|write| write.bytes.len()).sum();
        if total <= WRITE_CHUNK {
            let request = Request::Write { space, writes: writes.to_vec() };
            return expect!(self.link.call(request), Reply::Written(counts) if counts.len() == writes.len() => counts);
        }
        // A large write goes on only as long as it succeeds, so its parts wait for each other.
        let mut counts = Vec::new();
        for write in writes {
            let mut written = 0;
            for (index, piece) in write.bytes.chunks(WRITE_CHUNK).enumerate() {
                let at = write.at + (index * WRITE_CHUNK) as u64;
                let writes = vec![WriteRequest { at, bytes: piece.to_vec() }];
                let reply = self.link.call(Request::Write { space, writes });
                let count = expect!(reply, Reply::Written(counts) => counts.first().copied().unwrap_or(0))?;
                written += count.min(piece.len() as u64);
                if count < piece.len() as u64 {
                    break;
                }
            }
            counts.push(written);
        }
        Ok(counts)
    }

    fn set_registers(&mut self, thread: ThreadId, context: &RegisterContext) -> Result<(), TargetError> {
        self.cache.forget_registers(thread);
        self.done(Request::SetRegisters { thread, context: context.clone() })
    }

    fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError> {
        self.cache.forget_threads();
        let request = Request::AdjustSuspend { threads: threads.to_vec(), delta };
        expect!(self.link.call(request), Reply::SuspendCounts(counts) if counts.len() == threads.len() => counts)
    }

    fn pending_signal(&mut self, thread: ThreadId) -> Result<Option<SigInfo>, TargetError> {
        expect!(self.link.call(Request::PendingSignal { thread }), Reply::PendingSignal(signal) => signal)
    }

    fn detach(&mut self, process: ProcessId, mode: DetachMode) -> Result<(), TargetError> {
        self.cache.left(process);
        self.done(Request::Detach { process, mode })
    }

    fn kill(&mut self, process: ProcessId) -> Result<(), TargetError> {
        self.cache.left(process);
        self.done(Request::Kill { process })
    }

    fn set_detach_on_exit(&mut self, detach: bool) -> Result<(), TargetError> {
        self.done(Request::SetDetachOnExit { detach })
    }
}

impl Breakpoints for RemoteTarget {
    fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<Vec<Result<BreakpointState, TargetError>>, TargetError> {
        let request = self.change_request(changes)?;
        expect!(self.link.call(request), Reply::BreakpointChanges(answers) => answers)
    }

    fn breakpoint_states(&mut self) -> Result<Vec<BreakpointState>, TargetError> {
        let states = self.link.submit(Request::BreakpointStates);
        self.states_with_processes(states)
    }

    /// Both are on their way at once.
    fn change_and_ask(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<(Vec<Result<BreakpointState, TargetError>>, Vec<BreakpointState>), TargetError> {
        let change = self.change_request(changes)?;
        let change = self.link.submit(change);
        let states = self.link.submit(Request::BreakpointStates);
        let states = self.states_with_processes(states);
        let answers: Result<_, TargetError> =
            expect!(self.link.collect(change), Reply::BreakpointChanges(answers) => answers);
        Ok((answers?, states?))
    }
}

impl Os for RemoteTarget {
    fn list_processes(
        &mut self,
        query: &ProcessQuery,
        with_attachability: bool,
    ) -> Result<Vec<OsProcess>, TargetError> {
        let ticket = match self.first.take() {
            // It was asked for with attachability, which is more than may be wanted now.
            Some((asked, ticket)) if asked == *query => ticket,
            // The early answer is for another question: it is taken in and dropped with the next wait.
            _ => self.link.submit(Request::ListProcesses { query: query.clone(), with_attachability }),
        };
        expect!(self.link.collect(ticket), Reply::OsProcesses(processes) => processes)
    }

    fn wait_for_process(&mut self, name: Option<&str>) -> Result<(), TargetError> {
        self.done(Request::WaitForProcess { name: name.map(str::to_owned) })
    }

    fn open_file(&mut self, process: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError> {
        let request = Request::OpenFile { process, path: path.to_owned() };
        expect!(self.link.call(request), Reply::FileOpened(file, len) => (file, len))
    }

    fn read_file(&mut self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        let make = |ranges| Request::ReadFile { file, ranges };
        transfer::read(&mut self.link, self.agreed.requests as usize, ranges, make)
    }

    fn close_file(&mut self, file: FileId) -> Result<(), TargetError> {
        self.done(Request::CloseFile { file })
    }

    fn list_directory(&mut self, path: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
        expect!(self.link.call(Request::ListDirectory { path: path.to_owned() }), Reply::Directory(list) => list)
    }

    fn handles(&mut self, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
        expect!(self.link.call(Request::Handles { process }), Reply::Handles(list) => list)
    }

    fn write_stdin(&mut self, process: ProcessId, bytes: &[u8]) -> Result<(), TargetError> {
        self.done(Request::WriteStdin { process, bytes: bytes.to_vec() })
    }

    fn resize_terminal(&mut self, process: ProcessId, columns: u16, rows: u16) -> Result<(), TargetError> {
        if !self.capabilities.resizes_terminals {
            let reason = "the server is of a release that cannot do it".into();
            return Err(TargetError::Unsupported { operation: "resizing a terminal", reason });
        }
        self.done(Request::ResizeTerminal { process, columns, rows })
    }

    fn clock(&mut self) -> Result<(u64, u64), TargetError> {
        expect!(self.link.call(Request::Clock), Reply::Clock { time_us, uptime_us } => (time_us, uptime_us))
    }

    fn end_server(&mut self) -> Result<(), TargetError> {
        self.done(Request::EndServer)
    }

    fn sessions(&mut self) -> Result<Vec<ServerSession>, TargetError> {
        if !self.agreed.resume {
            let reason = "the server is of a release that holds no sessions, or was told not to (--grace 0)".into();
            return Err(TargetError::Unsupported { operation: "listing sessions", reason });
        }
        expect!(self.link.call(Request::Sessions), Reply::Sessions(list) => list)
    }
}

impl RemoteTarget {
    /// Waits for states that were asked for. Who lists breakpoints looks at the processes next: they come along.
    fn states_with_processes(&mut self, states: Ticket) -> Result<Vec<BreakpointState>, TargetError> {
        let processes = self.cache.processes().is_none().then(|| self.link.submit(Request::Processes));
        let states = self.link.collect(states);
        if let Some(Ok(Reply::Processes(processes))) = processes.map(|processes| self.link.collect(processes)) {
            self.cache.put_processes(&processes);
        }
        expect!(states, Reply::BreakpointStates(states) => states)
    }

    /// What asks the server for these changes, as far as it knows them.
    fn change_request(&self, changes: &[BreakpointChange]) -> Result<Request, TargetError> {
        if !self.capabilities.watches_by_pages && changes.iter().any(needs_pages) {
            let reason = "the server is of a release that watches 1, 2, 4 or 8 bytes".into();
            return Err(TargetError::Unsupported { operation: "watching so many bytes", reason });
        }
        let mut changes = changes.to_vec();
        if !self.capabilities.has_jump_data {
            changes.iter_mut().for_each(without_jump_data);
        }
        Ok(Request::ChangeBreakpoints { changes })
    }
}

/// Takes code away that the server could not place.
fn without_jump_data(change: &mut BreakpointChange) {
    if let BreakpointChange::Set(spec) = change {
        spec.jump = spec.jump.take().filter(|jump| !jump.needs_data());
    }
}

/// Whether debug registers cannot hold a breakpoint, whatever is free of them: servers without the feature take the length for
/// nonsense.
fn needs_pages(change: &BreakpointChange) -> bool {
    let BreakpointChange::Set(spec) = change else { return false };
    matches!(spec.kind, BreakpointKind::Hardware { len, .. } if !matches!(len, 1 | 2 | 4 | 8))
}
