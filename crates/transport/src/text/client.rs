//! Where a client connects.

use std::fmt;
use std::str::FromStr;

use super::keys::{Checked, Side};
use crate::npipe::is_this_machine;
use crate::{Connection, Password, TransportError, npipe, tcp};

/// A client's connection string. `Display` gives a string that can be pasted back, less the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTransport {
    /// `tcp:`
    Tcp(TcpClient),
    /// `npipe:`
    Npipe(PipeClient),
}

/// `tcp:server=HOST,port=N[,password=][,ipversion=6]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpClient {
    /// Host name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Only IPv6 addresses of the host.
    pub ipv6: bool,
    /// What the server asks for.
    pub password: Option<Password>,
}

/// `npipe:[server=.,]pipe=NAME[,password=]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipeClient {
    /// Name of the pipe on this machine.
    pub name: String,
    /// What the server asks for.
    pub password: Option<Password>,
}

impl ClientTransport {
    /// Connects.
    ///
    /// # Errors
    /// Host unknown, connection refused or timed out, server of the pipe gone.
    pub fn connect(&self) -> Result<Connection, TransportError> {
        match self {
            ClientTransport::Tcp(transport) => tcp::connect(transport),
            ClientTransport::Npipe(transport) => npipe::connect(transport, &crate::runtime_directory()?),
        }
    }

    /// What the server asks for, if anything.
    pub fn password(&self) -> Option<&Password> {
        match self {
            ClientTransport::Tcp(tcp) => tcp.password.as_ref(),
            ClientTransport::Npipe(pipe) => pipe.password.as_ref(),
        }
    }
}

impl TcpClient {
    /// Without a password.
    pub fn new(server: String, port: u16) -> TcpClient {
        TcpClient { server, port, ipv6: false, password: None }
    }
}

impl PipeClient {
    /// Without a password.
    pub fn new(name: String) -> PipeClient {
        PipeClient { name, password: None }
    }
}

impl FromStr for ClientTransport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<ClientTransport, TransportError> {
        let checked = Checked::parse(text, Side::Client)?;
        let password = checked.password()?;
        let server = checked.server().unwrap_or(".");
        if checked.protocol == "npipe" {
            if !is_this_machine(server) {
                return Err(TransportError::RemotePipe { server: server.to_owned() });
            }
            let name = checked.get("pipe").unwrap_or_default().to_owned();
            return Ok(ClientTransport::Npipe(PipeClient { name, password }));
        }
        let port = checked.ports()?.first;
        if port == 0 {
            let expected = "the side that dials names one port, the one that was taken";
            return Err(TransportError::InvalidValue { key: "port", value: "0".into(), expected });
        }
        let server = if server == "." { "localhost" } else { server };
        let ipv6 = checked.wants_ipv6();
        Ok(ClientTransport::Tcp(TcpClient { server: server.to_owned(), port, ipv6, password }))
    }
}

impl fmt::Display for ClientTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = match self {
            ClientTransport::Tcp(tcp) => {
                write!(f, "tcp:Port={},Server={}", tcp.port, tcp.server)?;
                if tcp.ipv6 {
                    f.write_str(",IpVersion=6")?;
                }
                &tcp.password
            }
            ClientTransport::Npipe(pipe) => {
                write!(f, "npipe:Pipe={},Server=.", pipe.name)?;
                &pipe.password
            }
        };
        match password {
            Some(_) => f.write_str(",Password=*"),
            None => Ok(()),
        }
    }
}
