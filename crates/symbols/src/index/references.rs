//! Names that entries have from entries of other units.

use super::build::BuildInput;
use super::chunk::{Absorb, Chunk, NO_ENTRY, pack_die, unpack_die};
use super::scans::Scans;
use super::strings::StringId;
use crate::debug_info::UnitSpan;

/// Gives their names to entries that have them from other units, by scanning those units once more.
pub(super) fn resolve_cross_references(scans: &Scans<'_>, input: &BuildInput<'_>, all: &mut Chunk<'_>) {
    // Most references lead to entries that are there. A reference may lead to an entry that itself has a reference:
    // go round again for those.
    for _ in 0..3 {
        let sorted = if all.entries.is_sorted_by_key(|entry| entry.die) { all.entries.len() } else { 0 };
        chase(all, sorted);
        let mut waiting = std::mem::take(&mut all.cross_references);
        if waiting.is_empty() {
            return;
        }
        waiting.sort_by_key(|reference| reference.target);
        let mut at = 0;
        while let Some(first) = waiting.get(at) {
            let Some(unit) = unit_of(input.units, first.target) else {
                at += 1;
                continue;
            };
            let base = pack_die(unit.section, unit.start);
            let count = waiting[at..].iter().take_while(|it| it.target - base < unit.end - unit.start).count().max(1);
            let mut chunk = Chunk::new(usize::MAX, input.sources);
            let dies = scans.with(unit, &mut chunk, |scan, chunk| scan.named_dies(*unit, &mut None, chunk));
            if let Ok(Ok(dies)) = dies {
                let found: Vec<_> = waiting[at..at + count]
                    .iter()
                    .map(|reference| (*reference, dies.get(reference.target - base)))
                    .map(|(reference, found)| {
                        let name = found.map(|(name, parent)| (chunk.strings.get(name).to_vec(), parent));
                        (reference, name)
                    })
                    .collect();
                let numbers = all.absorb(chunk, Absorb::Again { sorted });
                for (reference, found) in found {
                    let Some((name, parent)) = found else {
                        all.cross_references.push(reference);
                        continue;
                    };
                    let name = all.strings.intern(&name);
                    if let Some(entry) = all.entries.get_mut(reference.entry as usize) {
                        entry.name = name;
                        entry.parent = numbers.get(parent as usize).copied().unwrap_or(NO_ENTRY);
                    }
                }
            }
            at += count;
        }
        chase(all, sorted);
    }
}

/// References to an entry that has its name by now take it from there.
fn chase(all: &mut Chunk<'_>, sorted: usize) {
    let entries = std::mem::take(&mut all.entries);
    let mut known = Vec::new();
    all.cross_references.retain(|reference| {
        let at =
            entries.get(..sorted).and_then(|it| it.binary_search_by_key(&reference.target, |entry| entry.die).ok());
        match at.and_then(|at| entries.get(at)).filter(|entry| entry.name != StringId(0)) {
            Some(entry) => {
                known.push((reference.entry, entry.name, entry.parent));
                false
            }
            None => true,
        }
    });
    all.entries = entries;
    for (number, name, parent) in known {
        if let Some(entry) = all.entries.get_mut(number as usize) {
            (entry.name, entry.parent) = (name, parent);
        }
    }
}

fn unit_of(units: &[UnitSpan], target: u64) -> Option<&UnitSpan> {
    let die = unpack_die(target);
    let after = units.partition_point(|unit| (unit.section, unit.start) <= (die.section, die.offset));
    let unit = units.get(after.checked_sub(1)?)?;
    (unit.section == die.section && die.offset < unit.end).then_some(unit)
}
