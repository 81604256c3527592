//! The registers that users own: `$t0` to `$t19`.

use outpost_symbols::{Unavailable, Value};

use crate::{Engine, EngineError};

/// How many there are.
pub(crate) const USER_REGISTERS: usize = 20;

/// Values of `$t0` to `$t19`, 0 at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserRegisters {
    values: [u64; USER_REGISTERS],
    /// What C++ expressions see of those that were set with a type.
    typed: [Option<Value>; USER_REGISTERS],
}

/// The registers as they were at some time; `Engine::restore_user_registers` brings them back.
#[derive(Debug, Clone, Default)]
pub struct SavedUserRegisters(UserRegisters);

impl UserRegisters {
    fn index(name: &str) -> Option<usize> {
        let digits = name.strip_prefix("$t").or_else(|| name.strip_prefix("$T"))?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|&index| plain && index < USER_REGISTERS)
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        Some(self.values[UserRegisters::index(name)?])
    }

    pub(super) fn set(&mut self, name: &str, value: u64) -> bool {
        let Some(index) = UserRegisters::index(name) else { return false };
        self.values[index] = value;
        self.typed[index] = None;
        true
    }

    /// The typed value of one that was set with a type.
    pub(crate) fn typed(&self, name: &str) -> Option<&Value> {
        self.typed[UserRegisters::index(name)?].as_ref()
    }
}

impl Engine {
    /// Whether `name` is one of `$t0` to `$t19`.
    pub fn is_user_register(name: &str) -> bool {
        UserRegisters::index(name).is_some()
    }

    /// Sets one of `$t0` to `$t19` to a value with its type, which C++ expressions see; as a number it is the value's, or
    /// the address of what is no number. Numbers and pointers are kept as they are now; objects stay where they are, and
    /// are read when they are asked for.
    ///
    /// # Errors
    /// [`EngineError::RegisterUnavailable`] for other registers, and for a value that has neither number nor address.
    pub fn set_user_value(&mut self, name: &str, value: &Value) -> Result<(), EngineError> {
        let refused = |reason: String| EngineError::RegisterUnavailable { name: name.to_owned(), reason };
        let index = UserRegisters::index(name);
        let index = index.ok_or_else(|| refused("only $t0 to $t19 have values with a type".to_owned()))?;
        let mut memory = self.memory()?;
        let (number, kept) = match value.scalar(&mut memory) {
            Ok(scalar) => {
                let bytes = value.bytes(&mut memory).map_err(|reason| refused(reason.to_string()))?;
                (scalar.as_u64(), Value::from_bytes(value.value_type().clone(), bytes))
            }
            Err(Unavailable::WrongType) => {
                let at = value.address();
                (at.ok_or_else(|| refused("the value is no number and not in memory".to_owned()))?.0, value.clone())
            }
            Err(reason) => return Err(refused(reason.to_string())),
        };
        self.user_registers.values[index] = number;
        self.user_registers.typed[index] = Some(kept);
        Ok(())
    }

    /// The typed value of a register that was set with one.
    pub fn user_value(&self, name: &str) -> Option<Value> {
        self.user_registers.typed(name).cloned()
    }

    /// `$t0` to `$t19` as they are, to be brought back later.
    pub fn save_user_registers(&self) -> SavedUserRegisters {
        SavedUserRegisters(self.user_registers.clone())
    }

    /// Brings `$t0` to `$t19` back.
    pub fn restore_user_registers(&mut self, saved: &SavedUserRegisters) {
        self.user_registers = saved.0.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_and_no_more() {
        let mut registers = UserRegisters::default();
        assert!(registers.set("$t19", 5) && registers.get("$T19") == Some(5));
        assert!(!registers.set("$t20", 5) && !registers.set("$teb", 5) && !registers.set("$t+1", 1));
    }
}
