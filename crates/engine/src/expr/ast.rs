//! Expressions as trees: what was written, before anything is looked up.

use std::fmt;

use outpost_symbols::TextView;

/// A name as it may be looked up in debug info.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// What stands before the `!`.
    pub module: Option<String>,
    /// The rest, with its scopes: `ns::Class<int>::member`.
    pub text: String,
    /// Whether it can only be a local variable (`$!name`).
    pub local: bool,
}

/// `` `module!file:line` ``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// Module to look in; all of them without.
    pub module: Option<String>,
    /// File name or the end of its path; the file of the current instruction without.
    pub file: Option<String>,
    /// Line, from 1; the start of the file's code without.
    pub line: Option<u32>,
}

/// An expression of either evaluator.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// MASM.
    Masm(Masm),
    /// C++.
    Cpp(Cpp),
}

/// A MASM expression. Everything is an unsigned number of 64 bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Masm {
    /// A number.
    Number(u64),
    /// A symbol, a module or a register written without `@`, to be found in that order.
    Name(Name),
    /// `@name`: a register or, with `$`, a pseudo-register.
    Register(String),
    /// `.`: the program counter.
    Here,
    /// A source line.
    SourceLine(SourceLine),
    /// An operator before its operand.
    Unary(MasmUnary, Box<Masm>),
    /// An operator between its operands.
    Binary(MasmBinary, Box<Masm>, Box<Masm>),
    /// `$scmp("a", "b")` and its like.
    Call(MasmFunction, Vec<MasmArgument>),
    /// `@@c++(...)`.
    Cpp(Box<Cpp>),
}

/// MASM operators that stand before their operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasmUnary {
    /// Two's complement.
    Negate,
    /// `not`: 1 for zero, else 0.
    Not,
    /// `hi`: bits 16 to 31.
    High,
    /// `low`: bits 0 to 15.
    Low,
    /// `by wo dwo qwo poi`: what is in memory there, so many bytes.
    Read(u8),
}

/// MASM operators that stand between their operands; all unsigned but the last shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of arithmetic say it")]
pub enum MasmBinary {
    Multiply,
    Divide,
    Modulo,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    ShiftRightSigned,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    And,
    Xor,
    Or,
}

/// Functions of MASM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasmFunction {
    /// `$iment(base)`: entry point of the image there.
    ImageEntry,
    /// `$scmp("a", "b")`: -1, 0 or 1.
    Compare,
    /// `$sicmp("a", "b")`: the same without case.
    CompareNoCase,
    /// `$spat("text", "pattern")`: whether the wildcard pattern matches, without case.
    Pattern,
    /// `$vvalid(address, length)`: whether all of it can be read.
    Valid,
}

/// An argument of a [`MasmFunction`].
#[derive(Debug, Clone, PartialEq)]
pub enum MasmArgument {
    /// `"text"`.
    Text(String),
    /// A number.
    Value(Masm),
}

/// A C++ expression. Every value has a type.
#[derive(Debug, Clone, PartialEq)]
pub enum Cpp {
    /// An integer; its type is the first of int, long, unsigned long that holds it, or as its suffix says.
    Integer {
        /// Value.
        value: u64,
        /// Has `u`.
        unsigned: bool,
        /// Has `l` or `ll`.
        long: bool,
    },
    /// A floating-point number; `float` with suffix `f`.
    Float {
        /// Value.
        value: f64,
        /// Has `f`.
        single: bool,
    },
    /// `'c'`, `L'c'`, `'ab'`.
    Character {
        /// Its type, a built-in one.
        of: &'static str,
        /// Its code, extended as the type says.
        code: i64,
    },
    /// `"text"`, `L"text"`, `R"(text)"`.
    Text(TextLiteral),
    /// `true`, `false`.
    Bool(bool),
    /// `nullptr`.
    Null,
    /// A variable, function or enumerator.
    Name(Name),
    /// `@name`: a register or, with `$`, a pseudo-register.
    Register(String),
    /// An operator before its operand.
    Unary(CppUnary, Box<Cpp>),
    /// `++` and `--` after their operand; `1` or `-1`.
    PostStep(i8, Box<Cpp>),
    /// An operator between its operands.
    Binary(CppBinary, Box<Cpp>, Box<Cpp>),
    /// `=`, or with an operator `+=` and its like.
    Assign(Option<CppBinary>, Box<Cpp>, Box<Cpp>),
    /// `a ? b : c`.
    Conditional(Box<Cpp>, Box<Cpp>, Box<Cpp>),
    /// `value.member`, or `pointer->member`.
    Member {
        /// Left side.
        of: Box<Cpp>,
        /// Member; its scopes (`Base::member`) are kept.
        member: String,
        /// Whether it was written `->`.
        arrow: bool,
    },
    /// `array[index]`.
    Index(Box<Cpp>, Box<Cpp>),
    /// `(type)value` and its `_cast` forms.
    Cast(TypeName, Box<Cpp>),
    /// `sizeof value`.
    SizeofValue(Box<Cpp>),
    /// `sizeof(type)`.
    SizeofType(TypeName),
    /// `#FIELD_OFFSET(type, member)` and its like; members of members are behind dots.
    Field(FieldFact, TypeName, String),
    /// `#CONTAINING_RECORD(address, type, member)`.
    ContainingRecord(Box<Cpp>, TypeName, String),
    /// `#RTL_CONTAINS_FIELD(pointer, size, member)`.
    ContainsField {
        /// Points to the structure.
        of: Box<Cpp>,
        /// How many of its bytes there are.
        size: Box<Cpp>,
        /// As in [`Cpp::Field`].
        member: String,
    },
    /// `#RTL_NUMBER_OF(array)`.
    NumberOf(Box<Cpp>),
    /// `@@masm(...)`: an unsigned number of 64 bits.
    Masm(Box<Masm>),
    /// `function(arguments)`: a function of the debuggee, or an intrinsic of a view.
    Apply {
        /// The function.
        function: Name,
        /// What is in its parentheses.
        arguments: Vec<Cpp>,
    },
    /// `value.Method(arguments)`: a method of the debuggee or of the object model, an intrinsic of another type's view.
    Call {
        /// Left side.
        of: Box<Cpp>,
        /// The method.
        method: String,
        /// What is in its parentheses.
        arguments: Vec<Cpp>,
    },
    /// `(*pointer)(arguments)`, `table[2](arguments)`: a function that a value leads to; `@$name(arguments)`,
    /// `(x => expression)(arguments)`: one of the object model.
    Invoke {
        /// What gives the function.
        function: Box<Cpp>,
        /// What is in its parentheses.
        arguments: Vec<Cpp>,
    },
    /// `x => expression`, `(x, y) => expression`: a function of the object model.
    Lambda(Lambda),
    /// `new { Name = expression, ... }`: of the object model.
    Anonymous(Vec<(String, Cpp)>),
}

/// A text as it stands in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextLiteral {
    /// What it consists of.
    pub letter: Letter,
    /// Its units, without the NUL at its end.
    pub bytes: Vec<u8>,
}

/// What a literal consists of, as its prefix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// None: `char`, in UTF-8.
    Narrow,
    /// `u8`: `char8_t`.
    Utf8,
    /// `u`: `char16_t`.
    Utf16,
    /// `U`: `char32_t`.
    Utf32,
    /// `L`: `wchar_t`, which on Linux is UTF-32.
    Wide,
    /// Rust's `b`: bytes, and no NUL behind them.
    Byte,
}

/// What is asked about a member of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldFact {
    /// `#FIELD_OFFSET`: where it begins, in bytes.
    Offset,
    /// `#RTL_FIELD_SIZE`: how many bytes it has.
    Size,
    /// `#RTL_SIZEOF_THROUGH_FIELD`: where it ends.
    End,
}

/// A function that is written where it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Lambda {
    /// Names of its parameters.
    pub parameters: Vec<String>,
    /// What it gives.
    pub body: Box<Cpp>,
    /// How it was written.
    pub text: String,
}

/// C++ operators that stand before their operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CppUnary {
    /// `+`: promotes.
    Plus,
    /// `-`.
    Negate,
    /// `!`.
    Not,
    /// `~`.
    Complement,
    /// `*`.
    Dereference,
    /// `&`.
    AddressOf,
    /// `++`.
    Increment,
    /// `--`.
    Decrement,
}

/// C++ operators that stand between their operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of arithmetic say it")]
pub enum CppBinary {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    Equal,
    NotEqual,
    And,
    Xor,
    Or,
    LogicalAnd,
    LogicalOr,
    Comma,
}

/// A type as it is written in casts: a name with what makes pointers and arrays of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName {
    /// Its name in normal form: `unsigned int`, `ns::Class<int>`; without `struct` and its like.
    pub name: Name,
    /// How often it is pointed to: `char **` has 2.
    pub pointers: u8,
    /// Bounds of arrays of it, outermost first: `int[4]`.
    pub bounds: Vec<u64>,
    /// How often such an array or function is pointed to: `int (*)[4]` and `int (*)(char)` have 1.
    pub array_pointers: u8,
    /// What a function takes that returns this, if a function is meant: `int (*)(char, ...)`.
    pub function: Option<Parameters>,
    /// Whether a reference to it is meant: `Class &`.
    pub reference: bool,
}

/// What a function takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Types of its parameters, in order.
    pub types: Vec<TypeName>,
    /// Whether more may follow (`...`).
    pub variadic: bool,
}

impl TextLiteral {
    /// The text in UTF-8, as other texts are compared with it.
    pub fn utf8(&self) -> Vec<u8> {
        TextView { at: None, bytes: self.bytes.clone(), unit: self.letter.size(), length: 0 }.utf8()
    }
}

impl Letter {
    /// The type, a built-in one.
    pub fn type_name(self) -> &'static str {
        match self {
            Letter::Narrow => "char",
            Letter::Utf8 => "char8_t",
            Letter::Utf16 => "char16_t",
            Letter::Utf32 => "char32_t",
            Letter::Wide => "wchar_t",
            Letter::Byte => "u8",
        }
    }

    /// How many bytes it has.
    pub fn size(self) -> u8 {
        match self {
            Letter::Narrow | Letter::Utf8 | Letter::Byte => 1,
            Letter::Utf16 => 2,
            Letter::Utf32 | Letter::Wide => 4,
        }
    }
}

impl CppBinary {
    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            CppBinary::Multiply => "*",
            CppBinary::Divide => "/",
            CppBinary::Remainder => "%",
            CppBinary::Add => "+",
            CppBinary::Subtract => "-",
            CppBinary::ShiftLeft => "<<",
            CppBinary::ShiftRight => ">>",
            CppBinary::Less => "<",
            CppBinary::Greater => ">",
            CppBinary::LessEqual => "<=",
            CppBinary::GreaterEqual => ">=",
            CppBinary::Equal => "==",
            CppBinary::NotEqual => "!=",
            CppBinary::And => "&",
            CppBinary::Xor => "^",
            CppBinary::Or => "|",
            CppBinary::LogicalAnd => "&&",
            CppBinary::LogicalOr => "||",
            CppBinary::Comma => ",",
        }
    }
}

impl Name {
    /// A name without module.
    pub fn plain(text: &str) -> Name {
        Name { module: None, text: text.to_owned(), local: false }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{module}!")?;
        }
        f.write_str(&self.text)
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if self.pointers > 0 {
            write!(f, " {}", "*".repeat(usize::from(self.pointers)))?;
        }
        if self.array_pointers > 0 {
            write!(f, " ({})", "*".repeat(usize::from(self.array_pointers)))?;
        }
        self.bounds.iter().try_for_each(|bound| write!(f, "[{bound}]"))?;
        let Some(Parameters { types, variadic }) = &self.function else { return Ok(()) };
        let types = types.iter().map(TypeName::to_string).chain(variadic.then(|| "...".to_owned()));
        write!(f, "({})", types.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{module}!")?;
        }
        f.write_str(self.file.as_deref().unwrap_or_default())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
