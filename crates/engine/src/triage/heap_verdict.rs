//! What the heap says of a failure: which chunk it is about, what is just before it, who holds it.

use outpost_base::Va;

use super::analysis::Verdict;
use super::heap::{Chunk, ChunkState, FreeList, HEADER, Heap, HeapProblem};
use super::origin::Tracer;
use super::x86_64::ARGUMENTS;
use super::{FaultClass, abort, address};
use crate::stack::PhysicalStack;
use crate::{Engine, EngineError, ProcessOrdinal, StackFrame};

/// Larger heaps are not read for a verdict.
const LARGEST_HEAP: u64 = 64 << 20;
/// Frames within the allocator, from its complaint to whom it was called by.
const INNER_FRAMES: usize = 16;
/// Problems that are told with a verdict.
const PROBLEMS: usize = 4;
/// How far behind a value an access through it may lie.
const REACH: u64 = 0x1000;

/// What the heap says of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapFinding {
    /// What the allocator was given, or where a bad pointer was read from.
    pub pointer: Option<Va>,
    /// The chunk that it is in.
    pub chunk: Option<Chunk>,
    /// The chunk just before that.
    pub before: Option<Chunk>,
    /// What is known of it, in a sentence; empty if nothing.
    pub text: String,
    /// Damage, the nearest first.
    pub problems: Vec<HeapProblem>,
}

/// A pointer that the allocator was given.
struct Given {
    pointer: Va,
    /// As the source would write it; empty if unknown.
    name: String,
}

impl Engine {
    /// Asks the heap about a failure that it may have to do with; corrects the verdict where it knows better.
    pub(super) fn ask_heap(
        &mut self,
        process: ProcessOrdinal,
        stack: &PhysicalStack,
        rows: &[StackFrame],
        verdict: &mut Verdict,
        notes: &mut Vec<String>,
    ) -> Result<Option<HeapFinding>, EngineError> {
        let is_complaint =
            matches!(verdict.class, FaultClass::DoubleFree | FaultClass::InvalidFree | FaultClass::HeapCorruption);
        let is_pointer = verdict.bad.as_ref().is_some_and(|bad| bad.value.is_some_and(|value| value >= REACH));
        let from_heap = verdict.bad.as_ref().and_then(|bad| bad.memory).is_some_and(|at| self.may_be_heap(at));
        if !is_complaint && !is_pointer && !from_heap {
            return Ok(None);
        }
        let heap = match self.heap_up_to(LARGEST_HEAP) {
            Ok(heap) => heap,
            Err(error @ EngineError::Cancelled) => return Err(error),
            Err(error) => {
                if is_complaint {
                    notes.push(format!("the heap does not tell more: {error}"));
                }
                return Ok(None);
            }
        };
        Ok(match is_complaint {
            true => Some(self.complaint(process, stack, rows, &heap, verdict)),
            false => use_after_free(&heap, verdict),
        })
    }

    /// The allocator complained, or failed itself.
    fn complaint(
        &mut self,
        process: ProcessOrdinal,
        stack: &PhysicalStack,
        rows: &[StackFrame],
        heap: &Heap,
        verdict: &mut Verdict,
    ) -> HeapFinding {
        let given = self.given_to_free(process, stack, rows).or_else(|| self.given_by_registers(stack, rows, heap));
        let mut problems = heap.problems.clone();
        let mut finding =
            HeapFinding { pointer: None, chunk: None, before: None, text: String::new(), problems: Vec::new() };
        if let Some(given) = given {
            let at = given.pointer;
            problems.sort_by_key(|problem| problem.at.0.abs_diff(at.0));
            let name = if given.name.is_empty() { "the pointer".to_owned() } else { given.name };
            let name = format!("{name} ({at})");
            finding.pointer = Some(at);
            finding.chunk = heap.chunk_at(at);
            finding.before = finding.chunk.and_then(|chunk| heap.before(chunk.at));
            let said = if verdict.said.is_empty() { &verdict.cause } else { &verdict.said }.clone();
            let judged = finding.chunk.map(|chunk| judge_given(at, &name, &chunk, &problems));
            match judged {
                Some(Some((class, text))) => {
                    (verdict.class, verdict.cause) = (class, format!("{said}: {text}"));
                    finding.text = text;
                }
                Some(None) => {
                    finding.text = format!("{name} is a chunk in use");
                    // Then what looked like a second time is damage.
                    if verdict.class == FaultClass::DoubleFree && !problems.is_empty() {
                        verdict.class = FaultClass::HeapCorruption;
                    }
                }
                None if heap.gaps.iter().any(|gap| gap.contains(at)) => {
                    finding.text = format!("{name} is in a part of the heap whose chunks are damaged");
                    verdict.class = FaultClass::HeapCorruption;
                }
                None => {
                    let sp = stack.frames.first().map_or(Va(0), |frame| frame.registers.sp());
                    let mut place = self.address_note(at, sp).map(|note| note.to_string()).unwrap_or_default();
                    let text = self.regions(process).ok().and_then(|regions| address::text_words(at.0, &regions));
                    place += &text.map(|text| format!("; {text}")).unwrap_or_default();
                    finding.text = format!("{name} is no memory of the heap: {place}");
                    verdict.class = FaultClass::InvalidFree;
                    // Where the allocator said nothing, it took what is there for its own and failed.
                    let said = match verdict.said.as_str() {
                        "" => "free was given a pointer that the allocator never gave out",
                        said => said,
                    };
                    verdict.cause = format!("{said}: {}", finding.text);
                }
            }
        }
        problems.truncate(PROBLEMS);
        if verdict.class == FaultClass::HeapCorruption
            && let Some(problem) = problems.first()
        {
            verdict.cause += &format!("; {}: {}", problem.at, problem.text);
        }
        finding.problems = problems;
        finding
    }

    /// The pointer that `free` or one of its relatives was given: by the C library's debug info, else by the frame that
    /// called it.
    fn given_to_free(&mut self, process: ProcessOrdinal, stack: &PhysicalStack, rows: &[StackFrame]) -> Option<Given> {
        let mut inner = rows.iter().take(INNER_FRAMES).filter(|row| row.is_physical());
        // `operator delete` calls `free`: the outermost of them is what the program called.
        let row = inner.rfind(|row| abort::is_freeing(&row.function))?;
        let frees = row.physical as usize;
        let argument = self.arch().register_by_name(ARGUMENTS[0])?;
        let mut tracer = Tracer::new(self, process, stack.clone());
        let call = tracer.call_in(frees + 1)?;
        let traced = tracer.value_before(frees + 1, call.at, argument);
        let described = tracer.register(frees + 1, call.at, argument).filter(|found| !found.derived);
        let name = described.map(|found| found.text).unwrap_or_default();
        let pointer = self.pointer_by_name(rows).or(traced)?;
        Some(Given { pointer: Va(pointer), name })
    }

    /// What `_int_free` still has of the chunk in registers that the functions called by it keep: the lowest address in the
    /// heap, if there is something wrong with it.
    fn given_by_registers(&self, stack: &PhysicalStack, rows: &[StackFrame], heap: &Heap) -> Option<Given> {
        const KEPT: [&str; 6] = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
        let is_free = |row: &&StackFrame| row.is_physical() && row.function == "_int_free";
        let row = rows.iter().take(INNER_FRAMES).find(is_free)?;
        let registers = &stack.frames.get(row.physical as usize)?.registers;
        let values = KEPT.iter().filter_map(|name| registers.get_u64(self.arch().register_by_name(name)?));
        let pointers = values.map(|value| Va(value.wrapping_add(HEADER)));
        let pointer = pointers.filter(|at| heap.contains(*at)).min()?;
        let judged = judge_given(pointer, "", &heap.chunk_at(pointer)?, &heap.problems);
        judged.map(|_| Given { pointer, name: String::new() })
    }

    /// What the C library's own functions call the pointer (glibc malloc/malloc.c: `__libc_free (void *mem)`,
    /// `__libc_realloc (void *oldmem, ...)`, `_int_free (mstate av, mchunkptr p, ...)`).
    fn pointer_by_name(&mut self, rows: &[StackFrame]) -> Option<u64> {
        const NAMES: &[(&str, &str, u64)] = &[
            ("__libc_free", "mem", 0),
            ("free", "mem", 0),
            ("__libc_realloc", "oldmem", 0),
            ("realloc", "oldmem", 0),
            ("_int_free", "p", HEADER),
            ("munmap_chunk", "p", HEADER),
        ];
        let before = self.scope.frame();
        let found = rows.iter().take(INNER_FRAMES).filter(|row| row.is_physical()).find_map(|row| {
            let plain = row.function.trim_start_matches("__GI_");
            let (_, variable, more) = NAMES.iter().find(|(function, ..)| *function == plain)?;
            self.select_frame(row.index).ok()?;
            let value = self.local(variable).ok()??;
            let pointer = value.scalar(&mut self.memory().ok()?).ok()?.as_i128();
            Some((pointer as u64).wrapping_add(*more))
        });
        drop(self.select_frame(before));
        found
    }
}

/// What is wrong with freeing `at`, which is in a chunk of the heap; `None` if nothing is.
fn judge_given(at: Va, name: &str, chunk: &Chunk, problems: &[HeapProblem]) -> Option<(FaultClass, String)> {
    let is_start = chunk.user().start == at;
    let list = match chunk.state {
        ChunkState::Free(FreeList::None) => return None,
        ChunkState::Free(list) => format!("its chunk of {:#x} bytes is in the {list}", chunk.size),
        ChunkState::Top => "its chunk has become part of the heap's rest".to_owned(),
        _ if is_start => return None,
        _ => {
            let offset = at.0.wrapping_sub(chunk.user().start.0);
            let text = format!(
                "{name} is {offset:#x} bytes into what begins at {}, and only that can be freed",
                chunk.user().start
            );
            return Some((FaultClass::InvalidFree, text));
        }
    };
    // What a list says of a damaged chunk is not proof.
    let is_damaged = problems.iter().any(|problem| problem.at == chunk.at && !problem.text.contains("twice"));
    if is_damaged && !is_start {
        return None;
    }
    let text = match is_start {
        true => format!("{name} is free already: {list}"),
        false => format!("{name} is free already, and merged with the chunk before it: {list}"),
    };
    Some((FaultClass::DoubleFree, text))
}

/// A bad pointer that came out of memory that was freed, or is what the allocator notes in such memory.
fn use_after_free(heap: &Heap, verdict: &mut Verdict) -> Option<HeapFinding> {
    let bad = verdict.bad.clone()?;
    let inside = |at: Va| heap.chunk_at(at).filter(|chunk| chunk.state.is_free() && chunk.user().contains(at));
    let read = bad.memory.and_then(|at| Some((at, inside(at)?)));
    let (at, chunk, text) = match read {
        Some((at, chunk)) => {
            let offset = at - chunk.user().start;
            let text = format!(
                "the pointer was read from {at}, {offset:#x} bytes into memory that was freed (a chunk of {:#x} bytes, {})",
                chunk.size, chunk.state
            );
            (at, chunk, text)
        }
        None => {
            let (chunk, at) = heap.noted(bad.value?, REACH)?;
            let text = format!(
                "the pointer is what the allocator notes at {at} in memory that was freed (a chunk of {:#x} bytes, {})",
                chunk.size, chunk.state
            );
            (at, chunk, text)
        }
    };
    verdict.class = FaultClass::UseAfterFree;
    verdict.cause = format!("use after free: {}; {text}", verdict.cause);
    Some(HeapFinding {
        pointer: Some(at),
        before: heap.before(chunk.at),
        chunk: Some(chunk),
        text,
        problems: Vec::new(),
    })
}
