//! Proving knowledge of a password without sending it.
//!
//! Both ends make a key from the password by PBKDF2-HMAC-SHA256 (RFC 8018, 5.2) with the server's salt and count, then
//! prove it by an HMAC-SHA256 (RFC 2104) over a label and both hellos as they were sent, which hold a random number
//! from each side, and over the channel binding where the transport has one (RFC 9266). So a proof is of use on one
//! connection only, nobody between the two can have changed a version or a limit, and who ends an encrypted connection
//! to go on by another one gains nothing. A server without a password does all of this with the empty one, so that nothing it
//! sends tells it apart.

use hmac::{Hmac, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// Length of the random numbers in the hellos, in bytes.
pub const NONCE_LEN: usize = 32;
/// Most rounds a client carries out for a server; a bound on what a hostile server can cost.
pub(crate) const MAX_ITERATIONS: u32 = 1_000_000;

/// A key made from a password. `Debug` does not show it.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prover {
    Client,
    Server,
}

/// What a proof is made over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// The message as it was sent.
    pub(crate) client_hello: &'a [u8],
    /// The same of the server's.
    pub(crate) server_hello: &'a [u8],
    /// Empty where the transport has none.
    pub(crate) channel_binding: &'a [u8],
}

impl Key {
    /// Rounds a server asks for: some milliseconds for the client, once per connection; the server keeps its key.
    pub const ITERATIONS: u32 = 20_000;

    /// Makes the key; an empty password stands for none, and takes one round, since there is nothing to guess.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Key {
        let iterations = if password.is_empty() { 1 } else { iterations };
        let mac = keyed(password.as_bytes());
        let once = |parts: &[&[u8]]| {
            let mut mac = mac.clone();
            parts.iter().for_each(|part| mac.update(part));
            <[u8; 32]>::from(mac.finalize().into_bytes())
        };
        // One block is as long as the key, so its number is always 1.
        let mut round = once(&[salt, &1_u32.to_be_bytes()]);
        let mut key = round;
        for _ in 1..iterations {
            round = once(&[&round]);
            key.iter_mut().zip(round).for_each(|(byte, other)| *byte ^= other);
        }
        Key(key)
    }

    /// The proof of `prover` over what both ends have seen.
    pub(crate) fn proof(&self, prover: Prover, seen: &Seen<'_>) -> [u8; 32] {
        self.mac(prover, seen).finalize().into_bytes().into()
    }

    /// Whether `proof` is right; takes the same time wherever it is wrong.
    pub(crate) fn accepts(&self, prover: Prover, seen: &Seen<'_>, proof: &[u8]) -> bool {
        self.mac(prover, seen).verify_slice(proof).is_ok()
    }

    fn mac(&self, prover: Prover, seen: &Seen<'_>) -> HmacSha256 {
        let label = match prover {
            Prover::Client => b"outpost client proof 1",
            Prover::Server => b"outpost server proof 1",
        };
        let mut mac = keyed(&self.0);
        mac.update(label);
        let binding = Some(seen.channel_binding).filter(|binding| !binding.is_empty());
        for part in [seen.client_hello, seen.server_hello].into_iter().chain(binding) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(*)")
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104, 2)")]
fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of RFC 7914, 11 (PBKDF2-HMAC-SHA256), first 32 bytes.
    #[test]
    fn pbkdf2_agrees_with_the_published_vectors() {
        let check = |password, salt: &[u8], iterations, expected: &str| {
            let key = Key::derive(password, salt, iterations);
            let hex: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        };
        check("passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
        check("Password", b"NaCl", 80_000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
    }

    #[test]
    fn a_proof_is_good_for_its_prover_password_hellos_and_channel_only() {
        let seen = |client_hello, server_hello, channel_binding| Seen { client_hello, server_hello, channel_binding };
        for binding in [&b""[..], b"this channel"] {
            let here = seen(b"c", b"s", binding);
            let key = Key::derive("Xy12", b"salt", 2);
            let proof = key.proof(Prover::Client, &here);
            assert!(key.accepts(Prover::Client, &here, &proof));
            assert!(!key.accepts(Prover::Server, &here, &proof));
            assert!(!key.accepts(Prover::Client, &seen(b"cs", b"", binding), &proof));
            assert!(!key.accepts(Prover::Client, &seen(b"c", b"s", b"another"), &proof));
            assert!(!key.accepts(Prover::Client, &here, &proof[..31]));
            assert!(!Key::derive("xy12", b"salt", 2).accepts(Prover::Client, &here, &proof));
        }
    }
}
