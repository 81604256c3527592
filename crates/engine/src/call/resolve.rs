//! Which function a call means, and its arguments as that function takes them.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{
    BaseEncoding, Language, PointerFlavour, Scalar, SymbolKind, Type, TypeKind, Value, VirtualMethod,
};
use outpost_target::CallWord;

use super::convention::{Placed, Returning, returning};
use crate::expr::{EngineScope, ExprError, Lookup, Name, Scope, cast};
use crate::variables::declaring;
use crate::{BreakpointPlace, Engine, NamedAddress};

/// Base classes in base classes that a method is looked for in.
const BASE_DEPTH: usize = 16;

/// Why there is nothing to call of a function that is in the program.
const INLINED: &str = "it is inlined wherever it is used, so there is no code of it to call; a breakpoint on it stops in \
                       the copies";

/// A function that may be called.
#[derive(Debug, Clone)]
pub(super) struct Callee {
    /// For the user.
    pub(super) name: String,
    pub(super) at: Va,
    /// Its address is what a function there gives (STT_GNU_IFUNC).
    pub(super) is_indirect: bool,
    /// Its type, where debug info has it.
    of: Option<Type>,
    /// Whether its name says that its calling convention is Rust's own.
    is_rust: bool,
    /// The object whose method it is.
    this: Option<Value>,
    /// It is a virtual method.
    virtual_method: Option<VirtualMethod>,
}

/// A call as it will be made.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) callee: Callee,
    pub(super) placed: Placed,
    /// What it returns.
    pub(super) returns: Type,
}

/// What is to be called.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// A function by its name.
    Function,
    /// A method of this object by its name.
    Method(Value),
    /// The function that this leads to; its name is for messages.
    Pointer(Value),
}

/// How well an argument fits a parameter; the less, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    SameKind,
    Converted,
}

impl Engine {
    /// Finds the function that a call means and lays its arguments out. `returns` is what the caller says it returns.
    pub(super) fn prepare_call(
        &mut self,
        name: &Name,
        wanted: Wanted,
        arguments: &[Value],
        returns: Option<&Type>,
    ) -> Result<Prepared, ExprError> {
        let called = name.to_string();
        let refused = |reason: String| ExprError::Call { function: called.clone(), reason };
        // A class before the method's name says that the method is meant and not what overrides it.
        let is_of_class = name.text.contains("::");
        let candidates = match wanted {
            Wanted::Function => self.functions(name)?,
            Wanted::Method(object) => self.methods(name, &object)?,
            Wanted::Pointer(pointer) => vec![self.pointed_to(name, &pointer)?],
        };
        let callee = choose(candidates, arguments).map_err(refused)?;
        let callee = if is_of_class { callee } else { self.dispatched(callee, arguments).map_err(refused)? };
        if callee.is_rust && !self.calls.as_ref().is_some_and(|options| options.force) {
            let reason = "its calling convention is Rust's own, which is not specified; declare it extern \"C\" and \
                          #[unsafe(no_mangle)], or insist by .call /f";
            return Err(refused(reason.into()));
        }
        let stated = callee.of.as_ref().map(|of| match of.kind() {
            TypeKind::Function { returns, .. } => of.sibling(*returns),
            _ => of.clone(),
        });
        let Some(returns) = stated.or(returns.cloned()) else {
            let reason = format!(
                "it has no debug info, so what it returns is unknown; say it, as in (int){called}(...), or (void *) for a pointer"
            );
            return Err(refused(reason));
        };
        let mut placed = Placed::default();
        if let Returning::Memory(size) = returning(&returns).map_err(refused)? {
            let room = usize::try_from(size).unwrap_or(usize::MAX).min(outpost_target::CallPlan::MAX_DATA + 1);
            let at = placed.data(&vec![0; room]).map_err(refused)?;
            placed.integer(at).map_err(refused)?;
        }
        let parameters = callee.parameters();
        let mut parameters = parameters.iter();
        if let Some(this) = &callee.this {
            parameters.next();
            let at = this.address().ok_or_else(|| refused("its object is not in memory".into()))?;
            placed.integer(CallWord::Value(at.0)).map_err(refused)?;
        }
        for argument in arguments {
            self.place(argument, parameters.next(), &mut placed).map_err(|error| match error {
                NotPlaced::Reason(reason) => refused(reason),
                NotPlaced::Expr(error) => error,
            })?;
        }
        Ok(Prepared { callee, placed, returns })
    }

    /// Functions of a name, and the one that a variable of that name points to.
    fn functions(&mut self, name: &Name) -> Result<Vec<Callee>, ExprError> {
        // A local variable hides functions, as in C.
        if let Some(value) = EngineScope::new(self).variable(name, Lookup::Local)? {
            return self.pointed_to(name, &value).map(|callee| vec![callee]);
        }
        // Within a method, other methods of the class come before what is outside of it.
        if name.module.is_none()
            && !name.text.contains("::")
            && let Ok(Some(this)) = EngineScope::new(self).variable(&Name::plain("this"), Lookup::Local)
            && let Some(class) = this.value_type().target()
            && declaring(&class, &name.text).is_some()
        {
            return self.methods(name, &this);
        }
        let mut found = self.find_name(&name.to_string()).unwrap_or_default();
        if found.is_empty() {
            found = self.symbols_in_class(name);
        }
        let is_function =
            |found: &NamedAddress| matches!(found.kind, SymbolKind::Function | SymbolKind::IndirectFunction);
        let functions: Vec<Callee> =
            found.iter().filter(|found| is_function(found)).map(|found| self.callee(found)).collect();
        if functions.is_empty() {
            let value = EngineScope::new(self).variable(name, Lookup::Everywhere)?;
            return match value {
                Some(value) => self.pointed_to(name, &value).map(|callee| vec![callee]),
                None => Err(self.no_function(name)),
            };
        }
        Ok(functions)
    }

    /// Why there is no function of a name.
    fn no_function(&mut self, name: &Name) -> ExprError {
        if let Some((class, member)) = self.split_class(name)
            && let Some(error) = self.without_code(&class, &member)
        {
            return error;
        }
        let function = name.to_string();
        match self.resolve_place(&BreakpointPlace::Expression(function.clone())) {
            Ok(_) => ExprError::Call { function, reason: INLINED.to_owned() },
            Err(_) => ExprError::Unresolved { name: function },
        }
    }

    /// Methods of an object's class, and of its bases where it has none; or a function that a member points to.
    fn methods(&mut self, name: &Name, object: &Value) -> Result<Vec<Callee>, ExprError> {
        let object = match object.value_type().is_pointer() {
            true => {
                let target = object.deref(EngineScope::new(self).memory());
                target.map_err(|reason| ExprError::Value { name: "this".into(), reason })?
            }
            false => object.clone(),
        };
        let member = object.member(&name.text, EngineScope::new(self).memory());
        if let Ok(member) = member {
            return self.pointed_to(name, &member).map(|callee| vec![callee]);
        }
        let (class, method) = match name.text.rsplit_once("::") {
            Some((class, method)) => (Some(class), method),
            None => (None, name.text.as_str()),
        };
        if let Some(declared) = self.methods_of(&object, class, method, BASE_DEPTH) {
            return Ok(declared);
        }
        // What only the object's own class has.
        let real = self.as_it_was_made(&object);
        if let Some(found) = real.and_then(|real| self.methods_of(&real, class, method, BASE_DEPTH)) {
            return Ok(found);
        }
        let of = object.value_type();
        Err(self
            .without_code(of, method)
            .unwrap_or_else(|| ExprError::NoMethod { method: name.to_string(), of: of.to_string() }))
    }

    /// The complaint about a method that a class or a base of it declares and of which there is no code to call.
    fn without_code(&mut self, class: &Type, method: &str) -> Option<ExprError> {
        let called = declaring(class, method)?;
        let reason = match self.resolve_place(&BreakpointPlace::Expression(called)) {
            Ok(_) => INLINED,
            Err(_) => "its class declares it, but there is no code of it: nothing uses it, or it is all optimised away",
        };
        Some(ExprError::Call { function: method.to_owned(), reason: reason.to_owned() })
    }

    /// The function that a call of a virtual method comes to: what the object's virtual table has for it.
    ///
    /// # Errors
    /// Why that cannot be told.
    fn dispatched(&mut self, callee: Callee, arguments: &[Value]) -> Result<Callee, String> {
        let (Some(virtual_method), Some(this)) = (callee.virtual_method, &callee.this) else { return Ok(callee) };
        let method = callee.name.rsplit("::").next().unwrap_or_default().to_owned();
        // A slot of another base's table would have another method: names are compared, those of thunks, too.
        let names = |name: &str| name.trim_end_matches([')', '}']).rsplit("::").next() == Some(method.as_str());
        if let Some(at) = this.address().zip(virtual_method.slot).and_then(|(at, slot)| {
            let mut memory = self.memory().ok()?;
            let table = Va(memory.read_u64(at)?);
            memory.read_u64(table + slot.checked_mul(8)?).map(Va)
        }) && self.symbol_at(at).is_some_and(|symbol| symbol.displacement == 0 && names(&symbol.name))
        {
            return Ok(Callee { at, ..callee });
        }
        let unknown = || {
            format!(
                "which function overrides {} cannot be told; say which, with its class before its name",
                callee.name
            )
        };
        let real = self.as_it_was_made(this).ok_or_else(unknown)?;
        let overriding = self.methods_of(&real, None, &method, BASE_DEPTH).ok_or_else(unknown)?;
        choose(overriding, arguments)
    }

    /// An object as the class that it was made of, which its vtable tells (Itanium C++ ABI, 2.5.2: the offset to the whole
    /// object lies two words before where the pointer leads, which is behind the type's information).
    fn as_it_was_made(&mut self, object: &Value) -> Option<Value> {
        let at = object.address()?;
        let mut memory = self.memory().ok()?;
        let vtable = Va(memory.read_u64(at)?);
        let name = self.symbol_at(vtable)?.name;
        let demangled = name.strip_prefix("{vtable(").and_then(|rest| rest.strip_suffix(")}"));
        let class = demangled.or_else(|| name.strip_prefix("vtable for "))?.to_owned();
        let to_whole = memory.read_u64(vtable - 16)?;
        let of = self.find_types(&class).ok()?.into_iter().next()?;
        Some(Value::in_memory(of, at.wrapping_offset(to_whole as i64)))
    }

    fn methods_of(&mut self, object: &Value, class: Option<&str>, method: &str, depth: usize) -> Option<Vec<Callee>> {
        let depth = depth.checked_sub(1)?;
        let of = object.value_type().resolved();
        let own = of.qualified_name();
        let bases = of.record()?.bases.len();
        if class.is_none_or(|class| own == class || own.ends_with(&format!("::{class}"))) {
            let found = self.find_name(&format!("{own}::{method}")).unwrap_or_default();
            // What leaves out scopes finds methods of other classes, too.
            let prefix = format!("{own}::");
            let own: Vec<&NamedAddress> = found.iter().filter(|found| found.name.starts_with(&prefix)).collect();
            if !own.is_empty() {
                // What the library has no debug info of, the class declares wherever it is used.
                let declared = of.declared_functions(method);
                let with_object = |mut callee: Callee, linkage_name: Option<&str>| {
                    if callee.of.is_none() {
                        callee.of = declared_as(&declared, linkage_name);
                    }
                    if callee.takes_this(&of) {
                        callee.this = Some(object.clone());
                    }
                    callee
                };
                let callees =
                    own.into_iter().map(|found| with_object(self.callee(found), found.linkage_name.as_deref()));
                return Some(callees.collect());
            }
        }
        (0..bases).find_map(|number| {
            let base = object.base(number, EngineScope::new(self).memory()).ok()?;
            self.methods_of(&base, class, method, depth)
        })
    }

    fn callee(&mut self, found: &NamedAddress) -> Callee {
        let of = self.typed_value(found).map(|value| value.value_type().clone());
        let mut of = of.filter(|of| matches!(of.kind(), TypeKind::Function { .. }));
        if found.kind == SymbolKind::IndirectFunction {
            // The type is that of the function which chooses; what it chooses from has the type that it returns.
            let chosen = of.as_ref().and_then(|of| match of.kind() {
                TypeKind::Function { returns, .. } => of.sibling(*returns).resolved().target(),
                _ => None,
            });
            of = chosen.map(|of| of.resolved()).filter(|of| matches!(of.kind(), TypeKind::Function { .. }));
        }
        // Of assembler's functions there is an entry, and nothing in it.
        let says_nothing = |of: &Type| match of.kind() {
            TypeKind::Function { returns, .. } => matches!(of.sibling(*returns).kind(), TypeKind::Unspecified),
            _ => true,
        };
        of = of.filter(|of| !says_nothing(of));
        let is_mangled =
            found.linkage_name.as_deref().is_some_and(|name| name.starts_with("_R") || name.starts_with("_ZN"));
        let is_rust = is_mangled && of.as_ref().is_some_and(|of| of.language() == Language::Rust);
        Callee {
            name: found.name.clone(),
            at: found.address,
            is_indirect: found.kind == SymbolKind::IndirectFunction,
            of,
            is_rust,
            this: None,
            virtual_method: self.virtual_method(found),
        }
    }

    fn virtual_method(&mut self, found: &NamedAddress) -> Option<VirtualMethod> {
        let process = self.current_process().ok()?;
        let module = self.process(process).ok()?.modules.named(&found.module).first()?.clone();
        let symbols = self.symbol_loader(process).ok()?.symbols(&module);
        symbols.variables()?.virtual_method(found.die?)
    }

    /// The function that a pointer leads to.
    fn pointed_to(&mut self, name: &Name, value: &Value) -> Result<Callee, ExprError> {
        let no_function =
            || ExprError::Call { function: name.to_string(), reason: format!("{} is no function", value.value_type()) };
        let of = value.value_type().resolved();
        let of = match of.kind() {
            TypeKind::Function { .. } => of,
            _ => of.target().ok_or_else(no_function)?.resolved(),
        };
        if !matches!(of.kind(), TypeKind::Function { .. }) {
            return Err(no_function());
        }
        let at = match value.value_type().is_pointer() {
            true => {
                let scalar = value.scalar(EngineScope::new(self).memory());
                Va(scalar.map_err(|reason| ExprError::Value { name: name.to_string(), reason })?.as_u64())
            }
            false => value.address().ok_or_else(no_function)?,
        };
        let is_rust = of.language() == Language::Rust;
        Ok(Callee {
            name: name.to_string(),
            at,
            // What a name gives the address of, where the loader's choice is meant.
            is_indirect: self.is_indirect_function(at),
            of: Some(of),
            is_rust,
            this: None,
            virtual_method: None,
        })
    }

    /// Puts an argument where its parameter is taken from; `None`: there is no prototype for it.
    fn place(&mut self, argument: &Value, parameter: Option<&Type>, placed: &mut Placed) -> Result<(), NotPlaced> {
        let given = argument.value_type().resolved();
        let bytes = |engine: &mut Engine| {
            let bytes = argument.bytes(EngineScope::new(engine).memory());
            bytes.map_err(|reason| ExprError::Value { name: given.to_string(), reason })
        };
        if let Some(wanted) = parameter.map(Type::resolved) {
            if let TypeKind::Pointer { flavour: PointerFlavour::Reference | PointerFlavour::RvalueReference, target } =
                wanted.kind()
            {
                let referred = wanted.sibling(*target);
                if !is_same(&referred.resolved(), &given) {
                    let value = self.converted(argument, &referred)?;
                    let bytes = value.bytes(EngineScope::new(self).memory());
                    let bytes = bytes.map_err(|reason| ExprError::Value { name: referred.to_string(), reason })?;
                    let at = placed.data(&bytes)?;
                    return Ok(placed.integer(at)?);
                }
                let word = match argument.address() {
                    Some(at) => CallWord::Value(at.0),
                    None => placed.data(&bytes(self)?)?,
                };
                return Ok(placed.integer(word)?);
            }
            if matches!(wanted.kind(), TypeKind::Record(_)) {
                return Ok(placed.record(&wanted, &bytes(self)?)?);
            }
            if given.element().is_none() {
                let value = self.converted(argument, &wanted)?;
                return self.place_scalar(&value, placed);
            }
        }
        match given.kind() {
            // An array is the address of its first element; one that is nowhere is put on the stack.
            TypeKind::Array { .. } => {
                let word = match argument.address() {
                    Some(at) => CallWord::Value(at.0),
                    None => placed.data(&bytes(self)?)?,
                };
                Ok(placed.integer(word)?)
            }
            TypeKind::Record(_) => Ok(placed.record(&given, &bytes(self)?)?),
            TypeKind::Function { .. } | TypeKind::Void => {
                let at = argument.address().ok_or_else(|| "an argument has no value".to_owned())?;
                Ok(placed.integer(CallWord::Value(at.0))?)
            }
            // Default argument promotions: float is passed as double (C23, 6.5.2.2).
            _ if given.encoding() == Some(BaseEncoding::Float) => {
                let double = crate::expr::builtin("double");
                let value = self.converted(argument, &double)?;
                self.place_scalar(&value, placed)
            }
            _ => self.place_scalar(argument, placed),
        }
    }

    fn converted(&mut self, argument: &Value, to: &Type) -> Result<Value, NotPlaced> {
        if is_same(&argument.value_type().resolved(), &to.resolved()) {
            return Ok(argument.clone());
        }
        if matches!(to.resolved().kind(), TypeKind::Record(_)) {
            return Err(NotPlaced::Reason(format!("{} is no {to}", argument.value_type())));
        }
        Ok(cast(to.resolved(), argument, &mut EngineScope::new(self))?)
    }

    fn bytes_of(&mut self, value: &Value) -> Result<Vec<u8>, ExprError> {
        let bytes = value.bytes(EngineScope::new(self).memory());
        bytes.map_err(|reason| ExprError::Value { name: value.value_type().to_string(), reason })
    }

    fn place_scalar(&mut self, value: &Value, placed: &mut Placed) -> Result<(), NotPlaced> {
        let of = value.value_type().resolved();
        let scalar = value.scalar(EngineScope::new(self).memory());
        let scalar = scalar.map_err(|reason| ExprError::Value { name: of.to_string(), reason })?;
        match (scalar, of.size()) {
            (Scalar::Float(number), Some(4)) => Ok(placed.vector(u64::from((number as f32).to_bits()))?),
            (Scalar::Float(number), Some(8)) => Ok(placed.vector(number.to_bits())?),
            (Scalar::Float(_), Some(16)) => Ok(placed.in_memory(&self.bytes_of(value)?, 16)?),
            (Scalar::Complex(..), _) => Ok(placed.complex(&self.bytes_of(value)?)?),
            (Scalar::Float(_), _) => Err(format!("an argument of type {of} is not supported"))?,
            (_, Some(16)) => Ok(placed.wide_integer(&self.bytes_of(value)?)?),
            (_, Some(..=8)) => Ok(placed.integer(CallWord::Value(scalar.as_u64()))?),
            _ => Err(format!("an argument of type {of} is not supported"))?,
        }
    }
}

/// Why an argument was not placed.
enum NotPlaced {
    Reason(String),
    Expr(ExprError),
}

impl From<String> for NotPlaced {
    fn from(reason: String) -> NotPlaced {
        NotPlaced::Reason(reason)
    }
}

impl From<ExprError> for NotPlaced {
    fn from(error: ExprError) -> NotPlaced {
        NotPlaced::Expr(error)
    }
}

impl Callee {
    /// Types of its parameters, as far as they are known.
    fn parameters(&self) -> Vec<Type> {
        match self.of.as_ref().map(|of| (of, of.kind())) {
            Some((of, TypeKind::Function { parameters, .. })) => parameters.iter().map(|id| of.sibling(*id)).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether its first parameter is the object.
    fn takes_this(&self, class: &Type) -> bool {
        let first = self.parameters().first().and_then(Type::target);
        first.is_some_and(|target| is_same(&target.resolved(), class))
    }

    /// How well arguments fit; `None` if they do not.
    fn fit(&self, arguments: &[Value]) -> Option<Vec<Fit>> {
        let Some(TypeKind::Function { variadic, prototyped, .. }) = self.of.as_ref().map(Type::kind) else {
            return Some(Vec::new());
        };
        let parameters = self.parameters();
        let parameters = parameters.get(usize::from(self.this.is_some())..)?;
        let is_open = *variadic || (!prototyped && parameters.is_empty());
        if arguments.len() < parameters.len() || (arguments.len() > parameters.len() && !is_open) {
            return None;
        }
        arguments.iter().zip(parameters).map(|(argument, parameter)| fit(argument, parameter)).collect()
    }

    /// Its name with what it takes.
    fn prototype(&self) -> String {
        let parameters = self.parameters();
        let shown = parameters.iter().skip(usize::from(self.this.is_some())).map(Type::to_string);
        format!("{}({})", self.name, shown.collect::<Vec<_>>().join(", "))
    }
}

/// The type of the declaration of a function that the linker knows by this name; of the only one, where declarations do not
/// say what the linker knows them by.
fn declared_as(declared: &[(Option<String>, Type)], linkage_name: Option<&str>) -> Option<Type> {
    let linkage_name = linkage_name.map(|name| name.split('@').next().unwrap_or(name));
    let named = declared.iter().find(|(name, _)| name.is_some() && name.as_deref() == linkage_name);
    let (_, of) = named.or(match declared {
        [only] if only.0.is_none() => Some(only),
        _ => None,
    })?;
    matches!(of.kind(), TypeKind::Function { .. }).then(|| of.clone())
}

/// The function that fits the arguments best.
fn choose(mut candidates: Vec<Callee>, arguments: &[Value]) -> Result<Callee, String> {
    if candidates.iter().any(|callee| callee.of.is_some()) {
        candidates.retain(|callee| callee.of.is_some());
    } else {
        // Modules come in the order in which the loader looks through them.
        candidates.truncate(1);
    }
    candidates.sort_by_key(|callee| callee.at);
    candidates.dedup_by_key(|callee| callee.at);
    let listed = |callees: &[&Callee]| callees.iter().map(|callee| callee.prototype()).collect::<Vec<_>>().join(", ");
    let mut fitting: Vec<(u32, &Callee)> = candidates
        .iter()
        .filter_map(|callee| Some((callee.fit(arguments)?.iter().map(|fit| *fit as u32).sum(), callee)))
        .collect();
    fitting.sort_by_key(|(badness, _)| *badness);
    match fitting[..] {
        [] => Err(format!("the arguments fit none of {}", listed(&candidates.iter().collect::<Vec<_>>()))),
        [(_, only)] => Ok(only.clone()),
        [(best, callee), (next, _), ..] if best < next => Ok(callee.clone()),
        _ => {
            let tied: Vec<&Callee> = fitting.iter().map(|(_, callee)| *callee).collect();
            Err(format!("the arguments fit several: {}; cast them, or say which by module!name", listed(&tied)))
        }
    }
}

fn fit(argument: &Value, parameter: &Type) -> Option<Fit> {
    let given = argument.value_type().resolved();
    let mut wanted = parameter.resolved();
    if let TypeKind::Pointer { flavour: PointerFlavour::Reference | PointerFlavour::RvalueReference, target } =
        wanted.kind()
    {
        wanted = wanted.sibling(*target).resolved();
    }
    if is_same(&given, &wanted) {
        return Some(Fit::Exact);
    }
    let is_pointer =
        |of: &Type| of.is_pointer() || of.element().is_some() || matches!(of.kind(), TypeKind::Function { .. });
    let is_number = |of: &Type| matches!(of.kind(), TypeKind::Base(_) | TypeKind::Enumeration { .. });
    match (is_number(&given), is_number(&wanted)) {
        (true, true) => {
            let is_float = |of: &Type| of.encoding() == Some(BaseEncoding::Float);
            let same = is_float(&given) == is_float(&wanted);
            Some(if same { Fit::SameKind } else { Fit::Converted })
        }
        _ if is_pointer(&given) && wanted.is_pointer() => {
            let pointee = |of: &Type| of.element().map(|(element, _)| element).or_else(|| of.target());
            let same =
                pointee(&given).zip(pointee(&wanted)).is_some_and(|(a, b)| is_same(&a.resolved(), &b.resolved()));
            Some(if same { Fit::Exact } else { Fit::SameKind })
        }
        // Numbers are taken for addresses, and names without type for what they stand for.
        (true, false) | (false, true) if is_pointer(&given) || wanted.is_pointer() => Some(Fit::Converted),
        _ if matches!(given.kind(), TypeKind::Void) => Some(Fit::Converted),
        _ => None,
    }
}

/// Whether two types, maybe of different tables, are the same by what they are called.
fn is_same(one: &Type, other: &Type) -> bool {
    let same_kind = std::mem::discriminant(one.kind()) == std::mem::discriminant(other.kind());
    same_kind && one.size() == other.size() && one.to_string() == other.to_string()
}
