//! What a target tells by itself.

use outpost_base::*;
use outpost_target::*;

use super::Values;

impl Values {
    pub(super) fn context(&mut self) -> RegisterContext {
        let mut context = RegisterContext::new(Arch::X86_64);
        context.general.iter_mut().for_each(|word| *word = self.number());
        context.floating = self.short_bytes(900);
        if self.flag() {
            context.debug = (0..8).map(|_| self.number()).collect();
        }
        context
    }

    pub(super) fn siginfo(&mut self) -> SigInfo {
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

    pub(super) fn exit_status(&mut self) -> ExitStatus {
        match self.below(3) {
            0 => ExitStatus::Code(self.i32()),
            1 => ExitStatus::Signal { signo: self.i32(), core_dumped: self.flag() },
            _ => ExitStatus::Unknown,
        }
    }

    pub(super) fn outcome(&mut self) -> StepOutcome {
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

    pub(super) fn reason(&mut self) -> StopReason {
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

    pub(super) fn record(&mut self) -> StopRecord {
        StopRecord { process: self.process(), thread: self.thread(), reason: self.reason() }
    }

    pub(super) fn thread_info(&mut self) -> ThreadInfo {
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

    pub(super) fn module(&mut self) -> ModuleInfo {
        ModuleInfo {
            range: self.range(),
            bias: LoadBias(self.number()),
            path: self.text(),
            build_id: self.some(|values| BuildId(values.short_bytes(21))),
            namespace: self.u32(),
            is_main: self.flag(),
        }
    }

    pub(super) fn trace_step(&mut self) -> TraceStep {
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
            undecided: self.list(|values| BreakpointId(values.u32())),
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
}
