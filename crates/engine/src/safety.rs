//! What would become of debuggees if their server were killed.

use crate::{Engine, EngineError, ProcessOrdinal, SystemOrdinal};

impl Engine {
    /// Processes in which a step over a call, or to a place, may end the program if its server is killed meanwhile, and
    /// why. None of those in which nothing was tried yet; breakpoints say it for themselves. A round trip for each system.
    ///
    /// # Errors
    /// [`EngineError::Target`].
    pub fn unsafe_steps(&mut self) -> Result<Vec<(ProcessOrdinal, String)>, EngineError> {
        let stopped = self.systems.iter().filter(|system| system.is_live() && !system.running);
        let systems: Vec<SystemOrdinal> = stopped.map(|system| system.ordinal).collect();
        let mut found = Vec::new();
        for system in systems {
            let infos = self.system(system)?.target.borrow_mut().processes()?;
            for info in infos.into_iter().filter(|info| !info.steps_unsafe_because.is_empty()) {
                if let Some(process) = self.process_by_id(system, info.id) {
                    found.push((process.ordinal, info.steps_unsafe_because));
                }
            }
        }
        Ok(found)
    }
}
