//! Many connections in one byte stream: messages, channels, credit.
//!
//! A channel carries one connection at a time. Who connects sends `Open` and gets `Accept` or `Refuse`; each side may
//! send as many bytes as the other granted; each ends its direction with `End`, and whoever no longer reads says `Stop`,
//! which the other answers with its `End`. When both ends have passed, the number is free again. All of it relies on the
//! stream's order: what belonged to an earlier connection cannot come behind the `Accept` of the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Bytes that a side may send before it is granted more; what a receiver holds for a connection that does not read.
pub(crate) const CREDIT: usize = 16 << 10;
/// Bytes taken from a connection ahead of their turn.
const MAX_UNSENT: usize = 2 << 10;
/// Longest body of a message this side sends: channels take turns after each.
const MAX_CHUNK: usize = 256;
const HEADER: usize = 4;
/// Longest message this side sends.
pub(crate) const MAX_MESSAGE: usize = HEADER + MAX_CHUNK;
/// Answers that wait for their turn; who asks for more without taking any is no peer of ours.
const MAX_ANSWERS: usize = 1024;

/// Numbers of messages on the line.
mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const ACCEPT: u8 = 2;
    pub(super) const REFUSE: u8 = 3;
    pub(super) const DATA: u8 = 4;
    pub(super) const CREDIT: u8 = 5;
    pub(super) const END: u8 = 6;
    pub(super) const STOP: u8 = 7;
}

/// What became of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The other end opened a connection on a channel that is listened on.
    Incoming(u8),
    /// The connection asked for is open.
    Accepted(u8),
    /// The connection asked for will not be, for this reason.
    Refused(u8, String),
    /// The other end no longer takes what is sent.
    Stopped(u8),
    /// The connection has ended both ways, or with the link. These bytes arrived and were not taken.
    Over(u8, VecDeque<u8>),
}

/// A message that a peer of ours does not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonsense;

#[derive(Debug, Default)]
struct Channel {
    /// Both sides know of the connection.
    open: bool,
    outbox: VecDeque<u8>,
    /// What the other end still takes.
    credit: usize,
    inbox: VecDeque<u8>,
    /// What the other end may still send.
    granted: usize,
    /// Taken from the inbox, not granted yet.
    freed: usize,
    end: Sending,
    stop: Sending,
    got_end: bool,
}

/// Of something that is said once.
#[derive(Debug, Default, PartialEq, Eq)]
enum Sending {
    #[default]
    No,
    Due,
    Sent,
}

/// All connections of one line.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    channels: BTreeMap<u8, Channel>,
    listening: BTreeSet<u8>,
    answers: VecDeque<Vec<u8>>,
    /// Whose turn was last.
    last: u8,
    events: VecDeque<Event>,
}

impl Channels {
    /// Whether connections on a channel are welcome.
    pub(crate) fn listen(&mut self, channel: u8, welcome: bool) {
        match welcome {
            true => self.listening.insert(channel),
            false => self.listening.remove(&channel),
        };
    }

    /// Asks for a connection on a channel that is not in use.
    pub(crate) fn open(&mut self, channel: u8, is_up: bool) {
        let new = Channel { credit: CREDIT, granted: CREDIT, ..Channel::default() };
        self.channels.insert(channel, new);
        if is_up {
            self.answer(kind::OPEN, channel, &[]);
        }
    }

    /// No longer wants a connection that the other end was not asked for.
    pub(crate) fn forget(&mut self, channel: u8) {
        self.channels.remove(&channel);
    }

    /// The link is there: asks for what was wanted before.
    pub(crate) fn begin(&mut self) {
        let wanted: Vec<u8> = self.channels.keys().copied().collect();
        wanted.iter().for_each(|&channel| self.answer(kind::OPEN, channel, &[]));
    }

    /// The link is gone, and every connection with it.
    pub(crate) fn reset(&mut self, reason: &str) {
        self.answers.clear();
        for (number, channel) in std::mem::take(&mut self.channels) {
            self.events.push_back(match channel.open {
                true => Event::Over(number, channel.inbox),
                false => Event::Refused(number, reason.to_owned()),
            });
        }
    }

    /// Whether a channel carries a connection, wanted or open.
    pub(crate) fn is_used(&self, channel: u8) -> bool {
        self.channels.contains_key(&channel)
    }

    /// Whether any channel does.
    pub(crate) fn any_used(&self) -> bool {
        !self.channels.is_empty()
    }

    /// How many bytes [`Channels::send`] takes now.
    pub(crate) fn room(&self, channel: u8) -> usize {
        match self.channels.get(&channel) {
            Some(one) if one.open && one.end == Sending::No => {
                one.credit.saturating_sub(one.outbox.len()).min(MAX_UNSENT.saturating_sub(one.outbox.len()))
            }
            _ => 0,
        }
    }

    /// Sends bytes, not more than there is room for.
    pub(crate) fn send(&mut self, channel: u8, bytes: &[u8]) {
        if let Some(one) = self.channels.get_mut(&channel) {
            one.outbox.extend(bytes);
        }
    }

    /// Nothing more will be sent.
    pub(crate) fn end(&mut self, channel: u8) {
        if let Some(one) = self.channels.get_mut(&channel) {
            one.end.make_due();
        }
    }

    /// What arrives is no longer wanted.
    pub(crate) fn stop(&mut self, channel: u8) {
        if let Some(one) = self.channels.get_mut(&channel) {
            one.stop.make_due();
            one.inbox.clear();
        }
    }

    /// Bytes that arrived and were not taken, in order.
    pub(crate) fn inbox(&mut self, channel: u8) -> &[u8] {
        self.channels.get_mut(&channel).map_or(&[], |one| one.inbox.make_contiguous())
    }

    /// Whether the other end sends nothing more and all it sent was taken.
    pub(crate) fn is_read_out(&self, channel: u8) -> bool {
        self.channels.get(&channel).is_none_or(|one| one.got_end && one.inbox.is_empty())
    }

    /// Removes the first `count` bytes of the inbox.
    pub(crate) fn take(&mut self, channel: u8, count: usize) {
        if let Some(one) = self.channels.get_mut(&channel) {
            one.freed += one.inbox.drain(..count).count();
        }
    }

    /// The next thing that became of a channel.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether [`Channels::next_message`] has one.
    pub(crate) fn wants_to_send(&self) -> bool {
        !self.answers.is_empty() || self.channels.values().any(Channel::has_turn)
    }

    /// The next message for the stream, if there is room for any; channels take turns.
    pub(crate) fn next_message(&mut self, room: usize) -> Option<Vec<u8>> {
        if room < MAX_MESSAGE {
            return None;
        }
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let has_turn = |(number, one): (&u8, &Channel)| one.has_turn().then_some(*number);
        let after = self.last.checked_add(1).and_then(|next| self.channels.range(next..).find_map(has_turn));
        let number = after.or_else(|| self.channels.iter().find_map(has_turn))?;
        self.last = number;
        let one = self.channels.get_mut(&number)?;
        if one.has_grant() {
            let grant = std::mem::take(&mut one.freed);
            one.granted += grant;
            return Some(message(kind::CREDIT, number, &(grant as u32).to_le_bytes()));
        }
        if one.stop == Sending::Due {
            one.stop = Sending::Sent;
            return Some(message(kind::STOP, number, &[]));
        }
        let len = one.outbox.len().min(one.credit).min(MAX_CHUNK);
        if len > 0 {
            one.credit -= len;
            let bytes: Vec<u8> = one.outbox.drain(..len).collect();
            return Some(message(kind::DATA, number, &bytes));
        }
        one.end = Sending::Sent;
        self.settle(number);
        Some(message(kind::END, number, &[]))
    }

    /// Takes the whole messages at the front of what the stream delivered; the rest stays.
    pub(crate) fn receive(&mut self, stream: &mut VecDeque<u8>) -> Result<(), Nonsense> {
        while stream.len() >= HEADER {
            let len = usize::from(u16::from_le_bytes([stream[2], stream[3]]));
            // Longer ones could not be told from a stream that never goes on.
            if len > CREDIT {
                return Err(Nonsense);
            }
            if stream.len() < HEADER + len {
                break;
            }
            let (kind, channel) = (stream[0], stream[1]);
            stream.drain(..HEADER);
            let body: Vec<u8> = stream.drain(..len).collect();
            self.handle(kind, channel, body)?;
        }
        Ok(())
    }

    fn handle(&mut self, kind: u8, number: u8, body: Vec<u8>) -> Result<(), Nonsense> {
        let known = self.channels.get_mut(&number);
        match (kind, known) {
            (kind::OPEN, Some(_)) => self.answer(kind::REFUSE, number, b"it is in use at the other end"),
            (kind::OPEN, None) if self.listening.contains(&number) => {
                let new = Channel { open: true, credit: CREDIT, granted: CREDIT, ..Channel::default() };
                self.channels.insert(number, new);
                self.answer(kind::ACCEPT, number, &[]);
                self.events.push_back(Event::Incoming(number));
            }
            (kind::OPEN, None) => self.answer(kind::REFUSE, number, b"no server listens on it at the other end"),
            (kind::ACCEPT, Some(one)) if !one.open => {
                one.open = true;
                self.events.push_back(Event::Accepted(number));
            }
            (kind::REFUSE, Some(one)) if !one.open => {
                self.channels.remove(&number);
                let why: String =
                    String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
                self.events.push_back(Event::Refused(number, why));
            }
            (kind::DATA, Some(one)) if one.open && !one.got_end => {
                one.granted = one.granted.checked_sub(body.len()).ok_or(Nonsense)?;
                match one.stop {
                    Sending::No => one.inbox.extend(body),
                    _ => one.freed += body.len(),
                }
            }
            (kind::CREDIT, Some(one)) if one.open => {
                let grant = <[u8; 4]>::try_from(body).map_err(|_| Nonsense)?;
                let credit = one.credit + u32::from_le_bytes(grant) as usize;
                one.credit = if credit <= CREDIT { credit } else { return Err(Nonsense) };
            }
            (kind::END, Some(one)) if one.open && !one.got_end => {
                one.got_end = true;
                self.settle(number);
            }
            (kind::STOP, Some(one)) if one.open => {
                one.outbox.clear();
                one.end.make_due();
                self.events.push_back(Event::Stopped(number));
            }
            // Said of a connection before the other end knew that it was over.
            (kind::CREDIT | kind::STOP, _) => {}
            _ => return Err(Nonsense),
        }
        match self.answers.len() <= MAX_ANSWERS {
            true => Ok(()),
            false => Err(Nonsense),
        }
    }

    /// Frees the number of a connection that has ended both ways.
    fn settle(&mut self, number: u8) {
        if self.channels.get(&number).is_some_and(|one| one.got_end && one.end == Sending::Sent)
            && let Some(one) = self.channels.remove(&number)
        {
            self.events.push_back(Event::Over(number, one.inbox));
        }
    }

    fn answer(&mut self, kind: u8, channel: u8, body: &[u8]) {
        self.answers.push_back(message(kind, channel, body));
    }
}

impl Channel {
    fn has_turn(&self) -> bool {
        let has_data = self.credit > 0 && !self.outbox.is_empty();
        let has_end = self.end == Sending::Due && self.outbox.is_empty();
        self.open && (has_data || has_end || self.stop == Sending::Due || self.has_grant())
    }

    /// Small grants are put off: each costs a message.
    fn has_grant(&self) -> bool {
        self.freed >= CREDIT / 2 && !self.got_end
    }
}

impl Sending {
    fn make_due(&mut self) {
        if *self == Sending::No {
            *self = Sending::Due;
        }
    }
}

fn message(kind: u8, channel: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, channel][..], &(body.len() as u16).to_le_bytes(), body].concat()
}
