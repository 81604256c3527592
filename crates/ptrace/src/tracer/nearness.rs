//! Waiting on the very processor of a thread that stops again and again.
//!
//! Each stop wakes the tracer, and each resumption wakes the thread. On two processors that idle in between, that is most
//! of what a stop costs. On one processor each is switched to as the other sleeps, and nobody idles; but the kernel sends
//! the thread to an idle processor as it wakes it. One that runs nobody but threads of SCHED_IDLE counts as such
//! (`select_idle_sibling` in kernel/sched/fair.c), so the tracer takes that policy where the thread was sent away, if it may
//! take its own back. Whether all this is of use is measured: the tracer goes where the thread is, stays if stops come
//! quicker then, and goes back as soon as anything else happens, as where somebody else wants that processor. Only the
//! tracer changes: what the debuggee was given it keeps.

use std::time::{Duration, Instant};

use outpost_base::ThreadId;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::waiting::SOON;
use crate::os::ProcRoot;
use crate::sys::scheduling::{Policy, idle_is_left_again};

/// Stops of one thread in a row that are timed together.
const STRETCH: u32 = 32;
/// Stretches in a row that were no quicker, after each of which the thread was followed to where it is: then it is of no use.
const VAIN: u32 = 10;
/// After so many of these the thread was sent away since another processor idles.
const SENT_AWAY: u32 = 2;
/// Stretches before it is tried again where it was of no use.
const REST: u32 = 512;
/// Stretches before it is tried again after it was near: the two stay together for some time.
const SETTLING: u32 = 8;
/// Quick stretches after which it was of use, although it ended.
const LASTING: u32 = 64;

/// Where the tracer is, and why.
#[derive(Default)]
pub(super) struct Nearness {
    /// What it goes back to; `None`: it is not near a thread.
    home: Option<Home>,
    thread: Option<ThreadId>,
    /// Stops of this stretch, and when it began.
    stops: u32,
    since: Option<Instant>,
    /// How long a stretch takes where it is not near, lately.
    away: Duration,
    /// Stretches where it was near and they were quicker, and the last in a row that were not.
    quick: u32,
    vain: u32,
    /// Stretches before the next trial.
    rest: u32,
}

/// How the tracer is scheduled where it is not near a thread.
#[derive(Clone, Copy)]
struct Home {
    processors: CpuSet,
    policy: Policy,
}

impl Nearness {
    /// A thread stopped, so long after it was waited for.
    pub(super) fn note_stop(&mut self, thread: ThreadId, after: Duration) {
        if self.thread != Some(thread) || after >= SOON {
            // Whoever wants that processor has it first, and for long.
            if self.is_near() && self.quick < LASTING {
                return self.stay_away(thread);
            }
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
            None => {
                self.away = if self.away.is_zero() { took } else { (self.away * 3 + took) / 4 };
                match self.rest {
                    0 => self.go(thread),
                    _ => self.rest -= 1,
                }
            }
            Some(_) if is_of_use => (self.quick, self.vain) = (self.quick.saturating_add(1), 0),
            // Whoever ran there for a moment has sent the thread elsewhere.
            Some(_) if self.vain < VAIN => {
                self.vain += 1;
                if self.vain == SENT_AWAY && idle_is_left_again() {
                    let _ = Policy::IDLE.take();
                }
                self.go(thread);
            }
            Some(_) => self.stay_away(thread),
        }
    }

    /// Whether the tracer is where a thread is, so that it must sleep for that to run.
    pub(super) fn is_near(&self) -> bool {
        self.home.is_some()
    }

    /// Goes back to all processors that the tracer may use, and to its policy.
    pub(super) fn release(&mut self) {
        if let Some(home) = self.home.take() {
            let _ = home.policy.take();
            let _ = sched_setaffinity(None, &home.processors);
            (self.away, self.rest) = (Duration::ZERO, self.rest.max(SETTLING));
        }
        (self.thread, self.stops, self.since) = (None, 0, None);
    }

    fn go(&mut self, thread: ThreadId) {
        // A thread of another policy could keep the tracer waiting for ever.
        let Some(stat) = ProcRoot::default().stat(thread.0).filter(|stat| Policy::fair(stat.policy).is_some()) else {
            return self.stay_away(thread);
        };
        let Some(home) = self.home.or_else(Home::now) else { return self.stay_away(thread) };
        let mut there = CpuSet::new();
        if (stat.processor as usize) < CpuSet::MAX_CPU {
            there.set(stat.processor as usize);
        }
        // Some may not be for us.
        if sched_setaffinity(None, &there).is_err() {
            return self.stay_away(thread);
        }
        if self.home.replace(home).is_none() {
            (self.quick, self.vain) = (0, 0);
        }
    }

    fn stay_away(&mut self, thread: ThreadId) {
        self.rest = REST;
        self.release();
        self.thread = Some(thread);
    }
}

impl Home {
    fn now() -> Option<Home> {
        Some(Home { processors: sched_getaffinity(None).ok()?, policy: Policy::own()? })
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

    /// One that is near the calling thread, where stretches took so long before.
    fn near(away: Duration) -> Nearness {
        let mut nearness = Nearness { away, thread: Some(own()), ..Nearness::default() };
        nearness.stretch(own(), away);
        assert!(nearness.is_near());
        nearness
    }

    #[test]
    fn the_tracer_stays_with_a_thread_while_that_is_of_use() {
        let (all, policy, slow) = (allowed(), Policy::own(), Duration::from_millis(10));
        let mut nearness = Nearness::default();
        (0..=STRETCH + 1).for_each(|_| nearness.note_stop(own(), QUICK));
        assert!(nearness.is_near());
        assert_eq!(allowed(), 1);
        nearness.away = slow;
        // Somebody ran there for a moment, and again.
        for took in [slow / 2, slow, slow / 2, slow, slow / 2] {
            nearness.stretch(own(), took);
            assert!(nearness.is_near());
        }
        assert_eq!(Policy::own(), policy);
        // Another thread is nobody's reason to stay.
        nearness.note_stop(ThreadId(1), QUICK);
        assert!(!nearness.is_near());
        assert_eq!(allowed(), all);
    }

    #[test]
    fn where_the_thread_is_sent_away_the_tracer_yields_to_all() {
        let (policy, slow) = (Policy::own(), Duration::from_millis(10));
        let mut nearness = near(slow);
        (0..SENT_AWAY).for_each(|_| nearness.stretch(own(), slow));
        assert!(nearness.is_near());
        // Without the privilege to come back it does not.
        assert_eq!(Policy::own() == Some(Policy::IDLE), idle_is_left_again());
        nearness.release();
        assert_eq!(Policy::own(), policy);
    }

    #[test]
    fn where_it_is_of_no_use_it_stays_away_for_a_while() {
        let took = Duration::from_millis(10);
        let mut nearness = near(took);
        (0..=VAIN).for_each(|_| nearness.stretch(own(), took));
        for _ in 0..REST {
            assert!(!nearness.is_near());
            nearness.stretch(own(), took);
        }
        assert!(!nearness.is_near());
        nearness.stretch(own(), took);
        assert!(nearness.is_near());
        // Whoever waits for the processor right after it came is in nobody's way, either.
        nearness.note_stop(own(), SOON);
        assert!(!nearness.is_near());
        assert_eq!(nearness.rest, REST);
    }

    #[test]
    fn after_long_use_it_is_soon_tried_again() {
        let slow = Duration::from_millis(10);
        let mut nearness = near(slow);
        (0..LASTING).for_each(|_| nearness.stretch(own(), slow / 2));
        nearness.note_stop(own(), SOON);
        assert!(!nearness.is_near());
        assert_eq!(nearness.rest, SETTLING);
    }

    #[test]
    fn stops_that_are_rare_are_no_reason() {
        let mut nearness = Nearness::default();
        (0..10 * STRETCH).for_each(|_| nearness.note_stop(own(), SOON));
        assert!(!nearness.is_near());
    }
}
