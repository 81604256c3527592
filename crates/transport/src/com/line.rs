//! One end of a serial line as a state machine: bytes in, bytes out, time as a value. The protocol is in
//! `docs/protocol.md`, section "The serial line".
//!
//! | State | Left when |
//! | --- | --- |
//! | down: nothing is known of the other end; calls it while a connection is wanted, answers whoever calls | its `Hello` comes: up |
//! | up: frames are numbered between two incarnations | another incarnation says `Hello`: up with that one; `Bye`, silence or nonsense: down |
//!
//! An incarnation is one life of one end. Leaving a state takes a new one, and ends every connection with it.

use std::time::Duration;

use super::channels::{Channels, Event, MAX_MESSAGE, Nonsense};
use super::frame::{self, Decoder, MAX_BODY, OVERHEAD};
use super::reliable::Reliable;

/// Version of the line's protocol; another one is refused.
const VERSION: u8 = 1;
const HELLO_LEN: usize = 10;

/// Bytes of acknowledgements that go before all else.
const MAX_URGENT: usize = 512;

/// Between two calls of an end that wants a connection.
const HELLO_INTERVAL: Duration = Duration::from_millis(250);
/// Least time between two answers to what was not understood.
const ANSWER_INTERVAL: Duration = Duration::from_millis(50);
/// Silence after which the other end is asked for a sign of life, ...
const QUIET: Duration = Duration::from_secs(1);
/// ... how often, as many frames get lost on a bad line, ...
const PING_INTERVAL: Duration = Duration::from_millis(200);
/// ... and after which it is given up, beyond what twenty frames take.
const DEAD: Duration = Duration::from_secs(6);

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const DATA: u8 = 2;
    pub(super) const ACKNOWLEDGE: u8 = 3;
    pub(super) const BYE: u8 = 4;
}

/// One end of a line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Connections; the owner's thread reads and writes them.
    pub(crate) channels: Channels,
    decoder: Decoder,
    incarnation: u32,
    byte_time: Duration,
    peer: Option<Peer>,
    /// Frames that go before all others.
    urgent: Vec<u8>,
    said_hello: Option<Duration>,
    owes_hello: bool,
    /// When there was last nothing to wait for.
    at_rest: Duration,
    other_version: Option<u8>,
}

#[derive(Debug)]
struct Peer {
    incarnation: u32,
    stream: Reliable,
    heard: Duration,
    pinged: Duration,
}

impl Line {
    /// `incarnation`: random, so that the other end notices a new life; `baud`: bits per second, ten to a byte.
    pub(crate) fn new(incarnation: u32, baud: u32, now: Duration) -> Line {
        Line {
            channels: Channels::default(),
            decoder: Decoder::default(),
            incarnation: incarnation.max(1),
            byte_time: Duration::from_secs(10) / baud.max(1),
            peer: None,
            urgent: Vec::new(),
            said_hello: None,
            owes_hello: false,
            at_rest: now,
            other_version: None,
        }
    }

    /// Whether the other end has answered.
    pub(crate) fn is_up(&self) -> bool {
        self.peer.is_some()
    }

    /// The version of the protocol that the other end speaks, if it is another one.
    pub(crate) fn other_version(&self) -> Option<u8> {
        self.other_version
    }

    /// What a short exchange takes on this line at most, beyond what programs take.
    pub(crate) fn patience(&self) -> Duration {
        self.frame_time() * 20
    }

    /// Asks for a connection on a channel that is not in use.
    pub(crate) fn open(&mut self, channel: u8) {
        self.channels.open(channel, self.is_up());
    }

    /// No longer wants the connection that was asked for.
    pub(crate) fn cancel(&mut self, channel: u8) {
        match self.is_up() {
            // The other end will answer, and has to be told.
            true => {
                self.channels.end(channel);
                self.channels.stop(channel);
            }
            false => self.channels.forget(channel),
        }
    }

    /// Whether the other end has everything that was said so far.
    pub(crate) fn is_delivered(&self) -> bool {
        self.peer.as_ref().is_none_or(|peer| peer.stream.is_settled() && !self.channels.wants_to_send())
    }

    /// Whether nothing is wanted, carried or on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_delivered() && !self.channels.any_used()
    }

    /// Takes what the line delivered.
    pub(crate) fn receive(&mut self, mut bytes: &[u8], now: Duration) {
        while let Some(body) = self.decoder.next(&mut bytes) {
            // A frame that is whole and yet makes no sense is chance, or a peer that is none.
            let _ = self.handle(&body, now);
        }
    }

    /// The next bytes for the line. To be called when the former are written: what comes first is decided here.
    pub(crate) fn transmit(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.tick(now);
        let mut bytes = std::mem::take(&mut self.urgent);
        if self.hello_at(now).is_some_and(|at| at <= now) {
            (self.said_hello, self.owes_hello) = (Some(now), false);
            // Ends what stands on the line, so that this one is not taken for its tail.
            bytes.push(0);
            let peer = self.peer.as_ref().map_or(0, |peer| peer.incarnation);
            let body = [&[kind::HELLO, VERSION][..], &self.incarnation.to_le_bytes(), &peer.to_le_bytes()].concat();
            frame::encode(&body, &mut bytes);
        }
        if bytes.is_empty()
            && let Some(peer) = &mut self.peer
        {
            while let Some(message) = self.channels.next_message(peer.stream.room()) {
                peer.stream.push(&message);
            }
            let ping = peer.heard + QUIET <= now && peer.pinged + PING_INTERVAL <= now && !self.at_rest_since(now);
            bytes = self.stream_frame(now, ping);
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// When [`Line::transmit`] should be called again if nothing happens before.
    pub(crate) fn deadline(&self, now: Duration) -> Option<Duration> {
        let rests = self.is_at_rest();
        let hello = self.hello_at(now);
        let Some(peer) = &self.peer else { return hello };
        let sends = peer.stream.wants_to_send()
            || !self.urgent.is_empty()
            || (self.channels.wants_to_send() && peer.stream.room() >= MAX_MESSAGE);
        let ping = (!rests).then(|| (peer.heard + QUIET).max(peer.pinged + PING_INTERVAL));
        let dead = (!rests).then(|| self.dead_at(peer));
        let clocks = [hello, sends.then_some(now), peer.stream.deadline(), ping, dead];
        clocks.into_iter().flatten().min()
    }

    /// What to send before the line is given up, so that the other end need not find out by itself.
    pub(crate) fn farewell(&self) -> Vec<u8> {
        let mut bytes = vec![0];
        let body = [&[kind::BYE][..], &self.incarnation.to_le_bytes()].concat();
        // Nobody will send it again.
        for _ in 0..3 {
            frame::encode(&body, &mut bytes);
        }
        bytes
    }

    fn handle(&mut self, body: &[u8], now: Duration) -> Option<()> {
        let (&kind, rest) = body.split_first()?;
        match kind {
            kind::HELLO => return self.handle_hello(rest, now),
            kind::BYE => {
                let incarnation = u32::from_le_bytes(rest.try_into().ok()?);
                if self.peer.as_ref().is_some_and(|peer| peer.incarnation == incarnation) {
                    self.go_down("the other end of the serial line has ended");
                }
                return Some(());
            }
            _ => {}
        }
        let Some(peer) = &mut self.peer else {
            // Somebody who does not know that we began anew.
            self.owes_hello = true;
            return Some(());
        };
        match kind {
            kind::DATA => peer.stream.take_data(rest, now)?,
            kind::ACKNOWLEDGE => peer.stream.take_acknowledgement(rest, now)?,
            _ => return None,
        }
        peer.heard = now;
        // While the line takes nothing, they do not pile up: the next one covers more.
        if peer.stream.is_acknowledgement_urgent()
            && self.urgent.len() < MAX_URGENT
            && let Some(body) = peer.stream.pure_acknowledgement()
        {
            frame::encode(&[&[kind::ACKNOWLEDGE], &body[..]].concat(), &mut self.urgent);
        }
        if let Err(Nonsense) = self.channels.receive(peer.stream.received()) {
            self.go_down("the other end of the serial line does not keep to the protocol");
        }
        Some(())
    }

    fn handle_hello(&mut self, body: &[u8], now: Duration) -> Option<()> {
        let ([version, theirs @ ..], rest) = body.split_first_chunk::<5>()?;
        if *version != VERSION {
            self.other_version = Some(*version);
            return Some(());
        }
        let theirs = u32::from_le_bytes(*theirs);
        let ours = u32::from_le_bytes(rest.try_into().ok()?);
        debug_assert_eq!(body.len() + 1, HELLO_LEN);
        if theirs == self.incarnation || theirs == 0 {
            // An echo.
            return None;
        }
        self.other_version = None;
        match &mut self.peer {
            Some(peer) if peer.incarnation == theirs => peer.heard = now,
            known => {
                if known.is_some() {
                    self.go_down("the other end of the serial line was started again");
                }
                let stream = Reliable::new(self.byte_time);
                self.peer = Some(Peer { incarnation: theirs, stream, heard: now, pinged: now });
                self.channels.begin();
            }
        }
        self.owes_hello = ours != self.incarnation;
        Some(())
    }

    /// Does what is due by now. [`Line::transmit`] does it, too; a line that takes no bytes is called here.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.is_at_rest() {
            self.at_rest = now;
        }
        let Some(peer) = &mut self.peer else { return };
        peer.stream.tick(now);
        if let Some(peer) = &self.peer
            && self.dead_at(peer) <= now
            && !self.at_rest_since(now)
        {
            self.go_down("the other end of the serial line no longer answers");
        }
    }

    fn at_rest_since(&self, now: Duration) -> bool {
        self.at_rest == now
    }

    /// Whoever had nothing to do was not listened for.
    fn dead_at(&self, peer: &Peer) -> Duration {
        peer.heard.max(self.at_rest) + DEAD + self.frame_time() * 20
    }

    /// When to send the next `Hello`.
    fn hello_at(&self, now: Duration) -> Option<Duration> {
        let calls = self.peer.is_none() && self.channels.any_used();
        let interval = if self.owes_hello { ANSWER_INTERVAL } else { self.hello_interval() };
        (calls || self.owes_hello).then(|| self.said_hello.map_or(now, |at| at + interval))
    }

    fn hello_interval(&self) -> Duration {
        HELLO_INTERVAL.max(self.byte_time * 4 * (HELLO_LEN + OVERHEAD) as u32)
    }

    fn frame_time(&self) -> Duration {
        self.byte_time * (MAX_BODY + OVERHEAD) as u32
    }

    /// A frame of the stream: data, which acknowledges as well, or an acknowledgement alone.
    fn stream_frame(&mut self, now: Duration, ping: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(peer) = &mut self.peer else { return bytes };
        if ping {
            peer.pinged = now;
        }
        let (kind, body) = match peer.stream.data(now, ping) {
            Some(body) => (kind::DATA, body),
            None => match peer.stream.pure_acknowledgement() {
                Some(body) => (kind::ACKNOWLEDGE, body),
                None => return bytes,
            },
        };
        frame::encode(&[&[kind], &body[..]].concat(), &mut bytes);
        bytes
    }

    fn go_down(&mut self, reason: &str) {
        self.peer = None;
        self.urgent.clear();
        self.channels.reset(reason);
        // Another value is all that is needed; it was random to begin with. 0 stands for "none".
        self.incarnation = self.incarnation.wrapping_add(1).max(1);
    }

    /// The next thing that became of a channel.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.channels.event()
    }
}
