//! Ranges of image addresses.

use std::fmt;

use outpost_base::ImageOffset;

/// Half-open range of image addresses, `start..end`. Empty when `end <= start`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRange {
    /// First address inside.
    pub start: ImageOffset,
    /// First address after it.
    pub end: ImageOffset,
}

impl ImageRange {
    /// The range from `start` to `end`.
    pub fn new(start: u64, end: u64) -> ImageRange {
        ImageRange { start: ImageOffset(start), end: ImageOffset(end) }
    }

    /// Whether `at` lies inside.
    pub fn contains(self, at: ImageOffset) -> bool {
        self.start <= at && at < self.end
    }

    /// Length in bytes; 0 if empty.
    pub fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether no address lies inside.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for ImageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start.0, self.end.0)
    }
}
