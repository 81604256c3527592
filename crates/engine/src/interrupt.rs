//! Breaking in and cancelling, from any thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use outpost_target::Interrupter as TargetInterrupter;

use crate::{Engine, EngineError, SystemOrdinal};

/// What Ctrl+C does: breaks in while the debuggee runs, cancels the work in progress while it is stopped.
///
/// Cloneable, and the only thing of an [`Engine`] that other threads may use. It returns at once.
#[derive(Clone, Default)]
#[doc(alias = "SetInterrupt")]
pub struct Interrupter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: AtomicBool,
    cancel: AtomicBool,
    targets: Mutex<Vec<(SystemOrdinal, Arc<dyn TargetInterrupter>)>>,
}

impl Interrupter {
    /// Breaks in if the debuggee runs, else cancels what the engine is doing.
    pub fn interrupt(&self) {
        if self.shared.running.load(Ordering::SeqCst) { self.break_in() } else { self.cancel() }
    }

    /// Asks every running target to stop; the stop is an event like any other.
    pub fn break_in(&self) {
        for (_, target) in self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            target.break_in();
        }
    }

    /// Makes long work in progress end with [`EngineError::Cancelled`].
    pub fn cancel(&self) {
        self.shared.cancel.store(true, Ordering::SeqCst);
        // What is in progress may be the waiting for a lost link.
        for (_, target) in self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            target.give_up();
        }
    }

    /// Whether the debuggee runs, as far as the engine has told.
    pub fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, system: SystemOrdinal, target: Arc<dyn TargetInterrupter>) {
        self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner).push((system, target));
    }

    pub(crate) fn remove(&self, system: SystemOrdinal) {
        let mut targets = self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.retain(|(ordinal, _)| *ordinal != system);
    }

    pub(crate) fn set_running(&self, running: bool) {
        self.shared.running.store(running, Ordering::SeqCst);
    }

    /// Set while the user wants long work to end.
    pub(crate) fn cancel_flag(&self) -> &AtomicBool {
        &self.shared.cancel
    }

    pub(crate) fn take_cancel(&self) -> bool {
        self.shared.cancel.swap(false, Ordering::SeqCst)
    }
}

impl Engine {
    /// The handle that another thread uses to break in or cancel.
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Forgets an interrupt that came before the work that now begins. Call it before each command: from then until the next
    /// stop questions wait for symbols that servers have.
    pub fn clear_interrupt(&mut self) {
        self.interrupter.take_cancel();
        self.await_symbols();
    }

    /// Ends long work when the user interrupted: call it in every loop of unknown length.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`], once for each interrupt.
    #[doc(alias = "GetInterrupt")]
    pub fn check_interrupt(&self) -> Result<(), EngineError> {
        if self.interrupter.take_cancel() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flag(AtomicBool);

    impl TargetInterrupter for Flag {
        fn break_in(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn one_key_breaks_in_or_cancels() {
        let engine = Engine::new();
        let target = Arc::new(Flag(AtomicBool::new(false)));
        let handle = engine.interrupter();
        handle.add(SystemOrdinal(0), target.clone());
        handle.interrupt();
        assert!(!target.0.load(Ordering::SeqCst), "nothing runs, so nothing is to be stopped");
        assert!(matches!(engine.check_interrupt(), Err(EngineError::Cancelled)));
        assert!(engine.check_interrupt().is_ok());
        handle.set_running(true);
        handle.interrupt();
        assert!(target.0.load(Ordering::SeqCst));
        assert!(engine.check_interrupt().is_ok());
    }
}
