//! What a function has returned, by its type.

use std::rc::Rc;

use outpost_base::{RegisterContext, RegisterValue, Va};
use outpost_symbols::{Type, TypeKind};
use outpost_target::RegisterSets;

use super::ReturnedValue;
use crate::call::value_of_registers;
use crate::modules::Module;
use crate::symbols::ModuleSymbols;
use crate::{Engine, EngineError, ThreadOrdinal};

impl Engine {
    /// What the function around `inside` has just returned to its caller in `thread`.
    pub(super) fn returned_value(&mut self, thread: ThreadOrdinal, inside: Va) -> Option<ReturnedValue> {
        let process = self.process_of(thread).ok()?.ordinal;
        let registers = self.registers(thread, RegisterSets::default()).ok()?;
        let register = registers.get_u64(self.arch().return_value())?;
        let symbol = self.symbol_at(inside);
        let function = symbol.map(|symbol| symbol.name).unwrap_or_default();
        let found = self.module_symbols(process, inside).ok().flatten();
        let returned = found.and_then(|(module, symbols)| return_type(&module, &symbols, inside));
        let Some(returned) = returned else {
            return Some(ReturnedValue { function, type_name: String::new(), register, value: None });
        };
        let type_name = returned.to_string();
        let value = value_of_registers(&registers, returned, &mut |name, len| self.vector(thread, name, len));
        Some(ReturnedValue { function, type_name, register, value })
    }

    /// What the function around `function` has returned if it has just come back to the current thread; with `register` as
    /// if its integer return register held that.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`]; [`EngineError::Invalid`] where no function is known.
    pub fn return_of(&mut self, function: Va, register: Option<u64>) -> Result<ReturnedValue, EngineError> {
        let thread = self.current_thread()?;
        let process = self.process_of(thread)?.ordinal;
        let mut registers = self.registers(thread, RegisterSets { floating: true, debug: false })?;
        if let Some(value) = register {
            let id = registers.arch.return_value();
            registers.set(id, RegisterValue::from_u64(value, 64));
        }
        let symbol = self.symbol_at(function).filter(|symbol| !symbol.name.is_empty());
        let none = || EngineError::Invalid { reason: format!("no function is known at {function}") };
        let name = symbol.ok_or_else(none)?.name;
        let register = registers.get_u64(registers.arch.return_value()).unwrap_or_default();
        let returned = self.module_symbols(process, function)?;
        let returned = returned.and_then(|(module, symbols)| return_type(&module, &symbols, function));
        let type_name = returned.as_ref().map(ToString::to_string).unwrap_or_default();
        let value = returned.and_then(|returned| {
            value_of_registers(&registers, returned, &mut |name, len| vector_of(&registers, name, len))
        });
        Ok(ReturnedValue { function: name, type_name, register, value })
    }

    fn vector(&mut self, thread: ThreadOrdinal, name: &str, len: u64) -> Option<Vec<u8>> {
        let registers = self.registers(thread, RegisterSets { floating: true, debug: false }).ok()?;
        vector_of(&registers, name, len)
    }
}

/// The first bytes of a vector or x87 register.
pub(crate) fn vector_of(registers: &RegisterContext, name: &str, len: u64) -> Option<Vec<u8>> {
    let value = registers.get(registers.arch.register_by_name(name)?)?;
    Some(value.bytes().get(..len as usize)?.to_vec())
}

fn return_type(module: &Rc<Module>, symbols: &ModuleSymbols, inside: Va) -> Option<Type> {
    let function = symbols.module()?.function_at(inside.to_image(module.info.bias))?;
    let function = symbols.variables()?.function_type(function.die)?;
    match function.kind() {
        TypeKind::Function { returns, .. } => Some(function.sibling(*returns)),
        _ => None,
    }
}
