//! What the C library and sanitizers say before they end a program.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_target::{RegionUsage, SearchRequest};

use super::{FaultClass, ProgramMessage};
use crate::Engine;

/// Longest message that is read.
const LONGEST: usize = 8 << 10;
/// Larger regions are shadows of sanitizers, not text.
const LARGEST_REGION: u64 = 256 << 20;

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

    /// The report of an address, undefined-behaviour or thread sanitizer, as far as memory holds its text.
    pub(super) fn sanitizer_report(&mut self) -> Option<ProgramMessage> {
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
        for region in regions.iter().filter(wanted) {
            self.check_interrupt().ok()?;
            let request = SearchRequest {
                range: VaRange { start: region.range.start, end: region.range.end },
                pattern: b"ERROR: ".to_vec(),
                alignment: 1,
                writable_only: true,
                limit: 64,
            };
            let hits = target.borrow_mut().search(space, &request).unwrap_or_default();
            for hit in hits {
                let text = memory.clone().read_cstring(hit + 7, LONGEST).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let Some((tool, rest)) = text.split_once(": ") else { continue };
                if !tool.ends_with("Sanitizer") || tool.contains(char::is_whitespace) {
                    continue;
                }
                let line = rest.lines().next().unwrap_or_default().trim();
                return Some(ProgramMessage { source: tool.to_owned(), text: line.to_owned(), place: String::new() });
            }
        }
        None
    }
}

/// `file.c:12` of `prog: file.c:12: function: Assertion `x' failed.`; empty for other texts.
fn assertion_place(text: &str) -> String {
    let Some((before, _)) = text.split_once(": Assertion `") else { return String::new() };
    // prog: file:line: function
    let mut words = before.split(": ").skip(1);
    words.next().filter(|place| place.contains(':')).unwrap_or_default().to_owned()
}

/// What kind of failure a message of glibc's is (glibc malloc/malloc.c, debug/fortify_fail.c, assert/assert.c).
pub(super) fn class_of(text: &str) -> FaultClass {
    const CORRUPT: &[&str] = &[
        "corrupted",
        "malloc():",
        "free(): invalid next",
        "free(): invalid size",
        "free(): corrupted",
        "realloc():",
        "malloc_consolidate():",
        "munmap_chunk():",
        "unsorted",
        "unlink",
        "largebin",
        "smallbin",
        "top size",
        "sysmalloc",
    ];
    let has = |part: &str| text.contains(part);
    if has("Assertion `") && has("' failed") {
        FaultClass::AssertionFailure
    } else if has("double free") {
        FaultClass::DoubleFree
    } else if has("invalid pointer") || has("invalid old size") || has("unaligned tcache chunk") {
        FaultClass::InvalidFree
    } else if has("stack smashing detected") {
        FaultClass::StackBufferOverflow
    } else if has("buffer overflow detected") || has("longjmp causes uninitialized") {
        FaultClass::BufferOverflow
    } else if CORRUPT.iter().any(|part| has(part)) {
        FaultClass::HeapCorruption
    } else {
        FaultClass::Abort
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_glibc() {
        let check = |text: &str, class| assert_eq!(class_of(text), class, "{text}");
        check("prog: a.c:3: main: Assertion `x > 0' failed.", FaultClass::AssertionFailure);
        check("free(): double free detected in tcache 2", FaultClass::DoubleFree);
        check("double free or corruption (!prev)", FaultClass::DoubleFree);
        check("free(): invalid pointer", FaultClass::InvalidFree);
        check("malloc(): corrupted top size", FaultClass::HeapCorruption);
        check("*** stack smashing detected ***: terminated", FaultClass::StackBufferOverflow);
        check("*** buffer overflow detected ***: terminated", FaultClass::BufferOverflow);
        check("something else", FaultClass::Abort);
        assert_eq!(assertion_place("prog: src/a.c:3: main: Assertion `x > 0' failed."), "src/a.c:3");
        assert_eq!(assertion_place("free(): invalid pointer"), "");
    }
}
