//! The index as a file: a header, a directory, flat tables of little-endian numbers.
//!
//! ```text
//! 0   magic "OUTPOSTX"      24  checksum of all bytes from 40
//! 8   format version, u32   32  reserved, 0
//! 12  tables, u32           40  directory: offset and length of each table, u64 each
//! 16  length of the file    then the tables, each aligned to 8
//! ```
//! An index is refused if any of these does not fit. Numbers inside the tables are checked when they are used: an
//! index that lies gives wrong names, never a panic.

use std::io::{self, Seek, SeekFrom, Write};

use super::strings::{Source, Sources};
use crate::SectionData;
use crate::hash::Checksum;

/// Changes whenever a table, a hash or the meaning of a number changes.
const VERSION: u32 = 7;
const MAGIC: &[u8; 8] = b"OUTPOSTX";
const HEADER_LEN: usize = 40;
/// Bytes that are checked at once before their pages are given back.
const CHECK_WINDOW: usize = 4 << 20;

/// The tables, in the order of the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Table {
    /// Which build this is the index of.
    Identity,
    /// One u32: bit n is set if strings lie in `Source` n.
    Sources,
    /// Text of the strings that do not lie in a section of the image.
    Text,
    /// Where each string lies: u64, as `Place` packs it.
    Strings,
    /// Start u64, end u64, signature or id of split DWARF u64, section u8, which of them u8, language u16, type offset u32;
    /// sorted.
    Units,
    /// Of split DWARF: start, length of `.debug_info`, of `.debug_types`, id, fingerprint u64 each, row, kind of place,
    /// directory, name u32 each; sorted.
    Pieces,
    /// DIE 48 bits, kind u8, flags u8, name u32, parent u32; sorted by DIE.
    Entries,
    /// Where the names of each bucket begin: u32; the bucket is the upper bits of the hash.
    NameBuckets,
    /// Folded hash u32, what it names u32; sorted by hash.
    Names,
    /// Start u64, length u32 with the top bit set where the function is entered, entry u32; sorted.
    Code,
    /// Numbers of code ranges, u32, sorted by entry.
    CodeByEntry,
    /// Address u64, entry u32, 0 u32; sorted.
    Data,
    /// Numbers of data addresses, u32, sorted by entry.
    DataByEntry,
    /// DIE of an abstract function u64, another unit that has it inlined u32, 0 u32; sorted.
    Inlined,
    /// Start u64, end u64, unit u32, 0 u32; sorted, disjoint.
    UnitRanges,
    /// Directory u32, base name u32.
    Files,
    /// Folded hash of the base name u32, file u32; sorted.
    FileNames,
    /// Where the units of each file begin: u32.
    FileUnitStarts,
    /// Units that refer to a file: u32.
    FileUnits,
    /// Address u64, size u64, place of the name u64, demangled name u32, kind, binding, source u8 each, whether the
    /// debug info has a function there u8; sorted, TLS last.
    Symbols,
    /// Texts, each ended by NUL: part and reason of each problem.
    Problems,
}

const TABLES: usize = Table::Problems as usize + 1;

/// Writes an index.
pub(super) struct IndexWriter<W: Write + Seek> {
    out: W,
    directory: [(u64, u64); TABLES],
    at: u64,
    checksum: Checksum,
}

impl<W: Write + Seek> IndexWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<IndexWriter<W>> {
        let start = HEADER_LEN + TABLES * 16;
        out.write_all(&vec![0; start])?;
        Ok(IndexWriter { out, directory: [(0, 0); TABLES], at: start as u64, checksum: Checksum::new() })
    }

    /// Writes a table from records, each of which appends its bytes to the buffer.
    pub(super) fn table<T>(
        &mut self,
        table: Table,
        records: impl IntoIterator<Item = T>,
        mut encode: impl FnMut(&mut Vec<u8>, T),
    ) -> io::Result<()> {
        let padding = self.at.next_multiple_of(8) - self.at;
        self.put(&[0; 8][..padding as usize])?;
        let start = self.at;
        let mut buffer = Vec::with_capacity(1 << 16);
        for record in records {
            encode(&mut buffer, record);
            if buffer.len() >= 1 << 16 {
                self.put(&buffer)?;
                buffer.clear();
            }
        }
        self.put(&buffer)?;
        self.directory[table as usize] = (start, self.at - start);
        Ok(())
    }

    /// Writes a table of bytes.
    pub(super) fn bytes(&mut self, table: Table, bytes: &[u8]) -> io::Result<()> {
        self.table(table, bytes.chunks(1 << 16), |buffer, chunk| buffer.extend_from_slice(chunk))
    }

    /// Writes a table of 32-bit numbers.
    pub(super) fn numbers(&mut self, table: Table, numbers: impl IntoIterator<Item = u32>) -> io::Result<()> {
        self.table(table, numbers, |buffer, number| buffer.extend_from_slice(&number.to_le_bytes()))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.checksum.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes header and directory, and gives the output back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let mut directory = Vec::with_capacity(TABLES * 16);
        for (start, len) in self.directory {
            directory.extend_from_slice(&start.to_le_bytes());
            directory.extend_from_slice(&len.to_le_bytes());
        }
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(TABLES as u32).to_le_bytes());
        header.extend_from_slice(&self.at.to_le_bytes());
        // The directory comes first in the file but is known last; its checksum goes on top of the tables'.
        let mut over_directory = Checksum::new();
        over_directory.update(&directory);
        header.extend_from_slice(&(self.checksum.finish() ^ over_directory.finish()).to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.write_all(&directory)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// An index in memory or mapped, its frame checked. A clone shares the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    data: SectionData,
    tables: [(usize, usize); TABLES],
    pub(super) sources: Sources,
}

impl Index {
    /// An index of nothing.
    pub(crate) fn empty() -> Index {
        Index { data: SectionData::empty(), tables: [(0, 0); TABLES], sources: Sources::default() }
    }

    /// Checks header, directory and checksum of `data`; says what is wrong with it.
    pub(crate) fn open(data: SectionData) -> Result<Index, &'static str> {
        let index = Index::open_unchecked(data)?;
        let tables_start = HEADER_LEN + TABLES * 16;
        let stored = index.data.get(24..32).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let mut over_directory = Checksum::new();
        over_directory.update(index.data.get(HEADER_LEN..tables_start).unwrap_or_default());
        let mut over_tables = Checksum::new();
        let mut at = tables_start;
        while at < index.data.len() {
            let end = (at + CHECK_WINDOW).min(index.data.len());
            over_tables.update(index.data.get(at..end).unwrap_or_default());
            // Checking must not leave the whole file in memory: few of its pages are needed afterwards.
            index.data.release(at..end);
            at = end;
        }
        if stored != Some(over_tables.finish() ^ over_directory.finish()) {
            return Err("its checksum does not fit its content");
        }
        Ok(index)
    }

    /// As [`Index::open`], for an index just written, whose content needs no check.
    pub(crate) fn open_unchecked(data: SectionData) -> Result<Index, &'static str> {
        let word = |at: usize| data.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let long = |at: usize| data.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        if data.get(..8) != Some(MAGIC) {
            return Err("it is not an index");
        }
        if word(8) != Some(VERSION) || word(12) != Some(TABLES as u32) {
            return Err("it is of another version");
        }
        if long(16) != Some(data.len() as u64) {
            return Err("it is cut short");
        }
        let mut tables = [(0, 0); TABLES];
        for (number, table) in tables.iter_mut().enumerate() {
            let at = HEADER_LEN + number * 16;
            let start = long(at).and_then(|start| usize::try_from(start).ok());
            let len = long(at + 8).and_then(|len| usize::try_from(len).ok());
            let end = start.zip(len).and_then(|(start, len)| start.checked_add(len));
            match (start, end) {
                (Some(start), Some(end)) if end <= data.len() => *table = (start, end),
                _ => return Err("a table lies outside of it"),
            }
        }
        Ok(Index { data, tables, sources: Sources::default() })
    }

    /// Which sections hold strings of this index: they must be attached before it is asked.
    pub(crate) fn wanted_sources(&self) -> Vec<Source> {
        let all = [Source::DebugStr, Source::DebugStrtab, Source::ImageStrtab, Source::Dynstr];
        let wanted = self.number(Table::Sources, 0).unwrap_or(0);
        all.into_iter().filter(|source| wanted & (1 << *source as u32) != 0).collect()
    }

    /// Gives the index the sections that it has strings in.
    pub(crate) fn attach(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// The bytes of a table.
    pub(super) fn table(&self, table: Table) -> &[u8] {
        let (start, end) = self.tables[table as usize];
        self.data.get(start..end).unwrap_or_default()
    }

    /// Record `at` of a table whose records have `N` bytes.
    pub(super) fn record<const N: usize>(&self, table: Table, at: usize) -> Option<&[u8; N]> {
        let start = at.checked_mul(N)?;
        self.table(table).get(start..start.checked_add(N)?)?.try_into().ok()
    }

    /// Number `at` of a table of 32-bit numbers.
    pub(super) fn number(&self, table: Table, at: usize) -> Option<u32> {
        self.record::<4>(table, at).map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// How many records of `size` bytes a table has.
    pub(super) fn count(&self, table: Table, size: usize) -> usize {
        self.table(table).len() / size
    }

    /// The bytes by which the cache knows which build this is.
    pub(crate) fn identity(&self) -> &[u8] {
        self.table(Table::Identity)
    }
}

/// The `u32` at `at` of a record.
pub(super) fn u32_at(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The `u64` at `at` of a record.
pub(super) fn u64_at(record: &[u8], at: usize) -> u64 {
    record.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Vec<u8> {
        let mut writer = IndexWriter::new(io::Cursor::new(Vec::new())).unwrap();
        writer.bytes(Table::Identity, b"abc").unwrap();
        writer.numbers(Table::FileUnits, [1, 2, 3]).unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn tables_read_back() {
        let index = Index::open(SectionData::from(small())).unwrap();
        assert_eq!(index.identity(), b"abc");
        assert_eq!(index.number(Table::FileUnits, 2), Some(3));
        assert_eq!(index.number(Table::FileUnits, 3), None);
        assert_eq!(index.table(Table::Symbols), b"");
    }

    #[test]
    fn any_damage_is_refused() {
        let good = small();
        for len in 0..good.len() {
            assert!(Index::open(SectionData::from(good[..len].to_vec())).is_err(), "cut at {len}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            // Bytes 32 to 40 are reserved.
            assert_eq!(Index::open(SectionData::from(bad)).is_err(), !(32..40).contains(&at), "byte {at}");
        }
    }
}
