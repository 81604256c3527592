//! A password that does not show itself.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::{TransportError, secret_file};

/// Most bytes of a file that are looked at.
const MAX_FILE: u64 = 64 << 10;

/// Letters and digits that are not taken for each other when read aloud or copied by hand: 32, so each is worth five bits.
const READABLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Groups of four of them in a password that is made here: 80 bits.
const GROUPS: usize = 4;

/// The text of `password=`: any characters but control characters, any number of them, case-sensitive; the reference's
/// limit of twelve letters and digits is not kept, since the text never crosses. Or, as `@FILE`, the first line of a file,
/// which is read when it is needed. Neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Source);

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Text(String),
    File(PathBuf),
}

impl Password {
    /// Checks the rules.
    ///
    /// # Errors
    /// [`TransportError::InvalidPassword`] with the rule that was broken.
    pub fn new(text: &str) -> Result<Password, TransportError> {
        let rule = match text {
            "" => "it is empty",
            _ if text.contains(char::is_control) => "it has a control character in it",
            _ => return Ok(Password(Source::Text(text.to_owned()))),
        };
        Err(TransportError::InvalidPassword { rule })
    }

    /// The first line of a file; one below `~/` is in the user's home directory.
    ///
    /// # Errors
    /// No file is named. The file is not looked at yet.
    pub(crate) fn in_file(path: &str) -> Result<Password, TransportError> {
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let path = match (path.strip_prefix("~/"), home) {
            _ if path.is_empty() => return Err(TransportError::InvalidPassword { rule: "no file is named behind @" }),
            (Some(below), Some(home)) => home.join(below),
            _ => PathBuf::from(path),
        };
        Ok(Password(Source::File(path)))
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
        Ok(Password(Source::Text(groups.join("-"))))
    }

    /// The text, for the one place that proves knowledge of it; from its file, if it is in one.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or its first line breaks the rules.
    pub fn reveal(&self) -> Result<Cow<'_, str>, TransportError> {
        match &self.0 {
            Source::Text(text) => Ok(Cow::Borrowed(text)),
            Source::File(path) => first_line(path).map(Cow::Owned),
        }
    }
}

fn first_line(path: &Path) -> Result<String, TransportError> {
    let failed = |reason: String| TransportError::PasswordFile { path: path.to_owned(), reason };
    let bytes = secret_file::read(path, MAX_FILE).map_err(|error| failed(error.to_string()))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| failed("its first line is not valid UTF-8".into()))?;
    match Password::new(line) {
        Ok(_) => Ok(line.to_owned()),
        Err(TransportError::InvalidPassword { rule }) => Err(failed(format!("of its first line, {rule}"))),
        Err(error) => Err(error),
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
        assert_eq!(Password::new(&long).unwrap().reveal().unwrap(), long);
    }

    #[test]
    fn passwords_that_are_made_differ_and_can_be_read_aloud() {
        let made: std::collections::HashSet<String> =
            (0..100).map(|_| Password::random().unwrap().reveal().unwrap().into_owned()).collect();
        assert_eq!(made.len(), 100);
        for text in made {
            assert_eq!(text.len(), 19);
            assert!(text.bytes().all(|byte| byte == b'-' || READABLE.contains(&byte)), "{text}");
            assert!(!text.contains(['0', 'o', '1', 'l']));
        }
    }

    #[test]
    fn a_file_has_it_in_its_first_line_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let password = Password::in_file(path.to_str().unwrap()).unwrap();
        let error = |password: &Password| password.reveal().unwrap_err().to_string();
        assert!(error(&password).contains("No such file") && error(&password).contains("secret"));
        let write = |text: &[u8], mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for text in ["p\u{e4}ss, word\nof no concern\n", "p\u{e4}ss, word\r\n", "p\u{e4}ss, word"] {
            write(text.as_bytes(), 0o600);
            assert_eq!(password.reveal().unwrap(), "p\u{e4}ss, word");
        }
        for mode in [0o604, 0o644, 0o602, 0o660] {
            write(b"s3cret", mode);
            let error = error(&password);
            assert!(error.contains("others can read or change it: chmod 600") && !error.contains("s3cret"), "{error}");
        }
        for (text, words) in
            [(&b"\nx"[..], "it is empty"), (b"a\tb", "control character"), (b"\xff", "not valid UTF-8")]
        {
            write(text, 0o400);
            assert!(error(&password).contains(words), "{}", error(&password));
        }
        assert!(error(&Password::in_file(folder.path().to_str().unwrap()).unwrap()).contains("others can read"));
        assert!(Password::in_file("").is_err());
        assert_eq!(format!("{password:?}"), "Password(*)");
    }
}
