//! The DWARF of one image, ready for gimli: sections, units, and which unit covers an address.

use std::sync::{Arc, OnceLock};

use gimli::{
    AttributeValue, DebugInfoOffset, DebugTypes, Dwarf, LittleEndian, Reader, Section, UnitHeader, UnitOffset, UnitRef,
};
use outpost_base::ImageOffset;

use crate::dwarf_sections::DwarfFile;
use crate::hash::IntMap;
use crate::split::{Piece, Pieces};
use crate::{ElfFile, ImageRange, Problem, SectionData, SymbolsError};

/// gimli's reader over our bytes: owns what it reads, so it needs no lifetime and can be kept.
pub type DwarfReader = gimli::EndianReader<LittleEndian, SectionData>;
/// A unit with its abbreviations and bases.
pub type DwarfUnit = gimli::Unit<DwarfReader>;

/// Most units that are believed; the largest programs have some hundred thousand.
const MAX_UNITS: usize = 1 << 22;

/// Which section holds a DIE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DieSection {
    /// `.debug_info` of the debug file.
    Info,
    /// `.debug_types` of the debug file (DWARF 4).
    Types,
    /// `.debug_info` of the file of shared DWARF that `.gnu_debugaltlink` names.
    Alt,
    /// `.debug_info` and `.debug_types` of all `.dwo` files or of their package, one behind the other.
    Split,
}

/// A DIE of an image: stable for a build, independent of what is loaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DieRef {
    /// Section.
    pub section: DieSection,
    /// Offset in the section.
    pub offset: u64,
}

/// Number of a unit within its [`DebugInfo`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitIndex(pub u32);

/// Where a unit lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UnitSpan {
    pub(crate) section: DieSection,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// For a type unit, what names its type.
    pub(crate) signature: Option<TypeSignature>,
    /// For a skeleton and for the unit that it stands for, what both have in common.
    pub(crate) dwo_id: Option<u64>,
}

/// The name of a type unit's type, and where in the unit it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TypeSignature {
    pub(crate) signature: u64,
    pub(crate) type_offset: u64,
}

/// The DWARF of one image and, if its debug file refers to one, of the shared file that dwz made, and of its `.dwo` files.
///
/// Units are parsed when first asked for and kept. Everything is read-only and may be used from several threads.
#[derive(Debug)]
pub struct DebugInfo {
    dwarf: Dwarf<DwarfReader>,
    spans: Vec<UnitSpan>,
    units: Vec<OnceLock<Result<Arc<DwarfUnit>, gimli::Error>>>,
    by_address: OnceLock<Vec<(ImageRange, UnitIndex)>>,
    by_signature: OnceLock<Vec<(u64, u64, UnitIndex)>>,
    pieces: Pieces,
    /// Sections of the pieces that were asked for; `None`: they are not to be had any more.
    split: Vec<OnceLock<Option<Box<Dwarf<DwarfReader>>>>>,
    /// By what skeletons and the units that they stand for have in common.
    by_dwo_id: OnceLock<ByDwoId>,
}

#[derive(Debug, Default)]
struct ByDwoId {
    skeletons: IntMap<u64, UnitIndex>,
    described: IntMap<u64, UnitIndex>,
}

impl DebugInfo {
    /// Loads the DWARF sections of `file` and, if there is one, of its shared file `alt`; `None` without DWARF.
    ///
    /// A damaged section is reported and treated as absent.
    /// # Errors
    /// [`SymbolsError`] if `.debug_info` or `.debug_abbrev` itself cannot be read.
    pub fn load(
        file: &ElfFile,
        alt: Option<&ElfFile>,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<DebugInfo>, SymbolsError> {
        let Some(sections) = DwarfFile::load(file, alt, problems)? else { return Ok(None) };
        let dwarf = sections.readers();
        let spans = unit_spans(&dwarf, problems);
        Ok(Some(DebugInfo {
            by_address: OnceLock::new(),
            ..DebugInfo::with_units(dwarf, spans, Vec::new(), Pieces::default())
        }))
    }

    /// As [`DebugInfo::load`], from sections at hand and with units and their addresses already known.
    pub(crate) fn with_units(
        dwarf: Dwarf<DwarfReader>,
        spans: Vec<UnitSpan>,
        ranges: Vec<(ImageRange, UnitIndex)>,
        pieces: Pieces,
    ) -> DebugInfo {
        let (mut units, mut split) = (Vec::new(), Vec::new());
        units.resize_with(spans.len(), OnceLock::new);
        split.resize_with(pieces.all().len(), OnceLock::new);
        let (by_address, by_signature, by_dwo_id) = (OnceLock::from(ranges), OnceLock::new(), OnceLock::new());
        DebugInfo { dwarf, spans, units, by_address, by_signature, pieces, split, by_dwo_id }
    }

    /// The sections of the debug file.
    pub fn dwarf(&self) -> &Dwarf<DwarfReader> {
        &self.dwarf
    }

    /// The sections that a unit refers to; `None` if its `.dwo` file is not to be had any more.
    fn dwarf_of(&self, span: &UnitSpan) -> Option<&Dwarf<DwarfReader>> {
        match span.section {
            DieSection::Alt => Some(self.dwarf.sup().unwrap_or(&self.dwarf)),
            DieSection::Info | DieSection::Types => Some(&self.dwarf),
            DieSection::Split => {
                let (number, piece) = self.pieces.at(span.start)?;
                let load = || match self.pieces.sections(piece) {
                    Ok(sections) => sections.readers(&self.dwarf).ok().map(Box::new),
                    Err(reason) => {
                        tracing::warn!("split debug info is gone: {reason}");
                        None
                    }
                };
                self.split.get(number)?.get_or_init(load).as_deref()
            }
        }
    }

    /// All units: those of `.debug_info`, then `.debug_types`, then the shared file, then split ones, each in file order.
    pub fn units(&self) -> impl Iterator<Item = UnitIndex> + use<> {
        (0..self.spans.len() as u32).map(UnitIndex)
    }

    /// The unit, parsed on first use.
    /// # Errors
    /// [`SymbolsError::Dwarf`] if it is damaged or `index` is not one of this image.
    pub fn unit(&self, index: UnitIndex) -> Result<Arc<DwarfUnit>, SymbolsError> {
        let at = index.0 as usize;
        let (Some(span), Some(slot)) = (self.spans.get(at), self.units.get(at)) else {
            return Err(gimli::Error::NoEntryAtGivenOffset(u64::from(index.0)).into());
        };
        slot.get_or_init(|| self.parse_unit(span)).clone().map_err(SymbolsError::from)
    }

    fn parse_unit(&self, span: &UnitSpan) -> Result<Arc<DwarfUnit>, gimli::Error> {
        let dwarf = self.dwarf_of(span).ok_or(gimli::Error::MissingSplitUnit)?;
        let Some((_, piece)) = self.piece_of(span) else {
            return dwarf.unit(unit_header(dwarf, span)?).map(Arc::new);
        };
        let mut unit = dwarf.unit(unit_header(dwarf, &piece.local(span))?)?;
        if span.dwo_id.is_some() && unit.dwo_id.map(|id| id.0) != span.dwo_id {
            return Err(gimli::Error::MissingSplitUnit);
        }
        let skeleton = span.dwo_id.and_then(|id| self.by_dwo_id().skeletons.get(&id));
        if let Some(skeleton) = skeleton.and_then(|index| self.unit(*index).ok()) {
            inherit(&mut unit, &skeleton);
        }
        Ok(Arc::new(unit))
    }

    fn piece_of(&self, span: &UnitSpan) -> Option<(usize, &Piece)> {
        if span.section == DieSection::Split { self.pieces.at(span.start) } else { None }
    }

    fn by_dwo_id(&self) -> &ByDwoId {
        self.by_dwo_id.get_or_init(|| {
            let mut found = ByDwoId::default();
            for (index, span) in self.units().zip(&self.spans) {
                let Some(id) = span.dwo_id else { continue };
                match span.section {
                    DieSection::Split => found.described.insert(id, index),
                    _ => found.skeletons.insert(id, index),
                };
            }
            found
        })
    }

    /// The unit that describes what the skeleton `index` stands for; any other unit describes itself, and so does a
    /// skeleton whose `.dwo` file is missing.
    pub(crate) fn described_by(&self, index: UnitIndex) -> UnitIndex {
        let id = self.span(index).filter(|span| span.section != DieSection::Split).and_then(|span| span.dwo_id);
        id.and_then(|id| self.by_dwo_id().described.get(&id).copied()).unwrap_or(index)
    }

    /// The unit that has the line table of `index`: the skeleton of a split unit, any other has its own.
    pub(crate) fn lines_of(&self, index: UnitIndex) -> UnitIndex {
        let id = self.span(index).filter(|span| span.section == DieSection::Split).and_then(|span| span.dwo_id);
        id.and_then(|id| self.by_dwo_id().skeletons.get(&id).copied()).unwrap_or(index)
    }

    /// Where a unit lies.
    pub(crate) fn span(&self, index: UnitIndex) -> Option<&UnitSpan> {
        self.spans.get(index.0 as usize)
    }

    /// `unit` together with the sections that its attributes refer to, as gimli's helpers want it.
    pub fn unit_ref<'a>(&'a self, index: UnitIndex, unit: &'a DwarfUnit) -> UnitRef<'a, DwarfReader> {
        // A unit that was parsed has its sections.
        let dwarf = self.spans.get(index.0 as usize).and_then(|span| self.dwarf_of(span));
        UnitRef::new(dwarf.unwrap_or(&self.dwarf), unit)
    }

    /// The unit that holds `die`, and the DIE's offset in it.
    pub fn locate(&self, die: DieRef) -> Option<(UnitIndex, UnitOffset)> {
        let next = self.spans.partition_point(|span| (span.section, span.start) <= (die.section, die.offset));
        let at = next.checked_sub(1)?;
        let span = self.spans.get(at)?;
        let inside = span.section == die.section && die.offset < span.end;
        inside.then_some((UnitIndex(at as u32), UnitOffset((die.offset - span.start) as usize)))
    }

    /// The DIE at `offset` of unit `index`.
    pub fn die(&self, index: UnitIndex, offset: UnitOffset) -> Option<DieRef> {
        let span = self.spans.get(index.0 as usize)?;
        Some(DieRef { section: span.section, offset: span.start.checked_add(offset.0 as u64)? })
    }

    /// The DIE that an attribute of a DIE of unit `index` refers to, by any of DWARF's reference forms.
    ///
    /// `None` if the value is no reference or leads nowhere.
    pub fn resolve(&self, index: UnitIndex, value: &AttributeValue<DwarfReader>) -> Option<DieRef> {
        let span = self.spans.get(index.0 as usize)?;
        match *value {
            AttributeValue::UnitRef(offset) => self.die(index, offset),
            AttributeValue::DebugInfoRef(offset) => self.in_info(span, offset.0 as u64),
            AttributeValue::DebugInfoRefSup(offset) => {
                Some(DieRef { section: DieSection::Alt, offset: offset.0 as u64 })
            }
            AttributeValue::DebugTypesRef(signature) => self.type_unit(signature.0),
            _ => None,
        }
    }

    /// The DIE at `offset` of the `.debug_info` section that unit `index` lies in, or that its type unit belongs to.
    pub(crate) fn die_in_info(&self, index: UnitIndex, offset: u64) -> Option<DieRef> {
        self.in_info(self.span(index)?, offset)
    }

    fn in_info(&self, span: &UnitSpan, offset: u64) -> Option<DieRef> {
        let (section, base) = match span.section {
            DieSection::Info | DieSection::Types => (DieSection::Info, 0),
            DieSection::Alt => (DieSection::Alt, 0),
            DieSection::Split => (DieSection::Split, self.piece_of(span)?.1.base),
        };
        Some(DieRef { section, offset: base.checked_add(offset)? })
    }

    /// The type DIE that a type unit's signature names.
    fn type_unit(&self, signature: u64) -> Option<DieRef> {
        let table = self.by_signature.get_or_init(|| {
            let numbered = self.units().zip(&self.spans);
            let mut table: Vec<_> = numbered
                .filter_map(|(index, span)| Some((span.signature?.signature, span.signature?.type_offset, index)))
                .collect();
            table.sort_unstable();
            table
        });
        let at = table.binary_search_by_key(&signature, |entry| entry.0).ok()?;
        let (_, type_offset, index) = *table.get(at)?;
        self.die(index, UnitOffset(usize::try_from(type_offset).ok()?))
    }

    /// The unit that describes the code at `at`.
    pub fn unit_at(&self, at: ImageOffset) -> Option<UnitIndex> {
        let table = self.by_address.get_or_init(|| self.address_table());
        let next = table.partition_point(|(range, _)| range.start <= at);
        // Ranges of different units rarely nest; look a few back in case a short one lies inside a long one.
        let before = table.get(next.saturating_sub(8)..next)?;
        let found = before.iter().rev().find(|(range, _)| range.contains(at)).map(|(_, index)| *index)?;
        Some(self.described_by(found))
    }

    fn address_table(&self) -> Vec<(ImageRange, UnitIndex)> {
        let mut table = Vec::new();
        for index in self.units() {
            let Ok(unit) = self.unit(index) else { continue };
            let Ok(root) = unit.entry(unit.header.root_offset()) else { continue };
            let Ok(mut ranges) = die_ranges(self.unit_ref(index, &unit).dwarf, &unit, &root) else { continue };
            while let Ok(Some(range)) = ranges.next() {
                if range.begin < range.end {
                    table.push((ImageRange::new(range.begin, range.end), index));
                }
            }
        }
        table.sort_unstable();
        table
    }
}

/// The code addresses of a DIE.
///
/// gimli adds `DW_AT_high_pc`, where it is a length, without looking at what comes out.
pub(crate) fn die_ranges<R: Reader<Offset = usize>>(
    dwarf: &Dwarf<R>,
    unit: &gimli::Unit<R>,
    entry: &gimli::DebuggingInformationEntry<R>,
) -> Result<gimli::RangeIter<R>, gimli::Error> {
    let low = entry.attr_value(gimli::DW_AT_low_pc).map(|low| dwarf.attr_address(unit, low)).transpose()?.flatten();
    let length = entry.attr(gimli::DW_AT_high_pc).and_then(|high| high.udata_value());
    if low.zip(length).is_some_and(|(low, length)| low.checked_add(length).is_none()) {
        return Err(gimli::Error::AddressOverflow);
    }
    dwarf.die_ranges(unit, entry)
}

/// The header of a unit of `dwarf`, which holds the section that `span` is in.
///
/// gimli has no direct access to units of `.debug_types`, so the header of one believes to be the first of its
/// section; the true offset is in `span`.
pub(crate) fn unit_header<R: Reader<Offset = usize>>(
    dwarf: &Dwarf<R>,
    span: &UnitSpan,
) -> gimli::Result<UnitHeader<R>> {
    let start = span.start as usize;
    if span.section != DieSection::Types {
        return dwarf.unit_header(DebugInfoOffset(start));
    }
    let mut from_here = dwarf.debug_types.reader().clone();
    from_here.skip(start)?;
    DebugTypes::from(from_here).units().next()?.ok_or(gimli::Error::NoEntryAtGivenOffset(span.start))
}

/// The units of all sections, sorted. A damaged header ends its section: nothing says where the next one begins.
pub(crate) fn unit_spans(dwarf: &Dwarf<DwarfReader>, problems: &mut Vec<Problem>) -> Vec<UnitSpan> {
    let mut spans = Vec::new();
    info_spans(dwarf, DieSection::Info, &mut spans, problems);
    let mut types = dwarf.debug_types.units();
    loop {
        match types.next() {
            Ok(Some(header)) if spans.len() < MAX_UNITS => {
                let start = header.debug_types_offset().map_or(0, |offset| offset.0) as u64;
                spans.push(span(DieSection::Types, start, &header));
            }
            Ok(_) => break,
            Err(error) => {
                problems.push(Problem::new(".debug_types", error));
                break;
            }
        }
    }
    if let Some(alt) = dwarf.sup() {
        info_spans(alt, DieSection::Alt, &mut spans, problems);
    }
    spans
}

fn info_spans(dwarf: &Dwarf<DwarfReader>, section: DieSection, spans: &mut Vec<UnitSpan>, problems: &mut Vec<Problem>) {
    let mut units = dwarf.units();
    loop {
        match units.next() {
            Ok(Some(header)) if spans.len() < MAX_UNITS => {
                let start = header.debug_info_offset().map_or(0, |offset| offset.0) as u64;
                let dwo_id = dwo_id(dwarf, &header);
                spans.push(UnitSpan { dwo_id, ..span(section, start, &header) });
            }
            Ok(_) => break,
            Err(error) => {
                problems.push(Problem::new(".debug_info", error));
                break;
            }
        }
    }
}

fn span(section: DieSection, start: u64, header: &gimli::UnitHeader<DwarfReader>) -> UnitSpan {
    let signature = match header.type_() {
        gimli::UnitType::Type { type_signature, type_offset }
        | gimli::UnitType::SplitType { type_signature, type_offset } => {
            Some(TypeSignature { signature: type_signature.0, type_offset: type_offset.0 as u64 })
        }
        _ => None,
    };
    let end = start.saturating_add(header.length_including_self() as u64);
    UnitSpan { section, start, end, signature, dwo_id: None }
}

/// The id of a skeleton or of the unit that it stands for.
///
/// DWARF 5 has it in the header. Before, it is an attribute of the root, which is looked at only where there can be one: in
/// `.dwo` files, and in programs with a table of addresses, which only split units use there.
fn dwo_id(dwarf: &Dwarf<DwarfReader>, header: &UnitHeader<DwarfReader>) -> Option<u64> {
    let may_have = dwarf.file_type == gimli::DwarfFileType::Dwo || !dwarf.debug_addr.reader().is_empty();
    match header.type_() {
        gimli::UnitType::Skeleton(id) | gimli::UnitType::SplitCompilation(id) => Some(id.0),
        gimli::UnitType::Compilation if header.version() < 5 && may_have => {
            Some(dwarf.unit(header.clone()).ok()?.dwo_id?.0)
        }
        _ => None,
    }
}

/// Gives a split unit what its skeleton has for it (DWARF 5, 3.1.3).
fn inherit(unit: &mut DwarfUnit, skeleton: &DwarfUnit) {
    unit.copy_relocated_attributes(skeleton);
    unit.line_program.clone_from(&skeleton.line_program);
    unit.comp_dir.clone_from(&skeleton.comp_dir);
}
