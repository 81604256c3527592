//! The command line: WinDbg's single-dash words, case-sensitive, and GNU spellings of the same.

use std::ffi::OsString;

use anyhow::{Context, bail, ensure};
use outpost_transport::{ClientTransport, ServerTransport};

const HELP: &str = "\
dbengprx: repeater. Stands between a server and its clients where they cannot reach each other.

usage: dbengprx [-p] -c CLIENT-TRANSPORT -s SERVER-TRANSPORT

  -c, --connect TRANSPORT   where the server is, as a client would name it:
        tcp:server=HOST,port=N[,ipversion=6]
        npipe:pipe=NAME
        com:port=LINE,baud=N,channel=N
        tcp:port=N[:M],clicon=HOST      waits for the server of HOST, which dials, whenever a client is there
  -s, --serve TRANSPORT     where clients come, as a server would name it:
        tcp:port=N[:M][,bind=ADDR][,ipversion=6]
        npipe:pipe=NAME
        com:port=LINE,baud=N,channel=N
        tcp:port=N,clicon=HOST          dials the debugger that waits on HOST; with -p again for the next one
  -p, --persistent          stay when the server closes; without it the repeater ends then
  -?, -h, --help            this text
      --version             release

Bytes pass as they are, any number of clients at once, each with a connection of its own to the server. ssl: is
relayed as tcp:, spipe: as npipe:, and stays encrypted from end to end. Passwords pass, too: give them to the server and
to its client (password=P or password=@FILE), not to repeaters. The server may itself be a repeater. SIGTERM and SIGINT
end it in order.
exit status: 0 ended in order, 1 could not start or go on, 2 wrong command line";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one value per program")]
pub(crate) enum Request {
    /// Print this and leave.
    Show(String),
    /// Relay.
    Relay(Options),
}

/// How to relay.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where the server is.
    pub(crate) server: ClientTransport,
    /// Where clients come.
    pub(crate) clients: ServerTransport,
    /// Whether it outlives the server's connections.
    pub(crate) persistent: bool,
}

/// Reads the command line, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Request> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut server, mut clients, mut persistent) = (None, None, false);
    // Single-dash words are no clusters of short options, so arguments are taken raw.
    let mut raw = parser.raw_args()?;
    while let Some(argument) = raw.next() {
        let argument = text(argument)?;
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || -> anyhow::Result<String> {
            let value = attached.clone().map(Ok).or_else(|| raw.next().map(text)).transpose()?;
            value.with_context(|| format!("{name} needs a connection string"))
        };
        match name {
            "-c" | "--connect" => {
                ensure!(server.replace(value()?.parse()?).is_none(), "{name} is given twice");
            }
            "-s" | "--serve" => {
                ensure!(clients.replace(value()?.parse()?).is_none(), "{name} is given twice");
            }
            "-p" | "--persistent" if attached.is_none() => persistent = true,
            "-?" | "-h" | "--help" => return Ok(Request::Show(HELP.to_owned())),
            "--version" => return Ok(Request::Show(format!("dbengprx {} (Outpost)", env!("CARGO_PKG_VERSION")))),
            _ => bail!("unknown option '{argument}' (options are case-sensitive)"),
        }
    }
    let server = server.context("-c CLIENT-TRANSPORT is missing, such as -c tcp:server=alder,port=1025")?;
    let clients = clients.context("-s SERVER-TRANSPORT is missing, such as -s tcp:port=1025")?;
    check(&server, &clients)?;
    Ok(Request::Relay(Options { server, clients, persistent }))
}

fn check(server: &ClientTransport, clients: &ServerTransport) -> anyhow::Result<()> {
    use {ClientTransport as Client, ServerTransport as Server};
    let is_server_known = match server {
        Client::Tcp(_) | Client::Npipe(_) | Client::Com(_) => true,
        Client::Reverse(listen) => !listen.at.is_encrypted(),
        _ => false,
    };
    let are_clients_known = match clients {
        Server::Tcp(_) | Server::Npipe(_) | Server::Com(_) => true,
        Server::Reverse(dial) => !dial.is_encrypted(),
        _ => false,
    };
    ensure!(
        is_server_known && are_clients_known,
        "a repeater knows tcp, npipe and com; an ssl: pair passes through it as tcp:, an spipe: pair as npipe:"
    );
    ensure!(
        server.password().is_none() && clients.password().is_none(),
        "a repeater has no password: it passes, so give it to the server and to its client"
    );
    if let (ClientTransport::Com(server), ServerTransport::Com(clients)) = (server, clients) {
        ensure!(
            server.device() != clients.device(),
            "{} cannot lead to the server and to the clients: use two serial lines",
            server.port
        );
    }
    Ok(())
}

fn text(argument: OsString) -> anyhow::Result<String> {
    match argument.into_string() {
        Ok(text) => Ok(text),
        Err(raw) => bail!("{} is not valid UTF-8", raw.to_string_lossy()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[&str]) -> Result<Options, String> {
        match parse(std::iter::once("dbengprx").chain(line.iter().copied()).map(OsString::from)) {
            Ok(Request::Relay(options)) => Ok(options),
            Ok(Request::Show(text)) => Err(text),
            Err(error) => Err(format!("{error}")),
        }
    }

    fn refuses(line: &[&str], words: &str) {
        let error = check(line).unwrap_err();
        assert!(error.contains(words), "{line:?}: {error}");
    }

    #[test]
    fn both_sides_are_needed_once() {
        let options = check(&["-p", "-c", "tcp:server=alder,port=5", "-s", "npipe:pipe=mid"]).unwrap();
        assert_eq!(options.server.to_string(), "tcp:Port=5,Server=alder");
        assert_eq!(options.clients.to_string(), "npipe:Pipe=mid");
        assert!(options.persistent);
        assert!(!check(&["--serve=tcp:port=1:9", "--connect=npipe:pipe=a"]).unwrap().persistent);
        refuses(&[], "-c CLIENT-TRANSPORT is missing");
        refuses(&["-c", "npipe:pipe=a"], "-s SERVER-TRANSPORT is missing");
        refuses(&["-c"], "needs a connection string");
        refuses(&["-s", "tcp:port=1", "-s", "tcp:port=2"], "twice");
        refuses(&["-P"], "case-sensitive");
        refuses(&["-?"], "usage: dbengprx");
    }

    #[test]
    fn passwords_pass_and_lines_have_one_direction() {
        refuses(&["-c", "npipe:pipe=a,password=x", "-s", "tcp:port=1"], "a repeater has no password");
        refuses(&["-c", "npipe:pipe=a", "-s", "tcp:port=1,password=x"], "a repeater has no password");
        refuses(&["-c", "npipe:pipe=a", "-s", "ssl:port=1"], "passes through it as tcp:");
        refuses(&["-c", "ssl:port=1,clicon=a", "-s", "tcp:port=1"], "passes through it as tcp:");
        refuses(&["-c", "tcp:port=1,clicon=a", "-s", "ssl:port=1,clicon=b,certuser=x"], "passes through it as tcp:");
        refuses(&["-c", "tcp:port=1,clicon=a,password=x", "-s", "tcp:port=1"], "a repeater has no password");
        assert!(check(&["-c", "tcp:port=1:9,clicon=a", "-s", "tcp:port=1,clicon=b"]).is_ok());
        let line = ["-c", "com:port=com2,baud=9600,channel=1", "-s", "com:port=/dev/ttyS1,baud=19200,channel=2"];
        refuses(&line, "use two serial lines");
        assert!(check(&[line[0], line[1], line[2], "com:port=com3,baud=9600,channel=1"]).is_ok());
    }
}
