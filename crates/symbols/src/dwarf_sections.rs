//! The DWARF sections of an image and of the shared file that it refers to.

use gimli::{Dwarf, DwarfSections, EndianSlice, LittleEndian, SectionId};

use crate::debug_info::UnitSpan;
use crate::{DieSection, DwarfReader, ElfFile, Problem, SectionData, SymbolsError};

/// Bytes of DWARF, borrowed: cheaper to clone than [`DwarfReader`] by two atomic operations.
pub(crate) type DwarfSlice<'a> = EndianSlice<'a, LittleEndian>;

/// The DWARF sections of a file, and of its shared file if it has one.
#[derive(Debug)]
pub(crate) struct DwarfFile {
    main: DwarfSections<SectionData>,
    alt: Option<DwarfSections<SectionData>>,
    info: SectionData,
    types: SectionData,
    strings: SectionData,
    text_len: usize,
}

impl DwarfFile {
    /// Loads the sections of `file` and `alt`; `None` without DWARF. A damaged section is reported and left empty.
    /// # Errors
    /// [`SymbolsError`] if `.debug_info` or `.debug_abbrev` cannot be read.
    pub(crate) fn load(
        file: &ElfFile,
        alt: Option<&ElfFile>,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<DwarfFile>, SymbolsError> {
        if !file.has_dwarf() {
            return Ok(None);
        }
        for file in [Some(file), alt].into_iter().flatten() {
            let names: Vec<&str> = WANTED.iter().map(|id| id.name()).collect();
            file.prefetch(&names);
        }
        let [mut info, mut types, mut strings] = [const { None }; 3];
        let mut text_len = 0;
        let main = DwarfSections::load(|id| {
            let data = section(file, id, problems)?;
            match id {
                SectionId::DebugInfo => info = Some(data.clone()),
                SectionId::DebugTypes => types = Some(data.clone()),
                SectionId::DebugStr => strings = Some(data.clone()),
                _ => {}
            }
            text_len += text_bytes(id, &data);
            Ok::<_, SymbolsError>(data)
        })?;
        let load_alt = |alt: &ElfFile| {
            DwarfSections::load(|id| {
                let data = section(alt, id, problems)?;
                text_len += text_bytes(id, &data);
                Ok::<_, SymbolsError>(data)
            })
        };
        let alt = alt.filter(|alt| alt.has_dwarf()).map(load_alt).transpose()?;
        let [info, types, strings] = [info, types, strings].map(Option::unwrap_or_default);
        Ok(Some(DwarfFile { main, alt, info, types, strings, text_len }))
    }

    /// Readers that share the bytes and may be kept.
    pub(crate) fn readers(&self) -> Dwarf<DwarfReader> {
        self.main.borrow_with_sup(self.alt.as_ref(), |data| gimli::EndianReader::new(data.clone(), LittleEndian))
    }

    /// Readers that borrow the bytes.
    pub(crate) fn slices(&self) -> Dwarf<DwarfSlice<'_>> {
        self.main.borrow_with_sup(self.alt.as_ref(), |data| EndianSlice::new(data, LittleEndian))
    }

    /// `.debug_str`.
    pub(crate) fn strings(&self) -> &SectionData {
        &self.strings
    }

    /// Bytes of the sections that hold names.
    pub(crate) fn text_len(&self) -> usize {
        self.text_len
    }

    /// Gives back the memory of units that were read and are not needed soon.
    pub(crate) fn release_units(&self, units: &[UnitSpan]) {
        for unit in units {
            let range = unit.start as usize..unit.end as usize;
            match unit.section {
                DieSection::Info => self.info.release(range),
                DieSection::Types => self.types.release(range),
                DieSection::Alt | DieSection::Split => {}
            }
        }
    }

    /// Gives back the memory of strings.
    pub(crate) fn release_strings(&self) {
        self.strings.release(0..self.strings.len());
    }
}

/// The sections that this crate reads. Macros, and the indexes of others, are not among them.
const WANTED: &[SectionId] = &[
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

fn section(file: &ElfFile, id: SectionId, problems: &mut Vec<Problem>) -> Result<SectionData, SymbolsError> {
    if !WANTED.contains(&id) {
        return Ok(SectionData::empty());
    }
    match file.section_data(id.name()) {
        Ok(data) => Ok(data.unwrap_or_default()),
        Err(error) if matches!(id, SectionId::DebugInfo | SectionId::DebugAbbrev) => Err(error),
        Err(error) => {
            problems.push(Problem::new(id.name(), error));
            Ok(SectionData::empty())
        }
    }
}

fn text_bytes(id: SectionId, data: &SectionData) -> usize {
    use SectionId::*;
    if matches!(id, DebugInfo | DebugTypes | DebugStr | DebugLineStr | DebugLine) { data.len() } else { 0 }
}
