//! The message and place of a Rust panic, from the frames of the panic machinery.
//!
//! The standard library as it is shipped has no debug info for its variables, so they are recognised by what they must
//! be. A `core::panic::Location` is a path, a line and a column in read-only data, and a pointer to it is in each frame
//! from `panic_fmt` inwards. The message, once the hook has formatted it, is a `String`, or a `&str`, in the frame of the
//! closure that made the payload (library/std/src/panicking.rs: `begin_panic_handler`, `panic_handler`, `begin_panic`).

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_target::{Region, RegionUsage, SearchRequest};

use super::ProgramMessage;
use crate::{Engine, ProcessMemory, StackFrame};

/// Most stack bytes that are looked at in one frame.
const LARGEST_FRAME: u64 = 4 << 10;
/// Bytes of the stack, from its end on, that panics under way are looked for in.
const STACK: u64 = 16 << 10;
/// Exceptions of one region of memory that are looked at.
const EXCEPTIONS: u32 = 64;
/// What an exception of a panic begins with, `MOZ\0RUST` (library/panic_unwind/src/gcc.rs, `RUST_EXCEPTION_CLASS`), and where in
/// it are the frame that will catch it (`private_2` of both unwinders), the address of a variable of the standard library's
/// (`canary`), and the payload: its address and table.
const CLASS: u64 = u64::from_le_bytes(*b"MOZ\0RUST");
const HANDLER: usize = 24;
const CANARY: usize = 32;
const PAYLOAD: usize = 40;
const TABLE: usize = 48;
const EXCEPTION_LEN: usize = 56;
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

    /// Messages of panics that are under way further out while `frames` are in another, the one that was first first: what
    /// unwinding runs, a destructor, has panicked. Their exceptions are in the frames that unwinding has come to; the
    /// payload is a `String` or a `&str`, by the size in its table. Optimised code forgets where its exception is once nothing
    /// but an abort can come; where Rust says that a destructor panicked, exceptions are looked for in the heap, too.
    pub(super) fn earlier_rust_panics(&mut self, frames: &[StackFrame]) -> Vec<String> {
        let Some(start) = frames.iter().find(|frame| !frame.is_inline()).map(|frame| frame.sp) else {
            return Vec::new();
        };
        let Ok(memory) = self.memory() else { return Vec::new() };
        // Short where the stack begins.
        let mut stack = vec![0; STACK as usize];
        let count = memory.clone().read(start, &mut stack);
        let words = stack[..count].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let mut places: Vec<Va> = words.filter(|word| word % 16 == 0 && *word >= 0x10000).map(Va).collect();
        places.sort_unstable();
        places.dedup();
        let ranges: Vec<VaRange> = places.iter().map(|at| VaRange::from_len(*at, EXCEPTION_LEN as u64)).collect();
        if memory.prefetch(&ranges).is_err() {
            return Vec::new();
        }
        if frames.iter().any(|frame| frame.function == "core::panicking::panic_in_cleanup") {
            places.extend(self.exceptions_in_heaps().unwrap_or_default());
            places.sort_unstable();
            places.dedup();
        }
        let mut found: Vec<(u64, String)> = places.into_iter().filter_map(|at| self.payload_of(at, &memory)).collect();
        found.sort_by_key(|(handler, _)| std::cmp::Reverse(*handler));
        found.into_iter().map(|(_, text)| text).collect()
    }

    /// Where what looks like an exception of a panic begins in anonymous memory, by address.
    fn exceptions_in_heaps(&mut self) -> Option<Vec<Va>> {
        let process = self.current_process().ok()?;
        let (regions, space) = (self.regions(process).ok()?, self.process(process).ok()?.info.space);
        let target = self.target_of(process).ok()?;
        let mut found = Vec::new();
        let is_heap = |region: &&Region| {
            let usage = matches!(region.usage, RegionUsage::Heap | RegionUsage::Unknown);
            usage && region.write && region.read && region.range.len() <= super::abort::LARGEST_REGION
        };
        for range in regions.iter().filter(is_heap).map(|region| region.range) {
            self.check_interrupt().ok()?;
            let pattern = CLASS.to_le_bytes().to_vec();
            let request = SearchRequest { range, pattern, alignment: 16, writable_only: true, limit: EXCEPTIONS };
            found.extend(target.borrow_mut().search(space, &request).unwrap_or_default());
        }
        Some(found)
    }

    /// The text that a panic's exception carries, if that is what is at an address, and where on the stack it is caught: of two
    /// exceptions under way, the one that is caught further out was first.
    fn payload_of(&self, at: Va, memory: &ProcessMemory) -> Option<(u64, String)> {
        let mut memory = memory.clone();
        let mut record = [0; EXCEPTION_LEN];
        memory.read_exact(at, &mut record)?;
        let word = |at: usize| Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?));
        if word(0)? != CLASS {
            return None;
        }
        self.module_at(Va(word(CANARY)?))?;
        self.module_at(Va(word(TABLE)?))?;
        // A table begins with what drops the object, its size and its alignment.
        let size = memory.read_u64(Va(word(TABLE)?).checked_add(8)?)?;
        let payload = Va(word(PAYLOAD)?);
        let text = match size {
            16 => payload,
            24 => payload.checked_add(8)?,
            _ => return Some((word(HANDLER)?, "(its payload is no text)".to_owned())),
        };
        let text = message(memory.read_u64(text)?, memory.read_u64(text.checked_add(8)?)?, &memory)?;
        Some((word(HANDLER)?, text))
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
