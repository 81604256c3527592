//! Values of variables.

use std::cell::RefCell;

use outpost_base::{MemoryReader, Va};
use outpost_engine::expr::Radix;
use outpost_engine::model::{symbols_of, views_of};
use outpost_engine::values::{
    BatchMemory, Child, FieldRow, NumberFormat, TextOptions, Type, Value, ViewLimits, field_rows,
};
use outpost_engine::{Engine, ProcessMemory};

use crate::{Debugger, Settings};

/// Memory of the current process, or none.
pub(crate) struct ValueMemory(pub(crate) Option<ProcessMemory>);

impl MemoryReader for ValueMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        self.0.as_mut().map_or(0, |memory| memory.read(at, buf))
    }
}

/// How much of values is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) strings: u64,
    pub(crate) elements: u64,
    pub(crate) depth: usize,
    pub(crate) raw: bool,
    pub(crate) numbers: NumberFormat,
    pub(crate) longs: Option<NumberFormat>,
}

impl Amount {
    /// As much as usual, with numbers as the user has set.
    pub(crate) fn usual(settings: &Settings) -> Amount {
        let usual = TextOptions::default();
        let in_radix = match settings.radix {
            Radix::Hexadecimal => NumberFormat::Hexadecimal,
            Radix::Decimal => NumberFormat::Decimal,
            Radix::Octal => NumberFormat::Octal,
        };
        let numbers = if settings.numbers_in_radix { in_radix } else { usual.numbers };
        let longs = if settings.longs_in_radix { in_radix } else { usual.numbers };
        Amount {
            strings: usual.string_limit,
            elements: usual.element_limit,
            depth: usual.depth_limit,
            raw: usual.raw,
            numbers,
            longs: Some(longs),
        }
    }
}

/// A value in one line.
pub(crate) fn one_line(debugger: &mut Debugger, value: &Value) -> String {
    text_of(&mut debugger.engine, value, Amount::usual(&debugger.settings))
}

/// A value in one line, as much of it as is asked for. Memory is read in few rounds, whatever the value holds.
pub(crate) fn text_of(engine: &mut Engine, value: &Value, amount: Amount) -> String {
    in_batches(engine, amount, |options, memory| value.text(options, memory))
}

/// The fields of a type, with values if there is an object.
pub(crate) fn fields_of(
    engine: &mut Engine,
    of: &Type,
    object: Option<&Value>,
    depth: usize,
    amount: Amount,
) -> Vec<FieldRow> {
    in_batches(engine, amount, |options, memory| field_rows(of, object, depth, options, memory))
}

/// The first `count` parts of a value with their texts; none of what cannot be read.
pub(crate) fn parts_of(engine: &mut Engine, value: &Value, count: u64, amount: Amount) -> Vec<(Child, String)> {
    let limits = ViewLimits { count, ..ViewLimits::default() };
    in_batches(engine, amount, |options, memory| {
        let parts = value.children(&limits, amount.raw, memory).unwrap_or_default().items;
        let with_text = |part: Child, memory: &mut dyn MemoryReader| {
            let text = part.value.text(options, memory);
            (part, text)
        };
        parts.into_iter().map(|part| with_text(part, memory)).collect()
    })
}

/// Runs `read` over memory that is fetched in batches.
pub(crate) fn in_batches<T>(
    engine: &mut Engine,
    amount: Amount,
    mut read: impl FnMut(&TextOptions<'_>, &mut dyn MemoryReader) -> T,
) -> T {
    let memory = engine.memory().ok();
    let engine = RefCell::new(engine);
    let (symbol, view) = (symbols_of(&engine), views_of(&engine));
    let options = TextOptions {
        string_limit: amount.strings,
        element_limit: amount.elements,
        depth_limit: amount.depth,
        raw: amount.raw,
        numbers: amount.numbers,
        longs: amount.longs,
        symbol: &symbol,
        view: &view,
        ..TextOptions::default()
    };
    match &memory {
        Some(memory) => memory.in_batches(|memory| read(&options, memory)),
        None => read(&options, &mut BatchMemory::new()),
    }
}
