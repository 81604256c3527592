//! The undo journal as the tracer sees it: every deed that must be undone if this process dies is told ahead of it.
//!
//! Calls come before the deed, so an entry may describe something that never happened: whoever undoes must look first.

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};

/// Where the tracer writes ahead what it is about to change.
///
/// Methods cannot fail: a journal that is full refuses by [`Journal::has_room`], which is asked before a new site.
pub trait Journal {
    /// Whether another site may be planted.
    fn has_room(&self) -> bool;

    /// The session is about to trace `process`; `created`: it also made it, and ends it when it ends itself.
    fn process_joined(&mut self, process: ProcessId, created: bool);

    /// Nothing of ours is left in `process`, or it is gone.
    fn process_left(&mut self, process: ProcessId);

    /// `replacement` is about to be written at `at` over `original`, both of one length of at most 16 bytes.
    /// `process` is one that lives in `space`: its `/proc/PID/mem` and `maps` lead there.
    fn site_planned(&mut self, space: AddressSpaceId, process: ProcessId, at: Va, original: &[u8], replacement: &[u8]);

    /// The original bytes are back.
    fn site_removed(&mut self, space: AddressSpaceId, at: Va);

    /// `thread` is about to have debug registers set.
    fn debug_registers_set(&mut self, process: ProcessId, thread: ThreadId);

    /// Its debug registers are clear.
    fn debug_registers_cleared(&mut self, thread: ThreadId);

    /// `thread` is about to execute single steps, or has ended doing so.
    fn stepping(&mut self, process: ProcessId, thread: ThreadId, begins: bool);

    /// `thread` is stopped before the delivery of `signal`, which dies with the tracer's stop; 0: none any more.
    fn signal_held(&mut self, process: ProcessId, thread: ThreadId, signal: i32);
}

/// A journal that forgets everything, for sessions without a guardian.
#[derive(Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn has_room(&self) -> bool {
        true
    }
    fn process_joined(&mut self, _: ProcessId, _: bool) {}
    fn process_left(&mut self, _: ProcessId) {}
    fn site_planned(&mut self, _: AddressSpaceId, _: ProcessId, _: Va, _: &[u8], _: &[u8]) {}
    fn site_removed(&mut self, _: AddressSpaceId, _: Va) {}
    fn debug_registers_set(&mut self, _: ProcessId, _: ThreadId) {}
    fn debug_registers_cleared(&mut self, _: ThreadId) {}
    fn stepping(&mut self, _: ProcessId, _: ThreadId, _: bool) {}
    fn signal_held(&mut self, _: ProcessId, _: ThreadId, _: i32) {}
}
