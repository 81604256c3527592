//! `protocol:key=value,key,key=@{nested,string}` as a protocol and a list of pairs.

use crate::{TransportError, without_passwords};

/// The raw parts of a connection string.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawTransport<'a> {
    /// What stands before the first colon, as written.
    pub(crate) protocol: &'a str,
    /// Everything behind it, for protocols that are not made of pairs.
    pub(crate) rest: &'a str,
}

/// One `key` or `key=value`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawParam<'a> {
    /// The key as written.
    pub(crate) key: &'a str,
    /// The value, braces removed; `None` without an equals sign.
    pub(crate) value: Option<&'a str>,
    /// Whether there were braces.
    pub(crate) is_braced: bool,
}

/// Cuts at the first colon.
pub(crate) fn split_protocol(text: &str) -> Result<RawTransport<'_>, TransportError> {
    let text = text.trim();
    match text.split_once(':') {
        Some((protocol, rest)) if !protocol.is_empty() && protocol.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Ok(RawTransport { protocol, rest })
        }
        _ => {
            let shown = text.split(',').next().unwrap_or_default();
            Err(TransportError::MissingProtocol { text: without_passwords(shown) })
        }
    }
}

/// Cuts at commas outside `@{ }`, in which further braces come in pairs; an empty string has no parameters.
pub(crate) fn split_params(rest: &str) -> Result<Vec<RawParam<'_>>, TransportError> {
    let mut params = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let bytes = rest.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if depth > 0 || (at > 0 && bytes[at - 1] == b'@') => depth += 1,
            b'}' => depth = depth.checked_sub(1).ok_or(TransportError::UnbalancedBraces)?,
            b',' if depth == 0 => {
                params.push(param(&rest[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err(TransportError::UnbalancedBraces);
    }
    if !rest.trim().is_empty() {
        params.push(param(&rest[start..]));
    }
    Ok(params)
}

fn param(text: &str) -> RawParam<'_> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.trim())),
        None => (text, None),
    };
    let inner = value.and_then(|value| value.strip_prefix("@{")?.strip_suffix('}'));
    RawParam { key: key.trim(), value: inner.or(value), is_braced: inner.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_braces_keep_their_commas() {
        let raw = split_protocol("kdsrv:server=@{tcp:server=a,port=1,x=@{y,z}},trans=@{com:},hidden").unwrap();
        assert_eq!(raw.protocol, "kdsrv");
        let params = split_params(raw.rest).unwrap();
        let pairs: Vec<_> = params.iter().map(|param| (param.key, param.value)).collect();
        let expected = [("server", Some("tcp:server=a,port=1,x=@{y,z}")), ("trans", Some("com:")), ("hidden", None)];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn unmatched_braces_are_an_error() {
        for text in ["a=@{b", "a=b}", "a=@{@{b}"] {
            assert!(matches!(split_params(text), Err(TransportError::UnbalancedBraces)), "{text}");
        }
    }

    #[test]
    fn the_error_for_a_missing_protocol_shows_nothing_behind_a_comma() {
        let error = split_protocol("port=5,password=secret").unwrap_err().to_string();
        assert!(error.contains("'port=5'") && !error.contains("secret"), "{error}");
    }
}
