//! The sections that hold call frame information, as owned bytes with their place in the image.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use object::{Object, ObjectSection, SectionKind};
use outpost_base::ImageOffset;

/// Bytes that somebody owns: a vector, a mapped file, a part of either. Cheap to clone.
#[derive(Clone)]
pub struct SectionBytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

/// One section and where the image has it.
#[derive(Clone, Debug)]
pub struct CfiSection {
    /// Address of the first byte, as the image's headers state it; 0 for sections that are not loaded.
    pub address: ImageOffset,
    /// Contents, decompressed.
    pub bytes: SectionBytes,
}

/// What a module has of call frame information; all of it optional.
#[derive(Clone, Default, Debug)]
pub struct CfiSections {
    /// `.eh_frame`.
    pub eh_frame: Option<CfiSection>,
    /// `.eh_frame_hdr`; of use only together with `.eh_frame`.
    pub eh_frame_hdr: Option<CfiSection>,
    /// `.debug_frame`, often in a separate debug file.
    pub debug_frame: Option<CfiSection>,
    /// Address of `.text`, to which pointers encoded as `DW_EH_PE_textrel` relate.
    pub text: Option<ImageOffset>,
    /// Address of `.got`, to which pointers encoded as `DW_EH_PE_datarel` relate.
    pub got: Option<ImageOffset>,
}

impl SectionBytes {
    /// The part `range` of what `owner` holds; cut to what there is.
    pub fn new(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> SectionBytes {
        let len = (*owner).as_ref().len();
        let start = range.start.min(len);
        SectionBytes { range: start..range.end.clamp(start, len), owner }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // An owner whose length changes would make the range wrong: then there are no bytes.
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for SectionBytes {
    fn from(bytes: Vec<u8>) -> SectionBytes {
        SectionBytes { range: 0..bytes.len(), owner: Arc::new(bytes) }
    }
}

impl CfiSections {
    /// Takes the sections of an ELF file that is in memory, without copying them.
    ///
    /// Compressed sections (`.debug_frame` may be) and those without contents are left out. `None` if the bytes are no
    /// ELF file.
    pub fn from_elf(file: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Option<CfiSections> {
        let bytes = (*file).as_ref();
        let elf = object::File::parse(bytes).ok()?;
        let section = |name| {
            let section = elf.section_by_name(name)?;
            let (start, len) = section
                .compressed_file_range()
                .ok()
                .filter(|range| {
                    // Of a debug file's NOBITS copy only the header is there.
                    range.format == object::CompressionFormat::None && section.kind() != SectionKind::UninitializedData
                })
                .map(|range| (range.offset, range.compressed_size))?;
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            let bytes = SectionBytes::new(file.clone(), start..end);
            (!bytes.as_slice().is_empty()).then_some(CfiSection { address: ImageOffset(section.address()), bytes })
        };
        Some(CfiSections {
            eh_frame: section(".eh_frame"),
            eh_frame_hdr: section(".eh_frame_hdr"),
            debug_frame: section(".debug_frame"),
            text: elf.section_by_name(".text").map(|section| ImageOffset(section.address())),
            got: elf.section_by_name(".got").map(|section| ImageOffset(section.address())),
        })
    }
}

impl fmt::Debug for SectionBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_slice().len())
    }
}
