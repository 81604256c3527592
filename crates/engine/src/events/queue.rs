//! Waiting for events of all systems on one thread.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use outpost_target::{Event, Severity, StopReason, TargetError, Waited};

use super::{EngineEvent, Notice, Wait};
use crate::{Engine, EngineError, SystemOrdinal};

/// How long one system is waited for while another has no descriptor that could wake us.
const POLL: Duration = Duration::from_millis(10);
/// How long another system may take to stop once one has; then it is left running.
const BREAK_IN_LIMIT: Duration = Duration::from_secs(5);

impl Engine {
    /// Whether a stop is known already that nobody was told of.
    pub fn is_stop_due(&self) -> bool {
        self.queue.iter().any(|event| matches!(event, EngineEvent::Stopped(_)))
    }

    /// The next event that is known already, such as what a target said to a breakpoint that it was told of.
    pub fn queued_event(&mut self) -> Option<EngineEvent> {
        self.queue.pop_front()
    }

    /// Waits for the next event, for one of the caller's descriptors to become readable, or for the time to pass.
    ///
    /// Stops that nobody wants to see (a filter ignores them, a condition is false, a step is not done) are dealt with
    /// inside; the wait goes on.
    ///
    /// # Errors
    /// [`EngineError::NotRunning`] if nothing runs and no event can come; [`EngineError::Target`].
    #[doc(alias = "WaitForEvent")]
    pub fn wait(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Wait, EngineError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Wait::Event(event));
            }
            if let Some((system, event)) = self.next_pending() {
                self.take_event(system, event)?;
                continue;
            }
            let live: Vec<SystemOrdinal> =
                self.systems.iter().filter(|system| system.is_live()).map(|system| system.ordinal).collect();
            let runs = self.systems.iter().any(|system| system.running);
            if live.is_empty() || (!runs && timeout.is_none() && others.is_empty()) {
                return Err(EngineError::NotRunning);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.wait_once(&live, left, others)? {
                Some(Wait::TimedOut) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                Some(other) => return Ok(other),
                None => {}
            }
        }
    }

    /// One wait on all live systems; `None` if events were taken in.
    fn wait_once(
        &mut self,
        live: &[SystemOrdinal],
        left: Option<Duration>,
        others: &[BorrowedFd<'_>],
    ) -> Result<Option<Wait>, EngineError> {
        let [first, rest @ ..] = live else { return Err(EngineError::NotRunning) };
        let handles: Vec<_> = rest
            .iter()
            .map(|&ordinal| self.system(ordinal).map(|system| system.target.clone()))
            .collect::<Result<_, _>>()?;
        let waited = {
            let mut borrowed: Vec<_> = handles.iter().map(|handle| handle.borrow_mut()).collect();
            let sources: Vec<Option<BorrowedFd<'_>>> = borrowed
                .iter_mut()
                .map(|target| target.as_live().map(|live| &*live).and_then(|live| live.event_source()))
                .collect();
            let must_poll = sources.iter().any(Option::is_none);
            let all: Vec<BorrowedFd<'_>> = others.iter().copied().chain(sources.into_iter().flatten()).collect();
            let timeout = if must_poll { Some(left.map_or(POLL, |left| left.min(POLL))) } else { left };
            wait_on(&self.system(*first)?.target.clone(), timeout, &all)
        };
        match waited {
            Ok(Waited::Event(event)) => {
                self.take_event(*first, event)?;
                return Ok(None);
            }
            Ok(Waited::TimedOut) if rest.is_empty() => return Ok(Some(Wait::TimedOut)),
            Ok(Waited::OtherReadable) if rest.is_empty() => return Ok(Some(Wait::OtherReadable)),
            Ok(_) => {}
            Err(error) => {
                self.target_failed(*first, error)?;
                return Ok(None);
            }
        }
        let mut any = false;
        for &system in rest {
            let handle = self.system(system)?.target.clone();
            match wait_on(&handle, Some(Duration::ZERO), &[]) {
                Ok(Waited::Event(event)) => {
                    any = true;
                    self.take_event(system, event)?;
                }
                Ok(_) => {}
                Err(error) => {
                    any = true;
                    self.target_failed(system, error)?;
                }
            }
        }
        Ok(match (any, waited) {
            (true, _) => None,
            (false, Ok(Waited::OtherReadable)) => Some(Wait::OtherReadable),
            (false, _) => Some(Wait::TimedOut),
        })
    }

    /// An event that arrived while something else was waited for.
    fn next_pending(&mut self) -> Option<(SystemOrdinal, Event)> {
        self.systems.iter_mut().find_map(|system| Some((system.ordinal, system.pending.pop_front()?)))
    }

    /// Turns a target's event into the engine's.
    pub(crate) fn take_event(&mut self, system: SystemOrdinal, event: Event) -> Result<(), EngineError> {
        match event {
            Event::Stopped(bundle) => {
                self.take_stop(system, bundle)?;
                if !self.queue.is_empty() {
                    self.stop_other_systems(system);
                }
            }
            Event::Trace { thread, steps } => {
                if let Some(thread) = self.thread_ordinal(system, thread) {
                    self.emit_steps(thread, steps);
                }
            }
            // The new list comes with the next stop, and tells what changed.
            Event::Noticed(record) if record.reason == StopReason::ModulesChanged => {}
            Event::Noticed(record) => {
                let filter = self.filters.of_reason(&record.reason);
                let told =
                    filter.filter(|filter| filter.status != super::BreakStatus::Ignore).map(|filter| filter.code);
                if let Some(filter) = told {
                    self.queue.push_back(EngineEvent::Noticed(Notice::Event {
                        filter,
                        process_id: record.process,
                        thread_id: record.thread,
                        reason: record.reason,
                    }));
                }
            }
            Event::Logged { records, dropped } => {
                let logged = self.logged(records, dropped);
                self.queue.push_back(EngineEvent::Logged(logged));
            }
            Event::Output(output) => {
                let process = self.process_by_id(system, output.process).map(|process| process.ordinal);
                let process = process.unwrap_or_default();
                let (stream, bytes) = (output.stream, output.bytes);
                self.queue.push_back(EngineEvent::Output { process, stream, bytes });
            }
            Event::ProcessAppeared { process, name } => {
                self.queue.push_back(EngineEvent::ProcessAppeared { system, process, name });
            }
            Event::ServerEnding { reason } => self.queue.push_back(EngineEvent::ServerEnding { system, reason }),
            _ => {}
        }
        Ok(())
    }

    /// All systems stop together: where one has something to show, the others are asked to stop, too.
    fn stop_other_systems(&mut self, stopped: SystemOrdinal) {
        if self.state() != crate::EngineState::Running {
            return;
        }
        let running = self.systems.iter().filter(|system| system.ordinal != stopped && system.running);
        let running: Vec<_> = running.map(|system| (system.ordinal, system.target.clone())).collect();
        for (ordinal, target) in running {
            if let Some(live) = target.borrow_mut().as_live() {
                live.interrupter().break_in();
            }
            let deadline = Instant::now() + BREAK_IN_LIMIT;
            while Instant::now() < deadline {
                let event = match wait_on(&target, Some(BREAK_IN_LIMIT), &[]) {
                    Ok(Waited::Event(event)) => event,
                    Ok(_) => continue,
                    // It is told when that system is waited for the next time.
                    Err(_) => break,
                };
                match event {
                    // Only the stop that we caused ourselves is no event.
                    Event::Stopped(mut bundle) if bundle.stop.reason == StopReason::BreakIn => {
                        let _ = self.absorb_bundle(ordinal, &mut bundle);
                        break;
                    }
                    Event::Stopped(bundle) => {
                        if let Ok(system) = self.system_mut(ordinal) {
                            system.running = false;
                            system.pending.push_back(Event::Stopped(bundle));
                        }
                        break;
                    }
                    event => {
                        if let Ok(system) = self.system_mut(ordinal) {
                            system.pending.push_back(event);
                        }
                    }
                }
            }
        }
        self.interrupter.set_running(self.systems.iter().any(|system| system.running));
    }

    /// A target failed while it was waited for: the whole system is gone, or the failure is the caller's.
    fn target_failed(&mut self, system: SystemOrdinal, error: TargetError) -> Result<(), EngineError> {
        if error.severity() != Severity::Connection {
            return Err(error.into());
        }
        let name = self.system(system)?.info.name.clone();
        let reason = match &error {
            TargetError::ConnectionLost { reason } => reason.clone(),
            other => other.to_string(),
        };
        self.end_operation();
        self.remove_system(system)?;
        self.interrupter.set_running(self.systems.iter().any(|system| system.running));
        self.queue.push_back(EngineEvent::SystemLost { system, name, reason });
        Ok(())
    }
}

fn wait_on(
    handle: &crate::system::TargetHandle,
    timeout: Option<Duration>,
    others: &[BorrowedFd<'_>],
) -> Result<Waited, TargetError> {
    let mut target = handle.borrow_mut();
    match target.as_live() {
        Some(live) => live.wait_event(timeout, others),
        None => Ok(Waited::TimedOut),
    }
}
