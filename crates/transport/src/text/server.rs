//! Where a server listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::keys::{Checked, PortRange, Side};
use crate::{Connection, Password, TcpClient, TlsListen, TransportError, com, tcp};

/// A server's connection string. `Display` gives the form that is shown in listings: never a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTransport {
    /// `tcp:`
    Tcp(TcpListen),
    /// `npipe:`
    Npipe(PipeListen),
    /// `ssl:`, the keys of `tcp:` and those of TLS
    Ssl(TcpListen, TlsListen),
    /// `spipe:`, the keys of `npipe:` and those of TLS
    Spipe(PipeListen, TlsListen),
    /// `tcp:` with `clicon=`: the server dials.
    TcpReverse(ReverseDial),
    /// `com:`
    Com(ComListen),
}

/// `tcp:port=N[:M][,password=][,bind=ADDR][,hidden][,ipversion=6]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpListen {
    /// Ports to try, in order; 0 lets the system choose.
    pub port: PortRange,
    /// Address to listen on; `None`: loopback, for `ssl:` every one.
    pub bind: Option<IpAddr>,
    /// IPv6 loopback instead of IPv4's.
    pub ipv6: bool,
    /// Not to be listed by discovery.
    pub hidden: bool,
    /// What clients must know.
    pub password: Option<Password>,
    /// The firewall should be opened; this release prints a note instead.
    pub open_firewall: bool,
}

/// `npipe:pipe=NAME[,password=][,hidden]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeListen {
    /// Name of the pipe; `%d` or `%x` stands for the process id, a second one for the thread id.
    pub name: String,
    /// Not to be listed by discovery.
    pub hidden: bool,
    /// What clients must know.
    pub password: Option<Password>,
}

/// `tcp:port=N,clicon=HOST[,password=][,ipversion=6]`, on the server's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseDial {
    /// The host whose client is dialled.
    pub host: String,
    /// The port on which it listens.
    pub port: u16,
    /// Only IPv6 addresses of the host.
    pub ipv6: bool,
    /// What the client must know.
    pub password: Option<Password>,
}

impl ReverseDial {
    /// Dials once.
    ///
    /// # Errors
    /// Host unknown; nobody listens there, or nobody answers in time.
    pub fn dial(&self) -> Result<Connection, TransportError> {
        let ReverseDial { host, port, ipv6, .. } = self;
        tcp::connect(&TcpClient { server: host.clone(), port: *port, ipv6: *ipv6, password: None })
    }
}

/// `com:port=LINE,baud=N,channel=N[,password=][,hidden]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComListen {
    /// The serial line: `com1` (which is `/dev/ttyS0`), or a device's path.
    pub port: String,
    /// Bits per second, the same at both ends.
    pub baud: u32,
    /// 0 to 254; one line carries a connection on each.
    pub channel: u8,
    /// Not to be listed by discovery.
    pub hidden: bool,
    /// What clients must know.
    pub password: Option<Password>,
}

impl ServerTransport {
    /// Whether it is to be left out where servers are listed: by the key `hidden`, or because it listens nowhere.
    pub fn is_hidden(&self) -> bool {
        match self {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) => tcp.hidden,
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => pipe.hidden,
            ServerTransport::Com(com) => com.hidden,
            ServerTransport::TcpReverse(_) => true,
        }
    }

    /// What clients must know, if anything.
    pub fn password(&self) -> Option<&Password> {
        match self {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) => tcp.password.as_ref(),
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => pipe.password.as_ref(),
            ServerTransport::TcpReverse(dial) => dial.password.as_ref(),
            ServerTransport::Com(com) => com.password.as_ref(),
        }
    }

    /// Changes what clients must know.
    pub fn set_password(&mut self, password: Password) {
        match self {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) => tcp.password = Some(password),
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => pipe.password = Some(password),
            ServerTransport::TcpReverse(dial) => dial.password = Some(password),
            ServerTransport::Com(com) => com.password = Some(password),
        }
    }

    /// Whether other machines can reach it.
    pub fn is_beyond_this_machine(&self) -> bool {
        match self {
            ServerTransport::Tcp(tcp) => tcp.bind.is_some_and(|address| !address.is_loopback()),
            ServerTransport::Ssl(tcp, _) => tcp.bind.is_none_or(|address| !address.is_loopback()),
            // Of a reverse connection only its one client is at the other end.
            ServerTransport::Npipe(_)
            | ServerTransport::Spipe(..)
            | ServerTransport::TcpReverse(_)
            | ServerTransport::Com(_) => false,
        }
    }

    /// Whether what crosses it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, ServerTransport::Ssl(..) | ServerTransport::Spipe(..))
    }

    /// Whether it has to be decided who may come in, and nothing decides it: neither a password nor a client's
    /// certificate.
    pub fn lacks_secret(&self) -> bool {
        let lets_in_by_certificate = match self {
            ServerTransport::Ssl(_, tls) | ServerTransport::Spipe(_, tls) => !tls.clients.is_empty(),
            _ => false,
        };
        self.is_beyond_this_machine() && self.password().is_none() && !lets_in_by_certificate
    }
}

impl PipeListen {
    /// The name with its first code replaced by `pid`, its second by `tid`; in decimal for `%d`, hexadecimal for `%x`.
    pub fn expanded_name(&self, pid: u32, tid: u32) -> String {
        let mut numbers = [pid, tid].into_iter();
        let mut pieces = self.name.split('%');
        let mut name = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let number = numbers.next().unwrap_or_default();
            match piece.strip_prefix('d') {
                Some(rest) => name += &format!("{number}{rest}"),
                None => name += &format!("{number:x}{}", piece.strip_prefix('x').unwrap_or(piece)),
            }
        }
        name
    }
}

impl ComListen {
    /// The device that the port names.
    pub fn device(&self) -> PathBuf {
        com::device(&self.port)
    }
}

impl FromStr for ServerTransport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<ServerTransport, TransportError> {
        let checked = Checked::parse(text, Side::Server)?;
        let (hidden, password) = (checked.has("hidden"), checked.password()?);
        let tls = TlsListen { certificate: checked.certificate(), clients: checked.client_certificates() };
        if matches!(checked.protocol, "npipe" | "spipe") {
            let name = checked.get("pipe").unwrap_or_default().to_owned();
            let pipe = PipeListen { name, hidden, password };
            return Ok(match checked.protocol {
                "npipe" => ServerTransport::Npipe(pipe),
                _ => ServerTransport::Spipe(pipe, tls),
            });
        }
        if let Some(host) = checked.clicon() {
            let (host, port, ipv6) = (host.to_owned(), checked.ports()?.first, checked.wants_ipv6());
            return Ok(ServerTransport::TcpReverse(ReverseDial { host, port, ipv6, password }));
        }
        if checked.protocol == "com" {
            let (port, baud, channel) = checked.serial();
            return Ok(ServerTransport::Com(ComListen { port, baud, channel, hidden, password }));
        }
        let tcp = TcpListen {
            port: checked.ports()?,
            bind: checked.bind()?,
            ipv6: checked.wants_ipv6(),
            hidden,
            password,
            open_firewall: checked.has("icfenable"),
        };
        Ok(match checked.protocol {
            "tcp" => ServerTransport::Tcp(tcp),
            _ => ServerTransport::Ssl(tcp, tls),
        })
    }
}

impl fmt::Display for ServerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hidden, password, tls) = match self {
            ServerTransport::Tcp(tcp) => (show_tcp(f, "tcp", tcp)?, &tcp.password, None),
            ServerTransport::Ssl(tcp, tls) => (show_tcp(f, "ssl", tcp)?, &tcp.password, Some(tls)),
            ServerTransport::Npipe(pipe) => (show_pipe(f, "npipe", pipe)?, &pipe.password, None),
            ServerTransport::Spipe(pipe, tls) => (show_pipe(f, "spipe", pipe)?, &pipe.password, Some(tls)),
            ServerTransport::TcpReverse(dial) => {
                write!(f, "tcp:Port={},CliCon={}", dial.port, dial.host)?;
                if dial.ipv6 {
                    f.write_str(",IpVersion=6")?;
                }
                (false, &dial.password, None)
            }
            ServerTransport::Com(com) => {
                write!(f, "com:Port={},Baud={},Channel={}", com.port, com.baud, com.channel)?;
                (com.hidden, &com.password, None)
            }
        };
        if let Some(TlsListen { certificate, clients }) = tls {
            if let Some(certificate) = certificate {
                write!(f, ",{certificate}")?;
            }
            for (at, client) in clients.iter().enumerate() {
                write!(f, "{}{client}", if at == 0 { ",ClientCert=" } else { ";" })?;
            }
        }
        if hidden {
            f.write_str(",Hidden")?;
        }
        if password.is_some() {
            f.write_str(",Password=*")?;
        }
        Ok(())
    }
}

/// Gives whether it is hidden.
fn show_tcp(f: &mut fmt::Formatter<'_>, protocol: &str, tcp: &TcpListen) -> Result<bool, fmt::Error> {
    write!(f, "{protocol}:Port={}", tcp.port)?;
    if let Some(address) = tcp.bind {
        write!(f, ",Bind={address}")?;
    }
    if tcp.ipv6 {
        f.write_str(",IpVersion=6")?;
    }
    Ok(tcp.hidden)
}

/// Gives whether it is hidden.
fn show_pipe(f: &mut fmt::Formatter<'_>, protocol: &str, pipe: &PipeListen) -> Result<bool, fmt::Error> {
    write!(f, "{protocol}:Pipe={}", pipe.name)?;
    Ok(pipe.hidden)
}
