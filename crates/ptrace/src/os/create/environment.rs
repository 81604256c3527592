//! The environment of a new process.

use std::collections::BTreeMap;
use std::ffi::CString;

use outpost_target::{CreateSpec, TargetError};

use super::c_string;

/// `NAME=value` strings: the server's environment or the one given, with the changes made to it.
pub(super) fn make(spec: &CreateSpec) -> Result<Vec<CString>, TargetError> {
    let mut variables: BTreeMap<Vec<u8>, Vec<u8>> = match &spec.environment {
        Some(given) => given.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect(),
        None => {
            std::env::vars_os().map(|(name, value)| (name.into_encoded_bytes(), value.into_encoded_bytes())).collect()
        }
    };
    for (name, value) in &spec.environment_changes {
        match value {
            Some(value) => drop(variables.insert(name.clone().into(), value.clone().into())),
            None => drop(variables.remove(name.as_bytes())),
        }
    }
    if variables.keys().any(|name| name.is_empty() || name.contains(&b'=')) {
        return Err(TargetError::Invalid { reason: "a variable's name is empty or has = in it".into() });
    }
    variables.into_iter().map(|(name, value)| c_string(&[&name[..], b"=", &value].concat())).collect()
}
