//! Symbols and lines of addresses.

use outpost_base::Va;
use outpost_engine::disassembly::CodeSymbols;
use outpost_engine::{Engine, SourceLocation};

/// The engine's symbols, for operands of disassembled instructions.
pub(crate) struct EngineSymbols<'a>(pub(crate) &'a mut Engine);

impl CodeSymbols for EngineSymbols<'_> {
    fn symbolize(&mut self, at: Va) -> Option<String> {
        self.0.symbol_at(at).map(|symbol| symbol.to_string())
    }
}

/// `module!symbol+0x1f`; the address itself where nothing is known.
pub(crate) fn name_of(engine: &mut Engine, at: Va) -> String {
    engine.symbol_at(at).map_or_else(|| at.to_string(), |symbol| symbol.to_string())
}

/// ` [/src/prog.c @ 15]`, or nothing.
pub(crate) fn line_suffix(location: Option<&SourceLocation>) -> String {
    location.map(|location| format!(" {}", bracketed(location))).unwrap_or_default()
}

/// `[/src/prog.c @ 15]`.
pub(crate) fn bracketed(location: &SourceLocation) -> String {
    format!("[{} @ {}]", location.file, location.line)
}
