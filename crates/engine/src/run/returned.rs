//! What a function has returned, by its type.

use std::rc::Rc;

use outpost_base::{RegisterContext, Va};
use outpost_symbols::{Type, TypeKind};
use outpost_target::RegisterSets;

use super::ReturnedValue;
use crate::call::value_of_registers;
use crate::modules::Module;
use crate::symbols::ModuleSymbols;
use crate::{Engine, ThreadOrdinal};

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
