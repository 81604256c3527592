//! Servers: this machine's own, and those of others.

use outpost_engine::{Engine, EngineError, SystemOrdinal};
use outpost_remote::{Identity, Options, RemoteError, RemoteTarget};
use outpost_target::Target;
use outpost_transport::ClientTransport;

/// A server that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// Its connection string, or the connection.
    #[error(transparent)]
    Transport(#[from] outpost_transport::TransportError),
    /// The session.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// This machine's own.
    #[error(transparent)]
    Server(#[from] outpost_server::ServerError),
    /// The engine would not take it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Opens a session; `transport` is as after `-premote`, `None` is this machine. With it the command line that the server
/// held pending, if it was asked for.
pub(crate) fn open(transport: Option<&str>, options: Options) -> Result<(RemoteTarget, Vec<String>), HostError> {
    let options = Options { identity: identity(), ..options };
    let (target, session) = match transport {
        Some(text) => RemoteTarget::connect(&text.parse::<ClientTransport>()?, options)?,
        None => RemoteTarget::open(outpost_server::spawn_local()?.connection, options)?,
    };
    Ok((target, session.command_line))
}

/// Opens a session and adds its system to the engine.
pub(crate) fn add(
    engine: &mut Engine,
    transport: Option<&str>,
    options: Options,
) -> Result<(SystemOrdinal, Vec<String>), HostError> {
    let (target, command_line) = open(transport, options)?;
    Ok((engine.add_system(Box::new(target))?, command_line))
}

/// What `.attach` and `.create` reach other machines by.
pub(crate) fn connector(transport: Option<&str>) -> Result<Box<dyn Target>, String> {
    match open(transport, Options::default()) {
        Ok((target, _)) => Ok(Box::new(target)),
        Err(error) => Err(error.to_string()),
    }
}

/// How this program was started, less the passwords in it.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args().map(|argument| without_password(&argument)).collect()
}

fn without_password(argument: &str) -> String {
    match argument.find("password=") {
        Some(at) => {
            let value = at + "password=".len();
            let end = argument[value..].find(',').map_or(argument.len(), |len| value + len);
            format!("{}*{}", &argument[..value], &argument[end..])
        }
        None => argument.to_owned(),
    }
}

fn identity() -> Identity {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Identity { user, host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("tcp:server=a,password=Xy12,port=1"), "tcp:server=a,password=*,port=1");
        assert_eq!(without_password("tcp:password=Xy12"), "tcp:password=*");
        assert_eq!(without_password("-lines"), "-lines");
    }
}
