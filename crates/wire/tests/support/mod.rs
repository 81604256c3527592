//! Values of everything that crosses the wire, made from a number: the same number, the same value.

use std::time::Duration;

use outpost_base::*;
use outpost_target::condition::{Condition, Op};
use outpost_target::step::InstructionKinds;
use outpost_target::*;
use outpost_wire::{FrameQueue, FrameReader, Header, Kind, Payload, Reply, Request};

/// The bytes of a frame with this payload.
pub(crate) fn frame_bytes(payload: Payload) -> Vec<u8> {
    let mut queue = FrameQueue::new();
    queue.push(Header::default(), payload).expect("it fits");
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        queue.write_to(&mut bytes).expect("memory takes everything");
    }
    bytes
}

/// A reader that holds these bytes.
pub(crate) fn reader_of(bytes: &[u8]) -> FrameReader {
    let mut reader = FrameReader::new(64 << 20);
    let mut source = bytes;
    while !source.is_empty() {
        reader.fill_from(&mut source).expect("memory gives everything");
    }
    reader
}

/// A source of values (xorshift64).
pub(crate) struct Values(u64);

impl Values {
    pub(crate) fn new(seed: u64) -> Values {
        Values(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Small numbers, large ones and the ends are all worth trying.
        match self.0 % 5 {
            0 => self.0 >> 32 & 0xff,
            1 => 0,
            2 => u64::MAX,
            _ => self.0,
        }
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    fn u32(&mut self) -> u32 {
        self.number() as u32
    }

    fn i32(&mut self) -> i32 {
        self.number() as i32
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Values) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Values) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    fn va(&mut self) -> Va {
        Va(self.number())
    }

    fn range(&mut self) -> VaRange {
        VaRange { start: self.va(), end: self.va() }
    }

    fn process(&mut self) -> ProcessId {
        ProcessId(self.u32())
    }

    fn thread(&mut self) -> ThreadId {
        ThreadId(self.u32())
    }

    fn space(&mut self) -> AddressSpaceId {
        AddressSpaceId(self.number())
    }

    fn text(&mut self) -> String {
        self.one_of(&["", "a", "/usr/lib/\u{e4}\u{1f41b}.so", "two words\n", "[heap]"]).into()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.one_of(&[0, 1, 15, 2047, 2049, 20_000]);
        let fill = self.u32() as u8;
        vec![fill; len]
    }

    fn short_bytes(&mut self, limit: u64) -> Vec<u8> {
        (0..self.below(limit)).map(|at| at as u8).collect()
    }

    fn context(&mut self) -> RegisterContext {
        let mut context = RegisterContext::new(Arch::X86_64);
        context.general.iter_mut().for_each(|word| *word = self.number());
        context.floating = self.short_bytes(900);
        if self.flag() {
            context.debug = (0..8).map(|_| self.number()).collect();
        }
        context
    }

    fn siginfo(&mut self) -> SigInfo {
        SigInfo {
            signo: self.i32(),
            code: self.i32(),
            errno: self.i32(),
            address: self.va(),
            sender: self.process(),
            raw: self.short_bytes(129),
            fatal_by_default: self.flag(),
        }
    }

    fn exit_status(&mut self) -> ExitStatus {
        match self.below(3) {
            0 => ExitStatus::Code(self.i32()),
            1 => ExitStatus::Signal { signo: self.i32(), core_dumped: self.flag() },
            _ => ExitStatus::Unknown,
        }
    }

    fn outcome(&mut self) -> StepOutcome {
        let index = self.u32();
        self.one_of(&[
            StepOutcome::Counted,
            StepOutcome::LeftRanges,
            StepOutcome::Entered,
            StepOutcome::Returned,
            StepOutcome::Fence { index },
            StepOutcome::UnknownCall,
            StepOutcome::Limit,
            StepOutcome::BeforeInstruction,
        ])
    }

    fn reason(&mut self) -> StopReason {
        match self.below(16) {
            0 => StopReason::Attached,
            1 => StopReason::Created,
            2 => StopReason::Breakpoint { ids: self.list(|values| BreakpointId(values.u32())) },
            3 => StopReason::Step { outcome: self.outcome() },
            4 => StopReason::Signal(self.siginfo()),
            5 => StopReason::BreakIn,
            6 => StopReason::ForeignTrap,
            7 => StopReason::ThreadStarted,
            8 => StopReason::ThreadExiting { status: self.exit_status() },
            9 => StopReason::Forked { child: self.process(), vfork: self.flag(), followed: self.flag() },
            10 => StopReason::Execed { executable: self.text(), former_thread: self.thread() },
            11 => StopReason::ModulesChanged,
            12 => StopReason::Syscall { number: self.number(), leaving: self.flag() },
            13 => StopReason::Exited { status: self.exit_status() },
            14 => StopReason::CallEnded { returned: self.flag().then(|| Box::new(self.context())) },
            _ => StopReason::DumpOpened,
        }
    }

    fn record(&mut self) -> StopRecord {
        StopRecord { process: self.process(), thread: self.thread(), reason: self.reason() }
    }

    fn thread_info(&mut self) -> ThreadInfo {
        use ThreadRunState::*;
        ThreadInfo {
            id: self.thread(),
            process: self.process(),
            name: self.text(),
            state: self.one_of(&[Stopped, Running, Unstoppable, Exiting]),
            suspend_count: self.u32(),
            teb: self.va(),
        }
    }

    fn module(&mut self) -> ModuleInfo {
        ModuleInfo {
            range: self.range(),
            bias: LoadBias(self.number()),
            path: self.text(),
            build_id: self.some(|values| BuildId(values.short_bytes(21))),
            namespace: self.u32(),
            is_main: self.flag(),
        }
    }

    fn trace_step(&mut self) -> TraceStep {
        TraceStep { general: self.list(Values::number), code: self.short_bytes(17) }
    }

    pub(crate) fn bundle(&mut self) -> StopBundle {
        StopBundle {
            generation: StopGeneration(self.number()),
            stop: self.record(),
            registers: self.list(|values| (values.thread(), values.context())),
            // Blocks may not run over the end of the address space.
            memory: self.list(|values| MemoryBlock {
                space: values.space(),
                at: Va(values.number() / 2),
                bytes: values.bytes(),
            }),
            threads: self.some(|values| values.list(Values::thread_info)),
            modules: self.some(|values| values.list(|values| (values.process(), values.list(Values::module)))),
            unstoppable: self.list(Values::thread),
            hits: self.list(|values| (BreakpointId(values.u32()), values.number())),
            trace: self.list(Values::trace_step),
            queued: self.u32(),
        }
    }

    pub(crate) fn event(&mut self) -> Event {
        match self.below(7) {
            0 => Event::Stopped(self.bundle()),
            1 => Event::Trace { thread: self.thread(), steps: self.list(Values::trace_step) },
            2 => Event::Noticed(self.record()),
            3 => Event::Output(Output {
                process: self.process(),
                stream: self.one_of(&[OutputStream::Stdout, OutputStream::Stderr]),
                bytes: self.bytes(),
            }),
            5 => Event::Logged {
                records: self.list(Values::log_record),
                dropped: self.list(|values| (BreakpointId(values.u32()), values.number())),
            },
            4 => Event::ProcessAppeared { process: self.process(), name: self.text() },
            _ => Event::ServerEnding { reason: self.text() },
        }
    }

    fn bundle_request(&mut self) -> BundleRequest {
        BundleRequest {
            stack_bytes: self.u32(),
            code_bytes: self.u32(),
            all_registers: self.flag(),
            subscriptions: self.list(|values| (values.space(), values.range())),
        }
    }

    fn step_plan(&mut self) -> StepPlan {
        let kinds = [FenceKind::Return, FenceKind::Unwind, FenceKind::User];
        StepPlan {
            count: self.number(),
            over_calls: self.flag(),
            ranges: self.list(Values::range),
            function: self.list(Values::range),
            cfa: self.va(),
            enter: self.list(|values| EntryPoint { entry: values.va(), body: values.va() }),
            stop_unknown_calls: self.flag(),
            pass_through: self.list(Values::range),
            fences: self.list(|values| Fence { at: values.va(), min_sp: values.va(), kind: values.one_of(&kinds) }),
            stop_on_return: self.flag(),
            ranges_after_return: self.list(Values::range),
            stop_before: InstructionKinds(self.below(16) as u8),
            limit: self.number(),
            run: self.flag(),
            trace: self.flag(),
        }
    }

    fn action(&mut self) -> Action {
        match self.below(5) {
            0 => Action::Run,
            1 => Action::Hold,
            2 => Action::EndCall,
            3 => Action::Call(self.call_plan()),
            _ => Action::Step(self.step_plan()),
        }
    }

    fn call_plan(&mut self) -> CallPlan {
        let word = |values: &mut Values| match values.flag() {
            true => CallWord::Value(values.number()),
            false => CallWord::Data(0),
        };
        let mut plan = CallPlan {
            function: self.va(),
            integers: self.list(word),
            stack: self.list(word),
            vectors: self.list(Values::number),
            data: self.bytes(),
            stops: self.list(Values::va),
        };
        plan.integers.truncate(CallPlan::MAX_INTEGERS);
        plan.vectors.truncate(CallPlan::MAX_VECTORS);
        plan.stack.truncate(CallPlan::MAX_STACK);
        plan.stops.truncate(CallPlan::MAX_STOPS);
        plan
    }

    fn signal_action(&mut self) -> SignalAction {
        match self.below(3) {
            0 => SignalAction::Deliver,
            1 => SignalAction::Swallow,
            _ => SignalAction::Replace(self.siginfo()),
        }
    }

    fn plan(&mut self) -> Plan {
        let wide = |values: &mut Values| u128::from(values.number()) << 64 | u128::from(values.number());
        Plan {
            generation: StopGeneration(self.number()),
            processes: self.list(Values::process),
            threads: self.list(|values| ThreadPlan {
                thread: values.thread(),
                action: values.action(),
                signal: values.signal_action(),
            }),
            others: self.action(),
            others_signal: self.signal_action(),
            scope: self.one_of(&[StopScope::Thread, StopScope::Process, StopScope::System]),
            events: EventMask {
                thread_start: self.flag(),
                thread_exit: self.flag(),
                fork: self.flag(),
                follow_forks: self.flag(),
                exec: self.flag(),
                modules: self.flag(),
                syscalls: self.list(Values::number),
                pass_signals: wide(self),
                drop_signals: wide(self),
                second_chance_signals: wide(self),
            },
            bundle: self.bundle_request(),
        }
    }

    fn condition(&mut self) -> Condition {
        let mut code = vec![Op::Constant as u8];
        code.extend(self.number().to_le_bytes());
        code.push(Op::Return as u8);
        Condition::verify(code).expect("valid code")
    }

    fn log(&mut self) -> LogPlan {
        let argument = |values: &mut Values| LogArgument { value: values.condition(), text: values.below(257) as u16 };
        LogPlan { arguments: self.list(argument) }
    }

    fn log_record(&mut self) -> LogRecord {
        let value = |values: &mut Values| match values.below(3) {
            0 => LogValue::Number(values.number()),
            1 => LogValue::Text { bytes: values.short_bytes(40), is_whole: values.flag() },
            _ => LogValue::Missing,
        };
        LogRecord { breakpoint: BreakpointId(self.u32()), values: self.list(value) }
    }

    fn pad(&mut self) -> PadCode {
        let kinds = [FixupKind::Relative32, FixupKind::Absolute64];
        PadCode {
            bytes: vec![0x90; 30 + self.below(34) as usize],
            fixups: self.list(|values| Fixup {
                offset: values.below(22) as u16,
                kind: values.one_of(&kinds),
                destination: values.va(),
            }),
            expected: self.short_bytes(16),
        }
    }

    fn jump(&mut self) -> JumpCode {
        let len = 16 + self.below(64) as u16;
        let mut bytes = vec![0x90; usize::from(len)];
        let trap = self.below(8) as u16;
        bytes[usize::from(trap)] = JumpCode::TRAP;
        JumpCode {
            bytes,
            fixups: self.list(|values| Fixup {
                offset: values.below(8) as u16,
                kind: values.one_of(&[
                    FixupKind::Relative32,
                    FixupKind::Absolute64,
                    FixupKind::Data64,
                    FixupKind::Cells64,
                ]),
                destination: values.va(),
            }),
            expected: vec![0x90; 5 + self.below(10) as usize],
            trap,
            exits: self.list(|values| FaultExit {
                at: values.below(16) as u16,
                seen: values.below(16) as u16,
                unseen: values.below(16) as u16,
            }),
            copies: vec![
                DisplacedCopy { site_offset: 0, pad_offset: trap + 1 },
                DisplacedCopy { site_offset: 1 + self.below(4) as u8, pad_offset: trap + 3 },
            ],
        }
    }

    fn change(&mut self) -> BreakpointChange {
        use HardwareAccess::*;
        if self.below(3) == 0 {
            return BreakpointChange::Clear(BreakpointId(self.u32()));
        }
        let (access, len) = (self.one_of(&[Execute, Write, ReadWrite]), self.one_of(&[1, 2, 3, 8, 1 << 20]));
        let only = ThreadFilter::Only(self.thread());
        BreakpointChange::Set(BreakpointSpec {
            id: BreakpointId(self.u32()),
            space: self.space(),
            at: self.va(),
            kind: self.one_of(&[BreakpointKind::Software, BreakpointKind::Hardware { access, len }]),
            threads: self.one_of(&[ThreadFilter::All, only]),
            condition: self.some(Values::condition),
            skip: self.number(),
            one_shot: self.flag(),
            auto_continue: self.flag(),
            log: self.some(Values::log),
            pad: self.some(Values::pad),
            jump: self.some(|values| Box::new(values.jump())),
        })
    }

    fn create_spec(&mut self) -> CreateSpec {
        let stdio = match self.below(4) {
            0 => StdioSpec::Client,
            1 => StdioSpec::Server,
            2 => StdioSpec::Pty { columns: self.u32() as u16, rows: self.u32() as u16 },
            _ => StdioSpec::Files {
                stdin: self.some(Values::text),
                stdout: self.some(Values::text),
                stderr: self.some(Values::text),
            },
        };
        CreateSpec {
            program: self.text(),
            arguments: self.list(Values::text),
            environment: self.some(|values| values.list(|values| (values.text(), values.text()))),
            environment_changes: self.list(|values| (values.text(), values.some(Values::text))),
            directory: self.some(Values::text),
            stdio,
            randomize: self.flag(),
            break_in: self.flag(),
        }
    }

    /// The request of this kind; `None` for a kind that is none.
    pub(crate) fn request(&mut self, kind: Kind) -> Option<Request> {
        use AttachMode::*;
        let modes = [
            Invasive { break_in: true },
            Invasive { break_in: false },
            Noninvasive { suspend: true },
            Noninvasive { suspend: false },
            Existing,
        ];
        let process = self.process();
        Some(match kind {
            Kind::Processes => Request::Processes,
            Kind::Threads => Request::Threads { process },
            Kind::ThreadTimes => Request::ThreadTimes { process },
            Kind::Modules => Request::Modules { process },
            Kind::Regions => Request::Regions { process },
            Kind::Read => Request::Read {
                space: self.space(),
                reads: self.list(|values| ReadRequest { at: values.va(), len: values.number() }),
            },
            Kind::Registers => Request::Registers {
                threads: self.list(Values::thread),
                sets: RegisterSets { floating: self.flag(), debug: self.flag() },
            },
            Kind::Search => Request::Search {
                space: self.space(),
                request: SearchRequest {
                    range: self.range(),
                    pattern: vec![7; 1 + self.below(1024) as usize],
                    alignment: 1 + self.below(16) as u32,
                    writable_only: self.flag(),
                    limit: self.u32(),
                },
            },
            Kind::Attach => Request::Attach { process, mode: self.one_of(&modes), bundle: self.bundle_request() },
            Kind::Create => Request::Create { spec: self.create_spec(), bundle: self.bundle_request() },
            Kind::Resume => Request::Resume { plan: self.plan() },
            Kind::Write => Request::Write {
                space: self.space(),
                writes: self.list(|values| WriteRequest { at: values.va(), bytes: values.bytes() }),
            },
            Kind::SetRegisters => Request::SetRegisters { thread: self.thread(), context: self.context() },
            Kind::AdjustSuspend => Request::AdjustSuspend { threads: self.list(Values::thread), delta: self.i32() },
            Kind::PendingSignal => Request::PendingSignal { thread: self.thread() },
            Kind::Detach => {
                let modes = [DetachMode::Deliver, DetachMode::Swallow, DetachMode::LeaveStopped];
                Request::Detach { process, mode: self.one_of(&modes) }
            }
            Kind::Kill => Request::Kill { process },
            Kind::SetDetachOnExit => Request::SetDetachOnExit { detach: self.flag() },
            Kind::BreakIn => Request::BreakIn,
            Kind::ChangeBreakpoints => Request::ChangeBreakpoints { changes: self.list(Values::change) },
            Kind::BreakpointStates => Request::BreakpointStates,
            Kind::ListProcesses => {
                let name = |how| ProcessQuery::Name { name: "x".into(), how };
                let queries = [
                    ProcessQuery::All,
                    ProcessQuery::Id(process),
                    name(NameMatch::FileName),
                    name(NameMatch::FullPath),
                ];
                Request::ListProcesses { query: self.one_of(&queries), with_attachability: self.flag() }
            }
            Kind::WaitForProcess => Request::WaitForProcess { name: self.some(Values::text) },
            Kind::OpenFile => Request::OpenFile { process: self.some(|_| process), path: self.text() },
            Kind::ReadFile => Request::ReadFile {
                file: FileId(self.u32()),
                ranges: self.list(|values| (values.number(), values.number())),
            },
            Kind::CloseFile => Request::CloseFile { file: FileId(self.u32()) },
            Kind::ListDirectory => Request::ListDirectory { path: self.text() },
            Kind::Handles => Request::Handles { process },
            Kind::WriteStdin => Request::WriteStdin { process, bytes: self.bytes() },
            Kind::ResizeTerminal => {
                Request::ResizeTerminal { process, columns: self.u32() as u16, rows: self.u32() as u16 }
            }
            Kind::Clock => Request::Clock,
            Kind::EndServer => Request::EndServer,
            Kind::Sessions => Request::Sessions,
            _ => return None,
        })
    }

    fn session(&mut self) -> ServerSession {
        ServerSession {
            number: self.number(),
            user: self.text(),
            host: self.text(),
            peer: self.text(),
            opened_us: self.number(),
            held: self.some(|values| Duration::from_secs(values.u32().into())),
            processes: self.list(Values::process),
            own: self.flag(),
        }
    }

    pub(crate) fn error(&mut self) -> TargetError {
        let (process, thread) = (self.process(), self.thread());
        match self.below(13) {
            0 => TargetError::Unmapped { at: self.va() },
            1 => TargetError::NoProcess { process },
            2 => TargetError::NoThread { thread },
            3 => TargetError::WrongThreadState { thread, state: self.text() },
            4 => TargetError::StaleGeneration { asked: self.number(), current: self.number() },
            5 => TargetError::AlreadyTraced { process, tracer: self.process(), tracer_name: self.text() },
            6 => TargetError::Permission { what: self.text(), remedy: self.text() },
            7 => TargetError::Unsupported { operation: "search", reason: self.text() },
            8 => TargetError::Invalid { reason: self.text() },
            9 => TargetError::File { path: self.text(), reason: self.text() },
            10 => TargetError::Os { operation: self.text(), errno: self.i32(), reason: self.text() },
            11 => TargetError::Gone { process },
            _ => TargetError::ConnectionLost { reason: self.text() },
        }
    }

    fn process_info(&mut self) -> ProcessInfo {
        use ProcessOrigin::*;
        ProcessInfo {
            id: self.process(),
            parent: self.process(),
            space: self.space(),
            origin: self.one_of(&[Attached, Noninvasive, Created, Child, Dump]),
            executable: self.text(),
            arguments: self.list(Values::text),
            auxv: self.list(|values| (values.number(), values.number())),
            start_time_us: self.number(),
            user_time_us: self.number(),
            system_time_us: self.number(),
            steps_unsafe_because: self.text(),
        }
    }

    fn region(&mut self) -> Region {
        use RegionUsage::*;
        Region {
            range: self.range(),
            read: self.flag(),
            write: self.flag(),
            execute: self.flag(),
            shared: self.flag(),
            file_offset: self.number(),
            device: self.number(),
            inode: self.number(),
            name: self.text(),
            usage: self.one_of(&[Image, Stack, Heap, MappedFile, Vdso, Unknown]),
        }
    }

    fn os_process(&mut self) -> OsProcess {
        let refusal = Attachability::No { reason: self.text(), remedy: self.text() };
        OsProcess {
            id: self.process(),
            parent: self.process(),
            name: self.text(),
            executable: self.text(),
            arguments: self.list(Values::text),
            uid: self.u32(),
            user: self.text(),
            threads: self.u32(),
            state: self.one_of(&['S', 'R', '\u{1f41b}']),
            container: self.text(),
            tracer: self.process(),
            tracer_name: self.text(),
            start_time_us: self.number(),
            attachability: self.one_of(&[None, Some(Attachability::Yes), Some(refusal)]),
        }
    }

    fn state(&mut self) -> BreakpointState {
        BreakpointState {
            id: BreakpointId(self.u32()),
            hits: self.number(),
            safety: self.one_of(&[KillSafety::Safe, KillSafety::Unsafe]),
            reason: self.text(),
            condition: self
                .one_of(&[ConditionPlace::Debuggee, ConditionPlace::Target { because: "the site is not hot".into() }]),
            by_pages: self.text(),
            logs: self.flag(),
        }
    }

    fn result<T>(&mut self, make: impl FnOnce(&mut Values) -> T) -> Result<T, TargetError> {
        if self.flag() { Ok(make(self)) } else { Err(self.error()) }
    }

    /// A good reply to a request of this kind; `None` for a kind that has none.
    pub(crate) fn reply(&mut self, to: Kind) -> Option<Reply> {
        Some(match to {
            Kind::Processes => Reply::Processes(self.list(Values::process_info)),
            Kind::Threads => Reply::Threads(self.list(Values::thread_info)),
            Kind::ThreadTimes => Reply::ThreadTimes(self.list(|values| ThreadTimes {
                id: values.thread(),
                start_time_us: values.number(),
                user_time_us: values.number(),
                system_time_us: values.number(),
            })),
            Kind::Modules => Reply::Modules(self.list(Values::module)),
            Kind::Regions => Reply::Regions(self.list(Values::region)),
            Kind::Read | Kind::ReadFile => Reply::Read(self.list(Values::bytes)),
            Kind::Registers => Reply::Registers(self.list(|values| values.result(Values::context))),
            Kind::Search => Reply::Search(self.list(Values::va)),
            Kind::Attach => Reply::Attached(self.some(Values::bundle)),
            Kind::Create => Reply::Created(self.process(), self.some(Values::bundle)),
            Kind::Write => Reply::Written(self.list(Values::number)),
            Kind::AdjustSuspend => Reply::SuspendCounts(self.list(Values::u32)),
            Kind::PendingSignal => Reply::PendingSignal(self.some(Values::siginfo)),
            Kind::ChangeBreakpoints => Reply::BreakpointChanges(self.list(|values| values.result(Values::state))),
            Kind::BreakpointStates => Reply::BreakpointStates(self.list(Values::state)),
            Kind::ListProcesses => Reply::OsProcesses(self.list(Values::os_process)),
            Kind::OpenFile => Reply::FileOpened(FileId(self.u32()), self.number()),
            Kind::ListDirectory => Reply::Directory(
                self.list(|values| DirectoryEntry { name: values.text(), is_directory: values.flag() }),
            ),
            Kind::Handles => Reply::Handles(self.list(|values| HandleInfo {
                number: values.u32(),
                target: values.text(),
                kind: values.text(),
                flags: values.u32(),
                position: values.number(),
            })),
            Kind::Sessions => Reply::Sessions(self.list(Values::session)),
            Kind::Clock => Reply::Clock { time_us: self.number(), uptime_us: self.number() },
            Kind::BreakIn => return None,
            _ => {
                self.request(to)?;
                Reply::Done
            }
        })
    }
}
