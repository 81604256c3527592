//! Which keys each protocol takes on each side, and what their values look like.

use std::fmt;
use std::net::IpAddr;

use super::params::{RawParam, RawTransport, split_params, split_protocol};
use crate::com::is_valid_port;
use crate::npipe::is_valid_name;
use crate::{CertificateName, Password, Store, Thumbprint, TlsClient, TlsListen, TransportError};

/// Ports to try, first to last; usually one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, at least `first`.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}:{}", self.first, self.last),
        }
    }
}

/// Who a string is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Listens.
    Server,
    /// Connects.
    Client,
}

/// What a key's value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// No value.
    Flag,
    /// `N`.
    Port,
    /// `N` or `N:M`.
    PortRange,
    /// File name, with at most two codes on the server's side.
    PipeName,
    /// See [`Password`].
    Password,
    /// Host name or address.
    Host,
    /// Address, or `*` for every one.
    Address,
    /// `4` or `6`.
    IpVersion,
    /// A protocol of the TLS family.
    TlsProtocol,
    /// Serial line: `com2`, `/dev/ttyUSB0`, a number.
    SerialPort,
    /// Bits per second.
    Baud,
    /// 0 to 254.
    Channel,
    /// `true` or `false`.
    Bool,
    /// `yes` or `no`.
    YesNo,
    /// A thumbprint, or the name of a file in a store.
    Certificate,
    /// For who listens: thumbprints, parted by semicolons; for who connects: name of a certificate of one's own.
    ClientCertificate,
    /// Anything that is not empty.
    Text,
}

/// A key of a protocol on one side.
struct Key {
    name: &'static str,
    rule: Rule,
}

const fn key(name: &'static str, rule: Rule) -> Key {
    Key { name, rule }
}

const PASSWORD: Key = key("password", Rule::Password);
const HIDDEN: Key = key("hidden", Rule::Flag);
const SERVER: Key = key("server", Rule::Host);
const CLICON: Key = key("clicon", Rule::Host);
const IP_VERSION: Key = key("ipversion", Rule::IpVersion);
const ICF_ENABLE: Key = key("icfenable", Rule::Flag);
const BIND: Key = key("bind", Rule::Address);
const PORTS: Key = key("port", Rule::PortRange);
const PORT: Key = key("port", Rule::Port);
const PIPE: Key = key("pipe", Rule::PipeName);
const TLS: Key = key("proto", Rule::TlsProtocol);
const CERTUSER: Key = key("certuser", Rule::Certificate);
const MACHUSER: Key = key("machuser", Rule::Certificate);
/// Whom one side lets in, and what the other shows.
const CLIENT_CERTIFICATE: Key = key("clientcert", Rule::ClientCertificate);
const SERIAL: Key = key("port", Rule::SerialPort);
const BAUD: Key = key("baud", Rule::Baud);
const CHANNEL: Key = key("channel", Rule::Channel);

/// A protocol's name and its keys; `None` where the side does not exist.
struct Protocol {
    name: &'static str,
    server: Option<&'static [Key]>,
    client: Option<&'static [Key]>,
    /// Keys without which it makes no sense, on both sides unless the side lacks them.
    required: &'static [&'static str],
}

const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "tcp",
        server: Some(&[PORTS, HIDDEN, PASSWORD, IP_VERSION, ICF_ENABLE, BIND, CLICON]),
        // The range is for `clicon`, where it is the client that listens.
        client: Some(&[SERVER, PORTS, PASSWORD, IP_VERSION, CLICON]),
        required: &["port", "server"],
    },
    Protocol {
        name: "npipe",
        server: Some(&[PIPE, HIDDEN, PASSWORD, ICF_ENABLE, CLICON]),
        client: Some(&[SERVER, PIPE, PASSWORD, CLICON]),
        required: &["pipe"],
    },
    Protocol {
        name: "ssl",
        server: Some(&[TLS, CERTUSER, MACHUSER, CLIENT_CERTIFICATE, PORTS, HIDDEN, PASSWORD, IP_VERSION, BIND, CLICON]),
        client: Some(&[TLS, CERTUSER, MACHUSER, CLIENT_CERTIFICATE, SERVER, PORTS, PASSWORD, IP_VERSION, CLICON]),
        required: &["port", "server"],
    },
    Protocol {
        name: "spipe",
        server: Some(&[TLS, CERTUSER, MACHUSER, CLIENT_CERTIFICATE, PIPE, HIDDEN, PASSWORD, CLICON]),
        client: Some(&[TLS, CERTUSER, MACHUSER, CLIENT_CERTIFICATE, SERVER, PIPE, PASSWORD, CLICON]),
        required: &["pipe"],
    },
    Protocol {
        name: "com",
        server: Some(&[SERIAL, BAUD, CHANNEL, HIDDEN, PASSWORD]),
        client: Some(&[SERIAL, BAUD, CHANNEL, PASSWORD]),
        required: &["port", "baud", "channel"],
    },
    Protocol {
        name: "gdb",
        server: None,
        client: Some(&[SERVER, PORT, key("threadevents", Rule::Bool)]),
        required: &["server", "port"],
    },
    Protocol {
        name: "ssh",
        server: None,
        client: Some(&[SERVER, PORT, key("path", Rule::Text), key("copy", Rule::YesNo)]),
        required: &["server"],
    },
];

/// A checked string: every key known, given once, its value of the right kind.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    /// Canonical name of the protocol.
    pub(crate) protocol: &'static str,
    /// Lower-case keys with their values.
    params: Vec<(&'static str, &'a str)>,
    /// The file that has the password: `password=@FILE`.
    password_file: Option<&'a str>,
}

impl<'a> Checked<'a> {
    /// Splits and checks. What this release has no use for is refused last, so that mistakes are told first.
    pub(crate) fn parse(text: &'a str, side: Side) -> Result<Checked<'a>, TransportError> {
        let RawTransport { protocol: name, rest } = split_protocol(text)?;
        if name.eq_ignore_ascii_case("exec") {
            return Err(TransportError::WrongSide { protocol: "exec", side: ON_CLIENT });
        }
        let protocol = PROTOCOLS.iter().find(|protocol| protocol.name.eq_ignore_ascii_case(name));
        let protocol = protocol.ok_or_else(|| TransportError::UnknownProtocol { name: name.to_owned() })?;
        let keys = match side {
            Side::Server => protocol.server,
            Side::Client => protocol.client,
        };
        let keys = keys.ok_or(TransportError::WrongSide { protocol: protocol.name, side: ON_CLIENT })?;

        let mut checked = Checked { protocol: protocol.name, params: Vec::new(), password_file: None };
        let params = split_params(rest)?;
        let is_reverse = params.iter().any(|param| param.key.eq_ignore_ascii_case(CLICON.name));
        let listens = (side == Side::Server) != is_reverse;
        checked.take(params, keys, listens)?;
        checked.check_combinations(protocol, keys, listens)?;
        if !matches!(protocol.name, "tcp" | "npipe" | "ssl" | "spipe" | "com" | "ssh") {
            return Err(TransportError::NotInThisRelease { what: format!("{}:", protocol.name) });
        }
        Ok(checked)
    }

    /// The pairs of a credential: of the keys of who listens, those that say whom it lets in.
    pub(crate) fn credential(text: &'a str) -> Result<Checked<'a>, TransportError> {
        let mut checked = Checked { protocol: "credential", params: Vec::new(), password_file: None };
        checked.take(split_params(text)?, &[PASSWORD, CLIENT_CERTIFICATE], true)?;
        Ok(checked)
    }

    fn take(&mut self, params: Vec<RawParam<'a>>, keys: &[Key], listens: bool) -> Result<(), TransportError> {
        for RawParam { key: name, value, is_braced } in params {
            let key = keys.iter().find(|key| key.name.eq_ignore_ascii_case(name));
            let key = key.ok_or_else(|| unknown_key(self.protocol, name, keys))?;
            if self.has(key.name) {
                return Err(TransportError::DuplicateKey { key: key.name });
            }
            // In braces it is the password itself, whatever it begins with.
            let file = value.filter(|_| key.rule == Rule::Password && !is_braced);
            match file.and_then(|value| value.strip_prefix('@')) {
                Some(path) => self.password_file = Some(path),
                None => check_value(key, value, listens)?,
            }
            self.params.push((key.name, value.unwrap_or_default()));
        }
        Ok(())
    }

    /// Whether the key was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key; empty for a flag.
    pub(crate) fn get(&self, key: &str) -> Option<&'a str> {
        self.params.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// The value of `password=`.
    pub(crate) fn password(&self) -> Result<Option<Password>, TransportError> {
        match self.password_file {
            Some(path) => Password::in_file(path).map(Some),
            None => self.get("password").map(Password::new).transpose(),
        }
    }

    /// The value of `certuser=` or `machuser=`.
    fn certificate(&self) -> Option<CertificateName> {
        let named = |key, store| self.get(key).map(|text| CertificateName::new(store, text));
        named("certuser", Store::User).or_else(|| named("machuser", Store::Machine))
    }

    /// The TLS part of who listens.
    pub(crate) fn tls_listen(&self) -> TlsListen {
        let clients = self.thumbprints().unwrap_or_default();
        TlsListen { certificate: self.certificate(), clients, is_optional: false }
    }

    /// The value of `clientcert=` of who listens.
    pub(crate) fn thumbprints(&self) -> Option<Vec<Thumbprint>> {
        self.get("clientcert").and_then(parse_thumbprints)
    }

    /// The TLS part of who connects.
    ///
    /// # Errors
    /// It is not said which certificate the other end must show.
    pub(crate) fn tls_client(&self) -> Result<TlsClient, TransportError> {
        let server = self.certificate().ok_or(TransportError::MissingThumbprint { protocol: self.protocol })?;
        Ok(TlsClient { server, own: self.get("clientcert").map(str::to_owned) })
    }

    /// The value of `port=`.
    pub(crate) fn ports(&self) -> Result<PortRange, TransportError> {
        let text = self.get("port").unwrap_or_default();
        parse_ports(text).ok_or_else(|| invalid("port", text, PORT_EXPECTED))
    }

    /// The serial line of `port=`, `baud=` and `channel=`.
    pub(crate) fn serial(&self) -> (String, u32, u8) {
        let number = |key| self.get(key).unwrap_or_default();
        (number("port").to_owned(), number("baud").parse().unwrap_or(0), number("channel").parse().unwrap_or(0))
    }

    /// The value of `bind=`.
    pub(crate) fn bind(&self) -> Result<Option<IpAddr>, TransportError> {
        let ipv6 = self.wants_ipv6();
        self.get("bind").map(|text| parse_address(text, ipv6)).transpose()
    }

    /// Whether `ipversion=6` was given.
    pub(crate) fn wants_ipv6(&self) -> bool {
        self.get("ipversion") == Some("6")
    }

    /// The value of `server=`, without `\\` in front and without brackets around an IPv6 address.
    pub(crate) fn server(&self) -> Option<&'a str> {
        self.get("server").map(bare_host)
    }

    /// The value of `clicon=`, in the same form.
    pub(crate) fn clicon(&self) -> Option<&'a str> {
        self.get("clicon").map(bare_host)
    }

    fn check_combinations(&self, protocol: &Protocol, keys: &[Key], listens: bool) -> Result<(), TransportError> {
        for (first, second) in
            [("hidden", "clicon"), ("certuser", "machuser"), ("server", "clicon"), ("bind", "clicon")]
        {
            if self.has(first) && self.has(second) {
                return Err(TransportError::Conflict { first, second });
            }
        }
        for name in protocol.required.iter().copied() {
            let replaced = name == "server" && self.has("clicon");
            if keys.iter().any(|key| key.name == name) && !self.has(name) && !replaced {
                return Err(TransportError::MissingKey { protocol: protocol.name, key: name });
            }
        }
        // Whoever dials must know the exact port; whoever listens may try several.
        let port = self.get("port").unwrap_or_default();
        let is_tcp = matches!(protocol.name, "tcp" | "ssl");
        if !listens && is_tcp && (port.contains(':') || port == "0") {
            return Err(invalid("port", port, "the side that dials names one port, the one that was taken"));
        }
        Ok(())
    }
}

const ON_CLIENT: &str = "by a client, after -premote";
const PORT_EXPECTED: &str = "a port is a number from 0 to 65535, a range is first:last";

fn bare_host(text: &str) -> &str {
    let host = text.trim_start_matches('\\');
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn unknown_key(protocol: &'static str, key: &str, keys: &[Key]) -> TransportError {
    let known: Vec<_> = keys.iter().map(|key| key.name).collect();
    TransportError::UnknownKey { protocol, key: key.to_owned(), known: known.join(", ") }
}

fn invalid(key: &'static str, value: &str, expected: &'static str) -> TransportError {
    TransportError::InvalidValue { key, value: value.to_owned(), expected }
}

fn check_value(key: &Key, value: Option<&str>, listens: bool) -> Result<(), TransportError> {
    let Some(text) = value else {
        return match key.rule {
            Rule::Flag => Ok(()),
            _ => Err(TransportError::MissingValue { key: key.name }),
        };
    };
    let (is_valid, expected) = match key.rule {
        Rule::Flag => return Err(TransportError::UnexpectedValue { key: key.name }),
        Rule::Password => return Password::new(text).map(drop),
        Rule::Port => (text.parse::<u16>().is_ok(), "a port is a number from 0 to 65535"),
        Rule::PortRange => (parse_ports(text).is_some(), PORT_EXPECTED),
        Rule::PipeName => (
            is_valid_name(text) && (!listens || has_valid_codes(text)),
            "a pipe name has 1 to 64 characters, does not start with a dot, and has no slash, space, quotation mark or \
             control character; where it listens it may contain %d or %x twice at most",
        ),
        Rule::Host => (is_valid_host(text), "a host is a name or an address"),
        Rule::Address => (parse_address(text, false).is_ok(), "an address of this machine, or * for all of them"),
        Rule::IpVersion => (matches!(text, "4" | "6"), "4 or 6"),
        Rule::TlsProtocol => (
            text.eq_ignore_ascii_case("tls13") || text.eq_ignore_ascii_case("tls1"),
            "tls13 (or tls1); older protocols are not secure",
        ),
        Rule::SerialPort => (is_valid_port(text), "com1 (which is /dev/ttyS0), /dev/ttyUSB0 or the like"),
        Rule::Baud => (text.parse::<u32>().is_ok_and(|rate| rate > 0), "a rate in bits per second"),
        Rule::Channel => (text.parse::<u8>().is_ok_and(|channel| channel <= 254), "a number from 0 to 254"),
        Rule::YesNo => (matches!(text, "yes" | "no"), "yes or no"),
        Rule::Bool => (matches!(text, "true" | "false"), "true or false"),
        Rule::Certificate => (
            Thumbprint::parse(text).is_some() || is_valid_name(text),
            "a thumbprint (40 or 64 hexadecimal digits), or NAME for NAME.crt and NAME.key of the store",
        ),
        Rule::ClientCertificate if listens => (
            parse_thumbprints(text).is_some(),
            "thumbprints (40 or 64 hexadecimal digits) of the certificates that are let in, parted by semicolons",
        ),
        // The other side's value would make a certificate of that name.
        Rule::ClientCertificate => (
            is_valid_name(text) && Thumbprint::parse(text).is_none(),
            "NAME, for NAME.crt and NAME.key of your certificates",
        ),
        Rule::Text => (!text.is_empty(), "a text"),
    };
    match is_valid {
        true => Ok(()),
        false => Err(invalid(key.name, text, expected)),
    }
}

fn parse_thumbprints(text: &str) -> Option<Vec<Thumbprint>> {
    text.split(';').map(Thumbprint::parse).collect()
}

fn parse_ports(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(PortRange { first, last })
}

fn parse_address(text: &str, ipv6: bool) -> Result<IpAddr, TransportError> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare {
        "*" if ipv6 => Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        "*" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        _ if bare.eq_ignore_ascii_case("localhost") && ipv6 => Ok(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ if bare.eq_ignore_ascii_case("localhost") => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => bare.parse().map_err(|_| invalid("bind", text, "an address of this machine, or * for all of them")),
    }
}

fn is_valid_host(text: &str) -> bool {
    let bare = text.trim_start_matches('\\');
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%' | '[' | ']' | '@');
    // In front, a dash would be an option to ssh.
    !bare.is_empty() && bare.len() <= 255 && !bare.starts_with('-') && bare.chars().all(allowed)
}

/// At most two codes, each `%d` or `%x`, and no other percent sign.
fn has_valid_codes(name: &str) -> bool {
    let mut codes = name.split('%').skip(1);
    let all_known = codes.clone().all(|after| after.starts_with(['d', 'x']));
    all_known && codes.by_ref().count() <= 2
}
