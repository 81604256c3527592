//! Addresses as types: where something is in a running image, where it is in its file, and the bias between them.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A virtual address in a debuggee, always 64 bits wide whatever the host is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Va(pub u64);

/// An address as an image's own headers and debug info state it, before loading moved it.
///
/// For ELF it is the `p_vaddr` space of the file (not a file offset).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageOffset(pub u64);

/// What loading added to every [`ImageOffset`] of an image: `Va = ImageOffset + LoadBias`, modulo 2^64.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadBias(pub u64);

/// Half-open range of virtual addresses, `start..end`. Empty when `end <= start`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaRange {
    /// First address inside.
    pub start: Va,
    /// First address after it.
    pub end: Va,
}

impl Va {
    /// The address `bytes` further on, or `None` past the end of the address space.
    pub fn checked_add(self, bytes: u64) -> Option<Va> {
        self.0.checked_add(bytes).map(Va)
    }

    /// The address `bytes` (signed) away, modulo 2^64.
    pub fn wrapping_offset(self, bytes: i64) -> Va {
        Va(self.0.wrapping_add_signed(bytes))
    }

    /// Rounded down to a multiple of `alignment`, which must be a power of two.
    pub fn align_down(self, alignment: u64) -> Va {
        Va(self.0 & !(alignment - 1))
    }

    /// Rounded up to a multiple of `alignment` (a power of two), saturating at the last such multiple.
    pub fn align_up(self, alignment: u64) -> Va {
        Va(self.0.saturating_add(alignment - 1) & !(alignment - 1))
    }

    /// Where this address lies in an image loaded with `bias`.
    pub fn to_image(self, bias: LoadBias) -> ImageOffset {
        ImageOffset(self.0.wrapping_sub(bias.0))
    }
}

impl ImageOffset {
    /// Where this offset lies in the running image.
    pub fn to_va(self, bias: LoadBias) -> Va {
        Va(self.0.wrapping_add(bias.0))
    }
}

impl LoadBias {
    /// The bias that maps `offset` to `va`.
    pub fn between(va: Va, offset: ImageOffset) -> LoadBias {
        LoadBias(va.0.wrapping_sub(offset.0))
    }
}

impl VaRange {
    /// Range of `len` bytes from `start`, cut at the end of the address space.
    pub fn from_len(start: Va, len: u64) -> VaRange {
        VaRange { start, end: Va(start.0.saturating_add(len)) }
    }

    /// Length in bytes; 0 if empty.
    pub fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether no address lies inside.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `va` lies inside.
    pub fn contains(self, va: Va) -> bool {
        self.start <= va && va < self.end
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: VaRange) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }
}

impl Add<u64> for Va {
    type Output = Va;
    fn add(self, bytes: u64) -> Va {
        Va(self.0.wrapping_add(bytes))
    }
}

impl AddAssign<u64> for Va {
    fn add_assign(&mut self, bytes: u64) {
        *self = *self + bytes;
    }
}

impl Sub<u64> for Va {
    type Output = Va;
    fn sub(self, bytes: u64) -> Va {
        Va(self.0.wrapping_sub(bytes))
    }
}

/// Distance in bytes, modulo 2^64.
impl Sub<Va> for Va {
    type Output = u64;
    fn sub(self, other: Va) -> u64 {
        self.0.wrapping_sub(other.0)
    }
}

/// The debugger's notation: ``00007fff`ffffe010``.
impl fmt::Display for Va {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}`{:08x}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl fmt::Debug for Va {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Va({:#x})", self.0)
    }
}

impl fmt::Display for ImageOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for ImageOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageOffset({:#x})", self.0)
    }
}

impl fmt::Debug for LoadBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadBias({:#x})", self.0)
    }
}

impl fmt::Debug for VaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.0, self.end.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bias_round_trips_and_wraps() {
        let bias = LoadBias::between(Va(0x1000), ImageOffset(0x4000));
        assert_eq!(ImageOffset(0x4010).to_va(bias), Va(0x1010));
        assert_eq!(Va(0x1010).to_image(bias), ImageOffset(0x4010));
    }

    #[test]
    fn ranges_are_half_open() {
        let range = VaRange::from_len(Va(0x1000), 0x10);
        assert!(range.contains(Va(0x100f)) && !range.contains(Va(0x1010)));
        assert!(!range.overlaps(VaRange::from_len(Va(0x1010), 1)));
        assert_eq!(VaRange::from_len(Va(u64::MAX - 1), 16).len(), 1);
    }

    #[test]
    fn displays_as_the_reference_does() {
        assert_eq!(Va(0x7fff_ffff_e010).to_string(), "00007fff`ffffe010");
    }
}
