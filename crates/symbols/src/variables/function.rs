//! Which function covers an address, and where its callers' call sites are.

use gimli::{AttributeValue, UnitOffset, UnitRef};
use outpost_base::ImageOffset;

use super::Variables;
use super::die::Die;
use super::tail::with_code;
use crate::debug_info::die_ranges;
use crate::types::dwarf::attributes::Entry;
use crate::{DieRef, DwarfReader, UnitIndex};

/// A function's code: `low..high`, and its DIE. A function in several ranges has several of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FunctionRange {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) die: UnitOffset,
}

/// A call in a function's code: the address after it, and its `DW_TAG_call_site`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct CallSite {
    pub(super) return_address: u64,
    pub(super) die: UnitOffset,
}

impl Variables {
    /// The function (not inlined) whose code covers `at`.
    pub fn function_at(&self, at: ImageOffset) -> Option<DieRef> {
        if let Some(lookup) = &self.lookup {
            return lookup.function_at(at);
        }
        let info = &self.info;
        let index = info.unit_at(at)?;
        let table = self.unit_functions(index);
        let next = table.partition_point(|function| function.low <= at.0);
        // The last to start before `at` is innermost, should functions nest; look back past short ones.
        let before = table.get(next.saturating_sub(16)..next)?;
        let found = before.iter().rev().find(|function| at.0 < function.high)?;
        info.die(index, found.die)
    }

    /// Lowest address of a function, where a call enters it.
    pub(super) fn entry_of(&self, function: &Die) -> Option<u64> {
        let unit = function.unit_ref(&self.info);
        if let Some(value) = function.entry.attr_value(gimli::DW_AT_low_pc) {
            return unit.attr_address(value).ok().flatten();
        }
        // The first range is the hot part; the entry is in it (DWARF 5, 2.18, has no entry_pc to say otherwise).
        die_ranges(unit.dwarf, unit.unit, &function.entry).ok()?.next().ok()?.map(|range| range.begin)
    }

    /// Whether an entry is that of the code at its own address. Copies of an inline function that the linker dropped keep
    /// their entries.
    pub(super) fn is_entered(&self, function: &Die) -> bool {
        self.entry_of(function).is_some_and(|entry| self.function_at(ImageOffset(entry)) == Some(function.at))
    }

    fn unit_functions(&self, index: UnitIndex) -> std::sync::Arc<[FunctionRange]> {
        self.functions.get_or_insert(index, || {
            let Ok(unit) = self.info.unit(index) else { return [].into() };
            let mut found = Vec::new();
            read_functions(self.info.unit_ref(index, &unit), &mut found);
            found.sort_unstable();
            found.into()
        })
    }

    /// The call sites of `function`, by return address.
    pub(super) fn call_sites(&self, function: &Die) -> std::sync::Arc<[CallSite]> {
        self.call_sites.get_or_insert(function.at, || {
            let mut found = Vec::new();
            read_call_sites(function.unit_ref(&self.info), function.entry.offset(), &mut found);
            found.sort_unstable();
            found.into()
        })
    }
}

/// All subprograms with code, wherever in the unit they are; damage ends the reading.
fn read_functions(unit: UnitRef<'_, DwarfReader>, found: &mut Vec<FunctionRange>) {
    let Ok(mut entries) = unit.unit.entries_raw(None) else { return };
    let mut entry = gimli::DebuggingInformationEntry::null();
    while !entries.is_empty() {
        let offset = entries.next_offset();
        let Ok(abbreviation) = entries.read_abbreviation() else { return };
        let Some(abbreviation) = abbreviation else { continue };
        let has_code = abbreviation
            .attributes()
            .iter()
            .any(|attribute| matches!(attribute.name(), gimli::DW_AT_low_pc | gimli::DW_AT_ranges));
        let wanted = abbreviation.tag() == gimli::DW_TAG_subprogram && has_code;
        if entries.skip_attributes(abbreviation.attributes()).is_err() {
            return;
        }
        if !wanted {
            continue;
        }
        let Ok(mut again) = unit.unit.entries_raw(Some(offset)) else { return };
        if again.read_entry(&mut entry).is_err() {
            return;
        }
        let Ok(mut ranges) = die_ranges(unit.dwarf, unit.unit, &entry) else { continue };
        while let Ok(Some(range)) = ranges.next() {
            // Functions that the linker dropped are left at address 0 or above the address space.
            if range.begin < range.end && range.begin != 0 {
                found.push(FunctionRange { low: range.begin, high: range.end, die: offset });
            }
        }
    }
}

/// Call sites anywhere below `function` that tell where they return to.
fn read_call_sites(unit: UnitRef<'_, DwarfReader>, function: UnitOffset, found: &mut Vec<CallSite>) {
    visit_call_sites(unit, function, |entry| {
        // The GNU tag of DWARF 4 keeps the return address in low_pc.
        let name = match entry.tag() {
            gimli::DW_TAG_call_site => gimli::DW_AT_call_return_pc,
            _ => gimli::DW_AT_low_pc,
        };
        let address = entry.attr_value(name).and_then(|value| unit.attr_address(value).ok()?);
        found.extend(address.map(|return_address| CallSite { return_address, die: entry.offset() }));
    });
}

/// Calls `visit` with the call sites anywhere below `function`, blocks and inlined functions included.
pub(super) fn visit_call_sites(unit: UnitRef<'_, DwarfReader>, function: UnitOffset, mut visit: impl FnMut(&Entry)) {
    let Ok(mut entries) = unit.unit.entries_raw(Some(function)) else { return };
    let mut entry = gimli::DebuggingInformationEntry::null();
    while !entries.is_empty() {
        match entries.read_entry(&mut entry) {
            Ok(false) if entries.next_depth() <= 0 => return,
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        if matches!(entry.tag(), gimli::DW_TAG_call_site | gimli::DW_TAG_GNU_call_site) {
            visit(&entry);
        } else if !entry.has_children() && entries.next_depth() <= 0 {
            return;
        }
    }
}

/// Whether a function that calls others through `DW_AT_call_origin` means the function at `callee`.
pub(super) fn is_same_function(caller: &Variables, origin: &Die, callee_variables: &Variables, callee: &Die) -> bool {
    let same_image = std::sync::Arc::ptr_eq(&caller.info, &callee_variables.info);
    if same_image {
        // A function may have been cloned, or split, into several that are instances of one: then the call says which, or
        // means the one that has the name.
        if let Some(meant) = with_code(caller, origin.clone()) {
            return meant.at == callee.at;
        }
        let named: Vec<DieRef> = origin.with_origins(&caller.info).map(|die| die.at).collect();
        if callee.with_origins(&callee_variables.info).any(|die| named.contains(&die.at)) {
            return true;
        }
    }
    let name =
        |variables: &Variables, die: &Die| die.linkage_name(&variables.info).or_else(|| die.name(&variables.info));
    let external = matches!(
        callee.inherited(&callee_variables.info, gimli::DW_AT_external),
        Some((_, AttributeValue::Flag(true)))
    );
    let Some(wanted) = name(caller, origin).filter(|_| external) else { return false };
    // A function of a library has several names, of which its entry has one.
    let named = || callee_variables.lookup.as_ref()?.function_named(&wanted);
    name(callee_variables, callee).as_ref() == Some(&wanted) || named() == Some(callee.at)
}
