//! One transfer by HTTP.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, BodyReader, Error};

use super::FetchOptions;

/// Longest that one transfer may take, whatever comes.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Where systems keep the certificates they trust: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why there is no file.
pub(super) enum Failure {
    /// The server cannot be reached or keeps silent.
    Dead(String),
    /// It answered something that helps nobody.
    Failed(String),
}

/// A file that is being sent.
pub(super) struct Body {
    /// Its bytes.
    pub(super) reader: BodyReader<'static>,
    /// Its length, if the server told.
    pub(super) len: Option<u64>,
}

/// A client with the options' time-outs that trusts whom the system trusts.
pub(super) fn agent(options: &FetchOptions) -> Agent {
    let provider = rustls::crypto::ring::default_provider();
    let tls = TlsConfig::builder().root_certs(roots()).unversioned_rustls_crypto_provider(Arc::new(provider)).build();
    Agent::config_builder()
        .tls_config(tls)
        .user_agent(concat!("outpost/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_recv_response(Some(options.timeout))
        .timeout_per_read(Some(options.timeout))
        .timeout_global(Some(LONGEST))
        .build()
        .into()
}

/// The system's certificates, from the place that `SSL_CERT_FILE` names (as for OpenSSL) or the usual ones.
fn roots() -> RootCerts {
    let named = env::var_os("SSL_CERT_FILE").map(fs::read);
    let bundle = named.or_else(|| BUNDLES.iter().map(fs::read).find(Result::is_ok));
    let bundle = bundle.and_then(Result::ok).unwrap_or_default();
    // One that is damaged is not trusted, which is what counts.
    let certificates = parse_pem(&bundle).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    RootCerts::from(certificates.collect::<Vec<Certificate<'static>>>())
}

/// Asks for `address`; `None` if the server does not have it.
pub(super) fn get(agent: &Agent, address: &str) -> Result<Option<Body>, Failure> {
    let response = agent.get(address).call().map_err(failure)?;
    match response.status().as_u16() {
        200 => {}
        404 | 410 => return Ok(None),
        status => return Err(Failure::Failed(format!("HTTP status {status}"))),
    }
    // debuginfod tells the length here if a proxy on the way packs the file.
    let told = response.headers().get("x-debuginfod-size").and_then(|size| size.to_str().ok()?.parse().ok());
    let body = response.into_body();
    Ok(Some(Body { len: body.content_length().or(told), reader: body.into_reader() }))
}

/// A failed read of a body.
pub(super) fn read(body: &mut Body, buffer: &mut [u8]) -> Result<usize, Failure> {
    body.reader.read(buffer).map_err(|error| failure(Error::from(error)))
}

fn failure(error: Error) -> Failure {
    let text = error.to_string();
    let is_dead = match &error {
        Error::Timeout(_) | Error::HostNotFound | Error::ConnectionFailed => true,
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
        ),
        _ => false,
    };
    if is_dead { Failure::Dead(text) } else { Failure::Failed(text) }
}
