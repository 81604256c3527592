//! The dynamic section, read by its segment, so that images without section headers can be understood too.

use object::LittleEndian as LE;
use object::elf::{
    DT_GNU_HASH, DT_HASH, DT_NEEDED, DT_NULL, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMTAB, Dyn64, DynamicTag, PT_DYNAMIC,
    Sym64,
};
use object::pod;
use outpost_base::ImageOffset;

use super::ElfFile;
use super::file::string_at;
use crate::SectionData;

/// Longest dynamic section that is read.
const MAX_DYNAMIC: u64 = 1 << 20;
/// Longest dynamic string table and hash table that are read.
const MAX_TABLE: u64 = 256 << 20;

/// The dynamic section's entries and its string table.
pub(super) struct Dynamic<'a> {
    file: &'a ElfFile,
    entries: Vec<(DynamicTag, u64)>,
    strings: SectionData,
}

impl<'a> Dynamic<'a> {
    /// Reads `PT_DYNAMIC`; `None` for a static image or a debug file, whose segment has no bytes.
    pub(super) fn read(file: &'a ElfFile) -> Option<Dynamic<'a>> {
        // In a debug file the section is NOBITS and the segment header lies.
        if file.section(".dynamic").is_some_and(|(_, section)| section.file_len == 0) {
            return None;
        }
        let segment = file.segments().iter().find(|segment| segment.kind == PT_DYNAMIC.0)?;
        let len = segment.file_len.min(MAX_DYNAMIC) / size_of::<Dyn64<LE>>() as u64 * size_of::<Dyn64<LE>>() as u64;
        let bytes = file.source().read(segment.file_offset, len).ok()?;
        let raw = pod::slice_from_all_bytes::<Dyn64<LE>>(&bytes).ok()?;
        let entries = raw.iter().map(|entry| (entry.d_tag.get(LE), entry.d_val.get(LE)));
        let entries: Vec<_> = entries.take_while(|entry| entry.0 != DT_NULL).collect();
        let mut dynamic = Dynamic { file, entries, strings: SectionData::empty() };
        if let (Some(at), Some(len)) = (dynamic.value(DT_STRTAB), dynamic.value(DT_STRSZ)) {
            let len = usize::try_from(len.min(MAX_TABLE)).ok()?;
            dynamic.strings = file.image_bytes(ImageOffset(at), len).unwrap_or_default();
        }
        Some(dynamic)
    }

    fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1)
    }

    fn string(&self, offset: u64) -> String {
        String::from_utf8_lossy(string_at(&self.strings, offset)).into_owned()
    }

    pub(super) fn soname(&self) -> Option<String> {
        self.value(DT_SONAME).map(|offset| self.string(offset))
    }

    pub(super) fn needed(&self) -> Vec<String> {
        let needed = self.entries.iter().filter(|entry| entry.0 == DT_NEEDED);
        needed.map(|entry| self.string(entry.1)).collect()
    }

    /// The dynamic symbols and their strings, without help from section headers.
    ///
    /// Their number is nowhere stated; it follows from the hash tables.
    pub(super) fn symbols(&self) -> Option<(SectionData, SectionData)> {
        let count = self.count_by_hash().or_else(|| self.count_by_gnu_hash())?;
        let len = count.checked_mul(size_of::<Sym64<LE>>() as u64).filter(|&len| len <= MAX_TABLE)?;
        let symbols = self.file.image_bytes(ImageOffset(self.value(DT_SYMTAB)?), usize::try_from(len).ok()?)?;
        Some((symbols, self.strings.clone()))
    }

    /// gABI, "Hash Table": nchain equals the number of symbols.
    fn count_by_hash(&self) -> Option<u64> {
        let head = self.file.image_bytes(ImageOffset(self.value(DT_HASH)?), 8)?;
        word(&head, 1).map(u64::from)
    }

    /// GNU hash: the last symbol is the end of the chain that begins highest (binutils, `bfd/elflink.c`).
    fn count_by_gnu_hash(&self) -> Option<u64> {
        let at = ImageOffset(self.value(DT_GNU_HASH)?);
        let head = self.file.image_bytes(at, 16)?;
        let (buckets, first, bloom) = (word(&head, 0)?, word(&head, 1)?, word(&head, 2)?);
        let buckets_at = at.0.checked_add(16)?.checked_add(u64::from(bloom) * 8)?;
        let bucket_bytes = usize::try_from((u64::from(buckets) * 4).min(MAX_TABLE)).ok()?;
        let bucket_data = self.file.image_bytes(ImageOffset(buckets_at), bucket_bytes)?;
        let highest = (0..bucket_data.len() / 4).filter_map(|index| word(&bucket_data, index)).max()?;
        if highest < first {
            return Some(u64::from(first));
        }
        let chain_at = buckets_at.checked_add(bucket_bytes as u64)?.checked_add(u64::from(highest - first) * 4)?;
        let chain = self.file.image_bytes(ImageOffset(chain_at), 1 << 20)?;
        let last = (0..chain.len() / 4).position(|index| word(&chain, index).is_some_and(|hash| hash & 1 == 1))?;
        Some(u64::from(highest) + last as u64 + 1)
    }
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let at = index.checked_mul(4)?;
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
