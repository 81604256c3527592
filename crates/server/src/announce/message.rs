//! What is said of a server in multicast DNS: records, and which questions they answer. Pure.

use std::net::{IpAddr, SocketAddr};

use outpost_wire::{RELEASE, ServerKind};
use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, ResourceRecord, SimpleDnsError, TYPE};

use crate::registry;

/// The type of our servers (RFC 6763, 7).
pub(super) const SERVICE: &str = "_outpost._tcp.local";
/// Where types are asked for (RFC 6763, 9).
const TYPES: &str = "_services._dns-sd._udp.local";
/// Seconds for which a record is good: servers come and go.
const TTL: u32 = 120;
/// The same for those who ask without being members of the group (RFC 6762, 6.7).
const LEGACY_TTL: u32 = 10;
/// Longest host name in a label; a label has at most 63 bytes (RFC 1035, 2.3.4).
const HOST_LEN: usize = 40;

/// A server as it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) kind: ServerKind,
    /// Name of the machine, for people.
    pub(super) host: String,
    pub(super) port: u16,
    /// As lists show it, without a secret.
    pub(super) transport: String,
    /// Makes its names those of nobody else, so that none has to be probed (RFC 6762, 8.1).
    pub(super) unique: String,
}

/// What is wanted by a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing of ours.
    Nothing,
    /// The records, for everybody.
    Multicast,
    /// The records, for whoever asked from a port of its own.
    Legacy,
}

impl Service {
    /// The first label of its name.
    pub(super) fn instance(&self) -> String {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let first = self.host.split('.').next().unwrap_or_default();
        let host: String = first.chars().filter(is_plain).take(HOST_LEN).collect();
        format!("{host}-{}-{}", self.port, self.unique)
    }

    fn full_name(&self) -> String {
        format!("{}.{SERVICE}", self.instance())
    }

    /// Of addresses only: the machine's own name in multicast DNS may be another responder's.
    fn target(&self) -> String {
        format!("outpost-{}.local", self.unique)
    }

    /// What a datagram from `from_member`, or somebody else, asks for.
    pub(super) fn is_wanted(&self, datagram: &[u8], from_member: bool) -> Wanted {
        let Ok(query) = Packet::parse(datagram) else { return Wanted::Nothing };
        if query.has_flags(PacketFlag::RESPONSE) || !self.is_asked_for(&query).unwrap_or(false) {
            return Wanted::Nothing;
        }
        if from_member { Wanted::Multicast } else { Wanted::Legacy }
    }

    fn is_asked_for(&self, query: &Packet<'_>) -> Result<bool, SimpleDnsError> {
        let (full_name, target) = (self.full_name(), self.target());
        let (service, types) = (Name::new(SERVICE)?, Name::new(TYPES)?);
        let (full_name, target) = (Name::new(&full_name)?, Name::new(&target)?);
        let is_known = query.answers.iter().any(|known| {
            known.name == service && known.ttl >= TTL / 2 && known.rdata == RData::PTR(PTR(full_name.clone()))
        });
        Ok(query.questions.iter().any(|question| {
            let is = |name: &Name<'_>, kinds: &[TYPE]| {
                let is_kind = kinds.iter().any(|kind| question.qtype == QTYPE::TYPE(*kind));
                question.qname == *name && (is_kind || question.qtype == QTYPE::ANY)
            };
            // Who knows it does not need to be told (RFC 6762, 7.1).
            (is(&service, &[TYPE::PTR]) && !is_known)
                || is(&types, &[TYPE::PTR])
                || is(&full_name, &[TYPE::SRV, TYPE::TXT])
                || is(&target, &[TYPE::A, TYPE::AAAA])
        }))
    }

    /// All records, for a network on which the machine has these addresses. `ends`: they hold no longer.
    pub(super) fn announcement(&self, addresses: &[IpAddr], ends: bool) -> Option<Vec<u8>> {
        self.records(0, &[], addresses, if ends { 0 } else { TTL }).ok()
    }

    /// The same for one who asked from a port of its own: its question comes first.
    pub(super) fn legacy_answer(&self, query: &[u8], addresses: &[IpAddr]) -> Option<Vec<u8>> {
        let query = Packet::parse(query).ok()?;
        self.records(query.id(), &query.questions, addresses, LEGACY_TTL).ok()
    }

    fn records(
        &self,
        id: u16,
        questions: &[Question<'_>],
        addresses: &[IpAddr],
        ttl: u32,
    ) -> Result<Vec<u8>, SimpleDnsError> {
        let (full_name, target) = (self.full_name(), self.target());
        let mut packet = Packet::new_reply(id);
        packet.set_flags(PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER);
        packet.questions = questions.to_vec();
        let service = Name::new(SERVICE)?;
        // Of several servers each gives its own, ...
        let mut records = vec![record(service.clone(), RData::PTR(PTR(Name::new(&full_name)?)), ttl)];
        if ttl > 0 {
            // The type stays while there are others of it.
            records.push(record(Name::new(TYPES)?, RData::PTR(PTR(service)), ttl));
        }
        // ... of the others there is one (RFC 6762, 10.2).
        let srv = SRV { priority: 0, weight: 0, port: self.port, target: Name::new(&target)? };
        let mut own = vec![
            record(Name::new(&full_name)?, RData::SRV(srv), ttl),
            record(Name::new(&full_name)?, RData::TXT(self.text()?), ttl),
        ];
        for address in addresses {
            let data = match address {
                IpAddr::V4(address) => RData::A(A::from(*address)),
                IpAddr::V6(address) => RData::AAAA(AAAA::from(*address)),
            };
            own.push(record(Name::new(&target)?, data, ttl));
        }
        // Who is no member of the group does not know the mark of that (RFC 6762, 6.7).
        records.extend(own.into_iter().map(|record| record.with_cache_flush(questions.is_empty())));
        packet.answers = records;
        packet.build_bytes_vec_compressed()
    }

    fn text(&self) -> Result<TXT<'static>, SimpleDnsError> {
        let protocol = self.transport.split(':').next().unwrap_or_default();
        let text = TXT::new()
            .with_attribute("txtvers", Some(b"1"))?
            .with_attribute("kind", Some(registry::keyword(self.kind).as_bytes()))?
            .with_attribute("name", Some(self.host.as_bytes()))?
            .with_attribute("proto", Some(protocol.as_bytes()))?
            .with_attribute("release", Some(RELEASE.as_bytes()))?;
        // A list of client certificates may be longer than an attribute can be.
        Ok(text.clone().with_attribute("transport", Some(self.transport.as_bytes())).unwrap_or(text))
    }
}

fn record<'a>(name: Name<'a>, data: RData<'a>, ttl: u32) -> ResourceRecord<'a> {
    ResourceRecord::new(name, CLASS::IN, ttl, data)
}

/// Takes `datagram` as what anybody sends to the group, and gives whether it asks for the server it is shown to.
///
/// # Panics
/// On any fault: that is what is looked for.
pub fn fuzz_datagram(datagram: &[u8]) -> bool {
    let service = Service {
        kind: ServerKind::Process,
        host: "alder".into(),
        port: 9,
        transport: "ssl:Port=9".into(),
        unique: "0f1e2d3c".into(),
    };
    // Whether or not it asks for anything, an answer to it is made.
    service.legacy_answer(datagram, &[IpAddr::from([10, 0, 0, 7])]);
    service.is_wanted(datagram, true) != Wanted::Nothing
}

/// Whether who asked is near: what a router let through is not answered.
pub(super) fn is_near(asker: SocketAddr) -> bool {
    match asker.ip() {
        // It came to the group, which routers do not pass on.
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            kind: ServerKind::Process,
            host: "alder.example".into(),
            port: 41905,
            transport: "ssl:Port=41905,CertUser=AB,Password=*".into(),
            unique: "0f1e2d3c".into(),
        }
    }

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut query = Packet::new_query(7);
        let class = simple_dns::QCLASS::CLASS(CLASS::IN);
        query.questions.push(Question::new(Name::new(name).unwrap(), QTYPE::TYPE(kind), class, false));
        query.build_bytes_vec().unwrap()
    }

    const ADDRESSES: [IpAddr; 2] =
        [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];

    #[test]
    fn what_is_announced_is_all_there_is_to_know() {
        let datagram = service().announcement(&ADDRESSES, false).unwrap();
        let packet = Packet::parse(&datagram).unwrap();
        let own = "alder-41905-0f1e2d3c._outpost._tcp.local";
        let shown: Vec<(String, bool, u32)> =
            packet.answers.iter().map(|record| (record.name.to_string(), record.cache_flush, record.ttl)).collect();
        let target = "outpost-0f1e2d3c.local".to_owned();
        let expected = [
            (SERVICE.to_owned(), false, TTL),
            (TYPES.to_owned(), false, TTL),
            (own.to_owned(), true, TTL),
            (own.to_owned(), true, TTL),
            (target.clone(), true, TTL),
            (target, true, TTL),
        ];
        assert_eq!(shown, expected);
        let RData::SRV(srv) = &packet.answers[2].rdata else { panic!("{packet:?}") };
        assert_eq!(srv.port, 41905);
        let RData::TXT(text) = &packet.answers[3].rdata else { panic!("{packet:?}") };
        let attributes = text.attributes();
        let attribute = |key: &str| attributes.get(key).cloned().flatten().unwrap_or_default();
        assert_eq!((attribute("kind"), attribute("name")), ("process".into(), "alder.example".into()));
        assert_eq!((attribute("proto"), attribute("transport")), ("ssl".into(), service().transport));
        // Taken back, the type stays: others have it, too.
        let datagram = service().announcement(&ADDRESSES, true).unwrap();
        let packet = Packet::parse(&datagram).unwrap();
        assert!(packet.answers.iter().all(|record| record.ttl == 0 && record.name != Name::new(TYPES).unwrap()));
    }

    #[test]
    fn only_questions_for_it_are_answered_and_only_to_those_who_do_not_know() {
        let is_wanted = |datagram: &[u8]| service().is_wanted(datagram, true);
        let own = "Alder-41905-0F1E2D3C._outpost._TCP.local";
        for (name, kind) in [
            (SERVICE, TYPE::PTR),
            (TYPES, TYPE::PTR),
            (own, TYPE::SRV),
            (own, TYPE::TXT),
            ("outpost-0f1e2d3c.local", TYPE::AAAA),
        ] {
            assert_eq!(is_wanted(&query(name, kind)), Wanted::Multicast, "{name}");
        }
        for (name, kind) in [("_http._tcp.local", TYPE::PTR), (SERVICE, TYPE::SRV), ("outpost-1.local", TYPE::A)] {
            assert_eq!(is_wanted(&query(name, kind)), Wanted::Nothing, "{name}");
        }
        let asked = query(SERVICE, TYPE::PTR);
        assert_eq!(service().is_wanted(&asked, false), Wanted::Legacy);
        let answer = service().legacy_answer(&asked, &ADDRESSES).unwrap();
        let answer = Packet::parse(&answer).unwrap();
        assert_eq!((answer.id(), answer.questions.len()), (7, 1));
        assert!(answer.answers.iter().all(|record| record.ttl <= LEGACY_TTL && !record.cache_flush));
        // An announcement is no question, and who brings what we would say is not told again.
        let announcement = service().announcement(&ADDRESSES, false).unwrap();
        assert_eq!(is_wanted(&announcement), Wanted::Nothing);
        let mut knowing = Packet::parse(&asked).unwrap();
        knowing.answers.push(Packet::parse(&announcement).unwrap().answers[0].clone());
        assert_eq!(is_wanted(&knowing.build_bytes_vec().unwrap()), Wanted::Nothing);
    }

    #[test]
    fn damaged_datagrams_do_no_harm() {
        // A question with everything in it that an answer has.
        let (asked, known) = (query("alder-9-0f1e2d3c._outpost._tcp.local", TYPE::SRV), service());
        let known = known.announcement(&ADDRESSES, false).unwrap();
        let mut packet = Packet::parse(&asked).unwrap();
        packet.answers = Packet::parse(&known).unwrap().answers;
        let whole = packet.build_bytes_vec_compressed().unwrap();
        assert!(fuzz_datagram(&whole));
        for len in 0..whole.len() {
            fuzz_datagram(&whole[..len]);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x3f, 0x7f, 0x80, 0xc0, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                fuzz_datagram(&damaged);
            }
        }
    }
}
