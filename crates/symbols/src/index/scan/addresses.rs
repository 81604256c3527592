//! Where the code and the variables of DIEs are.

use gimli::{DebugAddrIndex, RawRangeListsOffset};

use super::{Die, UnitScan};
use crate::ImageRange;
use crate::index::chunk::CodeRange;
use crate::index::cursor::{Cursor, Value};

/// What a location says of a variable.
pub(super) enum Static {
    At(u64),
    ThreadLocal,
    Elsewhere,
}

impl<'a> UnitScan<'a, '_, '_> {
    pub(super) fn is_text(&self, range: ImageRange) -> bool {
        if range.is_empty() {
            return false;
        }
        let after = self.scan.text.partition_point(|text| text.start <= range.start);
        let text = after.checked_sub(1).and_then(|at| self.scan.text.get(at));
        text.is_some_and(|text| range.start < text.end && range.end <= text.end)
    }

    pub(super) fn address(&self, value: Value<'a>) -> Option<u64> {
        match value {
            Value::Address(address) => Some(address),
            Value::AddressIndex(index) => self.dwarf.address(&self.unit, DebugAddrIndex(index as usize)).ok(),
            _ => None,
        }
    }

    pub(super) fn code_ranges(&mut self, entry: u32, die: &Die<'a>) -> bool {
        let before = self.chunk.code.len();
        if let Some(ranges) = die.ranges {
            let _ = self.listed_ranges(entry, ranges);
        } else if let (Some(low), Some(high)) = (die.low.and_then(|low| self.address(low)), die.high) {
            let end = match high {
                Value::Constant(size) => low.checked_add(size),
                other => self.address(other),
            };
            self.push_range(entry, ImageRange::new(low, end.unwrap_or(low)), true);
        }
        self.chunk.code.len() > before
    }

    fn listed_ranges(&mut self, entry: u32, ranges: Value<'a>) -> gimli::Result<()> {
        let offset = match ranges {
            // DWARF 2 and 3 have no form of its own for offsets.
            Value::SectionOffset(offset) | Value::Constant(offset) => {
                self.dwarf.ranges_offset_from_raw(&self.unit, RawRangeListsOffset(offset as usize))
            }
            Value::ListIndex(index) => {
                self.dwarf.ranges_offset(&self.unit, gimli::DebugRngListsIndex(index as usize))?
            }
            _ => return Ok(()),
        };
        let mut list = self.dwarf.ranges(&self.unit, offset)?;
        // The range listed first holds the entry, wherever the cold parts lie.
        let mut is_first = true;
        while let Some(range) = list.next()? {
            if !self.push_range(entry, ImageRange::new(range.begin, range.end), is_first) {
                break;
            }
            is_first = false;
        }
        Ok(())
    }

    /// Notes code of a function, unless the linker discarded it; `false` when there is no room for more.
    fn push_range(&mut self, entry: u32, range: ImageRange, is_first: bool) -> bool {
        if self.chunk.code.len() >= self.scan.max_ranges {
            return false;
        }
        if self.is_text(range) {
            self.chunk.code.push(CodeRange { range, entry, is_first });
        }
        true
    }

    /// Where a variable with static storage lies, if its location says just that.
    pub(super) fn static_address(&self, location: Value<'a>) -> Option<Static> {
        let Value::Expression(bytes) = location else { return None };
        let mut cursor = Cursor::new(bytes, 0, self.unit.encoding());
        let address_size = usize::from(self.unit.encoding().address_size);
        // DWARF 5, 7.7.1: DW_OP_addr, DW_OP_addrx; their predecessors; constants are offsets for TLS.
        let address = match cursor.unsigned(1)? {
            0x03 => cursor.unsigned(address_size)?,
            0xa1 | 0xfb => self.address(Value::AddressIndex(cursor.uleb()?))?,
            0x0c | 0x0e | 0xa2 | 0xfc => return Some(Static::ThreadLocal),
            _ => return None,
        };
        match cursor.unsigned(1) {
            None => Some(Static::At(address)),
            // DW_OP_form_tls_address, DW_OP_GNU_push_tls_address
            Some(0x9b | 0xe0) => Some(Static::ThreadLocal),
            // DW_OP_plus_uconst: a variable inside another, as merged globals are.
            Some(0x23) => Some(Static::At(address.wrapping_add(cursor.uleb()?))),
            // The value is computed from the address, or lies there only in part.
            Some(_) => Some(Static::Elsewhere),
        }
    }
}
