//! TLS 1.3 over any stream socket: who proves what, and how the bytes move.
//!
//! The server shows a certificate from a [store](store); the client names exactly that one by its thumbprint, so no authority
//! and no host name is involved, and nobody else can answer in the server's place. A server may ask for a certificate of
//! the client's in the same way.
//!
//! A [`Connection`](crate::Connection) stays one descriptor that can be handed to another process. TLS state cannot move, so
//! what the crate gives out is one end of a socket pair, with a [pump](pump) between the other end and the network: a thread of
//! the process that accepted or connected.

mod config;
mod pump;
mod store;
#[cfg(test)]
mod tests;
mod thumbprint;

use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

pub use store::Store;
pub use thumbprint::{CertificateName, Thumbprint, Which};

pub(crate) use pump::{Near, hear_last_words};

use crate::{Connection, TransportError};

/// Pumps of one listener at once: sessions, connections that have not proved anything, and those that say their last
/// words. What comes beyond is closed at once.
const MAX_PUMPS: usize = 2048;

/// The TLS part of a server's connection string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsListen {
    /// What the server shows; `None`: the user's own, made on first use.
    pub certificate: Option<CertificateName>,
    /// Client certificates that are let in; empty: none is asked for.
    pub clients: Vec<Thumbprint>,
    /// One without a certificate is let in, too: it proves something else.
    pub is_optional: bool,
}

/// The TLS part of a client's connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsClient {
    /// What the server must show.
    pub server: CertificateName,
    /// The certificate of the user's store that is shown to the server, made on first use.
    pub own: Option<String>,
}

impl TlsClient {
    /// What the other end is given to accept this one.
    ///
    /// # Errors
    /// The certificate that is shown there cannot be had.
    pub(crate) fn counterpart(&self) -> Result<TlsListen, TransportError> {
        let own = self.own.as_ref().map(|name| config::own_thumbprint(name)).transpose()?;
        Ok(TlsListen { certificate: Some(self.server.clone()), clients: own.into_iter().collect(), is_optional: false })
    }
}

impl TlsListen {
    /// Names the certificate that is shown, the user's own of that name if none was named; it is made now if need be.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn use_own(&mut self, name: &str) -> Result<(), TransportError> {
        if self.certificate.is_none() {
            let which = Which::Thumbprint(config::own_thumbprint(name)?);
            self.certificate = Some(CertificateName { store: Store::User, which });
        }
        Ok(())
    }
}

/// Wraps what a listener accepts.
#[derive(Debug)]
pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
    /// The certificate as clients name it.
    certificate: CertificateName,
    /// Each pump holds a clone: their count is that of the pumps.
    pumps: Arc<()>,
}

impl Acceptor {
    /// Loads the certificate, or makes it.
    pub(crate) fn new(listen: &TlsListen) -> Result<Acceptor, TransportError> {
        let (config, certificate) = config::server(listen)?;
        Ok(Acceptor { config, certificate, pumps: Arc::new(()) })
    }

    pub(crate) fn certificate(&self) -> &CertificateName {
        &self.certificate
    }

    /// Puts a pump in front of an accepted connection; the handshake is the pump's business. `None`: there are too many.
    pub(crate) fn wrap(&self, network: Connection) -> Result<Option<Connection>, TransportError> {
        if Arc::strong_count(&self.pumps) > MAX_PUMPS {
            return Ok(None);
        }
        pump::serve(network, Arc::clone(&self.config), Arc::clone(&self.pumps)).map(Some)
    }
}

/// Everything a client can be wrong about before it connects.
pub(crate) fn client_config(tls: &TlsClient) -> Result<Arc<ClientConfig>, TransportError> {
    config::client(tls)
}

/// Encrypts a connection to whoever answers.
pub(crate) fn connect_to_anybody(network: Connection) -> Result<Connection, TransportError> {
    pump::connect(network, config::client_of_anybody()?)
}

/// Encrypts a connection; returns once the server has shown the right certificate.
pub(crate) fn connect(network: Connection, config: Arc<ClientConfig>) -> Result<Connection, TransportError> {
    pump::connect(network, config)
}
