//! The symbols of one module, as the engine asks for them.

use std::cell::OnceCell;
use std::sync::Arc;

use outpost_base::{ImageOffset, Va};
use outpost_symbols::{ElfFile, ImageRange, Module, SearchReport, SectionData, SymbolStatus, Variables};
use outpost_unwind::{CfiSection, CfiSections, ModuleCfi, SectionBytes};

use crate::SymbolState;

/// What was found for one module; shared by all loads of the same build.
pub(crate) struct ModuleSymbols {
    /// `None` if not even the image was found.
    module: Option<Arc<Module>>,
    /// File the symbols come from; empty if there is none.
    pub(crate) file: String,
    /// What was looked for in vain.
    problems: Vec<String>,
    /// The image's path leads to another build on this machine.
    pub(crate) is_another_build_here: bool,
    /// The search for a debug file.
    pub(crate) report: Option<SearchReport>,
    cfi: OnceCell<Option<Arc<ModuleCfi>>>,
}

/// Section contents as the unwinder wants to own them.
struct Owned(SectionData);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl ModuleSymbols {
    pub(super) fn found(module: Arc<Module>, image_file: String, report: SearchReport, problems: Vec<String>) -> Self {
        let debug = module.debug_file().map(|file| file.name());
        let file = debug.unwrap_or(image_file);
        let (is_another_build_here, cfi) = (false, OnceCell::new());
        ModuleSymbols { module: Some(module), file, problems, is_another_build_here, report: Some(report), cfi }
    }

    /// Of code that the program has told of; it is whole.
    pub(crate) fn registered(module: Arc<Module>, file: String) -> Self {
        let (is_another_build_here, cfi) = (false, OnceCell::new());
        ModuleSymbols { module: Some(module), file, problems: Vec::new(), is_another_build_here, report: None, cfi }
    }

    /// Of code that was told of and cannot be read.
    pub(crate) fn unregistered() -> Self {
        ModuleSymbols::missing(vec!["it cannot be read".to_owned()])
    }

    pub(super) fn missing(problems: Vec<String>) -> Self {
        let (is_another_build_here, cfi) = (false, OnceCell::new());
        ModuleSymbols { module: None, file: String::new(), problems, is_another_build_here, report: None, cfi }
    }

    /// The module itself, for questions of all kinds.
    pub(crate) fn module(&self) -> Option<&Arc<Module>> {
        self.module.as_ref()
    }

    /// Whether a debug file is still being fetched.
    pub(crate) fn is_pending(&self) -> bool {
        self.report.as_ref().is_some_and(SearchReport::is_pending)
    }

    pub(crate) fn state(&self) -> SymbolState {
        match self.module.as_ref().map(|module| module.status()) {
            None | Some(SymbolStatus::None) => SymbolState::None,
            Some(SymbolStatus::Dwarf) => SymbolState::Dwarf,
            Some(SymbolStatus::Symtab) => SymbolState::Symtab,
            Some(SymbolStatus::Dynsym) => SymbolState::Dynsym,
        }
    }

    /// What was looked for in vain, and damage found so far.
    pub(crate) fn problems(&self) -> Vec<String> {
        let missing = self.report.as_ref().and_then(|report| report.missing());
        let damage = self
            .module
            .iter()
            .flat_map(|module| module.problems())
            .map(|problem| format!("{}: {}", problem.what, problem.reason));
        self.problems.iter().cloned().chain(missing).chain(damage).collect()
    }

    /// Call frame information of the image and its debug file.
    pub(crate) fn cfi(&self) -> Option<Arc<ModuleCfi>> {
        let load = || {
            let module = self.module.as_ref()?;
            let section = |file: &ElfFile, name: &str| {
                let (_, header) = file.section(name)?;
                let address = header.range.start;
                let bytes = file.section_data(name).ok().flatten()?;
                let len = bytes.len();
                (len != 0).then(|| CfiSection { address, bytes: SectionBytes::new(Arc::new(Owned(bytes)), 0..len) })
            };
            let image = module.image();
            let address = |name: &str| image.section(name).map(|(_, header)| header.range.start);
            let in_debug_file = || section(module.debug_file()?, ".debug_frame");
            let cfi = ModuleCfi::new(CfiSections {
                eh_frame: section(image, ".eh_frame"),
                eh_frame_hdr: section(image, ".eh_frame_hdr"),
                debug_frame: section(image, ".debug_frame").or_else(in_debug_file),
                text: address(".text"),
                got: address(".got"),
            });
            (!cfi.is_empty()).then(|| Arc::new(cfi))
        };
        self.cfi.get_or_init(load).clone()
    }

    /// Types and variables, where there is debug info.
    pub(crate) fn variables(&self) -> Option<Arc<Variables>> {
        self.module.as_ref()?.variables().cloned()
    }

    /// Whether instructions may be at `at`; without an image anything may be.
    pub(crate) fn is_code(&self, at: ImageOffset) -> bool {
        let image = self.module.as_ref().map(|module| module.image());
        image.is_none_or(|image| image.text_ranges().iter().any(|range| range.contains(at)))
    }

    /// Extent of the function around `at`, by symbols.
    pub(crate) fn function_range_at(&self, at: ImageOffset) -> Option<ImageRange> {
        let module = self.module.as_ref()?;
        let function = module.function_at(at);
        let own = function.and_then(|function| function.ranges.into_iter().find(|range| range.contains(at)));
        own.or_else(|| module.symbol_range_at(at))
    }

    /// Code bytes of the image file at `at`, as the file has them; `None` where it holds none.
    pub(crate) fn image_bytes(&self, at: ImageOffset, len: usize) -> Option<SectionData> {
        self.module.as_ref()?.image().image_bytes(at, len)
    }

    /// Where the image has the symbols of these names, if it exports every one of them.
    pub(crate) fn exports(&self, names: &[String]) -> Option<Vec<ImageOffset>> {
        self.module.as_ref()?.image().exports(names)
    }

    /// Size and alignment of the image's TLS block, if it has one.
    pub(crate) fn tls_segment(&self) -> Option<(u64, u64)> {
        /// Segment type of the TLS template (gABI, program headers).
        const PT_TLS: u32 = 7;
        let image = self.module.as_ref()?.image();
        let segment = image.segments().iter().find(|segment| segment.kind == PT_TLS)?;
        Some((segment.range.len(), segment.alignment.max(1)))
    }

    /// Address of a thread's copy of the thread-local variable at `offset` of the program's own TLS block, which ends at
    /// the thread pointer (ELF Handling for Thread-Local Storage, 3.4.2: variant II).
    pub(crate) fn program_tls(&self, thread_pointer: Va, offset: u64) -> Option<Va> {
        let (size, alignment) = self.tls_segment()?;
        let size = size.checked_next_multiple_of(alignment)?;
        Some(Va(thread_pointer.0.wrapping_sub(size).wrapping_add(offset)))
    }
}
