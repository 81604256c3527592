//! Symbol tables: `.symtab`, `.dynsym`, and names for the entries of the PLT.

use object::LittleEndian as LE;
use object::elf::{self, Sym64};
use object::pod;
use outpost_base::ImageOffset;

use super::dynamic::Dynamic;
use super::file::string_at;
use super::{ElfFile, plt};
use crate::{Problem, SectionData};

/// Which table a symbol comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ElfSymbolSource {
    /// `.symtab`, of the image or of its debug file or mini-symtab.
    Symtab,
    /// `.dynsym`: what the image exports.
    Dynsym,
    /// Made up for a PLT entry: the function's name and `@plt`.
    Plt,
}

/// What a symbol names (`st_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ElfSymbolKind {
    /// A function.
    Function,
    /// A function chosen at load time; the address is the resolver's.
    IndirectFunction,
    /// A variable.
    Object,
    /// A thread-local variable; the address is its offset in the TLS block.
    ThreadLocal,
    /// A label: assembler code, or a linker's symbol.
    Label,
}

/// How a symbol is seen by other files (`st_bind`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ElfSymbolBinding {
    /// By none.
    Local,
    /// By all, unless another definition is stronger.
    Weak,
    /// By all.
    Global,
}

/// A defined symbol of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElfSymbol {
    /// Name as the file has it (mangled, versionless).
    pub name: String,
    /// Address; for thread-local ones the offset in the TLS block.
    pub address: ImageOffset,
    /// Size in bytes; 0 if the file does not say.
    pub size: u64,
    /// What it names.
    pub kind: ElfSymbolKind,
    /// Who sees it.
    pub binding: ElfSymbolBinding,
    /// Where it was found.
    pub source: ElfSymbolSource,
}

/// A symbol whose name still lies in its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSymbol<'a> {
    pub(crate) name: &'a [u8],
    /// Offset of the name in the table's strings.
    pub(crate) name_offset: u32,
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) kind: ElfSymbolKind,
    pub(crate) binding: ElfSymbolBinding,
}

/// A symbol table with its strings.
#[derive(Debug)]
pub(crate) struct SymbolTable {
    symbols: SectionData,
    strings: SectionData,
}

impl SymbolTable {
    /// Defined symbols that are of use to a debugger, in table order.
    pub(crate) fn defined(&self) -> impl Iterator<Item = RawSymbol<'_>> {
        self.raw()
            .iter()
            .filter(|symbol| symbol.st_shndx.get(LE) != elf::SHN_UNDEF)
            .filter_map(|symbol| self.decode(symbol))
    }

    /// How many symbols the table has, defined or not.
    pub(crate) fn len(&self) -> usize {
        self.raw().len()
    }

    /// The strings that names lie in.
    pub(crate) fn strings(&self) -> &SectionData {
        &self.strings
    }

    /// The name of symbol number `index`, defined or not.
    pub(crate) fn name(&self, index: usize) -> Option<&[u8]> {
        let symbol = self.raw().get(index)?;
        Some(string_at(&self.strings, u64::from(symbol.st_name.get(LE))))
    }

    fn raw(&self) -> &[Sym64<LE>] {
        let count = self.symbols.len() / size_of::<Sym64<LE>>();
        pod::slice_from_bytes(&self.symbols, count).map(|(symbols, _)| symbols).unwrap_or_default()
    }

    fn decode(&self, symbol: &Sym64<LE>) -> Option<RawSymbol<'_>> {
        let kind = match symbol.st_type() {
            elf::STT_FUNC => ElfSymbolKind::Function,
            elf::STT_GNU_IFUNC => ElfSymbolKind::IndirectFunction,
            elf::STT_OBJECT | elf::STT_COMMON => ElfSymbolKind::Object,
            elf::STT_TLS => ElfSymbolKind::ThreadLocal,
            elf::STT_NOTYPE => ElfSymbolKind::Label,
            _ => return None,
        };
        let binding = match symbol.st_bind() {
            elf::STB_LOCAL => ElfSymbolBinding::Local,
            elf::STB_WEAK => ElfSymbolBinding::Weak,
            _ => ElfSymbolBinding::Global,
        };
        // Absolute symbols are constants (file names, feature marks), not addresses.
        if symbol.st_shndx.get(LE) == elf::SHN_ABS {
            return None;
        }
        let name = string_at(&self.strings, u64::from(symbol.st_name.get(LE)));
        let name_offset = symbol.st_name.get(LE);
        let symbol = RawSymbol {
            name_offset,
            name,
            address: symbol.st_value.get(LE),
            size: symbol.st_size.get(LE),
            kind,
            binding,
        };
        (!name.is_empty()).then_some(symbol)
    }
}

impl ElfFile {
    /// `.symtab`, if the file has one with bytes; a damaged one is reported.
    pub(crate) fn symtab(&self, problems: &mut Vec<Problem>) -> Option<SymbolTable> {
        self.symbol_table(".symtab", problems)
    }

    /// `.dynsym`, by its section or, without sections, by the dynamic segment.
    pub(crate) fn dynsym(&self, problems: &mut Vec<Problem>) -> Option<SymbolTable> {
        if self.section(".dynsym").is_some() {
            return self.symbol_table(".dynsym", problems);
        }
        let (symbols, strings) = Dynamic::read(self)?.symbols()?;
        Some(SymbolTable { symbols, strings })
    }

    /// Where the symbols of these names are, if the image exports every one of them, or else names them all in its full
    /// table; the first of several versions. What C libraries tell debuggers of themselves, and what many of them keep of
    /// that table for it, is asked for so (glibc nptl_db/db_info.c; exported since 2.34).
    pub fn exports(&self, names: &[impl AsRef<str>]) -> Option<Vec<ImageOffset>> {
        // A damaged table has none of them, and is told by whoever lists symbols.
        let all_of = |table: SymbolTable| {
            let mut found = vec![None; names.len()];
            for symbol in table.defined() {
                let wanted = names.iter().position(|name| name.as_ref().as_bytes() == symbol.name);
                if let Some(place) = wanted.and_then(|wanted| found.get_mut(wanted)) {
                    place.get_or_insert(ImageOffset(symbol.address));
                }
            }
            found.into_iter().collect()
        };
        let exported = self.dynsym(&mut Vec::new()).and_then(all_of);
        exported.or_else(|| self.symbol_table(".symtab", &mut Vec::new()).and_then(all_of))
    }

    /// Symbols made up for PLT entries.
    pub(crate) fn plt_symbols(&self, problems: &mut Vec<Problem>) -> Vec<ElfSymbol> {
        plt::symbols(self, problems)
    }

    fn symbol_table(&self, name: &str, problems: &mut Vec<Problem>) -> Option<SymbolTable> {
        let (index, section) = self.section(name)?;
        if section.file_len == 0 {
            return None;
        }
        let bytes = self
            .section_bytes(index)
            .and_then(|symbols| Ok(SymbolTable { symbols, strings: self.section_bytes(section.link as usize)? }));
        bytes.map_err(|error| problems.push(Problem::new(name, error))).ok()
    }

    /// All symbols that this file defines, in table order, and the PLT entries, with what could not be read.
    ///
    /// A name in both tables comes twice; the mini-symtab is a file of its own ([`ElfFile::mini_symtab`]).
    pub fn symbols(&self) -> (Vec<ElfSymbol>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut all = Vec::new();
        let tables = [
            (self.symtab(&mut problems), ElfSymbolSource::Symtab),
            (self.dynsym(&mut problems), ElfSymbolSource::Dynsym),
        ];
        for (table, source) in &tables {
            let defined = table.iter().flat_map(SymbolTable::defined);
            all.extend(defined.map(|symbol| ElfSymbol {
                name: String::from_utf8_lossy(symbol.name).into_owned(),
                address: ImageOffset(symbol.address),
                size: symbol.size,
                kind: symbol.kind,
                binding: symbol.binding,
                source: *source,
            }));
        }
        all.extend(self.plt_symbols(&mut problems));
        (all, problems)
    }
}
