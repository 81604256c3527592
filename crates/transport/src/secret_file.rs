//! Files that nobody else may read: keys and passwords.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Reads a file of at most so many bytes; what is behind them is left out.
///
/// # Errors
/// It cannot be read, or others can read or change it. Readable by a group is allowed, as Debian's ssl-cert has it.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Of the file that is open: what the name stands for may change.
    if file.metadata()?.mode() & 0o027 != 0 {
        return Err(io::Error::other("others can read or change it: chmod 600 it, and better make a new one"));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
