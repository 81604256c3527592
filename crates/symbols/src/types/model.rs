//! The data of one type, with references to other types by id.

use std::fmt;

/// A type within one [`TypeTable`](crate::TypeTable); means nothing in another.
///
/// Ids come from the debug info (an entry's place) or from the table itself (types made for casts and slices).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u64);

impl TypeId {
    /// The type of nothing: C's `void`, what an absent `DW_AT_type` means (DWARF 5, 5.2).
    pub const VOID: TypeId = TypeId(0);

    /// The id that a [`TypeSource`](crate::TypeSource) gives its type of this number, from 1 on; the upper half of all
    /// numbers is the table's own.
    pub const fn new(number: u64) -> TypeId {
        TypeId(number)
    }
}

impl fmt::Debug for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeId({:#x})", self.0)
    }
}

/// The language whose spelling a type is printed in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum Language {
    /// C, and whatever is neither of the others.
    #[default]
    C,
    /// C++.
    Cpp,
    /// Rust.
    Rust,
}

/// One type as the debug info states it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TypeData {
    /// Its own name without scope; `None` for anonymous and derived types.
    pub name: Option<String>,
    /// Namespaces and classes around it, outermost first, joined by `::`; empty at global scope.
    pub scope: String,
    /// Size in bytes as stated; `None` where it must be computed (arrays) or is unknown (declarations).
    pub size: Option<u64>,
    /// Alignment in bytes as stated (`DW_AT_alignment`); most producers state it only where it is unusual.
    pub alignment: Option<u64>,
    /// Language of the unit that declares it.
    pub language: Language,
    /// What it is.
    pub kind: TypeKind,
}

/// What a type is.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub enum TypeKind {
    /// Nothing: `void`.
    #[default]
    Void,
    /// A number, character or truth value.
    Base(BaseEncoding),
    /// A machine pointer or a reference, to `target`.
    Pointer {
        /// Which of the three.
        flavour: PointerFlavour,
        /// What it points to.
        target: TypeId,
    },
    /// A C++ pointer to a member of `class`.
    MemberPointer {
        /// The class.
        class: TypeId,
        /// The member's type; a [`TypeKind::Function`] for member functions.
        target: TypeId,
    },
    /// An array; several bounds make it multi-dimensional, outermost first.
    Array {
        /// Type of the innermost elements.
        element: TypeId,
        /// One for each dimension; never empty.
        bounds: Vec<ArrayBound>,
        /// Whether it is a vector of the processor (`__attribute__((vector_size))`).
        vector: bool,
    },
    /// A struct, class or union, and every Rust type with fields.
    Record(Record),
    /// A C or C++ enumeration, or a Rust enum whose variants carry nothing.
    Enumeration {
        /// Integer type behind it; [`TypeId::VOID`] if not stated.
        underlying: TypeId,
        /// The named values in order of declaration.
        enumerators: Vec<Enumerator>,
        /// Whether its names need the type's (`enum class`, Rust).
        scoped: bool,
        /// Whether only its name is known.
        declaration: bool,
    },
    /// Another name.
    Typedef {
        /// The type named.
        target: TypeId,
    },
    /// A type with a qualifier.
    Qualified {
        /// The qualifier.
        qualifier: Qualifier,
        /// The type without it.
        target: TypeId,
    },
    /// The type of a function.
    Function {
        /// Result.
        returns: TypeId,
        /// Parameters in order; artificial ones (`this`) included.
        parameters: Vec<TypeId>,
        /// Whether more may follow (`...`).
        variadic: bool,
        /// Whether the parameters are part of the type; false for C's `int f()`.
        prototyped: bool,
    },
    /// A type with a name and no structure: `decltype(nullptr)` (`DW_TAG_unspecified_type`).
    Unspecified,
    /// The debug info for it is missing or makes no sense.
    Damaged {
        /// What is wrong.
        problem: String,
    },
}

/// How a base type's bits are read (`DW_AT_encoding`; DWARF 5, 7.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum BaseEncoding {
    /// `DW_ATE_boolean`.
    Bool,
    /// `DW_ATE_signed`.
    Signed,
    /// `DW_ATE_unsigned`, `DW_ATE_address`.
    Unsigned,
    /// `DW_ATE_signed_char`.
    SignedChar,
    /// `DW_ATE_unsigned_char`.
    UnsignedChar,
    /// `DW_ATE_UTF`, `DW_ATE_ASCII`, `DW_ATE_UCS`: `char8_t` to `char32_t`, Rust's `char`.
    Unicode,
    /// `DW_ATE_float`: IEEE 754, or x87 extended where 10 of the bytes count.
    Float,
    /// `DW_ATE_complex_float`: real part, then imaginary part.
    ComplexFloat,
    /// An encoding without arithmetic here (decimal and fixed-point kinds), by its DWARF code.
    Other(u8),
}

/// Kinds of machine pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PointerFlavour {
    /// `T *`, and Rust's thin pointers and references.
    Pointer,
    /// `T &`.
    Reference,
    /// `T &&`.
    RvalueReference,
}

/// Qualifiers that add a word to a type and change no layout.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Qualifier {
    /// `const`.
    Const,
    /// `volatile`.
    Volatile,
    /// `restrict`.
    Restrict,
    /// `_Atomic`.
    Atomic,
}

/// How many elements one dimension of an array has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArrayBound {
    /// So many.
    Count(u64),
    /// Not stated: `extern int a[]`, a flexible array member.
    Unknown,
    /// Computed in the frame that owns the variable (C's variable-length arrays).
    Dynamic(DynamicBound),
}

/// How a frame tells the length of a variable-length array (DWARF 5, 5.13: `DW_AT_count`, `DW_AT_upper_bound`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DynamicBound {
    /// Whether the computed number is the last index and not the count.
    pub upper_bound: bool,
    /// Where the number comes from.
    pub source: DynamicSource,
    /// Any entry of the unit that the source belongs to; it gives addresses and encodings their meaning.
    pub owner: TypeId,
}

/// Where a computed number comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DynamicSource {
    /// A DWARF expression.
    Expression(Vec<u8>),
    /// The value of the variable with this entry.
    Variable(TypeId),
}

/// Fields and bases of a struct, class or union.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Record {
    /// The keyword it was declared with.
    pub keyword: RecordKeyword,
    /// Whether only its name is known here; see [`Type::definition`](crate::Type::definition).
    pub declaration: bool,
    /// Base classes in order of declaration.
    pub bases: Vec<BaseClass>,
    /// Data members in order of declaration, artificial ones (`_vptr`) included.
    pub members: Vec<Member>,
    /// Static data members.
    pub statics: Vec<StaticMember>,
    /// The variants of a Rust enum.
    pub variants: Option<VariantPart>,
    /// Template or generic arguments.
    pub template: Vec<TemplateArgument>,
    /// Whether functions take and return it by the address of a copy, as C++ does what is not trivial to copy, as far as
    /// its own entry tells: by `DW_AT_calling_convention` (DWARF 5, 5.7.1.1), which clang writes, else by what is declared
    /// in it. A member or base may say so, too. `None` if it cannot be copied.
    pub by_reference: Option<bool>,
}

/// Keyword of a record.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum RecordKeyword {
    /// `struct`; every Rust record.
    #[default]
    Struct,
    /// `class`.
    Class,
    /// `union`.
    Union,
}

/// One data member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Name; `None` for anonymous unions and structs.
    pub name: Option<String>,
    /// Type.
    pub member_type: TypeId,
    /// Bytes from the start of the record.
    pub offset: u64,
    /// Its bits, if it is a bit field; then `offset` is that of the first byte with one of them.
    pub bits: Option<BitField>,
    /// Whether the compiler made it.
    pub artificial: bool,
}

/// Bits within a record, counted from its first byte, least significant first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitField {
    /// Number of the lowest bit.
    pub offset: u64,
    /// How many; 0 occurs in damaged debug info only.
    pub size: u64,
}

/// One base class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseClass {
    /// Its type.
    pub base_type: TypeId,
    /// Where it lies.
    pub offset: BaseOffset,
}

/// Where a base class lies in an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BaseOffset {
    /// So many bytes from the start.
    Fixed(u64),
    /// A virtual base: a DWARF expression that turns the object's address into the base's by reading the vtable.
    Virtual(Vec<u8>),
}

/// One static data member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticMember {
    /// Name without scope.
    pub name: String,
    /// Type.
    pub member_type: TypeId,
    /// Its value, if the debug info states it (`static const int n = 3`), in the target's bytes.
    pub constant: Option<Vec<u8>>,
}

/// The part of a Rust enum that chooses between variants (`DW_TAG_variant_part`; DWARF 5, 5.7.10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VariantPart {
    /// The member whose value chooses; `None` if there is one variant only.
    pub discriminant: Option<Member>,
    /// The variants in order of declaration.
    pub variants: Vec<Variant>,
}

/// One variant of a Rust enum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Values of the discriminant that choose it, as unsigned inclusive ranges; empty for the one that is chosen
    /// when no other is (the one with data, where a niche holds the discriminant).
    pub values: Vec<(u128, u128)>,
    /// Its payload: named after the variant, of a struct type.
    pub member: Member,
    /// Where it is declared: of the state of an async function, where it awaits.
    pub declared_at: Option<crate::DeclaredAt>,
}

/// One template or generic argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateArgument {
    /// Name of the parameter (`T`, `_Alloc`).
    pub name: String,
    /// The argument, or the type of a value argument.
    pub argument_type: TypeId,
    /// A value argument's value in the target's bytes.
    pub value: Option<Vec<u8>>,
}

/// One named value of an enumeration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enumerator {
    /// Name without scope.
    pub name: String,
    /// Value; unsigned ones beyond the range of `i128` do not occur.
    pub value: i128,
}
