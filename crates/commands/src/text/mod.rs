//! How things look: the pieces of text that several commands share.

pub(crate) mod debuggee;
mod float;
pub(crate) mod frames;
pub(crate) mod notice;
pub(crate) mod registers;
pub(crate) mod stop;
pub(crate) mod symbols;
pub(crate) mod threads;
pub(crate) mod values;

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! put {
    ($text:expr, $($arguments:tt)*) => {{
        use std::fmt::Write as _;
        // Writing to a String gives no error.
        let _ = write!($text, $($arguments)*);
    }};
}

/// As `put!`, with a line end.
macro_rules! line {
    ($text:expr) => {{
        $text.push('\n');
    }};
    ($text:expr, $($arguments:tt)*) => {{
        $crate::text::put!($text, $($arguments)*);
        $text.push('\n');
    }};
}

pub(crate) use float::{double, single};
pub(crate) use {line, put};

/// A 64-bit number as the debugger writes them: ``00000000`00000409``.
pub(crate) fn hex64(value: u64) -> String {
    outpost_base::Va(value).to_string()
}
