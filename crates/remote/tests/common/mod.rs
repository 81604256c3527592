//! A target that runs, made of data, and sessions on it over links of this process.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use outpost_base::*;
use outpost_remote::{Options, RemoteTarget};
use outpost_server::{NoSuperior, SessionEnd, serve_connection};
use outpost_target::fake::FakeTarget;
use outpost_target::*;
use outpost_transport::Connection;
use outpost_wire::{FrameQueue, Header, Payload};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// What a test tells a [`Scripted`] target, and learns from it, from another thread.
#[derive(Clone)]
pub(crate) struct Script(Arc<Inner>);

struct Inner {
    events: Mutex<VecDeque<Event>>,
    /// One event after each plan.
    answers: Mutex<VecDeque<Event>>,
    log: Mutex<Vec<String>>,
    wake: OwnedFd,
}

impl Script {
    pub(crate) fn new() -> Script {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let (events, answers, log) = Default::default();
        Script(Arc::new(Inner { events, answers, log, wake }))
    }

    /// Happens now.
    pub(crate) fn happen(&self, event: Event) {
        self.0.events.lock().unwrap().push_back(event);
        rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes()).unwrap();
    }

    /// Happens after the next plan that has none yet.
    pub(crate) fn after_plan(&self, event: Event) {
        self.0.answers.lock().unwrap().push_back(event);
    }

    /// What was asked of the target so far; forgets it.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.log.lock().unwrap())
    }

    fn log(&self, text: impl Into<String>) {
        self.0.log.lock().unwrap().push(text.into());
    }
}

/// A [`FakeTarget`] that runs as its script says.
pub(crate) struct Scripted {
    pub(crate) fake: FakeTarget,
    pub(crate) script: Script,
    pub(crate) generation: u64,
}

impl Scripted {
    pub(crate) fn new(threads: u32) -> (Scripted, Script) {
        let script = Script::new();
        let mut fake = FakeTarget::with_threads(threads);
        fake.info.kind = TargetKind::LiveUser;
        (Scripted { fake, script: script.clone(), generation: 1 }, script)
    }
}

pub(crate) const PROCESS: ProcessId = ProcessId(100);
pub(crate) const THREAD: ThreadId = ThreadId(100);
pub(crate) const SPACE: AddressSpaceId = AddressSpaceId(100);

/// A stop with registers, 64 bytes of stack at 0x7000 and the list of `threads` threads.
pub(crate) fn bundle(generation: u64, reason: StopReason, threads: u32) -> StopBundle {
    let fake = FakeTarget::with_threads(threads);
    let stop = StopRecord { process: PROCESS, thread: THREAD, reason };
    let mut bundle = StopBundle::bare(StopGeneration(generation), stop);
    bundle.registers = vec![(THREAD, RegisterContext::new(Arch::X86_64))];
    bundle.memory = vec![MemoryBlock { space: SPACE, at: Va(0x7000), bytes: vec![generation as u8; 64] }];
    bundle.threads = Some(fake.threads);
    bundle.modules = Some(vec![(PROCESS, Vec::new())]);
    bundle
}

/// A breakpoint of the conversations with it.
pub(crate) fn breakpoint() -> BreakpointSpec {
    BreakpointSpec {
        id: BreakpointId(4),
        space: SPACE,
        at: Va(0x10_0010),
        kind: BreakpointKind::Software,
        threads: ThreadFilter::All,
        condition: None,
        skip: 2,
        one_shot: false,
        auto_continue: false,
        pad: None,
        log: None,
        jump: None,
    }
}

/// The bytes of a frame.
pub(crate) fn frame_bytes(header: Header, payload: Payload) -> Vec<u8> {
    let mut queue = FrameQueue::new();
    queue.push(header, payload).unwrap();
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        queue.write_to(&mut bytes).unwrap();
    }
    bytes
}

impl Target for Scripted {
    fn info(&self) -> &TargetInfo {
        self.fake.info()
    }
    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        self.script.log("processes");
        self.fake.processes()
    }
    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        self.script.log("threads");
        self.fake.threads(process)
    }
    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        self.script.log("modules");
        self.fake.modules(process)
    }
    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        self.script.log("regions");
        self.fake.regions(process)
    }
    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.script.log(format!("read {}", reads.len()));
        self.fake.read_many(space, reads)
    }
    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        self.script.log(format!("registers {}", threads.len()));
        self.fake.registers_many(threads, sets)
    }
    fn last_stop(&self) -> Option<&StopBundle> {
        self.fake.last_stop()
    }
    fn as_live(&mut self) -> Option<&mut dyn Live> {
        Some(self)
    }
    fn as_breakpoints(&mut self) -> Option<&mut dyn Breakpoints> {
        Some(self)
    }
    fn as_os(&mut self) -> Option<&mut dyn Os> {
        Some(self)
    }
}

struct Stopper(Script);

impl Interrupter for Stopper {
    fn break_in(&self) {
        self.0.log("break in");
        self.0.happen(Event::Stopped(bundle(90, StopReason::BreakIn, 1)));
    }
}

impl Live for Scripted {
    fn attach(
        &mut self,
        process: ProcessId,
        mode: AttachMode,
        _: &BundleRequest,
    ) -> Result<Option<StopBundle>, TargetError> {
        self.script.log(format!("attach {process}"));
        if process != PROCESS {
            return Err(TargetError::NoProcess { process });
        }
        let threads = self.fake.threads.len() as u32;
        let stops = mode == AttachMode::Invasive { break_in: true };
        Ok(stops.then(|| bundle(self.generation, StopReason::Attached, threads)))
    }
    fn create(&mut self, _: &CreateSpec, _: &BundleRequest) -> Result<(ProcessId, Option<StopBundle>), TargetError> {
        self.script.log("create");
        Ok((PROCESS, Some(bundle(self.generation, StopReason::Created, 1))))
    }
    fn resume(&mut self, plan: &Plan) -> Result<(), TargetError> {
        self.script.log("resume");
        if plan.generation.0 != self.generation {
            return Err(TargetError::StaleGeneration { asked: plan.generation.0, current: self.generation });
        }
        if let Some(event) = self.script.0.answers.lock().unwrap().pop_front() {
            if let Event::Stopped(stop) = &event {
                self.generation = stop.generation.0;
            }
            self.script.happen(event);
        }
        Ok(())
    }
    fn wait_event(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError> {
        loop {
            if let Some(event) = self.script.0.events.lock().unwrap().pop_front() {
                return Ok(Waited::Event(event));
            }
            let mut fds = vec![PollFd::new(&self.script.0.wake, PollFlags::IN)];
            fds.extend(others.iter().map(|&fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap());
            if poll(&mut fds, timeout.as_ref()).unwrap() == 0 {
                return Ok(Waited::TimedOut);
            }
            if fds[1..].iter().any(|fd| !fd.revents().is_empty()) {
                return Ok(Waited::OtherReadable);
            }
            let _ = rustix::io::read(&self.script.0.wake, &mut [0_u8; 8]);
        }
    }
    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.script.0.wake.as_fd())
    }
    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::new(Stopper(self.script.clone()))
    }
    fn write_many(&mut self, _: AddressSpaceId, writes: &[WriteRequest]) -> Result<Vec<u64>, TargetError> {
        self.script.log(format!("write {}", writes.iter().map(|write| write.bytes.len()).sum::<usize>()));
        Ok(writes.iter().map(|write| write.bytes.len() as u64).collect())
    }
    fn set_registers(&mut self, thread: ThreadId, context: &RegisterContext) -> Result<(), TargetError> {
        self.fake.registers.retain(|(id, _)| *id != thread);
        self.fake.registers.push((thread, context.clone()));
        Ok(())
    }
    fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError> {
        Ok(vec![delta as u32; threads.len()])
    }
    fn pending_signal(&mut self, _: ThreadId) -> Result<Option<SigInfo>, TargetError> {
        Ok(None)
    }
    fn detach(&mut self, process: ProcessId, _: DetachMode) -> Result<(), TargetError> {
        self.script.log(format!("detach {process}"));
        Ok(())
    }
    fn kill(&mut self, process: ProcessId) -> Result<(), TargetError> {
        Err(TargetError::Gone { process })
    }
    fn set_detach_on_exit(&mut self, _: bool) -> Result<(), TargetError> {
        Ok(())
    }
}

impl Breakpoints for Scripted {
    fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<Vec<Result<BreakpointState, TargetError>>, TargetError> {
        self.script.log(format!("change {}", changes.len()));
        let state = |change: &BreakpointChange| match change {
            BreakpointChange::Set(spec) => Some(Ok(BreakpointState {
                id: spec.id,
                hits: 0,
                safety: KillSafety::Safe,
                reason: String::new(),
                condition: ConditionPlace::Target { because: String::new() },
                by_pages: String::new(),
                logs: false,
            })),
            BreakpointChange::Clear(_) => None,
        };
        Ok(changes.iter().filter_map(state).collect())
    }
    fn breakpoint_states(&mut self) -> Result<Vec<BreakpointState>, TargetError> {
        Ok(Vec::new())
    }
}

impl Os for Scripted {
    fn list_processes(&mut self, _: &ProcessQuery, _: bool) -> Result<Vec<OsProcess>, TargetError> {
        self.script.log("list");
        Ok(Vec::new())
    }
    fn wait_for_process(&mut self, _: Option<&str>) -> Result<(), TargetError> {
        Ok(())
    }
    fn open_file(&mut self, _: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError> {
        match path {
            "/file" => Ok((FileId(1), 1 << 30)),
            _ => Err(TargetError::File { path: path.into(), reason: "No such file or directory".into() }),
        }
    }
    fn read_file(&mut self, _: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        Ok(ranges.iter().map(|&(offset, len)| vec![(offset >> 18) as u8; len as usize]).collect())
    }
    fn close_file(&mut self, _: FileId) -> Result<(), TargetError> {
        Ok(())
    }
    fn list_directory(&mut self, _: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
        Ok(Vec::new())
    }
    fn handles(&mut self, _: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
        Ok(Vec::new())
    }
    fn write_stdin(&mut self, _: ProcessId, bytes: &[u8]) -> Result<(), TargetError> {
        self.script.log(format!("stdin {}", bytes.len()));
        Ok(())
    }
    fn clock(&mut self) -> Result<(u64, u64), TargetError> {
        Ok((1, 2))
    }
    fn end_server(&mut self) -> Result<(), TargetError> {
        Ok(())
    }
}

/// Serves `target` to whoever is at the other end of `connection`, in a thread.
pub(crate) fn serve(mut target: Scripted, connection: Connection) -> JoinHandle<SessionEnd> {
    std::thread::spawn(move || serve_connection(connection, "", &mut target, &mut NoSuperior))
}

/// A session over an in-memory link.
pub(crate) fn connect(target: Scripted, options: Options) -> (RemoteTarget, JoinHandle<SessionEnd>) {
    let (near, far) = Connection::pair().unwrap();
    let server = serve(target, far);
    let (remote, _) = RemoteTarget::open(near, options).unwrap();
    (remote, server)
}

/// Round trips that `work` takes.
pub(crate) fn round_trips<R>(remote: &mut RemoteTarget, work: impl FnOnce(&mut RemoteTarget) -> R) -> (R, u64) {
    let before = remote.link_statistics().round_trips;
    let result = work(remote);
    (result, remote.link_statistics().round_trips - before)
}

/// The next event, within five seconds.
pub(crate) fn event(remote: &mut RemoteTarget) -> Event {
    match remote.wait_event(Some(Duration::from_secs(5)), &[]).unwrap() {
        Waited::Event(event) => event,
        other => panic!("{other:?}"),
    }
}
