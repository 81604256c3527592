//! One row of the unwind table, compiled to a form that outlives the section reader.

use std::ops::Range;

use gimli::{BaseAddresses, CfaRule, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection};

use super::{Bytes, SectionKind};

/// The rules of a range of code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// First address, in the image.
    pub(crate) start: u64,
    /// First address behind.
    pub(crate) end: u64,
    /// First address behind the function's whole entry.
    pub(crate) entry_end: u64,
    /// Offset of the entry in its section.
    pub(crate) entry: u64,
    /// Where expressions lie.
    pub(crate) section: SectionKind,
    /// Rule for the canonical frame address.
    pub(crate) cfa: Cfa,
    /// Rules by DWARF register number; registers without one have the ABI's default.
    pub(crate) rules: Vec<(u16, Rule)>,
    /// Column of the return address.
    pub(crate) return_address: u16,
    /// Whether the entry is marked as a signal trampoline (augmentation `S`).
    pub(crate) is_signal_frame: bool,
}

/// How the canonical frame address is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cfa {
    /// Register plus offset.
    Register(u16, i64),
    /// Value of the expression in this part of the section.
    Expression(Range<usize>),
}

/// How a register of the caller is found (DWARF 5, 6.4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// It cannot be.
    Undefined,
    /// It was not changed.
    SameValue,
    /// At this offset from the canonical frame address.
    At(i64),
    /// It is the canonical frame address plus this.
    IsCfaPlus(i64),
    /// In another register.
    Register(u16),
    /// At the address that the expression gives.
    AtExpression(Range<usize>),
    /// It is what the expression gives.
    IsExpression(Range<usize>),
}

/// Room for `DW_CFA_remember_state` nested deeper than [`gimli::StoreOnHeap`] grants, still bounded.
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(gimli::Register, RegisterRule<usize>); 128];
    type Stack = Box<[gimli::UnwindTableRow<usize, Self>; 12]>;
}

impl Row {
    /// Whether the row covers `address`.
    pub(crate) fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Whether saved registers are found by expressions, as compilers do it in functions that realign the stack.
    pub(crate) fn has_expressions(&self) -> bool {
        self.rules.iter().any(|(_, rule)| matches!(rule, Rule::AtExpression(_)))
    }

    /// The rule for a register, if there is one.
    pub(crate) fn rule(&self, register: u16) -> Option<&Rule> {
        self.rules.iter().find(|(number, _)| *number == register).map(|(_, rule)| rule)
    }
}

/// Runs the program of the entry at `offset` as far as `address`; `None` if the entry does not cover it.
pub(super) fn compile_row<'a, S>(
    section: &S,
    kind: SectionKind,
    bases: &BaseAddresses,
    offset: u64,
    address: u64,
) -> Result<Option<Row>, gimli::Error>
where
    S: UnwindSection<Bytes<'a>>,
    S::Offset: From<usize>,
{
    let position = usize::try_from(offset).map_err(|_| gimli::Error::OffsetOutOfBounds(offset))?;
    let fde = section.fde_from_offset(bases, S::Offset::from(position), S::cie_from_offset)?;
    if !fde.contains(address) {
        return Ok(None);
    }
    let mut context = UnwindContext::<usize, Storage>::new_in();
    let row = fde.unwind_info_for_address(section, bases, &mut context, address)?;
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => Cfa::Register(register.0, *offset),
        CfaRule::Expression(expression) => Cfa::Expression(range(expression)),
    };
    let rules = row.registers().map(|(register, rule)| (register.0, compile_rule(rule))).collect();
    Ok(Some(Row {
        start: row.start_address(),
        end: row.end_address(),
        entry_end: fde.end_address(),
        entry: offset,
        section: kind,
        cfa,
        rules,
        return_address: fde.cie().return_address_register().0,
        is_signal_frame: fde.is_signal_trampoline(),
    }))
}

fn compile_rule(rule: &RegisterRule<usize>) -> Rule {
    match rule {
        RegisterRule::SameValue => Rule::SameValue,
        RegisterRule::Offset(offset) => Rule::At(*offset),
        RegisterRule::ValOffset(offset) => Rule::IsCfaPlus(*offset),
        RegisterRule::Register(register) => Rule::Register(register.0),
        RegisterRule::Expression(expression) => Rule::AtExpression(range(expression)),
        RegisterRule::ValExpression(expression) => Rule::IsExpression(range(expression)),
        // What only other architectures or private augmentations use says nothing here.
        _ => Rule::Undefined,
    }
}

fn range(expression: &gimli::UnwindExpression<usize>) -> Range<usize> {
    expression.offset..expression.offset.saturating_add(expression.length)
}
