//! Variables of the frames that gdb stopped, as values.

use std::collections::BTreeMap;

use outpost_base::{MemoryReader, VaRange};
use outpost_symbols::{BatchMemory, FrameContext, TextOptions, Value, View, ViewLimits};

use crate::oracle::{Memory, Program, Stop};

/// The last stop with `function` on the stack, and its innermost frame there.
fn find<'a>(program: &'a Program, function: &str) -> (&'a Stop, usize) {
    let frame = |stop: &'a Stop| {
        let at = stop.frames.iter().position(|frame| frame.function.split('(').next() == Some(function))?;
        Some((stop, at))
    };
    program.stops.iter().rev().find_map(frame).unwrap_or_else(|| panic!("no stop in {function}"))
}

pub(crate) fn locals(program: &Program, function: &str) -> (BTreeMap<String, Value>, Memory) {
    let (stop, at) = find(program, function);
    let mut frame = program.frame(stop, at);
    let lookup = frame.lookup_address().expect("pc").to_image(stop.bias);
    let activations = program.variables.activations_at(lookup);
    let inner = stop.frames[..at].iter().rev().take_while(|frame| frame.inlined).count();
    let variables = activations[inner].scopes.iter().flat_map(|scope| &scope.variables);
    let values = variables.map(|variable| (variable.name.clone(), program.variables.value(variable, &mut frame)));
    (values.collect(), stop.memory.clone())
}

/// Addresses differ from build to build.
pub(crate) fn without_addresses(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("0x0000") {
        let (before, address) = rest.split_at(at);
        plain.push_str(before);
        match address.as_bytes().get(10) {
            Some(b'`') if !address.starts_with("0x00000000`00000000") => plain.push_str("ADDRESS"),
            _ => plain.push_str(&address[..19.min(address.len())]),
        }
        rest = &address[19.min(address.len())..];
    }
    plain + rest
}

/// Reads `value` as its view in batches; gives the view and the round trips.
pub(crate) fn rounds(value: &Value, memory: &Memory) -> (View, usize) {
    let limits = ViewLimits { start: 0, count: 10_000, text: 100 };
    let mut round_trips = 0;
    let mut batch = BatchMemory::with_read_ahead(64 << 10);
    let view = batch.run(
        30,
        |memory| {
            let view = value.view(&limits, memory);
            // All that would be printed is read, too.
            if let Some(Ok(view)) = &view {
                let mut shown = |value: &Value| value.text(&TextOptions::default(), memory);
                match view {
                    View::Map { entries, .. } => entries.iter().for_each(|(key, value)| {
                        shown(key);
                        shown(value);
                    }),
                    View::Sequence { items, .. } => items.iter().for_each(|item| {
                        shown(item);
                    }),
                    _ => {}
                }
            }
            view
        },
        |ranges: &[VaRange]| {
            round_trips += 1;
            let one = |range: &VaRange| {
                let mut buf = vec![0; range.len() as usize];
                let count = memory.clone().read(range.start, &mut buf);
                buf.truncate(count);
                buf
            };
            ranges.iter().map(one).collect()
        },
    );
    (view.expect("has a view").expect("is readable"), round_trips)
}
