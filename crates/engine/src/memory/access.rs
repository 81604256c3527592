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
    /// The selected frame stays selected.
    pub fn state_changed(&mut self) {
        self.epoch += 1;
        self.forget_stack();
    }

    /// Up to `len` bytes of code at `at`, fewer at the end of readable memory; `None` if there are none.
    ///
    /// From the cache if it has them, else from the image's file if its symbols are loaded, which costs no round trip,
    /// else from memory. Only for looking ahead: code that the process changed itself is seen in memory alone.
    pub(crate) fn code_bytes(&self, process: ProcessOrdinal, at: Va, len: usize) -> Option<Vec<u8>> {
        let known = self.process(process).ok()?;
        let mut bytes = vec![0; len];
        if known.memory.cached_only().read(at, &mut bytes) == len {
            return Some(bytes);
        }
        let module = known.module_at(at);
        let symbols = module.and_then(|module| Some((module, module.symbols.get()?)));
        if let Some((module, symbols)) = symbols
            && let Some(found) = symbols.image_bytes(at.to_image(module.info.bias), len)
        {
            return Some(found.to_vec());
        }
        let count = known.memory.clone().read(at, &mut bytes);
        bytes.truncate(count);
        (count != 0).then_some(bytes)
    }
}
