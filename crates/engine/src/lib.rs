//! (skeleton)
pub mod code;
pub mod expr;
pub mod wildcard;
