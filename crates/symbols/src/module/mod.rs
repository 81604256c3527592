//! A module: an image with its debug info, as the rest of the debugger asks about it.

mod code;
mod functions;
mod inline;
mod load;
mod prologue;
mod source_lines;
mod statement;
mod symbols;
mod types;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

pub use code::CodeLocation;
pub use functions::Function;
pub use inline::{InlineFrame, InlinedCopy};
pub use source_lines::{LineAddress, LineMatch, SourceFacts, SourceLocation};
pub use statement::Statement;
pub use symbols::{Symbol, SymbolAt, SymbolKind, SymbolSource};

use crate::dwarf_sections::DwarfFile;
use crate::index::Index;
use crate::lines::LineCache;
use crate::{DebugInfo, ElfFile, ImageRange, Problem, SplitFiles, SymbolsError, Variables};
use inline::FunctionTrees;

/// Where a module's files are, and where its index may be kept.
#[derive(Clone, Debug)]
pub struct ModuleFiles {
    /// The image itself.
    pub image: Arc<ElfFile>,
    /// The separate debug file, if there is one.
    pub debug: Option<Arc<ElfFile>>,
    /// The file of shared DWARF that the debug file refers to (`.gnu_debugaltlink`), if there is one.
    pub alt: Option<Arc<ElfFile>>,
    /// Where its `.dwo` files are looked for, if it has any.
    pub split: SplitFiles,
    /// The debugger's cache directory; `None` keeps the index in memory only.
    pub cache: Option<PathBuf>,
}

impl ModuleFiles {
    /// An image by itself, with the user's cache directory.
    pub fn new(image: Arc<ElfFile>) -> ModuleFiles {
        let split = SplitFiles::default();
        ModuleFiles { image, debug: None, alt: None, split, cache: crate::default_cache_directory() }
    }
}

/// How much a module's symbols tell, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SymbolStatus {
    /// Functions, lines, types and variables.
    Dwarf,
    /// Names and addresses of a full symbol table, or of the mini-symtab.
    Symtab,
    /// Names and addresses of what the module exports.
    Dynsym,
    /// Nothing.
    None,
}

/// An image with its debug info.
///
/// Opening costs nothing: the index is mapped or built at the first question, or by [`Module::prepare`], and DWARF is
/// read where a question leads. All questions take `&self` and may come from several threads. Damage never fails a
/// question: it shows in [`Module::problems`], and in answers that lack what was damaged.
#[derive(Debug)]
pub struct Module {
    files: ModuleFiles,
    text: Vec<ImageRange>,
    index: OnceLock<Index>,
    building: Mutex<()>,
    sections: OnceLock<Option<DwarfFile>>,
    info: OnceLock<Option<Arc<DebugInfo>>>,
    problems: Mutex<Vec<Problem>>,
    lines: LineCache,
    trees: FunctionTrees,
    variables: OnceLock<Option<Arc<Variables>>>,
}

impl Module {
    /// A module of these files. Reads nothing yet.
    pub fn new(files: ModuleFiles) -> Module {
        if let Some(cache) = &files.cache {
            let all = [Some(&files.image), files.debug.as_ref(), files.alt.as_ref()];
            all.into_iter().flatten().for_each(|file| file.keep_sections_in(cache));
        }
        let text = files.image.text_ranges();
        let problems = Mutex::new(files.image.problems().to_vec());
        Module {
            files,
            text,
            index: OnceLock::new(),
            building: Mutex::new(()),
            sections: OnceLock::new(),
            info: OnceLock::new(),
            problems,
            lines: LineCache::default(),
            trees: FunctionTrees::default(),
            variables: OnceLock::new(),
        }
    }

    /// The image.
    pub fn image(&self) -> &Arc<ElfFile> {
        &self.files.image
    }

    /// The separate debug file.
    pub fn debug_file(&self) -> Option<&Arc<ElfFile>> {
        self.files.debug.as_ref()
    }

    /// The file that holds the DWARF: the debug file, else the image.
    fn dwarf_elf(&self) -> &ElfFile {
        match &self.files.debug {
            Some(debug) if debug.has_dwarf() || !self.files.image.has_dwarf() => debug,
            _ => &self.files.image,
        }
    }

    /// How much there is to know.
    pub fn status(&self) -> SymbolStatus {
        if self.dwarf_elf().has_dwarf() {
            return SymbolStatus::Dwarf;
        }
        let mut files = std::iter::once(&self.files.image).chain(&self.files.debug);
        if files.any(|file| file.has_symtab() || file.section(".gnu_debugdata").is_some()) {
            return SymbolStatus::Symtab;
        }
        let mut problems = Vec::new();
        if self.files.image.dynsym(&mut problems).is_some_and(|table| table.defined().next().is_some()) {
            SymbolStatus::Dynsym
        } else {
            SymbolStatus::None
        }
    }

    /// Whether questions are answered at once, without building the index first.
    pub fn is_prepared(&self) -> bool {
        self.index.get().is_some()
    }

    /// Maps the index, or builds it: parallel, with `progress` told from 0 to 1000, until `cancel` is set.
    /// # Errors
    /// [`SymbolsError::Cancelled`]; a later question or call begins anew.
    pub fn prepare(&self, cancel: &AtomicBool, progress: &(dyn Fn(u32) + Sync)) -> Result<(), SymbolsError> {
        self.load_index(cancel, progress).map(|_| ())
    }

    /// The DWARF, for types and variables; `None` if there is none or it cannot be read.
    pub fn debug_info(&self) -> Option<Arc<DebugInfo>> {
        self.load_debug_info().cloned()
    }

    /// What was damaged, missing or not understood so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn report(&self, problem: Problem) {
        let mut problems = self.problems.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if problems.len() < MAX_PROBLEMS && !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

/// Most problems kept per module.
const MAX_PROBLEMS: usize = 256;
