//! Which pieces there are, when an index is built.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use gimli::{Dwarf, Reader};
use rayon::prelude::*;

use super::pieces::{PieceSections, SURVEYED, load};
use super::{Origin, Piece, PiecePlace, Pieces, SplitFiles};
use crate::debug_info::{UnitSpan, unit_header, unit_spans};
use crate::{DieSection, DwarfReader, Problem};

/// Most pieces that are believed; the largest programs have some ten thousand files.
const MAX_PIECES: usize = 1 << 20;
/// Offsets that fit into an index (`pack_die`).
const MAX_OFFSET: u64 = (1 << 46) - 1;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) pieces: Pieces,
    /// Bytes of the sections that hold names.
    pub(crate) text_len: usize,
}

/// A piece that was looked for, its units, the bytes of its text, and why it was not found.
struct Found {
    piece: Piece,
    units: Vec<UnitSpan>,
    text_len: usize,
    missing: Option<String>,
}

/// Lays out the pieces that the skeletons among `spans` call for, and appends their units to them.
///
/// What is missing is one problem, however many files it is.
pub(crate) fn survey(
    main: &Dwarf<DwarfReader>,
    files: &SplitFiles,
    spans: &mut Vec<UnitSpan>,
    problems: &mut Vec<Problem>,
    cancel: &AtomicBool,
) -> Survey {
    let mut survey = Survey { pieces: Pieces::new(Vec::new(), files.clone()), text_len: 0 };
    let wanted = wanted(main, &survey.pieces, spans, problems);
    if wanted.is_empty() {
        return survey;
    }
    let examine = |piece: Piece| match cancel.load(Ordering::Relaxed) {
        true => Found { piece, units: Vec::new(), text_len: 0, missing: None },
        false => examine(main, &survey.pieces, piece),
    };
    let found: Vec<Found> = wanted.into_par_iter().map(examine).collect();
    if survey.pieces.package().is_some() {
        let text = |section: Option<u64>| section.and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
        let len = |name: &str| files.package.as_ref()?.section_data(name).ok()?.map(|data| data.len() as u64);
        survey.text_len += text(len(".debug_str.dwo"));
    }
    let skeletons: Vec<u64> = spans.iter().filter_map(|span| span.dwo_id).collect();
    let mut reasons = Vec::new();
    let mut described = HashSet::new();
    let mut base = 0;
    for Found { mut piece, units, text_len, missing } in found {
        reasons.extend(missing);
        described.extend(units.iter().filter_map(|unit| unit.dwo_id));
        piece.base = base;
        let globals: Option<Vec<UnitSpan>> = units.iter().map(|unit| piece.global(unit)).collect();
        let end = piece.end();
        let Some(globals) = globals.filter(|_| end <= MAX_OFFSET) else {
            problems.push(Problem::new("split debug info", "there is too much of it"));
            break;
        };
        base = end;
        spans.extend(globals);
        survey.text_len = survey.text_len.saturating_add(text_len);
        survey.pieces.push(piece);
    }
    let missing = skeletons.iter().filter(|id| !described.contains(id)).count();
    if missing > 0 {
        let first = reasons.first().map_or("a file that has other units", String::as_str);
        let reason = format!(
            "{missing} of {} units lack their .dwo file, and with it their types, variables and inlined calls. Put the \
             files beside the program or add their folder to the symbol path (.sympath+ DIR), then .reload. Looked for \
             the first at {first}",
            skeletons.len()
        );
        problems.push(Problem::new("split debug info", reason));
    }
    survey
}

/// The pieces that the skeletons call for, not yet looked for: from the package what it has, then files.
fn wanted(main: &Dwarf<DwarfReader>, pieces: &Pieces, spans: &[UnitSpan], problems: &mut Vec<Problem>) -> Vec<Piece> {
    let new = |id, place| Piece { base: 0, info_len: 0, types_len: 0, id, place, fingerprint: 0 };
    let package = pieces.package().and_then(|sections| {
        let wrap = |data: &crate::SectionData| gimli::EndianReader::new(data.clone(), gimli::LittleEndian);
        match sections.borrow(wrap, wrap(&crate::SectionData::empty())) {
            Ok(package) => Some(package),
            Err(error) => {
                problems.push(Problem::new("package of split debug info", error));
                None
            }
        }
    });
    let mut wanted = Vec::new();
    let mut origins: HashSet<Origin> = HashSet::new();
    let mut any = false;
    for span in spans.iter().filter(|span| span.section == DieSection::Info) {
        let Some(id) = span.dwo_id else { continue };
        any = true;
        if wanted.len() >= MAX_PIECES {
            break;
        }
        match package.as_ref().and_then(|package| package.cu_index.find(id)) {
            Some(row) => wanted.push(new(id, PiecePlace::Unit(row))),
            None => match origin(main, span) {
                Ok(origin) => {
                    if origins.insert(origin.clone()) {
                        wanted.push(new(id, PiecePlace::File(origin)));
                    }
                }
                Err(error) => problems.push(Problem::new(format!("unit at {:#x}", span.start), error)),
            },
        }
    }
    if let Some(package) = package.filter(|_| any) {
        let rows = 1..=package.tu_index.unit_count();
        wanted.extend(rows.take(MAX_PIECES).map(|row| new(0, PiecePlace::TypeUnit(row))));
    }
    wanted
}

/// What a skeleton says of its file.
fn origin(main: &Dwarf<DwarfReader>, span: &UnitSpan) -> gimli::Result<Origin> {
    let unit = main.unit(unit_header(main, span)?)?;
    let name = unit.dwo_name()?.ok_or(gimli::Error::MissingSplitUnit)?;
    let bytes = |text: &DwarfReader| text.to_slice().map(|bytes| bytes.into_owned());
    let directory = unit.comp_dir.as_ref().map(bytes).transpose()?.unwrap_or_default();
    Ok(Origin { directory, name: bytes(&main.attr_string(&unit, name)?)? })
}

/// Looks for a piece and reads which units it has.
fn examine(main: &Dwarf<DwarfReader>, pieces: &Pieces, mut piece: Piece) -> Found {
    let sections = match &piece.place {
        PiecePlace::File(origin) => {
            // First: a file that comes meanwhile is noticed the next time.
            piece.fingerprint = pieces.files().fingerprint(origin);
            let found = pieces.files().find(origin, |file| load(file, piece.id, SURVEYED));
            found.map(|sections| PieceSections::File(Box::new(sections)))
        }
        _ => pieces.sections(&piece),
    };
    let dwarf = sections.and_then(|sections| sections.readers(main).map_err(|error| error.to_string()));
    let dwarf = match dwarf {
        Ok(dwarf) => dwarf,
        Err(missing) => return Found { piece, units: Vec::new(), text_len: 0, missing: Some(missing) },
    };
    // A damaged header ends the units; the index says so when it comes to the place.
    let mut units = unit_spans(&dwarf, &mut Vec::new());
    units.retain(|unit| matches!(unit.section, DieSection::Info | DieSection::Types));
    piece.info_len = dwarf.debug_info.reader_len();
    piece.types_len = dwarf.debug_types.reader_len();
    let strings = match piece.place {
        PiecePlace::File(_) => dwarf.debug_str.reader_len(),
        PiecePlace::Unit(_) | PiecePlace::TypeUnit(_) => 0,
    };
    let text_len = usize::try_from(piece.info_len + piece.types_len + strings).unwrap_or(usize::MAX);
    Found { piece, units, text_len, missing: None }
}

/// Length of a section.
trait SectionLen {
    fn reader_len(&self) -> u64;
}

impl<S: gimli::Section<DwarfReader>> SectionLen for S {
    fn reader_len(&self) -> u64 {
        self.reader().len() as u64
    }
}
