//! Symbols of an index: those of all tables, each once, with the names that DWARF does not have.

use rayon::prelude::*;

use super::build::BuildInput;
use super::chunk::Chunk;
use super::strings::{Place, StringId};
use crate::demangle::{demangle_name, text};
use crate::{ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource};

/// Symbols at one address that are compared with a further one; hundreds of thousands would take forever.
const MAX_COMPARED: usize = 256;

/// A symbol ready to be written.
pub(super) struct IndexedSymbol {
    pub(super) address: u64,
    pub(super) size: u64,
    pub(super) name: Place,
    pub(super) display: StringId,
    pub(super) kind: ElfSymbolKind,
    pub(super) binding: ElfSymbolBinding,
    pub(super) source: ElfSymbolSource,
    pub(super) is_described: bool,
}

/// Collects the symbols, each once, and demangles those that DWARF does not name.
pub(super) fn symbols(input: &BuildInput<'_>, all: &mut Chunk<'_>) -> Vec<IndexedSymbol> {
    let count = input.tables.iter().map(|named| named.table.len()).sum::<usize>() + input.plt.len();
    let mut symbols = Vec::with_capacity(count);
    for named in input.tables {
        let stays = named.strings.filter(|source| input.sources.has(*source));
        for symbol in named.table.defined() {
            let place = stays.and_then(|source| Place::new(source, symbol.name_offset as usize, symbol.name.len()));
            let name = place.unwrap_or_else(|| {
                let id = all.strings.intern(symbol.name);
                all.strings.place(id)
            });
            symbols.push(IndexedSymbol {
                address: symbol.address,
                size: symbol.size,
                name,
                display: StringId(0),
                kind: symbol.kind,
                binding: symbol.binding,
                source: named.source,
                is_described: false,
            });
        }
    }
    for symbol in input.plt {
        let id = all.strings.intern(symbol.name.as_bytes());
        symbols.push(IndexedSymbol {
            address: symbol.address.0,
            size: symbol.size,
            name: all.strings.place(id),
            display: StringId(0),
            kind: symbol.kind,
            binding: symbol.binding,
            source: symbol.source,
            is_described: false,
        });
    }
    let strings = &all.strings;
    symbols.sort_by_key(|symbol| (symbol.kind == ElfSymbolKind::ThreadLocal, symbol.address));
    // The tables are sorted best first and the sort is stable: of equal symbols the better one stays.
    let mut at_address: Vec<Place> = Vec::new();
    let mut last = None;
    symbols.retain(|symbol| {
        if last != Some(symbol.address) {
            at_address.clear();
            last = Some(symbol.address);
        }
        let known = at_address.iter().take(MAX_COMPARED).any(|place| strings.at(*place) == strings.at(symbol.name));
        at_address.push(symbol.name);
        !known
    });
    let mut starts: Vec<(u64, u32)> = all.code.iter().map(|code| (code.range.start.0, code.entry)).collect();
    starts.par_sort_unstable();
    symbols.par_iter_mut().for_each(|symbol| {
        let has_address = symbol.kind != ElfSymbolKind::ThreadLocal && symbol.source != ElfSymbolSource::Plt;
        let first = starts.partition_point(|(start, _)| *start < symbol.address);
        let here = starts.iter().skip(first).take_while(|(start, _)| *start == symbol.address);
        let name = strings.at(symbol.name);
        // A part split off is code of a function's entry, but shown by its own name (`app::run.cold`).
        symbol.is_described = has_address
            && !is_split_off(name)
            && here
                .filter_map(|(_, entry)| all.entries.get(*entry as usize))
                .any(|entry| entry.name == StringId(0) || is_mangled(name) || strings.get(entry.name) == name);
    });
    let demangled: Vec<(usize, String)> = symbols
        .par_iter()
        .enumerate()
        .filter(|(_, symbol)| !symbol.is_described)
        .filter_map(|(number, symbol)| {
            let name = demangle_name(&text(strings.at(symbol.name)))?;
            let suffix = if symbol.source == ElfSymbolSource::Plt { "@plt" } else { "" };
            Some((number, name + suffix))
        })
        .collect();
    for (number, name) in demangled {
        let display = all.strings.intern(name.as_bytes());
        if let Some(symbol) = symbols.get_mut(number) {
            symbol.display = display;
        }
    }
    symbols
}

fn is_split_off(name: &[u8]) -> bool {
    text(name).contains(".cold")
}

/// Whether a linkage name stands for a qualified one, as those of C++ and Rust do.
fn is_mangled(name: &[u8]) -> bool {
    name.starts_with(b"_Z") || name.starts_with(b"_R")
}
