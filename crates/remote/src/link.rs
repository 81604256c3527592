//! Requests out, answers and events in.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use outpost_target::{Event, LinkStatistics, StopBundle, TargetError, Waited};
use outpost_transport::Connection;
use outpost_wire::{Frame, FrameReader, Kind, Reply, Request, RequestId, WireError, decode_event, decode_reply};
use rustix::event::{PollFd, PollFlags};

use crate::interrupter::{Sender, lost};

/// A session's link. Used from one thread; [`Sender`] alone is shared.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    reader: FrameReader,
    sender: Arc<Sender>,
    /// Events that came while an answer was waited for.
    events: VecDeque<Event>,
    last_stop: Option<StopBundle>,
    /// A plan whose acceptance has not been heard of: it is not waited for, the stop is what counts.
    resumed: Option<RequestId>,
    /// A request sent together with the one for the session, and its answer once that has come.
    first: Option<(RequestId, Kind, Option<Reply>)>,
    /// Why the last plan was refused: it ends the wait for its stop, and the link goes on.
    refused: Option<TargetError>,
    /// Why the link ended, once it has.
    ended: Option<TargetError>,
    /// Highest event number received.
    seen: u64,
    /// Most requests the server takes at once.
    window: usize,
    statistics: LinkStatistics,
}

/// Requests sent ahead of their answers, whatever the server would take: small enough that the requests themselves fit
/// into the socket's buffers while nobody reads the answers yet.
const WINDOW: usize = 64;

impl Link {
    pub(crate) fn new(
        connection: Connection,
        reader: FrameReader,
        last: RequestId,
        requests: u32,
    ) -> std::io::Result<Link> {
        let sender = Arc::new(Sender::new(connection.try_clone()?, last));
        let window = WINDOW.min(requests as usize).max(1);
        Ok(Link {
            connection,
            reader,
            sender,
            events: VecDeque::new(),
            last_stop: None,
            resumed: None,
            first: None,
            refused: None,
            ended: None,
            seen: 0,
            window,
            // The hello, and everything up to the open session.
            statistics: LinkStatistics { round_trips: 2, ..LinkStatistics::default() },
        })
    }

    pub(crate) fn sender(&self) -> Arc<Sender> {
        Arc::clone(&self.sender)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    pub(crate) fn last_stop(&self) -> Option<&StopBundle> {
        self.last_stop.as_ref()
    }

    pub(crate) fn put_stop(&mut self, stop: Option<StopBundle>) {
        if stop.is_some() {
            self.last_stop = stop;
        }
    }

    /// Says that the answer to request `id` will be asked for later.
    pub(crate) fn expect_first(&mut self, id: RequestId, kind: Kind) {
        self.first = Some((id, kind, None));
    }

    /// The answer announced by [`Link::expect_first`]: it is here or on its way, so this is no round trip.
    pub(crate) fn take_first(&mut self) -> Result<Option<Reply>, TargetError> {
        while matches!(self.first, Some((_, _, None))) {
            self.check()?;
            self.receive(Link::answer_to_other)?;
        }
        Ok(self.first.take().and_then(|(_, _, reply)| reply))
    }

    pub(crate) fn statistics(&self) -> LinkStatistics {
        LinkStatistics {
            messages_sent: self.sender.messages.load(Ordering::Relaxed),
            bytes_sent: self.sender.bytes.load(Ordering::Relaxed),
            ..self.statistics
        }
    }

    /// Sends one request and waits for its answer: one round trip.
    pub(crate) fn call(&mut self, request: Request) -> Result<Reply, TargetError> {
        let kind = request.kind();
        let mut answer = None;
        self.call_many(vec![request], |_, frame| {
            answer = Some(decode_reply(kind, frame)?);
            Ok(())
        })?;
        match answer {
            Some(Reply::Failed(error)) => Err(error),
            Some(reply) => Ok(reply),
            None => Err(self.end("an answer went missing")),
        }
    }

    /// Sends requests, as many ahead as the window allows, and hands each answer's frame to `take` with the request's
    /// index. Answers come in any order. One round trip, however many windows.
    pub(crate) fn call_many(
        &mut self,
        requests: Vec<Request>,
        mut take: impl FnMut(usize, &Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), TargetError> {
        self.check()?;
        let total = requests.len();
        let mut waiting = requests.into_iter();
        // The interrupter's requests may come between, so ids are not in one row.
        let mut ids: VecDeque<(RequestId, usize)> = VecDeque::new();
        let mut sent = 0;
        self.statistics.round_trips += u64::from(total > 0);
        while sent < total || !ids.is_empty() {
            let room = self.window.saturating_sub(ids.len());
            // Refill by halves: a write for each answer would cost a system call each.
            if sent < total && room * 2 >= self.window {
                let batch: Vec<Request> = waiting.by_ref().take(room).collect();
                let count = batch.len();
                let first = self.send(batch)?;
                ids.extend((0..count).map(|at| (RequestId(first.0 + at as u64), sent + at)));
                sent += count;
            }
            self.receive(|link, frame| {
                let Some(at) = ids.iter().position(|(id, _)| *id == frame.header.request) else {
                    return link.answer_to_other(frame);
                };
                let index = ids.remove(at).map_or(0, |(_, index)| index);
                take(index, frame)
            })?;
        }
        Ok(())
    }

    /// Sends a plan. Its answer is not waited for; if it was refused, the wait for the stop says so.
    pub(crate) fn resume(&mut self, request: Request) -> Result<(), TargetError> {
        self.check()?;
        self.resumed = Some(self.send(vec![request])?);
        self.statistics.round_trips += 1;
        Ok(())
    }

    /// The next event, or whichever other thing ends the wait first.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Waited::Event(event));
            }
            if let Some(error) = self.refused.take() {
                return Err(error);
            }
            self.check()?;
            if self.reader.has_frame().map_err(|error| self.broken(&error))? {
                self.handle_frames()?;
                continue;
            }
            let mut fds = vec![PollFd::new(&self.connection, PollFlags::IN)];
            fds.extend(others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| left.try_into().ok());
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(Waited::TimedOut),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(lost(&error.into())),
            }
            let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            let (link_ready, other_ready) = (ready(&fds[0]), fds[1..].iter().any(ready));
            drop(fds);
            if link_ready {
                self.fill()?;
                self.handle_frames()?;
            } else if other_ready {
                return Ok(Waited::OtherReadable);
            }
        }
    }

    fn send(&mut self, requests: Vec<Request>) -> Result<RequestId, TargetError> {
        let sent = self.sender.send(requests, self.seen);
        if let Err(error @ TargetError::ConnectionLost { .. }) = &sent {
            // What the server still said before it went explains more than a broken pipe.
            self.ended.get_or_insert_with(|| error.clone());
        }
        sent
    }

    /// Everything that has arrived, without waiting.
    fn handle_frames(&mut self) -> Result<(), TargetError> {
        while self.reader.has_frame().map_err(|error| self.broken(&error))? {
            self.receive(Link::answer_to_other)?;
        }
        Ok(())
    }

    /// Receives one frame, waiting for it: events are kept, answers go to `answer`.
    fn receive(
        &mut self,
        answer: impl FnOnce(&mut Link, &Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), TargetError> {
        while !self.reader.has_frame().map_err(|error| self.broken(&error))? {
            self.fill()?;
        }
        // The reader is set aside so that the frame may borrow from it while the link is used.
        let mut reader = std::mem::replace(&mut self.reader, FrameReader::new(0));
        let handled = match reader.next_frame() {
            Ok(Some(frame)) => self.handle(&frame, answer),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.reader = reader;
        handled.map_err(|error| self.broken(&error))
    }

    fn handle(
        &mut self,
        frame: &Frame<'_>,
        answer: impl FnOnce(&mut Link, &Frame<'_>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.statistics.messages_received += 1;
        self.statistics.bytes_received += frame.len() as u64;
        self.seen = self.seen.max(frame.header.event);
        if Kind::of(frame.header.kind).is_ok_and(Kind::is_event) {
            let event = decode_event(frame)?;
            if let Event::Stopped(bundle) = &event {
                self.last_stop = Some(bundle.clone());
                self.resumed = None;
            }
            self.events.push_back(event);
            return Ok(());
        }
        answer(self, frame)
    }

    /// An answer nobody waits for: a plan's, or one to a request whose caller gave up.
    fn answer_to_other(&mut self, frame: &Frame<'_>) -> Result<(), WireError> {
        if self.resumed == Some(frame.header.request) {
            self.resumed = None;
            if let Reply::Failed(error) = decode_reply(Kind::Resume, frame)? {
                self.refused = Some(error);
            }
        } else if let Some((id, kind, reply)) = &mut self.first
            && *id == frame.header.request
        {
            *reply = Some(decode_reply(*kind, frame)?);
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), TargetError> {
        loop {
            match self.reader.fill_from(&mut &self.connection) {
                Ok(0) => return Err(self.end("the server closed it")),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.end(&error.to_string())),
            }
        }
    }

    fn check(&self) -> Result<(), TargetError> {
        match &self.ended {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn broken(&mut self, error: &WireError) -> TargetError {
        self.end(&error.to_string())
    }

    fn end(&mut self, reason: &str) -> TargetError {
        let reason = match self.events.iter().rev().find_map(|event| match event {
            Event::ServerEnding { reason } => Some(reason.clone()),
            _ => None,
        }) {
            Some(said) => said,
            None => reason.to_owned(),
        };
        self.ended.get_or_insert(TargetError::ConnectionLost { reason }).clone()
    }
}
