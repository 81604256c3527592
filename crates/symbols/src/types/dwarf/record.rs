//! Structs, classes, unions and Rust enums from their DIEs.

use gimli::{AttributeValue, Operation, Reader};

use super::attributes::{Entry, constant, constant_bytes, expression, file_name, flag, string, unsigned};
use super::{EntryReader, type_id};
use crate::DeclaredAt;
use crate::types::{
    BaseClass, BaseEncoding, BaseOffset, BitField, Language, Member, Record, RecordKeyword, StaticMember,
    TemplateArgument, TypeId, Variant, VariantPart,
};

/// Bytes of a discriminant's list of values that are read.
const DISCRIMINANT_LIST_LIMIT: usize = 4096;

impl EntryReader<'_> {
    pub(super) fn record(&self, entry: &Entry) -> Record {
        let keyword = match entry.tag() {
            gimli::DW_TAG_class_type => RecordKeyword::Class,
            gimli::DW_TAG_union_type => RecordKeyword::Union,
            _ => RecordKeyword::Struct,
        };
        let by_reference = match entry.attr_value(gimli::DW_AT_calling_convention) {
            Some(AttributeValue::CallingConvention(gimli::DW_CC_pass_by_reference)) => Some(true),
            Some(AttributeValue::CallingConvention(gimli::DW_CC_pass_by_value)) => Some(false),
            _ if self.language == Language::Cpp => self.has_copies_of_its_own(entry),
            _ => None,
        };
        let declaration = flag(entry, gimli::DW_AT_declaration);
        let mut record = Record { keyword, declaration, by_reference, ..Record::default() };
        self.children(entry, |child| match child.tag() {
            // A static member of DWARF 2 to 4 is a member that is declared only.
            gimli::DW_TAG_member if is_static(child) => record.statics.extend(self.static_member(child)),
            gimli::DW_TAG_member => record.members.push(self.member(child)),
            gimli::DW_TAG_variable => record.statics.extend(self.static_member(child)),
            gimli::DW_TAG_inheritance => {
                record.bases.push(BaseClass { base_type: self.type_of(child), offset: self.base_offset(child) });
            }
            gimli::DW_TAG_variant_part => record.variants = Some(self.variant_part(child)),
            gimli::DW_TAG_template_type_parameter | gimli::DW_TAG_template_value_parameter => {
                record.template.push(self.template_argument(child));
            }
            gimli::DW_TAG_GNU_template_parameter_pack => {
                self.children(child, |argument| record.template.push(self.template_argument(argument)));
            }
            _ => {}
        });
        record
    }

    /// Whether a class says itself that it is not trivial to copy: by a destructor, a constructor from its own kind, or
    /// something virtual (Itanium C++ ABI, 3.1.1). `None` where it says that it is not copied so at all.
    fn has_copies_of_its_own(&self, entry: &Entry) -> Option<bool> {
        let name = string(self.unit, entry, gimli::DW_AT_name).unwrap_or_default();
        let bare = name.split('<').next().unwrap_or_default();
        let own = self.info.die(self.index, entry.offset()).map(type_id)?;
        let (mut has, mut is_known) = (false, true);
        self.children(entry, |child| {
            let is_virtual = matches!(child.attr_value(gimli::DW_AT_virtuality),
                Some(AttributeValue::Virtuality(kind)) if kind != gimli::DW_VIRTUALITY_none);
            has |= is_virtual;
            if child.tag() != gimli::DW_TAG_subprogram {
                return;
            }
            let called = string(self.unit, child, gimli::DW_AT_name).unwrap_or_default();
            let is_made = flag(child, gimli::DW_AT_artificial) || child.attr_value(gimli::DW_AT_defaulted).is_some();
            if called.starts_with('~') {
                has |= !is_made;
            } else if called == bare && !bare.is_empty() && self.copies(child, own) {
                let is_deleted = flag(child, gimli::DW_AT_deleted);
                is_known &= !is_deleted;
                has |= !is_made && !is_deleted;
            }
        });
        if has { Some(true) } else { is_known.then_some(false) }
    }

    /// Whether a constructor's one parameter is a reference to its class.
    fn copies(&self, constructor: &Entry, class: TypeId) -> bool {
        let mut taken = Vec::new();
        self.children(constructor, |child| {
            if child.tag() == gimli::DW_TAG_formal_parameter && !flag(child, gimli::DW_AT_artificial) {
                taken.push(self.type_of(child));
            }
        });
        let [only] = taken[..] else { return false };
        let Some((gimli::DW_TAG_reference_type | gimli::DW_TAG_rvalue_reference_type, mut target)) = self.tag_of(only)
        else {
            return false;
        };
        while let Some((gimli::DW_TAG_const_type | gimli::DW_TAG_volatile_type, unqualified)) = self.tag_of(target) {
            target = unqualified;
        }
        target == class
    }

    fn member(&self, entry: &Entry) -> Member {
        let member_type = self.type_of(entry);
        let offset = match self.base_offset(entry) {
            BaseOffset::Fixed(offset) => offset,
            // No producer computes the place of a plain member.
            BaseOffset::Virtual(_) => 0,
        };
        let bits = self.bit_field(entry, member_type, offset);
        Member {
            name: string(self.unit, entry, gimli::DW_AT_name),
            member_type,
            offset: bits.map_or(offset, |bits| bits.offset / 8),
            bits,
            artificial: flag(entry, gimli::DW_AT_artificial),
        }
    }

    /// The bits of a bit field, from the start of the record. DWARF 4 and 5 state them so (DWARF 5, 5.7.6); DWARF 2 and
    /// 3, and gcc's DWARF 4, count from the most significant bit of a storage unit (DWARF 3, 5.6.6).
    fn bit_field(&self, entry: &Entry, member_type: TypeId, offset: u64) -> Option<BitField> {
        let size = unsigned(entry, gimli::DW_AT_bit_size)?;
        if let Some(data_bit_offset) = unsigned(entry, gimli::DW_AT_data_bit_offset) {
            return Some(BitField { offset: offset.checked_mul(8)?.checked_add(data_bit_offset)?, size });
        }
        let from_top = entry.attr_value_raw(gimli::DW_AT_bit_offset).and_then(|value| constant(&value, None));
        let start = match from_top {
            None => 0,
            Some(from_top) => {
                let storage = unsigned(entry, gimli::DW_AT_byte_size).or_else(|| self.size_of(member_type))?;
                // Negative where a field of a packed struct straddles its storage unit, in whatever form.
                let from_top = if from_top > i128::from(i64::MAX) { i128::from(from_top as i64) } else { from_top };
                i128::from(storage.checked_mul(8)?).checked_sub(from_top)?.checked_sub(i128::from(size))?
            }
        };
        let offset = i128::from(offset.checked_mul(8)?).checked_add(start)?;
        Some(BitField { offset: u64::try_from(offset).ok()?, size })
    }

    /// `DW_AT_data_member_location`: a number, or an expression that the object's address is pushed for.
    fn base_offset(&self, entry: &Entry) -> BaseOffset {
        let Some(value) = entry.attr_value(gimli::DW_AT_data_member_location) else { return BaseOffset::Fixed(0) };
        if let Some(offset) = constant(&value, None).filter(|_| !matches!(value, AttributeValue::Block(_))) {
            return BaseOffset::Fixed(offset as u64);
        }
        let Some(bytes) = expression(entry, gimli::DW_AT_data_member_location) else { return BaseOffset::Fixed(0) };
        let parsed = entry.attr(gimli::DW_AT_data_member_location).and_then(|attribute| attribute.exprloc_value());
        let mut operations = parsed.map(|expression| expression.operations(self.unit.encoding()));
        let mut next = || operations.as_mut().and_then(|operations| operations.next().ok().flatten());
        match (next(), next(), next()) {
            // DWARF 2's only form: DW_OP_plus_uconst.
            (Some(Operation::PlusConstant { value }), None, None) => BaseOffset::Fixed(value),
            (Some(Operation::UnsignedConstant { value }), Some(Operation::Plus), None) => BaseOffset::Fixed(value),
            _ => BaseOffset::Virtual(bytes),
        }
    }

    fn static_member(&self, entry: &Entry) -> Option<StaticMember> {
        let member_type = self.type_of(entry);
        let constant = entry.attr_value(gimli::DW_AT_const_value);
        Some(StaticMember {
            name: string(self.unit, entry, gimli::DW_AT_name)?,
            member_type,
            constant: constant.and_then(|value| constant_bytes(self.unit, &value, self.size_of(member_type))),
        })
    }

    fn template_argument(&self, entry: &Entry) -> TemplateArgument {
        let argument_type = self.type_of(entry);
        let value = entry.attr_value(gimli::DW_AT_const_value);
        TemplateArgument {
            name: string(self.unit, entry, gimli::DW_AT_name).unwrap_or_default(),
            argument_type,
            value: value.and_then(|value| constant_bytes(self.unit, &value, self.size_of(argument_type))),
        }
    }

    fn declared_at(&self, entry: &Entry) -> Option<DeclaredAt> {
        let line = unsigned(entry, gimli::DW_AT_decl_line)?;
        let file = match entry.attr_value(gimli::DW_AT_decl_file)? {
            AttributeValue::FileIndex(index) => index,
            other => other.udata_value()?,
        };
        Some(DeclaredAt { file: file_name(self.unit, file), line })
    }

    fn variant_part(&self, entry: &Entry) -> VariantPart {
        let wanted = entry.attr_value(gimli::DW_AT_discr).and_then(|value| self.info.resolve(self.index, &value));
        let (mut discriminant, mut variants) = (None, Vec::new());
        let mut signed_bits = None;
        self.children(entry, |child| match child.tag() {
            gimli::DW_TAG_member if self.info.die(self.index, child.offset()) == wanted => {
                let member = self.member(child);
                let signed = matches!(self.encoding_of(member.member_type), Some(BaseEncoding::Signed));
                signed_bits = self.size_of(member.member_type).filter(|_| signed).map(|size| size.saturating_mul(8));
                discriminant = Some(member);
            }
            _ => {}
        });
        let bits = discriminant.as_ref().and_then(|member| self.size_of(member.member_type)).unwrap_or(8) * 8;
        self.children(entry, |child| {
            if child.tag() == gimli::DW_TAG_variant {
                let values = discriminant_values(child, bits.min(128), signed_bits.is_some());
                self.children(child, |payload| {
                    if payload.tag() == gimli::DW_TAG_member {
                        variants.push(Variant {
                            values: values.clone(),
                            member: self.member(payload),
                            declared_at: self.declared_at(payload),
                        });
                    }
                });
            }
        });
        VariantPart { discriminant, variants }
    }
}

fn is_static(entry: &Entry) -> bool {
    let placed = entry.has_attr(gimli::DW_AT_data_member_location) || entry.has_attr(gimli::DW_AT_data_bit_offset);
    !placed && (flag(entry, gimli::DW_AT_external) || flag(entry, gimli::DW_AT_declaration))
}

/// `DW_AT_discr_value` or `DW_AT_discr_list` (DWARF 5, 5.7.10), as the unsigned numbers of `bits` bits that memory holds.
fn discriminant_values(entry: &Entry, bits: u64, signed: bool) -> Vec<(u128, u128)> {
    let mask = if bits >= 128 { u128::MAX } else { (1 << bits) - 1 };
    if let Some(value) = entry.attr_value(gimli::DW_AT_discr_value).and_then(|value| constant(&value, Some(bits))) {
        let value = value as u128 & mask;
        return vec![(value, value)];
    }
    let Some(AttributeValue::Block(mut list)) = entry.attr_value(gimli::DW_AT_discr_list) else { return Vec::new() };
    let mut values = Vec::new();
    let number = |list: &mut crate::DwarfReader| -> Option<u128> {
        let value = if signed { list.read_sleb128().ok()? as u128 } else { u128::from(list.read_uleb128().ok()?) };
        Some(value & mask)
    };
    while values.len() < DISCRIMINANT_LIST_LIMIT && !list.is_empty() {
        let Ok(kind) = list.read_u8() else { break };
        let Some(low) = number(&mut list) else { break };
        let high = if gimli::DwDsc(kind) == gimli::DW_DSC_range { number(&mut list) } else { Some(low) };
        let Some(high) = high else { break };
        values.push((low, high));
    }
    values
}
