//! Types from DWARF 2 to 5.

pub(crate) mod attributes;
mod names;
mod record;
mod scopes;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use gimli::{AttributeValue, UnitOffset, UnitRef};

use super::table::damaged;
use super::{
    ArrayBound, BaseEncoding, DynamicBound, DynamicSource, Enumerator, Language, PointerFlavour, Qualifier, TypeData,
    TypeId, TypeKind, TypeSource,
};
use crate::{DebugInfo, DieRef, DieSection, DwarfReader, DwarfUnit, UnitIndex};
use attributes::{Entry, constant, expression, flag, string, unsigned};
use names::ScannedNames;
pub use names::TypeNames;
use scopes::{Scopes, surroundings};

/// Bits of a [`TypeId`] that hold the offset of a DIE; the section is above them.
const SECTION_SHIFT: u32 = 60;
/// Most children of one DIE that are read: enumerators, members, parameters.
const CHILD_LIMIT: usize = 1 << 16;

/// The DWARF of one image as a source of types.
pub struct DwarfTypes {
    info: Arc<DebugInfo>,
    names: Box<dyn TypeNames>,
    units: RwLock<HashMap<UnitIndex, Arc<UnitFacts>>>,
}

/// What is worth knowing of a unit once.
struct UnitFacts {
    language: Option<Language>,
    scopes: OnceLock<Arc<Scopes>>,
}

impl DwarfTypes {
    /// Types of `info`; their names are searched for in `names`.
    pub fn new(info: Arc<DebugInfo>, names: Box<dyn TypeNames>) -> DwarfTypes {
        DwarfTypes { info, names, units: RwLock::default() }
    }

    /// Types of `info` without an index: the first search by name reads all units.
    pub fn without_index(info: Arc<DebugInfo>) -> DwarfTypes {
        let names = Box::new(ScannedNames::new(info.clone()));
        DwarfTypes::new(info, names)
    }

    fn scopes(&self, index: UnitIndex) -> Option<Arc<Scopes>> {
        let unit = self.info.unit(index).ok()?;
        let facts = self.facts(index, self.info.unit_ref(index, &unit));
        Some(facts.scopes.get_or_init(|| Arc::new(Scopes::read(&unit))).clone())
    }

    fn facts(&self, index: UnitIndex, unit: UnitRef<'_, DwarfReader>) -> Arc<UnitFacts> {
        if let Some(facts) = self.units.read().unwrap_or_else(PoisonError::into_inner).get(&index) {
            return facts.clone();
        }
        let facts = Arc::new(UnitFacts { language: unit_language(unit), scopes: OnceLock::new() });
        self.units.write().unwrap_or_else(PoisonError::into_inner).entry(index).or_insert(facts).clone()
    }
}

impl TypeSource for DwarfTypes {
    fn load(&self, id: TypeId) -> TypeData {
        let Some((index, offset)) = die_of(id).and_then(|die| self.info.locate(die)) else {
            return damaged("reference to no entry");
        };
        let Ok(unit) = self.info.unit(index) else { return damaged("unit cannot be read") };
        let Ok(entry) = unit.entry(offset) else { return damaged("entry cannot be read") };
        let unit_ref = self.info.unit_ref(index, &unit);
        let facts = self.facts(index, unit_ref);
        // Units that dwz made state no language; what it moved there came from units like the first.
        let language = facts.language.or_else(|| first_language(&self.info)).unwrap_or_default();
        let reader = EntryReader { info: &self.info, index, unit: unit_ref, language };
        let mut data = reader.read(id, &entry);
        if data.name.is_some() && language != Language::C && has_scope(entry.tag()) {
            // A definition outside its class is named, and scoped, by the declaration inside.
            let named_at = reader.specification(&entry).unwrap_or(offset);
            let known = self.info.die(index, named_at).and_then(|die| self.names.scope_of(die));
            let read = || surroundings(&self.info, index, named_at, &mut |index| self.scopes(index));
            data.scope = known.unwrap_or_else(read);
        }
        data
    }

    fn declared_functions(&self, record: TypeId, name: &str) -> Vec<(Option<String>, TypeId)> {
        let mut found = Vec::new();
        let Some((index, offset)) = die_of(record).and_then(|die| self.info.locate(die)) else { return found };
        let Ok(unit) = self.info.unit(index) else { return found };
        let Ok(entry) = unit.entry(offset) else { return found };
        let unit_ref = self.info.unit_ref(index, &unit);
        let reader = EntryReader { info: &self.info, index, unit: unit_ref, language: Language::default() };
        reader.children(&entry, |child| {
            let called = attributes::string(unit_ref, child, gimli::DW_AT_name);
            let is_it =
                |called: &str| called.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('<'));
            if child.tag() == gimli::DW_TAG_subprogram
                && called.as_deref().is_some_and(is_it)
                && let Some(die) = self.info.die(index, child.offset())
            {
                found.push((attributes::string(unit_ref, child, gimli::DW_AT_linkage_name), type_id(die)));
            }
        });
        found
    }

    fn named(&self, qualified: &str) -> Vec<TypeId> {
        let also = USUAL_SPELLINGS.iter().find(|(gcc, usual)| [*gcc, *usual].contains(&qualified));
        let (qualified, other) = also.map_or((qualified, None), |(gcc, usual)| (*usual, Some(*gcc)));
        let named = self.names.types_named(qualified).into_iter();
        let named = named.chain(other.map(|other| self.names.types_named(other)).unwrap_or_default());
        let mut found: Vec<TypeId> = named.map(type_id).collect();
        found.sort_unstable();
        found.dedup();
        found.retain(|id| {
            let data = self.load(*id);
            let scoped = data.name.as_ref().map(|name| match data.scope.as_str() {
                "" => name.clone(),
                scope => format!("{scope}::{name}"),
            });
            scoped.as_deref() == Some(qualified) && !data.kind.is_declaration()
        });
        found
    }
}

/// The id of the type that a DIE describes.
pub(crate) fn type_id(die: DieRef) -> TypeId {
    let section = match die.section {
        DieSection::Info => 0,
        DieSection::Types => 1,
        DieSection::Alt => 2,
        DieSection::Split => 3,
    };
    TypeId(die.offset & ((1 << SECTION_SHIFT) - 1) | section << SECTION_SHIFT)
}

/// The DIE of a type that came from debug info.
pub(crate) fn die_of(id: TypeId) -> Option<DieRef> {
    let section = match id.0 >> SECTION_SHIFT {
        0 => DieSection::Info,
        1 => DieSection::Types,
        2 => DieSection::Alt,
        3 => DieSection::Split,
        _ => return None,
    };
    Some(DieRef { section, offset: id.0 & ((1 << SECTION_SHIFT) - 1) })
}

/// The language of a unit; `None` if it states none.
pub(crate) fn unit_language(unit: UnitRef<'_, DwarfReader>) -> Option<Language> {
    let root = unit.unit.entry(unit.unit.header.root_offset()).ok()?;
    let AttributeValue::Language(language) = root.attr_value(gimli::DW_AT_language)? else { return None };
    Some(match language {
        gimli::DW_LANG_C_plus_plus
        | gimli::DW_LANG_C_plus_plus_03
        | gimli::DW_LANG_C_plus_plus_11
        | gimli::DW_LANG_C_plus_plus_14
        | gimli::DW_LANG_C_plus_plus_17
        | gimli::DW_LANG_C_plus_plus_20 => Language::Cpp,
        gimli::DW_LANG_Rust => Language::Rust,
        _ => Language::C,
    })
}

/// gcc's names of C's integer types, and what people (and clang) call them.
const USUAL_SPELLINGS: [(&str, &str); 7] = [
    ("short int", "short"),
    ("short unsigned int", "unsigned short"),
    ("long int", "long"),
    ("long unsigned int", "unsigned long"),
    ("long long int", "long long"),
    ("long long unsigned int", "unsigned long long"),
    ("__int128 unsigned", "unsigned __int128"),
];

fn usual_spelling(name: String) -> String {
    USUAL_SPELLINGS.iter().find(|(gcc, _)| *gcc == name).map_or(name, |(_, usual)| (*usual).to_owned())
}

fn first_language(info: &DebugInfo) -> Option<Language> {
    info.units().take(64).find_map(|index| {
        let unit = info.unit(index).ok()?;
        unit_language(info.unit_ref(index, &unit))
    })
}

fn has_scope(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_interface_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_typedef
            | gimli::DW_TAG_template_alias
    )
}

/// Reads the DIEs of one unit.
#[derive(Clone, Copy)]
struct EntryReader<'a> {
    info: &'a DebugInfo,
    index: UnitIndex,
    unit: UnitRef<'a, DwarfReader>,
    language: Language,
}

impl EntryReader<'_> {
    fn read(&self, id: TypeId, entry: &Entry) -> TypeData {
        // A declaration that stands for a type unit: the unit has the type (DWARF 5, 5.7.1).
        if let Some(signature @ AttributeValue::DebugTypesRef(_)) = entry.attr_value(gimli::DW_AT_signature) {
            let target = self.info.resolve(self.index, &signature).map(type_id).filter(|target| *target != id);
            if let Some(target) = target {
                return TypeData { language: self.language, kind: TypeKind::Typedef { target }, ..TypeData::default() };
            }
        }
        let kind = self.kind(id, entry);
        let specified = self.specification(entry).and_then(|offset| self.unit.unit.entry(offset).ok());
        let name = string(self.unit, entry, gimli::DW_AT_name)
            .or_else(|| string(self.unit, specified.as_ref()?, gimli::DW_AT_name));
        let name = match kind {
            TypeKind::Base(_) if self.language != Language::Rust => name.map(usual_spelling),
            _ => name,
        };
        let bit_size = || unsigned(entry, gimli::DW_AT_bit_size).map(|bits| bits.div_ceil(8));
        TypeData {
            name,
            scope: String::new(),
            size: unsigned(entry, gimli::DW_AT_byte_size).or_else(bit_size),
            alignment: unsigned(entry, gimli::DW_AT_alignment).filter(|alignment| alignment.is_power_of_two()),
            language: self.language,
            kind,
        }
    }

    fn kind(&self, id: TypeId, entry: &Entry) -> TypeKind {
        let target = || self.type_of(entry);
        let pointer = |flavour| TypeKind::Pointer { flavour, target: target() };
        let qualified = |qualifier| TypeKind::Qualified { qualifier, target: target() };
        match entry.tag() {
            gimli::DW_TAG_base_type => TypeKind::Base(base_encoding(entry)),
            gimli::DW_TAG_pointer_type => pointer(PointerFlavour::Pointer),
            gimli::DW_TAG_reference_type => pointer(PointerFlavour::Reference),
            gimli::DW_TAG_rvalue_reference_type => pointer(PointerFlavour::RvalueReference),
            gimli::DW_TAG_ptr_to_member_type => {
                TypeKind::MemberPointer { class: self.reference(entry, gimli::DW_AT_containing_type), target: target() }
            }
            gimli::DW_TAG_array_type => self.array(id, entry),
            gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_interface_type => TypeKind::Record(self.record(entry)),
            gimli::DW_TAG_enumeration_type => self.enumeration(entry),
            gimli::DW_TAG_typedef | gimli::DW_TAG_template_alias => TypeKind::Typedef { target: target() },
            // A subrange as a type of its own is its base type with a narrower meaning.
            gimli::DW_TAG_subrange_type => TypeKind::Typedef { target: target() },
            gimli::DW_TAG_const_type => qualified(Qualifier::Const),
            gimli::DW_TAG_volatile_type => qualified(Qualifier::Volatile),
            gimli::DW_TAG_restrict_type => qualified(Qualifier::Restrict),
            gimli::DW_TAG_atomic_type => qualified(Qualifier::Atomic),
            gimli::DW_TAG_subroutine_type | gimli::DW_TAG_subprogram => self.function(entry),
            gimli::DW_TAG_unspecified_type => TypeKind::Unspecified,
            other => TypeKind::Damaged { problem: format!("{other} is no type") },
        }
    }

    /// `DW_AT_type`; absent means `void`.
    fn type_of(&self, entry: &Entry) -> TypeId {
        self.reference(entry, gimli::DW_AT_type)
    }

    fn reference(&self, entry: &Entry, name: gimli::DwAt) -> TypeId {
        match entry.attr_value(name) {
            None => TypeId::VOID,
            // An unresolvable reference keeps an id that loads as damaged, so that it shows.
            Some(value) => self.info.resolve(self.index, &value).map_or(TypeId(u64::MAX >> 4), type_id),
        }
    }

    /// Where the declaration is that `entry` completes, if it is in the same unit.
    fn specification(&self, entry: &Entry) -> Option<UnitOffset> {
        match entry.attr_value(gimli::DW_AT_specification)? {
            AttributeValue::UnitRef(offset) => Some(offset),
            _ => None,
        }
    }

    /// Calls `visit` with each child of `parent`, not with grandchildren; stops at damage.
    fn children(&self, parent: &Entry, mut visit: impl FnMut(&Entry)) {
        if !parent.has_children() {
            return;
        }
        let unit: &DwarfUnit = self.unit.unit;
        let Ok(mut tree) = unit.entries_tree(Some(parent.offset())) else { return };
        let Ok(root) = tree.root() else { return };
        let mut children = root.children();
        for _ in 0..CHILD_LIMIT {
            match children.next() {
                Ok(Some(child)) => visit(child.entry()),
                _ => break,
            }
        }
    }

    fn array(&self, id: TypeId, entry: &Entry) -> TypeKind {
        let mut bounds = Vec::new();
        self.children(entry, |child| match child.tag() {
            gimli::DW_TAG_subrange_type => bounds.push(self.bound(id, child)),
            gimli::DW_TAG_enumeration_type => {
                let mut count = 0;
                self.children(child, |_| count += 1);
                bounds.push(ArrayBound::Count(count));
            }
            _ => {}
        });
        if bounds.is_empty() {
            bounds.push(ArrayBound::Unknown);
        }
        let vector = flag(entry, gimli::DW_AT_GNU_vector);
        TypeKind::Array { element: self.type_of(entry), bounds, vector }
    }

    /// One dimension: a count, or the last index counted from 0 (the languages here have no other lower bound).
    fn bound(&self, id: TypeId, entry: &Entry) -> ArrayBound {
        let dynamic = |name, upper_bound| {
            let source = match entry.attr_value(name)? {
                AttributeValue::Exprloc(_) | AttributeValue::Block(_) => {
                    DynamicSource::Expression(expression(entry, name)?)
                }
                value => DynamicSource::Variable(type_id(self.info.resolve(self.index, &value)?)),
            };
            Some(ArrayBound::Dynamic(DynamicBound { upper_bound, source, owner: id }))
        };
        if let Some(count) = unsigned(entry, gimli::DW_AT_count) {
            // clang writes -1 for flexible array members.
            return if count == u64::MAX { ArrayBound::Unknown } else { ArrayBound::Count(count) };
        }
        if let Some(last) = entry.attr_value(gimli::DW_AT_upper_bound).and_then(|value| constant(&value, Some(64))) {
            // gcc writes -1 for arrays of no elements.
            return u64::try_from(last + 1).map_or(ArrayBound::Unknown, ArrayBound::Count);
        }
        dynamic(gimli::DW_AT_count, false)
            .or_else(|| dynamic(gimli::DW_AT_upper_bound, true))
            .unwrap_or(ArrayBound::Unknown)
    }

    fn enumeration(&self, entry: &Entry) -> TypeKind {
        let underlying = self.type_of(entry);
        let signed = matches!(self.encoding_of(underlying), Some(BaseEncoding::Signed | BaseEncoding::SignedChar));
        let signed_bits = unsigned(entry, gimli::DW_AT_byte_size).filter(|_| signed).map(|size| size.saturating_mul(8));
        let mut enumerators = Vec::new();
        self.children(entry, |child| {
            let value = child.attr_value(gimli::DW_AT_const_value).and_then(|value| constant(&value, signed_bits));
            let name = string(self.unit, child, gimli::DW_AT_name);
            if let (gimli::DW_TAG_enumerator, Some(name), Some(value)) = (child.tag(), name, value) {
                enumerators.push(Enumerator { name, value });
            }
        });
        TypeKind::Enumeration {
            underlying,
            enumerators,
            scoped: flag(entry, gimli::DW_AT_enum_class) || self.language == Language::Rust,
            declaration: flag(entry, gimli::DW_AT_declaration),
        }
    }

    fn function(&self, entry: &Entry) -> TypeKind {
        let (mut parameters, mut variadic) = (Vec::new(), false);
        self.children(entry, |child| match child.tag() {
            gimli::DW_TAG_formal_parameter => parameters.push(self.type_of(child)),
            gimli::DW_TAG_unspecified_parameters => variadic = true,
            _ => {}
        });
        let prototyped = flag(entry, gimli::DW_AT_prototyped) || self.language != Language::C;
        TypeKind::Function { returns: self.type_of(entry), parameters, variadic, prototyped }
    }

    /// The encoding of a base type behind typedefs, read without the table: it is needed while an entry is loaded.
    fn encoding_of(&self, id: TypeId) -> Option<BaseEncoding> {
        let mut id = id;
        for _ in 0..8 {
            let (index, offset) = self.info.locate(die_of(id)?)?;
            let unit = self.info.unit(index).ok()?;
            let entry = unit.entry(offset).ok()?;
            if entry.tag() == gimli::DW_TAG_base_type {
                return Some(base_encoding(&entry));
            }
            id = type_id(self.info.resolve(index, &entry.attr_value(gimli::DW_AT_type)?)?);
        }
        None
    }

    /// The stated size of a type behind typedefs and qualifiers, as [`EntryReader::encoding_of`].
    /// The tag of a type's entry, and the type that it is made of.
    fn tag_of(&self, id: TypeId) -> Option<(gimli::DwTag, TypeId)> {
        let (index, offset) = self.info.locate(die_of(id)?)?;
        let entry = self.info.unit(index).ok()?.entry(offset).ok()?;
        let made_of = entry.attr_value(gimli::DW_AT_type).and_then(|value| self.info.resolve(index, &value));
        Some((entry.tag(), made_of.map_or(TypeId::VOID, type_id)))
    }

    fn size_of(&self, id: TypeId) -> Option<u64> {
        let mut id = id;
        for _ in 0..8 {
            let (index, offset) = self.info.locate(die_of(id)?)?;
            let unit = self.info.unit(index).ok()?;
            let entry = unit.entry(offset).ok()?;
            if let Some(size) = unsigned(&entry, gimli::DW_AT_byte_size) {
                return Some(size);
            }
            id = type_id(self.info.resolve(index, &entry.attr_value(gimli::DW_AT_type)?)?);
        }
        None
    }
}

/// DWARF 5, 7.8, table 7.11; `DW_ATE_GNU_*` as gcc's `dwarf2.def`.
fn base_encoding(entry: &Entry) -> BaseEncoding {
    let Some(AttributeValue::Encoding(encoding)) = entry.attr_value(gimli::DW_AT_encoding) else {
        return BaseEncoding::Unsigned;
    };
    match encoding {
        gimli::DW_ATE_boolean => BaseEncoding::Bool,
        gimli::DW_ATE_signed => BaseEncoding::Signed,
        gimli::DW_ATE_unsigned | gimli::DW_ATE_address => BaseEncoding::Unsigned,
        gimli::DW_ATE_signed_char => BaseEncoding::SignedChar,
        gimli::DW_ATE_unsigned_char => BaseEncoding::UnsignedChar,
        gimli::DW_ATE_UTF | gimli::DW_ATE_ASCII | gimli::DW_ATE_UCS => BaseEncoding::Unicode,
        gimli::DW_ATE_float => BaseEncoding::Float,
        gimli::DW_ATE_complex_float => BaseEncoding::ComplexFloat,
        other => BaseEncoding::Other(other.0),
    }
}
