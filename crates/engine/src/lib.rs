//! (skeleton)
pub mod code;
pub mod disassembly;
pub mod expr;
pub mod wildcard;
