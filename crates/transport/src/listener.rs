//! Waiting for clients, whatever the protocol.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use crate::com::ComListener;
use crate::npipe::PipeListener;
use crate::{ClientTransport, ComClient, Connection, PipeClient, ServerTransport, TcpClient, TransportError, tcp};

/// A listening socket. Dropping it frees the port or the pipe name; connections already accepted stay.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    transport: ServerTransport,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener, SocketAddr),
    Npipe(PipeListener),
    Com(ComListener),
}

impl Listener {
    /// Starts to listen; for a range of ports, on the first that is free. Never blocks in [`Listener::accept`].
    ///
    /// # Errors
    /// Address, ports or name taken; bind beyond loopback without a password; no runtime directory.
    pub fn bind(transport: &ServerTransport) -> Result<Listener, TransportError> {
        if let ServerTransport::Tcp(tcp) = transport {
            tcp::require_password(tcp)?;
        }
        Listener::bind_relay(transport)
    }

    /// The same for a repeater, which has no password: it passes, and the server at the end of the chain asks for one.
    ///
    /// # Errors
    /// As [`Listener::bind`], less the password.
    pub fn bind_relay(transport: &ServerTransport) -> Result<Listener, TransportError> {
        match transport {
            ServerTransport::Tcp(tcp) => {
                let (socket, address) = tcp::listen(tcp)?;
                let mut chosen = tcp.clone();
                chosen.port.first = address.port();
                chosen.port.last = chosen.port.last.max(address.port());
                Ok(Listener { kind: Kind::Tcp(socket, address), transport: ServerTransport::Tcp(chosen) })
            }
            ServerTransport::Npipe(pipe) => {
                let socket = PipeListener::bind(pipe, &crate::runtime_directory()?)?;
                let mut chosen = pipe.clone();
                chosen.name = socket.name().to_owned();
                Ok(Listener { kind: Kind::Npipe(socket), transport: ServerTransport::Npipe(chosen) })
            }
            ServerTransport::TcpReverse(_) => Err(TransportError::Reverse { operation: "listened for" }),
            ServerTransport::Com(com) => {
                let listener = ComListener::bind(com, crate::runtime_directory()?)?;
                Ok(Listener { kind: Kind::Com(listener), transport: transport.clone() })
            }
        }
    }

    /// What it listens on: the string given, with the port chosen (`Port=chosen:last`) and the name's codes replaced.
    pub fn transport(&self) -> &ServerTransport {
        &self.transport
    }

    /// The next client, or `None` if none waits; use [`AsFd`] to wait for one.
    ///
    /// # Errors
    /// Out of descriptors or memory; a client that has gone meanwhile counts as none.
    pub fn accept(&self) -> Result<Option<Connection>, TransportError> {
        match &self.kind {
            Kind::Tcp(socket, _) => tcp::accept(socket),
            Kind::Npipe(socket) => socket.accept(),
            Kind::Com(listener) => listener.accept(),
        }
    }

    /// What a client on this machine or another names to come here. `host` is this machine's name, used when it
    /// listens on every address. The password is not part of it.
    pub fn client_transport(&self, host: &str) -> ClientTransport {
        match &self.kind {
            Kind::Tcp(_, address) if address.ip().is_unspecified() => {
                ClientTransport::Tcp(TcpClient::new(host.to_owned(), address.port()))
            }
            Kind::Tcp(_, address) => ClientTransport::Tcp(TcpClient::new(address.ip().to_string(), address.port())),
            Kind::Npipe(socket) => ClientTransport::Npipe(PipeClient::new(socket.name().to_owned())),
            // What the line is called at its other end is not known here; usually the same.
            Kind::Com(listener) => ClientTransport::Com(ComClient {
                port: listener.transport().port.clone(),
                baud: listener.transport().baud,
                channel: listener.transport().channel,
                password: None,
            }),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(socket, _) => socket.as_fd(),
            Kind::Npipe(socket) => socket.as_fd(),
            Kind::Com(listener) => listener.as_fd(),
        }
    }
}
