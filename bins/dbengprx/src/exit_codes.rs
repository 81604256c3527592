//! What the program's exit status means.

/// It did what was asked and ended in order.
pub(crate) const SUCCESS: u8 = 0;
/// It could not listen, or could not go on.
pub(crate) const FAILURE: u8 = 1;
/// The command line is wrong; nothing was started.
pub(crate) const USAGE: u8 = 2;
