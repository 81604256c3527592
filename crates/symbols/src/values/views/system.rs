//! Locks, places in the source and what a call gave or failed with: small types of C++ with a meaning of their own.
//!
//! Sources: `bits/std_mutex.h`, `mutex`, `shared_mutex`, `source_location`, `expected` of GCC 12;
//! `sysdeps/nptl/bits/struct_mutex.h` and `struct_rwlock.h` of glibc 2.36.

use outpost_base::{MemoryReader, Va};

use super::cpp::inside;
use super::{View, ViewLimits, number};
use crate::{Unavailable, Value};

/// Longest name of a file or function, in bytes.
const NAME_LIMIT: usize = 1024;
/// Readers of a lock are counted above its flags (nptl's `PTHREAD_RWLOCK_READER_SHIFT`).
const READER_SHIFT: u32 = 3;

/// `std::mutex` and its like, by the C library's lock in them.
pub(super) fn mutex(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let lock = inside(value, "__data")?;
    let (state, owner) = (number(&lock, "__lock", memory)?, number(&lock, "__owner", memory)?);
    let (count, kind) = (number(&lock, "__count", memory)?, number(&lock, "__kind", memory)?);
    // Bits 0 and 1 of the kind: 1 is recursive.
    let times = if kind & 3 == 1 && count > 1 { format!(" {count} times") } else { String::new() };
    Ok(View::Words(match (state, owner as u32) {
        (0, _) => "unlocked".to_owned(),
        // One that is not by a thread's own hand, or just being taken.
        (_, 0) => "locked".to_owned(),
        (_, owner) => format!("locked{times} by thread {owner}"),
    }))
}

/// `std::shared_mutex`.
pub(super) fn shared_mutex(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let lock = inside(value, "__data")?;
    let (readers, writer) = (number(&lock, "__readers", memory)?, number(&lock, "__cur_writer", memory)?);
    Ok(View::Words(match (writer as u32, readers as u32 >> READER_SHIFT) {
        (0, 0) => "unlocked".to_owned(),
        (0, 1) => "locked by 1 reader".to_owned(),
        (0, readers) => format!("locked by {readers} readers"),
        (writer, _) => format!("locked by thread {writer}"),
    }))
}

/// `std::unique_lock`, `std::shared_lock`: the mutex, and whether it is held by this.
pub(super) fn lock(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (device, owns) = match value.member("_M_device", memory) {
        Ok(device) => (device, value.member("_M_owns", memory)?),
        Err(_) => match value.member("_M_pm", memory) {
            Ok(device) => (device, value.member("_M_owns", memory)?),
            Err(_) => (value.member("__m_", memory)?, value.member("__owns_", memory)?),
        },
    };
    let target = device.deref(memory)?;
    let note = if owns.scalar(memory)?.is_true() { "owned" } else { "not owned" };
    let target = target.address().filter(|at| at.0 != 0).map(|_| target);
    Ok(View::Pointer { target, note: Some(note.to_owned()) })
}

/// `std::source_location`.
pub(super) fn source_location(
    value: &Value,
    _: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let place = value.member("_M_impl", memory).or_else(|_| value.member("__ptr_", memory))?;
    if place.scalar(memory)?.as_u64() == 0 {
        return Ok(View::Empty("nowhere"));
    }
    let place = place.deref(memory)?;
    let mut text = |name: &str| -> Result<String, Unavailable> {
        let at = Va(number(&place, name, memory)?);
        let bytes = memory.read_cstring(at, NAME_LIMIT).ok_or(Unavailable::Memory { at })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (file, function) = (text("_M_file_name"), text("_M_function_name"));
    let (line, column) = (number(&place, "_M_line", memory)?, number(&place, "_M_column", memory)?);
    let (file, function) = (file?, function?);
    let function = if function.is_empty() { String::new() } else { format!(" in {function}") };
    Ok(View::Words(format!("{file}:{line}:{column}{function}")))
}

/// `std::expected`.
pub(super) fn expected(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    if !value.member("_M_has_value", memory)?.scalar(memory)?.is_true() {
        return Ok(View::Noted { inner: inside(value, "_M_unex")?, note: "unexpected".to_owned() });
    }
    // Of `void` there is nothing to show.
    Ok(inside(value, "_M_val").map_or(View::Empty("expected"), View::Wrapped))
}

/// `std::complex`, which has the compiler's own type in it.
pub(super) fn complex(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Wrapped(value.member("_M_value", memory)?))
}

/// `std::atomic_flag`.
pub(super) fn atomic_flag(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let flag = value.member("_M_i", memory).or_else(|_| value.member("__a_", memory))?;
    Ok(View::Words(flag.scalar(memory)?.is_true().to_string()))
}

/// `std::monostate`, which says no more than that it is there.
pub(super) fn monostate(_: &Value, _: &ViewLimits, _: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Empty("monostate"))
}
