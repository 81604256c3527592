//! What `cdb` tells its caller; listed in its help.

/// The command line is wrong.
pub(crate) const USAGE: u8 = 1;
/// What was to be debugged is not there, was refused, or its server could not be reached.
pub(crate) const NOTHING_TO_DEBUG: u8 = 2;
