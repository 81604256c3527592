//! What a client asks for.

use outpost_target::condition::{Condition, Op};
use outpost_target::step::InstructionKinds;
use outpost_target::*;
use outpost_wire::{Kind, Request};

use super::Values;

impl Values {
    pub(super) fn bundle_request(&mut self) -> BundleRequest {
        BundleRequest {
            stack_bytes: self.u32(),
            code_bytes: self.u32(),
            all_registers: self.flag(),
            subscriptions: self.list(|values| (values.space(), values.range())),
        }
    }

    pub(super) fn step_plan(&mut self) -> StepPlan {
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

    pub(super) fn action(&mut self) -> Action {
        match self.below(5) {
            0 => Action::Run,
            1 => Action::Hold,
            2 => Action::EndCall,
            3 => Action::Call(self.call_plan()),
            _ => Action::Step(self.step_plan()),
        }
    }

    pub(super) fn call_plan(&mut self) -> CallPlan {
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

    pub(super) fn signal_action(&mut self) -> SignalAction {
        match self.below(3) {
            0 => SignalAction::Deliver,
            1 => SignalAction::Swallow,
            _ => SignalAction::Replace(self.siginfo()),
        }
    }

    pub(super) fn plan(&mut self) -> Plan {
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

    pub(super) fn condition(&mut self) -> Condition {
        let mut code = vec![Op::Constant as u8];
        code.extend(self.number().to_le_bytes());
        code.push(Op::Return as u8);
        Condition::verify(code).expect("valid code")
    }

    pub(super) fn log(&mut self) -> LogPlan {
        let argument = |values: &mut Values| LogArgument { value: values.condition(), text: values.below(257) as u16 };
        LogPlan { arguments: self.list(argument) }
    }

    pub(super) fn log_record(&mut self) -> LogRecord {
        let value = |values: &mut Values| match values.below(3) {
            0 => LogValue::Number(values.number()),
            1 => LogValue::Text { bytes: values.short_bytes(40), is_whole: values.flag() },
            _ => LogValue::Missing,
        };
        LogRecord { breakpoint: BreakpointId(self.u32()), values: self.list(value) }
    }

    pub(super) fn pad(&mut self) -> PadCode {
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

    pub(super) fn jump(&mut self) -> JumpCode {
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

    pub(super) fn change(&mut self) -> BreakpointChange {
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

    pub(super) fn create_spec(&mut self) -> CreateSpec {
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
}
