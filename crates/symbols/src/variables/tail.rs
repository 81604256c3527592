//! Functions that were entered by a tail call: the frame of whoever made it is gone, but what it passed may be told.

use gimli::AttributeValue;
use outpost_base::{ImageOffset, LoadBias, MemoryReader, RegisterValue, Va};

use super::die::Die;
use super::function::{is_same_function, visit_call_sites};
use super::{CallerFrame, FrameContext, Variables};

/// How many functions are looked at for how one led to another.
const FUNCTION_LIMIT: usize = 256;
/// How many tail calls lie between a call and the function that it ended in.
const CHAIN_LIMIT: usize = 16;

/// The last of the tail calls that led to a function.
#[derive(Clone)]
pub(super) struct TailCall {
    /// The function that made it.
    pub(super) function: Die,
    /// Its `DW_TAG_call_site`.
    pub(super) site: Die,
}

/// The one tail call by which `callee` was entered if `called` was called; `None` if it may have been several, or none is
/// known.
///
/// A call whose target is not told may have led anywhere, so where one is met nothing is known. As gdb does it.
pub(super) fn only_tail_call(
    variables: &Variables,
    called: Die,
    callee_variables: &Variables,
    callee: &Die,
) -> Option<TailCall> {
    let mut search = Search { variables, callee_variables, callee, seen: Vec::new(), found: Vec::new() };
    search.from(called, CHAIN_LIMIT)?;
    let mut found = search.found.into_iter();
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

struct Search<'a> {
    variables: &'a Variables,
    callee_variables: &'a Variables,
    callee: &'a Die,
    seen: Vec<crate::DieRef>,
    found: Vec<TailCall>,
}

impl Search<'_> {
    /// Looks at the tail calls of `function` and of what they lead to; `None` if a target is not known.
    fn from(&mut self, function: Die, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        if self.seen.contains(&function.at) {
            return Some(());
        }
        if self.seen.len() >= FUNCTION_LIMIT {
            return None;
        }
        self.seen.push(function.at);
        let info = &self.variables.info;
        let mut sites = Vec::new();
        visit_call_sites(function.unit_ref(info), function.entry.offset(), |entry| {
            let is_tail = |name| matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)));
            if is_tail(gimli::DW_AT_call_tail_call) || is_tail(gimli::DW_AT_GNU_tail_call) {
                sites.extend(info.die(function.index, entry.offset()));
            }
        });
        for site in sites {
            let site = Die::read(info, site)?;
            let target = site
                .entry
                .attr_value(gimli::DW_AT_call_origin)
                .or_else(|| site.entry.attr_value(gimli::DW_AT_abstract_origin))
                .and_then(|value| Die::read(info, info.resolve(site.index, &value)?))?;
            if is_same_function(self.variables, &target, self.callee_variables, self.callee) {
                self.found.push(TailCall { function: function.clone(), site });
            } else if let Some(target) = with_code(self.variables, target) {
                self.from(target, depth)?;
            }
            // What is of another image is not meant: the callee would have its name.
        }
        Some(())
    }
}

/// The function with code that an entry means, which may be a declaration in another unit.
pub(super) fn with_code(variables: &Variables, function: Die) -> Option<Die> {
    if function.entry.has_attr(gimli::DW_AT_low_pc) || function.entry.has_attr(gimli::DW_AT_ranges) {
        return Some(function);
    }
    let info = &variables.info;
    let name = function.linkage_name(info).or_else(|| function.name(info))?;
    Die::read(info, variables.lookup.as_ref()?.function_named(&name)?)
}

/// The frame that a function had when it ended by a tail call.
///
/// By then it had given back the registers that it must preserve, so they were those of the frame that called it. Its
/// return address was where its successor's is, so the two have one frame address.
pub(super) struct TailFrame<'a> {
    pub(super) caller: &'a mut dyn FrameContext,
    pub(super) caller_variables: std::sync::Arc<Variables>,
    /// The frame address that it shares with what it called.
    pub(super) cfa: Option<Va>,
    /// An address within the call, in the image.
    pub(super) at: ImageOffset,
}

/// Registers that functions preserve, by DWARF number (System V ABI, AMD64, 3.2.1 and 3.6.2).
const PRESERVED: [u16; 6] = [3, 6, 12, 13, 14, 15];

impl FrameContext for TailFrame<'_> {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        self.caller.memory()
    }

    fn load_bias(&self) -> LoadBias {
        self.caller.load_bias()
    }

    fn pc(&self) -> Option<Va> {
        self.lookup_address()
    }

    fn lookup_address(&self) -> Option<Va> {
        Some(self.at.to_va(self.caller.load_bias()))
    }

    fn register(&mut self, dwarf: u16) -> Option<RegisterValue> {
        PRESERVED.contains(&dwarf).then(|| self.caller.register(dwarf)).flatten()
    }

    fn cfa(&mut self) -> Option<Va> {
        self.cfa
    }

    fn thread_local(&mut self, offset: u64) -> Option<Va> {
        self.caller.thread_local(offset)
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        Some(CallerFrame { frame: &mut *self.caller, variables: self.caller_variables.clone() })
    }
}
