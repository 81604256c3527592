//! Abbreviations compiled for scanning: which bytes of a DIE to skip and which to take.
//!
//! An index looks at every DIE of a program but at few attributes. Runs of attributes of fixed size become one
//! addition, and DIEs of no interest cost little more than reading their code. Source: DWARF 5, 7.5.
#![expect(non_upper_case_globals, reason = "the constants have DWARF's own names")]

use gimli::constants::*;
use gimli::{Abbreviations, DwForm, DwTag, Encoding, Format};

/// Most abbreviation codes that are looked up by number; compilers use some hundred.
const MAX_DENSE_CODE: u64 = 1 << 16;

/// What the scanner does with a DIE of some tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Nothing below it is of interest.
    Skip,
    /// A root of a unit.
    Unit,
    /// Not of interest itself, but what is below may be.
    Transparent,
    /// A namespace or module.
    Namespace,
    /// A class, structure, union or enumeration.
    Type,
    /// A type without members: base type, typedef.
    LeafType,
    /// A constant of an enumeration.
    Enumerator,
    /// A function.
    Function,
    /// A variable, parameter excluded.
    Variable,
    /// A static member of a class as DWARF 4 declares it.
    StaticMember,
    /// A call that was inlined, of a function in another unit.
    Inlined,
}

/// An attribute that the scanner takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    Sibling,
    Name,
    LowPc,
    HighPc,
    Ranges,
    /// `DW_AT_specification`, `DW_AT_abstract_origin`: where the name is.
    Origin,
    Declaration,
    Inline,
    ByteSize,
    Location,
    EnumClass,
    /// `DW_AT_signature`: the type is in a type unit.
    Signature,
}

/// How to pass over bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    Bytes(u32),
    Leb,
    /// A block with a length of so many bytes.
    Block(u8),
    BlockLeb,
    String,
    /// `DW_FORM_indirect`: the form comes first.
    Indirect,
}

/// One step through a DIE's attributes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Pass(Pass),
    Take(Slot, DwForm, i64),
}

/// One abbreviation, compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) class: Class,
    pub(super) tag: DwTag,
    pub(super) has_children: bool,
    pub(super) has_sibling: bool,
    /// Passes over all attributes.
    pub(super) skip: Vec<Pass>,
    /// Takes what `class` wants and passes over the rest.
    pub(super) steps: Vec<Step>,
}

/// Where a table lies, and what sizes its forms have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AbbrevKey {
    /// Where the piece of split DWARF begins that has it.
    pub(super) piece: Option<u64>,
    /// Whether in the shared file.
    pub(super) is_alt: bool,
    pub(super) offset: usize,
    pub(super) encoding: Encoding,
}

/// The abbreviations of one unit, compiled as they are met.
#[derive(Debug)]
pub(super) struct AbbrevTable {
    /// Which table it is; two units that agree share one.
    pub(super) key: AbbrevKey,
    /// Whether calls are inlined from other units, as link-time optimisation does. If not, what is below an inlined
    /// call is of no interest.
    inlines_others: bool,
    codes: Vec<Option<Box<Compiled>>>,
}

impl AbbrevTable {
    pub(super) fn new(key: AbbrevKey, from: &Abbreviations) -> AbbrevTable {
        let inlines_others = (1..=MAX_DENSE_CODE).map_while(|code| from.get(code)).any(inlines_other_unit);
        AbbrevTable { key, inlines_others, codes: Vec::new() }
    }

    /// The abbreviation `code`; `None` if there is none, or its code is absurd.
    pub(super) fn get(&mut self, code: u64, from: &Abbreviations) -> Option<&Compiled> {
        if code > MAX_DENSE_CODE {
            return None;
        }
        let at = code as usize;
        if self.codes.len() <= at {
            self.codes.resize_with(at + 1, || None);
        }
        let slot = self.codes.get_mut(at)?;
        if slot.is_none() {
            *slot = Some(Box::new(compile(from.get(code)?, self.key.encoding, self.inlines_others)));
        }
        slot.as_deref()
    }
}

/// Whether DIEs of this kind are inlined calls of functions in other units.
fn inlines_other_unit(abbreviation: &gimli::Abbreviation) -> bool {
    let elsewhere = |form| matches!(form, DW_FORM_ref_addr | DW_FORM_GNU_ref_alt | DW_FORM_ref_sup4 | DW_FORM_ref_sup8);
    let mut attributes = abbreviation.attributes().iter();
    abbreviation.tag() == DW_TAG_inlined_subroutine
        && attributes.any(|attribute| attribute.name() == DW_AT_abstract_origin && elsewhere(attribute.form()))
}

fn compile(abbreviation: &gimli::Abbreviation, encoding: Encoding, inlines_others: bool) -> Compiled {
    let tag = abbreviation.tag();
    let attributes = abbreviation.attributes();
    let has = |name| attributes.iter().any(|attribute| attribute.name() == name);
    let mut class = class(tag);
    if tag == DW_TAG_member && !has(DW_AT_external) && !has(DW_AT_declaration) {
        class = Class::Skip;
    }
    if inlines_other_unit(abbreviation) {
        class = Class::Inlined;
    } else if tag == DW_TAG_inlined_subroutine && inlines_others {
        class = Class::Transparent;
    }
    let mut compiled = Compiled {
        class,
        tag,
        has_children: abbreviation.has_children(),
        has_sibling: false,
        skip: Vec::new(),
        steps: Vec::new(),
    };
    for attribute in attributes {
        let form = attribute.form();
        let pass = pass(form, encoding);
        push_pass(&mut compiled.skip, pass);
        match slot(attribute.name()).filter(|&slot| wanted(class, slot)) {
            Some(slot) => {
                compiled.has_sibling |= slot == Slot::Sibling;
                let constant = attribute.implicit_const_value().unwrap_or(0);
                compiled.steps.push(Step::Take(slot, form, constant));
            }
            None => match compiled.steps.last_mut() {
                Some(Step::Pass(Pass::Bytes(count))) if matches!(pass, Pass::Bytes(_)) => {
                    if let Pass::Bytes(more) = pass {
                        *count += more;
                    }
                }
                _ => compiled.steps.push(Step::Pass(pass)),
            },
        }
    }
    compiled
}

fn push_pass(list: &mut Vec<Pass>, pass: Pass) {
    match (list.last_mut(), pass) {
        (Some(Pass::Bytes(count)), Pass::Bytes(more)) => *count += more,
        _ => list.push(pass),
    }
}

fn class(tag: DwTag) -> Class {
    match tag {
        DW_TAG_compile_unit | DW_TAG_partial_unit | DW_TAG_type_unit | DW_TAG_skeleton_unit => Class::Unit,
        DW_TAG_lexical_block | DW_TAG_try_block | DW_TAG_catch_block | DW_TAG_common_block => Class::Transparent,
        DW_TAG_namespace | DW_TAG_module => Class::Namespace,
        DW_TAG_class_type
        | DW_TAG_structure_type
        | DW_TAG_union_type
        | DW_TAG_enumeration_type
        | DW_TAG_interface_type => Class::Type,
        DW_TAG_base_type | DW_TAG_typedef | DW_TAG_unspecified_type | DW_TAG_template_alias => Class::LeafType,
        DW_TAG_enumerator => Class::Enumerator,
        DW_TAG_subprogram => Class::Function,
        DW_TAG_variable | DW_TAG_constant => Class::Variable,
        DW_TAG_member => Class::StaticMember,
        _ => Class::Skip,
    }
}

fn slot(name: gimli::DwAt) -> Option<Slot> {
    Some(match name {
        DW_AT_sibling => Slot::Sibling,
        DW_AT_name => Slot::Name,
        DW_AT_low_pc => Slot::LowPc,
        DW_AT_high_pc => Slot::HighPc,
        DW_AT_ranges => Slot::Ranges,
        DW_AT_specification | DW_AT_abstract_origin => Slot::Origin,
        DW_AT_declaration => Slot::Declaration,
        DW_AT_inline => Slot::Inline,
        DW_AT_byte_size => Slot::ByteSize,
        DW_AT_location => Slot::Location,
        DW_AT_enum_class => Slot::EnumClass,
        DW_AT_signature => Slot::Signature,
        _ => return None,
    })
}

fn wanted(class: Class, slot: Slot) -> bool {
    match class {
        Class::Skip => slot == Slot::Sibling,
        Class::Unit | Class::Transparent => false,
        Class::Namespace => slot == Slot::Name,
        Class::Type => {
            matches!(
                slot,
                Slot::Name
                    | Slot::Declaration
                    | Slot::ByteSize
                    | Slot::EnumClass
                    | Slot::Sibling
                    | Slot::Origin
                    | Slot::Signature
            )
        }
        Class::LeafType => matches!(slot, Slot::Name | Slot::Declaration | Slot::ByteSize | Slot::Sibling),
        Class::Enumerator => slot == Slot::Name,
        Class::Function => !matches!(slot, Slot::ByteSize | Slot::Location | Slot::EnumClass | Slot::Signature),
        Class::Variable => {
            matches!(slot, Slot::Name | Slot::Origin | Slot::Declaration | Slot::Location | Slot::Sibling)
        }
        Class::StaticMember => slot == Slot::Name,
        Class::Inlined => slot == Slot::Origin,
    }
}

/// How to pass over a value of `form`; forms not known end the unit, as [`Pass::Indirect`] finds out.
pub(super) fn pass(form: DwForm, encoding: Encoding) -> Pass {
    let offset_size = match encoding.format {
        Format::Dwarf32 => 4,
        Format::Dwarf64 => 8,
    };
    match form {
        DW_FORM_addr => Pass::Bytes(u32::from(encoding.address_size)),
        DW_FORM_flag_present | DW_FORM_implicit_const => Pass::Bytes(0),
        DW_FORM_data1 | DW_FORM_ref1 | DW_FORM_flag | DW_FORM_strx1 | DW_FORM_addrx1 => Pass::Bytes(1),
        DW_FORM_data2 | DW_FORM_ref2 | DW_FORM_strx2 | DW_FORM_addrx2 => Pass::Bytes(2),
        DW_FORM_strx3 | DW_FORM_addrx3 => Pass::Bytes(3),
        DW_FORM_data4 | DW_FORM_ref4 | DW_FORM_strx4 | DW_FORM_addrx4 | DW_FORM_ref_sup4 => Pass::Bytes(4),
        DW_FORM_data8 | DW_FORM_ref8 | DW_FORM_ref_sig8 | DW_FORM_ref_sup8 => Pass::Bytes(8),
        DW_FORM_data16 => Pass::Bytes(16),
        DW_FORM_strp | DW_FORM_sec_offset | DW_FORM_line_strp | DW_FORM_strp_sup | DW_FORM_GNU_strp_alt
        | DW_FORM_GNU_ref_alt => Pass::Bytes(offset_size),
        // DWARF 2 gave it the size of an address; since DWARF 3 it has that of an offset.
        DW_FORM_ref_addr if encoding.version <= 2 => Pass::Bytes(u32::from(encoding.address_size)),
        DW_FORM_ref_addr => Pass::Bytes(offset_size),
        DW_FORM_sdata
        | DW_FORM_udata
        | DW_FORM_ref_udata
        | DW_FORM_strx
        | DW_FORM_addrx
        | DW_FORM_loclistx
        | DW_FORM_rnglistx
        | DW_FORM_GNU_addr_index
        | DW_FORM_GNU_str_index => Pass::Leb,
        DW_FORM_block1 => Pass::Block(1),
        DW_FORM_block2 => Pass::Block(2),
        DW_FORM_block4 => Pass::Block(4),
        DW_FORM_block | DW_FORM_exprloc => Pass::BlockLeb,
        DW_FORM_string => Pass::String,
        _ => Pass::Indirect,
    }
}
