//! What a view file says, as data.

use super::pattern::TypePattern;
use super::piece::Piece;
use crate::expr::PointerUse;

/// A file of views.
#[derive(Debug, Clone, Default)]
pub struct ViewFile {
    /// Where it came from.
    pub path: String,
    /// Its views, as they are written.
    pub(super) types: Vec<TypeView>,
    /// Intrinsics that all its views have.
    pub(super) intrinsics: Vec<Intrinsic>,
    /// Results of calls that it names.
    pub(super) results: Vec<CallResult>,
    /// What in it is not understood, in the order of the file.
    pub problems: Vec<ViewProblem>,
}

/// Something in a view file that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewProblem {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub problem: String,
}

/// A result of calls that has a name (`HResult`).
#[derive(Debug, Clone)]
pub(super) struct CallResult {
    pub(super) names: Vec<String>,
    pub(super) value: u32,
    pub(super) description: String,
}

/// Types that a view is for.
#[derive(Debug, Clone)]
pub(super) struct ForTypes {
    pub(super) pattern: TypePattern,
    pub(super) priority: Priority,
    /// Whether it holds for derived classes, too.
    pub(super) inheritable: bool,
}

/// How objects of a type are shown.
#[derive(Debug, Clone)]
pub(super) struct TypeView {
    /// Line of the file, from 1.
    pub(super) line: u32,
    /// The types it is for.
    pub(super) types: Vec<ForTypes>,
    pub(super) guard: Guard,
    /// Expressions that give the object as the class it was made of.
    pub(super) derived: Vec<Derived>,
    pub(super) intrinsics: Vec<Intrinsic>,
    pub(super) strings: Vec<DisplayString>,
    /// Expressions whose value is the object's text.
    pub(super) texts: Vec<Guarded>,
    /// Expressions whose value is the pointer that the object acts as.
    pub(super) pointers: Vec<SmartPointer>,
    /// What it has inside; `None` if nothing is said about that.
    pub(super) expand: Option<Vec<Item>>,
}

/// Which of several views for a type is tried first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    Low,
    MediumLow,
    #[default]
    Medium,
    MediumHigh,
    High,
}

/// When something holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) condition: Option<String>,
    /// Only in these views that are asked for by name.
    pub(super) include: Vec<String>,
    /// Not in these.
    pub(super) exclude: Vec<String>,
    /// Whether it is left out where its expressions make no sense.
    pub(super) optional: bool,
}

/// An expression with its format, and when it holds.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    pub(super) guard: Guard,
    pub(super) value: String,
}

/// `MostDerivedType`.
#[derive(Debug, Clone)]
pub(super) struct Derived {
    pub(super) value: Guarded,
    /// The expression's type is the last word, whatever the object's virtual table says.
    pub(super) is_final: bool,
}

/// `SmartPointer`.
#[derive(Debug, Clone)]
pub(super) struct SmartPointer {
    pub(super) value: Guarded,
    /// Whether it is opened as what it points to where the view does not say what it has inside.
    pub(super) opens: bool,
    /// What it may be used for in expressions.
    pub(super) usage: PointerUse,
}

#[derive(Debug, Clone)]
pub(super) struct DisplayString {
    pub(super) guard: Guard,
    pub(super) pieces: Vec<Piece>,
}

/// A function that a view's expressions may call.
#[derive(Debug, Clone)]
pub(super) struct Intrinsic {
    pub(super) name: String,
    pub(super) parameters: Vec<Parameter>,
    /// Whether it takes arguments beyond its parameters.
    pub(super) is_variadic: bool,
    /// What it gives is converted to this type, if it says so.
    pub(super) returns: Option<String>,
    /// `None` if an extension of another debugger has it.
    pub(super) expression: Option<String>,
}

impl Intrinsic {
    /// Whether it takes so many arguments.
    pub(super) fn takes(&self, arguments: usize) -> bool {
        arguments == self.parameters.len() || self.is_variadic && arguments > self.parameters.len()
    }
}

#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// What arguments are converted to; empty for what they are.
    pub(super) of: String,
}

/// Something that an object has inside.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// One value.
    One { guard: Guard, name: Vec<Piece>, value: String },
    /// What another value has inside.
    Expanded(Guarded),
    /// Something that exists only in the view.
    Synthetic { guard: Guard, name: Vec<Piece>, view: std::rc::Rc<Synthetic> },
    /// Elements one after the other in memory.
    Array {
        guard: Guard,
        sizes: Vec<Guarded>,
        rank: Option<String>,
        lower_bound: Option<String>,
        pointers: Vec<Guarded>,
        /// The first index counts fastest, as in Fortran, and not the last.
        backward: bool,
    },
    /// Elements that an expression gives for each number `$i`.
    Index { guard: Guard, sizes: Vec<Guarded>, values: Vec<Guarded> },
    /// Nodes that lead to each other.
    List { guard: Guard, nodes: Nodes, next: String },
    /// Nodes that lead to two others, in order.
    Tree { guard: Guard, nodes: Nodes, left: String, right: String },
    /// What a small program gives.
    Custom { guard: Guard, program: Program },
}

/// What lists and trees share.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    pub(super) sizes: Vec<Guarded>,
    pub(super) head: String,
    /// Of a node.
    pub(super) value: String,
    /// What an element is called; its number without.
    pub(super) name: Vec<Piece>,
    /// Which nodes have an element.
    pub(super) condition: Option<String>,
}

/// Text and parts of something that exists only in a view.
#[derive(Debug, Clone)]
pub(super) struct Synthetic {
    pub(super) strings: Vec<DisplayString>,
    pub(super) items: Vec<Item>,
}

/// `CustomListItems`.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) variables: Vec<(String, String)>,
    pub(super) sizes: Vec<Guarded>,
    /// How elements are passed over: the variable that says how many and then how many were, and statements.
    pub(super) skip: Option<(String, Vec<Statement>)>,
    pub(super) body: Vec<Statement>,
}

#[derive(Debug, Clone)]
pub(super) enum Statement {
    Exec {
        condition: Option<String>,
        expression: String,
    },
    Loop {
        condition: Option<String>,
        body: Vec<Statement>,
    },
    /// Branches with their conditions; `else` has none.
    If(Vec<(Option<String>, Vec<Statement>)>),
    Break {
        condition: Option<String>,
    },
    Item {
        condition: Option<String>,
        name: Vec<Piece>,
        value: String,
    },
}
