//! An index of all entries of a section, for `.debug_frame` and where `.eh_frame_hdr` is missing or unsound.

use gimli::{BaseAddresses, UnwindSection};

use super::Bytes;

/// Entries before the best one that are tried as well, since damaged or merged sections have overlapping ones.
const BACKWARDS: usize = 4;

/// Ranges of all readable entries, by start.
#[derive(Default)]
pub(super) struct FdeIndex {
    entries: Vec<FdeEntry>,
}

struct FdeEntry {
    start: u64,
    end: u64,
    offset: u64,
}

impl FdeIndex {
    /// Reads all entries. One that cannot be read is stepped over by its length; entries of no length are left out.
    pub(super) fn build<'a, S>(section: &S, bytes: &[u8], bases: &BaseAddresses) -> FdeIndex
    where
        S: UnwindSection<Bytes<'a>>,
        S::Offset: From<usize>,
    {
        let mut entries = Vec::new();
        let mut at = 0;
        while let Some(next) = next_entry(bytes, at) {
            // Entries that describe common information, and terminators, fail here and are meant to.
            if let Ok(fde) = section.fde_from_offset(bases, S::Offset::from(at), S::cie_from_offset)
                && fde.len() > 0
                // What the linker threw away keeps its entry, at address 0 where no code can be.
                && fde.initial_address() != 0
            {
                let start = fde.initial_address();
                entries.push(FdeEntry { start, end: start.saturating_add(fde.len()), offset: at as u64 });
            }
            at = next;
        }
        entries.sort_by_key(|entry| entry.start);
        FdeIndex { entries }
    }

    /// Offsets of the entries that may cover `address`, likeliest first.
    pub(super) fn candidates(&self, address: u64) -> impl Iterator<Item = u64> + '_ {
        let after = self.entries.partition_point(|entry| entry.start <= address);
        let near = &self.entries[after.saturating_sub(BACKWARDS)..after];
        near.iter().rev().filter(move |entry| address < entry.end).map(|entry| entry.offset)
    }
}

/// Offset of the entry behind the one at `at`; `None` at the end of the section or of what makes sense.
fn next_entry(bytes: &[u8], at: usize) -> Option<usize> {
    let short = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
    // DWARF 5, 7.4: the escape for 64-bit lengths. A zero length ends `.eh_frame`, but linkers that join sections with
    // terminators of their own leave some in the middle.
    let next = match short {
        0xffff_ffff => {
            let long = u64::from_le_bytes(bytes.get(at + 4..at.checked_add(12)?)?.try_into().ok()?);
            at.checked_add(12)?.checked_add(usize::try_from(long).ok()?)?
        }
        short => at.checked_add(4)?.checked_add(usize::try_from(short).ok()?)?,
    };
    (next <= bytes.len()).then_some(next)
}
