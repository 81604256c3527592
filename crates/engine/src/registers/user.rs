//! The registers that users own: `$t0` to `$t19`.

use crate::Engine;

/// How many there are.
pub(crate) const USER_REGISTERS: usize = 20;

/// Values of `$t0` to `$t19`, 0 at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserRegisters {
    values: [u64; USER_REGISTERS],
}

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
        true
    }
}

impl Engine {
    /// Whether `name` is one of `$t0` to `$t19`.
    pub fn is_user_register(name: &str) -> bool {
        UserRegisters::index(name).is_some()
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
