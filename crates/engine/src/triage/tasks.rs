//! Tasks of tokio and what they await, from memory alone.
//!
//! A task is an allocation that begins with its header (tokio src/runtime/task/core.rs, `Cell` and `Header`), whose table of
//! functions begins with `poll` of the future's type: so tasks are found among the chunks of the heap, of all runtimes alike.
//! The future is an enum, by whose variants debug info says where the function awaits, and what.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{Type, Value};
use outpost_target::ReadRequest;

use super::ChunkState;
use crate::{Engine, EngineError, ProcessMemory};

/// Tasks begin at multiples of this: one or two lines of the cache (tokio src/runtime/task/core.rs, `repr(align)`).
const ALIGNMENT: u64 = 64;
/// Chunks that are looked at, and awaited futures that are followed.
const CHUNKS: usize = 1 << 20;
const DEPTH: usize = 64;
/// Futures that are shown of one task, and parts of one that is no async function's that are looked at for others.
const FRAMES: usize = 256;
const PARTS: usize = 512;
const PART_DEPTH: usize = 8;
/// Wrappers with one field that are looked through.
const WRAPPERS: usize = 16;
/// What the table of functions begins with.
const POLL: &str = "tokio::runtime::task::raw::poll<";
const HEADER: &str = "tokio::runtime::task::core::Header";
/// What `join!` keeps a future in (also that of the futures crate).
const MAYBE_DONE: &str = "::maybe_done::MaybeDone<";
const JOIN_HANDLE: &str = "tokio::runtime::task::join::JoinHandle<";
/// Bits of a task's state (tokio src/runtime/task/state.rs).
const RUNNING: u64 = 1;
const COMPLETE: u64 = 2;
const NOTIFIED: u64 = 4;
const CANCELLED: u64 = 32;
/// Where the count of references to it begins; the last one frees it.
const REFERENCES: u32 = 6;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// A thread polls it.
    Running,
    /// It waits to be polled.
    Scheduled,
    /// It waits to be woken.
    Idle,
    /// It has ended; somebody may still want its result.
    Complete,
    /// It is to be dropped.
    Cancelled,
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TaskState::Running => "running",
            TaskState::Scheduled => "scheduled",
            TaskState::Idle => "idle",
            TaskState::Complete => "complete",
            TaskState::Cancelled => "cancelled",
        })
    }
}

/// One future of a task. It awaits those that follow and are one deeper: several where it combines them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitFrame {
    /// How many futures of the task await it, one through the other.
    pub depth: usize,
    /// The async function or block; of others the future's type.
    pub function: String,
    /// Where it awaits, or where it begins while it has not been polled: file and line.
    pub place: Option<(String, u64)>,
    /// `not started`, `returned`, `panicked`; empty while it awaits.
    pub state: &'static str,
    /// The header of the task whose end it waits for (`JoinHandle`).
    pub joins: Option<Va>,
}

impl AwaitFrame {
    fn named(function: String) -> AwaitFrame {
        AwaitFrame { depth: 0, function, place: None, state: "", joins: None }
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Where its header is.
    pub at: Va,
    /// Its id, as `tokio::task::Id` shows it.
    pub id: Option<u64>,
    /// What it does.
    pub state: TaskState,
    /// Its future, then what that awaits.
    pub frames: Vec<AwaitFrame>,
}

impl Engine {
    /// All tasks of tokio in the current process, by id.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if no program here has tokio's debug info, and as [`Engine::heap`].
    pub fn tasks(&mut self) -> Result<Vec<Task>, EngineError> {
        let unsupported =
            |reason: &str| EngineError::Unsupported { operation: "listing tasks", reason: reason.to_owned() };
        let header = self.find_types(HEADER).ok().and_then(|found| found.into_iter().next());
        let header = header.ok_or_else(|| unsupported("no module has debug info of tokio"))?;
        let vtable = header.field("vtable").ok_or_else(|| unsupported("this tokio's task header is not known"))?;
        let heap = self.heap()?;
        let chunks = heap.arenas.iter().flat_map(|arena| &arena.chunks).chain(&heap.mapped);
        let chunks = chunks.filter(|chunk| matches!(chunk.state, ChunkState::Busy | ChunkState::Mapped));
        let candidates = chunks.map(|chunk| chunk.user().start).filter(|at| at.0.is_multiple_of(ALIGNMENT));
        let candidates: Vec<Va> = candidates.take(CHUNKS).collect();
        let memory = self.memory()?;
        let tables = words(&memory, candidates.iter().map(|at| *at + vtable.offset))?;
        let candidates: Vec<(Va, Va)> =
            candidates.into_iter().zip(tables).filter_map(|(at, table)| Some((at, Va(table?)))).collect();
        let process = self.process(self.current_process()?)?;
        let candidates: Vec<(Va, Va)> =
            candidates.into_iter().filter(|(_, table)| process.module_at(*table).is_some()).collect();
        let functions = words(&memory, candidates.iter().map(|(_, table)| *table))?;
        let mut tasks = Vec::new();
        for ((at, _), function) in candidates.into_iter().zip(functions) {
            self.check_interrupt()?;
            let symbol = function.and_then(|at| self.symbol_at(Va(at))).filter(|symbol| symbol.displacement == 0);
            let Some(arguments) = symbol.as_ref().and_then(|symbol| symbol.name.strip_prefix(POLL)) else { continue };
            tasks.extend(self.task(at, arguments, &memory));
        }
        tasks.sort_by_key(|task| (task.id, task.at));
        Ok(tasks)
    }

    /// The task at `at`, whose types are `arguments` (`F, S>`); `None` if it is what another allocation has left there.
    fn task(&mut self, at: Va, arguments: &str, memory: &ProcessMemory) -> Option<Task> {
        let mut reader = memory.clone();
        let future = arguments.rsplit_once(", ").map_or(arguments, |(future, _)| future);
        let mut task = Task { at, id: None, state: TaskState::Idle, frames: Vec::new() };
        let cell = self.find_types(&format!("tokio::runtime::task::core::Cell<{arguments}")).ok();
        let Some(cell) = cell.and_then(|found| found.into_iter().next()) else {
            // Which types the task has is not told; its future is.
            task.frames.push(AwaitFrame::named(function_of(future)));
            return Some(task);
        };
        let cell = Value::in_memory(cell, at);
        let mut number = |path: &[&str]| {
            let mut value = cell.clone();
            for name in path {
                value = value.member(name, &mut reader).ok()?;
            }
            inner(&value).scalar(&mut reader).ok().map(|scalar| scalar.as_i128() as u64)
        };
        task.id = number(&["core", "task_id"]);
        let state = number(&["header", "state"]);
        if state.is_some_and(|state| state >> REFERENCES == 0) {
            return None;
        }
        task.state = match state.unwrap_or(0) {
            state if state & COMPLETE != 0 => TaskState::Complete,
            state if state & CANCELLED != 0 => TaskState::Cancelled,
            state if state & RUNNING != 0 => TaskState::Running,
            state if state & NOTIFIED != 0 => TaskState::Scheduled,
            _ => TaskState::Idle,
        };
        let stage = cell.member("core", &mut reader).and_then(|core| core.member("stage", &mut reader));
        let stage = stage.ok().and_then(|stage| inner(&stage).variant(&mut reader).ok());
        let future_value = match stage {
            Some((name, payload)) if name == "Running" => payload.member("__0", &mut reader).ok(),
            _ => None,
        };
        match future_value {
            Some(value) => self.await_frames(value, 0, &mut reader, &mut task.frames),
            // Its result, or nothing, is there instead.
            None => {
                task.frames.push(AwaitFrame { state: "returned", ..AwaitFrame::named(function_of(future)) });
            }
        }
        Some(task)
    }

    /// Follows a future to what it awaits in the end.
    fn await_frames(&mut self, future: Value, depth: usize, reader: &mut ProcessMemory, frames: &mut Vec<AwaitFrame>) {
        let mut next = Some(future);
        let mut depths = depth..DEPTH;
        while let (Some(value), Some(depth)) = (next.take().filter(|_| frames.len() < FRAMES), depths.next()) {
            let value = self.pinned(value, reader);
            let name = value.value_type().qualified_name();
            let variant = is_async(&name).then(|| value.variant(reader).ok()).flatten();
            let Some((state, payload)) = variant else {
                let raw = name.starts_with(JOIN_HANDLE).then(|| value.member("raw", reader).ok()).flatten();
                let joins = raw.and_then(|raw| inner(&raw).scalar(reader).ok());
                let joins = joins.map(|at| Va(at.as_i128() as u64));
                frames.push(AwaitFrame { depth, joins, ..AwaitFrame::named(name) });
                let mut combined = Vec::new();
                if joins.is_none() {
                    self.combined(&value, false, PART_DEPTH, &mut { PARTS }, reader, &mut combined);
                }
                combined.into_iter().for_each(|future| self.await_frames(future, depth + 1, reader, frames));
                return;
            };
            let state_type = payload.value_type().resolved().data().name.clone().unwrap_or_default();
            let place = declared_at(value.value_type(), &state);
            let state = match state_type.as_str() {
                "Unresumed" => "not started",
                "Returned" => "returned",
                "Panicked" => "panicked",
                _ => "",
            };
            frames.push(AwaitFrame { depth, place, state, ..AwaitFrame::named(function_of(&name)) });
            if state.is_empty() {
                next = payload.member("__awaitee", reader).ok();
            }
        }
    }

    /// The futures that a future combines which is no async function's: those of async functions, boxed ones and tasks
    /// wherever they are in it, and whatever `join!` and `select!` keep (`is_future`: that is one of them).
    fn combined(
        &mut self,
        value: &Value,
        is_future: bool,
        depth: usize,
        budget: &mut usize,
        reader: &mut ProcessMemory,
        found: &mut Vec<Value>,
    ) {
        let (Some(depth), Some(left)) = (depth.checked_sub(1), budget.checked_sub(1)) else { return };
        *budget = left;
        let of = value.value_type().resolved();
        let name = of.qualified_name();
        let is_boxed = name.starts_with("core::pin::Pin<alloc::boxed::Box<");
        if is_future || is_boxed || is_async(&name) || name.starts_with(JOIN_HANDLE) {
            found.push(value.clone());
            return;
        }
        if of.record().is_some_and(|record| record.variants.is_some()) {
            let Ok((variant, payload)) = value.variant(reader) else { return };
            let is_kept = variant == "Future" && name.contains(MAYBE_DONE);
            for field in payload.value_type().fields() {
                self.combined(&payload.field(&field), is_kept, depth, budget, reader, found);
            }
            return;
        }
        // Closures have what they use by reference.
        let is_captured = name.contains("{closure_env#");
        for field in of.fields() {
            let mut part = value.field(&field);
            if is_captured && part.value_type().is_pointer() {
                let Ok(target) = part.deref(reader) else { continue };
                part = target;
            }
            // `select!` has a tuple of this name.
            if is_captured && field.name.ends_with("futures") && part.value_type().fields().len() > 1 {
                for field in part.value_type().fields() {
                    let future = part.field(&field);
                    let is_kept = !future.value_type().qualified_name().contains(MAYBE_DONE);
                    self.combined(&future, is_kept, depth, budget, reader, found);
                }
                continue;
            }
            self.combined(&part, false, depth, budget, reader, found);
        }
    }

    /// What `Pin<Box<F>>`, `Pin<&mut F>` and boxed futures of any type (`dyn Future`) lead to.
    fn pinned(&mut self, value: Value, reader: &mut ProcessMemory) -> Value {
        let mut value = value;
        for _ in 0..WRAPPERS {
            let name = value.value_type().qualified_name();
            let next = if name.starts_with("core::pin::Pin<") || name.starts_with("alloc::boxed::Box<") {
                only_field(&value).or_else(|| self.dynamic(&value, reader))
            } else if value.value_type().is_pointer() {
                value.deref(reader).ok()
            } else {
                self.dynamic(&value, reader)
            };
            let Some(next) = next else { break };
            value = next;
        }
        value
    }

    /// The object behind a pointer with a table of functions: of the type that debug info calls the table's, else of that
    /// which the table's first function drops.
    fn dynamic(&mut self, value: &Value, reader: &mut ProcessMemory) -> Option<Value> {
        const DROP: &str = "core::ptr::drop_in_place<";
        let mut address = |name: &str| {
            let part = value.value_type().field(name).map(|field| value.field(&field))?;
            part.scalar(reader).ok().map(|scalar| Va(scalar.as_i128() as u64))
        };
        let (object, table) = (address("pointer")?, address("vtable")?);
        let named = |engine: &mut Engine, at: Va| {
            engine.symbol_at(at).filter(|symbol| symbol.displacement == 0).map(|symbol| symbol.name)
        };
        let by_table =
            named(self, table).and_then(|name| Some(name.strip_prefix('<')?.rsplit_once(" as ")?.0.to_owned()));
        let of = match by_table {
            Some(of) => of,
            None => {
                let drop = Va(reader.read_u64(table)?);
                named(self, drop)?.strip_prefix(DROP)?.strip_suffix('>')?.to_owned()
            }
        };
        let of = self.find_types(&of).ok()?.into_iter().next()?;
        Some(Value::in_memory(of, object))
    }
}

/// Words at these places, by one round trip.
fn words(memory: &ProcessMemory, places: impl Iterator<Item = Va>) -> Result<Vec<Option<u64>>, EngineError> {
    let reads: Vec<ReadRequest> = places.map(|at| ReadRequest { at, len: 8 }).collect();
    let answers = memory.read_around(&reads)?;
    Ok(answers.iter().map(|bytes| bytes.first_chunk().map(|word| u64::from_le_bytes(*word))).collect())
}

/// Whether a type is what an async function or block is compiled to.
fn is_async(name: &str) -> bool {
    // Arguments of types have paths, too: only what is outside of them counts.
    let outside = name.find('<').map_or(name, |arguments| &name[..arguments]);
    outside.contains("::{async_fn_env#") || outside.contains("::{async_block_env#")
}

/// `svc::run` for `svc::run::{async_fn_env#0}`, `svc::run::{async block#1}` for `svc::run::{async_block_env#1}`.
fn function_of(name: &str) -> String {
    match name.split_once("::{async_fn_env#") {
        Some((function, _)) => function.to_owned(),
        None => name.replace("{async_block_env#", "{async block#"),
    }
}

/// The one field of a struct that has a size.
fn only_field(value: &Value) -> Option<Value> {
    let of = value.value_type().resolved();
    if of.record()?.variants.is_some() {
        return None;
    }
    let mut fields = of.fields().into_iter().filter(|field| field.field_type.size() != Some(0));
    let only = fields.next()?;
    fields.next().is_none().then(|| value.field(&only))
}

/// What is in wrappers with one field each: cells, atomics, newtypes.
fn inner(value: &Value) -> Value {
    let mut value = value.clone();
    for _ in 0..WRAPPERS {
        let Some(next) = only_field(&value) else { break };
        value = next;
    }
    value
}

/// Where a state of a future is declared.
fn declared_at(of: &Type, state: &str) -> Option<(String, u64)> {
    let of = of.resolved();
    let variants = &of.record()?.variants.as_ref()?.variants;
    let variant = variants.iter().find(|variant| variant.member.name.as_deref() == Some(state))?;
    let place = variant.declared_at.as_ref()?;
    Some((place.file.clone()?, place.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_are_called_by_their_functions() {
        assert!(is_async("svc::run::{async_fn_env#0}") && is_async("svc::run::{async_block_env#1}<u64>"));
        assert!(!is_async("tokio::time::timeout::Timeout<svc::run::{async_fn_env#0}>"));
        assert_eq!(function_of("svc::run::{async_fn_env#0}<u64>"), "svc::run");
        assert_eq!(function_of("svc::main::{async_block_env#1}"), "svc::main::{async block#1}");
    }
}
