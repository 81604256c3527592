//! What a module's file says of itself, and whether memory holds what the file does.

use std::sync::Arc;

use outpost_base::{ImageOffset, Va, VaRange};
use outpost_symbols::{ElfFile, ElfKind};

use crate::{Engine, EngineError};

/// Bytes told of as one place.
const MAX_CHANGE: usize = 64;
/// Places told of one check; more than a few say that it is another file.
const MAX_CHANGES: usize = 1000;

/// Headers of an image. Addresses are those of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHeaders {
    /// Path of the file.
    pub file: String,
    /// `REL`, `EXEC`, `DYN` or `CORE` (`e_type`).
    pub kind: &'static str,
    /// `e_machine`.
    pub machine: u16,
    /// Where it begins to run; 0 for libraries that do not.
    pub entry: Va,
    /// Build ID, lower-case hexadecimal.
    pub build_id: Option<String>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// The loader that a program asks for.
    pub interpreter: Option<String>,
    /// Program headers.
    pub segments: Vec<ImageSegment>,
    /// Section headers, but the first, which is empty.
    pub sections: Vec<ImageSection>,
}

/// A program header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSegment {
    /// `p_type`: by its name of `<elf.h>`, else the number.
    pub kind: String,
    /// Where it is.
    pub range: VaRange,
    /// Where its bytes are in the file, and how many.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_len: u64,
    /// `r`, `w`, `x`, each where it holds.
    pub access: String,
    /// `p_align`.
    pub alignment: u64,
}

/// A section header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSection {
    /// Its name.
    pub name: String,
    /// Where it is, if it is in memory.
    pub range: Option<VaRange>,
    /// Where its bytes are in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_len: u64,
    /// Whether it holds code.
    pub executable: bool,
    /// Whether its bytes are compressed.
    pub compressed: bool,
}

/// What a comparison of a module's code with its file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCheck {
    /// Path of the file.
    pub file: String,
    /// Bytes compared.
    pub compared: u64,
    /// Bytes of code that could not be compared, since memory or file does not have them.
    pub unreadable: u64,
    /// Bytes that differ.
    pub different: u64,
    /// Where they are, ascending, the first thousand.
    pub changes: Vec<ImageChange>,
}

/// Bytes that are not the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// Where they begin.
    pub at: Va,
    /// What the file has there.
    pub file: Vec<u8>,
    /// What memory has.
    pub memory: Vec<u8>,
}

impl Engine {
    /// The headers of a module of the current process.
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::Invalid`] if its file is not to be had.
    pub fn image_headers(&mut self, module: &str) -> Result<ImageHeaders, EngineError> {
        let (image, bias) = self.image_of(module)?;
        let at = |offset: ImageOffset| offset.to_va(bias);
        let kind = match image.kind() {
            ElfKind::Relocatable => "REL",
            ElfKind::Executable => "EXEC",
            ElfKind::SharedObject => "DYN",
            ElfKind::Core => "CORE",
        };
        let segments = image.segments().iter().map(|segment| ImageSegment {
            kind: segment_name(segment.kind),
            range: VaRange { start: at(segment.range.start), end: at(segment.range.end) },
            file_offset: segment.file_offset,
            file_len: segment.file_len,
            access: access_of(segment.readable, segment.writable, segment.executable),
            alignment: segment.alignment,
        });
        let sections = image.sections().iter().filter(|section| !section.name.is_empty()).map(|section| ImageSection {
            name: section.name.clone(),
            range: section.allocated.then(|| VaRange { start: at(section.range.start), end: at(section.range.end) }),
            file_offset: section.file_offset,
            file_len: section.file_len,
            executable: section.executable,
            compressed: section.compressed,
        });
        Ok(ImageHeaders {
            file: image.name(),
            kind,
            machine: image.machine(),
            entry: if image.entry().0 == 0 { Va(0) } else { at(image.entry()) },
            build_id: image.build_id().map(ToString::to_string),
            soname: image.soname(),
            needed: image.needed(),
            interpreter: image.interpreter(),
            segments: segments.collect(),
            sections: sections.collect(),
        })
    }

    /// Compares the code of a module in memory with its file. Breakpoints are not differences: reads do not show them.
    ///
    /// # Errors
    /// As [`Engine::image_headers`], those of reading memory, and [`EngineError::Cancelled`].
    pub fn check_image(&mut self, module: &str) -> Result<ImageCheck, EngineError> {
        let (image, bias) = self.image_of(module)?;
        let memory = self.memory()?;
        let mut check =
            ImageCheck { file: image.name(), compared: 0, unreadable: 0, different: 0, changes: Vec::new() };
        for range in image.text_ranges() {
            self.check_interrupt()?;
            let mut at = range.start;
            let whole = VaRange { start: range.start.to_va(bias), end: range.end.to_va(bias) };
            memory.read_stream(whole, &mut |piece| {
                let Some(own) = image.image_bytes(at, piece.len()).filter(|own| own.len() == piece.len()) else {
                    return false;
                };
                check.compare(at.to_va(bias), &own, piece);
                at.0 += piece.len() as u64;
                true
            })?;
            check.unreadable += range.end.0 - at.0;
        }
        Ok(check)
    }

    fn image_of(&self, module: &str) -> Result<(Arc<ElfFile>, outpost_base::LoadBias), EngineError> {
        let process = self.current_process()?;
        let found = self.process(process)?.modules.named(module);
        let found = found.first().ok_or_else(|| EngineError::NoModule { name: module.to_owned() })?;
        let symbols = self.symbol_loader(process)?.symbols(found);
        let image = symbols.module().map(|module| module.image().clone());
        let missing =
            || EngineError::Invalid { reason: format!("the file of {module} is not to be had: {}", found.info.path) };
        Ok((image.ok_or_else(missing)?, found.info.bias))
    }
}

impl ImageCheck {
    /// Adds what differs between two pieces of the same length; one that goes on from the last is joined to it.
    fn compare(&mut self, start: Va, own: &[u8], memory: &[u8]) {
        self.compared += memory.len() as u64;
        for (index, (own, memory)) in own.iter().zip(memory).enumerate().filter(|(_, (own, memory))| own != memory) {
            self.different += 1;
            let at = start + index as u64;
            let is_full = self.changes.len() >= MAX_CHANGES;
            let goes_on =
                |last: &&mut ImageChange| last.at + last.file.len() as u64 == at && last.file.len() < MAX_CHANGE;
            if let Some(last) = self.changes.last_mut().filter(goes_on) {
                last.file.push(*own);
                last.memory.push(*memory);
            } else if !is_full {
                self.changes.push(ImageChange { at, file: vec![*own], memory: vec![*memory] });
            }
        }
    }
}

fn access_of(read: bool, write: bool, execute: bool) -> String {
    [(read, 'r'), (write, 'w'), (execute, 'x')].iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect()
}

/// Source: ELF gABI, 7; the GNU ones from `<elf.h>`.
fn segment_name(kind: u32) -> String {
    let name = match kind {
        1 => "LOAD",
        2 => "DYNAMIC",
        3 => "INTERP",
        4 => "NOTE",
        6 => "PHDR",
        7 => "TLS",
        0x6474_e550 => "GNU_EH_FRAME",
        0x6474_e551 => "GNU_STACK",
        0x6474_e552 => "GNU_RELRO",
        0x6474_e553 => "GNU_PROPERTY",
        _ => return format!("{kind:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_next_to_each_other_are_one() {
        let mut check =
            ImageCheck { file: String::new(), compared: 0, unreadable: 0, different: 0, changes: Vec::new() };
        check.compare(Va(0x10), &[1, 2, 3, 4], &[1, 9, 9, 4]);
        check.compare(Va(0x14), &[5, 6], &[0, 6]);
        check.compare(Va(0x16), &[7], &[0]);
        let change =
            |at, file: &[u8], memory: &[u8]| ImageChange { at: Va(at), file: file.into(), memory: memory.into() };
        assert_eq!(check.changes, [change(0x11, &[2, 3], &[9, 9]), change(0x14, &[5], &[0]), change(0x16, &[7], &[0])]);
        assert_eq!((check.compared, check.different), (7, 4));
    }
}
