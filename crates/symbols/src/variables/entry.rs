//! Values at function entry: what the caller passed, as its call site remembers.

use gimli::Expression;
use outpost_base::{ImageOffset, Va};

use super::die::{Die, for_each_child};
use super::expression::damaged;
use super::function::is_same_function;
use super::locate::Evaluator;
use super::tail::{TailCall, TailFrame, may_enter_itself, only_tail_call, with_code};
use super::{CallerFrame, Variables};
use crate::types::dwarf::attributes::Entry;
use crate::{DieRef, DwarfReader, Unavailable};
use std::ops::ControlFlow;

impl Evaluator<'_> {
    /// `DW_OP_entry_value` (DWARF 5, 2.5.1.7): what `expression` would have given when the function was entered.
    ///
    /// Only the caller knows, and only for what its call site lists (DWARF 5, 3.4.2): a register by its own
    /// description, memory that a register pointed to by `DW_AT_call_data_value`.
    pub(super) fn entry_value(&mut self, expression: Expression<DwarfReader>) -> Result<gimli::Value, Unavailable> {
        let encoding = self
            .function
            .and_then(|die| Die::read(&self.variables.info, die))
            .map(|die| die.unit.encoding())
            .ok_or(Unavailable::EntryValue { why: "no function" })?;
        let wanted = Described::of(&expression, encoding).ok_or(Unavailable::EntryValue { why: "not a parameter" })?;
        let value_names = match wanted {
            Described::Register(_) => [gimli::DW_AT_call_value, gimli::DW_AT_GNU_call_site_value],
            Described::Memory(_) => [gimli::DW_AT_call_data_value, gimli::DW_AT_GNU_call_site_data_value],
        };
        let register = wanted.register();
        self.at_call_site(&value_names, |parameter, _| {
            let location = parameter.attr(gimli::DW_AT_location).and_then(|attribute| attribute.exprloc_value());
            let described = location.and_then(|location| Described::of(&location, encoding));
            described.is_some_and(|described| described.register() == register)
        })
    }

    /// `DW_OP_GNU_parameter_ref`: as above, for the parameter with this DIE.
    pub(super) fn parameter_at_entry(&mut self, wanted: DieRef) -> Result<gimli::Value, Unavailable> {
        let names = [gimli::DW_AT_call_value, gimli::DW_AT_GNU_call_site_value];
        self.at_call_site(&names, |parameter, refers_to| {
            let refers = |name| refers_to(parameter, name) == Some(wanted);
            refers(gimli::DW_AT_call_parameter) || refers(gimli::DW_AT_abstract_origin)
        })
    }

    /// Evaluates, in the caller, the value that the call site lists for the parameter that `is_wanted`.
    fn at_call_site(
        &mut self,
        value_names: &[gimli::DwAt],
        is_wanted: impl FnMut(&Entry, &dyn Fn(&Entry, gimli::DwAt) -> Option<DieRef>) -> bool,
    ) -> Result<gimli::Value, Unavailable> {
        let missing = |why| Unavailable::EntryValue { why };
        let depth = self.depth.checked_sub(1).ok_or_else(|| missing("too many callers"))?;
        let callee = self.function.and_then(|die| Die::read(&self.variables.info, die));
        let callee = callee.ok_or_else(|| missing("no function"))?;
        if may_enter_itself(self.variables, &callee) {
            return Err(missing("the function may have entered itself by a tail call"));
        }
        let entry = self.variables.entry_of(&callee).map(|entry| ImageOffset(entry).to_va(self.frame.load_bias()));
        let callee_variables = self.variables;
        let cfa = self.frame.cfa();
        let CallerFrame { frame, variables } = self.frame.caller().ok_or_else(|| missing("no caller"))?;

        let bias = frame.load_bias();
        let (Some(pc), Some(lookup)) = (frame.pc(), frame.lookup_address()) else {
            return Err(missing("no return address"));
        };
        let caller: &Variables = &variables;
        let info = &caller.info;
        let function = caller.function_at(lookup.to_image(bias)).ok_or_else(|| missing("caller without debug info"))?;
        let function = Die::read(info, function).ok_or_else(|| missing("caller without debug info"))?;
        let sites = caller.call_sites(&function);
        let return_address = pc.to_image(bias).0;
        let at = sites.binary_search_by_key(&return_address, |site| site.return_address);
        let site = at.ok().and_then(|at| sites.get(at)).ok_or_else(|| missing("no call site"))?;
        let site = info.die(function.index, site.die).and_then(|die| Die::read(info, die));
        let site = site.ok_or_else(|| missing("no call site"))?;
        let mut evaluator = Evaluator { variables: caller, frame, function: Some(function.at), depth };

        // After a tail call the function was entered from elsewhere, and the registers are not those of this site.
        let origin = site
            .entry
            .attr_value(gimli::DW_AT_call_origin)
            .or_else(|| site.entry.attr_value(gimli::DW_AT_abstract_origin))
            .and_then(|value| Die::read(info, info.resolve(site.index, &value)?));
        let target = site
            .entry
            .attr(gimli::DW_AT_call_target)
            .or_else(|| site.entry.attr(gimli::DW_AT_GNU_call_site_target))
            .and_then(|attribute| attribute.exprloc_value());
        let (called, calls_this) = match (origin, target) {
            (Some(origin), _) => {
                let calls_this = is_same_function(caller, &origin, callee_variables, &callee);
                (with_code(caller, origin), calls_this)
            }
            (None, Some(target)) => {
                let target = evaluator.computed(&site, &target)?.to_u64(u64::MAX).map_err(damaged)?;
                let called = caller.function_at(Va(target).to_image(bias)).and_then(|die| Die::read(info, die));
                (called, entry.is_some_and(|entry| entry.0 == target))
            }
            (None, None) => return Err(missing("unknown target of the call")),
        };
        if calls_this {
            return evaluator.listed_value(&site, value_names, is_wanted);
        }
        let tail = called.and_then(|called| only_tail_call(caller, called, callee_variables, &callee));
        let TailCall { function, site, lookup_address } = tail.ok_or_else(|| missing("entered by a tail call"))?;
        let at = lookup_address.ok_or_else(|| missing("no call site"))?;
        let Evaluator { frame, .. } = evaluator;
        let mut frame = TailFrame { caller: frame, caller_variables: variables.clone(), cfa, load_bias: bias, at };
        let mut evaluator = Evaluator { variables: caller, frame: &mut frame, function: Some(function.at), depth };
        evaluator.listed_value(&site, value_names, is_wanted)
    }

    /// The value that a call site of this function lists for the parameter that `is_wanted`.
    fn listed_value(
        &mut self,
        site: &Die,
        value_names: &[gimli::DwAt],
        mut is_wanted: impl FnMut(&Entry, &dyn Fn(&Entry, gimli::DwAt) -> Option<DieRef>) -> bool,
    ) -> Result<gimli::Value, Unavailable> {
        let missing = |why| Unavailable::EntryValue { why };
        let info = &self.variables.info;
        let refers_to = |entry: &Entry, name| info.resolve(site.index, &entry.attr_value(name)?);
        let parameter = for_each_child(&site.unit, site.entry.offset(), |child| {
            let tag = child.tag();
            let is_parameter = matches!(tag, gimli::DW_TAG_call_site_parameter | gimli::DW_TAG_GNU_call_site_parameter);
            if is_parameter && is_wanted(child, &refers_to) {
                return ControlFlow::Break(child.clone());
            }
            ControlFlow::Continue(())
        });
        let parameter = parameter.ok_or_else(|| missing("caller does not tell the parameter"))?;
        let value = value_names.iter().find_map(|name| parameter.attr(*name)?.exprloc_value());
        let value = value.ok_or_else(|| missing("caller does not tell the value"))?;
        self.computed(site, &value)
    }
}

/// What an entry value is the value of.
enum Described {
    /// A register.
    Register(u16),
    /// What the register pointed to.
    Memory(u16),
}

impl Described {
    /// Reads `DW_OP_regN`, `DW_OP_bregN 0` (which gcc uses for the same) and `DW_OP_bregN 0; DW_OP_deref`.
    fn of(expression: &Expression<DwarfReader>, encoding: gimli::Encoding) -> Option<Described> {
        let mut operations = expression.clone().operations(encoding);
        let (first, second) = (operations.next().ok()??, operations.next().ok()?);
        match (first, second) {
            (gimli::Operation::Register { register }, None) => Some(Described::Register(register.0)),
            (gimli::Operation::RegisterOffset { register, offset: 0, .. }, None) => {
                Some(Described::Register(register.0))
            }
            (gimli::Operation::RegisterOffset { register, offset: 0, .. }, Some(gimli::Operation::Deref { .. })) => {
                Some(Described::Memory(register.0))
            }
            _ => None,
        }
    }

    fn register(&self) -> u16 {
        match self {
            Described::Register(register) | Described::Memory(register) => *register,
        }
    }
}
