//! Variables: which are visible at a program counter, and where each one is.

pub(crate) mod expression;
