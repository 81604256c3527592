//! Where a server listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::ReverseDial;
use super::keys::{Checked, PortRange, Side};
use crate::{Password, Thumbprint, TlsListen, TransportError, com};

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
    /// Any of these with `clicon=`: the server dials.
    Reverse(ReverseDial),
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
            ServerTransport::Reverse(_) => true,
        }
    }

    /// What clients must know, if anything.
    pub fn password(&self) -> Option<&Password> {
        match self {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) => tcp.password.as_ref(),
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => pipe.password.as_ref(),
            ServerTransport::Reverse(dial) => dial.password(),
            ServerTransport::Com(com) => com.password.as_ref(),
        }
    }

    /// Changes what clients must know.
    pub fn set_password(&mut self, password: Password) {
        match self {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) => tcp.password = Some(password),
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => pipe.password = Some(password),
            ServerTransport::Reverse(dial) => dial.set_password(password),
            ServerTransport::Com(com) => com.password = Some(password),
        }
    }

    /// Lets in the owners of these certificates, besides those whom it lets in anyway.
    ///
    /// # Errors
    /// The protocol proves no certificates.
    pub fn let_in(&mut self, certificates: &[Thumbprint]) -> Result<(), TransportError> {
        let (ServerTransport::Ssl(_, tls) | ServerTransport::Spipe(_, tls)) = self else {
            return Err(TransportError::NotInThisRelease { what: format!("a client certificate over {self}") });
        };
        // Whoever was to show one still is.
        tls.is_optional |= tls.clients.is_empty();
        tls.clients.extend(certificates);
        Ok(())
    }

    /// Whether other machines can reach it.
    pub fn is_beyond_this_machine(&self) -> bool {
        match self {
            ServerTransport::Tcp(tcp) => tcp.bind.is_some_and(|address| !address.is_loopback()),
            ServerTransport::Ssl(tcp, _) => tcp.bind.is_none_or(|address| !address.is_loopback()),
            // Of a reverse connection only its one client is at the other end.
            ServerTransport::Npipe(_)
            | ServerTransport::Spipe(..)
            | ServerTransport::Reverse(_)
            | ServerTransport::Com(_) => false,
        }
    }

    /// Whether what crosses it is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, ServerTransport::Ssl(..) | ServerTransport::Spipe(..))
    }

    /// Whether who comes must show a certificate.
    pub fn asks_for_certificate(&self) -> bool {
        match self {
            ServerTransport::Ssl(_, tls) | ServerTransport::Spipe(_, tls) => !tls.clients.is_empty(),
            _ => false,
        }
    }

    /// Whether it has to be decided who may come in, and nothing decides it: neither a password nor a client's
    /// certificate.
    pub fn lacks_secret(&self) -> bool {
        self.is_beyond_this_machine() && self.password().is_none() && !self.asks_for_certificate()
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
        match checked.clicon() {
            Some(host) => ReverseDial::new(&checked, host).map(ServerTransport::Reverse),
            None => ServerTransport::listening(&checked),
        }
    }
}

impl ServerTransport {
    /// Who listens, on whichever side that is.
    pub(super) fn listening(checked: &Checked<'_>) -> Result<ServerTransport, TransportError> {
        let (hidden, password) = (checked.has("hidden"), checked.password()?);
        if matches!(checked.protocol, "npipe" | "spipe") {
            let name = checked.get("pipe").unwrap_or_default().to_owned();
            let pipe = PipeListen { name, hidden, password };
            return Ok(match checked.protocol {
                "npipe" => ServerTransport::Npipe(pipe),
                _ => ServerTransport::Spipe(pipe, checked.tls_listen()),
            });
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
            _ => ServerTransport::Ssl(tcp, checked.tls_listen()),
        })
    }

    /// The string less its password; `clicon` is the host of a reverse connection.
    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>, clicon: Option<&str>) -> fmt::Result {
        let tls = match self {
            ServerTransport::Tcp(tcp) => show_tcp(f, "tcp", tcp, clicon).map(|()| None)?,
            ServerTransport::Ssl(tcp, tls) => show_tcp(f, "ssl", tcp, clicon).map(|()| Some(tls))?,
            ServerTransport::Npipe(pipe) => show_pipe(f, "npipe", pipe, clicon).map(|()| None)?,
            ServerTransport::Spipe(pipe, tls) => show_pipe(f, "spipe", pipe, clicon).map(|()| Some(tls))?,
            ServerTransport::Reverse(dial) => return write!(f, "{dial}"),
            ServerTransport::Com(com) => {
                write!(f, "com:Port={},Baud={},Channel={}", com.port, com.baud, com.channel)?;
                None
            }
        };
        if let Some(TlsListen { certificate, clients, .. }) = tls {
            if let Some(certificate) = certificate {
                write!(f, ",{certificate}")?;
            }
            for (at, client) in clients.iter().enumerate() {
                write!(f, "{}{client}", if at == 0 { ",ClientCert=" } else { ";" })?;
            }
        }
        if self.is_hidden() {
            f.write_str(",Hidden")?;
        }
        match self.password() {
            Some(_) => f.write_str(",Password=*"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ServerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, None)
    }
}

fn show_tcp(f: &mut fmt::Formatter<'_>, protocol: &str, tcp: &TcpListen, clicon: Option<&str>) -> fmt::Result {
    write!(f, "{protocol}:Port={}", tcp.port)?;
    match (clicon, tcp.bind) {
        (Some(host), _) => write!(f, ",CliCon={host}")?,
        (None, Some(address)) => write!(f, ",Bind={address}")?,
        (None, None) => {}
    }
    match tcp.ipv6 {
        true => f.write_str(",IpVersion=6"),
        false => Ok(()),
    }
}

fn show_pipe(f: &mut fmt::Formatter<'_>, protocol: &str, pipe: &PipeListen, clicon: Option<&str>) -> fmt::Result {
    write!(f, "{protocol}:Pipe={}", pipe.name)?;
    match clicon {
        Some(host) => write!(f, ",CliCon={host}"),
        None => Ok(()),
    }
}
