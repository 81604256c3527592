//! Where certificates and their keys are: pairs of PEM files in a folder, `NAME.crt` and `NAME.key`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustix::fs::{FlockOperation, flock};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Thumbprint, Which};
use crate::{TransportError, secret_file};

/// Most bytes of a certificate or key file; a chain of them has some thousand.
const MAX_FILE: u64 = 256 << 10;

/// Which folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// `certuser=`: `$XDG_CONFIG_HOME/outpost/certificates`, usually `~/.config/outpost/certificates`.
    User,
    /// `machuser=`: `/etc/outpost/certificates`.
    Machine,
}

impl Store {
    pub(super) fn directory(self) -> Result<PathBuf, TransportError> {
        if self == Store::Machine {
            return Ok(PathBuf::from("/etc/outpost/certificates"));
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        config.map(|config| config.join("outpost/certificates")).ok_or(TransportError::NoCertificateStore)
    }
}

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(super) fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.chain[0])
    }
}

/// The certificate and key that are named.
pub(super) fn load(directory: &Path, which: &Which) -> Result<Pair, TransportError> {
    let path = find(directory, which)?;
    let chain = certificates(&path)?;
    let key_path = path.with_extension("key");
    let bytes = secret_file::read(&key_path, MAX_FILE).map_err(|error| damaged(&key_path, error))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| damaged(&key_path, error))?;
    Ok(Pair { chain, key })
}

/// The thumbprint of a certificate whose key may be elsewhere.
pub(super) fn thumbprint(directory: &Path, name: &str) -> Result<Thumbprint, TransportError> {
    let path = find(directory, &Which::File(name.to_owned()))?;
    Ok(Thumbprint::of(&certificates(&path)?[0]))
}

/// The pair of that name, made now if it is not there.
pub(super) fn load_or_make(directory: &Path, name: &str) -> Result<Pair, TransportError> {
    let failed =
        |source| TransportError::Io { operation: format!("keep a certificate in {}", directory.display()), source };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // Two servers that start at once must not each make one.
    let lock = File::open(directory).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    let certificate = directory.join(format!("{name}.crt"));
    if !certificate.exists() {
        let (certificate_pem, key_pem) = make(name).map_err(|error| failed(io::Error::other(error)))?;
        // The certificate comes last: where it is, its key is.
        write(directory, &format!("{name}.key"), &key_pem).map_err(failed)?;
        write(directory, &format!("{name}.crt"), &certificate_pem).map_err(failed)?;
    }
    load(directory, &Which::File(name.to_owned()))
}

/// A self-signed certificate and its key. It is trusted by its thumbprint alone and ends when its file is removed: a machine
/// with a wrong clock is often just the one to be debugged.
fn make(name: &str) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Outpost {name} on {host}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes a file that is there as a whole or not at all, and never readable by others.
fn write(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(unfinished, directory.join(name))
}

/// The file of the certificate that is named.
fn find(directory: &Path, which: &Which) -> Result<PathBuf, TransportError> {
    let missing = |name: String| TransportError::NoCertificate { name, directory: directory.to_owned() };
    let thumbprint = match which {
        Which::File(name) => {
            let path = directory.join(format!("{name}.crt"));
            return if path.exists() { Ok(path) } else { Err(missing(name.clone())) };
        }
        Which::Thumbprint(thumbprint) => thumbprint,
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = entries.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
    // A damaged file is none that was asked for.
    let is_it = |path: &PathBuf| certificates(path).is_ok_and(|chain| thumbprint.matches(&chain[0]));
    found.find(is_it).ok_or_else(|| missing(thumbprint.to_string()))
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let bytes = read(path).map_err(|error| damaged(path, error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(damaged(path, "there is no certificate in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(damaged(path, error)),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn damaged(path: &Path, reason: impl ToString) -> TransportError {
    TransportError::BadCertificate { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pair_is_made_once_and_found_by_name_and_thumbprint() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/certificates");
        let made = load_or_make(&directory, "dbgsrv").unwrap();
        let again = load_or_make(&directory, "dbgsrv").unwrap();
        assert_eq!(made.thumbprint(), again.thumbprint());
        assert_ne!(made.thumbprint(), load_or_make(&directory, "other").unwrap().thumbprint());
        for (name, mode) in [("", 0o700), ("dbgsrv.key", 0o600), ("dbgsrv.crt", 0o600)] {
            let metadata = std::fs::metadata(directory.join(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
        }
        let by_thumbprint = load(&directory, &Which::Thumbprint(made.thumbprint())).unwrap();
        assert_eq!(by_thumbprint.thumbprint(), made.thumbprint());
        assert_eq!(thumbprint(&directory, "dbgsrv").unwrap(), made.thumbprint());
    }

    #[test]
    fn what_is_missing_damaged_or_open_to_others_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let refuses = |which: &Which, words: &str| {
            let error = load(folder.path(), which).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        let name = Which::File("x".into());
        refuses(&name, "no certificate 'x'");
        refuses(&Which::Thumbprint(Thumbprint::of(b"")), "no certificate 'E3B0C442");
        std::fs::write(folder.path().join("x.crt"), "nothing of the kind").unwrap();
        refuses(&name, "there is no certificate in it");
        std::fs::write(folder.path().join("x.crt"), "-----BEGIN CERTIFICATE-----\n!\n").unwrap();
        refuses(&name, "x.crt");
        std::fs::remove_file(folder.path().join("x.crt")).unwrap();
        load_or_make(folder.path(), "x").unwrap();
        let key = folder.path().join("x.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        refuses(&name, "others can read or change it");
        std::fs::remove_file(key).unwrap();
        refuses(&name, "x.key");
    }
}
