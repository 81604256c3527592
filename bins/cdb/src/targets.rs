//! Where targets come from: this program alone knows their kinds.

use std::path::Path;

use outpost_dump::ElfCore;
use outpost_remote::{Identity, OnLost, Options, RemoteTarget};
use outpost_target::{ProcessQuery, Target};
use outpost_transport::{ClientTransport, Connection, without_passwords};

/// Processes of this machine, through a guardian and a worker of our own.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn local(first_query: Option<ProcessQuery>) -> Result<Box<dyn Target>, String> {
    let local = outpost_server::spawn_local().map_err(|error| format!("cannot {error}"))?;
    let options = Options { first_query, ..Options::default() };
    let opened = RemoteTarget::open(local.connection, options);
    let (target, _) = opened.map_err(|error| format!("the debugger's own server failed: {error}"))?;
    Ok(Box::new(target))
}

/// What is wanted of a process server.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) first_query: Option<ProcessQuery>,
    /// Also the command line that it holds pending.
    pub(crate) take_command_line: bool,
    pub(crate) on_lost: Option<OnLost>,
    /// A session whose debugger is gone.
    pub(crate) take_over: Option<u64>,
}

/// Processes behind a process server, and the command line that it held pending if that was wanted; `link` is a connection
/// to it that exists already.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn remote(
    transport: &ClientTransport,
    link: Option<Connection>,
    wish: Wish,
) -> Result<(Box<dyn Target>, Vec<String>), String> {
    let Wish { first_query, take_command_line, on_lost, take_over } = wish;
    let options =
        Options { identity: identity(), first_query, take_command_line, on_lost, take_over, ..Options::default() };
    let opened = match link {
        Some(link) => RemoteTarget::connect_over(link, transport, options),
        None => RemoteTarget::connect(transport, options),
    };
    let (target, session) = opened.map_err(|error| format!("cannot connect to {transport}: {error}"))?;
    if on_lost.is_some() && !session.resume {
        return Err(format!(
            "{transport}: the server holds no sessions: it is of an older release, or was told not to (--grace 0); go \
             without -onlost"
        ));
    }
    Ok((Box::new(target), session.command_line))
}

/// A core dump.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn core(path: &Path) -> Result<ElfCore, String> {
    ElfCore::open(path).map_err(|error| error.to_string())
}

/// Targets by connection string, for `.attach -premote` and `.create -premote`.
pub(crate) fn connect(transport: Option<&str>) -> Result<Box<dyn Target>, String> {
    match transport {
        None => local(None),
        Some(text) => {
            let mut transport: ClientTransport =
                text.parse().map_err(|error| format!("{}: {error}", without_passwords(text)))?;
            if matches!(transport, ClientTransport::Reverse(_)) {
                return Err(
                    "a reverse connection is awaited by cdb -premote only: start another debugger for it".into()
                );
            }
            if let ClientTransport::Ssh(ssh) = &mut transport {
                // Nobody is asked in the midst of a session: what is there speaks for itself.
                ssh.copy = ssh.copy.or(Some(false));
            }
            remote(&transport, None, Wish::default()).map(|(target, _)| target)
        }
    }
}

/// How this program was started, less the passwords in it.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| without_passwords(&argument.to_string_lossy())).collect()
}

/// Who asks, for a server's log.
fn identity() -> Identity {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Identity { user, host }
}
