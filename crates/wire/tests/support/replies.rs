//! What is answered.

use std::time::Duration;

use outpost_target::*;
use outpost_wire::{Kind, Reply};

use super::Values;

impl Values {
    pub(super) fn session(&mut self) -> ServerSession {
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

    pub(super) fn process_info(&mut self) -> ProcessInfo {
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

    pub(super) fn region(&mut self) -> Region {
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

    pub(super) fn os_process(&mut self) -> OsProcess {
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

    pub(super) fn state(&mut self) -> BreakpointState {
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

    pub(super) fn result<T>(&mut self, make: impl FnOnce(&mut Values) -> T) -> Result<T, TargetError> {
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
