//! Which servers are there: `-QR` and `.servers`.

use std::fmt::Write;

use outpost_remote::{RemoteError, list_servers};
use outpost_server::registry::Registry;
use outpost_transport::{TcpClient, is_this_machine};

use crate::network::{self, Machine};

/// Where a machine is asked if no port is named: that of the examples, which many servers have.
const DEFAULT_PORT: u16 = 1025;

/// What a query found.
pub(crate) struct Listing {
    pub(crate) text: String,
    /// What else there is to say, apart from the list.
    pub(crate) remark: Option<String>,
}

/// The servers of a machine, as text: this one's are looked up, another's asked for through one of them.
///
/// # Errors
/// A sentence for the user: nobody answers there, or no such host.
pub(crate) fn of(host: &str) -> Result<Listing, String> {
    let host = host.trim_start_matches('\\');
    if host == "*" {
        return announced(|_| true)?.ok_or_else(|| {
            "no server says on the local network that it is there (dbgsrv --announce); -QR HOST asks one machine".into()
        });
    }
    let (name, port) = split(host)?;
    if port.is_none() && is_this_machine(name) {
        return Ok(Listing { text: of_this_machine(), remark: None });
    }
    let server = TcpClient::new(name.to_owned(), port.unwrap_or(DEFAULT_PORT));
    let list = match list_servers(&server) {
        Ok(list) => list,
        // It may say by itself where its servers are.
        Err(RemoteError::Transport(error)) if port.is_none() => {
            return announced(|machine| machine.is_called(name))?.ok_or_else(|| unknown(name, port, &error));
        }
        Err(error) => return Err(unknown(name, port, &error)),
    };
    let remark = list.more.then(|| format!("{name} has more servers than its answer has room for"));
    Ok(Listing { text: listing(name, list.servers.iter()), remark })
}

fn unknown(name: &str, port: Option<u16>, error: &dyn std::fmt::Display) -> String {
    let which = if port.is_none() { "any" } else { "another" };
    format!("the servers of {name} are not known: {error}; -QR HOST:PORT names the port of {which} server there")
}

/// Servers that say on the local network that they are there, of the machines that are wanted; `None`: there are none.
fn announced(is_wanted: impl Fn(&Machine) -> bool) -> Result<Option<Listing>, String> {
    let machines: Vec<Machine> = network::machines()?.into_iter().filter(|machine| is_wanted(machine)).collect();
    let text: String = machines.iter().map(|machine| listing(&machine.name, machine.servers.iter())).collect();
    Ok((!machines.is_empty()).then_some(Listing { text, remark: None }))
}

/// The servers of this machine.
pub(crate) fn of_this_machine() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    listing(&host, Registry::of_this_machine().list().iter())
}

fn listing<T: std::fmt::Display>(host: &str, servers: impl Iterator<Item = T>) -> String {
    let mut text = format!("Servers on \\\\{host}:\n");
    for server in servers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{server}");
    }
    text
}

/// Host and port; the colons of a bare IPv6 address part nothing.
fn split(host: &str) -> Result<(&str, Option<u16>), String> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((name, port)) if !port.contains(':') => (name, Some(port)),
            _ => (host, None),
        },
    };
    let wrong = || format!("-QR {host}: name a host, or host:port, or [address]:port");
    let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
    if name.is_empty() { Err(wrong()) } else { Ok((name, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_ports() {
        assert_eq!(split("alder"), Ok(("alder", None)));
        assert_eq!(split("alder:9"), Ok(("alder", Some(9))));
        assert_eq!(split("fe80::1"), Ok(("fe80::1", None)));
        assert_eq!(split("[::1]:1025"), Ok(("::1", Some(1025))));
        assert!(split(":9").is_err() && split("alder:x").is_err() && split("").is_err());
    }
}
