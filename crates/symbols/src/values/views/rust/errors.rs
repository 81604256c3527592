//! `std::io::Error`, which has what it is of in two bits of a pointer.
//!
//! Source: `library/std/src/io/error/repr_bitpacked.rs` of Rust 1.95.

use super::{MemoryReader, Unavailable, Va, Value, View, ViewLimits, garbage};

/// What the lowest bits say: a message that does not change, a box, a number of the system's, a kind.
const TAG_MASK: u64 = 3;
const SIMPLE_MESSAGE: u64 = 0;
const CUSTOM: u64 = 1;
const OS: u64 = 2;

pub(super) fn io_error(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    // Machines with pointers of another width have it unpacked, as an enum.
    let bytes = value.bytes(memory)?;
    let word = bytes.as_slice().try_into().map(u64::from_le_bytes).map_err(|_| Unavailable::WrongType)?;
    let number = (word >> 32) as i32;
    let table = value.value_type().table();
    let named = |name: &str| table.named(name).into_iter().find(|of| of.size().is_some());
    let object = |name: &str, at: u64| named(name).map(|of| View::Wrapped(Value::in_memory(of, Va(at))));
    Ok(match word & TAG_MASK {
        SIMPLE_MESSAGE if word == 0 => return Err(garbage("no error")),
        SIMPLE_MESSAGE => {
            object("std::io::error::SimpleMessage", word).unwrap_or_else(|| View::Words("a message".to_owned()))
        }
        CUSTOM => object("std::io::error::Custom", word - CUSTOM).unwrap_or_else(|| View::Words("custom".to_owned())),
        // As the error prints itself.
        OS => View::Words(std::io::Error::from_raw_os_error(number).to_string()),
        _ => match named("std::io::error::ErrorKind") {
            Some(of) => {
                let size = of.size().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= 4);
                let size = size.ok_or(Unavailable::WrongType)?;
                View::Wrapped(Value::from_bytes(of, number.to_le_bytes()[..size].to_vec()))
            }
            None => View::Words(format!("kind {number}")),
        },
    })
}
