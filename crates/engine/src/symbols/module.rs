//! The symbols of one module, as the engine asks for them.

use std::cell::OnceCell;
use std::sync::Arc;

use outpost_base::{ImageOffset, Va};
use outpost_symbols::{
    DebugInfo, DwarfTypes, ElfFile, ElfSymbol, ElfSymbolKind, ImageRange, SectionData, TypeTable, Variables,
};
use outpost_unwind::{CfiSection, CfiSections, ModuleCfi, SectionBytes};

use crate::SymbolState;

/// What was found for one module; shared by all loads of the same build.
pub(crate) struct ModuleSymbols {
    image: Option<Arc<ElfFile>>,
    /// Where it was found, or empty.
    pub(crate) file: String,
    /// What was looked for, and damage.
    pub(crate) problems: Vec<String>,
    cfi: OnceCell<Option<Arc<ModuleCfi>>>,
    variables: OnceCell<Option<Arc<Variables>>>,
    sorted: OnceCell<Vec<ElfSymbol>>,
}

/// Section contents as the unwinder wants to own them.
struct Owned(SectionData);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl ModuleSymbols {
    pub(crate) fn new(image: Option<Arc<ElfFile>>, file: String, problems: Vec<String>) -> ModuleSymbols {
        ModuleSymbols {
            image,
            file,
            problems,
            cfi: OnceCell::new(),
            variables: OnceCell::new(),
            sorted: OnceCell::new(),
        }
    }

    pub(crate) fn state(&self) -> SymbolState {
        match &self.image {
            None => SymbolState::None,
            Some(image) if image.has_dwarf() => SymbolState::Dwarf,
            Some(image) if image.has_symtab() => SymbolState::Symtab,
            Some(_) if !self.sorted().is_empty() => SymbolState::Dynsym,
            Some(_) => SymbolState::None,
        }
    }

    /// Call frame information of the image and its debug file.
    pub(crate) fn cfi(&self) -> Option<Arc<ModuleCfi>> {
        let load = || {
            let image = self.image.as_ref()?;
            let section = |name: &str| {
                let (_, header) = image.section(name)?;
                let address = header.range.start;
                let bytes = image.section_data(name).ok().flatten()?;
                let len = bytes.len();
                (len != 0).then(|| CfiSection { address, bytes: SectionBytes::new(Arc::new(Owned(bytes)), 0..len) })
            };
            let address = |name: &str| image.section(name).map(|(_, header)| header.range.start);
            let cfi = ModuleCfi::new(CfiSections {
                eh_frame: section(".eh_frame"),
                eh_frame_hdr: section(".eh_frame_hdr"),
                debug_frame: section(".debug_frame"),
                text: address(".text"),
                got: address(".got"),
            });
            (!cfi.is_empty()).then(|| Arc::new(cfi))
        };
        self.cfi.get_or_init(load).clone()
    }

    /// Types and variables, where there is debug info.
    pub(crate) fn variables(&self) -> Option<Arc<Variables>> {
        let load = || {
            let mut problems = Vec::new();
            let info = Arc::new(DebugInfo::load(self.image.as_ref()?, None, &mut problems).ok()??);
            let types = TypeTable::new(Box::new(DwarfTypes::without_index(info.clone())));
            Some(Arc::new(Variables::new(info, types)))
        };
        self.variables.get_or_init(load).clone()
    }

    /// Whether instructions may be at `at`; without an image anything may be.
    pub(crate) fn is_code(&self, at: ImageOffset) -> bool {
        self.image.as_ref().is_none_or(|image| image.text_ranges().iter().any(|range| range.contains(at)))
    }

    /// Address of a thread's copy of the thread-local variable at `offset` of this image's TLS segment, where that is
    /// fixed: in the program itself (SysV x86-64 TLS ABI, variant II: its block ends at the thread pointer).
    pub(crate) fn static_tls(&self, is_main: bool, thread_pointer: Va, offset: u64) -> Option<Va> {
        /// Segment type of the TLS template (gABI, program headers).
        const PT_TLS: u32 = 7;
        let segment = self.image.as_ref()?.segments().iter().find(|segment| segment.kind == PT_TLS)?;
        let alignment = segment.alignment.max(1).checked_next_power_of_two()?;
        let size = segment.range.len().checked_next_multiple_of(alignment)?;
        is_main.then(|| Va(thread_pointer.0.wrapping_sub(size).wrapping_add(offset)))
    }

    /// Extent of the function around `at`.
    pub(crate) fn function_range_at(&self, at: ImageOffset) -> Option<ImageRange> {
        let symbol = self.symbol_at(at)?;
        Some(ImageRange::new(symbol.address.0, symbol.address.0.saturating_add(symbol.size)))
    }

    /// The symbol at or before `at`.
    pub(crate) fn symbol_at(&self, at: ImageOffset) -> Option<ElfSymbol> {
        let sorted = self.sorted();
        let next = sorted.partition_point(|symbol| symbol.address <= at);
        sorted[..next].last().cloned()
    }

    pub(crate) fn symbol_after(&self, at: ImageOffset) -> Option<ElfSymbol> {
        let sorted = self.sorted();
        sorted.get(sorted.partition_point(|symbol| symbol.address <= at)).cloned()
    }

    pub(crate) fn all(&self) -> &[ElfSymbol] {
        self.sorted()
    }

    fn sorted(&self) -> &[ElfSymbol] {
        self.sorted.get_or_init(|| {
            let Some(image) = &self.image else { return Vec::new() };
            let (mut symbols, _) = image.symbols();
            symbols.retain(|symbol| symbol.kind != ElfSymbolKind::ThreadLocal);
            symbols.sort_by_key(|symbol| symbol.address);
            symbols
        })
    }
}
