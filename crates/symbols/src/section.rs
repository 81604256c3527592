//! Bytes of a section: cheap to clone, wherever they live.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::mapping::{Backing, Mapping};

/// Bytes of a file or of one of its sections: mapped, read, or decompressed.
///
/// A clone shares the bytes. They stay at one address as long as any clone lives, so gimli can read them
/// ([`crate::DwarfReader`]).
#[derive(Clone)]
pub struct SectionData {
    backing: Backing,
    start: usize,
    end: usize,
}

impl SectionData {
    /// No bytes.
    pub fn empty() -> SectionData {
        SectionData::from(Vec::new())
    }

    /// All of a mapping.
    pub(crate) fn mapped(map: Mapping) -> SectionData {
        let end = map.len();
        SectionData { backing: Backing::Mapped(Arc::new(map)), start: 0, end }
    }

    /// Whether the bytes are mapped from a file, so that the system can take their memory back.
    pub fn is_mapped(&self) -> bool {
        matches!(self.backing, Backing::Mapped(_))
    }

    /// A part of these bytes, without copying; `None` if it is not inside.
    pub fn slice(&self, range: Range<usize>) -> Option<SectionData> {
        let start = self.start.checked_add(range.start)?;
        let end = self.start.checked_add(range.end)?;
        (start <= end && end <= self.end).then(|| SectionData { backing: self.backing.clone(), start, end })
    }

    /// Says that `range` will not be touched again soon, so that resident memory does not grow with what was read.
    ///
    /// Costs nothing but time if it is touched after all. No effect on bytes that are not mapped.
    pub fn release(&self, range: Range<usize>) {
        if let Backing::Mapped(map) = &self.backing {
            let start = self.start.saturating_add(range.start);
            let end = self.start.saturating_add(range.end).min(self.end);
            map.release(start, end);
        }
    }
}

impl Deref for SectionData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // The bounds were checked when they were set, and a shared backing never shrinks.
        self.backing.get(self.start..self.end).unwrap_or_default()
    }
}

impl From<Vec<u8>> for SectionData {
    fn from(bytes: Vec<u8>) -> SectionData {
        let end = bytes.len();
        SectionData { backing: Backing::Owned(Arc::new(bytes)), start: 0, end }
    }
}

impl Default for SectionData {
    fn default() -> SectionData {
        SectionData::empty()
    }
}

impl fmt::Debug for SectionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.backing {
            Backing::Owned(_) => "owned",
            Backing::Mapped(_) => "mapped",
        };
        write!(f, "SectionData({} bytes, {how})", self.end - self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_and_are_bounded() {
        let data = SectionData::from(vec![1, 2, 3, 4, 5]);
        let middle = data.slice(1..4).unwrap();
        assert_eq!(&*middle, &[2, 3, 4]);
        assert_eq!(&*middle.slice(1..3).unwrap(), &[3, 4]);
        assert!(middle.slice(1..4).is_none(), "a slice does not reach beyond itself");
        assert_eq!(middle.as_ptr(), data[1..].as_ptr(), "no copy is made");
    }
}
