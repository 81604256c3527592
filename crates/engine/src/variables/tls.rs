//! Where a thread's copies of thread-local variables are.

use std::rc::Rc;

use outpost_base::Va;

use crate::modules::Module;
use crate::{Engine, ThreadOrdinal};

impl Engine {
    /// Address of the current thread's copy of the variable at `offset` of `module`'s TLS block.
    pub(crate) fn thread_local_address(&mut self, module: &Rc<Module>, offset: u64) -> Option<Va> {
        let thread = self.current_thread().ok()?;
        let thread_pointer = self.thread_pointer(thread)?;
        let loader = self.symbol_loader(self.process_of(thread).ok()?.ordinal).ok()?;
        let symbols = loader.symbols(module);
        if module.info.is_main { symbols.program_tls(thread_pointer, offset) } else { None }
    }

    fn thread_pointer(&mut self, thread: ThreadOrdinal) -> Option<Va> {
        let registers = self.registers(thread, Default::default()).ok()?;
        Some(Va(registers.get_u64(self.arch().register_by_name("fs_base")?)?))
    }
}
