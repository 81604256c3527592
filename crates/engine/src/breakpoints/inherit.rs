//! Breakpoints of processes that are made by fork: those of the parent, since its code is theirs.

use super::table::Breakpoint;
use crate::{Engine, EngineError, ProcessOrdinal, SystemOrdinal};
use outpost_base::ProcessId;

impl Engine {
    /// Takes a child into the session before it runs, with its parent's breakpoints.
    pub(crate) fn process_forked(
        &mut self,
        system: SystemOrdinal,
        parent: ProcessOrdinal,
        child: ProcessId,
    ) -> Result<(), EngineError> {
        self.ensure_process(system, child)?;
        let Some(child) = self.process_by_id(system, child).map(|process| process.ordinal) else { return Ok(()) };
        if self.process(child)?.info.space == self.process(parent)?.info.space {
            // The parent's sites are the child's, too; others beside them would stay when the child executes a program.
            self.process_mut(child)?.shares_with = Some(parent);
            return Ok(());
        }
        self.inherit_breakpoints(parent, child);
        Ok(())
    }

    /// A child that shared its parent's memory has its own now.
    pub(crate) fn stop_sharing(&mut self, child: ProcessOrdinal) -> Result<(), EngineError> {
        if let Some(parent) = self.process_mut(child)?.shares_with.take() {
            self.inherit_breakpoints(parent, child);
        }
        Ok(())
    }

    /// Copies breakpoints under numbers of their own: they are listed, changed and counted for themselves. Those for one
    /// thread stay that thread's.
    fn inherit_breakpoints(&mut self, parent: ProcessOrdinal, child: ProcessOrdinal) {
        let own = self.breakpoints.breakpoints.iter().filter(|known| known.process == parent);
        let copied: Vec<_> = own
            .filter(|known| {
                known.request.thread.is_none() && known.request.event.is_none() && known.awaits_restart.is_none()
            })
            .map(|known| (known.request.clone(), known.enabled))
            .collect();
        for (request, enabled) in copied {
            let number = self.breakpoints.free_number();
            self.breakpoints.breakpoints.push(Breakpoint { enabled, ..Breakpoint::new(number, child, request) });
        }
        self.resolve_deferred(child);
    }
}
