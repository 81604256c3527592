//! Pieces of split DWARF: where each lies, and its sections.

use std::sync::OnceLock;

use gimli::{Dwarf, DwarfPackageSections, DwarfSections, Reader, SectionId};

use super::{Origin, SplitFiles};
use crate::debug_info::{UnitSpan, unit_spans};
use crate::dwarf_sections::DwarfSlice;
use crate::{DieSection, DwarfReader, ElfFile, SectionData, SymbolsError};

/// Most bytes of sections that are joined; one source file's types have some megabytes.
const MAX_JOINED: u64 = 1 << 30;

/// A `.dwo` file, or what a package has of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Offset of its first DIE among all pieces. Its `.debug_types` follow its `.debug_info`.
    pub(crate) base: u64,
    pub(crate) info_len: u64,
    pub(crate) types_len: u64,
    /// The id of one of its units, by which it is known to be the right one.
    pub(crate) id: u64,
    pub(crate) place: PiecePlace,
    /// [`SplitFiles::fingerprint`] as of when it was looked for; 0 in a package.
    pub(crate) fingerprint: u64,
}

/// Where a piece is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PiecePlace {
    /// A file of its own.
    File(Origin),
    /// A row of the package's index of units.
    Unit(u32),
    /// A row of the package's index of type units.
    TypeUnit(u32),
}

impl Piece {
    /// Where the next piece begins.
    pub(crate) fn end(&self) -> u64 {
        self.base.saturating_add(self.info_len).saturating_add(self.types_len)
    }

    /// A unit's place in the piece's own section.
    pub(crate) fn local(&self, span: &UnitSpan) -> UnitSpan {
        let types = self.base.saturating_add(self.info_len);
        let (section, base) =
            if span.start < types { (DieSection::Info, self.base) } else { (DieSection::Types, types) };
        UnitSpan { section, start: span.start.wrapping_sub(base), end: span.end.wrapping_sub(base), ..*span }
    }

    /// Reverses [`Piece::local`].
    pub(super) fn global(&self, span: &UnitSpan) -> Option<UnitSpan> {
        let base = match span.section {
            DieSection::Info => self.base,
            DieSection::Types => self.base.checked_add(self.info_len)?,
            DieSection::Alt | DieSection::Split => return None,
        };
        let (start, end) = (base.checked_add(span.start)?, base.checked_add(span.end)?);
        Some(UnitSpan { section: DieSection::Split, start, end, ..*span })
    }
}

/// All pieces of a module.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Sorted; none overlaps another.
    pieces: Vec<Piece>,
    files: SplitFiles,
    package: OnceLock<Option<Box<DwarfPackageSections<SectionData>>>>,
    empty: SectionData,
}

/// The sections of one piece.
pub(crate) enum PieceSections<'a> {
    File(Box<DwarfSections<SectionData>>),
    Package(&'a Pieces, &'a PiecePlace),
}

impl Pieces {
    /// Pieces as laid out before, found again in `files`.
    pub(crate) fn new(pieces: Vec<Piece>, files: SplitFiles) -> Pieces {
        Pieces { pieces, files, ..Pieces::default() }
    }

    pub(crate) fn all(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn files(&self) -> &SplitFiles {
        &self.files
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    /// The piece with the DIE at `offset` of [`DieSection::Split`], and its number.
    pub(crate) fn at(&self, offset: u64) -> Option<(usize, &Piece)> {
        let at = self.pieces.partition_point(|piece| piece.base <= offset).checked_sub(1)?;
        let piece = self.pieces.get(at)?;
        (offset < piece.end()).then_some((at, piece))
    }

    /// Finds and reads the sections of a piece.
    /// # Errors
    /// In words: where it was looked for.
    pub(crate) fn sections<'a>(&'a self, piece: &'a Piece) -> Result<PieceSections<'a>, String> {
        match &piece.place {
            PiecePlace::File(origin) => {
                self.files.find(origin, |file| load(file, piece.id, ALL)).map(|it| PieceSections::File(Box::new(it)))
            }
            row => Ok(PieceSections::Package(self, row)),
        }
    }

    /// The sections of the package; `None` if there is none that can be read.
    pub(super) fn package(&self) -> Option<&DwarfPackageSections<SectionData>> {
        let load = || {
            let file = self.files.package.as_deref()?;
            let section = |id: SectionId| match id.dwo_name().map(|name| file.section_data(name)) {
                Some(Ok(Some(data))) => Ok(data),
                Some(Err(error)) => Err(error),
                Some(Ok(None)) | None => Ok(SectionData::empty()),
            };
            match DwarfPackageSections::load(section) {
                Ok(sections) => Some(Box::new(sections)),
                Err(error) => {
                    tracing::warn!("{}: {error}", file.name());
                    None
                }
            }
        };
        self.package.get_or_init(load).as_deref()
    }
}

impl PieceSections<'_> {
    /// As readers that share the bytes; `parent` are the program's own sections.
    pub(crate) fn readers(&self, parent: &Dwarf<DwarfReader>) -> gimli::Result<Dwarf<DwarfReader>> {
        self.dwarf(parent, |data| gimli::EndianReader::new(data.clone(), gimli::LittleEndian))
    }

    /// As readers that borrow the bytes.
    pub(crate) fn slices<'a>(&'a self, parent: &Dwarf<DwarfSlice<'a>>) -> gimli::Result<Dwarf<DwarfSlice<'a>>> {
        self.dwarf(parent, |data| gimli::EndianSlice::new(data, gimli::LittleEndian))
    }

    fn dwarf<'a, R: Reader<Offset = usize>>(
        &'a self,
        parent: &Dwarf<R>,
        wrap: impl Fn(&'a SectionData) -> R,
    ) -> gimli::Result<Dwarf<R>> {
        let mut dwarf = match self {
            PieceSections::File(sections) => {
                let mut dwarf = sections.borrow(wrap);
                dwarf.make_dwo(parent);
                dwarf
            }
            PieceSections::Package(pieces, place) => {
                let sections = pieces.package().ok_or(gimli::Error::MissingSplitUnit)?;
                let package = sections.borrow(&wrap, wrap(&pieces.empty))?;
                match place {
                    PiecePlace::Unit(row) => package.cu_sections(*row, parent)?,
                    PiecePlace::TypeUnit(row) => package.tu_sections(*row, parent)?,
                    PiecePlace::File(_) => return Err(gimli::Error::MissingSplitUnit),
                }
            }
        };
        // For the line table, which the skeleton has and the unit uses.
        dwarf.debug_line_str = parent.debug_line_str.clone();
        Ok(dwarf)
    }
}

/// All sections of a `.dwo` file that are of use.
const ALL: &[SectionId] = &[
    SectionId::DebugAbbrev,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

/// Those that tell which units there are, and how much text.
pub(super) const SURVEYED: &[SectionId] =
    &[SectionId::DebugAbbrev, SectionId::DebugInfo, SectionId::DebugStr, SectionId::DebugTypes];

/// The `wanted` sections of a `.dwo` file, if it has a unit with this id.
pub(super) fn load(file: &ElfFile, id: u64, wanted: &[SectionId]) -> Result<DwarfSections<SectionData>, String> {
    let section = |section: SectionId| match (section, section.dwo_name().filter(|_| wanted.contains(&section))) {
        (SectionId::DebugInfo | SectionId::DebugTypes, Some(name)) => joined(file, name),
        (_, Some(name)) => file.section_data(name).map(Option::unwrap_or_default),
        (_, None) => Ok(SectionData::empty()),
    };
    let sections = DwarfSections::load(section).map_err(|error| error.to_string())?;
    let mut dwarf = sections.borrow(|data| gimli::EndianReader::new(data.clone(), gimli::LittleEndian));
    dwarf.file_type = gimli::DwarfFileType::Dwo;
    let mut units = unit_spans(&dwarf, &mut Vec::new()).into_iter();
    if !units.any(|unit| unit.dwo_id == Some(id)) {
        return Err("of another build".to_owned());
    }
    Ok(sections)
}

/// All sections of that name one behind the other: no linker has joined the type units, each of which gcc gives its own.
fn joined(file: &ElfFile, name: &str) -> Result<SectionData, SymbolsError> {
    let named = file.sections().iter().enumerate().filter(|(_, section)| section.name == name);
    let numbers: Vec<usize> = named.map(|(number, _)| number).collect();
    if numbers.len() < 2 {
        return file.section_data(name).map(Option::unwrap_or_default);
    }
    let mut all = Vec::new();
    for number in numbers {
        all.extend_from_slice(&file.section_bytes(number)?);
        if all.len() as u64 > MAX_JOINED {
            let (name, what) = (file.name(), name.to_owned());
            return Err(SymbolsError::TooLarge { name, what, size: all.len() as u64, limit: MAX_JOINED });
        }
    }
    Ok(SectionData::from(all))
}
