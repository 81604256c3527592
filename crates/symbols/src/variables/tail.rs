//! Functions that ended by a tail call: their frames are gone, but which they were, and what they passed, may be told.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{AttributeValue, UnitOffset};
use outpost_base::{ImageOffset, LoadBias, MemoryReader, RegisterValue, Va};

use super::die::Die;
use super::function::{is_same_function, visit_call_sites};
use super::{CallerFrame, FrameContext, Variables};
use crate::DieRef;
use crate::types::dwarf::attributes::{Entry, flag};

/// How many functions are looked at for how one led to another.
const FUNCTION_LIMIT: usize = 256;

/// The function that a call led to in the end.
pub struct TailCallee<'a> {
    /// Variables of the image that it belongs to, if there is debug info.
    pub variables: Option<&'a Variables>,
    /// An address in it, in that image.
    pub at: ImageOffset,
    /// Whether symbols of its image call it so; asked for functions of other images, and where it has no debug info.
    pub is_named: &'a mut dyn FnMut(&str) -> bool,
}

/// A function that ended by a tail call, between a call and what was reached by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TailCallFrame {
    /// Behind the instruction that ended it; that instruction where debug info does not tell how long it is.
    pub address: ImageOffset,
    /// An address inside that instruction: what to look symbols and lines up by.
    pub lookup_address: ImageOffset,
    /// Whether its code belongs to the callee's image; else to the caller's.
    pub in_callee_image: bool,
}

/// A tail call in a function's code.
#[derive(Clone, Copy, Debug)]
pub(super) struct TailSite {
    /// Its `DW_TAG_call_site`.
    die: UnitOffset,
    /// The instruction behind it, and an address inside it.
    address: Option<(ImageOffset, ImageOffset)>,
    /// The function that it names; `None`: it goes to a computed address.
    target: Option<DieRef>,
    /// That function where it has code in this image.
    code: Option<DieRef>,
    /// Whether it is only declared in this image.
    is_elsewhere: bool,
}

/// The last of the tail calls that led to a function.
#[derive(Clone)]
pub(super) struct TailCall {
    /// The function that made it.
    pub(super) function: Die,
    /// Its `DW_TAG_call_site`.
    pub(super) site: Die,
    /// An address inside the call, in the image.
    pub(super) lookup_address: Option<ImageOffset>,
}

impl Variables {
    /// The functions that ended by tail calls after the call of this image that returns to `return_address`, and before
    /// `callee` was entered, which is the frame below; innermost first. Empty if that call called it.
    ///
    /// Where there are several ways from one to the other, only the functions that all of them begin with and end with
    /// are told. A tail call to a computed address may have led anywhere, so where one is met nothing is known; nor where
    /// one goes to code without debug info, unless caller and callee are of one image and that is not. As gdb does it,
    /// but for the last.
    pub fn tail_calls(&self, return_address: ImageOffset, callee: &mut TailCallee<'_>) -> Vec<TailCallFrame> {
        self.find_tail_calls(return_address, callee).unwrap_or_default()
    }

    fn find_tail_calls(&self, return_address: ImageOffset, callee: &mut TailCallee<'_>) -> Option<Vec<TailCallFrame>> {
        let info = &self.info;
        let caller = self.function_at(ImageOffset(return_address.0.checked_sub(1)?))?;
        let caller = Die::read(info, caller)?;
        let sites = self.call_sites(&caller);
        let at = sites.binary_search_by_key(&return_address.0, |site| site.return_address).ok()?;
        let site = caller.unit.entry(sites.get(at)?.die).ok()?;
        let called = Die::read(info, info.resolve(caller.index, &origin_of(&site)?)?)?;
        let function = callee.variables.and_then(|known| Die::read(&known.info, known.function_at(callee.at)?));
        let TailCallee { variables, is_named, .. } = callee;
        let callee = Callee { function: variables.zip(function), is_named: &mut **is_named };
        let ways = Ways::find(self, called, callee)?;
        // From the callee outwards.
        let sure = sure_edges(&ways.edges()).into_iter().rev();
        let frames = sure.map(|way| {
            let Way { from, site, .. } = &ways.ways[way];
            let (address, lookup_address) = site.address?;
            Some(TailCallFrame { address, lookup_address, in_callee_image: ways.functions[*from].in_callee_image })
        });
        frames.collect()
    }

    /// The tail calls of a function.
    fn tail_sites(&self, function: &Die) -> Arc<[TailSite]> {
        self.tail_sites.get_or_insert(function.at, || {
            let info = &self.info;
            let unit = function.unit_ref(info);
            let mut found = Vec::new();
            visit_call_sites(unit, function.entry.offset(), |entry| {
                let is_tail = |name| matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)));
                if !is_tail(gimli::DW_AT_call_tail_call) && !is_tail(gimli::DW_AT_GNU_tail_call) {
                    return;
                }
                let address = |name| unit.attr_address(entry.attr_value(name)?).ok()?;
                let behind = address(gimli::DW_AT_call_return_pc).or_else(|| address(gimli::DW_AT_low_pc));
                let address = match behind {
                    Some(behind) => Some((ImageOffset(behind), ImageOffset(behind.saturating_sub(1)))),
                    None => address(gimli::DW_AT_call_pc).map(|at| (ImageOffset(at), ImageOffset(at))),
                };
                let target = origin_of(entry).and_then(|value| Die::read(info, info.resolve(function.index, &value)?));
                let is_elsewhere = target.as_ref().is_some_and(|target| flag(&target.entry, gimli::DW_AT_declaration));
                found.push(TailSite {
                    die: entry.offset(),
                    address,
                    target: target.as_ref().map(|target| target.at),
                    code: target.and_then(|target| with_code(self, target)).map(|code| code.at),
                    is_elsewhere,
                });
            });
            found.into()
        })
    }
}

/// The one tail call by which `callee` was entered if `called` was called; `None` if it may have been one of several,
/// or none is known.
pub(super) fn only_tail_call(
    variables: &Variables,
    called: Die,
    callee_variables: &Variables,
    callee: &Die,
) -> Option<TailCall> {
    let callee = Callee { function: Some((callee_variables, callee.clone())), is_named: &mut |_| false };
    let ways = Ways::find(variables, called, callee)?;
    let Way { from, site, .. } = &ways.ways[*last_edges(&ways.edges()).first()?];
    let Known { function, in_callee_image } = ways.functions.get(*from)?;
    if *in_callee_image {
        return None;
    }
    let at = variables.info.die(function.index, site.die)?;
    let lookup_address = site.address.map(|(_, inside)| inside);
    Some(TailCall { function: function.clone(), site: Die::read(&variables.info, at)?, lookup_address })
}

/// Whether a function may have been entered again, by tail calls that lead back to it, since its caller called it. As gdb
/// does it, a tail call to a computed address may lead anywhere.
pub(super) fn may_enter_itself(variables: &Variables, function: &Die) -> bool {
    let mut known = vec![function.clone()];
    let mut next = 0;
    while let Some(here) = known.get(next).cloned() {
        for site in variables.tail_sites(&here).iter() {
            let Some(code) = site.code else {
                if site.is_elsewhere {
                    continue;
                }
                return true;
            };
            if code == function.at || known.len() >= FUNCTION_LIMIT {
                return true;
            }
            if known.iter().all(|known| known.at != code) {
                let Some(target) = Die::read(&variables.info, code) else { return true };
                known.push(target);
            }
        }
        next += 1;
    }
    false
}

fn origin_of(site: &Entry) -> Option<AttributeValue<crate::DwarfReader>> {
    site.attr_value(gimli::DW_AT_call_origin).or_else(|| site.attr_value(gimli::DW_AT_abstract_origin))
}

/// What is looked for.
struct Callee<'a> {
    function: Option<(&'a Variables, Die)>,
    is_named: &'a mut dyn FnMut(&str) -> bool,
}

impl Callee<'_> {
    /// The function if it belongs to the image of `variables`.
    fn code_in(&self, variables: &Variables) -> Option<DieRef> {
        let (own, function) = self.function.as_ref()?;
        Arc::ptr_eq(&own.info, &variables.info).then_some(function.at)
    }

    /// Whether a call that names `target` in the image of `variables` calls it.
    fn is(&mut self, variables: &Variables, target: &Die) -> bool {
        if let Some((own, function)) = &self.function {
            return is_same_function(variables, target, own, function);
        }
        let is_external =
            matches!(target.inherited(&variables.info, gimli::DW_AT_external), Some((_, AttributeValue::Flag(true))));
        let name = target.linkage_name(&variables.info).or_else(|| target.name(&variables.info));
        name.filter(|_| is_external).is_some_and(|name| (self.is_named)(&name))
    }
}

/// A function that the call may have led to.
struct Known {
    function: Die,
    in_callee_image: bool,
}

/// A tail call that leads on to the callee.
struct Way {
    /// Index of the function that makes it.
    from: usize,
    /// Index of the function that it enters; `None`: the callee.
    to: Option<usize>,
    site: TailSite,
}

/// All tail calls by which the callee may have been reached.
struct Ways {
    /// The first is the one that was called.
    functions: Vec<Known>,
    ways: Vec<Way>,
}

impl Ways {
    /// `None` if a target is not known, or if there are too many functions.
    fn find(variables: &Variables, called: Die, mut callee: Callee<'_>) -> Option<Ways> {
        if callee.is(variables, &called) {
            return Some(Ways { functions: Vec::new(), ways: Vec::new() });
        }
        let other =
            callee.function.as_ref().map(|(own, _)| *own).filter(|own| !Arc::ptr_eq(&own.info, &variables.info));
        let elsewhere = |name: Option<String>| {
            let other = other?;
            Die::read(&other.info, other.lookup.as_ref()?.function_named(&name?)?)
        };
        let symbol = |of: &Variables, die: &Die| die.linkage_name(&of.info).or_else(|| die.name(&of.info));
        let first = match with_code(variables, called.clone()) {
            Some(function) => Known { function, in_callee_image: false },
            None => Known { function: elsewhere(symbol(variables, &called))?, in_callee_image: true },
        };
        let mut numbers = HashMap::from([((first.function.at, first.in_callee_image), 0)]);
        let mut found = Ways { functions: vec![first], ways: Vec::new() };
        let mut next = 0;
        while let Some(Known { function, in_callee_image }) = found.functions.get(next) {
            let (function, in_callee_image) = (function.clone(), *in_callee_image);
            let here = if in_callee_image { other? } else { variables };
            for &site in here.tail_sites(&function).iter() {
                let target = site.target?;
                let target = || Die::read(&here.info, target);
                let is_callee = match (site.code, callee.code_in(here)) {
                    (Some(code), Some(own)) => code == own,
                    _ => callee.is(here, &target()?),
                };
                if is_callee {
                    found.ways.push(Way { from: next, to: None, site });
                    continue;
                }
                let known = match site.code {
                    Some(code) => Known { function: Die::read(&here.info, code)?, in_callee_image },
                    // It is here, but which of several.
                    None if !site.is_elsewhere => return None,
                    // Code of other images does not come back to this one by jumps.
                    None if callee.code_in(variables).is_some() => continue,
                    None if in_callee_image => return None,
                    None => match elsewhere(symbol(here, &target()?)) {
                        Some(function) => Known { function, in_callee_image: true },
                        // It may be in the callee's image without debug info, or in one that goes on to there.
                        None => return None,
                    },
                };
                let number = *numbers.entry((known.function.at, known.in_callee_image)).or_insert_with(|| {
                    found.functions.push(known);
                    found.functions.len() - 1
                });
                if found.functions.len() > FUNCTION_LIMIT {
                    return None;
                }
                found.ways.push(Way { from: next, to: Some(number), site });
            }
            next += 1;
        }
        found.drop_dead_ends();
        Some(found)
    }

    /// Leaves only ways that lead to the callee.
    fn drop_dead_ends(&mut self) {
        let edges = self.edges();
        let mut leads = vec![false; self.functions.len()];
        loop {
            let leads_on = |(from, to): &&Edge| !leads[*from] && to.is_none_or(|to| leads[to]);
            let Some((from, _)) = edges.iter().find(leads_on) else { break };
            leads[*from] = true;
        }
        self.ways.retain(|way| way.to.is_none_or(|to| leads[to]));
    }

    fn edges(&self) -> Vec<Edge> {
        self.ways.iter().map(|way| (way.from, way.to)).collect()
    }
}

/// From which function to which; `None` is the callee. The function 0 is the one that was called.
type Edge = (usize, Option<usize>);

/// The edges that every way to the callee has, as far as it can be told from its two ends; outermost first. All edges
/// lead to the callee.
fn sure_edges(edges: &[Edge]) -> Vec<usize> {
    let mut end = last_edges(edges);
    end.reverse();
    let mut sure = first_edges(edges);
    sure.retain(|edge| !end.contains(edge));
    sure.extend(end);
    sure
}

/// The edges that every way begins with, outermost first.
fn first_edges(edges: &[Edge]) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::new();
    let mut here = Some(0);
    while let Some(function) = here
        && let Some(edge) = only(edges.iter().map(|(from, _)| *from == function))
        && !taken.contains(&edge)
    {
        taken.push(edge);
        here = edges[edge].1;
    }
    taken
}

/// The edges that every way ends with, innermost first.
fn last_edges(edges: &[Edge]) -> Vec<usize> {
    let mut taken: Vec<usize> = Vec::new();
    let mut here = None;
    while let Some(edge) = only(edges.iter().map(|(_, to)| *to == here))
        && !taken.contains(&edge)
    {
        taken.push(edge);
        here = Some(edges[edge].0);
        if here == Some(0) {
            // It may have begun here, or come by here again.
            break;
        }
    }
    taken
}

/// Where the one `true` is.
fn only(mut all: impl Iterator<Item = bool>) -> Option<usize> {
    let first = all.position(|is| is)?;
    (!all.any(|is| is)).then_some(first)
}

/// The function with code that an entry means, which may be a declaration in another unit.
pub(super) fn with_code(variables: &Variables, function: Die) -> Option<Die> {
    if variables.is_entered(&function) {
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
pub struct TailFrame<'a> {
    /// The frame that the call was made in.
    pub caller: &'a mut dyn FrameContext,
    /// Variables of the image that the caller's code belongs to.
    pub caller_variables: Arc<Variables>,
    /// The frame address that it shares with what it called; `None` if what is on the stack there is not its own any
    /// more.
    pub cfa: Option<Va>,
    /// Where the image with its code was loaded.
    pub load_bias: LoadBias,
    /// An address within the tail call, in the image.
    pub at: ImageOffset,
}

/// Registers that functions preserve, by DWARF number (System V ABI, AMD64, 3.2.1 and 3.6.2).
const PRESERVED: [u16; 6] = [3, 6, 12, 13, 14, 15];

impl FrameContext for TailFrame<'_> {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        self.caller.memory()
    }

    fn load_bias(&self) -> LoadBias {
        self.load_bias
    }

    fn pc(&self) -> Option<Va> {
        self.lookup_address()
    }

    fn lookup_address(&self) -> Option<Va> {
        Some(self.at.to_va(self.load_bias))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: &[Edge], expected: &[usize]) {
        assert_eq!(sure_edges(edges), expected, "{edges:?}");
    }

    #[test]
    fn what_all_ways_have_at_their_ends() {
        check(&[], &[]);
        check(&[(0, Some(1)), (1, Some(2)), (2, None)], &[0, 1, 2]);
        // One of two in the middle, at the end, at the beginning.
        check(&[(0, Some(1)), (1, Some(2)), (1, Some(3)), (2, Some(4)), (3, Some(4)), (4, None)], &[0, 5]);
        check(&[(0, Some(1)), (1, None), (1, None)], &[0]);
        check(&[(0, Some(1)), (0, Some(2)), (1, None), (2, None)], &[]);
        check(&[(0, None), (0, Some(1)), (1, None)], &[]);
    }

    #[test]
    fn ways_may_go_round() {
        // The second calls the first again, any number of times, or the callee.
        check(&[(0, Some(1)), (1, Some(0)), (1, None)], &[0, 2]);
        // The first calls the callee, or itself through the second, before.
        check(&[(0, None), (0, Some(1)), (1, Some(0))], &[0]);
        // A circle that nothing but its entry leads into.
        check(&[(0, Some(1)), (1, Some(2)), (2, Some(1)), (2, None)], &[0, 1, 3]);
    }
}
