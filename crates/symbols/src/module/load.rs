//! Loading a module: index from the cache or built, DWARF when needed.

use std::io::{BufWriter, Cursor};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use super::{Module, ModuleFiles};
use crate::dwarf_sections::DwarfFile;
use crate::index::{BuildError, BuildInput, CacheKey, Index, IndexCache, NamedTable, Source, Sources, build};
use crate::split::{PiecePlace, Pieces, Survey, survey};
use crate::{DebugInfo, ElfFile, ElfSymbol, ElfSymbolSource, Problem, SectionData, SymbolsError, debug_info};

impl Module {
    /// The index, mapped or built now.
    pub(super) fn index(&self) -> &Index {
        static NEVER: AtomicBool = AtomicBool::new(false);
        match self.load_index(&NEVER, &|_| {}) {
            Ok(index) => index,
            // It was not cancelled, and everything else ends in an index, be it an empty one.
            Err(_) => self.index.get_or_init(Index::empty),
        }
    }

    pub(super) fn load_index(
        &self,
        cancel: &AtomicBool,
        progress: &(dyn Fn(u32) + Sync),
    ) -> Result<&Index, SymbolsError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let cache = self.files.cache.as_deref().map(IndexCache::new);
        let key = self.cache_key();
        if let (Some(cache), Some(key)) = (&cache, &key) {
            match cache.open(key) {
                Ok(Some(mut index)) if self.is_current(&index) => {
                    index.attach(self.sources_of(&index));
                    return Ok(self.accept(index));
                }
                Ok(_) => {}
                Err(reason) => self.report(Problem::new("cached index", reason)),
            }
        }
        let index = self.build_index(cache.as_ref().zip(key.as_ref()), cancel, progress)?;
        Ok(self.accept(index))
    }

    /// Whether the `.dwo` files are those that the index was built from. All else is in the index's name.
    fn is_current(&self, index: &Index) -> bool {
        index.pieces().iter().all(|piece| match &piece.place {
            PiecePlace::File(origin) => self.files.split.fingerprint(origin) == piece.fingerprint,
            PiecePlace::Unit(_) | PiecePlace::TypeUnit(_) => true,
        })
    }

    fn accept(&self, index: Index) -> &Index {
        for problem in index.problems() {
            self.report(problem);
        }
        self.index.get_or_init(|| index)
    }

    /// What names this build in the cache; `None` if nothing tells one build from the next.
    fn cache_key(&self) -> Option<CacheKey> {
        let ModuleFiles { image, debug, alt, split, .. } = &self.files;
        let files = [Some(image), debug.as_ref(), alt.as_ref(), split.package.as_ref()];
        let mut identity = String::new();
        for file in files {
            let Some(file) = file else {
                identity.push_str("-\n");
                continue;
            };
            let name = match file.build_id() {
                Some(id) => id.to_string(),
                None => file.source().identity()?,
            };
            identity.push_str(&format!("{name} {}\n", file.source().len()));
        }
        let stem = self.files.image.build_id().map_or_else(|| "file".to_owned(), |id| id.to_string());
        Some(CacheKey { stem, identity: identity.into_bytes() })
    }

    fn build_index(
        &self,
        cache: Option<(&IndexCache, &CacheKey)>,
        cancel: &AtomicBool,
        progress: &(dyn Fn(u32) + Sync),
    ) -> Result<Index, SymbolsError> {
        let mut problems = Vec::new();
        let sections = self.sections();
        let (mut spans, mut split) = (Vec::new(), Survey::default());
        if let Some(dwarf) = sections.map(DwarfFile::readers) {
            spans = debug_info::unit_spans(&dwarf, &mut problems);
            split = survey(&dwarf, &self.files.split, &mut spans, &mut problems, cancel);
        }
        let symbols = SymbolTables::load(&self.files.image, self.files.debug.as_deref(), &mut problems);
        let mut sources = Sources::default();
        for named in &symbols.tables {
            if let Some(source) = named.strings {
                sources.offer(source, named.table.strings());
            }
        }
        if let Some(sections) = sections {
            sources.offer(Source::DebugStr, sections.strings());
        }
        let input = || BuildInput {
            identity: cache.map_or(&[], |(_, key)| &key.identity),
            dwarf: sections,
            units: &spans,
            split: &split,
            text: &self.text,
            tables: &symbols.tables,
            plt: &symbols.plt,
            sources: &sources,
            problems: problems.clone(),
            cancel,
            progress,
        };
        if let Some((cache, key)) = cache {
            match cache.store(key, |out: BufWriter<_>| build(input(), out)) {
                Ok(mut index) => {
                    index.attach(sources);
                    return Ok(index);
                }
                Err(BuildError::Cancelled) => return Err(SymbolsError::Cancelled),
                // Without a place to keep it, the index serves this session only.
                Err(BuildError::Write(error)) => self.report(Problem::new("index cache", error)),
            }
        }
        let out = build(input(), Cursor::new(Vec::new())).map_err(|_| SymbolsError::Cancelled)?;
        let mut index = Index::open_unchecked(SectionData::from(out.into_inner())).unwrap_or_else(|_| Index::empty());
        index.attach(sources);
        Ok(index)
    }

    /// The sections that strings of a stored index lie in. One that cannot be read leaves its names empty.
    fn sources_of(&self, index: &Index) -> Sources {
        let mut sources = Sources::default();
        for source in index.wanted_sources() {
            let image = &*self.files.image;
            let section = match source {
                Source::DebugStr => self.dwarf_elf().section_data(".debug_str"),
                Source::DebugStrtab => self.files.debug.as_deref().unwrap_or(image).section_data(".strtab"),
                Source::ImageStrtab => image.section_data(".strtab"),
                Source::Dynstr => image.section_data(".dynstr"),
                Source::Own => continue,
            };
            match section {
                Ok(section) => sources.set(source, section.unwrap_or_default()),
                Err(error) => self.report(Problem::new("strings of the cached index", error)),
            }
        }
        sources
    }

    /// The DWARF sections, loaded on first use.
    pub(super) fn sections(&self) -> Option<&DwarfFile> {
        let sections = self.sections.get_or_init(|| {
            let mut problems = Vec::new();
            let loaded = DwarfFile::load(self.dwarf_elf(), self.files.alt.as_deref(), &mut problems);
            problems.into_iter().for_each(|problem| self.report(problem));
            loaded.unwrap_or_else(|error| {
                self.report(Problem::new("debug info", error));
                None
            })
        });
        sections.as_ref()
    }

    pub(super) fn load_debug_info(&self) -> Option<&Arc<DebugInfo>> {
        let info = self.info.get_or_init(|| {
            let dwarf = self.sections()?.readers();
            let index = self.index();
            let pieces = Pieces::new(index.pieces(), self.files.split.clone());
            Some(Arc::new(DebugInfo::with_units(dwarf, index.units(), index.unit_ranges(), pieces)))
        });
        info.as_ref()
    }
}

/// Sections of an image that its symbols are made of.
const IMAGE_SYMBOLS: &[&str] =
    &[".symtab", ".strtab", ".dynsym", ".dynstr", ".rela.plt", ".rela.dyn", ".plt", ".plt.sec", ".plt.got"];

/// The symbol tables of a module's files, with the bytes that their names lie in.
struct SymbolTables {
    tables: Vec<NamedTable>,
    plt: Vec<ElfSymbol>,
}

impl SymbolTables {
    fn load(image: &ElfFile, debug: Option<&ElfFile>, problems: &mut Vec<Problem>) -> SymbolTables {
        let mini = image.mini_symtab().unwrap_or_else(|error| {
            problems.push(Problem::new(".gnu_debugdata", error));
            None
        });
        let files = [
            (debug, Some(Source::DebugStrtab)),
            (Some(image), Some(Source::ImageStrtab)),
            // Its strings are decompressed anew each time.
            (mini.as_ref(), None),
        ];
        image.prefetch(IMAGE_SYMBOLS);
        if let Some(debug) = debug {
            debug.prefetch(&[".symtab", ".strtab"]);
        }
        let mut tables = Vec::new();
        for (file, strings) in files {
            let table = file.and_then(|file| file.symtab(problems));
            tables.extend(table.map(|table| NamedTable { table, source: ElfSymbolSource::Symtab, strings }));
        }
        let dynsym = image.dynsym(problems);
        let strings = Some(Source::Dynstr);
        tables.extend(dynsym.map(|table| NamedTable { table, source: ElfSymbolSource::Dynsym, strings }));
        SymbolTables { tables, plt: image.plt_symbols(problems) }
    }
}
