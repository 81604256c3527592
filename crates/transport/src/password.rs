//! A password that does not show itself.

use std::fmt;

use crate::TransportError;

/// Longest password in bytes; the limit of the reference, kept until the longer forms of a later release.
const MAX_LEN: usize = 12;

/// The text of `password=`: 1 to 12 letters and digits, case-sensitive. Neither `Debug` nor `Display` shows it.
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
            _ if text.chars().count() > MAX_LEN => "it is longer than twelve characters",
            _ if !text.chars().all(|c| c.is_ascii_alphanumeric()) => "only letters a-z, A-Z and digits are allowed",
            _ => return Ok(Password(text.to_owned())),
        };
        Err(TransportError::InvalidPassword { rule })
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
        assert_eq!(rule("abcdefghijklm"), "the password is not valid: it is longer than twelve characters");
        assert_eq!(rule("ab cd"), "the password is not valid: only letters a-z, A-Z and digits are allowed");
        assert_eq!(rule(""), "the password is not valid: it is empty");
        assert_eq!(format!("{:?}", Password::new("Xy12").unwrap()), "Password(*)");
    }
}
