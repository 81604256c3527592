//! A type with the table it lives in: what can be asked of it.

use std::fmt;
use std::sync::Arc;

use super::{
    ArrayBound, BaseEncoding, BitField, Language, Member, PointerFlavour, Qualifier, Record, TypeData, TypeId,
    TypeKind, TypeTable,
};

/// How many typedefs, qualifiers, array dimensions or enclosing records are followed before debug info counts as
/// cyclic. Real programs stay below 20.
const DEPTH_LIMIT: usize = 64;
/// How many records are searched for one member name; bounds what a hostile lattice of bases can cost.
const SEARCH_LIMIT: usize = 1024;
/// Bytes in a pointer of the only architecture so far.
const POINTER_SIZE: u64 = 8;

/// A type: cheap to clone, comparable within its table, and able to reach the types it is made of.
#[derive(Clone)]
pub struct Type {
    table: Arc<TypeTable>,
    id: TypeId,
    data: Arc<TypeData>,
}

/// A data member found by name, through bases and anonymous members.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Type.
    pub field_type: Type,
    /// Bytes from the start of the record that was asked.
    pub offset: u64,
    /// Its bits from the start of that record, if it is a bit field.
    pub bits: Option<BitField>,
}

impl Type {
    pub(super) fn new(table: Arc<TypeTable>, id: TypeId, data: Arc<TypeData>) -> Type {
        Type { table, id, data }
    }

    /// Its id in [`Type::table`].
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// The table that it lives in.
    pub fn table(&self) -> &Arc<TypeTable> {
        &self.table
    }

    /// All that the debug info says of it.
    pub fn data(&self) -> &TypeData {
        &self.data
    }

    /// What it is.
    pub fn kind(&self) -> &TypeKind {
        &self.data.kind
    }

    /// The language it is written in.
    pub fn language(&self) -> Language {
        self.data.language
    }

    /// Another type of the same table.
    pub fn sibling(&self, id: TypeId) -> Type {
        self.table.get(id)
    }

    /// Its name with scope (`std::basic_string<char>`); the spelling for types without a name (`char *`).
    pub fn qualified_name(&self) -> String {
        match &self.data.name {
            Some(name) if self.data.scope.is_empty() => name.clone(),
            Some(name) => format!("{}::{name}", self.data.scope),
            None => self.to_string(),
        }
    }

    /// The type without typedefs and qualifiers, and its definition if it was only declared.
    ///
    /// Typedefs that lead nowhere give a [`TypeKind::Damaged`].
    pub fn resolved(&self) -> Type {
        let mut current = self.clone();
        for _ in 0..DEPTH_LIMIT {
            match current.kind() {
                TypeKind::Typedef { target } | TypeKind::Qualified { target, .. } => current = self.sibling(*target),
                kind if kind.is_declaration() => return current.definition().unwrap_or(current),
                _ => return current,
            }
        }
        let data = super::table::damaged("typedefs that refer to each other");
        Type { table: self.table.clone(), id: current.id, data: Arc::new(data) }
    }

    /// The definition of a struct, class, union or enumeration that is only declared here, from anywhere in the image.
    pub fn definition(&self) -> Option<Type> {
        self.table.definition(self).map(|id| self.sibling(id))
    }

    /// Size in bytes; `None` if unknown: functions, declarations without definition, arrays without bound.
    pub fn size(&self) -> Option<u64> {
        self.size_within(DEPTH_LIMIT)
    }

    fn size_within(&self, depth: usize) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        match self.kind() {
            // Not of a declaration even if it states one: the definition decides.
            kind if kind.is_declaration() => self.definition()?.data.size,
            _ if self.data.size.is_some() => self.data.size,
            // The only unspecified type with values is `decltype(nullptr)`, which gcc gives no size.
            TypeKind::Pointer { .. } | TypeKind::Unspecified => Some(POINTER_SIZE),
            // The Itanium C++ ABI, 2.3: an offset, or a function's address and an adjustment.
            TypeKind::MemberPointer { target, .. } => {
                let function = matches!(self.sibling(*target).resolved().kind(), TypeKind::Function { .. });
                Some(if function { 2 * POINTER_SIZE } else { POINTER_SIZE })
            }
            TypeKind::Typedef { target } | TypeKind::Qualified { target, .. } => {
                self.sibling(*target).size_within(depth)
            }
            TypeKind::Array { element, bounds, .. } => {
                let element = self.sibling(*element).size_within(depth)?;
                bounds.iter().try_fold(element, |size, bound| match bound {
                    ArrayBound::Count(count) => size.checked_mul(*count),
                    ArrayBound::Unknown | ArrayBound::Dynamic(_) => None,
                })
            }
            TypeKind::Enumeration { underlying, .. } => self.sibling(*underlying).size_within(depth),
            _ => None,
        }
    }

    /// Alignment in bytes: as stated, else the natural one of its parts (SysV x86-64 psABI, 3.1.2).
    pub fn alignment(&self) -> Option<u64> {
        let mut budget = SEARCH_LIMIT;
        self.alignment_within(DEPTH_LIMIT, &mut budget)
    }

    fn alignment_within(&self, depth: usize, budget: &mut usize) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        *budget = budget.checked_sub(1)?;
        if self.data.alignment.is_some() {
            return self.data.alignment;
        }
        match self.kind() {
            TypeKind::Typedef { target } | TypeKind::Qualified { target, .. } => {
                self.sibling(*target).alignment_within(depth, budget)
            }
            TypeKind::Array { vector: true, .. } => self.size(),
            TypeKind::Array { element, .. } => self.sibling(*element).alignment_within(depth, budget),
            TypeKind::MemberPointer { .. } => Some(POINTER_SIZE),
            TypeKind::Record(record) if !record.declaration => {
                let bases = record.bases.iter().map(|base| base.base_type);
                let members = record.members.iter().map(|member| member.member_type);
                let parts: Vec<TypeId> = bases.chain(members).collect();
                let aligned =
                    parts.into_iter().filter_map(|part| self.sibling(part).alignment_within(depth, budget)).max();
                Some(aligned.unwrap_or(1))
            }
            TypeKind::Record(_) => self.definition()?.alignment_within(depth, budget),
            _ => self.size().filter(|size| size.is_power_of_two()),
        }
    }

    /// What a pointer or reference points to, looking through typedefs; `None` for anything else.
    pub fn target(&self) -> Option<Type> {
        match self.resolved().kind() {
            TypeKind::Pointer { target, .. } => Some(self.sibling(*target)),
            _ => None,
        }
    }

    /// The elements of an array and how many there are, looking through typedefs. An array of several dimensions has
    /// arrays as elements. The count is `None` where the bound is not stated or not computed.
    pub fn element(&self) -> Option<(Type, Option<u64>)> {
        let resolved = self.resolved();
        let TypeKind::Array { element, bounds, vector } = resolved.kind() else { return None };
        let (outer, inner) = bounds.split_first()?;
        let count = match outer {
            ArrayBound::Count(count) => Some(*count),
            ArrayBound::Unknown | ArrayBound::Dynamic(_) => None,
        };
        let element =
            if inner.is_empty() { self.sibling(*element) } else { self.table.array(*element, inner, *vector) };
        Some((element, count))
    }

    /// Fields and bases of a struct, class or union; `None` for other types, typedefs among them: ask
    /// [`Type::resolved`] first.
    pub fn record(&self) -> Option<&Record> {
        match self.kind() {
            TypeKind::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The data member `name`: own ones first, then those of anonymous members, then those of bases, as C++ hides.
    ///
    /// Members of virtual bases need an object to be found; see [`Value::member`](crate::Value::member).
    pub fn field(&self, name: &str) -> Option<Field> {
        let mut budget = SEARCH_LIMIT;
        self.field_within(name, 0, DEPTH_LIMIT, &mut budget)
    }

    fn field_within(&self, name: &str, offset: u64, depth: usize, budget: &mut usize) -> Option<Field> {
        let depth = depth.checked_sub(1)?;
        *budget = budget.checked_sub(1)?;
        let resolved = self.resolved();
        let record = resolved.record()?;
        if let Some(member) = record.members.iter().find(|member| member.name.as_deref() == Some(name)) {
            return Some(self.field_of(member, offset));
        }
        let nested = record.members.iter().filter(|member| member.name.is_none());
        let nested = nested.map(|member| (member.member_type, member.offset));
        let bases = record.bases.iter().filter_map(|base| Some((base.base_type, base.offset.fixed()?)));
        let parts: Vec<_> = nested.chain(bases).collect();
        parts
            .into_iter()
            .find_map(|(part, at)| self.sibling(part).field_within(name, offset.checked_add(at)?, depth, budget))
    }

    /// Whether no value of the type can exist: an enum without variants, and what contains one.
    pub(crate) fn is_uninhabited(&self) -> bool {
        let mut budget = SEARCH_LIMIT;
        self.is_uninhabited_within(DEPTH_LIMIT, &mut budget)
    }

    fn is_uninhabited_within(&self, depth: usize, budget: &mut usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return false };
        let resolved = self.resolved();
        let Some(record) = resolved.record() else { return false };
        if record.variants.as_ref().is_some_and(|part| part.variants.is_empty()) {
            return true;
        }
        record.members.iter().any(|member| match budget.checked_sub(1) {
            Some(left) => {
                *budget = left;
                resolved.sibling(member.member_type).is_uninhabited_within(depth, budget)
            }
            None => false,
        })
    }

    /// The first data member called `name` and of a type that `accept` takes, anywhere inside: in bases, in members of
    /// members, wherever a library hides it.
    pub(crate) fn field_inside(&self, name: &str, accept: &dyn Fn(&Type) -> bool) -> Option<Field> {
        let mut budget = SEARCH_LIMIT;
        self.field_inside_within(name, accept, 0, DEPTH_LIMIT, &mut budget)
    }

    fn field_inside_within(
        &self,
        name: &str,
        accept: &dyn Fn(&Type) -> bool,
        offset: u64,
        depth: usize,
        budget: &mut usize,
    ) -> Option<Field> {
        let depth = depth.checked_sub(1)?;
        *budget = budget.checked_sub(1)?;
        let resolved = self.resolved();
        let record = resolved.record()?;
        let own = record.members.iter().filter(|member| member.name.as_deref() == Some(name));
        let own = own.map(|member| resolved.field_of(member, offset)).find(|field| accept(&field.field_type));
        if own.is_some() {
            return own;
        }
        let bases = record.bases.iter().filter_map(|base| Some((base.base_type, base.offset.fixed()?)));
        let members = record.members.iter().map(|member| (member.member_type, member.offset));
        bases.chain(members).find_map(|(part, at)| {
            resolved.sibling(part).field_inside_within(name, accept, offset.checked_add(at)?, depth, budget)
        })
    }

    /// The data members that a record declares itself, in order; not those of its bases. Empty for other types.
    pub fn fields(&self) -> Vec<Field> {
        let resolved = self.resolved();
        let members = resolved.record().map_or(&[][..], |record| &record.members);
        members.iter().map(|member| resolved.field_of(member, 0)).collect()
    }

    /// A data member that the record declares itself.
    pub(crate) fn own_field(&self, name: &str) -> Option<Field> {
        let member = self.record()?.members.iter().find(|member| member.name.as_deref() == Some(name))?;
        Some(self.field_of(member, 0))
    }

    /// The member whose value chooses a Rust enum's variant.
    pub fn discriminant(&self) -> Option<Field> {
        let resolved = self.resolved();
        let discriminant = resolved.record()?.variants.as_ref()?.discriminant.as_ref()?;
        Some(resolved.field_of(discriminant, 0))
    }

    /// `member` of a record that starts `offset` bytes into the one that was asked.
    pub(crate) fn field_of(&self, member: &Member, offset: u64) -> Field {
        let bits = member
            .bits
            .map(|bits| BitField { offset: bits.offset.saturating_add(offset.saturating_mul(8)), size: bits.size });
        Field {
            name: member.name.clone().unwrap_or_default(),
            field_type: self.sibling(member.member_type),
            offset: offset.saturating_add(member.offset),
            bits,
        }
    }

    /// The argument of template parameter `name`, or of the one at `position` where the name is not kept.
    pub fn template_argument(&self, name: &str, position: usize) -> Option<Type> {
        let resolved = self.resolved();
        let arguments = &resolved.record()?.template;
        let found = arguments.iter().find(|argument| argument.name == name).or_else(|| arguments.get(position))?;
        Some(self.sibling(found.argument_type))
    }

    /// The encoding of a base type, or of the integers behind an enumeration.
    pub fn encoding(&self) -> Option<BaseEncoding> {
        let resolved = self.resolved();
        match resolved.kind() {
            TypeKind::Base(encoding) => Some(*encoding),
            TypeKind::Enumeration { underlying, enumerators, .. } => {
                let behind = self.sibling(*underlying).resolved();
                match behind.kind() {
                    TypeKind::Base(encoding) => Some(*encoding),
                    // C enumerations of DWARF 2 to 4 name no type: unsigned unless a value says otherwise.
                    _ if enumerators.iter().any(|entry| entry.value < 0) => Some(BaseEncoding::Signed),
                    _ => Some(BaseEncoding::Unsigned),
                }
            }
            _ => None,
        }
    }

    /// Whether it is a pointer, not a reference, looking through typedefs.
    pub fn is_pointer(&self) -> bool {
        matches!(self.resolved().kind(), TypeKind::Pointer { flavour: PointerFlavour::Pointer, .. })
    }

    /// Whether its values have parts: records and arrays, looking through typedefs.
    pub fn is_aggregate(&self) -> bool {
        matches!(self.resolved().kind(), TypeKind::Record(_) | TypeKind::Array { .. })
    }

    /// Whether a record declares a function of this name (instances of a template included), whether or not there is code
    /// of it; its bases are not asked.
    pub fn declares_function(&self, name: &str) -> bool {
        !self.declared_functions(name).is_empty()
    }

    /// The functions of this name that a record declares: how the linker knows each, where debug info says so, and its
    /// type, which has no place. Its bases are not asked.
    pub fn declared_functions(&self, name: &str) -> Vec<(Option<String>, Type)> {
        let resolved = self.resolved();
        if resolved.record().is_none() {
            return Vec::new();
        }
        let declared = resolved.table.declared_functions(resolved.id, name).into_iter();
        declared.map(|(linkage_name, function)| (linkage_name, resolved.sibling(function))).collect()
    }

    /// Bytes of a character of C or C++, of which texts up to a NUL are made: 1 for `char` and `char8_t`, 2 for `char16_t`,
    /// 4 for `char32_t` and `wchar_t`. `None` for all else, and for Rust's `char`, whose texts have a length.
    pub fn letter_size(&self) -> Option<u8> {
        let resolved = self.resolved();
        if resolved.language() == Language::Rust {
            return None;
        }
        let size = resolved.size().and_then(|size| u8::try_from(size).ok())?;
        match (resolved.kind(), size) {
            (TypeKind::Base(BaseEncoding::SignedChar | BaseEncoding::UnsignedChar), 1) => Some(size),
            (TypeKind::Base(BaseEncoding::Unicode), 1 | 2 | 4) => Some(size),
            // To C they are typedefs of integers ([C23 7.21, 7.28]); the size of `wchar_t` is the system's choice.
            (TypeKind::Base(_), 1 | 2 | 4) => {
                self.is_called(&["wchar_t", "char8_t", "char16_t", "char32_t"]).then_some(size)
            }
            _ => None,
        }
    }

    /// Whether it, or what it is a typedef of, has one of these names.
    fn is_called(&self, names: &[&str]) -> bool {
        let mut current = self.clone();
        for _ in 0..DEPTH_LIMIT {
            if current.data().name.as_deref().is_some_and(|name| names.contains(&name)) {
                return true;
            }
            current = match current.kind() {
                TypeKind::Qualified { target, .. } | TypeKind::Typedef { target } => self.sibling(*target),
                _ => return false,
            };
        }
        false
    }

    /// Whether it is a class of the C++ library without data, which others derive from to say something to the compiler.
    pub fn is_library_tag(&self) -> bool {
        self.qualified_name().starts_with("std::") && self.has_no_data(DEPTH_LIMIT)
    }

    fn has_no_data(&self, depth: usize) -> bool {
        let resolved = self.resolved();
        let (Some(depth), Some(record)) = (depth.checked_sub(1), resolved.record()) else { return false };
        let is_known = record.members.is_empty() && record.variants.is_none() && !record.declaration;
        is_known && record.bases.iter().all(|base| self.sibling(base.base_type).has_no_data(depth))
    }

    /// Whether a qualifier is among those it carries at its outermost level, through typedefs.
    pub fn has_qualifier(&self, wanted: Qualifier) -> bool {
        let mut current = self.clone();
        for _ in 0..DEPTH_LIMIT {
            current = match current.kind() {
                TypeKind::Qualified { qualifier, .. } if *qualifier == wanted => return true,
                TypeKind::Qualified { target, .. } | TypeKind::Typedef { target } => self.sibling(*target),
                _ => return false,
            };
        }
        false
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Type) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.table, &other.table)
    }
}

impl Eq for Type {}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Type({self})")
    }
}

/// The type as its language spells it: `char *[4]`, `int (*)(int)`, `std::vector<int, std::allocator<int> >`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::print::spell(self, ""))
    }
}

impl TypeKind {
    /// Whether it is a declaration whose definition is elsewhere.
    pub fn is_declaration(&self) -> bool {
        match self {
            TypeKind::Record(record) => record.declaration,
            TypeKind::Enumeration { declaration, .. } => *declaration,
            _ => false,
        }
    }
}

impl super::BaseOffset {
    /// The offset of a base that is not virtual.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            super::BaseOffset::Fixed(offset) => Some(*offset),
            super::BaseOffset::Virtual(_) => None,
        }
    }
}
