//! Between the schema's structures and the vocabulary of `outpost-target`, checked on the way in.
//!
//! Values out are moved where they can be; values in are refused (with the field's name) when a required part is
//! missing, an enumeration has an unknown value, or a number is out of the range its type promises. An unknown value is
//! refused rather than guessed: both ends speak the same version, and a newer one says so in its hello.

pub(crate) mod breakpoint;
pub(crate) mod event;
mod failure;
mod info;
pub(crate) mod os;
mod plan;
mod tail;

use outpost_base::{Va, VaRange};

use crate::{WireError, proto};

pub(crate) use tail::{TailBuilder, TailReader};

/// The field, or an error that names it.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Field { field })
}

/// Converts each item; the first that is wrong is the answer.
pub(crate) fn all<T, U: TryFrom<T, Error = WireError>>(items: Vec<T>) -> Result<Vec<U>, WireError> {
    items.into_iter().map(U::try_from).collect()
}

/// Converts each item, which cannot fail.
pub(crate) fn each<T, U: From<T>>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(U::from).collect()
}

/// Maps an enumeration of ours to one of the schema's and back; the schema's "unspecified" is never valid.
///
/// `enumeration!(to, from, Ours, proto::Theirs, "field": OurVariant = TheirVariant, ...)` makes two functions.
macro_rules! enumeration {
    ($to:ident, $from:ident, $ours:ident, $theirs:ty, $field:literal: $($our:ident = $their:ident),* $(,)?) => {
        pub(crate) fn $to(value: $ours) -> i32 {
            type Theirs = $theirs;
            match value {
                $($ours::$our => Theirs::$their as i32,)*
            }
        }

        pub(crate) fn $from(value: i32) -> Result<$ours, $crate::WireError> {
            type Theirs = $theirs;
            match Theirs::try_from(value) {
                $(Ok(Theirs::$their) => Ok($ours::$our),)*
                _ => Err($crate::WireError::Field { field: $field }),
            }
        }
    };
}

pub(crate) use enumeration;

impl From<VaRange> for proto::Range {
    fn from(range: VaRange) -> proto::Range {
        proto::Range { start: range.start.0, end: range.end.0 }
    }
}

impl From<proto::Range> for VaRange {
    fn from(range: proto::Range) -> VaRange {
        VaRange { start: Va(range.start), end: Va(range.end) }
    }
}
