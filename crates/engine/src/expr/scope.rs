//! What an expression is evaluated against: names, registers and memory of one frame.

use outpost_base::{Arch, MemoryReader, RegisterId, RegisterValue, Va};
use outpost_symbols::{Store, Type, Value};

use super::{ExprError, KnownNames, Name, SourceLine};

/// Where a variable is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Among the locals and parameters of the frame.
    Local,
    /// There, then among variables and functions with debug info, and enumerators.
    Everywhere,
}

/// How a variable is reached in every frame of the function that has it, for code that runs beside the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Its type.
    pub value_type: Type,
    /// Where it is.
    pub at: PlaceKind,
}

/// See [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// In this register.
    Register(RegisterId),
    /// In memory at this register plus this offset.
    Based(RegisterId, i64),
    /// In memory at this address.
    Fixed(Va),
    /// In memory where registers add up to.
    Sum(RegisterSum),
    /// Nowhere: the value is what registers add up to, of which it takes as many bytes as it has.
    Value(RegisterSum),
}

/// A number and multiples of registers, all modulo 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterSum {
    /// The number.
    pub constant: u64,
    /// Registers, each with what it is multiplied by.
    pub terms: [Option<(RegisterId, u64)>; RegisterSum::MAX_TERMS],
}

impl RegisterSum {
    /// Registers in one sum; places in real programs have two.
    pub const MAX_TERMS: usize = 4;
}

/// The names, registers and memory of one frame; everything the evaluators know of a debuggee.
///
/// All lookups are by exact name; whether to fall back on another case is the implementer's choice.
pub trait Scope {
    /// Architecture of the registers.
    fn arch(&self) -> Arch;

    /// Memory of the process.
    fn memory(&mut self) -> &mut dyn MemoryReader;

    /// Runs `read` over the memory of the process until it has what it asks for, in as few round trips as can be.
    fn in_batches(&mut self, read: &mut dyn FnMut(&mut dyn MemoryReader)) {
        read(self.memory());
    }

    /// A register as the frame has it; `None` if the frame does not know it.
    fn register(&mut self, id: RegisterId) -> Option<RegisterValue>;

    /// A pseudo-register by name with its `$`; those that are other names of registers are not asked for.
    ///
    /// # Errors
    /// [`ExprError::PseudoRegister`] if it has no value now, [`ExprError::Register`] if there is no such name.
    fn pseudo_register(&mut self, name: &str) -> Result<Value, ExprError>;

    /// What a pseudo-register points to, for those that are pointers to structures (`$teb`, `$peb`); `None` for others.
    ///
    /// # Errors
    /// [`ExprError::PseudoRegister`] if the type is not to be had.
    fn pointed_to(&mut self, register: &str) -> Option<Result<Type, ExprError>> {
        let _ = register;
        None
    }

    /// Addresses of the symbols and modules of this name, each once; empty if there are none.
    ///
    /// # Errors
    /// If the name could not be looked for.
    fn addresses(&mut self, name: &Name) -> Result<Vec<Va>, ExprError>;

    /// Addresses where the code of a line begins, one for each place that it was compiled to.
    ///
    /// # Errors
    /// [`ExprError::NoCode`], or what keeps source lines from being looked up.
    fn line_addresses(&mut self, line: &SourceLine) -> Result<Vec<Va>, ExprError>;

    /// A variable, function or enumerator with its type; functions are values of function type at their entry.
    ///
    /// # Errors
    /// Only if there is such a variable and it cannot be told where it is; unknown names are `None`.
    fn variable(&mut self, name: &Name, lookup: Lookup) -> Result<Option<Value>, ExprError>;

    /// What the `this` in scope points to, also where its value is not known: its members hide what is global.
    fn this_class(&mut self) -> Option<Type> {
        None
    }

    /// A static data member of a class or of its bases.
    fn static_member(&mut self, class: &Type, member: &str) -> Option<Value> {
        let _ = (class, member);
        None
    }

    /// The type of this name, typedefs included.
    fn named_type(&mut self, name: &Name) -> Option<Type>;

    /// Entry point of the image loaded at `base`.
    fn entry_point(&mut self, base: Va) -> Option<Va>;

    /// Writes to memory and registers of the frame.
    ///
    /// # Errors
    /// [`ExprError::Assign`].
    fn write(&mut self, stores: &[Store]) -> Result<(), ExprError>;

    /// What a function gives, of another value if `of` is one: an intrinsic of a view, or a function of the debuggee.
    /// `returns` is what a cast around it says that it returns.
    ///
    /// # Errors
    /// [`ExprError::Unsupported`] where there are none; [`ExprError::Call`].
    fn apply(
        &mut self,
        function: &Name,
        of: Option<Value>,
        arguments: Vec<Value>,
        returns: Option<&Type>,
    ) -> Result<Value, ExprError> {
        let _ = (of, arguments, returns);
        Err(ExprError::Unsupported { what: function.to_string(), reason: "expressions call no functions here" })
    }

    /// What a function of the debuggee gives that a value leads to.
    ///
    /// # Errors
    /// As [`Scope::apply`].
    fn invoke(&mut self, function: &Value, arguments: Vec<Value>) -> Result<Value, ExprError> {
        let _ = arguments;
        let what = function.value_type().to_string();
        Err(ExprError::Unsupported { what, reason: "expressions call no functions here" })
    }

    /// The pointer that an object acts as for such a use, by a view of its type (NatVis' `SmartPointer`); `None` if no
    /// view says so.
    ///
    /// # Errors
    /// Why the view cannot tell.
    fn smart_pointer(&mut self, value: &Value, usage: PointerUse) -> Result<Option<Value>, ExprError> {
        let _ = (value, usage);
        Ok(None)
    }

    /// How a local variable is reached in every frame at the scope's pc; `None` if it is unknown or takes more than adding
    /// registers up.
    fn place(&mut self, name: &Name) -> Option<Place>;
}

/// What is done with an object that acts as a pointer; what may do the later ones may do the earlier ones, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointerUse {
    /// What it points to, and whether that is the same as what another points to.
    Target,
    /// Elements beside that, too.
    Elements,
    /// All that can be done with a pointer.
    All,
}

/// A scope as the parsers see it.
pub struct ScopeNames<'a>(pub &'a mut dyn Scope);

impl KnownNames for ScopeNames<'_> {
    fn is_type(&mut self, name: &Name) -> bool {
        // A variable hides a type of the same name, as in `stat` and most of C.
        let hidden = matches!(self.0.variable(name, Lookup::Local), Ok(Some(_)) | Err(_));
        !hidden && self.0.named_type(name).is_some()
    }

    fn is_symbol(&mut self, name: &Name) -> bool {
        matches!(self.0.addresses(name), Ok(found) if !found.is_empty())
    }
}
