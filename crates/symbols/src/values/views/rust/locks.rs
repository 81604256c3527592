//! Locks and what they guard, with their state: `Mutex`, `RwLock`, `OnceLock`, `LazyLock`.

use super::{MemoryReader, Unavailable, Value, View, ViewLimits};
use super::{find_inside, number_within, thin_pointer};

/// Of a `RwLock`: how many read, all ones for a writer. Source: `library/std/src/sys/sync/rwlock/futex.rs`.
const READERS: u64 = (1 << 30) - 1;
/// Of a `Once`, beside the bit that somebody waits. Source: `library/std/src/sys/sync/once/futex.rs`.
const STATE_MASK: u64 = 3;

/// Unlocked is 0. Source: `library/std/src/sys/sync/mutex/futex.rs`.
pub(super) fn mutex(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let locked = match number_within(value, "futex", memory) {
        Ok(state) => (state != 0).then(|| "locked".to_owned()),
        // Before Rust 1.62 it was one of pthread.
        Err(Unavailable::WrongType) => None,
        Err(reason) => return Err(reason),
    };
    guarded(value, locked, memory)
}

pub(super) fn rw_lock(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let state = match value.member("inner", memory).and_then(|inner| number_within(&inner, "state", memory)) {
        Ok(state) => match state & READERS {
            0 => None,
            READERS => Some("locked".to_owned()),
            readers => Some(format!("readers={readers}")),
        },
        Err(Unavailable::WrongType) => None,
        Err(reason) => return Err(reason),
    };
    guarded(value, state, memory)
}

/// The value of a lock with its state, and whether it is poisoned.
fn guarded(value: &Value, state: Option<String>, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let inner = value.member("data", memory)?;
    let poisoned = value.member("poison", memory).and_then(|flag| number_within(&flag, "failed", memory))? != 0;
    let notes: Vec<String> = state.into_iter().chain(poisoned.then(|| "poisoned".to_owned())).collect();
    Ok(match notes.is_empty() {
        true => View::Wrapped(inner),
        false => View::Noted { inner, note: notes.join(", ") },
    })
}

/// What a lock's guard lets one at: its own pointer to it, else that of its lock.
pub(super) fn guard(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let target = match value.member("data", memory) {
        Ok(data) => data.field(&thin_pointer(data.value_type()).ok_or(Unavailable::WrongType)?).deref(memory)?,
        Err(_) => value.member("lock", memory)?.deref(memory)?.member("data", memory)?,
    };
    Ok(View::Pointer { target: Some(target), note: None })
}

/// `OnceLock` and `LazyLock`, whose `once` tells whether the value was made.
///
/// What its number means changed under the same names: the value 0, "not yet" before, is "done" since Rust 1.88 or so. It
/// is believed where `MaybeDangling` tells that the library is later; of older ones the members are shown.
pub(super) fn once(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let of = value.value_type();
    let inner = find_inside(of, &|_, of| of.resolved().qualified_name().starts_with("core::mem::manually_drop::"));
    let inner = inner.ok_or(Unavailable::WrongType)?;
    let is_known = |_: &str, of: &crate::types::Type| {
        of.resolved().qualified_name().starts_with("core::mem::maybe_dangling::MaybeDangling<")
    };
    find_inside(&inner.field_type, &is_known).ok_or(Unavailable::WrongType)?;
    let words = match number_within(value, "state_and_queued", memory)? & STATE_MASK {
        0 => return Ok(View::Wrapped(value.field(&inner))),
        1 => "<running>",
        2 => "<poisoned>",
        _ => "<uninit>",
    };
    Ok(View::Empty(words))
}
