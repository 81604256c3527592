//! Two ends of a line, joined by one that loses, garbles and inserts bytes.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::channels::{CREDIT, Event};
use super::line::Line;

/// What a line does to its bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Noise {
    /// In 1,000 bytes: lost, garbled, inserted.
    lost: u32,
    garbled: u32,
    inserted: u32,
}

/// A line of 115,200 baud and its two ends, in time that passes only here.
struct Pair {
    ends: [Line; 2],
    wires: [VecDeque<u8>; 2],
    now: Duration,
    noise: Noise,
    random: u64,
    cut: bool,
}

impl Pair {
    fn new(noise: Noise, seed: u64) -> Pair {
        let end = |incarnation| Line::new(incarnation, 115_200, Duration::ZERO);
        let random = seed | 1;
        Pair { ends: [end(11), end(22)], wires: Default::default(), now: Duration::ZERO, noise, random, cut: false }
    }

    fn random(&mut self, below: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % u64::from(below)) as u32
    }

    /// A millisecond: each end is called at once when it wants to be, the line carries what its rate allows.
    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        for from in [0, 1] {
            while self.wires[from].len() < 64
                && let Some(bytes) = self.ends[from].transmit(self.now)
            {
                self.wires[from].extend(bytes);
            }
            let count = self.wires[from].len().min(11);
            let sent: Vec<u8> = self.wires[from].drain(..count).collect();
            let mut arrived = Vec::new();
            for byte in sent {
                let Noise { lost, garbled, inserted } = self.noise;
                let fate = self.random(1000);
                match fate {
                    _ if self.cut || fate < lost => {}
                    _ if fate < lost + garbled => arrived.push(byte ^ (1 << self.random(8))),
                    _ if fate < lost + garbled + inserted => arrived.extend([self.random(256) as u8, byte]),
                    _ => arrived.push(byte),
                }
            }
            self.ends[1 - from].receive(&arrived, self.now);
        }
    }

    /// Steps until something has happened at one end, at most two minutes of the line's time.
    fn until<T>(&mut self, mut happened: impl FnMut(&mut Pair) -> Option<T>) -> T {
        for _ in 0..120_000 {
            if let Some(result) = happened(self) {
                return result;
            }
            self.step();
        }
        panic!("it did not happen");
    }

    fn event(&mut self, end: usize) -> Event {
        self.until(|pair| pair.ends[end].event())
    }

    fn connect(&mut self, channel: u8) {
        self.ends[1].channels.listen(channel, true);
        self.ends[0].open(channel);
        assert_eq!(self.event(1), Event::Incoming(channel));
        assert_eq!(self.event(0), Event::Accepted(channel));
    }
}

/// One direction of one connection.
struct Transfer {
    from: usize,
    channel: u8,
    bytes: Vec<u8>,
    sent: usize,
    arrived: Vec<u8>,
}

impl Transfer {
    fn new(from: usize, channel: u8, len: usize) -> Transfer {
        let bytes = (0..len).map(|at| (at * 7 + usize::from(channel) + from) as u8 & !3).collect();
        Transfer { from, channel, bytes, sent: 0, arrived: Vec::new() }
    }

    fn advance(&mut self, pair: &mut Pair) -> bool {
        let sender = &mut pair.ends[self.from].channels;
        let count = sender.room(self.channel).min(self.bytes.len() - self.sent);
        sender.send(self.channel, &self.bytes[self.sent..self.sent + count]);
        self.sent += count;
        let receiver = &mut pair.ends[1 - self.from].channels;
        let inbox = receiver.inbox(self.channel).to_vec();
        receiver.take(self.channel, inbox.len());
        self.arrived.extend(inbox);
        self.arrived.len() >= self.bytes.len()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_directions_deliver_exactly_what_was_sent(
        lost in 0_u32..12, garbled in 0_u32..12, inserted in 0_u32..8, seed: u64, lens in prop::array::uniform4(0_usize..2500),
    ) {
        let mut pair = Pair::new(Noise { lost, garbled, inserted }, seed);
        pair.connect(3);
        pair.connect(254);
        let [a, b, c, d] = lens;
        let mut transfers =
            [Transfer::new(0, 3, a), Transfer::new(1, 3, b), Transfer::new(0, 254, c), Transfer::new(1, 254, d)];
        pair.until(|pair| {
            let done = transfers.each_mut().map(|transfer| transfer.advance(pair));
            done.iter().all(|&done| done).then_some(())
        });
        for transfer in transfers {
            prop_assert_eq!(transfer.arrived, transfer.bytes);
        }
        prop_assert_eq!((pair.ends[0].event(), pair.ends[1].event()), (None, None));
    }
}

#[test]
fn last_words_arrive_and_the_channel_is_free_again() {
    let mut pair = Pair::new(Noise { lost: 10, garbled: 10, inserted: 5 }, 99);
    for round in 0..3 {
        pair.connect(7);
        pair.ends[0].channels.send(7, b"last words");
        pair.ends[0].channels.end(7);
        pair.until(|pair| (pair.ends[1].channels.inbox(7) == b"last words").then_some(()));
        assert!(!pair.ends[1].channels.is_read_out(7));
        pair.ends[1].channels.send(7, b"and an answer");
        pair.ends[1].channels.end(7);
        assert_eq!(pair.event(0), Event::Over(7, b"and an answer".to_vec().into()), "round {round}");
        assert_eq!(pair.event(1), Event::Over(7, b"last words".to_vec().into()));
        pair.until(|pair| pair.ends.iter().all(Line::is_at_rest).then_some(()));
    }
}

#[test]
fn a_stalled_channel_holds_up_no_other() {
    let mut pair = Pair::new(Noise::default(), 1);
    pair.connect(1);
    pair.connect(2);
    let mut sent = 0;
    pair.until(|pair| {
        let channels = &mut pair.ends[0].channels;
        let room = channels.room(1);
        channels.send(1, &vec![9; room]);
        sent += room;
        (pair.ends[1].channels.inbox(1).len() == CREDIT).then_some(())
    });
    assert_eq!(pair.ends[0].channels.room(1), 0);
    let mut transfer = Transfer::new(0, 2, 3000);
    pair.until(|pair| transfer.advance(pair).then_some(()));
    assert_eq!(transfer.arrived, transfer.bytes);
    assert_eq!((pair.ends[1].channels.inbox(1).len(), sent), (CREDIT, CREDIT));
    pair.ends[1].channels.take(1, CREDIT);
    pair.until(|pair| (pair.ends[0].channels.room(1) > 0).then_some(()));
}

#[test]
fn who_stops_reading_is_sent_nothing_more() {
    let mut pair = Pair::new(Noise::default(), 1);
    pair.connect(1);
    pair.ends[1].channels.stop(1);
    pair.ends[1].channels.end(1);
    assert_eq!(pair.event(0), Event::Stopped(1));
    assert_eq!(pair.event(0), Event::Over(1, VecDeque::new()));
    assert_eq!(pair.event(1), Event::Over(1, VecDeque::new()));
}

#[test]
fn channels_without_server_and_channels_in_use_are_refused() {
    let mut pair = Pair::new(Noise::default(), 1);
    pair.ends[0].open(5);
    assert_eq!(pair.event(0), Event::Refused(5, "no server listens on it at the other end".into()));
    // Both at once: neither is a server.
    pair.ends[0].open(6);
    pair.ends[1].open(6);
    for end in [0, 1] {
        assert_eq!(pair.event(end), Event::Refused(6, "it is in use at the other end".into()));
    }
}

#[test]
fn a_new_life_of_the_other_end_is_noticed() {
    let mut pair = Pair::new(Noise::default(), 1);
    pair.connect(1);
    pair.ends[1] = Line::new(33, 115_200, pair.now);
    pair.ends[1].channels.listen(1, true);
    pair.ends[0].channels.send(1, b"for the dead");
    // The new one knows nothing of it and says so, without being asked for a connection.
    assert_eq!(pair.event(0), Event::Over(1, VecDeque::new()));
    pair.ends[0].open(1);
    assert_eq!(pair.event(1), Event::Incoming(1));
    assert_eq!(pair.event(0), Event::Accepted(1));
    assert!(pair.ends[1].channels.inbox(1).is_empty());
}

#[test]
fn a_cut_line_ends_connections_in_seconds_and_an_idle_one_lasts() {
    let mut pair = Pair::new(Noise { lost: 10, garbled: 10, inserted: 5 }, 5);
    pair.connect(1);
    for _ in 0..60_000 {
        pair.step();
    }
    assert_eq!((pair.ends[0].event(), pair.ends[1].event()), (None, None));
    pair.cut = true;
    let before = pair.now;
    assert_eq!(pair.event(0), Event::Over(1, VecDeque::new()));
    assert_eq!(pair.event(1), Event::Over(1, VecDeque::new()));
    assert!(pair.now - before < Duration::from_secs(8), "{:?} of the line's time", pair.now - before);
    pair.cut = false;
    pair.connect(1);
}

#[test]
fn a_farewell_is_heard_at_once() {
    let mut pair = Pair::new(Noise::default(), 1);
    pair.connect(1);
    let bytes = pair.ends[0].farewell();
    pair.ends[1].receive(&bytes, pair.now);
    assert_eq!(pair.ends[1].event(), Some(Event::Over(1, VecDeque::new())));
    assert!(!pair.ends[1].is_up());
}

#[test]
fn other_versions_and_echoes_bring_no_line_up() {
    let mut line = Line::new(1, 115_200, Duration::ZERO);
    line.open(1);
    let hello = line.transmit(Duration::ZERO).unwrap();
    assert_eq!(line.transmit(Duration::ZERO), None);
    line.receive(&hello, Duration::ZERO);
    assert!(!line.is_up());
    let mut other = Vec::new();
    super::frame::encode(&[1, 9, 5, 0, 0, 0, 0, 0, 0, 0], &mut other);
    line.receive(&other, Duration::ZERO);
    assert!(!line.is_up());
    assert_eq!(line.other_version(), Some(9));
}
