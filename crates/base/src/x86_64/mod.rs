//! x86-64: register table and calling facts.

mod registers;

pub(crate) use registers::{FRAME_POINTER, GENERAL_WORDS, PC, REGISTERS, RETURN_ADDRESS_COLUMN, RETURN_VALUE, SP};
