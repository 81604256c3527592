//! What the writers of values ask a debugger for: names of addresses, and views.

use std::cell::RefCell;

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{TextOptions, Value};

use crate::Engine;

/// What an address is called. Functions and variables have names worth telling; addresses inside a heap or stack have none.
pub fn symbols_of<'a>(engine: &'a RefCell<&mut Engine>) -> impl Fn(Va) -> Option<String> + 'a {
    |at| {
        let symbol = engine.try_borrow_mut().ok()?.symbol_at(at).filter(|symbol| !symbol.name.is_empty())?;
        (symbol.size == 0 && symbol.displacement == 0 || symbol.displacement < symbol.size).then(|| symbol.to_string())
    }
}

/// What the authors of types say of their objects.
pub fn views_of<'a>(engine: &'a RefCell<&mut Engine>) -> impl Fn(&Value, &mut dyn MemoryReader) -> Option<String> + 'a {
    |value, memory| engine.try_borrow_mut().ok()?.view_text(value, memory)
}

/// A value in one line, with all that the engine can add to it.
pub fn value_text(
    engine: &RefCell<&mut Engine>,
    value: &Value,
    options: &TextOptions<'_>,
    memory: &mut dyn MemoryReader,
) -> String {
    let (symbol, view) = (symbols_of(engine), views_of(engine));
    value.text(&TextOptions { symbol: &symbol, view: &view, ..*options }, memory)
}
