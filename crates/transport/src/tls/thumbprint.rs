//! How certificates are named.

use std::fmt;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::Store;

/// The digest of a certificate's DER form, by which it is named. `Display` gives upper-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thumbprint {
    /// As Windows shows it. Nobody can make a second certificate for a given digest; SHA-1's weakness is another one.
    Sha1([u8; 20]),
    /// What this program shows.
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// The SHA-256 thumbprint of a certificate in DER form.
    pub fn of(der: &[u8]) -> Thumbprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Thumbprint::Sha256(bytes)
    }

    /// Reads 40 or 64 hexadecimal digits; blanks and colons do not matter.
    pub fn parse(text: &str) -> Option<Thumbprint> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else { return None };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match <[u8; 20]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Some(Thumbprint::Sha1(bytes)),
            Err(_) => bytes.try_into().ok().map(Thumbprint::Sha256),
        }
    }

    /// Whether it is that of this certificate.
    pub(crate) fn matches(&self, der: &[u8]) -> bool {
        match self {
            Thumbprint::Sha1(bytes) => digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref() == bytes,
            Thumbprint::Sha256(_) => Thumbprint::of(der) == *self,
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Thumbprint::Sha1(bytes) => bytes,
            Thumbprint::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The value of `certuser=` or `machuser=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateName {
    /// Which of the two keys it was.
    pub store: Store,
    /// Which certificate of the store.
    pub which: Which,
}

/// One certificate of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// `NAME.crt` and `NAME.key`.
    File(String),
    /// The one with this thumbprint.
    Thumbprint(Thumbprint),
}

impl CertificateName {
    /// Reads the value of one of the keys.
    pub(crate) fn new(store: Store, text: &str) -> CertificateName {
        let which = Thumbprint::parse(text).map_or_else(|| Which::File(text.to_owned()), Which::Thumbprint);
        CertificateName { store, which }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.store {
            Store::User => "CertUser",
            Store::Machine => "MachUser",
        };
        match &self.which {
            Which::File(name) => write!(f, "{key}={name}"),
            Which::Thumbprint(thumbprint) => write!(f, "{key}={thumbprint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_are_read_as_they_are_pasted() {
        // FIPS 180-4, "abc".
        let sha1 = "A9993E364706816ABA3E25717850C26C9CD0D89D";
        let sha256 = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        for text in [sha1, sha256] {
            let spaced: Vec<String> =
                text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into()).collect();
            for form in [text.to_owned(), text.to_lowercase(), spaced.join(" "), spaced.join(":")] {
                let thumbprint = Thumbprint::parse(&form).unwrap();
                assert!(thumbprint.matches(b"abc") && !thumbprint.matches(b"abd"), "{form}");
                assert_eq!(thumbprint.to_string(), text);
            }
            assert_eq!(Thumbprint::parse(&text[2..]), None);
        }
        assert_eq!(Thumbprint::of(b"abc").to_string(), sha256);
        assert_eq!(Thumbprint::parse("dbgsrv"), None);
        assert_eq!(Thumbprint::parse(""), None);
    }
}
