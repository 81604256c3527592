//! Memory that a Rust program asked for and did not get.

use super::origin::Tracer;
use super::x86_64::ARGUMENTS;
use crate::stack::PhysicalStack;
use crate::{Engine, EngineError, StackFrame, ThreadOrdinal};

/// Called with alignment and size of what there was no memory for (Rust library/alloc/src/alloc.rs, and the handler of
/// library/std/src/alloc.rs); the outermost says what the program wanted.
const HANDLERS: &[&str] = &["handle_alloc_error", "__rust_alloc_error_handler", "rust_oom"];

impl Engine {
    /// What a thread could not allocate, in words; `None` if it is not at that.
    pub(super) fn refused_allocation(
        &mut self,
        thread: ThreadOrdinal,
        stack: &PhysicalStack,
        own: &[StackFrame],
    ) -> Result<Option<String>, EngineError> {
        let is_handler = |row: &&StackFrame| HANDLERS.iter().any(|name| row.function.contains(name));
        let Some(handler) = own.iter().rev().find(is_handler) else { return Ok(None) };
        let process = self.process_of(thread)?.ordinal;
        let size = self.arch().register_by_name(ARGUMENTS[1]);
        let frame = handler.physical as usize + usize::from(handler.is_physical());
        let mut tracer = Tracer::new(self, process, stack.clone());
        let size = size.and_then(|size| {
            let call = tracer.call_in(frame)?;
            tracer.value_before(frame, call.at, size)
        });
        let size = size.map_or_else(String::new, |size| format!(" of {size:#x} bytes"));
        Ok(Some(format!("there is no memory for an allocation{size}")))
    }
}
