//! Typed values: what the bytes of variables mean, read from memory in batches.

mod batch;
mod location;
mod scalar;
mod value;

pub use batch::BatchMemory;
pub use location::{Piece, Unavailable, ValueLocation};
pub use scalar::Scalar;
pub(crate) use scalar::{extract_bits, sign_extend, unsigned};
pub(crate) use value::KnownBytes;
pub use value::{Store, Value};
