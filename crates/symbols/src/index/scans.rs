//! Scanning units where they lie: in the program's own sections, or in pieces of its split DWARF.

use super::chunk::Chunk;
use super::scan::{Scan, ScannedPiece};
use crate::DieSection;
use crate::debug_info::UnitSpan;
use crate::hash::IntMap;
use crate::split::Pieces;

/// Scans of the program's own sections and of each piece of its split DWARF.
pub(super) struct Scans<'a> {
    pub(super) program: Scan<'a>,
    pub(super) split: &'a Pieces,
    pub(super) skeletons: IntMap<u64, UnitSpan>,
}

impl Scans<'_> {
    /// How many of `units`, from the first on, lie in the same sections; at least one.
    pub(super) fn units_together(&self, units: &[UnitSpan]) -> usize {
        let piece = |unit: &UnitSpan| match unit.section {
            DieSection::Split => self.split.at(unit.start).map(|(number, _)| number),
            _ => None,
        };
        let Some(first) = units.first() else { return 1 };
        units.iter().take_while(|unit| piece(unit) == piece(first)).count().max(1)
    }

    /// Has `work` done with the sections that `unit` lies in. A piece is read for this, and given back afterwards.
    pub(super) fn with<T>(
        &self,
        unit: &UnitSpan,
        chunk: &mut Chunk<'_>,
        work: impl FnOnce(&Scan<'_>, &mut Chunk<'_>) -> T,
    ) -> Result<T, String> {
        if unit.section != DieSection::Split {
            return Ok(work(&self.program, chunk));
        }
        let (_, piece) = self.split.at(unit.start).ok_or("a unit outside of all files")?;
        let sections = self.split.sections(piece)?;
        let dwarf = sections.slices(self.program.dwarf).map_err(|error| error.to_string())?;
        let scanned = ScannedPiece { piece, program: self.program.dwarf, skeletons: &self.skeletons };
        // Offsets of strings mean those of this piece.
        chunk.by_offset.clear();
        let done = work(&Scan { dwarf: &dwarf, piece: Some(scanned), ..self.program }, chunk);
        chunk.by_offset.clear();
        Ok(done)
    }
}
