//! A password that does not show itself.

use std::fmt;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::TransportError;

/// Letters and digits that are not taken for each other when read aloud or copied by hand: 32, so each is worth five bits.
const READABLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Groups of four of them in a password that is made here: 80 bits.
const GROUPS: usize = 4;

/// The text of `password=`: any characters but control characters, any number of them, case-sensitive; the reference's
/// limit of twelve letters and digits is not kept, since the text never crosses. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Checks the rules.
    ///
    /// # Errors
    /// [`TransportError::InvalidPassword`] with the rule that was broken.
    pub fn new(text: &str) -> Result<Password, TransportError> {
        let rule = match text {
            "" => "it is empty",
            _ if text.contains(char::is_control) => "it has a control character in it",
            _ => return Ok(Password(text.to_owned())),
        };
        Err(TransportError::InvalidPassword { rule })
    }

    /// A fresh one, such as `q7wk-2m9x-4tbn-8hrs`.
    ///
    /// # Errors
    /// The system has no random numbers (getrandom(2)).
    pub fn random() -> std::io::Result<Password> {
        let mut bytes = [0; GROUPS * 4];
        // Up to 256 bytes come whole.
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        let letters = bytes.map(|byte| char::from(READABLE[usize::from(byte) % READABLE.len()]));
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        Ok(Password(groups.join("-")))
    }

    /// The text, for the one place that proves knowledge of it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(*)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broken_rule_is_named_and_the_text_is_not() {
        let rule = |text: &str| Password::new(text).unwrap_err().to_string();
        assert_eq!(rule("ab\ncd"), "the password is not valid: it has a control character in it");
        assert_eq!(rule(""), "the password is not valid: it is empty");
        assert_eq!(format!("{:?}", Password::new("Xy12").unwrap()), "Password(*)");
        let long = "p\u{e4}ss w\u{f6}rd, ".repeat(1000);
        assert_eq!(Password::new(&long).unwrap().reveal(), long);
    }

    #[test]
    fn passwords_that_are_made_differ_and_can_be_read_aloud() {
        let made: std::collections::HashSet<String> =
            (0..100).map(|_| Password::random().unwrap().reveal().to_owned()).collect();
        assert_eq!(made.len(), 100);
        for text in made {
            assert_eq!(text.len(), 19);
            assert!(text.bytes().all(|byte| byte == b'-' || READABLE.contains(&byte)), "{text}");
            assert!(!text.contains(['0', 'o', '1', 'l']));
        }
    }
}
