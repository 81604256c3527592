//! What a client proves to be let in, where it is not part of a connection string.

use std::str::FromStr;

use super::keys::Checked;
use crate::{Password, Thumbprint, TransportError};

/// `password=P` or `clientcert=THUMBPRINT[;THUMBPRINT...]`, with the values they have in connection strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Knowledge of it.
    Password(Password),
    /// Ownership of one of them.
    Certificates(Vec<Thumbprint>),
}

impl FromStr for Credential {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Credential, TransportError> {
        let checked = Checked::credential(text)?;
        match (checked.password()?, checked.thumbprints()) {
            (Some(password), None) => Ok(Credential::Password(password)),
            (None, Some(certificates)) => Ok(Credential::Certificates(certificates)),
            (None, None) => Err(TransportError::MissingKey { protocol: checked.protocol, key: "password" }),
            (Some(_), Some(_)) => Err(TransportError::Conflict { first: "password", second: "clientcert" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_with_the_values_of_connection_strings() {
        let password = |text| Credential::Password(Password::new(text).unwrap());
        let (one, other) = ("AB".repeat(32), "cd".repeat(20));
        let thumbprint = |text| Thumbprint::parse(text).unwrap();
        let check = |text: &str, expected: Credential| assert_eq!(text.parse::<Credential>().unwrap(), expected);
        check("password=Look", password("Look"));
        check("Password=@{a,b=c}", password("a,b=c"));
        check(
            &format!("clientcert={one};{other}"),
            Credential::Certificates(vec![thumbprint(&one), thumbprint(&other)]),
        );
        let refuses = |text: &str, words: &str| {
            let error = text.parse::<Credential>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        };
        refuses("", "password");
        refuses("password=", "it is empty");
        refuses("password=a,b", "b");
        refuses(&format!("password=a,clientcert={one}"), "clientcert");
        refuses("clientcert=birch", "thumbprints");
        refuses("password=a,password=b", "password");
    }
}
