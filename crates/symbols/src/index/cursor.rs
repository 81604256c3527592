//! Reading DIE bytes by position. `None` always means that the unit ends inside a value.
#![expect(non_upper_case_globals, reason = "the constants have DWARF's own names")]

use std::ffi::CStr;

use gimli::constants::*;
use gimli::{DwForm, Encoding, Format};

use super::abbrev::{Pass, pass};

/// A place in the bytes of one unit, counted from the unit's header as DWARF's references are.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    encoding: Encoding,
}

/// A value, as far as the scanner tells kinds of values apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    Address(u64),
    AddressIndex(u64),
    Constant(u64),
    SectionOffset(u64),
    ListIndex(u64),
    /// In the DIE itself; the position in the unit and the text.
    InlineString(usize, &'a [u8]),
    StringOffset(u64),
    LineStringOffset(u64),
    AltStringOffset(u64),
    StringIndex(u64),
    /// Offset in this unit.
    UnitRef(u64),
    /// Offset in `.debug_info`.
    InfoRef(u64),
    /// Offset in the shared file's `.debug_info`.
    AltRef(u64),
    /// Signature of a type unit.
    Signature(u64),
    Expression(&'a [u8]),
    Other,
}

impl<'a> Cursor<'a> {
    /// A cursor in `bytes`, which begin at the unit's header and end with the unit.
    pub(super) fn new(bytes: &'a [u8], at: usize, encoding: Encoding) -> Cursor<'a> {
        Cursor { bytes, at, encoding }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Moves on to `to`, if that is forward and inside.
    pub(super) fn jump(&mut self, to: u64) -> Option<()> {
        let to = usize::try_from(to).ok().filter(|&to| to > self.at && to <= self.bytes.len())?;
        self.at = to;
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn unsigned(&mut self, size: usize) -> Option<u64> {
        let mut word = [0; 8];
        word.get_mut(..size)?.copy_from_slice(self.take(size)?);
        Some(u64::from_le_bytes(word))
    }

    #[inline]
    pub(super) fn uleb(&mut self) -> Option<u64> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            shift += 7;
            if byte < 0x80 {
                return Some(value);
            }
        }
    }

    #[inline]
    pub(super) fn pass(&mut self, how: Pass) -> Option<()> {
        match how {
            Pass::Bytes(count) => {
                let end = self.at.checked_add(count as usize)?;
                (end <= self.bytes.len()).then(|| self.at = end)
            }
            Pass::Leb => self.uleb().map(|_| ()),
            Pass::Block(size) => {
                let len = self.unsigned(usize::from(size))?;
                self.take(usize::try_from(len).ok()?).map(|_| ())
            }
            Pass::BlockLeb => {
                let len = self.uleb()?;
                self.take(usize::try_from(len).ok()?).map(|_| ())
            }
            Pass::String => self.string().map(|_| ()),
            Pass::Indirect => {
                let form = self.indirect_form()?;
                self.pass(pass(form, self.encoding))
            }
        }
    }

    /// The form that `DW_FORM_indirect` states; an indirect indirect form, and one not known, end the unit.
    fn indirect_form(&mut self) -> Option<DwForm> {
        let form = DwForm(u16::try_from(self.uleb()?).ok()?);
        (pass(form, self.encoding) != Pass::Indirect).then_some(form)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let text = CStr::from_bytes_until_nul(self.bytes.get(self.at..)?).ok()?.to_bytes();
        self.at += text.len() + 1;
        Some(text)
    }

    /// Reads a value of `form`; `constant` is what the abbreviation holds for `DW_FORM_implicit_const`.
    pub(super) fn value(&mut self, form: DwForm, constant: i64) -> Option<Value<'a>> {
        let offset_size = match self.encoding.format {
            Format::Dwarf32 => 4,
            Format::Dwarf64 => 8,
        };
        Some(match form {
            DW_FORM_addr => Value::Address(self.unsigned(usize::from(self.encoding.address_size))?),
            DW_FORM_addrx | DW_FORM_GNU_addr_index => Value::AddressIndex(self.uleb()?),
            DW_FORM_addrx1 => Value::AddressIndex(self.unsigned(1)?),
            DW_FORM_addrx2 => Value::AddressIndex(self.unsigned(2)?),
            DW_FORM_addrx3 => Value::AddressIndex(self.unsigned(3)?),
            DW_FORM_addrx4 => Value::AddressIndex(self.unsigned(4)?),
            DW_FORM_flag_present => Value::Constant(1),
            DW_FORM_implicit_const => Value::Constant(constant as u64),
            DW_FORM_data1 | DW_FORM_flag => Value::Constant(self.unsigned(1)?),
            DW_FORM_data2 => Value::Constant(self.unsigned(2)?),
            DW_FORM_data4 => Value::Constant(self.unsigned(4)?),
            DW_FORM_data8 => Value::Constant(self.unsigned(8)?),
            DW_FORM_udata => Value::Constant(self.uleb()?),
            DW_FORM_sdata => Value::Constant(self.uleb()?),
            DW_FORM_sec_offset => Value::SectionOffset(self.unsigned(offset_size)?),
            DW_FORM_rnglistx | DW_FORM_loclistx => Value::ListIndex(self.uleb()?),
            DW_FORM_string => {
                let at = self.at;
                Value::InlineString(at, self.string()?)
            }
            DW_FORM_strp => Value::StringOffset(self.unsigned(offset_size)?),
            DW_FORM_line_strp => Value::LineStringOffset(self.unsigned(offset_size)?),
            DW_FORM_strp_sup | DW_FORM_GNU_strp_alt => Value::AltStringOffset(self.unsigned(offset_size)?),
            DW_FORM_strx | DW_FORM_GNU_str_index => Value::StringIndex(self.uleb()?),
            DW_FORM_strx1 => Value::StringIndex(self.unsigned(1)?),
            DW_FORM_strx2 => Value::StringIndex(self.unsigned(2)?),
            DW_FORM_strx3 => Value::StringIndex(self.unsigned(3)?),
            DW_FORM_strx4 => Value::StringIndex(self.unsigned(4)?),
            DW_FORM_ref1 => Value::UnitRef(self.unsigned(1)?),
            DW_FORM_ref2 => Value::UnitRef(self.unsigned(2)?),
            DW_FORM_ref4 => Value::UnitRef(self.unsigned(4)?),
            DW_FORM_ref8 => Value::UnitRef(self.unsigned(8)?),
            DW_FORM_ref_udata => Value::UnitRef(self.uleb()?),
            DW_FORM_ref_addr if self.encoding.version <= 2 => {
                Value::InfoRef(self.unsigned(usize::from(self.encoding.address_size))?)
            }
            DW_FORM_ref_addr => Value::InfoRef(self.unsigned(offset_size)?),
            DW_FORM_GNU_ref_alt => Value::AltRef(self.unsigned(offset_size)?),
            DW_FORM_ref_sup4 => Value::AltRef(self.unsigned(4)?),
            DW_FORM_ref_sup8 => Value::AltRef(self.unsigned(8)?),
            DW_FORM_ref_sig8 => Value::Signature(self.unsigned(8)?),
            DW_FORM_exprloc | DW_FORM_block => {
                let len = self.uleb()?;
                Value::Expression(self.take(usize::try_from(len).ok()?)?)
            }
            DW_FORM_block1 => {
                let len = self.unsigned(1)?;
                Value::Expression(self.take(len as usize)?)
            }
            DW_FORM_indirect => {
                let form = self.indirect_form()?;
                self.value(form, 0)?
            }
            other => {
                self.pass(pass(other, self.encoding))?;
                Value::Other
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 5 };

    #[test]
    fn values_are_passed_over_as_they_are_read() {
        let bytes = [0x85, 0x01, b'h', b'i', 0, 3, 1, 2, 3, 0x0b, 7, 9, 9, 9, 9, 9, 9, 9, 9];
        let forms = [DW_FORM_udata, DW_FORM_string, DW_FORM_exprloc, DW_FORM_indirect, DW_FORM_data8];
        let mut reading = Cursor::new(&bytes, 0, ENCODING);
        let mut passing = reading.clone();
        let values: Vec<_> = forms
            .iter()
            .map(|&form| {
                passing.pass(pass(form, ENCODING)).unwrap();
                let value = reading.value(form, 0).unwrap();
                assert_eq!(reading.at, passing.at, "{form}");
                value
            })
            .collect();
        assert_eq!(values[0], Value::Constant(133));
        assert_eq!(values[1], Value::InlineString(2, b"hi"));
        assert_eq!(values[2], Value::Expression(&[1, 2, 3]));
        assert_eq!(values[3], Value::Constant(7));
        assert!(reading.is_at_end());
        assert_eq!(reading.value(DW_FORM_data1, 0), None);
    }

    #[test]
    fn hostile_values_end_the_unit() {
        let mut cursor = Cursor::new(&[0x16, 0x16, 0x16], 0, ENCODING);
        assert_eq!(cursor.pass(Pass::Indirect), None, "an indirect indirect form");
        let mut cursor = Cursor::new(&[0xff; 12], 0, ENCODING);
        assert_eq!(cursor.pass(Pass::BlockLeb), None);
        let mut cursor = Cursor::new(b"no end", 0, ENCODING);
        assert_eq!(cursor.value(DW_FORM_string, 0), None);
        let mut cursor = Cursor::new(&[0; 4], 2, ENCODING);
        assert_eq!((cursor.jump(2), cursor.jump(5)), (None, None), "jumps go forward and stay inside");
    }
}
