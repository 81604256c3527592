//! How often passwords may be guessed.
//!
//! A wrong proof closes its source for a while: a second for each of the first three, then twice as long each time, up to a
//! minute. What comes from a closed source is refused without being looked at, so that many connections at once gain
//! nothing. When the wrong proofs of all sources together become many, those that have never proved anything are closed
//! in the same way, for seconds only; whoever got in before is not affected.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use outpost_transport::Peer;

/// The answer to a wrong proof comes this late; a source is closed as long at first.
pub(super) const PENALTY: Duration = Duration::from_secs(1);
/// Wrong proofs of one source before the time doubles.
const FREE: u32 = 3;
/// The longest that one source is closed.
const LONGEST: Duration = Duration::from_secs(60);
/// Wrong proofs of all sources before strangers are closed.
const FREE_TOTAL: u32 = 64;
/// The longest that strangers are closed.
const LONGEST_TOTAL: Duration = Duration::from_secs(4);
/// After this long without a wrong proof all is forgotten.
const MEMORY: Duration = Duration::from_secs(600);
/// Sources remembered; the one that was quiet for longest is forgotten for a new one.
const MAX_SOURCES: usize = 1024;

/// Who guesses, as far as it cannot be changed at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An address; of IPv6 ones the network, since a machine has all of its addresses.
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
    /// What has no address: this program itself, a command that carries the link, a serial line.
    Own,
}

impl From<Peer> for Source {
    fn from(peer: Peer) -> Source {
        match peer {
            Peer::Address(address) => Source::Network(match address.ip() {
                IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
                ip => ip,
            }),
            Peer::Process { uid, .. } => Source::User(uid),
            Peer::Memory | Peer::Program { .. } | Peer::Serial { .. } => Source::Own,
        }
    }
}

/// What became of the proofs of a source, or of all.
#[derive(Debug, Clone, Copy)]
struct Record {
    wrong: u32,
    /// When something was proved or not, last.
    last: Instant,
    closed_until: Instant,
    /// It has proved itself once.
    is_known: bool,
}

impl Record {
    fn new(now: Instant) -> Record {
        Record { wrong: 0, last: now, closed_until: now, is_known: false }
    }

    fn count_wrong(&mut self, now: Instant, free: u32, longest: Duration) {
        if now.saturating_duration_since(self.last) > MEMORY {
            self.wrong = 0;
        }
        self.wrong = self.wrong.saturating_add(1);
        self.last = now;
        let doublings = self.wrong.saturating_sub(free).min(16);
        self.closed_until = now + (PENALTY * (1 << doublings)).min(longest);
    }
}

/// Counts wrong proofs.
#[derive(Debug)]
pub(super) struct Attempts {
    sources: HashMap<Source, Record>,
    total: Record,
}

impl Attempts {
    pub(super) fn new(now: Instant) -> Attempts {
        Attempts { sources: HashMap::new(), total: Record::new(now) }
    }

    /// How long nothing of this peer is looked at; zero: its proof may be checked.
    pub(super) fn closed_for(&self, peer: Peer, now: Instant) -> Duration {
        let own = self.sources.get(&peer.into());
        let total = Some(&self.total).filter(|total| total.wrong > FREE_TOTAL && !own.is_some_and(|own| own.is_known));
        let until = [own, total].into_iter().flatten().map(|record| record.closed_until).max();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub(super) fn wrong(&mut self, peer: Peer, now: Instant) {
        self.total.count_wrong(now, FREE_TOTAL, LONGEST_TOTAL);
        self.record(peer, now).count_wrong(now, FREE, LONGEST);
    }

    pub(super) fn right(&mut self, peer: Peer, now: Instant) {
        *self.record(peer, now) = Record { is_known: true, ..Record::new(now) };
    }

    fn record(&mut self, peer: Peer, now: Instant) -> &mut Record {
        let source = Source::from(peer);
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            let quiet = self.sources.iter().min_by_key(|(_, record)| record.last).map(|(source, _)| *source);
            quiet.map(|quiet| self.sources.remove(&quiet));
        }
        self.sources.entry(source).or_insert_with(|| Record::new(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Address(std::net::SocketAddr::new(address.parse().unwrap(), 7))
    }

    #[test]
    fn one_source_is_closed_for_longer_and_longer_and_others_are_not() {
        let mut now = Instant::now();
        let mut attempts = Attempts::new(now);
        let (guesser, other) = (peer("10.0.0.7"), peer("10.0.0.8"));
        let mut closed = Vec::new();
        for _ in 0..12 {
            attempts.wrong(guesser, now);
            let time = attempts.closed_for(guesser, now);
            assert_eq!(attempts.closed_for(other, now), Duration::ZERO);
            closed.push(time.as_secs());
            now += time;
            assert_eq!(attempts.closed_for(guesser, now), Duration::ZERO);
        }
        assert_eq!(closed, [1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        now += MEMORY + PENALTY;
        attempts.wrong(guesser, now);
        assert_eq!(attempts.closed_for(guesser, now), PENALTY, "all was forgotten");
        attempts.right(guesser, now);
        assert_eq!(attempts.closed_for(guesser, now), Duration::ZERO);
    }

    #[test]
    fn of_ipv6_addresses_the_network_counts_and_of_pipes_the_user() {
        let now = Instant::now();
        let mut attempts = Attempts::new(now);
        attempts.wrong(peer("2001:db8::1"), now);
        assert_eq!(attempts.closed_for(peer("2001:db8::ffff:2"), now), PENALTY);
        assert_eq!(attempts.closed_for(peer("2001:db8:0:1::1"), now), Duration::ZERO);
        attempts.wrong(Peer::Process { pid: 1, uid: 5 }, now);
        assert_eq!(attempts.closed_for(Peer::Process { pid: 2, uid: 5 }, now), PENALTY);
        assert_eq!(attempts.closed_for(Peer::Process { pid: 1, uid: 6 }, now), Duration::ZERO);
    }

    #[test]
    fn many_sources_close_the_strangers_but_not_those_who_got_in_before() {
        let now = Instant::now();
        let mut attempts = Attempts::new(now);
        let (known, stranger) = (peer("10.1.0.1"), peer("10.1.0.2"));
        attempts.right(known, now);
        for number in 0..200_u8 {
            attempts.wrong(peer(&format!("10.2.0.{number}")), now);
        }
        assert_eq!(attempts.closed_for(known, now), Duration::ZERO);
        assert_eq!(attempts.closed_for(stranger, now), LONGEST_TOTAL);
        assert_eq!(attempts.closed_for(stranger, now + LONGEST_TOTAL), Duration::ZERO);
        for number in 0..3000_u32 {
            attempts.wrong(peer(&Ipv6Addr::from_bits(u128::from(number) << 64).to_string()), now);
        }
        assert!(attempts.sources.len() <= MAX_SOURCES, "memory is bounded");
    }
}
