//! Symbols: names for addresses and addresses for names.

use std::collections::HashSet;

use outpost_base::ImageOffset;

use super::Module;
use crate::index::{EntryId, EntryKind, NameHit, Named, SymbolId, SymbolRecord};
use crate::{CaseRule, DieRef, ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource, Wildcard};

/// How far around an address symbols are looked at, to find the best of several at one place.
const MAX_AROUND: usize = 64;

/// What a symbol names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A function chosen at load time; the address is the resolver's.
    IndirectFunction,
    /// A variable.
    Data,
    /// A thread-local variable; the address is its offset in the module's TLS block.
    ThreadLocal,
    /// A label of assembler code or of the linker.
    Label,
}

/// Where a symbol comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SymbolSource {
    /// Debug info.
    Dwarf,
    /// The full symbol table.
    Symtab,
    /// The table of exports.
    Dynsym,
    /// An entry of the procedure linkage table.
    Plt,
}

/// Something with a name and an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// As it is shown and typed: `ns::Class<int>::method`, without parameters; Rust names without hash.
    pub name: String,
    /// As the linker knows it, if that differs and is known.
    pub linkage_name: Option<String>,
    /// Where it begins; see [`SymbolKind::ThreadLocal`].
    pub address: ImageOffset,
    /// Size in bytes; 0 if not known.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// Who says so.
    pub source: SymbolSource,
    /// Its DIE, if debug info describes it.
    pub die: Option<DieRef>,
}

/// A symbol near an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolAt {
    /// The symbol.
    pub symbol: Symbol,
    /// How far the address lies behind the symbol's.
    pub displacement: u64,
}

impl Module {
    /// The symbol that `at` belongs to: the function or variable around it, else a symbol without a size before it in the
    /// same section. Where the symbols before it end sooner, nothing is known: a name would be a wrong one.
    pub fn symbol_at(&self, at: ImageOffset) -> Option<SymbolAt> {
        let index = self.index();
        if let Some((entry, range)) = index.function_at(at) {
            let ranges = index.code_of(entry);
            // Parts split off (`f.cold`) have symbols of their own, which say where they begin.
            if ranges.first() == Some(&range) {
                let symbol = self.function_symbol(entry)?;
                return Some(SymbolAt { displacement: at.0.wrapping_sub(symbol.address.0), symbol });
            }
        }
        if let Some(found) = self.elf_symbol_at(at) {
            return Some(found);
        }
        // Rust's vtables have debug info and no symbol.
        if let Some(symbol) = index.variable_at(at).and_then(|entry| self.variable_symbol(entry)) {
            return Some(SymbolAt { displacement: 0, symbol });
        }
        let (entry, range) = index.function_at(at)?;
        let symbol = Symbol { address: range.start, size: range.len(), ..self.function_symbol(entry)? };
        Some(SymbolAt { displacement: at.0 - range.start.0, symbol })
    }

    /// Whether an indirect function begins at `at`, by the symbol tables: debug info knows it as the function that chooses.
    pub fn is_indirect_function(&self, at: ImageOffset) -> bool {
        let mut here = self.index().symbols_below(at).take_while(|(_, symbol)| symbol.address == at.0);
        here.any(|(_, symbol)| symbol.kind == ElfSymbolKind::IndirectFunction)
    }

    /// The nearest symbols at or before, and after `at`, whatever they are (`ln`).
    pub fn nearest_symbols(&self, at: ImageOffset) -> (Option<SymbolAt>, Option<Symbol>) {
        let index = self.index();
        let before = self.symbol_at(at).or_else(|| {
            let (_, symbol) = index.symbols_below(at).next()?;
            let found = self.best_at(symbol.address)?;
            Some(SymbolAt { displacement: at.0 - found.address.0, symbol: found })
        });
        let function = index.function_above(at).map(|(entry, range)| (entry, range.start));
        let other = index.symbols_above(at).next().map(|(_, symbol)| ImageOffset(symbol.address));
        let after = match (function, other) {
            (Some((entry, start)), other) if other.is_none_or(|other| start <= other) => self.function_symbol(entry),
            (_, Some(other)) => self.best_at(other.0),
            (_, None) => None,
        };
        (before, after)
    }

    /// Functions and variables called `name`.
    ///
    /// Scopes may be left out (`push_back`), and so may template arguments and anonymous namespaces; whatever leaves
    /// out least wins, and all that tie are given, by address. Names match as the linker knows them, too.
    pub fn symbols_named(&self, name: &str, case: CaseRule) -> Vec<Symbol> {
        let hits = self.index().find(name, case);
        let wanted = |hit: &NameHit| match hit {
            NameHit::Entry(id) => self.index().entry(*id).is_some_and(|entry| match entry.kind {
                EntryKind::Function => entry.has_code,
                EntryKind::Variable => true,
                _ => false,
            }),
            NameHit::Symbol(_) => true,
        };
        let hits: Vec<_> = hits.into_iter().filter(|(hit, _)| wanted(hit)).collect();
        let least = hits.iter().map(|(_, unmatched)| *unmatched).min().unwrap_or(0);
        self.to_symbols(hits.into_iter().filter(|(_, unmatched)| *unmatched == least).map(|(hit, _)| hit))
    }

    /// Functions and variables whose whole name fits `pattern`, by address.
    pub fn symbols_matching(&self, pattern: &Wildcard) -> Vec<Symbol> {
        let mut hits = Vec::new();
        let wanted = |named: Named| match named {
            Named::Entry(kind) => matches!(kind, EntryKind::Function | EntryKind::Variable),
            Named::Symbol(_) => true,
        };
        self.index().each_match(pattern, wanted, |hit, _| hits.push(hit));
        self.to_symbols(hits.into_iter())
    }

    /// DIEs of the types called `name` (as [`Module::symbols_named`] matches names), definitions only.
    pub fn types_named(&self, name: &str, case: CaseRule) -> Vec<DieRef> {
        self.dies_named(name, case, |kind| matches!(kind, EntryKind::Type | EntryKind::LeafType))
    }

    /// Types whose qualified name fits `pattern`, each name with its DIE, by name.
    pub fn types_matching(&self, pattern: &Wildcard) -> Vec<(String, DieRef)> {
        let mut found = Vec::new();
        let wanted = |named| matches!(named, Named::Entry(EntryKind::Type | EntryKind::LeafType));
        self.index().each_match(pattern, wanted, |hit, name| {
            if let NameHit::Entry(id) = hit
                && let Some(entry) = self.index().entry(id)
            {
                found.push((name.to_owned(), entry.die));
            }
        });
        found.sort();
        found
    }

    /// DIEs of the variables with static storage, and constants, called `name`.
    pub fn variables_named(&self, name: &str, case: CaseRule) -> Vec<DieRef> {
        self.dies_named(name, case, |kind| kind == EntryKind::Variable)
    }

    /// DIEs of the constants of enumerations called `name`.
    pub fn enumerators_named(&self, name: &str, case: CaseRule) -> Vec<DieRef> {
        self.dies_named(name, case, |kind| kind == EntryKind::Enumerator)
    }

    /// The qualified name of a function, type or variable by its DIE.
    pub fn qualified_name(&self, die: DieRef) -> Option<String> {
        let index = self.index();
        index.entry_by_die(die).map(|entry| index.qualified_name(entry)).filter(|name| !name.is_empty())
    }

    fn dies_named(&self, name: &str, case: CaseRule, wanted: impl Fn(EntryKind) -> bool) -> Vec<DieRef> {
        let index = self.index();
        let mut found = Vec::new();
        for (hit, unmatched) in index.find(name, case) {
            if let NameHit::Entry(id) = hit
                && let Some(entry) = index.entry(id).filter(|entry| wanted(entry.kind))
            {
                found.push((unmatched, entry.die));
            }
        }
        let least = found.iter().map(|(unmatched, _)| *unmatched).min().unwrap_or(0);
        found.retain(|(unmatched, _)| *unmatched == least);
        found.into_iter().map(|(_, die)| die).collect()
    }

    /// Symbols for what was found: each address once per name, debug info before symbol tables.
    fn to_symbols(&self, hits: impl Iterator<Item = NameHit>) -> Vec<Symbol> {
        let mut described: HashSet<(bool, ImageOffset)> = HashSet::new();
        let mut symbols: Vec<Symbol> = Vec::new();
        let mut rest = Vec::new();
        for hit in hits {
            match hit {
                NameHit::Entry(id) => symbols.extend(self.entry_symbol(id)),
                NameHit::Symbol(id) => rest.push(id),
            }
        }
        described.extend(symbols.iter().map(|symbol| (symbol.kind == SymbolKind::ThreadLocal, symbol.address)));
        let index = self.index();
        let mut seen: HashSet<(ImageOffset, String)> = HashSet::new();
        for id in rest {
            let Some(record) = index.symbol(id) else { continue };
            let symbol = self.elf_symbol(&record);
            let key = (symbol.kind == SymbolKind::ThreadLocal, symbol.address);
            if !described.contains(&key) && seen.insert((symbol.address, symbol.name.clone())) {
                symbols.push(symbol);
            }
        }
        symbols.sort_by(|left, right| (left.address, &left.name).cmp(&(right.address, &right.name)));
        symbols.dedup_by(|left, right| left.address == right.address && left.name == right.name);
        symbols
    }

    fn entry_symbol(&self, id: EntryId) -> Option<Symbol> {
        let entry = self.index().entry(id)?;
        match entry.kind {
            EntryKind::Function if entry.has_code => self.function_symbol(id),
            EntryKind::Variable => self.variable_symbol(id),
            _ => None,
        }
    }

    pub(super) fn function_symbol(&self, id: EntryId) -> Option<Symbol> {
        let index = self.index();
        let entry = index.entry(id)?;
        let range = *index.code_of(id).first()?;
        let linkage_name = self.symbols_at(range.start.0).find(|(_, symbol)| is_code(symbol.kind));
        let linkage_name = linkage_name.map(|(_, symbol)| index.linkage_name(&symbol));
        let name = index.qualified_name(id);
        let name = if name.is_empty() { linkage_name.clone()? } else { name };
        Some(Symbol {
            linkage_name: linkage_name.filter(|linkage| *linkage != name),
            name,
            address: range.start,
            size: range.len(),
            kind: SymbolKind::Function,
            source: SymbolSource::Dwarf,
            die: Some(entry.die),
        })
    }

    fn variable_symbol(&self, id: EntryId) -> Option<Symbol> {
        let index = self.index();
        let entry = index.entry(id)?;
        let name = index.qualified_name(id);
        let (record, address) = match index.address_of(id) {
            Some(address) => (self.symbols_at(address.0).next().map(|(_, symbol)| symbol), address),
            // Thread-local variables have no address in the image; the symbol table knows their offset.
            None => {
                let last = crate::index::last_component(&name);
                let hits = index.find(last, CaseRule::Exact).into_iter();
                let record = hits
                    .filter_map(|(hit, _)| match hit {
                        NameHit::Symbol(id) => index.symbol(id),
                        NameHit::Entry(_) => None,
                    })
                    .find(|symbol| symbol.kind == ElfSymbolKind::ThreadLocal)?;
                (Some(record), ImageOffset(record.address))
            }
        };
        let linkage_name = record.as_ref().map(|symbol| index.linkage_name(symbol)).filter(|linkage| *linkage != name);
        Some(Symbol {
            name,
            linkage_name,
            address,
            size: record.as_ref().map_or(0, |symbol| symbol.size),
            kind: match record {
                Some(SymbolRecord { kind: ElfSymbolKind::ThreadLocal, .. }) => SymbolKind::ThreadLocal,
                _ => SymbolKind::Data,
            },
            source: SymbolSource::Dwarf,
            die: Some(entry.die),
        })
    }

    fn elf_symbol(&self, record: &SymbolRecord) -> Symbol {
        let index = self.index();
        let linkage_name = index.linkage_name(record);
        let name = index.display_name(record);
        Symbol {
            linkage_name: (linkage_name != name).then_some(linkage_name),
            name,
            address: ImageOffset(record.address),
            size: record.size,
            kind: match record.kind {
                ElfSymbolKind::Function => SymbolKind::Function,
                ElfSymbolKind::IndirectFunction => SymbolKind::IndirectFunction,
                ElfSymbolKind::Object => SymbolKind::Data,
                ElfSymbolKind::ThreadLocal => SymbolKind::ThreadLocal,
                ElfSymbolKind::Label => SymbolKind::Label,
            },
            source: match record.source {
                ElfSymbolSource::Symtab => SymbolSource::Symtab,
                ElfSymbolSource::Dynsym => SymbolSource::Dynsym,
                ElfSymbolSource::Plt => SymbolSource::Plt,
            },
            die: None,
        }
    }

    /// The ELF symbol that `at` belongs to.
    fn elf_symbol_at(&self, at: ImageOffset) -> Option<SymbolAt> {
        let section = self.section_of(at);
        let below = self.index().symbols_below(at).take(MAX_AROUND);
        let here = below.take_while(|(_, symbol)| self.section_of(ImageOffset(symbol.address)) == section);
        let mut is_nearest = true;
        let mut covering = here.filter(|(_, symbol)| {
            let covers = at.0 == symbol.address || at.0 - symbol.address < symbol.size;
            // Without a size, a symbol reaches to the next one.
            covers || (std::mem::take(&mut is_nearest) && symbol.size == 0)
        });
        let symbol = self.best_at(covering.next()?.1.address)?;
        Some(SymbolAt { displacement: at.0 - symbol.address.0, symbol })
    }

    fn section_of(&self, at: ImageOffset) -> Option<usize> {
        self.files.image.sections().iter().position(|section| section.allocated && section.range.contains(at))
    }

    /// ELF symbols at an address, best name first.
    fn symbols_at(&self, address: u64) -> impl Iterator<Item = (SymbolId, SymbolRecord)> {
        let index = self.index();
        let here = index.symbols_below(ImageOffset(address)).take_while(|(_, symbol)| symbol.address == address);
        let mut here: Vec<_> = here.take(MAX_AROUND).collect();
        here.sort_by_cached_key(|(_, symbol)| {
            let kind = match symbol.kind {
                ElfSymbolKind::Function | ElfSymbolKind::Object | ElfSymbolKind::IndirectFunction => 0,
                ElfSymbolKind::ThreadLocal => 1,
                ElfSymbolKind::Label => 2,
            };
            let binding = match symbol.binding {
                ElfSymbolBinding::Global => 0,
                ElfSymbolBinding::Weak => 1,
                ElfSymbolBinding::Local => 2,
            };
            let name = index.linkage_name(symbol);
            let underscores = name.bytes().take_while(|&byte| byte == b'_').count();
            let underscores = if name.starts_with("_Z") || name.starts_with("_R") { 0 } else { underscores };
            (kind, binding, underscores, name)
        });
        here.into_iter()
    }

    /// The best symbol at an address, as debug info or the symbol table has it.
    fn best_at(&self, address: u64) -> Option<Symbol> {
        let index = self.index();
        if let Some((entry, range)) = index.function_at(ImageOffset(address))
            && range.start.0 == address
            && index.code_of(entry).first() == Some(&range)
        {
            return self.function_symbol(entry);
        }
        if let Some(symbol) = index.variable_at(ImageOffset(address)).and_then(|entry| self.variable_symbol(entry)) {
            return Some(symbol);
        }
        let (_, record) = self.symbols_at(address).next()?;
        Some(self.elf_symbol(&record))
    }
}

fn is_code(kind: ElfSymbolKind) -> bool {
    matches!(kind, ElfSymbolKind::Function | ElfSymbolKind::IndirectFunction | ElfSymbolKind::Label)
}
