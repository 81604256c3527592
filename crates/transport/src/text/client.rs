//! Where a client connects.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::ReverseListen;
use super::keys::{Checked, Side};
use crate::npipe::is_this_machine;
use crate::{Connection, Password, ReverseListener, TlsClient, TransportError, com, npipe, program, ssh, tcp, tls};

/// A client's connection string. `Display` gives a string that can be pasted back, less the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTransport {
    /// `tcp:`
    Tcp(TcpClient),
    /// `npipe:`
    Npipe(PipeClient),
    /// `ssl:`, the keys of `tcp:` and those of TLS
    Ssl(TcpClient, TlsClient),
    /// `spipe:`, the keys of `npipe:` and those of TLS
    Spipe(PipeClient, TlsClient),
    /// `ssh:`
    Ssh(SshClient),
    /// `exec:`
    Exec(ExecClient),
    /// `tcp:`, `npipe:`, `ssl:` or `spipe:` with `clicon=`: the client listens.
    Reverse(ReverseListen),
    /// `com:`
    Com(ComClient),
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

/// `ssh:server=[USER@]HOST[,port=N][,path=FILE][,copy=yes|no]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshClient {
    /// Host as ssh knows it, with its user in front if need be.
    pub server: String,
    /// Port of its sshd, if the user's configuration does not say it.
    pub port: Option<u16>,
    /// The server program there; `None`: the one copied there before, or one in the `PATH`.
    pub path: Option<String>,
    /// Whether our server program is copied there if there is none or another release; `None`: both are errors, so that
    /// the caller can ask.
    pub copy: Option<bool>,
}

/// `exec:COMMAND`, all that follows; in `@{ }` where it stands within something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecClient {
    /// The command as it was written.
    pub command: String,
    /// Its words, as a POSIX shell splits them.
    words: Vec<String>,
}

/// `com:port=LINE,baud=N,channel=N[,password=]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComClient {
    /// The serial line: `com1` (which is `/dev/ttyS0`), or a device's path.
    pub port: String,
    /// Bits per second, the same at both ends.
    pub baud: u32,
    /// 0 to 254; one line carries a connection on each.
    pub channel: u8,
    /// What the server asks for.
    pub password: Option<Password>,
}

impl ClientTransport {
    /// Connects; where the client listens, waits for the server without an end.
    ///
    /// # Errors
    /// Host unknown, connection refused or timed out, server of the pipe gone; over TLS also a server that shows another
    /// certificate; a command that could not be started, or ended before the server there did.
    pub fn connect(&self) -> Result<Connection, TransportError> {
        match self {
            ClientTransport::Tcp(tcp) => tcp::connect(tcp),
            ClientTransport::Npipe(pipe) => npipe::connect(pipe, &crate::runtime_directory()?),
            ClientTransport::Ssl(tcp, tls) => {
                let config = tls::client_config(tls)?;
                tls::connect(tcp::connect(tcp)?, config)
            }
            ClientTransport::Spipe(pipe, tls) => {
                let config = tls::client_config(tls)?;
                tls::connect(npipe::connect(pipe, &crate::runtime_directory()?)?, config)
            }
            ClientTransport::Ssh(ssh) => ssh::connect(ssh),
            ClientTransport::Exec(exec) => program::start(&exec.words),
            ClientTransport::Reverse(reverse) => ReverseListener::bind(reverse)?.accept(&mut |_, _| {}),
            ClientTransport::Com(com) => com::connect(com, &crate::runtime_directory()?),
        }
    }

    /// What the server asks for, if anything.
    pub fn password(&self) -> Option<&Password> {
        match self {
            ClientTransport::Tcp(tcp) | ClientTransport::Ssl(tcp, _) => tcp.password.as_ref(),
            ClientTransport::Npipe(pipe) | ClientTransport::Spipe(pipe, _) => pipe.password.as_ref(),
            ClientTransport::Reverse(reverse) => reverse.password(),
            // Who can start the server there has its rights already.
            ClientTransport::Ssh(_) | ClientTransport::Exec(_) => None,
            ClientTransport::Com(com) => com.password.as_ref(),
        }
    }
}

impl ClientTransport {
    /// Changes what the server asks for; of no effect where it asks for nothing.
    pub fn set_password(&mut self, password: Password) {
        match self {
            ClientTransport::Tcp(tcp) | ClientTransport::Ssl(tcp, _) => tcp.password = Some(password),
            ClientTransport::Npipe(pipe) | ClientTransport::Spipe(pipe, _) => pipe.password = Some(password),
            ClientTransport::Reverse(reverse) => reverse.at.set_password(password),
            ClientTransport::Ssh(_) | ClientTransport::Exec(_) => {}
            ClientTransport::Com(com) => com.password = Some(password),
        }
    }
}

impl TcpClient {
    /// Without a password.
    pub fn new(server: String, port: u16) -> TcpClient {
        TcpClient { server, port, ipv6: false, password: None }
    }

    /// Connects inside TLS to whoever answers there, whatever its certificate: for questions that anybody may ask, and
    /// whose answers prove nothing.
    ///
    /// # Errors
    /// As [`ClientTransport::connect`].
    pub fn connect_to_anybody(&self) -> Result<Connection, TransportError> {
        tls::connect_to_anybody(tcp::connect(self)?)
    }
}

impl PipeClient {
    /// Without a password.
    pub fn new(name: String) -> PipeClient {
        PipeClient { name, password: None }
    }
}

impl ExecClient {
    /// Takes the command apart.
    ///
    /// # Errors
    /// No word, or a quotation mark too few.
    pub fn new(command: &str) -> Result<ExecClient, TransportError> {
        let command = command.trim();
        let inner = command.strip_prefix("@{").and_then(|inner| inner.strip_suffix('}'));
        let command = inner.unwrap_or(command);
        let words = shlex::split(command).filter(|words| !words.is_empty()).ok_or(TransportError::InvalidCommand)?;
        Ok(ExecClient { command: command.to_owned(), words })
    }
}

impl ComClient {
    /// The device that the port names.
    pub fn device(&self) -> PathBuf {
        com::device(&self.port)
    }
}

impl FromStr for ClientTransport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<ClientTransport, TransportError> {
        if let Some(command) = text.trim_start().get(..5).filter(|start| start.eq_ignore_ascii_case("exec:")) {
            return ExecClient::new(&text.trim_start()[command.len()..]).map(ClientTransport::Exec);
        }
        let checked = Checked::parse(text, Side::Client)?;
        if let Some(host) = checked.clicon() {
            return ReverseListen::new(&checked, host).map(ClientTransport::Reverse);
        }
        let server = checked.server().unwrap_or(".");
        if checked.protocol == "ssh" {
            return Ok(ClientTransport::Ssh(SshClient {
                server: server.to_owned(),
                port: checked.has("port").then(|| checked.ports()).transpose()?.map(|ports| ports.first),
                path: checked.get("path").map(str::to_owned),
                copy: checked.get("copy").map(|value| value == "yes"),
            }));
        }
        if checked.protocol == "com" {
            let (port, baud, channel) = checked.serial();
            return Ok(ClientTransport::Com(ComClient { port, baud, channel, password: checked.password()? }));
        }
        ClientTransport::connecting(&checked, server)
    }
}

impl ClientTransport {
    /// Who connects to a host, on whichever side that is.
    pub(super) fn connecting(checked: &Checked<'_>, server: &str) -> Result<ClientTransport, TransportError> {
        let password = checked.password()?;
        let tls = matches!(checked.protocol, "ssl" | "spipe").then(|| checked.tls_client()).transpose()?;
        if matches!(checked.protocol, "npipe" | "spipe") {
            if !is_this_machine(server) {
                return Err(TransportError::RemotePipe { protocol: checked.protocol, server: server.to_owned() });
            }
            let pipe = PipeClient { name: checked.get("pipe").unwrap_or_default().to_owned(), password };
            return Ok(match tls {
                None => ClientTransport::Npipe(pipe),
                Some(tls) => ClientTransport::Spipe(pipe, tls),
            });
        }
        let port = checked.ports()?.first;
        let server = if server == "." { "localhost" } else { server };
        let tcp = TcpClient { server: server.to_owned(), port, ipv6: checked.wants_ipv6(), password };
        Ok(match tls {
            None => ClientTransport::Tcp(tcp),
            Some(tls) => ClientTransport::Ssl(tcp, tls),
        })
    }

    /// The string less its password; `host` is the key that names the other machine.
    pub(super) fn show(&self, f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
        let mut tls = None;
        match self {
            ClientTransport::Tcp(tcp) => show_tcp(f, "tcp", host, tcp)?,
            ClientTransport::Ssl(tcp, own) => {
                show_tcp(f, "ssl", host, tcp)?;
                tls = Some(own);
            }
            ClientTransport::Npipe(pipe) => write!(f, "npipe:Pipe={},{host}=.", pipe.name)?,
            ClientTransport::Spipe(pipe, own) => {
                write!(f, "spipe:Pipe={},{host}=.", pipe.name)?;
                tls = Some(own);
            }
            ClientTransport::Reverse(reverse) => return write!(f, "{reverse}"),
            ClientTransport::Ssh(ssh) => show_ssh(f, ssh)?,
            ClientTransport::Exec(exec) => write!(f, "exec:{}", exec.command)?,
            ClientTransport::Com(com) => write!(f, "com:Port={},Baud={},Channel={}", com.port, com.baud, com.channel)?,
        }
        if let Some(TlsClient { server, own }) = tls {
            write!(f, ",{server}")?;
            if let Some(own) = own {
                write!(f, ",ClientCert={own}")?;
            }
        }
        match self.password() {
            Some(_) => f.write_str(",Password=*"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ClientTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "Server")
    }
}

fn show_tcp(f: &mut fmt::Formatter<'_>, protocol: &str, host: &str, tcp: &TcpClient) -> fmt::Result {
    write!(f, "{protocol}:Port={},{host}={}", tcp.port, tcp.server)?;
    match tcp.ipv6 {
        true => f.write_str(",IpVersion=6"),
        false => Ok(()),
    }
}

fn show_ssh(f: &mut fmt::Formatter<'_>, ssh: &SshClient) -> fmt::Result {
    write!(f, "ssh:Server={}", ssh.server)?;
    if let Some(port) = ssh.port {
        write!(f, ",Port={port}")?;
    }
    if let Some(path) = &ssh.path {
        // A path may hold what parts keys.
        write!(f, ",Path=@{{{path}}}")?;
    }
    match ssh.copy {
        None => Ok(()),
        Some(true) => f.write_str(",Copy=yes"),
        Some(false) => f.write_str(",Copy=no"),
    }
}
