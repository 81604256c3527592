//! Waiting for clients, whatever the protocol.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::com::ComListener;
use crate::npipe::PipeListener;
use crate::tls::Acceptor;
use crate::{
    ClientTransport, ComClient, ComListen, Connection, PipeClient, ServerTransport, TcpClient, TcpListen, TlsClient,
    TransportError, tcp,
};

/// Connections that wait to be accepted, of every listening socket: as many as the kernel allows (`net.core.somaxconn`,
/// listen(2)). With fewer, a newcomer's packets are dropped in a flood, and it comes again a second later.
pub const BACKLOG: i32 = i32::MAX;

/// A listening socket. Dropping it frees the port or the pipe name; connections already accepted stay.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    tls: Option<Acceptor>,
    transport: ServerTransport,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener, SocketAddr),
    Npipe(PipeListener),
    Com(ComListener),
}

impl Listener {
    /// Starts to listen; for a range of ports, on the first that is free. Never blocks in [`Listener::accept`].
    ///
    /// # Errors
    /// Address, ports or name taken; bind beyond loopback without a secret; no runtime directory; a certificate that
    /// cannot be used.
    pub fn bind(transport: &ServerTransport) -> Result<Listener, TransportError> {
        match transport {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) if transport.lacks_secret() => {
                Err(TransportError::PasswordRequired { address: address(transport, tcp) })
            }
            _ => Listener::bind_relay(transport),
        }
    }

    /// The same for a repeater, which has no password: it passes, and the server at the end of the chain asks for one.
    ///
    /// # Errors
    /// As [`Listener::bind`], less the password.
    pub fn bind_relay(transport: &ServerTransport) -> Result<Listener, TransportError> {
        let mut chosen = transport.clone();
        transport.password().map(|password| password.reveal()).transpose()?;
        // First, so that nobody is let wait for a certificate that cannot be used.
        let tls = match &mut chosen {
            ServerTransport::Ssl(_, tls) | ServerTransport::Spipe(_, tls) => {
                let acceptor = Acceptor::new(tls)?;
                tls.certificate = Some(acceptor.certificate().clone());
                Some(acceptor)
            }
            _ => None,
        };
        let kind = match &mut chosen {
            ServerTransport::Tcp(tcp) | ServerTransport::Ssl(tcp, _) => {
                let (socket, address) = tcp::listen(address(transport, tcp), tcp.port)?;
                tcp.port.first = address.port();
                tcp.port.last = tcp.port.last.max(address.port());
                Kind::Tcp(socket, address)
            }
            ServerTransport::Npipe(pipe) | ServerTransport::Spipe(pipe, _) => {
                let socket = PipeListener::bind(pipe, &crate::runtime_directory()?)?;
                socket.name().clone_into(&mut pipe.name);
                Kind::Npipe(socket)
            }
            ServerTransport::Reverse(_) => return Err(TransportError::Reverse { operation: "listened for" }),
            ServerTransport::Com(com) => Kind::Com(ComListener::bind(com, crate::runtime_directory()?)?),
        };
        Ok(Listener { kind, tls, transport: chosen })
    }

    /// What it listens on: the string given, with the port chosen (`Port=chosen:last`), the name's codes replaced and the
    /// thumbprint of the certificate.
    pub fn transport(&self) -> &ServerTransport {
        &self.transport
    }

    /// The next client, or `None` if none waits; use [`AsFd`] to wait for one. Over TLS the handshake goes on elsewhere.
    ///
    /// # Errors
    /// Out of descriptors, threads or memory; a client that has gone meanwhile counts as none.
    pub fn accept(&self) -> Result<Option<Connection>, TransportError> {
        let accepted = match &self.kind {
            Kind::Tcp(socket, _) => tcp::accept(socket)?,
            Kind::Npipe(socket) => socket.accept()?,
            Kind::Com(listener) => listener.accept()?,
        };
        match (accepted, &self.tls) {
            (Some(connection), Some(tls)) => tls.wrap(connection),
            (accepted, _) => Ok(accepted),
        }
    }

    /// What a client names to come here, one for each address at which it can: of all the machine's, if it listens
    /// everywhere. The password is not part of it.
    pub fn client_transports(&self) -> Vec<ClientTransport> {
        let tls = match &self.transport {
            ServerTransport::Ssl(_, tls) | ServerTransport::Spipe(_, tls) => tls.certificate.clone(),
            _ => None,
        };
        let tls = tls.map(|server| TlsClient { server, own: None });
        let address = match &self.kind {
            Kind::Npipe(socket) => {
                let pipe = PipeClient::new(socket.name().to_owned());
                return vec![match tls {
                    None => ClientTransport::Npipe(pipe),
                    Some(tls) => ClientTransport::Spipe(pipe, tls),
                }];
            }
            // What the line is called at its other end is not known here; usually the same.
            Kind::Com(listener) => {
                let ComListen { port, baud, channel, .. } = listener.transport().clone();
                return vec![ClientTransport::Com(ComClient { port, baud, channel, password: None })];
            }
            Kind::Tcp(_, address) => address,
        };
        let addresses = match address.ip() {
            ip if ip.is_unspecified() => own_addresses(ip.is_ipv6()),
            ip => vec![ip],
        };
        let client = |ip: IpAddr| {
            let tcp = TcpClient::new(ip.to_string(), address.port());
            match &tls {
                None => ClientTransport::Tcp(tcp),
                Some(tls) => ClientTransport::Ssl(tcp, tls.clone()),
            }
        };
        addresses.into_iter().map(client).collect()
    }
}

/// Addresses at which others reach this machine; its loopback if there is none. IPv6 link-local ones need an interface's name
/// that only the other machine knows.
fn own_addresses(ipv6: bool) -> Vec<IpAddr> {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let interfaces = getifaddrs().into_iter().flatten().filter(|interface| interface.flags.contains(up));
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            ipv4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())).filter(|_| ipv6))
        })
        .filter(|address| match address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        })
        .collect();
    // The shorter ones first.
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] } else { addresses }
}

/// Where a listener of these protocols listens if nothing is said: what is encrypted, everywhere.
fn address(transport: &ServerTransport, tcp: &TcpListen) -> IpAddr {
    let usual = || if transport.is_encrypted() { tcp::everywhere() } else { tcp::loopback(tcp) };
    tcp.bind.unwrap_or_else(usual)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(socket, _) => socket.as_fd(),
            Kind::Npipe(socket) => socket.as_fd(),
            Kind::Com(listener) => listener.as_fd(),
        }
    }
}
