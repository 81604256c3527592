//! A reverse connection as its client sees it: it listens, for one server on one host, once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use crate::{Connection, ReverseListen, TransportError, tcp};

/// Waits for one server; whoever comes from another host is sent away.
#[derive(Debug)]
pub struct ReverseListener {
    socket: TcpListener,
    transport: ReverseListen,
    /// Addresses of the host, as they were when it began to wait.
    allowed: Vec<IpAddr>,
}

impl ReverseListener {
    /// Starts to listen, on the first free port: on loopback if the host is this machine, else on every address.
    ///
    /// # Errors
    /// Host unknown; ports taken.
    pub fn bind(transport: &ReverseListen) -> Result<ReverseListener, TransportError> {
        let host = transport.host.as_str();
        let resolved = (host, 0).to_socket_addrs();
        let resolved = resolved.map_err(|source| TransportError::Resolve { host: host.to_owned(), source })?;
        let wanted = resolved.map(|address| address.ip()).filter(|address| !transport.ipv6 || address.is_ipv6());
        let allowed: Vec<IpAddr> = wanted.collect();
        let is_local = allowed.iter().all(IpAddr::is_loopback);
        let has_ipv4 = allowed.iter().any(IpAddr::is_ipv4);
        let bound = match (is_local, has_ipv4) {
            (true, true) => tcp::listen_on(Ipv4Addr::LOCALHOST.into(), transport.port),
            (true, false) => tcp::listen_on(Ipv6Addr::LOCALHOST.into(), transport.port),
            // Where IPv6 is there at all, its socket takes both kinds (ipv6(7), `bindv6only`).
            (false, _) => match tcp::listen_on(Ipv6Addr::UNSPECIFIED.into(), transport.port) {
                Err(TransportError::Io { .. }) if has_ipv4 => {
                    tcp::listen_on(Ipv4Addr::UNSPECIFIED.into(), transport.port)
                }
                bound => bound,
            },
        };
        let (socket, bound) = bound?;
        let mut chosen = transport.clone();
        chosen.port.first = bound.port();
        chosen.port.last = chosen.port.last.max(bound.port());
        Ok(ReverseListener { socket, transport: chosen, allowed })
    }

    /// What it listens for: the string given, with the port chosen.
    pub fn transport(&self) -> &ReverseListen {
        &self.transport
    }

    /// Waits for the server, without an end. `refused` is told who else came.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn accept(&self, refused: &mut dyn FnMut(SocketAddr)) -> Result<Connection, TransportError> {
        loop {
            let (stream, peer) = self.socket.accept().map_err(TransportError::io("wait for the server"))?;
            if !self.allowed.contains(&peer.ip().to_canonical()) {
                refused(peer);
                continue;
            }
            tcp::prepare(&stream);
            return Ok(stream.into());
        }
    }
}
