//! The engine as a scope: names, registers and memory of the selected frame.

use outpost_base::{Arch, MemoryReader, RegisterId, RegisterValue, Va};
use outpost_symbols::{Store, SymbolKind, Type, Unavailable, Value};

use super::{
    CompileError, Evaluated, Evaluator, Expr, ExprError, Lookup, Name, Place, PointerUse, Radix, Scope, ScopeNames,
    SourceLine, evaluate, number_value, parse_prefix,
};
use crate::call::Wanted;
use crate::variables::Global;
use crate::{Engine, EngineError, ProcessMemory};

/// How expressions are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExprOptions {
    /// Which evaluator.
    pub evaluator: Evaluator,
    /// Base of plain numbers in MASM.
    pub radix: Radix,
}

impl Engine {
    /// Reads one expression at the start of `text`; gives it and its length in bytes.
    ///
    /// # Errors
    /// As [`parse_prefix`].
    pub fn parse_expression(&mut self, text: &str, options: ExprOptions) -> Result<(Expr, usize), ExprError> {
        let mut scope = EngineScope::new(self);
        parse_prefix(text, options.evaluator, options.radix, &mut ScopeNames(&mut scope))
    }

    /// Evaluates in the current scope's frame.
    ///
    /// # Errors
    /// As [`evaluate`].
    #[doc(alias = "Evaluate")]
    pub fn evaluate(&mut self, expr: &Expr) -> Result<Evaluated, ExprError> {
        evaluate(expr, &mut EngineScope::new(self))
    }

    /// Evaluates to a number; as [`super::evaluate_number`].
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate_number(&mut self, expr: &Expr) -> Result<u64, ExprError> {
        super::evaluate_number(expr, &mut EngineScope::new(self))
    }

    /// Evaluates to a typed value; as [`super::evaluate_value`].
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate_value(&mut self, expr: &Expr) -> Result<Value, ExprError> {
        super::evaluate_value(expr, &mut EngineScope::new(self))
    }

    /// Evaluates to addresses; as [`super::evaluate_addresses`].
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate_addresses(&mut self, expr: &Expr) -> Result<Vec<Va>, ExprError> {
        super::evaluate_addresses(expr, &mut EngineScope::new(self))
    }

    /// The variable, function or enumerator of a name, with its type.
    ///
    /// # Errors
    /// [`ExprError::Value`] if there is one whose place cannot be told.
    pub fn lookup(&mut self, name: &Name, lookup: Lookup) -> Result<Option<Value>, ExprError> {
        EngineScope::new(self).variable(name, lookup)
    }

    /// Compiles a breakpoint's condition for hits at `at`.
    ///
    /// # Errors
    /// [`CompileError::Beside`] where it has to be evaluated here at each hit.
    pub fn compile_expression(
        &mut self,
        expr: &Expr,
        at: Va,
    ) -> Result<outpost_target::condition::Condition, CompileError> {
        let mut scope = EngineScope::new(self);
        scope.site = Some(at);
        super::compile(expr, &mut scope)
    }
}

/// The selected frame of the current thread.
pub(crate) struct EngineScope<'a> {
    engine: &'a mut Engine,
    memory: Memory<'a>,
    /// Where a condition will run; then nothing of the present frame counts.
    site: Option<Va>,
}

/// What is read.
enum Memory<'a> {
    /// The current process, if there is one.
    Process(Option<ProcessMemory>),
    /// What somebody else fetches, for all that is evaluated at once.
    Given(&'a mut dyn MemoryReader),
}

impl MemoryReader for Memory<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        match self {
            Memory::Process(memory) => memory.as_mut().map_or(0, |memory| memory.read(at, buf)),
            Memory::Given(memory) => memory.read(at, buf),
        }
    }
}

impl<'a> EngineScope<'a> {
    pub(crate) fn new(engine: &'a mut Engine) -> EngineScope<'a> {
        let memory = Memory::Process(engine.memory().ok());
        EngineScope { engine, memory, site: None }
    }

    /// The scope, its memory read through `memory`.
    pub(crate) fn over(engine: &'a mut Engine, memory: &'a mut dyn MemoryReader) -> EngineScope<'a> {
        EngineScope { engine, memory: Memory::Given(memory), site: None }
    }
}

impl<'a> EngineScope<'a> {
    /// A variable, function or enumerator that is none of the frame's.
    pub(crate) fn global(&mut self, name: &Name) -> Option<Value> {
        let found = match self.engine.find_global(&name.to_string()) {
            Ok(Some(found)) => Some(found),
            Ok(None) | Err(EngineError::NoSymbol { .. }) => self.engine.value_in_class(name),
            Err(_) => None,
        };
        found.map(|found| self.in_any_thread(found))
    }

    /// A global for whoever hits the site: a thread that comes there has variables of its own.
    fn in_any_thread(&self, global: Global) -> Value {
        match self.site.is_some() && global.is_per_thread {
            true => Value::unavailable(global.value.value_type().clone(), Unavailable::NotHere),
            false => global.value,
        }
    }

    /// The engine and the memory that is read.
    pub(crate) fn parts(&mut self) -> (&mut Engine, &mut dyn MemoryReader) {
        (self.engine, &mut self.memory)
    }
}

impl Scope for EngineScope<'_> {
    fn arch(&self) -> Arch {
        self.engine.arch()
    }

    fn memory(&mut self) -> &mut dyn MemoryReader {
        &mut self.memory
    }

    fn in_batches(&mut self, read: &mut dyn FnMut(&mut dyn MemoryReader)) {
        match &self.memory {
            Memory::Process(Some(memory)) => memory.in_batches(read),
            _ => read(&mut self.memory),
        }
    }

    fn register(&mut self, id: RegisterId) -> Option<RegisterValue> {
        let name = self.arch().register(id)?.name;
        self.engine.register(name).ok()
    }

    fn pseudo_register(&mut self, name: &str) -> Result<Value, ExprError> {
        if let Some(value) = self.engine.user_value(name) {
            return Ok(value);
        }
        self.engine.pseudo_register(name).map(number_value).map_err(|error| no_pseudo_register(name, error))
    }

    fn pointed_to(&mut self, register: &str) -> Option<Result<Type, ExprError>> {
        let found = self.engine.block_type(register)?;
        Some(found.map_err(|error| no_pseudo_register(register, error)))
    }

    fn addresses(&mut self, name: &Name) -> Result<Vec<Va>, ExprError> {
        let mut found: Vec<Va> = match self.engine.find_name(&name.to_string()) {
            Ok(names) => {
                // Address 0 would be a wrong answer, and a pointer to it a wrong one to blame.
                if names.iter().any(|named| named.kind == SymbolKind::ThreadLocal && named.address == Va(0)) {
                    return Err(ExprError::Value { name: name.to_string(), reason: Unavailable::ThreadLocal });
                }
                names.into_iter().map(|named| named.address).collect()
            }
            Err(error) => absent(error, name)?,
        };
        if found.is_empty() && name.module.is_none() {
            found = match self.engine.modules_named(&name.text) {
                Ok(modules) => modules.into_iter().map(|module| module.range.start).collect(),
                Err(error) => absent(error, name)?,
            };
        }
        if found.is_empty() {
            found.extend(self.engine.symbols_in_class(name).into_iter().map(|named| named.address));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn line_addresses(&mut self, line: &SourceLine) -> Result<Vec<Va>, ExprError> {
        let current;
        let file = match &line.file {
            Some(file) => file,
            None => {
                let at = self.register(self.arch().pc()).map(|pc| Va(pc.as_u64()));
                let location = at.and_then(|at| self.engine.line_at(at));
                current = location.ok_or_else(|| ExprError::NoCode { line: line.to_string() })?.file;
                &current
            }
        };
        let number = line.line.unwrap_or(1);
        let places = self.engine.find_line(line.module.as_deref(), file, number);
        let places = places.map_err(|_| ExprError::NoCode { line: line.to_string() })?;
        Ok(places.into_iter().map(|place| place.address).collect())
    }

    fn variable(&mut self, name: &Name, lookup: Lookup) -> Result<Option<Value>, ExprError> {
        if name.module.is_none() && self.site.is_none() {
            // Without a frame there are no locals, which is no reason not to look further.
            if let Some(value) = self.engine.local(&name.text).ok().flatten() {
                return match value.missing().filter(|_| !value.is_implicit_pointer()) {
                    Some(reason) => Err(ExprError::Value { name: name.to_string(), reason: reason.clone() }),
                    None => Ok(Some(value)),
                };
            }
        }
        // A local that is not simple to reach hides what is global, too.
        if let Some((local, ..)) = self.site.and_then(|site| self.engine.local_at(name, site)) {
            return Ok(Some(Value::unavailable(local.value_type, Unavailable::NotHere)));
        }
        match lookup {
            Lookup::Local => Ok(None),
            Lookup::Everywhere => Ok(self.global(name)),
        }
    }

    fn this_class(&mut self) -> Option<Type> {
        let pointer = match self.site {
            Some(site) => self.engine.local_at(&Name::plain("this"), site)?.0.value_type,
            None => self.engine.local("this").ok()??.value_type().clone(),
        };
        pointer.target()
    }

    fn named_type(&mut self, name: &Name) -> Option<Type> {
        match self.engine.find_types(&name.to_string()) {
            Ok(found) => found.into_iter().next(),
            Err(EngineError::NoSymbol { .. }) => self.engine.type_in_class(name),
            Err(_) => None,
        }
    }

    fn static_member(&mut self, class: &Type, member: &str) -> Option<Value> {
        let found = self.engine.static_member(class, member);
        found.map(|found| self.in_any_thread(found))
    }

    fn entry_point(&mut self, base: Va) -> Option<Va> {
        // ELF-64 Object File Format, fig. 2: e_type at 16, e_entry at 24.
        let mut header = [0; 32];
        self.memory.read_exact(base, &mut header)?;
        if !header.starts_with(b"\x7fELF") {
            return None;
        }
        let entry = u64::from_le_bytes(header.get(24..32)?.try_into().ok()?);
        let module = self.engine.module_at(base)?;
        Some(Va(entry.wrapping_add(module.bias.0)))
    }

    fn write(&mut self, stores: &[Store]) -> Result<(), ExprError> {
        let refused = |error: EngineError| ExprError::Assign { reason: error.to_string() };
        for store in stores {
            match store {
                Store::Memory { at, bytes } => {
                    let memory = self.engine.memory().map_err(refused)?;
                    memory.write(*at, bytes).map_err(refused)?;
                }
                Store::Register { dwarf, bit, bytes } => self.write_register(*dwarf, *bit, bytes)?,
            }
        }
        self.engine.state_changed();
        Ok(())
    }

    fn apply(
        &mut self,
        function: &Name,
        of: Option<Value>,
        arguments: Vec<Value>,
        returns: Option<&Type>,
    ) -> Result<Value, ExprError> {
        let wanted = of.map_or(Wanted::Function, Wanted::Method);
        self.engine.call_function(function, wanted, &arguments, returns)
    }

    fn invoke(&mut self, function: &Value, arguments: Vec<Value>) -> Result<Value, ExprError> {
        let name = Name::plain(&format!("({})", function.value_type()));
        self.engine.call_function(&name, Wanted::Pointer(function.clone()), &arguments, None)
    }

    fn smart_pointer(&mut self, value: &Value, usage: PointerUse) -> Result<Option<Value>, ExprError> {
        self.engine.view_smart_pointer(value, usage, &mut self.memory)
    }

    fn place(&mut self, name: &Name) -> Option<Place> {
        let site = self.site?;
        if let Some(local) = self.engine.local_place(name, site) {
            return Some(local);
        }
        // Members of `this` hide what is global.
        let of_this = |class: Type| class.field(&name.text).is_some() || class.resolved().record().is_none();
        if name.module.is_none() && self.this_class().is_some_and(of_this) {
            return None;
        }
        self.engine.program_thread_local(name, site)
    }
}

impl EngineScope<'_> {
    /// Writes bytes into a register of the innermost frame; those of outer frames are in memory or nowhere.
    fn write_register(&mut self, dwarf: u16, bit: u64, bytes: &[u8]) -> Result<(), ExprError> {
        let refused = |reason: &str| ExprError::Assign { reason: reason.to_owned() };
        let arch = self.arch();
        let id = arch.register_by_dwarf(dwarf).ok_or_else(|| refused("its register is not known"))?;
        let name = arch.register(id).map(|row| row.name).ok_or_else(|| refused("its register is not known"))?;
        if self.engine.pseudo_register("$frame").is_ok_and(|frame| frame != 0) {
            return Err(refused("it is in a register of an outer frame"));
        }
        let old = self.engine.register(name).map_err(|error| refused(&error.to_string()))?;
        let mut changed = old.bytes().to_vec();
        let start = (bit / 8) as usize;
        let slot =
            changed.get_mut(start..start + bytes.len()).ok_or_else(|| refused("it is larger than its register"))?;
        slot.copy_from_slice(bytes);
        let value = RegisterValue::from_bytes(&changed).ok_or_else(|| refused("its register is too wide"))?;
        self.engine.set_register(name, value).map_err(|error| refused(&error.to_string()))
    }
}

fn no_pseudo_register(name: &str, error: EngineError) -> ExprError {
    let name = name.to_owned();
    match error {
        EngineError::NoRegister { .. } => ExprError::Register { name },
        EngineError::RegisterUnavailable { reason, .. } => ExprError::PseudoRegister { name, reason },
        error => ExprError::PseudoRegister { name, reason: error.to_string() },
    }
}

/// Nothing of a name that is not known; other failures are failures.
fn absent(error: EngineError, name: &Name) -> Result<Vec<Va>, ExprError> {
    match error {
        EngineError::NoSymbol { .. } | EngineError::NoModule { .. } | EngineError::NoDebuggee => Ok(Vec::new()),
        other => Err(ExprError::Lookup { name: name.to_string(), reason: other.to_string() }),
    }
}
