//! Call frame information of a module: finding the entry of an address, and its row of rules.
//!
//! Sources: DWARF 5, 6.4 (`.debug_frame`); LSB 5.0 Core, 10.6 (`.eh_frame`, `.eh_frame_hdr`).

mod apply;
mod expression;
mod header;
mod index;
mod mapped;
mod row;
mod sections;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use gimli::{BaseAddresses, DebugFrame, EhFrame, EndianSlice, LittleEndian, UnwindSection};
use outpost_base::ImageOffset;

pub(crate) use apply::{StackGrowth, apply};
pub(crate) use row::Row;
use row::compile_row;
pub use sections::{CfiSection, CfiSections, SectionBytes};

use header::HeaderTable;
use index::FdeIndex;

/// Rows kept per module. A row is some 200 bytes; programs stop at few distinct places.
const CACHED_ROWS: usize = 32 * 1024;

pub(crate) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A module's call frame information with what was learnt from it so far.
///
/// Addresses in it are those of the image: one value serves every process that loaded the same build. It may be used
/// from several threads. Entries are found through the table of `.eh_frame_hdr` where there is a sound one, else through
/// an index of all entries that is built at the first need; rows are compiled once and kept.
pub struct ModuleCfi {
    sections: CfiSections,
    bases: BaseAddresses,
    header: Option<HeaderTable>,
    eh_index: OnceLock<FdeIndex>,
    debug_index: OnceLock<FdeIndex>,
    rows: RwLock<BTreeMap<u64, Arc<Row>>>,
}

/// Which section an entry or an expression is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SectionKind {
    EhFrame,
    DebugFrame,
}

impl ModuleCfi {
    /// Takes the sections of one module, any of which may be missing.
    pub fn new(sections: CfiSections) -> ModuleCfi {
        let mut bases = BaseAddresses::default();
        if let Some(section) = &sections.eh_frame {
            bases = bases.set_eh_frame(section.address.0);
        }
        if let Some(section) = &sections.eh_frame_hdr {
            bases = bases.set_eh_frame_hdr(section.address.0);
        }
        if let Some(address) = sections.text {
            bases = bases.set_text(address.0);
        }
        if let Some(address) = sections.got {
            bases = bases.set_got(address.0);
        }
        let header = match (&sections.eh_frame_hdr, &sections.eh_frame) {
            (Some(header), Some(eh_frame)) => HeaderTable::parse(header, eh_frame),
            _ => None,
        };
        ModuleCfi {
            sections,
            bases,
            header,
            eh_index: OnceLock::new(),
            debug_index: OnceLock::new(),
            rows: RwLock::default(),
        }
    }

    /// Whether there is no call frame information at all.
    pub fn is_empty(&self) -> bool {
        self.sections.eh_frame.is_none() && self.sections.debug_frame.is_none()
    }

    /// Whether the information covers `address`.
    pub fn covers(&self, address: ImageOffset) -> bool {
        matches!(self.row(address), Ok(Some(_)))
    }

    /// The row for `address`; `None` if no entry covers it, an error with the entry's offset if that cannot be read.
    pub(crate) fn row(&self, address: ImageOffset) -> Result<Option<Arc<Row>>, (u64, gimli::Error)> {
        if let Some(row) = self.cached(address) {
            return Ok(Some(row));
        }
        let mut damage = None;
        for kind in [SectionKind::EhFrame, SectionKind::DebugFrame] {
            match self.compile(kind, address) {
                Ok(Some(row)) => return Ok(Some(self.keep(row))),
                Ok(None) => {}
                Err(error) => damage = damage.or(Some(error)),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    /// The bytes that the expressions of a row lie in.
    pub(crate) fn section_bytes(&self, kind: SectionKind) -> &[u8] {
        let section = match kind {
            SectionKind::EhFrame => &self.sections.eh_frame,
            SectionKind::DebugFrame => &self.sections.debug_frame,
        };
        section.as_ref().map_or(&[], |section| section.bytes.as_slice())
    }

    fn cached(&self, address: ImageOffset) -> Option<Arc<Row>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let (_, row) = rows.range(..=address.0).next_back()?;
        row.contains(address.0).then(|| row.clone())
    }

    fn keep(&self, row: Row) -> Arc<Row> {
        let row = Arc::new(row);
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= CACHED_ROWS {
            rows.clear();
        }
        rows.insert(row.start, row.clone());
        row
    }

    fn compile(&self, kind: SectionKind, address: ImageOffset) -> Result<Option<Row>, (u64, gimli::Error)> {
        let bytes = self.section_bytes(kind);
        if bytes.is_empty() {
            return Ok(None);
        }
        match kind {
            SectionKind::EhFrame => {
                let mut section = EhFrame::new(bytes, LittleEndian);
                section.set_address_size(8);
                if let Some(header) = &self.header {
                    let offsets = header.candidates(address.0);
                    return self.first_covering(&section, kind, offsets, address);
                }
                let index = self.eh_index.get_or_init(|| FdeIndex::build(&section, bytes, &self.bases));
                self.first_covering(&section, kind, index.candidates(address.0), address)
            }
            SectionKind::DebugFrame => {
                let mut section = DebugFrame::new(bytes, LittleEndian);
                section.set_address_size(8);
                let index = self.debug_index.get_or_init(|| FdeIndex::build(&section, bytes, &self.bases));
                self.first_covering(&section, kind, index.candidates(address.0), address)
            }
        }
    }

    fn first_covering<'a, S>(
        &self,
        section: &S,
        kind: SectionKind,
        offsets: impl Iterator<Item = u64>,
        address: ImageOffset,
    ) -> Result<Option<Row>, (u64, gimli::Error)>
    where
        S: UnwindSection<Bytes<'a>>,
        S::Offset: From<usize>,
    {
        let mut damage = None;
        for offset in offsets {
            match compile_row(section, kind, &self.bases, offset, address.0) {
                Ok(Some(row)) => return Ok(Some(row)),
                Ok(None) => {}
                Err(error) => damage = damage.or(Some((offset, error))),
            }
        }
        damage.map_or(Ok(None), Err)
    }
}

impl fmt::Debug for ModuleCfi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleCfi")
            .field("sections", &self.sections)
            .field("has_header_table", &self.header.is_some())
            .finish_non_exhaustive()
    }
}
