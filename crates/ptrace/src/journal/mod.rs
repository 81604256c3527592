//! The undo journal: every deed that must be undone if this process dies is told ahead of it.
//!
//! The tracer writes through the trait [`Journal`]. [`SharedJournal`] keeps it in memory shared with the guardian
//! ([`create_shared`]), where it survives the writer's death at any instruction; [`JournalImage`] is what the guardian
//! reads there. Calls come before the deed, so an entry may describe something that never happened: whoever undoes must
//! look first.
//!
//! The journal is advice, not authority: the guardian bounds every number in it by the fixed layout, and checks each
//! byte it is told to restore and the mapping it is in. (A worker that lies can do no more than it could do itself,
//! since guardian and worker run with the same rights.)

mod layout;
mod reader;
mod writer;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};

use crate::lifeline::KernelSigaction;
use crate::pages::ProtectedPages;
pub use layout::{RegionKind, create_shared};
pub use reader::{
    JournalImage, JournaledAction, JournaledPages, JournaledProcess, JournaledRegion, JournaledSite, JournaledThread,
    MappingIdentity,
};
pub use writer::{Notifier, SharedJournal};

/// Bytes of a `siginfo_t` (`SI_MAX_SIZE`, include/uapi/asm-generic/siginfo.h).
pub const SIGNAL_INFO_SIZE: usize = 128;

/// Where the tracer writes ahead what it is about to change.
///
/// Methods cannot fail: a journal that is full refuses by [`Journal::has_room`], which is asked before a new site.
pub trait Journal {
    /// Whether another site may be planted.
    fn has_room(&self) -> bool;

    /// The session is about to trace `process`; `created`: it also made it, and ends it when it ends itself.
    fn process_joined(&mut self, process: ProcessId, created: bool);

    /// A filter of its threads' system calls forbids how a stopped sleep of `process` goes on: whoever stops it has to care.
    fn begins_anew(&mut self, process: ProcessId) {
        let _ = process;
    }

    /// Nothing of ours is left in `process`, or it is gone.
    fn process_left(&mut self, process: ProcessId);

    /// `replacement` is about to be written at `at` over `original`, both of one length of at most 16 bytes.
    /// `process` is one that lives in `space`: its `/proc/PID/mem` and `maps` lead there.
    fn site_planned(&mut self, space: AddressSpaceId, process: ProcessId, at: Va, original: &[u8], replacement: &[u8]);

    /// The original bytes are back.
    fn site_removed(&mut self, space: AddressSpaceId, at: Va);

    /// The jump `replacement` is about to be written at `at` over `original`, where a site is planted. It may be put back only
    /// while nobody executes what is there.
    fn jump_planned(&mut self, space: AddressSpaceId, process: ProcessId, at: Va, original: &[u8], replacement: &[u8]) {
        let _ = (space, process, at, original, replacement);
    }

    /// The site is as it was without the jump.
    fn jump_removed(&mut self, space: AddressSpaceId, at: Va) {
        let _ = (space, at);
    }

    /// `thread` is about to have debug registers set.
    fn debug_registers_set(&mut self, process: ProcessId, thread: ThreadId);

    /// Its debug registers are clear.
    fn debug_registers_cleared(&mut self, thread: ThreadId);

    /// `thread` is about to execute single steps, or has ended doing so.
    fn stepping(&mut self, process: ProcessId, thread: ThreadId, begins: bool);

    /// SIGTRAP, which `thread` blocks, is about to be unblocked for its steps; `false`: it is blocked again.
    fn trap_unblocked(&mut self, process: ProcessId, thread: ThreadId, unblocked: bool) {
        let _ = (process, thread, unblocked);
    }

    /// `thread` is stopped before the delivery of `signal`, which dies with the tracer's stop; 0: none any more.
    fn signal_held(&mut self, process: ProcessId, thread: ThreadId, signal: i32);

    /// What the signal that `thread` is about to hold carries; told before [`Journal::signal_held`].
    fn signal_information(&mut self, process: ProcessId, thread: ThreadId, information: &[u8; SIGNAL_INFO_SIZE]) {
        let _ = (process, thread, information);
    }

    /// `thread` has ended: nothing of it needs undoing.
    fn thread_ended(&mut self, thread: ThreadId) {
        self.debug_registers_cleared(thread);
    }

    /// `len` bytes are about to be mapped at `at` in `process`.
    fn region_planned(&mut self, process: ProcessId, at: Va, len: u64, kind: RegionKind) {
        let _ = (process, at, len, kind);
    }

    /// They are unmapped.
    fn region_removed(&mut self, process: ProcessId, at: Va) {
        let _ = (process, at);
    }

    /// The program's pages of `piece` are about to be given another protection.
    fn pages_protected(&mut self, process: ProcessId, piece: ProtectedPages) {
        let _ = (process, piece);
    }

    /// Those that began at `at` have the program's again.
    fn pages_restored(&mut self, process: ProcessId, at: Va) {
        let _ = (process, at);
    }

    /// The action of `process` for `signal` is about to be replaced; `own` is the program's, `ours` the new handler.
    fn action_replaced(&mut self, process: ProcessId, signal: i32, own: KernelSigaction, ours: Va) {
        let _ = (process, signal, own, ours);
    }

    /// The program has its own action again.
    fn action_restored(&mut self, process: ProcessId, signal: i32) {
        let _ = (process, signal);
    }

    /// What becomes of created processes: `true` lets them go.
    fn detach_on_exit(&mut self, detach: bool) {
        let _ = detach;
    }
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

#[cfg(test)]
mod tests;
