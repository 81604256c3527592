//! Exit codes, as `--help` tells them.

/// The session ended by a command or the end of input.
pub(crate) const ORDERLY: u8 = 0;
/// The session could not begin: no connection, no such process, no right to it, no such dump.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// The session broke off, or a link was lost in it.
pub(crate) const BROKEN: u8 = 3;
