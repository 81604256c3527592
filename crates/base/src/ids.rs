//! Ids of the things a system holds. Ordinals (`0:003>`) belong to the engine; these are the system's own.

use std::fmt;

/// A process of a target, by the id its system gave it (Linux: tgid in the server's pid namespace).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub u32);

/// A thread of a target, unique within its system (Linux: tid in the server's pid namespace).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(pub u32);

/// What a memory address is relative to. Processes made by `vfork` or `clone(CLONE_VM)` share one.
///
/// A target hands these out in `ProcessInfo`; Linux uses the process id of the space's first process.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressSpaceId(pub u64);

/// The bytes of an ELF `NT_GNU_BUILD_ID` note: names one build of a program or library, whatever file holds it.
///
/// Source: ld(1) `--build-id`; usually 20 bytes (SHA-1), but any length from 1 is accepted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(pub Vec<u8>);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Lower-case hexadecimal, as in file names below `.build-id/`.
impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}
