//! (skeleton)
pub mod code;
