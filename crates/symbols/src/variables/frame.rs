//! What a frame must tell before its variables can be found.

use std::sync::Arc;

use outpost_base::{LoadBias, MemoryReader, RegisterValue, Va};

use super::Variables;

/// One frame of a stack, as the evaluation of locations sees it. Implemented by whoever unwinds.
///
/// Everything but memory may be unknown; then variables that need it are unavailable with that reason, and the others
/// are found. Inlined calls share the frame of the function they were inlined into.
pub trait FrameContext {
    /// Memory of the frame's process.
    fn memory(&mut self) -> &mut dyn MemoryReader;

    /// Where the image was loaded that the frame's code belongs to.
    fn load_bias(&self) -> LoadBias;

    /// Where the frame executes, or will when its callee returns; `None` for no frame at all (globals).
    fn pc(&self) -> Option<Va>;

    /// An address inside the instruction that the frame executes: its [`FrameContext::pc`] where it was interrupted,
    /// and one byte before it where it is a return address, which may already belong to the next block or function.
    fn lookup_address(&self) -> Option<Va>;

    /// A register's value in this frame, by DWARF number; `None` if it is not known. Vector registers in full width.
    fn register(&mut self, dwarf: u16) -> Option<RegisterValue>;

    /// Canonical frame address.
    fn cfa(&mut self) -> Option<Va>;

    /// Address of this thread's copy of the thread-local variable at `offset` of the image's TLS segment.
    fn thread_local(&mut self, offset: u64) -> Option<Va>;

    /// The frame that called this one (the next of the stack that is not inlined); `None` if there is none or it was
    /// not called but interrupted by a signal.
    fn caller(&mut self) -> Option<CallerFrame<'_>>;
}

/// The frame of a caller and the debug info of its code.
pub struct CallerFrame<'a> {
    /// The frame; its [`FrameContext::pc`] is the return address.
    pub frame: &'a mut dyn FrameContext,
    /// Variables of the image that the caller's code belongs to.
    pub variables: Arc<Variables>,
}

/// A context without a frame: for globals, statics and thread-locals whose address needs no thread.
pub struct NoFrame<'a> {
    /// Memory of the process.
    pub memory: &'a mut dyn MemoryReader,
    /// Where the image was loaded.
    pub load_bias: LoadBias,
}

impl FrameContext for NoFrame<'_> {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        &mut *self.memory
    }

    fn load_bias(&self) -> LoadBias {
        self.load_bias
    }

    fn pc(&self) -> Option<Va> {
        None
    }

    fn lookup_address(&self) -> Option<Va> {
        None
    }

    fn register(&mut self, _dwarf: u16) -> Option<RegisterValue> {
        None
    }

    fn cfa(&mut self) -> Option<Va> {
        None
    }

    fn thread_local(&mut self, _offset: u64) -> Option<Va> {
        None
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        None
    }
}
