//! Waiting on the very processor of a thread that stops again and again.
//!
//! Each stop wakes the tracer, and each resumption wakes the thread. On two processors that idle in between, that is most
//! of what a stop costs: on a virtual machine 60 of 65 µs. On one processor each is switched to as the other sleeps, and
//! nobody idles. So the tracer goes where the thread is, and back to where it may be as soon as anything else happens.
//! Only the tracer moves: what the debuggee was given it keeps.

use std::time::Duration;

use outpost_base::ThreadId;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::waiting::{SLOW, SOON};
use crate::os::ProcRoot;

/// Stops of one thread in a row, each slow and soon after it went on, before the tracer goes there.
const STREAK: u32 = 8;
/// Stops after which it is looked where the thread is now.
const LOOK_AGAIN: u32 = 256;
/// Slow stops in a row that say that being there is of no use: others want the processor.
const CROWDED: u32 = 8;
/// Stops for which the tracer stays away then.
const AWAY: u32 = 4096;
/// Scheduling policies of threads that let others have the processor (sched(7)): SCHED_OTHER, SCHED_BATCH, SCHED_IDLE. One
/// of the others could keep the tracer waiting for ever.
const FAIR: &[u64] = &[0, 3, 5];

/// Where the tracer is, and why.
#[derive(Default)]
pub(super) struct Nearness {
    /// The processors it may use when it is not near a thread; `None`: it is not.
    home: Option<CpuSet>,
    thread: Option<ThreadId>,
    processor: u64,
    /// Not near: slow stops of `thread` so far. Near: stops since it was looked where it is.
    count: u32,
    slow: u32,
    away: u32,
}

impl Nearness {
    /// A thread stopped, so long after it was waited for.
    pub(super) fn note_stop(&mut self, thread: ThreadId, after: Duration) {
        let is_same = self.thread == Some(thread);
        if !is_same || after >= SOON {
            self.release();
            self.thread = Some(thread);
            return;
        }
        self.away = self.away.saturating_sub(1);
        let is_slow = after >= SLOW;
        self.slow = if is_slow { self.slow + 1 } else { 0 };
        self.count += 1;
        match self.home {
            None if !is_slow => self.count = 0,
            None if self.count >= STREAK && self.away == 0 => self.go(thread),
            Some(_) if self.slow >= CROWDED && !self.has_moved(thread) => {
                self.release();
                self.away = AWAY;
            }
            Some(_) if self.slow >= CROWDED || self.count >= LOOK_AGAIN => self.go(thread),
            _ => {}
        }
    }

    /// Whether the tracer is where a thread is, so that it must sleep for that to run.
    pub(super) fn is_near(&self) -> bool {
        self.home.is_some()
    }

    /// Goes back to all processors that the tracer may use.
    pub(super) fn release(&mut self) {
        if let Some(home) = self.home.take() {
            let _ = sched_setaffinity(None, &home);
        }
        (self.thread, self.count, self.slow) = (None, 0, 0);
    }

    fn has_moved(&self, thread: ThreadId) -> bool {
        ProcRoot::default().stat(thread.0).is_some_and(|stat| stat.processor != self.processor)
    }

    fn go(&mut self, thread: ThreadId) {
        (self.count, self.slow) = (0, 0);
        let Some(stat) = ProcRoot::default().stat(thread.0).filter(|stat| FAIR.contains(&stat.policy)) else {
            return self.stay_away();
        };
        if self.home.is_some() && stat.processor == self.processor {
            return;
        }
        let Ok(home) = self.home.map_or_else(|| sched_getaffinity(None), Ok) else { return self.stay_away() };
        let mut there = CpuSet::new();
        if (stat.processor as usize) < CpuSet::MAX_CPU {
            there.set(stat.processor as usize);
        }
        // Some may not be for us.
        match sched_setaffinity(None, &there) {
            Ok(()) => (self.home, self.processor) = (Some(home), stat.processor),
            Err(_) => self.stay_away(),
        }
    }

    fn stay_away(&mut self) {
        self.release();
        self.away = AWAY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many processors the calling thread may use.
    fn allowed() -> u32 {
        sched_getaffinity(None).unwrap().count()
    }

    fn own() -> ThreadId {
        ThreadId(crate::sys::signal::own_tid())
    }

    #[test]
    fn the_tracer_goes_to_a_thread_that_stops_slowly_and_back() {
        let all = allowed();
        let mut nearness = Nearness::default();
        for _ in 0..=STREAK {
            assert!(!nearness.is_near());
            nearness.note_stop(own(), SLOW);
        }
        assert!(nearness.is_near());
        assert_eq!(allowed(), 1);
        // Fast, as it should be there; then another thread, which is nobody's reason to stay.
        (0..2 * LOOK_AGAIN).for_each(|_| nearness.note_stop(own(), Duration::from_micros(8)));
        assert!(nearness.is_near());
        nearness.note_stop(ThreadId(1), SLOW);
        assert!(!nearness.is_near());
        assert_eq!(allowed(), all);
    }

    #[test]
    fn stops_that_are_fast_or_rare_are_no_reason() {
        let mut nearness = Nearness::default();
        for after in [SLOW / 2, SOON] {
            (0..10 * STREAK).for_each(|_| nearness.note_stop(own(), after));
            assert!(!nearness.is_near(), "{after:?}");
        }
    }

    #[test]
    fn where_others_want_the_processor_it_stays_away_for_a_while() {
        let mut nearness = Nearness::default();
        (0..=STREAK).for_each(|_| nearness.note_stop(own(), SLOW));
        assert!(nearness.is_near());
        // The thread stands still, so it has not moved either.
        (0..CROWDED).for_each(|_| nearness.note_stop(own(), SLOW));
        assert!(!nearness.is_near());
        (1..AWAY).for_each(|_| nearness.note_stop(own(), SLOW));
        assert!(!nearness.is_near());
        (0..=STREAK).for_each(|_| nearness.note_stop(own(), SLOW));
        assert!(nearness.is_near());
        nearness.release();
    }
}
