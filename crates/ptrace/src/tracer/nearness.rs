//! Waiting on the very processor of a thread that stops again and again.
//!
//! Each stop wakes the tracer, and each resumption wakes the thread. On two processors that idle in between, that is most
//! of what a stop costs. On one processor each is switched to as the other sleeps, and nobody idles; but the kernel may send
//! the thread elsewhere as it wakes it, so that being there is of no use. Which it is, is measured: the tracer goes where the
//! thread is, stays if stops come quicker then, and goes back as soon as anything else happens. Only the tracer moves: what
//! the debuggee was given it keeps.

use std::time::{Duration, Instant};

use outpost_base::ThreadId;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::waiting::SOON;
use crate::os::ProcRoot;

/// Stops of one thread in a row that are timed together.
const STRETCH: u32 = 256;
/// Stretches before it is tried again where it was of no use.
const REST: u32 = 64;
/// Scheduling policies of threads that let others have the processor (sched(7)): SCHED_OTHER, SCHED_BATCH, SCHED_IDLE. One
/// of the others could keep the tracer waiting for ever.
const FAIR: &[u64] = &[0, 3, 5];

/// Where the tracer is, and why.
#[derive(Default)]
pub(super) struct Nearness {
    /// The processors it may use when it is not near a thread; `None`: it is not.
    home: Option<CpuSet>,
    thread: Option<ThreadId>,
    /// Stops of this stretch, and when it began.
    stops: u32,
    since: Option<Instant>,
    /// How long the last stretch took where it was not near.
    away: Duration,
    /// Stretches before the next trial.
    rest: u32,
}

impl Nearness {
    /// A thread stopped, so long after it was waited for.
    pub(super) fn note_stop(&mut self, thread: ThreadId, after: Duration) {
        if self.thread != Some(thread) || after >= SOON {
            self.release();
            self.thread = Some(thread);
            return;
        }
        self.stops += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.stops > STRETCH {
            (self.stops, self.since) = (0, None);
            self.stretch(thread, since.elapsed());
        }
    }

    /// A stretch took so long.
    fn stretch(&mut self, thread: ThreadId, took: Duration) {
        let is_of_use = took < self.away.mul_f64(0.9);
        match self.home {
            None if self.rest > 0 => self.rest -= 1,
            None => {
                self.away = took;
                self.go(thread);
            }
            Some(_) if is_of_use => self.go(thread),
            Some(_) => self.stay_away(thread),
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
        (self.thread, self.stops, self.since) = (None, 0, None);
    }

    fn go(&mut self, thread: ThreadId) {
        let Some(stat) = ProcRoot::default().stat(thread.0).filter(|stat| FAIR.contains(&stat.policy)) else {
            return self.stay_away(thread);
        };
        let Ok(home) = self.home.map_or_else(|| sched_getaffinity(None), Ok) else { return self.stay_away(thread) };
        let mut there = CpuSet::new();
        if (stat.processor as usize) < CpuSet::MAX_CPU {
            there.set(stat.processor as usize);
        }
        // Some may not be for us.
        match sched_setaffinity(None, &there) {
            Ok(()) => self.home = Some(home),
            Err(_) => self.stay_away(thread),
        }
    }

    fn stay_away(&mut self, thread: ThreadId) {
        self.release();
        self.thread = Some(thread);
        self.rest = REST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(8);

    /// How many processors the calling thread may use.
    fn allowed() -> u32 {
        sched_getaffinity(None).unwrap().count()
    }

    fn own() -> ThreadId {
        ThreadId(crate::sys::signal::own_tid())
    }

    #[test]
    fn the_tracer_stays_with_a_thread_while_that_is_of_use() {
        let (all, slow) = (allowed(), Duration::from_millis(10));
        let mut nearness = Nearness::default();
        (0..=STRETCH + 1).for_each(|_| nearness.note_stop(own(), QUICK));
        assert!(nearness.is_near());
        assert_eq!(allowed(), 1);
        nearness.away = slow;
        (0..4).for_each(|_| nearness.stretch(own(), slow / 2));
        assert!(nearness.is_near());
        // Another thread is nobody's reason to stay.
        nearness.note_stop(ThreadId(1), QUICK);
        assert!(!nearness.is_near());
        assert_eq!(allowed(), all);
    }

    #[test]
    fn where_it_is_of_no_use_it_stays_away_for_a_while() {
        let took = Duration::from_millis(10);
        let mut nearness = Nearness::default();
        nearness.stretch(own(), took);
        assert!(nearness.is_near());
        nearness.stretch(own(), took);
        for _ in 0..REST {
            assert!(!nearness.is_near());
            nearness.stretch(own(), took);
        }
        assert!(!nearness.is_near());
        nearness.stretch(own(), took);
        assert!(nearness.is_near());
        nearness.release();
    }

    #[test]
    fn stops_that_are_rare_are_no_reason() {
        let mut nearness = Nearness::default();
        (0..10 * STRETCH).for_each(|_| nearness.note_stop(own(), SOON));
        assert!(!nearness.is_near());
    }
}
