//! A session without a link: held, resumed, taken over, given up.
//!
//! | state | what happens | then |
//! | --- | --- | --- |
//! | served | the link breaks, and the policy holds | held; what was stopped stays so, or runs on (`run`) |
//! | served | the link breaks, and the policy lets go or ends | over |
//! | served | its client comes over another link: the old one is replaced | served |
//! | held | its client comes back | served: all it has not seen is sent again |
//! | held or served | its client asks for it once more, since it has not heard that it is open | served: it is told |
//! | held | another client takes over | served: breakpoints cleared, all stopped, begun anew |
//! | held | nobody comes in time | over, by the exit policy |
//!
//! While it is held the target's events are taken in and kept, up to the bound of [`super::kept`]; beyond it they stay
//! where they are, and a debuggee that makes more of them waits. Nothing is dropped.

use std::time::{Duration, Instant};

use outpost_target::{BreakpointChange, Event, Plan, StopReason, ThreadRunState, Waited};
use outpost_wire::{
    FrameQueue, FrameReader, Header, MAX_REQUEST_FRAME, OPEN_REQUEST, OnLost, RefusalCode, encode_refusal,
    encode_resumed,
};
use rustix::event::epoll;

use super::{Claim, LINK, NewLink, Session, SessionEnd, Standing};
use crate::session::kept::Kept;

/// How long a debuggee may take to stop for a client that takes over.
const SETTLE: Duration = Duration::from_secs(5);

/// Since when a session has no link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    until: Instant,
    grace: Duration,
}

impl Held {
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Session<'_> {
    /// Holds the session after an end that came over its link, if that is its policy; else gives the end back.
    pub(super) fn lose_link(&mut self, end: SessionEnd) -> Result<(), SessionEnd> {
        let SessionEnd::LinkLost(reason) = &end else { return Err(end) };
        if !self.agreed.resume {
            return Err(end);
        }
        self.unlink();
        let grace = match self.on_lost {
            OnLost::Hold(Some(grace)) | OnLost::Run(Some(grace)) if !grace.is_zero() => grace,
            OnLost::Detach => {
                self.let_all_go();
                return Err(end);
            }
            OnLost::Kill => {
                self.end_all();
                return Err(end);
            }
            _ => return Err(end),
        };
        self.superior.log(format_args!("link lost: {reason}; held for {} s", grace.as_secs()));
        self.superior.note(Standing::Held(grace));
        self.held = Some(Held { until: Instant::now() + grace, grace });
        self.run_on();
        Ok(())
    }

    /// The end, once nobody has come in time.
    pub(super) fn check_grace(&self) -> Result<(), SessionEnd> {
        match self.held {
            Some(held) if held.left().is_zero() => Err(SessionEnd::GivenUp(held.grace)),
            _ => Ok(()),
        }
    }

    /// Forgets the link and all that was on its way over it; what must not be lost is kept elsewhere.
    fn unlink(&mut self) {
        if let Some(link) = self.link.take() {
            let _ = epoll::delete(&self.watch, &link);
            link.shutdown();
        }
        self.reader = FrameReader::new(MAX_REQUEST_FRAME);
        self.queue = FrameQueue::new();
    }

    fn let_all_go(&mut self) {
        if let Some(live) = self.target.as_live()
            && let Err(error) = live.set_detach_on_exit(true)
        {
            self.superior.log(format_args!("-onlost detach: {error}"));
        }
    }

    fn end_all(&mut self) {
        let processes = self.target.processes().unwrap_or_default();
        let Some(live) = self.target.as_live() else { return };
        for process in processes {
            if let Err(error) = live.kill(process.id) {
                self.superior.log(format_args!("-onlost kill: process {}: {error}", process.id));
            }
        }
    }

    /// With the policy `run`: sets going what is stopped.
    fn run_on(&mut self) {
        if !matches!(self.on_lost, OnLost::Run(_)) || !self.is_anything_stopped() {
            return;
        }
        let Some(generation) = self.target.last_stop().map(|stop| stop.generation) else { return };
        let Some(live) = self.target.as_live() else { return };
        match live.resume(&Plan::run_all(generation)) {
            Ok(()) => self.moved = true,
            Err(error) => self.superior.log(format_args!("-onlost run: {error}")),
        }
    }

    /// An event that comes while nobody is there; gives it back if it is to be kept.
    pub(super) fn note_unattended(&mut self, event: Event) -> Option<Event> {
        match &event {
            Event::Stopped(stop) if matches!(self.on_lost, OnLost::Run(_)) => {
                self.superior
                    .log(format_args!("stopped while nobody is there: {}; runs on", name_of(&stop.stop.reason)));
                // Whoever takes over reads the state anew, and the one before cannot come back to one it never saw.
                self.moved = true;
                self.run_on();
                None
            }
            _ => Some(event),
        }
    }

    fn run_states(&mut self) -> Vec<ThreadRunState> {
        let processes = self.target.processes().unwrap_or_default();
        let threads = processes.iter().flat_map(|process| self.target.threads(process.id).unwrap_or_default());
        threads.map(|thread| thread.state).collect()
    }

    fn is_anything_stopped(&mut self) -> bool {
        self.run_states().contains(&ThreadRunState::Stopped)
    }

    fn is_anything_running(&mut self) -> bool {
        self.run_states().contains(&ThreadRunState::Running)
    }

    /// Goes on over a new link, or refuses it there.
    pub(super) fn take_link(&mut self, new: NewLink) {
        let refusal = match &new.claim {
            Claim::Resume { .. } if self.moved => Some(
                "it was set running when its link was lost (-onlost run); take it \
                                                       over by -resume",
            ),
            Claim::Resume { seen } if *seen > self.event || !self.kept.reaches_back_to(*seen) => {
                Some("what its client says it has seen cannot be")
            }
            Claim::Open if self.event > 0 || self.carried_out > OPEN_REQUEST => Some("its client had heard of it"),
            Claim::TakeOver { .. } if self.held.is_none() => Some("it has a client"),
            _ => None,
        };
        if let Some(reason) = refusal {
            self.superior.log(format_args!("not resumed: {reason}"));
            self.refuse(new, reason);
            // The guardian took it for served.
            if let Some(held) = self.held {
                self.superior.note(Standing::Held(held.left()));
            }
            return;
        }
        if self.link.is_some() {
            self.superior.log(format_args!("its client comes over another link; the old one is closed"));
        }
        self.unlink();
        let watched = epoll::EventFlags::IN;
        let prepared = new
            .connection
            .set_nonblocking(true)
            .and_then(|()| Ok(epoll::add(&self.watch, &new.connection, epoll::EventData::new_u64(LINK), watched)?));
        if let Err(error) = prepared {
            // Without a link it is lost again; the client will try once more.
            self.superior.log(format_args!("not resumed: {error}"));
            let grace = self.on_lost.grace();
            self.held.get_or_insert(Held { until: Instant::now() + grace, grace });
            return;
        }
        self.watched = watched;
        self.agreed = new.agreed;
        let opened = Header { request: new.request, ..Header::default() };
        match new.claim {
            Claim::Resume { seen } => {
                self.link = Some(new.connection);
                self.kept.note_seen(seen);
                self.push(opened, encode_resumed(self.carried_out));
                for frame in self.kept.iter() {
                    let header = Header { request: frame.request, event: frame.event, ..Header::default() };
                    // What went once goes twice.
                    let _ = self.queue.push(header, frame.payload.clone());
                }
                self.superior.log(format_args!("resumed"));
            }
            Claim::Open => {
                self.link = Some(new.connection);
                self.setup.request = new.request;
                self.open();
                self.superior.log(format_args!("its client hears that it is open"));
            }
            Claim::TakeOver { token } => {
                self.settle();
                self.link = Some(new.connection);
                (self.kept, self.event, self.carried_out) = (Kept::default(), 0, new.request);
                self.moved = false;
                let output = std::mem::take(&mut self.unseen_output);
                self.setup.request = new.request;
                self.setup.token = token;
                self.setup.command_line.clear();
                self.open();
                output.into_iter().for_each(|event| self.push_event(event));
                self.superior.log(format_args!("taken over"));
            }
        }
        self.held = None;
        self.superior.note(Standing::Served);
    }

    fn refuse(&mut self, new: NewLink, reason: &str) {
        let text = format!("session {} cannot be had: {reason}", self.setup.session);
        let mut queue = FrameQueue::new();
        let header = Header { request: new.request, ..Header::default() };
        // Some hundred bytes into an empty socket buffer.
        if queue.push(header, encode_refusal(RefusalCode::Gone, &text)).is_ok() {
            let _ = queue.write_to(&mut &new.connection);
        }
    }

    /// Makes the target fit for a client that knows nothing of it: all stopped, no breakpoints, no wishes.
    fn settle(&mut self) {
        self.unseen_output = self.kept.take_output();
        if self.is_anything_running()
            && let Some(live) = self.target.as_live()
        {
            live.interrupter().break_in();
            let deadline = Instant::now() + SETTLE;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let Some(live) = self.target.as_live() else { break };
                match live.wait_event(Some(left), &[]) {
                    Ok(Waited::Event(Event::Stopped(_))) => break,
                    Ok(Waited::Event(event @ Event::Output(_))) => self.unseen_output.push(event),
                    Ok(Waited::Event(_)) => {}
                    Ok(_) | Err(_) => break,
                }
            }
        }
        if let Some(breakpoints) = self.target.as_breakpoints() {
            let known = breakpoints.breakpoint_states().unwrap_or_default();
            let clear: Vec<_> = known.into_iter().map(|known| BreakpointChange::Clear(known.id)).collect();
            if !clear.is_empty() {
                let cleared = breakpoints.change_breakpoints(&clear).map(|_| clear.len());
                match cleared {
                    Ok(count) => self.superior.log(format_args!("{count} breakpoints of the client before cleared")),
                    Err(error) => self.superior.log(format_args!("its breakpoints stay: {error}")),
                }
            }
        }
        if let Some(os) = self.target.as_os() {
            let _ = os.wait_for_process(None);
        }
    }
}

fn name_of(reason: &StopReason) -> String {
    let text = format!("{reason:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}
