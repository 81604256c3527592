//! Reverse connections (`clicon=`): the server dials, the client listens. Each side's keys are those of the other, but for
//! the host: on the server's side it names the client, on the client's the server.

use std::fmt;

use super::keys::{Checked, PortRange};
use crate::{
    ClientTransport, Connection, Password, PipeClient, PipeListen, ServerTransport, TcpClient, TcpListen,
    TransportError, tls,
};

/// `clicon=HOST` on the server's side: whom it dials. Over TLS it is the debugger that listens and shows the certificate of
/// `certuser=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseDial {
    /// Where the client listens: `tcp:`, `npipe:`, `ssl:` or `spipe:`.
    to: Box<ClientTransport>,
}

/// `clicon=HOST` on the client's side: where it listens, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseListen {
    /// The only host that may come.
    pub host: String,
    /// Where the client listens: `tcp:`, `npipe:`, `ssl:` or `spipe:`.
    pub at: Box<ServerTransport>,
}

impl ReverseDial {
    pub(super) fn new(checked: &Checked<'_>, host: &str) -> Result<ReverseDial, TransportError> {
        Ok(ReverseDial::to(ClientTransport::connecting(checked, host)?))
    }

    pub(crate) fn to(transport: ClientTransport) -> ReverseDial {
        ReverseDial { to: Box::new(transport) }
    }

    /// What can be wrong before anybody is dialled: its certificates and the file of its password.
    ///
    /// # Errors
    /// One of these that is not there or cannot be used.
    pub fn check(&self) -> Result<(), TransportError> {
        self.password().map(|password| password.reveal()).transpose()?;
        match &*self.to {
            ClientTransport::Ssl(_, tls) | ClientTransport::Spipe(_, tls) => tls::client_config(tls).map(drop),
            _ => Ok(()),
        }
    }

    /// Dials once.
    ///
    /// # Errors
    /// Host unknown; nobody listens there, or nobody answers in time; over TLS also another certificate than the one named.
    pub fn dial(&self) -> Result<Connection, TransportError> {
        let connection = self.to.connect()?;
        // The server goes on, and waits for all of its connections at its end.
        connection.set_waits(false);
        Ok(connection)
    }

    /// What the client must know, if anything.
    pub fn password(&self) -> Option<&Password> {
        self.to.password()
    }

    /// Changes what the client must know.
    pub fn set_password(&mut self, password: Password) {
        self.to.set_password(password);
    }

    /// What the client is given to wait for the server of `own`, this machine; without a password.
    ///
    /// # Errors
    /// The certificate that is shown to the client cannot be had.
    pub fn counterpart(&self, own: &str) -> Result<ReverseListen, TransportError> {
        let listen = |tcp: &TcpClient| {
            let port = PortRange { first: tcp.port, last: tcp.port };
            TcpListen { port, bind: None, ipv6: tcp.ipv6, hidden: false, password: None, open_firewall: false }
        };
        let pipe = |pipe: &PipeClient| PipeListen { name: pipe.name.clone(), hidden: false, password: None };
        let at = match &*self.to {
            ClientTransport::Tcp(tcp) => ServerTransport::Tcp(listen(tcp)),
            ClientTransport::Ssl(tcp, tls) => ServerTransport::Ssl(listen(tcp), tls.counterpart()?),
            ClientTransport::Npipe(name) => ServerTransport::Npipe(pipe(name)),
            ClientTransport::Spipe(name, tls) => ServerTransport::Spipe(pipe(name), tls.counterpart()?),
            _ => return Err(TransportError::Reverse { operation: "made of others" }),
        };
        // Two programs of one machine meet on its loopback, whatever its name stands for.
        let host = match self.host() {
            host if crate::is_this_machine(host) => host,
            _ => own,
        };
        Ok(ReverseListen { host: host.to_owned(), at: Box::new(at) })
    }

    /// Whether it dials inside TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(&*self.to, ClientTransport::Ssl(..) | ClientTransport::Spipe(..))
    }

    /// The host that is dialled.
    pub fn host(&self) -> &str {
        match &*self.to {
            ClientTransport::Tcp(tcp) | ClientTransport::Ssl(tcp, _) => &tcp.server,
            _ => ".",
        }
    }

    /// Whether it is certain that nobody else answers: by a certificate, or since the client is on this machine.
    pub fn proves_the_client(&self) -> bool {
        matches!(&*self.to, ClientTransport::Ssl(..)) || crate::is_this_machine(self.host())
    }
}

impl ReverseListen {
    pub(super) fn new(checked: &Checked<'_>, host: &str) -> Result<ReverseListen, TransportError> {
        let is_pipe = matches!(checked.protocol, "npipe" | "spipe");
        if is_pipe && !crate::is_this_machine(host) {
            return Err(TransportError::RemotePipe { protocol: checked.protocol, server: host.to_owned() });
        }
        Ok(ReverseListen { host: host.to_owned(), at: Box::new(ServerTransport::listening(checked)?) })
    }

    /// What the server asks for, if anything.
    pub fn password(&self) -> Option<&Password> {
        self.at.password()
    }

    /// Whether the server must show a certificate.
    pub fn asks_for_certificate(&self) -> bool {
        self.at.asks_for_certificate()
    }
}

impl fmt::Display for ReverseDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to.show(f, "CliCon")
    }
}

impl fmt::Display for ReverseListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.show(f, Some(&self.host))
    }
}
