//! What the C library and sanitizers say before they end a program.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_target::{RegionUsage, SearchRequest};

use super::analysis::Subject;
use super::origin::Tracer;
use super::x86_64::ARGUMENTS;
use super::{FaultClass, ProgramMessage};
use crate::{Engine, StackFrame};

/// Longest message that is read.
const LONGEST: usize = 8 << 10;
/// Longest path before a report.
const LONGEST_PLACE: u64 = 4096;
/// What sanitizers begin a report with, and how many places with it are looked at.
const ERROR: &str = "ERROR: ";
const RUNTIME_ERROR: &str = ": runtime error: ";
const REPORTS: u32 = 64;
/// Larger regions are shadows of sanitizers, not text.
pub(super) const LARGEST_REGION: u64 = 256 << 20;

impl Engine {
    /// What glibc noted in `__abort_msg` (`struct abort_msg_s`: size, then text), of `assert`, of its allocator and its
    /// fortified functions.
    pub(super) fn abort_message(&mut self) -> Option<ProgramMessage> {
        let mut memory = self.memory().ok()?;
        let found = self.find_name("__abort_msg").ok()?;
        for named in found {
            let Some(record) = memory.read_u64(named.address).filter(|record| *record != 0) else { continue };
            let text = memory.read_cstring(Va(record) + 4, LONGEST)?;
            let text = String::from_utf8_lossy(&text).trim_end().to_owned();
            if text.is_empty() {
                continue;
            }
            return Some(ProgramMessage { source: "glibc".into(), place: assertion_place(&text), text });
        }
        None
    }

    /// The assertion of libstdc++'s that failed (`_GLIBCXX_ASSERTIONS`), which is only printed: by what its function was
    /// given (libstdc++ src/c++11/assert_fail.cc, `__glibcxx_assert_fail(file, line, function, condition)`).
    pub(super) fn library_assertion(&mut self, subject: &Subject) -> Option<ProgramMessage> {
        let is_it = |row: &&StackFrame| row.function == "std::__glibcxx_assert_fail" && row.is_physical();
        let frame = subject.rows.iter().find(is_it)?.physical as usize;
        let process = self.process_of(subject.thread).ok()?.ordinal;
        let mut memory = self.memory_of(process).ok()?;
        let ids: Vec<_> = ARGUMENTS.into_iter().take(4).map(|name| self.arch().register_by_name(name)).collect();
        let mut tracer = Tracer::new(self, process, subject.physical.clone());
        let call = tracer.call_in(frame + 1)?;
        let mut argument = |at: usize| tracer.value_before(frame + 1, call.at, (*ids.get(at)?)?);
        let (file, line, function, condition) = (argument(0)?, argument(1)?, argument(2)?, argument(3)?);
        let mut text = |at: u64| Some(String::from_utf8_lossy(&memory.read_cstring(Va(at), LONGEST)?).into_owned());
        let place = format!("{}:{}", text(file)?, line as u32);
        let text = format!("{place}: {}: Assertion '{}' failed.", text(function)?, text(condition)?);
        Some(ProgramMessage { source: "libstdc++".into(), text, place })
    }

    /// The report of an address, undefined-behaviour or thread sanitizer, as far as memory holds its text.
    /// `sp` is the stack pointer of the thread that ended the program.
    pub(super) fn sanitizer_report(&mut self, sp: Va) -> Option<ProgramMessage> {
        let process = self.current_process().ok()?;
        let has_runtime = self.modules(process).ok()?.iter().any(|module| module.path.contains("san.so"))
            || ["__asan_init", "__ubsan_handle_type_mismatch_v1", "__tsan_init", "__msan_init"]
                .iter()
                .any(|name| self.find_name(name).is_ok());
        if !has_runtime {
            return None;
        }
        let regions = self.regions(process).ok()?;
        let memory = self.memory_of(process).ok()?;
        let space = self.process(process).ok()?.info.space;
        let target = self.target_of(process).ok()?;
        let wanted = |region: &&outpost_target::Region| {
            region.write && region.read && region.range.len() <= LARGEST_REGION && region.usage != RegionUsage::Stack
        };
        let hits = |pattern: &str, range: VaRange| {
            let request =
                SearchRequest { range, pattern: pattern.into(), alignment: 1, writable_only: true, limit: REPORTS };
            target.borrow_mut().search(space, &request).unwrap_or_default()
        };
        for region in regions.iter().filter(wanted) {
            self.check_interrupt().ok()?;
            for hit in hits(ERROR, region.range) {
                let text = memory.clone().read_cstring(hit + ERROR.len() as u64, LONGEST).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let Some((tool, rest)) = text.split_once(": ") else { continue };
                if !tool.ends_with("Sanitizer") || tool.contains(char::is_whitespace) {
                    continue;
                }
                let line = rest.lines().next().unwrap_or_default().trim();
                return Some(ProgramMessage { source: tool.to_owned(), text: line.to_owned(), place: String::new() });
            }
        }
        // What the undefined-behaviour sanitizer has printed is left where its frames were.
        let stack = regions.iter().find(|region| region.range.contains(sp) && region.write)?.range;
        hits(RUNTIME_ERROR, stack).into_iter().rev().find_map(|hit| {
            let start = hit.0.saturating_sub(LONGEST_PLACE).max(stack.start.0);
            let before = memory.read_vec(Va(start), hit.0 - start).ok()?;
            let after = memory.clone().read_cstring(hit + RUNTIME_ERROR.len() as u64, LONGEST)?;
            undefined_report(&before, &after)
        })
    }
}

/// A report of the undefined-behaviour sanitizer, from what is before and behind its words.
fn undefined_report(before: &[u8], after: &[u8]) -> Option<ProgramMessage> {
    let is_text = |byte: &u8| *byte >= 0x20;
    let start = before.iter().rposition(|byte| !is_text(byte)).map_or(0, |last| last + 1);
    let place = String::from_utf8_lossy(before.get(start..)?).into_owned();
    let end = after.iter().position(|byte| !is_text(byte)).unwrap_or(after.len());
    let text = String::from_utf8_lossy(after.get(..end)?).into_owned();
    let has_line = place.rsplit(':').next().is_some_and(|number| number.parse::<u32>().is_ok());
    (has_line && !text.is_empty()).then(|| ProgramMessage { source: "UndefinedBehaviorSanitizer".into(), text, place })
}

/// `file.c:12` of `prog: file.c:12: function: Assertion `x' failed.`; empty for other texts.
fn assertion_place(text: &str) -> String {
    let Some((before, _)) = text.split_once(": Assertion `") else { return String::new() };
    // prog: file:line: function
    let mut words = before.split(": ").skip(1);
    words.next().filter(|place| place.contains(':')).unwrap_or_default().to_owned()
}

/// Whether a function takes a pointer to free first, by its name.
pub(super) fn is_freeing(name: &str) -> bool {
    const NAMES: &[&str] = &["free", "cfree", "realloc", "reallocarray"];
    let plain = name.trim_start_matches("__GI_").trim_start_matches("__libc_");
    NAMES.contains(&plain) || name.starts_with("operator delete")
}

/// What glibc's allocator says, what class of failure that is, and what it found, in words (glibc malloc/malloc.c and
/// malloc/arena.c, `malloc_printerr`); texts of the first fitting part.
const ALLOCATOR: &[(&str, FaultClass, &str)] = &[
    (
        "free(): double free detected in tcache",
        FaultClass::DoubleFree,
        "the chunk is in this thread's cache of freed ones",
    ),
    ("double free or corruption (fasttop)", FaultClass::DoubleFree, "the chunk was the last that was freed, too"),
    ("double free or corruption (top)", FaultClass::DoubleFree, "the chunk has become part of the heap's rest"),
    (
        "double free or corruption (!prev)",
        FaultClass::DoubleFree,
        "the chunk behind it takes it for free: it was freed before, or the size field behind it was written over",
    ),
    (
        "double free or corruption (out)",
        FaultClass::HeapCorruption,
        "by its size the chunk ends outside the heap: its size field was written over, or the pointer is not the allocator's",
    ),
    ("free(): invalid pointer", FaultClass::InvalidFree, "the allocator gives out no such address"),
    (
        "munmap_chunk(): invalid pointer",
        FaultClass::InvalidFree,
        "what is before it says that it has a mapping of its own, and it has none: the allocator did not give it out, or its \
         size field was written over",
    ),
    (
        "mremap_chunk(): invalid pointer",
        FaultClass::InvalidFree,
        "what is before it says that it has a mapping of its own, and it has none",
    ),
    ("realloc(): invalid pointer", FaultClass::InvalidFree, "the allocator gives out no such address"),
    (
        "free(): invalid size",
        FaultClass::HeapCorruption,
        "no chunk has the size that is noted before it: its size field was written over, or the pointer is not the allocator's",
    ),
    (
        "realloc(): invalid old size",
        FaultClass::HeapCorruption,
        "no chunk has the size that is noted before it: its size field was written over, or the pointer is not the allocator's",
    ),
    (
        "free(): invalid next size",
        FaultClass::HeapCorruption,
        "the size field behind the chunk was written over: from its end, most likely",
    ),
    (
        "realloc(): invalid next size",
        FaultClass::HeapCorruption,
        "the size field behind the chunk was written over: from its end, most likely",
    ),
    (
        "free(): corrupted unsorted chunks",
        FaultClass::HeapCorruption,
        "a freed chunk was written to, or over the end of the one before it",
    ),
    (
        "free(): too many chunks detected in tcache",
        FaultClass::HeapCorruption,
        "a list of freed chunks is longer than can be: one of them was written to",
    ),
    (
        "free(): unaligned chunk detected in tcache",
        FaultClass::HeapCorruption,
        "a freed chunk was written to after it was freed",
    ),
    (
        "malloc(): unaligned tcache chunk detected",
        FaultClass::HeapCorruption,
        "a freed chunk was written to after it was freed",
    ),
    (
        "malloc(): unaligned fastbin chunk detected",
        FaultClass::HeapCorruption,
        "a freed chunk was written to after it was freed",
    ),
    (
        "malloc_consolidate(): unaligned fastbin chunk detected",
        FaultClass::HeapCorruption,
        "a freed chunk was written to after it was freed",
    ),
    (
        "malloc_consolidate(): invalid chunk size",
        FaultClass::HeapCorruption,
        "the size field of a freed chunk was written over",
    ),
    (
        "malloc(): memory corruption (fast)",
        FaultClass::HeapCorruption,
        "the size field of a freed chunk was written over",
    ),
    (
        "malloc(): corrupted top size",
        FaultClass::HeapCorruption,
        "the last chunk was written over its end, into the size of the heap's rest",
    ),
    (
        "sysmalloc",
        FaultClass::HeapCorruption,
        "the last chunk was written over its end, into the size of the heap's rest",
    ),
    ("malloc(): ", FaultClass::HeapCorruption, "a freed chunk was written to, or over the end of the one before it"),
    (
        "corrupted size vs. prev_size",
        FaultClass::HeapCorruption,
        "a free chunk and the one behind it disagree about its size: one was written over its end",
    ),
    ("corrupted double-linked list", FaultClass::HeapCorruption, "a freed chunk was written to after it was freed"),
    ("corrupted ", FaultClass::HeapCorruption, "a freed chunk was written to, or over the end of the one before it"),
    ("realloc(): ", FaultClass::HeapCorruption, "a freed chunk was written to, or over the end of the one before it"),
    (
        "malloc_consolidate(): ",
        FaultClass::HeapCorruption,
        "a freed chunk was written to, or over the end of the one before it",
    ),
    ("invalid pointer", FaultClass::InvalidFree, "the allocator gives out no such address"),
];

/// What kind of failure a message of glibc's is (malloc/malloc.c, debug/fortify_fail.c, assert/assert.c), and what the
/// allocator means by it; empty for others.
pub(super) fn class_of(text: &str) -> (FaultClass, &'static str) {
    let has = |part: &str| text.contains(part);
    // The allocator asserts, too; what it finds is never its own fault.
    let is_allocators = has("malloc.c:") || has("arena.c:");
    // libstdc++ has other quotation marks than the C library.
    if (has("Assertion `") || has("Assertion '")) && has("' failed") && !is_allocators {
        return (FaultClass::AssertionFailure, "");
    }
    if let Some((_, class, meaning)) = ALLOCATOR.iter().find(|(part, ..)| has(part)) {
        return (*class, meaning);
    }
    let class = if is_allocators {
        FaultClass::HeapCorruption
    } else if has("stack smashing detected") {
        FaultClass::StackBufferOverflow
    } else if has("buffer overflow detected") || has("longjmp causes uninitialized") {
        FaultClass::BufferOverflow
    } else {
        FaultClass::Abort
    };
    (class, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_glibc() {
        let check = |text: &str, class| assert_eq!(class_of(text).0, class, "{text}");
        check("prog: a.c:3: main: Assertion `x > 0' failed.", FaultClass::AssertionFailure);
        check("free(): double free detected in tcache 2", FaultClass::DoubleFree);
        check("double free or corruption (!prev)", FaultClass::DoubleFree);
        check("free(): invalid pointer", FaultClass::InvalidFree);
        check("malloc(): corrupted top size", FaultClass::HeapCorruption);
        check("*** stack smashing detected ***: terminated", FaultClass::StackBufferOverflow);
        check("*** buffer overflow detected ***: terminated", FaultClass::BufferOverflow);
        check("double free or corruption (out)", FaultClass::HeapCorruption);
        check("double free or corruption (fasttop)", FaultClass::DoubleFree);
        check("munmap_chunk(): invalid pointer", FaultClass::InvalidFree);
        check("free(): invalid next size (normal)", FaultClass::HeapCorruption);
        check("malloc(): unaligned tcache chunk detected", FaultClass::HeapCorruption);
        check("corrupted size vs. prev_size while consolidating", FaultClass::HeapCorruption);
        check("prog: malloc.c:2617: sysmalloc: Assertion `(old_top == x)' failed.", FaultClass::HeapCorruption);
        check("prog: a.c:3: main: Assertion `!corrupted' failed.", FaultClass::AssertionFailure);
        check("something else", FaultClass::Abort);
        assert_eq!(assertion_place("prog: src/a.c:3: main: Assertion `x > 0' failed."), "src/a.c:3");
        let report = undefined_report(b"\x7f\0\0src/a.c:6:16", b"shift exponent 40 is too large\n\0").unwrap();
        assert_eq!((report.place.as_str(), report.text.as_str()), ("src/a.c:6:16", "shift exponent 40 is too large"));
        assert!(undefined_report(b"%s", b"text").is_none());
        assert_eq!(assertion_place("free(): invalid pointer"), "");
    }
}
