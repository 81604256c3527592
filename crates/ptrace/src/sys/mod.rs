//! System calls that need unsafe code: one thin safe function for each, and nothing else.

#![expect(unsafe_code, reason = "this folder is where it is")]

pub(crate) mod lifeline;
