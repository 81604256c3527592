//! Memory by process, for users of the engine.

use outpost_base::{MemoryReader, Va};

use crate::{Engine, EngineError, ProcessMemory, ProcessOrdinal};

impl Engine {
    /// Memory of the current process: a handle that can be kept while the engine is asked other things.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`].
    #[doc(alias = "ReadVirtual")]
    pub fn memory(&self) -> Result<ProcessMemory, EngineError> {
        self.memory_of(self.current_process()?)
    }

    /// Memory of a process.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`].
    pub fn memory_of(&self, process: ProcessOrdinal) -> Result<ProcessMemory, EngineError> {
        Ok(self.process(process)?.memory.clone())
    }

    /// Memory or registers were changed behind the engine's back, or by a write: what was concluded from them is void.
    pub fn state_changed(&mut self) {
        self.epoch += 1;
        self.reset_scope();
    }

    /// Up to `len` bytes of code at `at`, fewer at the end of readable memory; `None` if there are none.
    pub(crate) fn code_bytes(&self, process: ProcessOrdinal, at: Va, len: usize) -> Option<Vec<u8>> {
        let mut memory = self.process(process).ok()?.memory.clone();
        let mut bytes = vec![0; len];
        let count = memory.read(at, &mut bytes);
        bytes.truncate(count);
        (count != 0).then_some(bytes)
    }
}
