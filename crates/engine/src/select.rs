//! Current and event process and thread; lists of what there is.

use outpost_target::{OsProcess, ProcessQuery, Region, ThreadRunState};

use crate::process::{Process, Thread};
use crate::{
    Engine, EngineError, ProcessOrdinal, ProcessSummary, SystemOrdinal, SystemSummary, ThreadOrdinal, ThreadSummary,
};

impl Engine {
    /// The current thread.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`].
    #[doc(alias = "GetCurrentThreadId")]
    pub fn current_thread(&self) -> Result<ThreadOrdinal, EngineError> {
        self.current.ok_or(EngineError::NoDebuggee)
    }

    /// The current process.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`].
    pub fn current_process(&self) -> Result<ProcessOrdinal, EngineError> {
        match self.current {
            Some(thread) => Ok(self.process_of(thread)?.ordinal),
            None => self.processes.first().map(|process| process.ordinal).ok_or(EngineError::NoDebuggee),
        }
    }

    /// The current system; `None` if there is none.
    pub fn current_system(&self) -> Option<SystemOrdinal> {
        let process = self.current_process().and_then(|ordinal| self.process(ordinal));
        process.map(|process| process.system).ok().or(self.systems.last().map(|system| system.ordinal))
    }

    /// The thread of the last event, while it exists.
    #[doc(alias = "GetEventThread")]
    pub fn event_thread(&self) -> Option<ThreadOrdinal> {
        self.event
    }

    /// Makes a thread current (`~Ns`); the scope becomes its innermost frame.
    ///
    /// # Errors
    /// [`EngineError::NoThread`]; [`EngineError::Running`].
    #[doc(alias = "SetCurrentThreadId")]
    pub fn select_thread(&mut self, thread: ThreadOrdinal) -> Result<(), EngineError> {
        self.need_stopped()?;
        self.locate(thread)?;
        if self.current != Some(thread) {
            self.current = Some(thread);
            self.reset_scope();
        }
        Ok(())
    }

    /// Makes a process current (`|Ns`): its event thread if the last event was there, else its first.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`]; [`EngineError::Running`].
    pub fn select_process(&mut self, process: ProcessOrdinal) -> Result<(), EngineError> {
        let process = self.process(process)?;
        let is_event = |thread: &&Thread| Some(thread.ordinal) == self.event;
        let thread = process.threads.iter().find(is_event).or(process.threads.first()).map(|thread| thread.ordinal);
        self.select_thread(thread.ok_or(EngineError::NoProcess { ordinal: process.ordinal })?)
    }

    /// Makes a system current (`||Ns`) by selecting its event process or else its first.
    ///
    /// # Errors
    /// [`EngineError::NoSystem`]; [`EngineError::NoDebuggee`] if it has no process; [`EngineError::Running`].
    pub fn select_system(&mut self, system: SystemOrdinal) -> Result<(), EngineError> {
        self.system(system)?;
        let event = self.event.and_then(|thread| self.process_of(thread).ok()).map(|process| process.ordinal);
        let mut own = self.processes.iter().filter(|process| process.system == system);
        let first = own.clone().next().map(|process| process.ordinal);
        let with_event = own.find(|process| Some(process.ordinal) == event).map(|process| process.ordinal);
        self.select_process(with_event.or(first).ok_or(EngineError::NoDebuggee)?)
    }

    /// All systems, by ordinal.
    pub fn systems(&self) -> Vec<SystemSummary> {
        let current = self.current_system();
        let event = self.event.and_then(|thread| self.process_of(thread).ok()).map(|process| process.system);
        let summary = |system: &crate::system::System| SystemSummary {
            ordinal: system.ordinal,
            kind: system.info.kind,
            name: system.info.name.clone(),
            host: system.info.host.clone(),
            os: system.info.os.clone(),
            processors: system.info.processors,
            is_current: Some(system.ordinal) == current,
            is_event: Some(system.ordinal) == event,
            is_running: system.running,
        };
        self.systems.iter().map(summary).collect()
    }

    /// Processes of all systems, by ordinal.
    pub fn processes(&self) -> Vec<ProcessSummary> {
        let current = self.current_process().ok();
        let event = self.event.and_then(|thread| self.process_of(thread).ok()).map(|process| process.ordinal);
        let summary = |process: &Process| ProcessSummary {
            ordinal: process.ordinal,
            system: process.system,
            id: process.info.id,
            parent: process.info.parent,
            origin: process.info.origin,
            executable: process.info.executable.clone(),
            arguments: process.info.arguments.clone(),
            threads: process.threads.len() as u32,
            is_current: Some(process.ordinal) == current,
            is_event: Some(process.ordinal) == event,
            start_time_us: process.info.start_time_us,
        };
        self.processes.iter().map(summary).collect()
    }

    /// Threads of a process, by ordinal.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`].
    pub fn threads(&self, process: ProcessOrdinal) -> Result<Vec<ThreadSummary>, EngineError> {
        let process = self.process(process)?;
        let summary = |thread: &Thread| ThreadSummary {
            ordinal: thread.ordinal,
            process: process.ordinal,
            process_id: process.info.id,
            id: thread.info.id,
            name: thread.info.name.clone(),
            state: thread.info.state,
            // The debugger's own hold counts as one, as users of the reference know it.
            suspend_count: thread.info.suspend_count + u32::from(thread.info.state == ThreadRunState::Stopped),
            is_frozen: thread.frozen,
            teb: thread.info.teb,
            is_current: Some(thread.ordinal) == self.current,
            is_event: Some(thread.ordinal) == self.event,
        };
        Ok(process.threads.iter().map(summary).collect())
    }

    /// One thread.
    ///
    /// # Errors
    /// [`EngineError::NoThread`].
    pub fn thread(&self, thread: ThreadOrdinal) -> Result<ThreadSummary, EngineError> {
        let threads = self.threads(self.process_of(thread)?.ordinal)?;
        threads.into_iter().find(|row| row.ordinal == thread).ok_or(EngineError::NoThread { ordinal: thread })
    }

    /// Holds (`~f`) or releases (`~u`) threads at the next resumption; only the debugger knows of it.
    ///
    /// # Errors
    /// [`EngineError::NoThread`] at the first that does not exist; the others are not changed then.
    pub fn freeze(&mut self, threads: &[ThreadOrdinal], frozen: bool) -> Result<(), EngineError> {
        threads.iter().try_for_each(|&thread| self.locate(thread).map(drop))?;
        for thread in self.processes.iter_mut().flat_map(|process| &mut process.threads) {
            if threads.contains(&thread.ordinal) {
                thread.frozen = frozen;
            }
        }
        Ok(())
    }

    /// Adds to the suspend counts of threads (`~n` +1, `~m` -1), which outlive the session.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for targets that cannot run; [`EngineError::NoThread`].
    pub fn adjust_suspend(&mut self, threads: &[ThreadOrdinal], delta: i32) -> Result<(), EngineError> {
        for &ordinal in threads {
            let (system, process, id) = self.locate(ordinal)?;
            let target = self.system(system)?.target.clone();
            let mut target = target.borrow_mut();
            let live = target.as_live().ok_or_else(|| crate::acquire::cannot_run("suspending threads"))?;
            let count = live.adjust_suspend(&[id], delta)?.first().copied();
            let known = self.process_mut(process)?.threads.iter_mut().find(|thread| thread.ordinal == ordinal);
            if let (Some(count), Some(thread)) = (count, known) {
                thread.info.suspend_count = count;
            }
        }
        Ok(())
    }

    /// The memory map of a process; fetched once per stop.
    ///
    /// # Errors
    /// [`EngineError::Target`].
    pub fn regions(&mut self, process: ProcessOrdinal) -> Result<std::rc::Rc<[Region]>, EngineError> {
        if let Some(regions) = &self.process(process)?.regions {
            return Ok(regions.clone());
        }
        let target = self.target_of(process)?;
        let id = self.process(process)?.id();
        let regions: std::rc::Rc<[Region]> = target.borrow_mut().regions(id)?.into();
        self.process_mut(process)?.regions = Some(regions.clone());
        Ok(regions)
    }

    /// Processes of a system's machine (`.tlist`), part of the session or not.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if the system is not a live machine.
    #[doc(alias = "GetRunningProcessSystemIds")]
    pub fn list_os_processes(
        &self,
        system: SystemOrdinal,
        query: &ProcessQuery,
        with_attachability: bool,
    ) -> Result<Vec<OsProcess>, EngineError> {
        let target = self.system(system)?.target.clone();
        let mut target = target.borrow_mut();
        let Some(os) = target.as_os() else {
            let reason = "it is not a live machine".into();
            return Err(EngineError::Unsupported { operation: "listing processes", reason });
        };
        Ok(os.list_processes(query, with_attachability)?)
    }

    /// Makes something current after the current thread went away.
    pub(crate) fn select_any(&mut self) {
        let thread = self.event.or_else(|| {
            let first = self.processes.iter().find(|process| !process.threads.is_empty())?;
            first.threads.first().map(|thread| thread.ordinal)
        });
        self.current = thread;
        self.reset_scope();
    }
}
