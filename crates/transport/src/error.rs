//! What can be wrong with a connection string, or with the connection it names.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// A failed parse, listen or connect. Display texts never contain a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no `protocol:` in front.
    #[error("connection string '{text}' does not start with a protocol, such as tcp:port=1025 or npipe:pipe=name")]
    MissingProtocol {
        /// The string up to its first comma, where no password can be.
        text: String,
    },
    /// No protocol is called so.
    #[error("unknown protocol '{name}': use tcp, npipe, ssl, spipe, com, ssh or exec")]
    UnknownProtocol {
        /// What stands before the colon.
        name: String,
    },
    /// Well formed, but this release cannot do it.
    #[error("{what} is not in this release: use tcp, npipe, ssl, spipe, com, ssh or exec")]
    NotInThisRelease {
        /// The protocol or key.
        what: String,
    },
    /// The protocol exists only on the other side.
    #[error("{protocol}: can only be used {side}")]
    WrongSide {
        /// The protocol.
        protocol: &'static str,
        /// Where it can be used.
        side: &'static str,
    },
    /// A `@{` without its `}`, or the reverse.
    #[error("the braces of the connection string do not match")]
    UnbalancedBraces,
    /// The protocol has no such key on this side.
    #[error("{protocol}: does not take '{key}' here; it takes {known}")]
    UnknownKey {
        /// The protocol.
        protocol: &'static str,
        /// The key.
        key: String,
        /// All keys it takes, separated by commas.
        known: String,
    },
    /// A key is there twice.
    #[error("'{key}' is given twice")]
    DuplicateKey {
        /// The key.
        key: &'static str,
    },
    /// A key that the protocol needs is not there.
    #[error("{protocol}: needs '{key}='")]
    MissingKey {
        /// The protocol.
        protocol: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A key came without its value.
    #[error("'{key}' needs a value: {key}=...")]
    MissingValue {
        /// The key.
        key: &'static str,
    },
    /// A key came with a value but takes none.
    #[error("'{key}' takes no value")]
    UnexpectedValue {
        /// The key.
        key: &'static str,
    },
    /// A value is not of the key's kind.
    #[error("{key}={value} is not valid: {expected}")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A password breaks a rule; the password itself is not repeated.
    #[error("the password is not valid: {rule}")]
    InvalidPassword {
        /// Which rule.
        rule: &'static str,
    },
    /// The file of a password is of no use.
    #[error("the password file {} cannot be used: {reason}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Two keys that exclude each other.
    #[error("'{first}' and '{second}' cannot be used together")]
    Conflict {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// It would listen where others can reach it, with nothing to keep them out.
    #[error("listening on {address} lets other machines in: add password=..., or leave bind= out to stay on loopback")]
    PasswordRequired {
        /// The address of `bind=`.
        address: IpAddr,
    },
    /// A client does not say which certificate the server must show.
    #[error(
        "{protocol}: needs certuser=THUMBPRINT, or anybody could answer in the server's place: the server prints the \
         line to paste, with the thumbprint in it, when it starts"
    )]
    MissingThumbprint {
        /// The protocol.
        protocol: &'static str,
    },
    /// A store has no such certificate.
    #[error(
        "there is no certificate '{name}' in {}: name it by the 40 or 64 hexadecimal digits of its thumbprint, or by NAME \
         for NAME.crt and NAME.key (PEM) there", directory.display()
    )]
    NoCertificate {
        /// As it was named.
        name: String,
        /// Folder of the store.
        directory: PathBuf,
    },
    /// A file of a store is not what it should be.
    #[error("the certificate file {} cannot be used: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no place for the user's certificates.
    #[error("there is no place for your certificates: set HOME or XDG_CONFIG_HOME, or use machuser=")]
    NoCertificateStore,
    /// TLS could not be set up.
    #[error("no encrypted connection: {reason}")]
    Tls {
        /// Why not.
        reason: String,
    },
    /// A pipe on another machine cannot be reached.
    #[error(
        "{protocol}: reaches only this machine, not '{server}': use ssl: or tcp:, or forward the socket (ssh -L) and use \
         server=."
    )]
    RemotePipe {
        /// The protocol.
        protocol: &'static str,
        /// The value of `server=`.
        server: String,
    },
    /// A live server has the name.
    #[error("the pipe name '{name}' is in use by process {pid}")]
    PipeInUse {
        /// The name, codes replaced.
        name: String,
        /// Its owner's process id.
        pid: u32,
    },
    /// Every port of the range is taken.
    #[error("no free port on {address} in {first} to {last}")]
    NoFreePort {
        /// Address listened on.
        address: IpAddr,
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// A pipe file is there, but its server is not.
    #[error("the server of pipe '{name}' no longer exists")]
    StalePipe {
        /// The name.
        name: String,
    },
    /// There is no place for pipes.
    #[error("there is no runtime directory for pipes: set XDG_RUNTIME_DIR to a directory of your own")]
    NoRuntimeDirectory,
    /// The command of `exec:` has a quotation mark too few.
    #[error("the command of exec: cannot be split into words: a quotation mark is missing, or there is no word")]
    InvalidCommand,
    /// A command that was to carry the link ended instead.
    #[error("{words}")]
    Program {
        /// How it ended, and what it said.
        words: String,
    },
    /// ssh reached the machine, but there is no server to start.
    #[error("there is no dbgsrv on {server} (looked for {place}): copy=yes copies the one of this debugger there")]
    NoServerThere {
        /// The machine.
        server: String,
        /// Where it was looked for.
        place: String,
    },
    /// The server that ssh could start is of another release.
    #[error(
        "the server on {server} is '{found}', this debugger is of release {release}: copy=yes copies the one of this \
         debugger there, copy=no tries the one that is there"
    )]
    OtherServerThere {
        /// The machine.
        server: String,
        /// What it says of itself.
        found: String,
        /// Release of this program.
        release: &'static str,
    },
    /// The server could not be copied.
    #[error("dbgsrv cannot be copied to {server}: {reason}")]
    CopyServer {
        /// The machine.
        server: String,
        /// Why not.
        reason: String,
    },
    /// The other side of a reverse connection is awaited where it cannot be.
    #[error("a reverse connection is dialled or awaited, not {operation}")]
    Reverse {
        /// What was tried.
        operation: &'static str,
    },
    /// A serial device is locked by a process that shares it with nobody.
    #[error("the serial line {device} is in use by another program or user")]
    LineInUse {
        /// The device.
        device: String,
    },
    /// A serial device cannot do the rate.
    #[error("{device} cannot do {baud} baud, the nearest it can is {nearest}: use baud={nearest} at both ends")]
    Rate {
        /// The device.
        device: String,
        /// The rate asked for, in bits per second.
        baud: u32,
        /// What it would be.
        nearest: u32,
    },
    /// A channel of a serial line could not be had.
    #[error("channel {channel} of {device}: {reason}")]
    Channel {
        /// The channel.
        channel: u8,
        /// The device.
        device: String,
        /// Why, in words of the line's owner or of the other end.
        reason: String,
    },
    /// A listener's serial line is gone; it is opened again when it can be.
    #[error("channel {channel} of {device}: {reason}; it is tried again every second")]
    LineLost {
        /// The channel.
        channel: u8,
        /// The device.
        device: String,
        /// What happened.
        reason: String,
    },
    /// A host name could not be resolved.
    #[error("cannot find host '{host}': {source}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried, such as `connect to 10.0.0.7:1025`.
        operation: String,
        /// Why not.
        source: io::Error,
    },
}

impl TransportError {
    /// Adapter for `map_err`: the failed operation in words.
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> TransportError {
        let operation = operation.into();
        move |source| TransportError::Io { operation, source }
    }
}
