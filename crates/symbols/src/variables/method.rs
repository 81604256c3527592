//! Which methods are virtual, and where their addresses are in virtual tables.

use gimli::{AttributeValue, Operation};

use super::Variables;
use super::die::Die;
use crate::DieRef;

/// What debug info says of a virtual method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualMethod {
    /// Its number in the virtual table that its class has at offset 0; `None` if that is not told.
    pub slot: Option<u64>,
}

impl Variables {
    /// Whether the function of a DIE is a virtual method; `None` if it is none.
    pub fn virtual_method(&self, die: DieRef) -> Option<VirtualMethod> {
        let info = &self.info;
        let die = Die::read(info, die)?;
        let (_, virtuality) = die.inherited(info, gimli::DW_AT_virtuality)?;
        if !matches!(virtuality, AttributeValue::Virtuality(kind) if kind != gimli::DW_VIRTUALITY_none) {
            return None;
        }
        let slot = die.inherited(info, gimli::DW_AT_vtable_elem_location).and_then(|(owner, value)| match value {
            AttributeValue::Exprloc(expression) => {
                match expression.operations(owner.unit.encoding()).next().ok()?? {
                    Operation::UnsignedConstant { value } => Some(value),
                    Operation::SignedConstant { value } => u64::try_from(value).ok(),
                    _ => None,
                }
            }
            value => value.udata_value(),
        });
        Some(VirtualMethod { slot })
    }
}
