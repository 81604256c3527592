//! Waiting for whatever comes first: a thread, the link, the wish to break in, the end of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_base::{ProcessId, ThreadId};
use outpost_target::{BreakpointId, Event, StopReason, StopScope, TargetError, Waited};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::sentinel::{Sentinel, Watched, ready, timeout};
use super::{Part, Report, Tracer};
use crate::sys::ptrace_wait::{WaitStatus, Whom, wait_blocking, wait_now};

/// While nobody runs, only death can come from a tracee; it is looked for this often until the link is quiet for so long.
const STOPPED_LOOK: Duration = Duration::from_millis(50);

/// While one thread runs and others are held, their death is looked for this often: by exec or exit of the one they are
/// ended, and the kernel waits for them.
const HELD_LOOK: Duration = Duration::from_millis(20);

/// A thread that stops again within this is looked for without sleeping, where it takes [`SLOW`] to be woken: on a virtual
/// machine whose processors idle, that is several times what a step takes.
pub(super) const SOON: Duration = Duration::from_micros(150);
/// Where to sleep and be woken takes less, that is done.
const SLOW: Duration = Duration::from_micros(25);
/// Whoever waits no longer than this counts on a stop as soon.
const BRIEF: Duration = Duration::from_millis(1);
/// While stops come so soon that the sentinel is not asked, the descriptors are looked at this often.
const OTHERS_LOOK: Duration = Duration::from_millis(4);
/// With more threads than this, there is always somebody who does something soon, and each look costs more.
const FEW: usize = 4;
/// Others have the processor when it takes this long to get it back: whoever sleeps has it sooner then, since he is woken
/// ahead of them.
const CROWDED: Duration = Duration::from_micros(40);
/// After that, sleeping it is for so long.
const CROWDED_FOR: Duration = Duration::from_millis(50);
/// Pauses of the processor between two looks, each of some tens of nanoseconds: the kernel's list of processes is everybody's.
const PAUSES: u32 = 24;

/// What ended one wait.
enum Woken {
    Status(ThreadId, WaitStatus),
    BreakIn,
    Others,
    TimedOut,
}

impl Tracer {
    /// Waits for an event. While threads run, the caller blocks in wait4 and the sentinel watches the rest.
    pub(crate) fn wait_event(
        &mut self,
        limit: Option<Duration>,
        others: &[Watched<'_>],
    ) -> Result<Waited, TargetError> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        // However much is written down, everybody else has his turn in between.
        let mut may_log = !std::mem::take(&mut self.has_logged);
        let waited = loop {
            if let Some(event) = self.next_event(may_log) {
                self.has_logged = matches!(event, Event::Logged { .. });
                break Waited::Event(event);
            }
            if !std::mem::replace(&mut may_log, true) {
                if self.break_in.is_wanted() {
                    self.ask_break_in();
                } else if ready(others) {
                    break Waited::OtherReadable;
                } else if let Some((tid, status)) = self.status_now(Whom::Any) {
                    self.on_status(tid, status);
                }
                continue;
            }
            let due = self.logs.due(!self.out.is_empty());
            match self.wait_next(deadline, due, others)? {
                Woken::Status(tid, status) => self.on_status(tid, status),
                Woken::BreakIn => self.ask_break_in(),
                Woken::Others => break Waited::OtherReadable,
                // What was written down is told next.
                Woken::TimedOut if self.logs.is_due() || self.logs.is_to_look() => {}
                Woken::TimedOut => break Waited::TimedOut,
            }
        };
        if let Some(sentinel) = &self.sentinel {
            sentinel.disarm();
        }
        // Processes that are made from here on would be bound to it as well.
        self.nearness.release();
        Ok(waited)
    }

    /// The next event that is ready to be told. What was written down is one where it `may_log`, and ahead of any other.
    fn next_event(&mut self, may_log: bool) -> Option<Event> {
        let has_looked = may_log && self.logs.is_to_look();
        if has_looked {
            self.drain_all_logs();
        }
        loop {
            if (has_looked || (may_log && self.logs.is_due()) || !self.events.is_empty())
                && let Some(logged) = self.take_logged()
            {
                return Some(logged);
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let index = self.reports.iter().position(|report| self.is_deliverable(report))?;
            let report = self.reports.remove(index)?;
            if let Some(bundle) = self.deliver(report) {
                self.events.push_back(Event::Stopped(bundle));
            }
        }
    }

    /// Whether the client may be told of a report now: its thread is not part of a stop he has still to answer.
    fn is_deliverable(&self, report: &Report) -> bool {
        self.threads.get(&report.thread).is_none_or(|thread| !thread.held)
    }

    pub(super) fn has_deliverable_report(&self) -> bool {
        self.reports.iter().any(|report| self.is_deliverable(report))
    }

    /// Reports that wait behind the one delivered last.
    pub(crate) fn queued_reports(&self) -> u32 {
        self.reports.iter().filter(|report| !self.is_deliverable(report)).count() as u32
    }

    /// A breakpoint is gone: stops for it that the client has not seen are none. A thread that stands there for nothing
    /// else executes what is there now.
    pub(crate) fn forget_queued_hits(&mut self, gone: BreakpointId) {
        let mut dropped = Vec::new();
        self.reports.retain_mut(|report| {
            let StopReason::Breakpoint { ids } = &mut report.reason else { return true };
            let before = ids.len();
            ids.retain(|id| *id != gone);
            let stays = !ids.is_empty() || before == 0;
            if !stays {
                dropped.push(report.thread);
            }
            stays
        });
        for tid in dropped {
            let others_judged = self.threads.get(&tid).and_then(|thread| thread.arrival).is_some_and(|arrival| {
                self.space_of(tid)
                    .and_then(|space| space.sites.get(arrival.pc))
                    .is_some_and(|site| !site.owners.is_empty())
            });
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            if !others_judged {
                thread.arrival = None;
            }
            if !thread.held && matches!(thread.part, Part::Hold) {
                thread.part = Part::Run;
                self.settle(tid);
            }
        }
    }

    /// Forgets what a process has to report.
    pub(super) fn forget_reports(&mut self, process: ProcessId) {
        self.reports.retain(|report| report.process != process);
    }

    /// The client wants to break in: reported for a thread that runs, if any does.
    fn ask_break_in(&mut self) {
        self.break_in.take();
        let last = self.last_stop.as_ref().map(|bundle| bundle.stop.thread);
        let runs = |tid: &ThreadId| {
            self.threads.get(tid).is_some_and(|thread| thread.is_out() && !thread.held) && !self.is_hidden(*tid)
        };
        let first = self.threads.values().filter(|thread| runs(&thread.id)).min_by_key(|thread| thread.sequence);
        let Some(tid) = last.filter(runs).or(first.map(|thread| thread.id)) else { return };
        if self.rules.scope == StopScope::Thread {
            self.rules.scope = StopScope::System;
        }
        let Some(thread) = self.threads.get(&tid) else { return };
        let report = Report { process: thread.process, thread: tid, reason: StopReason::BreakIn, trace: Vec::new() };
        self.reports.push_back(report);
    }

    /// Waits to a deadline at most; and not beyond `due`, which is one, too, but no reason to look for a stop soon.
    fn wait_next(
        &mut self,
        deadline: Option<Instant>,
        due: Option<Instant>,
        others: &[Watched<'_>],
    ) -> Result<Woken, TargetError> {
        let (asked, deadline) = (deadline, deadline.into_iter().chain(due).min());
        let mut quiet_until = None;
        loop {
            if self.break_in.is_wanted() {
                return Ok(Woken::BreakIn);
            }
            if self.sentinel.as_ref().is_some_and(Sentinel::has_fired) {
                if let Some(sentinel) = &self.sentinel {
                    sentinel.disarm();
                }
                if ready(others) {
                    return Ok(Woken::Others);
                }
                if let Some((tid, status)) = self.status_now(Whom::Any) {
                    return Ok(Woken::Status(tid, status));
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Woken::TimedOut);
            }
            if self.out.is_empty() {
                if let Some((tid, status)) = self.status_now(Whom::Any) {
                    return Ok(Woken::Status(tid, status));
                }
                let quiet_until = *quiet_until.get_or_insert_with(|| Instant::now() + STOPPED_LOOK);
                let nobody = self.threads.is_empty();
                if nobody || Instant::now() < quiet_until {
                    let until =
                        if nobody { deadline } else { Some(deadline.map_or(quiet_until, |d| d.min(quiet_until))) };
                    if self.poll(until, others)? {
                        return Ok(Woken::Others);
                    }
                    continue;
                }
            }
            // To wait for the only one that runs is much cheaper where there are many.
            let only = self.out.iter().next().filter(|_| self.out.len() == 1).copied();
            let whom = match only.and_then(|only| self.threads.get(&only)) {
                Some(thread) if !thread.is_exiting => Whom::Thread(thread.id.0),
                _ => Whom::Any,
            };
            let look = (matches!(whom, Whom::Thread(_)) && self.threads.len() > 1).then(|| Instant::now() + HELD_LOOK);
            let begin = Instant::now();
            if !others.is_empty() && begin >= self.look_at_others {
                self.look_at_others = begin + OTHERS_LOOK;
                if ready(others) {
                    return Ok(Woken::Others);
                }
            }
            let brief = asked.filter(|deadline| *deadline <= begin + BRIEF);
            if let Some((tid, status)) = self.look_soon(whom, brief.unwrap_or(begin + SOON), brief.is_some()) {
                self.nearness.note_stop(tid, begin.elapsed());
                return Ok(Woken::Status(tid, status));
            }
            if brief.is_some_and(|until| Instant::now() >= until) {
                continue;
            }
            self.arm(look.into_iter().chain(deadline).min(), others)?;
            match wait_blocking(whom) {
                Ok((tid, status)) => {
                    let elapsed = begin.elapsed();
                    self.stops_soon = (SLOW..SOON).contains(&elapsed);
                    self.nearness.note_stop(ThreadId(tid), elapsed);
                    return Ok(Woken::Status(ThreadId(tid), status));
                }
                Err(Errno::CHILD) => match self.status_now(Whom::Any) {
                    Some((tid, status)) => return Ok(Woken::Status(tid, status)),
                    None => self.forget_lost(whom),
                },
                Err(_) => {}
            }
        }
    }

    /// Looks for a status for a moment, if the last one came so soon or this one is expected to.
    fn look_soon(&mut self, whom: Whom, until: Instant, is_expected: bool) -> Option<(ThreadId, WaitStatus)> {
        let is_crowded = self.crowded_until.is_some_and(|until| Instant::now() < until);
        if !(self.stops_soon || is_expected) || is_crowded || self.threads.len() > FEW || self.nearness.is_near() {
            return None;
        }
        let mut now = Instant::now();
        while now < until && self.crowded_until.is_none_or(|crowded| crowded < now) && !self.break_in.is_wanted() {
            // The thread may well be waiting for this very processor.
            std::thread::yield_now();
            let before = std::mem::replace(&mut now, Instant::now());
            let found = self.status_now(whom);
            if found.is_some() {
                return found;
            }
            // It was not the thread that had it meanwhile.
            if now - before > CROWDED {
                self.crowded_until = Some(now + CROWDED_FOR);
            }
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
        self.stops_soon = false;
        None
    }

    fn status_now(&self, whom: Whom) -> Option<(ThreadId, WaitStatus)> {
        wait_now(whom).ok().flatten().map(|(tid, status)| (ThreadId(tid), status))
    }

    /// The kernel knows nobody of that id: whoever was reaped elsewhere, or took another id by exec, is gone.
    fn forget_lost(&mut self, whom: Whom) {
        let lost: Vec<ThreadId> = match whom {
            Whom::Thread(tid) => vec![ThreadId(tid)],
            Whom::Any => self.out.iter().copied().collect(),
        };
        for tid in lost {
            match self.threads.contains_key(&tid) {
                true => self.thread_ended(tid, outpost_target::ExitStatus::Unknown),
                false => drop(self.out.remove(&tid)),
            }
        }
    }

    /// Polls the descriptors; `true`: one of `others` is readable.
    fn poll(&self, until: Option<Instant>, others: &[Watched<'_>]) -> Result<bool, TargetError> {
        let break_in = self.break_in.descriptor();
        let mut polled = vec![PollFd::from_borrowed_fd(break_in, PollFlags::IN)];
        polled.extend(others.iter().map(|(other, flags)| PollFd::from_borrowed_fd(*other, *flags)));
        match poll(&mut polled, timeout(until).as_ref()) {
            Ok(_) => Ok(polled.iter().skip(1).any(|other| !other.revents().is_empty())),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(crate::error::os_error("poll", errno)),
        }
    }

    fn arm(&mut self, deadline: Option<Instant>, others: &[Watched<'_>]) -> Result<(), TargetError> {
        let sentinel = match self.sentinel.take() {
            Some(sentinel) => sentinel,
            None => {
                // It would be bound as the tracer is.
                self.nearness.release();
                Sentinel::start(Arc::clone(&self.break_in))
                    .map_err(|errno| crate::error::os_error("start the sentinel", errno))?
            }
        };
        self.sentinel.insert(sentinel).arm(deadline, others);
        Ok(())
    }
}
