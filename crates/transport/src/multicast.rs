//! Datagrams to and from the groups of multicast DNS, on all networks of this machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::TransportError;

/// RFC 6762, 3 and 5.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// RFC 6762, 11: so that receivers could tell what crossed a router.
const HOPS: u32 = 255;

/// A network that this machine is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    index: u32,
    /// What this machine is called there; at least one.
    pub addresses: Vec<IpAddr>,
}

/// A member of the groups, on each network of this machine but the loopback.
#[derive(Debug)]
pub struct LocalGroup {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    interfaces: Vec<Interface>,
}

impl LocalGroup {
    /// Joins; nothing blocks. Other programs of this machine may be members, too.
    ///
    /// # Errors
    /// The port is somebody's who shares it with nobody.
    pub fn join() -> Result<LocalGroup, TransportError> {
        let (v4, v6) = (socket_v4(), socket_v6());
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(TransportError::io("take part in multicast DNS")(error)),
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        let mut group = LocalGroup { v4, v6, interfaces: Vec::new() };
        group.refresh();
        Ok(group)
    }

    /// Looks for networks that came or went; gives whether there are any.
    pub fn refresh(&mut self) -> bool {
        let is_new = std::mem::replace(&mut self.interfaces, interfaces()) != self.interfaces;
        for interface in &self.interfaces {
            // Where we are a member already this fails, and where there is no such family.
            if let Some(v4) = &self.v4 {
                let any = Ipv4Addr::UNSPECIFIED;
                let _ = sockopt::set_ip_add_membership_with_ifindex(v4, &GROUP_V4, &any, interface.index);
            }
            if let Some(v6) = &self.v6 {
                let _ = sockopt::set_ipv6_add_membership(v6, &GROUP_V6, interface.index);
            }
        }
        is_new
    }

    /// The networks, as they were last looked for.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The next datagram that is there, and whose it is. One that is longer than the buffer is cut.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        // Whatever is wrong with one socket: nothing came there.
        [&self.v4, &self.v6].into_iter().flatten().find_map(|socket| socket.recv_from(buffer).ok())
    }

    /// Sends to everybody of a network. What a network does not take is lost, as datagrams are.
    pub fn send(&self, interface: &Interface, datagram: &[u8]) {
        let has = |is: fn(&IpAddr) -> bool| interface.addresses.iter().any(is);
        if let Some(v4) = self.v4.as_ref().filter(|_| has(IpAddr::is_ipv4)) {
            let (any, index) = (Ipv4Addr::UNSPECIFIED, interface.index);
            if sockopt::set_ip_multicast_if_with_ifindex(v4, &GROUP_V4, &any, index).is_ok() {
                let _ = v4.send_to(datagram, (GROUP_V4, PORT));
            }
        }
        if let Some(v6) = self.v6.as_ref().filter(|_| has(IpAddr::is_ipv6)) {
            let _ = v6.send_to(datagram, SocketAddrV6::new(GROUP_V6, PORT, 0, interface.index));
        }
    }

    /// Sends to one who asked from a port of its own (RFC 6762, 6.7).
    pub fn send_to(&self, to: SocketAddr, datagram: &[u8]) {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        socket.iter().for_each(|socket| drop(socket.send_to(datagram, to)));
    }

    /// Whether somebody asked as part of the group does: from its port.
    pub fn is_member(from: SocketAddr) -> bool {
        from.port() == PORT
    }

    /// What to watch for datagrams.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.v4, &self.v6].into_iter().flatten().map(UdpSocket::as_fd)
    }
}

/// Bound to the group's address, so that only what was sent to the group comes, and nobody from afar can ask.
fn socket_v4() -> io::Result<UdpSocket> {
    let socket = socket(AddressFamily::INET)?;
    sockopt::set_ip_multicast_ttl(&socket, HOPS)?;
    rustix::net::bind(&socket, &SocketAddr::from((GROUP_V4, PORT)))?;
    Ok(socket)
}

/// A link-local group's address cannot be bound to without a network, so this one hears what is sent to the machine, too.
fn socket_v6() -> io::Result<UdpSocket> {
    let socket = socket(AddressFamily::INET6)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    sockopt::set_ipv6_multicast_hops(&socket, HOPS)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)))?;
    Ok(socket)
}

fn socket(family: AddressFamily) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(socket.into())
}

fn interfaces() -> Vec<Interface> {
    // One that comes up is not running yet for a second, and loses nothing by being asked.
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
    let mut found: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    for one in getifaddrs().into_iter().flatten() {
        if !one.flags.contains(wanted) || one.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let address = one.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        if let (Some(address), Ok(index)) = (address, if_nametoindex(one.interface_name.as_str())) {
            found.entry(index).or_default().push(address);
        }
    }
    found.into_iter().map(|(index, addresses)| Interface { index, addresses }).collect()
}
