//! Processor time of threads.

use outpost_target::ThreadTimes;

use crate::{Engine, EngineError, ProcessOrdinal, ThreadOrdinal};

impl Engine {
    /// Processor time that a process's threads have used so far, in the order of their ordinals; one round trip.
    ///
    /// # Errors
    /// [`EngineError::Target`] if the target does not record it.
    #[doc(alias = "GetThreadTimes")]
    pub fn thread_times(&mut self, process: ProcessOrdinal) -> Result<Vec<(ThreadOrdinal, ThreadTimes)>, EngineError> {
        let id = self.process(process)?.id();
        let times = self.target_of(process)?.borrow_mut().thread_times(id)?;
        let known = self.threads(process)?;
        let found = known.iter().filter_map(|thread| {
            let times = times.iter().find(|times| times.id == thread.id)?;
            Some((thread.ordinal, *times))
        });
        Ok(found.collect())
    }
}
