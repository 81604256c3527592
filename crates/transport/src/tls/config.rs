//! What the two ends ask of each other: TLS 1.3, and exactly the certificates that were named.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};

use super::store::{self, Pair, Store};
use super::{CertificateName, Thumbprint, TlsClient, TlsListen, Which};
use crate::TransportError;

/// Name of the pair that a server makes for itself.
const OWN: &str = "dbgsrv";

/// A server's side, and its certificate as clients name it.
pub(super) fn server(listen: &TlsListen) -> Result<(Arc<ServerConfig>, CertificateName), TransportError> {
    let (store, pair) = match &listen.certificate {
        Some(CertificateName { store, which }) => (*store, store::load(&store.directory()?, which)?),
        None => (Store::User, store::load_or_make(&Store::User.directory()?, OWN)?),
    };
    let certificate = CertificateName { store, which: Which::Thumbprint(pair.thumbprint()) };
    Ok((server_of(pair, listen)?, certificate))
}

/// The thumbprint of the user's certificate of this name, which is made now if it is not there.
pub(super) fn own_thumbprint(name: &str) -> Result<Thumbprint, TransportError> {
    Ok(store::load_or_make(&Store::User.directory()?, name)?.thumbprint())
}

/// A server's side with this certificate, whichever `listen` names.
pub(super) fn server_of(pair: Pair, listen: &TlsListen) -> Result<Arc<ServerConfig>, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    // A client would find out, too, but far from where it can be mended.
    check_alone(&pair.chain[0], algorithms, UnixTime::now(), KeyUsage::server_auth()).map_err(failed)?;
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(failed)?;
    let builder = match listen.clients.as_slice() {
        [] => builder.with_no_client_auth(),
        clients => {
            let (named, is_optional) = (Named::These(clients.to_vec()), listen.is_optional);
            builder.with_client_cert_verifier(Arc::new(Pinned { named, algorithms, is_optional }))
        }
    };
    let mut config = builder.with_single_cert(pair.chain, pair.key).map_err(failed)?;
    // Every connection proves everything anew.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client's side.
pub(super) fn client(tls: &TlsClient) -> Result<Arc<ClientConfig>, TransportError> {
    let CertificateName { store, which } = &tls.server;
    let server = match which {
        Which::Thumbprint(thumbprint) => *thumbprint,
        Which::File(name) => store::thumbprint(&store.directory()?, name)?,
    };
    let own = tls.own.as_ref().map(|name| store::load_or_make(&Store::User.directory()?, name)).transpose()?;
    client_of(server, own)
}

/// A client's side that takes this server only.
pub(super) fn client_of(server: Thumbprint, own: Option<Pair>) -> Result<Arc<ClientConfig>, TransportError> {
    client_taking(Named::These(vec![server]), own)
}

/// A client's side that takes any server that has the key of the certificate that it shows.
pub(super) fn client_of_anybody() -> Result<Arc<ClientConfig>, TransportError> {
    client_taking(Named::Anybody, None)
}

fn client_taking(named: Named, own: Option<Pair>) -> Result<Arc<ClientConfig>, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let pinned = Pinned { named, algorithms: provider.signature_verification_algorithms, is_optional: false };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(failed)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_auth_cert(pair.chain, pair.key).map_err(failed)?,
    };
    config.resumption = Resumption::disabled();
    // The name of the server is nobody's business on the way, and the certificate does not depend on it.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

fn failed(error: Error) -> TransportError {
    let reason = match error {
        Error::InvalidCertificate(error) => format!("the certificate cannot be used: {}", fault(&error)),
        Error::InconsistentKeys(_) => "the certificate and the key do not belong together".to_owned(),
        error => error.to_string(),
    };
    TransportError::Tls { reason }
}

/// What is wrong with a certificate, in words.
pub(super) fn fault(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "it has expired".into(),
        CertificateError::NotValidYet => "it is not valid yet".into(),
        CertificateError::InvalidPurpose => "it is not meant for that".into(),
        CertificateError::Other(other) => other.0.to_string(),
        error => error.to_string(),
    }
}

/// Whose certificate is taken.
#[derive(Debug)]
enum Named {
    These(Vec<Thumbprint>),
    /// Whoever answers, where nothing depends on who it is.
    Anybody,
}

/// Takes the certificates that were named and no others.
#[derive(Debug)]
struct Pinned {
    named: Named,
    algorithms: WebPkiSupportedAlgorithms,
    /// A client may show none.
    is_optional: bool,
}

/// The other end showed a certificate that was not named.
#[derive(Debug)]
struct NotNamed {
    shown: Thumbprint,
}

impl fmt::Display for NotNamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its thumbprint is {}, which was not named", self.shown)
    }
}

impl std::error::Error for NotNamed {}

impl Pinned {
    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime, usage: KeyUsage) -> Result<(), Error> {
        let Named::These(named) = &self.named else { return Ok(()) };
        if !named.iter().any(|thumbprint| thumbprint.matches(certificate)) {
            let other = OtherError(Arc::new(NotNamed { shown: Thumbprint::of(certificate) }));
            return Err(Error::InvalidCertificate(CertificateError::Other(other)));
        }
        check_alone(certificate, self.algorithms, now, usage)
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    /// No TLS 1.2 is compiled in.
    fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }
}

/// What can be said of a certificate without asking who issued it: its form, its time, its purpose.
fn check_alone(
    certificate: &CertificateDer<'_>,
    algorithms: WebPkiSupportedAlgorithms,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), Error> {
    let wrong = |error: webpki::Error| {
        Error::InvalidCertificate(match error {
            webpki::Error::CertExpired { .. } => CertificateError::Expired,
            webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
            webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
            error => CertificateError::Other(OtherError(Arc::new(error))),
        })
    };
    let parsed = EndEntityCert::try_from(certificate).map_err(wrong)?;
    // With nobody to trust, webpki looks at the certificate itself first and then misses its issuer, which is no matter
    // here. One that may sign others, as `openssl req -x509` makes them, is as good as named.
    match parsed.verify_for_usage(algorithms.all, &[], &[], now, usage, None, None) {
        Ok(_) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => Ok(()),
        Err(error) => Err(wrong(error)),
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, now, KeyUsage::server_auth()).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Pinned::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn client_auth_mandatory(&self) -> bool {
        !self.is_optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, now, KeyUsage::client_auth()).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Pinned::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
