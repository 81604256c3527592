//! What names a build and its debug file: build-id note, debuglink, debugaltlink.

use object::LittleEndian as LE;
use object::elf::{NT_GNU_BUILD_ID, NoteHeader64, PT_NOTE, SHT_NOTE};
use object::pod;
use outpost_base::BuildId;

use super::ElfFile;
use super::file::string_at;
use crate::{SectionData, SymbolsError};

/// Longest note segment that is searched for the build-id.
const MAX_NOTES: u64 = 1 << 20;
/// Longest build-id accepted; SHA-1 gives 20, `--build-id=0x...` anything.
const MAX_BUILD_ID: usize = 64;

/// Content of `.gnu_debuglink`. Source: gdb manual, "Debugging Information in Separate Files".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DebugLink {
    /// Base name of the debug file.
    pub file_name: String,
    /// CRC-32 (of zlib) of the debug file's content.
    pub crc: u32,
}

/// Finds the build-id in the note sections, else in the note segments.
///
/// Sections come first because a debug file made by `objcopy --only-keep-debug` has stale segments.
pub(super) fn build_id(file: &ElfFile) -> Result<Option<BuildId>, SymbolsError> {
    let sections = file.sections().iter().filter(|section| section.kind == SHT_NOTE.0);
    let sections = sections.map(|section| (section.file_offset, section.file_len));
    let segments = file.segments().iter().filter(|segment| segment.kind == PT_NOTE.0);
    let segments = segments.map(|segment| (segment.file_offset, segment.file_len));
    let mut failed = None;
    for (offset, len) in sections.chain(segments) {
        match file.source().read(offset, len.min(MAX_NOTES)) {
            Ok(notes) => {
                if let Some(id) = build_id_in(&notes) {
                    return Ok(Some(id));
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// The build-id among the notes in `bytes`, which are aligned to 4 (gABI, "Note Section"; 8 pads the same here).
fn build_id_in(mut bytes: &[u8]) -> Option<BuildId> {
    loop {
        let (header, rest) = pod::from_bytes::<NoteHeader64<LE>>(bytes).ok()?;
        let name_len = header.n_namesz.get(LE) as usize;
        let content_len = header.n_descsz.get(LE) as usize;
        let name = rest.get(..name_len)?;
        let rest = rest.get(name_len.checked_next_multiple_of(4)?..)?;
        let content = rest.get(..content_len)?;
        if header.n_type.get(LE) == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return (1..=MAX_BUILD_ID).contains(&content_len).then(|| BuildId(content.to_vec()));
        }
        bytes = rest.get(content_len.checked_next_multiple_of(4)?..)?;
    }
}

pub(super) fn debug_link(file: &ElfFile) -> Option<DebugLink> {
    let bytes = small_section(file, ".gnu_debuglink")?;
    let name = string_at(&bytes, 0);
    let at = (name.len() + 1).next_multiple_of(4);
    let crc = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    let file_name = std::str::from_utf8(name).ok()?;
    // It is a name, not a path: one that would leave the directories searched is not followed.
    (!file_name.is_empty() && !file_name.contains('/') && file_name != "..")
        .then(|| DebugLink { file_name: file_name.to_owned(), crc })
}

pub(super) fn debug_alt_link(file: &ElfFile) -> Option<(String, BuildId)> {
    let bytes = small_section(file, ".gnu_debugaltlink")?;
    let path = string_at(&bytes, 0);
    let id = bytes.get(path.len() + 1..)?;
    let path = std::str::from_utf8(path).ok()?;
    (!path.is_empty() && (1..=MAX_BUILD_ID).contains(&id.len())).then(|| (path.to_owned(), BuildId(id.to_vec())))
}

fn small_section(file: &ElfFile, name: &str) -> Option<SectionData> {
    let (index, section) = file.section(name)?;
    (section.file_len <= 64 << 10).then(|| file.section_bytes(index).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, name: &[u8], content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, content.len() as u32, kind] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for part in [name, content] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn build_id_is_found_among_other_notes() {
        let mut notes = note(1, b"GNU\0", &[0; 16]);
        notes.extend(note(3, b"Go\0\0", &[9; 5]));
        notes.extend(note(3, b"GNU\0", &[0xab, 0xcd]));
        assert_eq!(build_id_in(&notes), Some(BuildId(vec![0xab, 0xcd])));
        for len in 0..notes.len() {
            assert_eq!(build_id_in(&notes[..len.min(notes.len() - 3)]), None);
        }
    }

    #[test]
    fn lengths_that_wrap_end_the_search() {
        let mut notes = vec![0xff; 12];
        notes.extend([0; 64]);
        assert_eq!(build_id_in(&notes), None);
    }
}
