//! The live system as a target: the seam's methods, each handed on to whoever does it.

mod os;
mod run;

use std::collections::VecDeque;
use std::fs;

use outpost_base::{AddressSpaceId, Arch, ProcessId, RegisterContext, ThreadId, Va};
use outpost_target::{
    BreakpointChange, BreakpointState, Breakpoints, Event, Live, ModuleInfo, Os, ProcessInfo, ProcessOrigin,
    ReadRequest, Region, RegisterSets, SearchRequest, StopBundle, Target, TargetError, TargetInfo, TargetKind,
    ThreadInfo, ThreadRunState, ThreadTimes,
};

use crate::error::os_error;
use crate::journal::{Journal, NoJournal};
use crate::modules;
use crate::os::OsAccess;
use crate::regions::read_regions;
use crate::tracer::Tracer;

/// The live processes of this machine that one session debugs.
///
/// It belongs to the thread that made it (see the crate's documentation). Dropping it ends the session in order:
/// created processes are killed and attached ones let go, unless `set_detach_on_exit` said otherwise; nothing of ours
/// stays in them.
pub struct LiveTarget {
    info: TargetInfo,
    tracer: Tracer,
    os: OsAccess,
    /// Events that do not come from the tracer, and those that must come after them.
    waiting: VecDeque<Event>,
}

impl LiveTarget {
    /// A session without processes and without a guardian; `name` is what `||` shows (`<Local>`).
    ///
    /// # Errors
    /// [`TargetError::Os`] if the process has no descriptor left.
    pub fn new(name: &str) -> Result<LiveTarget, TargetError> {
        LiveTarget::with_journal(name, Box::new(NoJournal))
    }

    /// A session whose deeds are told to `journal` ahead of time.
    ///
    /// # Errors
    /// As [`LiveTarget::new`].
    pub fn with_journal(name: &str, journal: Box<dyn Journal>) -> Result<LiveTarget, TargetError> {
        let tracer = Tracer::new(journal).map_err(|errno| os_error("eventfd", errno))?;
        Ok(LiveTarget { info: machine(name), tracer, os: OsAccess::default(), waiting: VecDeque::new() })
    }

    fn process_info(&self, id: ProcessId) -> Option<ProcessInfo> {
        let process = self.tracer.processes.get(&id)?;
        let times = self.os.times(id).unwrap_or_default();
        Some(ProcessInfo {
            id,
            parent: times.parent,
            space: process.space,
            origin: process.origin,
            executable: modules::read_executable(id),
            arguments: self.os.arguments(id),
            auxv: modules::read_auxv(id),
            start_time_us: times.start_us,
            user_time_us: times.user_us,
            system_time_us: times.system_us,
            steps_unsafe_because: self.tracer.safety_of_steps(process.space).1,
        })
    }

    /// Stack pointers of a process's stopped threads, by which stacks are told from other mappings.
    fn stack_pointers(&mut self, process: ProcessId) -> Vec<Va> {
        let threads = self.tracer.thread_ids(process);
        threads.into_iter().filter_map(|tid| Some(Va(self.tracer.registers(tid)?.sp()))).collect()
    }
}

impl Target for LiveTarget {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        Ok(self.tracer.visible_processes().into_iter().filter_map(|id| self.process_info(id)).collect())
    }

    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        let known = self.tracer.visible(process)?;
        // Looked at without stopping anybody: no thread of it is in the tables.
        if known.origin == ProcessOrigin::Noninvasive && self.tracer.thread_ids(process).is_empty() {
            return Ok(untraced_threads(process));
        }
        Ok(self.tracer.thread_infos(process))
    }

    fn thread_times(&mut self, process: ProcessId) -> Result<Vec<ThreadTimes>, TargetError> {
        self.tracer.visible(process)?;
        Ok(self.os.thread_times(process))
    }

    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        self.tracer.visible(process)?;
        Ok(self.tracer.read_modules(process).modules)
    }

    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        self.tracer.visible(process)?;
        let stack_pointers = self.stack_pointers(process);
        let mut regions = read_regions(process, &stack_pointers)?;
        // What the debugger has put there is no part of the program.
        let ours = self.tracer.own_ranges(process);
        regions.retain(|region| !ours.contains(&region.range));
        Ok(regions)
    }

    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.tracer.read_many(space, reads)
    }

    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        Ok(threads.iter().map(|thread| self.tracer.context(*thread, sets)).collect())
    }

    fn search(&mut self, space: AddressSpaceId, request: &SearchRequest) -> Result<Vec<Va>, TargetError> {
        let process = self.tracer.space(space)?.memory.process();
        let regions = read_regions(process, &[])?;
        let space = self.tracer.space(space)?;
        space.memory.search(&regions, request, |at, bytes| space.sites.hide(at, bytes))
    }

    fn last_stop(&self) -> Option<&StopBundle> {
        self.tracer.last_stop.as_ref()
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

impl Breakpoints for LiveTarget {
    fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<Vec<Result<BreakpointState, TargetError>>, TargetError> {
        Ok(self.tracer.change_breakpoints(changes))
    }

    fn breakpoint_states(&mut self) -> Result<Vec<BreakpointState>, TargetError> {
        self.tracer.drain_all_logs();
        Ok(self.tracer.breakpoint_states())
    }
}

/// Threads of a process that nobody stops.
fn untraced_threads(process: ProcessId) -> Vec<ThreadInfo> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let mut ids: Vec<u32> = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    let info = |id: u32| {
        let comm = fs::read_to_string(format!("/proc/{process}/task/{id}/comm")).unwrap_or_default();
        ThreadInfo {
            id: ThreadId(id),
            process,
            name: comm.trim_end_matches('\n').to_owned(),
            state: ThreadRunState::Running,
            suspend_count: 0,
            teb: Va(0),
        }
    };
    ids.into_iter().map(info).collect()
}

/// What the machine says of itself; empty where `/proc` is not readable.
fn machine(name: &str) -> TargetInfo {
    let kernel = |file: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
        text.trim_end().to_owned()
    };
    TargetInfo {
        kind: TargetKind::LiveUser,
        arch: Arch::X86_64,
        page_size: rustix::param::page_size() as u64,
        name: name.to_owned(),
        host: kernel("hostname"),
        os: format!("{} {} x86_64", kernel("ostype"), kernel("osrelease")),
        processors: std::thread::available_parallelism().map_or(0, |count| count.get() as u32),
    }
}
