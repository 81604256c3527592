//! The binary search table of `.eh_frame_hdr`.
//!
//! Source: LSB 5.0 Core, 10.6.2. All linkers in use write the same encodings; anything else counts as no table, and the
//! index of all entries takes its place.

use outpost_base::ImageOffset;

use super::{CfiSection, SectionBytes};

const VERSION: u8 = 1;
/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`
const PCREL_SDATA4: u8 = 0x1b;
/// `DW_EH_PE_udata4`
const UDATA4: u8 = 0x03;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`
const DATAREL_SDATA4: u8 = 0x3b;
const TABLE_AT: usize = 12;
const ENTRY: usize = 8;

/// Entries before the best one that are tried as well: entries of no length sort beside those that matter.
const BACKWARDS: usize = 4;

/// A table that was found sound: sorted, and pointing into `.eh_frame`.
pub(super) struct HeaderTable {
    bytes: SectionBytes,
    header_address: u64,
    eh_frame_address: u64,
    count: usize,
}

/// Where `.eh_frame` starts, and its last entry, by the table alone.
pub(super) fn extent(header: &CfiSection) -> Option<(ImageOffset, ImageOffset)> {
    let (eh_frame, count) = parse_start(header)?;
    let bytes = header.bytes.as_slice();
    let entries = (0..count).map_while(|at| table_entry(bytes, header.address.0, at));
    let last = entries.map(|(_, entry)| entry).max()?;
    (last >= eh_frame).then_some((ImageOffset(eh_frame), ImageOffset(last)))
}

/// The address of `.eh_frame` and the number of table entries, if the encodings are the usual ones.
fn parse_start(header: &CfiSection) -> Option<(u64, usize)> {
    let bytes = header.bytes.as_slice();
    if *bytes.get(..4)? != [VERSION, PCREL_SDATA4, UDATA4, DATAREL_SDATA4] {
        return None;
    }
    let pointer = header.address.0.wrapping_add(4).wrapping_add_signed(i64::from(read_i32(bytes, 4)?));
    let count = usize::try_from(u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?)).ok()?;
    let end = count.checked_mul(ENTRY)?.checked_add(TABLE_AT)?;
    (count > 0 && end <= bytes.len()).then_some((pointer, count))
}

/// First address and entry of one line of the table.
fn table_entry(bytes: &[u8], header_address: u64, at: usize) -> Option<(u64, u64)> {
    let position = TABLE_AT + at * ENTRY;
    let start = header_address.wrapping_add_signed(i64::from(read_i32(bytes, position)?));
    let entry = header_address.wrapping_add_signed(i64::from(read_i32(bytes, position + 4)?));
    Some((start, entry))
}

impl HeaderTable {
    /// The table, or `None` if there is none, its encoding is unusual, or it contradicts itself.
    pub(super) fn parse(header: &CfiSection, eh_frame: &CfiSection) -> Option<HeaderTable> {
        let (pointer, count) = parse_start(header)?;
        if ImageOffset(pointer) != eh_frame.address {
            return None;
        }
        let table = HeaderTable {
            bytes: header.bytes.clone(),
            header_address: header.address.0,
            eh_frame_address: eh_frame.address.0,
            count,
        };
        table.is_sound(eh_frame.bytes.as_slice().len() as u64).then_some(table)
    }

    /// Offsets in `.eh_frame` of the entries that may cover `address`, likeliest first.
    pub(super) fn candidates(&self, address: u64) -> impl Iterator<Item = u64> + '_ {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle) {
                Some((start, _)) if start <= address => low = middle + 1,
                _ => high = middle,
            }
        }
        (low.saturating_sub(BACKWARDS)..low).rev().filter_map(|at| Some(self.entry(at)?.1))
    }

    fn entry(&self, at: usize) -> Option<(u64, u64)> {
        let (start, entry) = table_entry(self.bytes.as_slice(), self.header_address, at)?;
        Some((start, entry.wrapping_sub(self.eh_frame_address)))
    }

    fn is_sound(&self, eh_frame_len: u64) -> bool {
        let mut last = 0;
        (0..self.count).all(|at| match self.entry(at) {
            Some((start, offset)) => {
                let sorted = start >= last;
                last = start;
                sorted && offset < eh_frame_len
            }
            None => false,
        })
    }
}

fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
