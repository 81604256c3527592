//! Servers that announce themselves on the local network: DNS-SD (RFC 6763) over multicast DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent};
use outpost_remote::{ListedServer, ServerKind};
use outpost_server::registry;
use outpost_transport::{ClientTransport, ServerTransport, TcpClient, TlsClient};

/// The type of our servers.
const SERVICE: &str = "_outpost._tcp.local.";
/// How long answers are waited for: they take a fifth of a second at most, and the question is asked again after one
/// (RFC 6762, 5.2 and 6).
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest name of a machine that is shown.
const NAME_LEN: usize = 64;

/// A machine with servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// As it calls itself.
    pub(crate) name: String,
    /// Where it is reached; the one that its servers are listed with comes first.
    pub(crate) addresses: Vec<String>,
    /// With its address, as a client names them.
    pub(crate) servers: Vec<ListedServer>,
}

impl Machine {
    /// Whether it is what somebody calls by this name or address.
    pub(crate) fn is_called(&self, host: &str) -> bool {
        let bare = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_address = host.parse::<IpAddr>().is_ok();
        self.addresses.iter().any(|address| address == host) || (!is_address && bare(&self.name) == bare(host))
    }
}

/// Asks, and waits for the answers.
///
/// # Errors
/// A sentence for the user: the network cannot be asked.
pub(crate) fn machines() -> Result<Vec<Machine>, String> {
    let failed = |error: mdns_sd::Error| format!("the local network cannot be asked: {error}");
    let daemon = ServiceDaemon::new().map_err(failed)?;
    let events = daemon.browse(SERVICE).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    let mut found: BTreeMap<String, Box<ResolvedService>> = BTreeMap::new();
    while let Ok(event) = events.recv_deadline(deadline) {
        match event {
            ServiceEvent::ServiceResolved(service) => drop(found.insert(service.fullname.clone(), service)),
            ServiceEvent::ServiceRemoved(_, name) => drop(found.remove(&name)),
            _ => {}
        }
    }
    // Its thread ends with this process at the latest.
    let _ = daemon.shutdown();
    Ok(grouped(found.into_values().filter_map(|service| announced(&service))))
}

/// What one announcement says; all of it is a stranger's word.
struct Announced {
    name: String,
    addresses: Vec<String>,
    server: ListedServer,
}

fn announced(service: &ResolvedService) -> Option<Announced> {
    let text = |key| service.get_property_val_str(key).unwrap_or_default();
    let mut addresses: Vec<(IpAddr, String)> =
        service.addresses.iter().map(|address| (address.to_ip_addr(), address.to_string())).collect();
    // An address that needs the name of a network comes last.
    addresses.sort_by_key(|(address, _)| match address {
        IpAddr::V4(address) => (u8::from(address.is_link_local()) * 2, IpAddr::V4(*address)),
        IpAddr::V6(address) => (1 + u8::from(address.is_unicast_link_local()) * 2, IpAddr::V6(*address)),
    });
    let addresses: Vec<String> = addresses.into_iter().map(|(_, text)| text).collect();
    let name = text("name").chars().filter(|c| !c.is_control()).take(NAME_LEN).collect();
    let server = server(text("kind"), text("transport"), text("proto"), addresses.first()?, service.port)?;
    Some(Announced { name, addresses, server })
}

/// As a client names it.
fn server(kind: &str, transport: &str, protocol: &str, address: &str, port: u16) -> Option<ListedServer> {
    let kind: ServerKind = registry::kind(kind)?;
    let tcp = TcpClient::new(address.to_owned(), port);
    let transport = match transport.parse::<ServerTransport>() {
        Ok(ServerTransport::Tcp(listen)) => {
            ClientTransport::Tcp(TcpClient { password: listen.password, ..tcp }).to_string()
        }
        Ok(ServerTransport::Ssl(listen, tls)) => {
            let own = (!tls.clients.is_empty()).then(|| "NAME".to_owned());
            let tls = TlsClient { server: tls.certificate?, own };
            ClientTransport::Ssl(TcpClient { password: listen.password, ..tcp }, tls).to_string()
        }
        // It had no room for all.
        _ if transport.is_empty() && protocol == "ssl" => format!("ssl:Port={port},Server={address}"),
        _ => return None,
    };
    Some(ListedServer { kind, transport })
}

/// By machine: two of the same name are told apart by their address.
fn grouped(all: impl Iterator<Item = Announced>) -> Vec<Machine> {
    let mut machines: BTreeMap<(String, Option<String>), Machine> = BTreeMap::new();
    for Announced { name, addresses, server } in all {
        let key = (name.clone(), addresses.first().cloned());
        let machine = machines.entry(key).or_insert_with(|| Machine { name, addresses, servers: Vec::new() });
        machine.servers.push(server);
    }
    let mut machines: Vec<Machine> = machines.into_values().collect();
    machines.iter_mut().for_each(|machine| machine.servers.sort());
    machines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_become_strings_to_paste() {
        let check = |kind, transport: &str, protocol, expected: Option<&str>| {
            let server = server(kind, transport, protocol, "10.0.0.7", 41905);
            assert_eq!(server.map(|server| server.to_string()).as_deref(), expected, "{transport}");
        };
        let thumbprint = "AB".repeat(32);
        check(
            "process",
            &format!("ssl:Port=41905:42000,CertUser={thumbprint},Password=*"),
            "ssl",
            Some(&format!("Remote Process Server - ssl:Port=41905,Server=10.0.0.7,CertUser={thumbprint},Password=*")),
        );
        check(
            "process",
            &format!("ssl:Port=41905,CertUser={thumbprint},ClientCert={thumbprint}"),
            "ssl",
            Some(&format!(
                "Remote Process Server - ssl:Port=41905,Server=10.0.0.7,CertUser={thumbprint},ClientCert=NAME"
            )),
        );
        check(
            "kernel",
            "tcp:Port=41905,Bind=0.0.0.0,Password=*",
            "tcp",
            Some("Remote Kernel Debugger Server - tcp:Port=41905,Server=10.0.0.7,Password=*"),
        );
        check("process", "", "ssl", Some("Remote Process Server - ssl:Port=41905,Server=10.0.0.7"));
        // A stranger's word is shown only if it is well formed.
        check("process", "exec:rm -rf /", "tcp", None);
        check("process", "tcp:Port=1\u{1b}[31m", "tcp", None);
        check("toaster", "tcp:Port=1", "tcp", None);
    }

    #[test]
    fn servers_are_listed_by_machine() {
        let one = |name: &str, address: &str, port: u16| Announced {
            name: name.into(),
            addresses: vec![address.into()],
            server: server("process", &format!("tcp:Port={port}"), "tcp", address, port).unwrap(),
        };
        let found = grouped(
            [one("vm", "10.0.0.9", 5), one("alder", "10.0.0.7", 9), one("vm", "10.0.0.9", 4), one("vm", "10.0.0.8", 1)]
                .into_iter(),
        );
        let shown: Vec<(&str, usize)> = found.iter().map(|one| (one.name.as_str(), one.servers.len())).collect();
        assert_eq!(shown, [("alder", 1), ("vm", 1), ("vm", 2)]);
        assert!(found[0].is_called("Alder") && found[0].is_called("alder.example") && found[0].is_called("10.0.0.7"));
        assert!(!found[0].is_called("10.0.0.8") && !found[0].is_called("birch"));
    }
}
