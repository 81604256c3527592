//! TCP: listening on one port of a range, connecting to the first address that answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::{BACKLOG, Connection, PortRange, TcpClient, TcpListen, TransportError};

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A silent peer is probed after this long, ...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// ... again and again, ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// ... and given up after this many probes without an answer.
const KEEPALIVE_PROBES: u32 = 4;

/// Where it listens without `bind=`.
pub(crate) fn loopback(transport: &TcpListen) -> IpAddr {
    match transport.ipv6 {
        true => IpAddr::V6(Ipv6Addr::LOCALHOST),
        false => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// Every address of this machine: of both families, unless it has no IPv6.
pub(crate) fn everywhere() -> IpAddr {
    let ipv6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0));
    ipv6.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |_| IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// Listens on the first free port of the range. The socket does not block.
pub(crate) fn listen(address: IpAddr, range: PortRange) -> Result<(TcpListener, SocketAddr), TransportError> {
    let (socket, bound) = listen_on(address, range)?;
    socket.set_nonblocking(true).map_err(TransportError::io(format!("listen on {address}")))?;
    Ok((socket, bound))
}

/// Listens on the first free port of the range.
pub(crate) fn listen_on(address: IpAddr, range: PortRange) -> Result<(TcpListener, SocketAddr), TransportError> {
    let PortRange { first, last } = range;
    for port in first..=last {
        match bind((address, port).into()) {
            Ok(socket) => {
                let bound = socket.local_addr().map_err(TransportError::io(format!("listen on {address}")))?;
                return Ok((socket, bound));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => {
                return Err(TransportError::Io { operation: format!("listen on {address} port {port}"), source });
            }
        }
    }
    Err(TransportError::NoFreePort { address, first, last })
}

/// A port with connections left in TIME_WAIT counts as free (tcp(7)); the unspecified IPv6 address takes IPv4 along,
/// whatever the system's default is.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// The next client, if one waits.
pub(crate) fn accept(listener: &TcpListener) -> Result<Option<Connection>, TransportError> {
    match listener.accept() {
        Ok((stream, _)) => {
            prepare(&stream);
            Ok(Some(stream.into()))
        }
        Err(error) => no_client(error),
    }
}

/// Tells "nobody there" from a real failure of accept(2).
pub(crate) fn no_client(error: io::Error) -> Result<Option<Connection>, TransportError> {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    match error.kind() {
        WouldBlock | Interrupted | ConnectionAborted => Ok(None),
        _ => Err(TransportError::Io { operation: "accept a connection".into(), source: error }),
    }
}

/// Connects to the first address of the host that answers.
pub(crate) fn connect(transport: &TcpClient) -> Result<Connection, TransportError> {
    let host = transport.server.as_str();
    let resolved = (host, transport.port).to_socket_addrs();
    let addresses = resolved.map_err(|source| TransportError::Resolve { host: host.to_owned(), source })?;
    let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address of the wanted kind");
    let (mut tried, mut failure) = (format!("connect to {host} port {}", transport.port), none());
    for address in addresses.filter(|address| !transport.ipv6 || address.is_ipv6()) {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                prepare(&stream);
                return Ok(stream.into());
            }
            Err(error) => (tried, failure) = (format!("connect to {address}"), error),
        }
    }
    Err(TransportError::Io { operation: tried, source: failure })
}

/// Small messages leave at once, dead peers are found. A system without one of the options does without it.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES);
}
