//! Connections that are made before the session, since the user is asked, or waits long, while Ctrl+C ends the program.

use std::io::{BufRead, IsTerminal, Write};

use outpost_transport::{ClientTransport, Connection, ReverseListen, ReverseListener, SshClient, TransportError};

/// The connection, if it is one of those.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn make_early(transport: Option<&ClientTransport>) -> Result<Option<Connection>, String> {
    match transport {
        Some(ClientTransport::Reverse(listen)) => wait(listen).map(Some),
        Some(ClientTransport::Ssh(ssh)) => start(ssh).map(Some),
        _ => Ok(None),
    }
}

/// Waits for a server that dials.
fn wait(listen: &ReverseListen) -> Result<Connection, String> {
    let listener = ReverseListener::bind(listen).map_err(|error| error.to_string())?;
    let host = match listener.transport().host.as_str() {
        "." => "this machine",
        host => host,
    };
    tell(&format!("waiting on {} for the server of {host} (Ctrl+C ends that)", listener.place()));
    let certificate = if listener.transport().asks_for_certificate() { ",ClientCert=NAME" } else { "" };
    let password = if listener.transport().password().is_some() { ",Password=*" } else { "" };
    for dial in listener.counterparts() {
        tell(&format!("there: dbgsrv -t {dial}{certificate}{password}"));
    }
    let connection = listener.accept(&mut |other, why| tell(&format!("sent away: {other}: {why}")));
    let connection = connection.map_err(|error| error.to_string())?;
    tell(&format!("connected: {}", connection.peer()));
    Ok(connection)
}

/// Starts the server there by ssh; what is missing there is copied if the user says so.
fn start(ssh: &SshClient) -> Result<Connection, String> {
    let connect = |copy| {
        let ssh = SshClient { copy, ..ssh.clone() };
        ClientTransport::Ssh(ssh).connect()
    };
    let failed = |error: TransportError| format!("cannot connect to {}: {error}", ClientTransport::Ssh(ssh.clone()));
    let (server, question, otherwise) = match connect(ssh.copy) {
        Ok(connection) => return Ok(connection),
        Err(error) if ssh.copy.is_some() || !can_ask() => match error {
            // Nobody to ask: what is there speaks for itself.
            TransportError::OtherServerThere { .. } => return connect(Some(false)).map_err(failed),
            error => return Err(failed(error)),
        },
        Err(TransportError::NoServerThere { server, place }) => {
            (server, format!("there is no dbgsrv (looked for {place})"), None)
        }
        Err(TransportError::OtherServerThere { server, found, release }) => {
            (server, format!("the server is '{found}', this debugger is of release {release}"), Some(false))
        }
        Err(error) => return Err(failed(error)),
    };
    match (is_wanted(&server, &question), otherwise) {
        (true, _) => connect(Some(true)).map_err(failed),
        (false, Some(copy)) => connect(Some(copy)).map_err(failed),
        (false, None) => Err("without a server there is nothing to connect to".into()),
    }
}

fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn is_wanted(server: &str, question: &str) -> bool {
    // There is nowhere else to ask.
    let _ = write!(std::io::stderr(), "On {server}, {question}.\nCopy the one of this debugger there? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim_start().starts_with(['y', 'Y'])
}

fn tell(text: &str) {
    // Without a standard error it waits as well.
    let _ = writeln!(std::io::stderr(), "cdb: {text}");
}
