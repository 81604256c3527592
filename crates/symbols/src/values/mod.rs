//! Typed values: what the bytes of variables mean, read from memory in batches.

mod batch;
mod location;
mod scalar;
mod value;

pub use batch::BatchMemory;
pub use location::{Piece, Unavailable, ValueLocation};
pub use scalar::Scalar;
pub(crate) use scalar::{sign_extend, unsigned};
pub use value::{Store, Value};
