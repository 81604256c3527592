//! Requests out, replies and events in.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_target::{Event, LinkStatistics, LinkWatcher, TargetError};
use outpost_transport::Connection;
use outpost_wire::{
    FrameReader, Kind, Reply, Request, RequestId, WireError, decode_event, decode_reply, encode_bare, read_parts,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};

use crate::keeper::{Keeper, Resumed};
use crate::sender::{Arrival, Sender};

/// Events that may wait for somebody to ask for them; a server that sends more than that unasked is no server of ours.
const MAX_EVENTS: usize = 100_000;

/// Numbered frames, and bytes of them, after which the server is told what has arrived if nothing else tells it.
const ACKNOWLEDGE: u64 = 64;
const ACKNOWLEDGE_BYTES: u64 = 256 << 10;
/// How long the goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session's link.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    sender: Arc<Sender>,
    reader: FrameReader,
    /// The server wants to be told what arrived, and a goodbye.
    says_goodbye: bool,
    /// Makes another link when this one is lost.
    keeper: Option<Keeper>,
    /// How many there were before this one.
    resumes: u64,
    /// It is lost, and the keeper at work.
    is_down: bool,
    /// Bytes of numbered frames since the server was told.
    unacknowledged: u64,
    /// Requests whose answers have not come yet.
    outstanding: HashMap<RequestId, Kind>,
    /// Answers that came while another was waited for.
    answered: HashMap<RequestId, Reply>,
    events: VecDeque<Event>,
    /// Readable while events are queued.
    ready: OwnedFd,
    is_ready: bool,
    /// Connection, `ready` and the sender's nudge in one descriptor, for those who wait for several targets.
    watch: OwnedFd,
    /// Why the server ends, if it said so.
    farewell: Option<String>,
    /// Why there is nothing more to come.
    lost: Option<String>,
    received: (u64, u64),
    round_trips: u64,
    /// Requests left since the last time an answer was waited for: the next wait is a round trip.
    in_flight: bool,
}

/// A request that left; its answer is to be collected.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ticket(RequestId);

/// What gets the ranges of a read's answer.
type Take<'a> = &'a mut dyn FnMut(&[&[u8]]);

/// What ended a wait for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    Link,
    Other,
    TimedOut,
}

impl Link {
    /// Takes over after the handshake; `reader` may hold frames already. `connection` must not block.
    /// `says_goodbye`: the server knows that links are lost.
    pub(crate) fn new(
        connection: Connection,
        sender: Arc<Sender>,
        reader: FrameReader,
        says_goodbye: bool,
    ) -> std::io::Result<Link> {
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&watch, &connection, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&watch, &ready, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
        epoll::add(&watch, sender.nudge_source(), epoll::EventData::new_u64(2), epoll::EventFlags::IN)?;
        Ok(Link {
            connection,
            sender,
            reader,
            says_goodbye,
            keeper: None,
            resumes: 0,
            is_down: false,
            unacknowledged: 0,
            outstanding: HashMap::new(),
            answered: HashMap::new(),
            events: VecDeque::new(),
            ready,
            is_ready: false,
            watch,
            farewell: None,
            lost: None,
            received: (0, 0),
            round_trips: 0,
            in_flight: false,
        })
    }

    /// Has somebody make another link when this one is lost.
    pub(crate) fn keep(&mut self, keeper: Keeper) -> std::io::Result<()> {
        epoll::add(&self.watch, keeper.done(), epoll::EventData::new_u64(3), epoll::EventFlags::IN)?;
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Who is told when it is lost and comes back.
    pub(crate) fn set_watcher(&self, watcher: Option<LinkWatcher>) {
        if let Some(keeper) = &self.keeper {
            keeper.set_watcher(watcher);
        }
    }

    /// The handshake's share of the statistics.
    pub(crate) fn count_handshake(&mut self, messages: u64, bytes: u64) {
        self.received = (messages, bytes);
        // The hello, and everything up to the open session.
        self.round_trips = 2;
    }

    /// A request that was sent before the link was set up.
    pub(crate) fn expect(&mut self, request: RequestId, kind: Kind) -> Ticket {
        self.outstanding.insert(request, kind);
        Ticket(request)
    }

    pub(crate) fn sender(&self) -> &Arc<Sender> {
        &self.sender
    }

    pub(crate) fn statistics(&self) -> LinkStatistics {
        let (messages_sent, bytes_sent) = self.sender.counts();
        let (messages_received, bytes_received) = self.received;
        let (round_trips, resumes) = (self.round_trips, self.resumes);
        LinkStatistics { messages_sent, messages_received, bytes_sent, bytes_received, round_trips, resumes }
    }

    /// Sends a request.
    pub(crate) fn submit(&mut self, request: Request) -> Ticket {
        self.in_flight = true;
        self.submit_more(request)
    }

    /// Sends a request of a stream that is being collected: it adds no round trip of its own.
    pub(crate) fn submit_more(&mut self, request: Request) -> Ticket {
        let kind = request.kind();
        let id = self.sender.send(request);
        self.outstanding.insert(id, kind);
        Ticket(id)
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// The server's failure; [`TargetError::ConnectionLost`] once the link is gone.
    pub(crate) fn collect(&mut self, ticket: Ticket) -> Result<Reply, TargetError> {
        self.await_answer(ticket.0, None)?;
        match self.answered.remove(&ticket.0) {
            Some(Reply::Failed(error)) => Err(error),
            Some(reply) => Ok(reply),
            None => Err(self.lose("an answer went missing")),
        }
    }

    /// Waits for the answer to a read and hands its ranges to `take`, from where they lie in the buffer if nobody has
    /// taken them in before.
    ///
    /// # Errors
    /// As [`Link::collect`]; an answer of another kind.
    pub(crate) fn collect_parts(&mut self, ticket: Ticket, take: Take<'_>) -> Result<(), TargetError> {
        if self.await_answer(ticket.0, Some(take))? {
            return Ok(());
        }
        match self.answered.remove(&ticket.0) {
            Some(Reply::Read(pieces)) => {
                take(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
                Ok(())
            }
            Some(Reply::Failed(error)) => Err(error),
            _ => Err(self.lose("the server gave an answer of the wrong kind")),
        }
    }

    /// Waits until the answer is in `answered`, or (`true`) was given to `take`.
    fn await_answer(&mut self, request: RequestId, mut take: Option<Take<'_>>) -> Result<bool, TargetError> {
        loop {
            if self.answered.contains_key(&request) {
                return Ok(false);
            }
            if self.take_frames(request, &mut take) {
                return Ok(true);
            }
            if self.answered.contains_key(&request) {
                return Ok(false);
            }
            self.check()?;
            if std::mem::take(&mut self.in_flight) {
                self.round_trips += 1;
            }
            self.wait(None, &[]);
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call(&mut self, request: Request) -> Result<Reply, TargetError> {
        let ticket = self.submit(request);
        self.collect(ticket)
    }

    /// The next event, if one is there.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.take_frames(RequestId::default(), &mut None);
        let event = self.events.pop_front();
        self.show_readiness();
        event
    }

    /// Fails once nothing more can come.
    pub(crate) fn check(&self) -> Result<(), TargetError> {
        match &self.lost {
            Some(reason) => Err(TargetError::ConnectionLost { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    pub(crate) fn watch(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// Waits for the link or for `others`, and reads what came over the link; `None`: for ever.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>, others: &[BorrowedFd<'_>]) -> Woken {
        // After an error, what the server said before it went is still to be read; the end is found behind it.
        let is_writing = self.sender.flush().unwrap_or_default();
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, is_writing);
        // A link that is down is watched by nobody: its end would wake us again and again.
        let link = match (&self.keeper, self.is_down) {
            (Some(keeper), true) => PollFd::from_borrowed_fd(keeper.done(), PollFlags::IN),
            _ => PollFd::new(&self.connection, interest),
        };
        let done = self.keeper.as_ref().map_or(self.sender.nudge_source(), Keeper::done);
        let mut fds = vec![
            link,
            PollFd::from_borrowed_fd(self.sender.nudge_source(), PollFlags::IN),
            PollFd::from_borrowed_fd(done, PollFlags::IN),
        ];
        fds.extend(others.iter().map(|&other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        if poll(&mut fds, timeout.as_ref()).is_err() {
            // A signal: look again.
            return Woken::Link;
        }
        let (link, nudge, done) = (fds[0].revents(), fds[1].revents(), fds[2].revents());
        let other = fds[3..].iter().any(|fd| !fd.revents().is_empty());
        if !nudge.is_empty() {
            self.sender.clear_nudge();
        }
        if self.keeper.is_some() && !done.is_empty() {
            self.go_on();
        } else if self.is_down {
            if self.sender.is_given_up() {
                self.give_up();
            }
        } else if link.intersects(!PollFlags::OUT) {
            self.read();
        }
        match (link.is_empty() && nudge.is_empty() && done.is_empty(), other) {
            (false, _) => Woken::Link,
            (true, true) => Woken::Other,
            (true, false) => Woken::TimedOut,
        }
    }

    /// The time from which a wait of `timeout` is over.
    pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
        timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    fn read(&mut self) {
        match self.reader.fill_from(&mut &self.connection) {
            Ok(0) => self.go_down("the server closed it"),
            Ok(count) => self.received.1 += count as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.go_down(&error.to_string()),
        }
    }

    /// The link broke: waits for another, if there can be one.
    fn go_down(&mut self, reason: &str) {
        match &self.keeper {
            Some(keeper) if self.farewell.is_none() && self.lost.is_none() => {
                self.is_down = true;
                let _ = epoll::delete(&self.watch, &self.connection);
                self.sender.pause();
                keeper.report(self.resumes, reason);
            }
            _ => drop(self.lose(reason)),
        }
    }

    /// Takes the link that was made, and sends again what is to be sent again.
    fn go_on(&mut self) {
        // What came whole over the old one need not come again.
        self.take_frames(RequestId::default(), &mut None);
        let Some(made) = self.keeper.as_ref().and_then(Keeper::take) else { return };
        let outcome = made.and_then(|made| self.change_to(made).map_err(|error| error.to_string()));
        if let Err(reason) = outcome {
            self.lose(&reason);
        }
    }

    fn change_to(&mut self, made: Resumed) -> std::io::Result<()> {
        if !self.is_down {
            let _ = epoll::delete(&self.watch, &self.connection);
        }
        self.connection.shutdown();
        epoll::add(&self.watch, &made.connection, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        self.sender.go_on(made.connection.try_clone()?, made.carried_out);
        (self.connection, self.reader) = (made.connection, made.reader);
        self.received = (self.received.0 + made.received.0, self.received.1 + made.received.1);
        self.is_down = false;
        self.resumes += 1;
        Ok(())
    }

    fn give_up(&mut self) {
        self.lose(
            "given up while the link was down; the server holds the session for a while: take it over by -resume",
        );
    }

    /// Makes the watched descriptor tell whether events are queued. The end of the link shows by itself.
    fn show_readiness(&mut self) {
        let is_ready = !self.events.is_empty();
        if is_ready == self.is_ready {
            return;
        }
        // Neither can fail: the counter goes from 0 to 1 and back.
        let _ = match is_ready {
            true => rustix::io::write(&self.ready, &1_u64.to_ne_bytes()),
            false => rustix::io::read(&self.ready, &mut [0_u8; 8]),
        };
        self.is_ready = is_ready;
    }

    /// Takes all whole frames out of the buffer, so that what is left there cannot be an answer or an event. The ranges
    /// of `wanted`, if it is a read, go to `take`; gives whether they did.
    fn take_frames(&mut self, wanted: RequestId, take: &mut Option<Take<'_>>) -> bool {
        let mut taken = false;
        while let Some(result) = self.reader.next_frame().transpose() {
            let handled = result.and_then(|frame| {
                self.received.0 += 1;
                let request = frame.header.request;
                if frame.header.event != 0 {
                    match self.sender.note_seen(frame.header.event) {
                        Arrival::New => self.unacknowledged += frame.len() as u64,
                        Arrival::Again => return Ok(()),
                        Arrival::Gap => return Err(WireError::Field { field: "event" }),
                    }
                }
                let Some(kind) = self.outstanding.remove(&request) else {
                    let event = decode_event(&frame)?;
                    match &event {
                        Event::ServerEnding { reason } => self.farewell = Some(reason.clone()),
                        Event::Stopped(_) => self.sender.stopped(),
                        _ => {}
                    }
                    self.events.push_back(event);
                    return Ok(());
                };
                self.sender.answered(request);
                match take {
                    Some(take) if request == wanted && frame.header.kind == kind.reply_number() => {
                        take(&read_parts(kind, &frame)?);
                        taken = true;
                    }
                    _ => drop(self.answered.insert(request, decode_reply(kind, &frame)?)),
                }
                Ok(())
            });
            if let Err(error) = handled {
                self.lose(&format!("the server breaks the protocol: {error}"));
                break;
            }
            if self.events.len() > MAX_EVENTS {
                self.lose("the server floods this client with events");
                break;
            }
        }
        if self.farewell.is_some() {
            // There will be no other link.
            self.keeper = None;
        }
        if self.says_goodbye && !self.is_down {
            let far = if self.unacknowledged >= ACKNOWLEDGE_BYTES { 1 } else { ACKNOWLEDGE };
            if self.sender.acknowledge(far) {
                self.unacknowledged = 0;
            }
        }
        self.show_readiness();
        taken
    }

    /// Notes the end, once; what the server said last is the better reason.
    fn lose(&mut self, reason: &str) -> TargetError {
        self.connection.shutdown();
        self.keeper = None;
        self.is_down = false;
        let reason = match &self.lost {
            Some(reason) => reason.clone(),
            None => {
                // What the server said last is best; then, if a command carries the link, its own words.
                let words = || Some(format!("{reason}: {}", self.connection.program()?.last_words()));
                let said = self.farewell.clone().or_else(words);
                self.lost.insert(said.unwrap_or_else(|| reason.to_owned())).clone()
            }
        };
        TargetError::ConnectionLost { reason }
    }
}

impl Drop for Link {
    /// Ends the session at once, even while an interrupter still holds the sending half.
    fn drop(&mut self) {
        if self.lost.is_none() && self.keeper.is_some() {
            // One that was made and not needed so far carries the goodbye.
            self.go_on();
        }
        self.keeper = None;
        if self.says_goodbye && self.lost.is_none() {
            self.sender.send_as(RequestId::default(), encode_bare(Kind::Goodbye));
        }
        let deadline = Instant::now() + FAREWELL;
        while let Ok(true) = self.sender.flush() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&self.connection, PollFlags::OUT)], Some(&timeout));
        }
        self.connection.shutdown();
    }
}
