//! Inlined calls: which functions' code is where inside another function.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use gimli::{AttributeValue, UnitOffset};
use outpost_base::ImageOffset;

use super::{Function, Module, SourceLocation};
use crate::debug_info::die_ranges;
use crate::{DebugInfo, DieRef, DwarfReader, DwarfUnit, ImageRange, Problem, UnitIndex};

/// Function trees that are kept.
const KEPT_TREES: usize = 64;
/// Most DIEs of one function that are looked at.
const MAX_DIES: usize = 4 << 20;
/// Longest chain of abstract origins and specifications that is followed for a name.
const MAX_ORIGINS: usize = 8;

/// A function inlined at an address: a frame without a frame of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InlineFrame {
    /// Qualified name of the function.
    pub name: String,
    /// The `DW_TAG_inlined_subroutine`: its variables are this frame's.
    pub die: DieRef,
    /// The abstract function that it is a copy of.
    pub origin: Option<DieRef>,
    /// Code of this copy.
    pub ranges: Vec<ImageRange>,
    /// Where it begins.
    pub entry: ImageOffset,
    /// Where it is called from, in the frame around it. `None` if the compiler does not say.
    pub call_site: Option<SourceLocation>,
    /// How many inlined calls are around it: 0 for one called by the function itself.
    pub depth: u32,
}

/// One place into which a function was inlined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InlinedCopy {
    /// Where the copy begins.
    pub entry: ImageOffset,
    /// Its code.
    pub ranges: Vec<ImageRange>,
    /// The `DW_TAG_inlined_subroutine`.
    pub die: DieRef,
}

/// The inlined calls of one function.
#[derive(Debug, Default)]
pub(super) struct FunctionTree {
    pub(super) calls: Vec<InlinedCall>,
}

#[derive(Debug)]
pub(super) struct InlinedCall {
    pub(super) die: DieRef,
    pub(super) origin: Option<DieRef>,
    pub(super) ranges: Vec<ImageRange>,
    pub(super) entry: ImageOffset,
    pub(super) call_file: Option<u64>,
    pub(super) call_line: u32,
    pub(super) call_column: u16,
    /// The call around it.
    pub(super) parent: Option<usize>,
    pub(super) depth: u32,
}

impl InlinedCall {
    pub(super) fn contains(&self, at: ImageOffset) -> bool {
        self.ranges.iter().any(|range| range.contains(at))
    }
}

/// Trees of the functions asked about last.
#[derive(Debug, Default)]
pub(super) struct FunctionTrees {
    kept: Mutex<VecDeque<(DieRef, Arc<FunctionTree>)>>,
}

impl Module {
    /// The inlined calls around `at`, innermost first; empty where nothing is inlined.
    ///
    /// The function itself ([`Module::function_at`]) is the frame around the last of them.
    pub fn inline_frames_at(&self, at: ImageOffset) -> Vec<InlineFrame> {
        let Some(function) = self.function_at(at) else { return Vec::new() };
        let tree = self.tree(&function);
        let innermost = tree.calls.iter().enumerate().filter(|(_, call)| call.contains(at));
        let mut next = innermost.max_by_key(|(_, call)| call.depth).map(|(number, _)| number);
        let mut frames = Vec::new();
        while let Some(call) = next.and_then(|number| tree.calls.get(number)) {
            frames.push(self.inline_frame(call));
            next = call.parent;
        }
        frames
    }

    fn inline_frame(&self, call: &InlinedCall) -> InlineFrame {
        InlineFrame {
            name: call.origin.and_then(|origin| self.name_of(origin)).unwrap_or_else(|| "<inlined>".to_owned()),
            die: call.die,
            origin: call.origin,
            ranges: call.ranges.clone(),
            entry: call.entry,
            call_site: self.call_site(call),
            depth: call.depth,
        }
    }

    fn call_site(&self, call: &InlinedCall) -> Option<SourceLocation> {
        if call.call_line == 0 {
            return None;
        }
        let (unit, _) = self.load_debug_info()?.locate(call.die)?;
        let lines = self.unit_lines(unit);
        let file = lines.file_by_number(call.call_file?)?.to_owned();
        Some(SourceLocation { file, line: call.call_line, column: call.call_column, is_statement: true })
    }

    /// Every place into which the functions of `functions` were inlined, with the function; unsorted.
    ///
    /// They are abstract DIEs, as [`Module::inlined_functions_named`] gives them. Reads all units that have copies.
    pub fn inlined_copies(&self, functions: &[DieRef]) -> Vec<(DieRef, InlinedCopy)> {
        let Some(info) = self.load_debug_info() else { return Vec::new() };
        let mut units: BTreeMap<UnitIndex, HashSet<DieRef>> = BTreeMap::new();
        for function in functions {
            let own = info.locate(*function).map(|(unit, _)| unit);
            for unit in own.into_iter().chain(self.index().units_inlining(*function)) {
                units.entry(unit).or_default().insert(*function);
            }
        }
        let mut copies = Vec::new();
        for (index, wanted) in units {
            if let Err(error) = info.unit(index).map_err(|error| error.to_string()).and_then(|unit| {
                find_copies(info, index, &unit, &wanted, &mut copies).map_err(|error| error.to_string())
            }) {
                self.report(Problem::new(format!("inlined calls of unit {}", index.0), error));
            }
        }
        copies.retain(|(_, copy)| self.is_text(copy.entry));
        copies
    }

    pub(super) fn tree(&self, function: &Function) -> Arc<FunctionTree> {
        let mut kept = self.trees.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tree)) = kept.iter().find(|(die, _)| *die == function.die) {
            return tree.clone();
        }
        drop(kept);
        let tree = self.load_debug_info().and_then(|info| {
            let (index, offset) = info.locate(function.die)?;
            let unit = info.unit(index).ok()?;
            Some(self.read_tree(info, index, &unit, offset))
        });
        let tree = Arc::new(tree.unwrap_or_default());
        kept = self.trees.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((function.die, tree.clone()));
        kept.truncate(KEPT_TREES);
        tree
    }

    /// Reads the inlined calls below the DIE at `offset`.
    fn read_tree(&self, info: &DebugInfo, index: UnitIndex, unit: &DwarfUnit, offset: UnitOffset) -> FunctionTree {
        let mut tree = FunctionTree::default();
        if let Err(error) = fill_tree(info, index, unit, offset, &mut tree) {
            self.report(Problem::new(format!("inlined calls of unit {}", index.0), error));
        }
        tree
    }

    /// A function's name, by its DIE or by the DIEs that this one refers to.
    pub(super) fn name_of(&self, die: DieRef) -> Option<String> {
        if let Some(name) = self.qualified_name(die) {
            return Some(name);
        }
        let info = self.load_debug_info()?;
        let mut next = die;
        for _ in 0..MAX_ORIGINS {
            let (index, offset) = info.locate(next)?;
            let unit = info.unit(index).ok()?;
            let entry = unit.entry(offset).ok()?;
            let unit_ref = info.unit_ref(index, &unit);
            let string = |value| {
                let text = unit_ref.attr_string(value).ok()?;
                gimli::Reader::to_string_lossy(&text).ok().map(|text| text.into_owned())
            };
            let linkage = entry.attr_value(gimli::DW_AT_linkage_name).and_then(string);
            if let Some(name) = linkage.and_then(|linkage| crate::demangle::demangle_name(&linkage)) {
                return Some(name);
            }
            let origin = [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification]
                .into_iter()
                .find_map(|name| info.resolve(index, &entry.attr_value(name)?));
            match origin {
                Some(origin) => next = origin,
                None => return entry.attr_value(gimli::DW_AT_name).and_then(string),
            }
            if let Some(name) = self.qualified_name(next) {
                return Some(name);
            }
        }
        None
    }

    pub(super) fn is_text(&self, at: ImageOffset) -> bool {
        self.text.iter().any(|range| range.contains(at))
    }
}

fn fill_tree(
    info: &DebugInfo,
    index: UnitIndex,
    unit: &DwarfUnit,
    offset: UnitOffset,
    tree: &mut FunctionTree,
) -> gimli::Result<()> {
    let mut entries = unit.entries_at_offset(offset)?;
    let unit_ref = info.unit_ref(index, unit);
    // Inlined calls that the current DIE is below of, with their depths in the DIE tree.
    let mut around: Vec<(isize, usize)> = Vec::new();
    let Some(root) = entries.next_dfs()? else { return Ok(()) };
    let root_depth = root.depth();
    for _ in 0..MAX_DIES {
        let Some(entry) = entries.next_dfs()? else { return Ok(()) };
        let depth = entry.depth();
        if depth <= root_depth {
            return Ok(());
        }
        while around.last().is_some_and(|(above, _)| *above >= depth) {
            around.pop();
        }
        if entry.tag() != gimli::DW_TAG_inlined_subroutine {
            continue;
        }
        let Some(die) = info.die(index, entry.offset()) else { continue };
        let ranges = code_of(&unit_ref, entry)?;
        let number = |name| entry.attr(name).and_then(|attribute| attribute.udata_value());
        let call = InlinedCall {
            die,
            origin: entry.attr_value(gimli::DW_AT_abstract_origin).and_then(|value| info.resolve(index, &value)),
            entry: entry_pc(&unit_ref, entry, &ranges),
            ranges,
            call_file: match entry.attr_value(gimli::DW_AT_call_file) {
                Some(AttributeValue::FileIndex(file)) => Some(file),
                _ => number(gimli::DW_AT_call_file),
            },
            call_line: number(gimli::DW_AT_call_line).and_then(|line| u32::try_from(line).ok()).unwrap_or(0),
            call_column: number(gimli::DW_AT_call_column).and_then(|column| u16::try_from(column).ok()).unwrap_or(0),
            parent: around.last().map(|(_, call)| *call),
            depth: around.len() as u32,
        };
        around.push((depth, tree.calls.len()));
        tree.calls.push(call);
    }
    Err(gimli::Error::TooManyIterations)
}

/// Goes through a whole unit for inlined calls of `wanted`; the attributes of everything else are passed over.
fn find_copies(
    info: &DebugInfo,
    index: UnitIndex,
    unit: &DwarfUnit,
    wanted: &HashSet<DieRef>,
    copies: &mut Vec<(DieRef, InlinedCopy)>,
) -> gimli::Result<()> {
    let unit_ref = info.unit_ref(index, unit);
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        let offset = entries.next_offset();
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        if abbreviation.tag() != gimli::DW_TAG_inlined_subroutine {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut origin = None;
        for attribute in abbreviation.attributes() {
            let attribute = entries.read_attribute(*attribute)?;
            if attribute.name() == gimli::DW_AT_abstract_origin {
                origin = info.resolve(index, &attribute.value());
            }
        }
        let Some(origin) = origin.filter(|origin| wanted.contains(origin)) else { continue };
        let entry = unit.entry(offset)?;
        let ranges = code_of(&unit_ref, &entry)?;
        if let (Some(die), false) = (info.die(index, offset), ranges.is_empty()) {
            copies.push((origin, InlinedCopy { entry: entry_pc(&unit_ref, &entry, &ranges), ranges, die }));
        }
    }
    Ok(())
}

/// The ranges of a DIE's code that are not empty.
fn code_of(
    unit: &gimli::UnitRef<'_, DwarfReader>,
    entry: &gimli::DebuggingInformationEntry<DwarfReader>,
) -> gimli::Result<Vec<ImageRange>> {
    let mut ranges = Vec::new();
    let mut listed = die_ranges(unit.dwarf, unit.unit, entry)?;
    while let Some(range) = listed.next()? {
        if range.begin < range.end {
            ranges.push(ImageRange::new(range.begin, range.end));
        }
    }
    Ok(ranges)
}

/// `DW_AT_entry_pc`: an address, or since DWARF 5 an offset from the lowest one (DWARF 5, 2.18).
///
/// gcc has been seen to state an entry outside of the ranges, where it had moved the first instruction away; whoever
/// stopped there would not be in the call. Then it is the start of the first range, as without the attribute.
fn entry_pc(
    unit: &gimli::UnitRef<'_, DwarfReader>,
    entry: &gimli::DebuggingInformationEntry<DwarfReader>,
    ranges: &[ImageRange],
) -> ImageOffset {
    let start = ranges.first().map_or(ImageOffset(0), |range| range.start);
    let Some(value) = entry.attr_value(gimli::DW_AT_entry_pc) else { return start };
    let stated = match unit.attr_address(value.clone()) {
        Ok(Some(address)) => ImageOffset(address),
        _ => value.udata_value().map_or(start, |offset| ImageOffset(start.0.wrapping_add(offset))),
    };
    if ranges.iter().any(|range| range.contains(stated)) { stated } else { start }
}
