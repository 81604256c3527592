//! A reverse connection as its client sees it: it listens, for one server on one host, once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    Connection, Listener, Peer, PortRange, ReverseDial, ReverseListen, ServerTransport, TcpListen, TransportError, tcp,
};

/// Name of the certificate that a waiting client shows if none is named.
const OWN: &str = "cdb";

/// Waits for one server; whoever comes from another host is sent away, and so is who does not prove what it should.
#[derive(Debug)]
pub struct ReverseListener {
    listener: Listener,
    transport: ReverseListen,
    /// Addresses of the host, as they were when it began to wait; where there are addresses.
    allowed: Vec<IpAddr>,
}

impl ReverseListener {
    /// Starts to listen: on a pipe, or on the first free port, on loopback if the host is this machine, else on every
    /// address.
    ///
    /// # Errors
    /// Host unknown; ports or name taken; a certificate that cannot be used.
    pub fn bind(transport: &ReverseListen) -> Result<ReverseListener, TransportError> {
        let mut at = transport.at.clone();
        let mut allowed = Vec::new();
        if let ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) = &mut *at {
            allowed = addresses(&transport.host, tcp.ipv6)?;
            tcp.bind = Some(address(&allowed));
        }
        if let ServerTransport::Ssl(_, tls) | ServerTransport::Spipe(_, tls) = &mut *at {
            tls.use_own(OWN)?;
        }
        let listener = Listener::bind_relay(&at)?;
        let at = Box::new(listener.transport().clone());
        Ok(ReverseListener { listener, transport: ReverseListen { host: transport.host.clone(), at }, allowed })
    }

    /// What it listens for: the string given, with the port chosen and the certificate.
    pub fn transport(&self) -> &ReverseListen {
        &self.transport
    }

    /// The ports or the pipe on which it waits, for people.
    pub fn place(&self) -> String {
        match &*self.transport.at {
            ServerTransport::Tcp(TcpListen { port: PortRange { first, .. }, .. })
            | ServerTransport::Ssl(TcpListen { port: PortRange { first, .. }, .. }, _) => format!("port {first}"),
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => format!("pipe {}", pipe.name),
            other => other.to_string(),
        }
    }

    /// What the server is given to come here, one for each address at which it can; without a password.
    pub fn counterparts(&self) -> Vec<ReverseDial> {
        self.listener.client_transports().into_iter().map(ReverseDial::to).collect()
    }

    /// Waits for the server, without an end. `refused` is told who else came, and why that was not it.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn accept(&self, refused: &mut dyn FnMut(Peer, String)) -> Result<Connection, TransportError> {
        loop {
            if let Some(connection) = self.accept_next(refused)? {
                return Ok(connection);
            }
            let _ = poll(&mut [PollFd::new(self, PollFlags::IN)], None);
        }
    }

    /// The server, if it has come; use [`AsFd`] to wait for it.
    ///
    /// # Errors
    /// As [`ReverseListener::accept`].
    pub fn accept_next(&self, refused: &mut dyn FnMut(Peer, String)) -> Result<Option<Connection>, TransportError> {
        while let Some(connection) = self.listener.accept()? {
            let peer = connection.peer();
            if let Peer::Address(address) = peer
                && !self.allowed.contains(&address.ip())
            {
                refused(peer, format!("which is not {}", self.transport.host));
                continue;
            }
            // One after the other: nobody but the named host keeps others waiting.
            match connection.finish_handshake() {
                Ok(()) => {
                    connection.set_waits(true);
                    return Ok(Some(connection));
                }
                Err(error) => refused(peer, error.to_string()),
            }
        }
        Ok(None)
    }
}

impl AsFd for ReverseListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// The addresses from which a host may come.
fn addresses(host: &str, only_ipv6: bool) -> Result<Vec<IpAddr>, TransportError> {
    let host = if host == "." { "localhost" } else { host };
    let resolved = (host, 0).to_socket_addrs();
    let resolved = resolved.map_err(|source| TransportError::Resolve { host: host.to_owned(), source })?;
    Ok(resolved.map(|address| address.ip()).filter(|address| !only_ipv6 || address.is_ipv6()).collect())
}

/// Where it listens for them.
fn address(allowed: &[IpAddr]) -> IpAddr {
    match (allowed.iter().all(IpAddr::is_loopback), allowed.iter().any(IpAddr::is_ipv4)) {
        (true, true) => Ipv4Addr::LOCALHOST.into(),
        (true, false) => Ipv6Addr::LOCALHOST.into(),
        (false, _) => tcp::everywhere(),
    }
}
