//! The message and place of a Rust panic, from the frames of the panic machinery.
//!
//! The standard library as it is shipped has no debug info for its variables, so they are recognised by what they must
//! be. A `core::panic::Location` is a path, a line and a column in read-only data, and a pointer to it is in each frame
//! from `panic_fmt` inwards. The message, once the hook has formatted it, is a `String`, or a `&str`, in the frame of the
//! closure that made the payload (library/std/src/panicking.rs: `begin_panic_handler`, `panic_handler`, `begin_panic`).

use outpost_base::{MemoryReader, Va, VaRange};

use super::ProgramMessage;
use crate::{Engine, ProcessMemory, StackFrame};

/// Most stack bytes that are looked at in one frame.
const LARGEST_FRAME: u64 = 4 << 10;
/// Longest path, and longest message.
const LONGEST_PATH: u64 = 1024;
const LONGEST_MESSAGE: u64 = 8 << 10;

/// Whether a frame is one of the panic machinery.
pub(super) fn is_panic(frame: &StackFrame) -> bool {
    let name = frame.function.as_str();
    name.starts_with("core::panicking::")
        || name.starts_with("std::panicking::begin_panic")
        || name.starts_with("std::panicking::panic_")
        || name.starts_with("std::panicking::rust_panic")
        || matches!(name, "rust_begin_unwind" | "rust_panic" | "__rustc::rust_begin_unwind" | "__rustc::rust_panic")
}

impl Engine {
    /// The panic that the stack is in, innermost frames first; `None` if it is in none.
    pub(super) fn rust_panic(&mut self, frames: &[StackFrame]) -> Option<ProgramMessage> {
        let first = frames.iter().position(is_panic)?;
        let last = frames.iter().rposition(is_panic)?;
        let memory = self.memory().ok()?;
        let spans: Vec<(usize, VaRange)> = (first..=last)
            .filter(|&at| frames[at].is_physical())
            .filter_map(|at| Some((at, VaRange { start: frames[at].sp, end: frames[at].cfa? })))
            .filter(|(_, span)| span.len() <= LARGEST_FRAME)
            .collect();
        let ranges: Vec<VaRange> = spans.iter().map(|(_, span)| *span).collect();
        memory.prefetch(&ranges).ok()?;
        let words = |span: VaRange| -> Vec<u64> {
            let bytes = memory.read_vec(span.start, span.len()).unwrap_or_default();
            bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect()
        };
        // From the outermost in: the one that the user's code passed is met first.
        let place = spans
            .iter()
            .rev()
            .find_map(|(_, span)| words(*span).into_iter().find_map(|word| self.location(Va(word), &memory)));
        let is_payload = |frame: &StackFrame| {
            let name = &frame.function;
            name.starts_with("std::panicking::") && name.contains("{closure")
        };
        let text = spans.iter().filter(|(at, _)| is_payload(&frames[*at])).find_map(|(_, span)| {
            let words = words(*span);
            // A String is its capacity, pointer and length; where there is one, it is the formatted message.
            let strings = words.windows(3).filter(|words| words[0] >= words[2] && words[0] < 1 << 32);
            let string = strings.into_iter().find_map(|words| message(words[1], words[2], &memory));
            string.or_else(|| words.windows(2).find_map(|words| message(words[0], words[1], &memory)))
        });
        if text.is_none() && place.is_none() {
            return None;
        }
        let text = text.unwrap_or_else(|| "(its message is not formatted yet)".to_owned());
        Some(ProgramMessage { source: "Rust panic".into(), text, place: place.unwrap_or_default() })
    }

    /// The `core::panic::Location` at an address of constant data: `src/main.rs:5:9`.
    fn location(&self, at: Va, memory: &ProcessMemory) -> Option<String> {
        // Only data of images is looked at: stack and heap are full of other numbers.
        self.module_at(at)?;
        let mut memory = memory.clone();
        let mut record = [0; 24];
        memory.read_exact(at, &mut record)?;
        let word = |start: usize| {
            record.get(start..start + 8).and_then(|word| Some(u64::from_le_bytes(word.try_into().ok()?)))
        };
        let (path, length, position) = (word(0)?, word(8)?, word(16)?);
        let (line, column) = (position as u32, (position >> 32) as u32);
        if length == 0 || length > LONGEST_PATH || line == 0 || column == 0 || line > 1 << 24 || column > 1 << 16 {
            return None;
        }
        self.module_at(Va(path))?;
        let text = String::from_utf8(memory.read_vec(Va(path), length).ok()?).ok()?;
        // Sources of macros may have other names, but those of panics in code are these.
        (text.ends_with(".rs") || text.contains(".rs ")).then(|| format!("{text}:{line}:{column}"))
    }
}

/// A text of `length` bytes that could be a message.
fn message(at: u64, length: u64, memory: &ProcessMemory) -> Option<String> {
    if length == 0 || length > LONGEST_MESSAGE || at < 0x10000 {
        return None;
    }
    let text = String::from_utf8(memory.read_vec(Va(at), length).ok()?).ok()?;
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    text.chars().all(is_text).then_some(text)
}
