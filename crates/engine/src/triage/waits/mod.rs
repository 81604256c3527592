//! Who waits for what, and who holds it: from the system call that each thread is in, its arguments, and memory.
//!
//! A blocked thread's registers say which call it waits in (`orig_rax`), and a futex's address leads to the lock. Which
//! kind of lock that is, frames' names tell; the C library exports those it takes, so that its debug info is not needed.

mod futex;
mod hang;
mod holder;
mod processes;
mod system_call;

use std::collections::HashMap;
use std::rc::Rc;

use outpost_base::{ThreadId, Va, VaRange};
use outpost_target::HandleInfo;

use crate::stack::PhysicalStack;
use crate::{Engine, EngineError, StackFrame, ThreadOrdinal, ThreadStack};

pub use hang::{Hang, HangClass};
pub use processes::{OtherProcess, ProcessPart};
use system_call::SystemCall;

/// Read, write or both, of open(2)'s flags.
const ACCESS_MODE: u32 = 3;
/// Frames of a waiting thread that are looked at.
const FRAMES: usize = 64;

/// What a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockKind {
    /// `pthread_mutex_t`, and so `std::mutex`.
    Mutex,
    /// `pthread_rwlock_t` (`std::shared_mutex`), waited for by a reader.
    ReadLock,
    /// The same by a writer.
    WriteLock,
    /// `pthread_spinlock_t`.
    SpinLock,
    /// `std::sync::Mutex` of Rust.
    RustMutex,
    /// `std::sync::RwLock` of Rust, waited for by a reader.
    RustReadLock,
    /// The same by a writer.
    RustWriteLock,
    /// A lock of the crate `parking_lot`.
    ParkingLot,
    /// A lock that the C library takes for itself: of its allocator, of a stream.
    Library,
    /// What is initialised once, by the first that comes: `pthread_once_t`, `std::once_flag`, Rust's `Once` and `OnceLock`.
    Once,
}

/// A lock that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Where it is.
    pub at: Va,
    /// What it is.
    pub kind: LockKind,
    /// How the program calls it; empty if unknown.
    pub name: String,
    /// What else it says of itself: `recursive`, `3 readers hold it`; empty if nothing.
    pub state: String,
    /// Who holds it, by the lock's own record or by a guard in the holder's frames.
    pub owner: Option<ThreadId>,
}

/// A file that a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitedFile {
    /// The descriptor.
    pub number: u32,
    /// What it leads to, where the machine tells.
    pub handle: Option<HandleInfo>,
    /// Descriptor of the process's own that is the other end of the same pipe.
    pub other_end: Option<u32>,
}

impl WaitedFile {
    fn of(number: u32) -> WaitedFile {
        WaitedFile { number, handle: None, other_end: None }
    }
}

/// What a thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// It runs, or would if it were let.
    No,
    /// For a lock.
    Lock(Lock),
    /// For a condition variable to be signalled.
    Condition {
        /// Where it is.
        at: Va,
        /// How the program calls it; empty if unknown.
        name: String,
    },
    /// For a semaphore to be posted.
    Semaphore {
        /// Where it is.
        at: Va,
        /// How the program calls it; empty if unknown.
        name: String,
    },
    /// For another thread's end.
    Join(ThreadId),
    /// For a wake-up of another kind: `thread::park`, a barrier, a future.
    Wakeup {
        /// The word that is waited on.
        at: Va,
        /// What it is for.
        what: String,
    },
    /// In a system call on a file.
    File {
        /// The call.
        call: String,
        /// The descriptors, and what they lead to where that is known.
        files: Vec<WaitedFile>,
    },
    /// For a time to pass.
    Sleep,
    /// For a child process; its id if it waits for that one alone.
    Child(Option<u32>),
    /// For a signal.
    Signal,
    /// In another system call, by its name.
    Call(String),
}

/// A thread with what it waits for.
#[derive(Debug, Clone)]
pub struct ThreadWait {
    /// The thread.
    pub thread: ThreadOrdinal,
    /// The system's id for it.
    pub id: ThreadId,
    /// Its name, empty if unknown.
    pub name: String,
    /// What it does.
    pub waiting: Waiting,
    /// Its stack.
    pub stack: ThreadStack,
    /// Row of the stack that is the program's own, the innermost.
    pub own: Option<usize>,
    /// Whether the wait ends by itself after a time.
    pub is_timed: bool,
    /// Other processes that keep it waiting, each the one before it.
    pub others: Vec<OtherProcess>,
    /// The last of them waits for this process, or this one for itself, and no thread of any of them does anything else.
    pub leads_back: bool,
}

impl ThreadWait {
    /// The innermost frame of the program's own.
    pub fn own_frame(&self) -> Option<&StackFrame> {
        self.stack.frames.get(self.own?)
    }
}

/// What is known of a thread while its wait is made out.
struct Blocked {
    thread: ThreadOrdinal,
    call: Option<SystemCall>,
    physical: PhysicalStack,
    rows: Vec<StackFrame>,
    /// Threads by the C library's ids, where those are others.
    ids: Rc<HashMap<u32, ThreadId>>,
}

impl Blocked {
    /// The thread that locks of the C library call `id`.
    fn thread_of(&self, id: u32) -> ThreadId {
        self.ids.get(&id).copied().unwrap_or(ThreadId(id))
    }
}

impl Engine {
    /// What each thread of the current process waits for. Registers and stacks come for all threads at once, then the
    /// locks; what a file is, the machine is asked once, if a thread waits for one.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`]; [`EngineError::Target`]; [`EngineError::Cancelled`].
    pub fn waits(&mut self) -> Result<Vec<ThreadWait>, EngineError> {
        self.need_stopped()?;
        let process = self.current_process()?;
        let before = (self.current_thread()?, self.scope.frame());
        let threads = self.threads(process)?;
        let ordinals: Vec<ThreadOrdinal> = threads.iter().map(|thread| thread.ordinal).collect();
        let registers = self.registers_many(&ordinals, Default::default())?;
        let stacks = self.physical_stacks(&ordinals, FRAMES)?;
        let code_before = |at: Va| {
            let start = Va(at.0.saturating_sub(system_call::CODE as u64));
            self.code_bytes(process, start, system_call::CODE).unwrap_or_default()
        };
        let calls: Vec<Option<SystemCall>> =
            registers.iter().map(|registers| system_call::blocked_in(registers.as_ref().ok()?, code_before)).collect();
        let mut memory = self.memory()?;
        let wanted: Vec<_> = calls.iter().map(|call| call.as_ref()?.wanted_lock(&mut memory)).collect();
        let words: Vec<VaRange> = calls
            .iter()
            .flatten()
            .filter_map(SystemCall::futex)
            .map(|at| VaRange { start: Va(at.0.saturating_sub(64)), end: at + 64 })
            .collect();
        self.memory()?.prefetch(&words)?;
        let ids = if words.is_empty() { Rc::default() } else { Rc::new(self.library_ids()) };
        let mut waits = Vec::new();
        for ((summary, call), stack) in threads.iter().zip(calls).zip(stacks) {
            self.check_interrupt()?;
            let (stack, waiting, is_timed) = match stack {
                Ok(physical) => {
                    let stack = self.describe_stack(summary.ordinal, &physical, FRAMES)?;
                    let is_timed = call.as_ref().is_some_and(SystemCall::is_timed);
                    let rows = stack.frames.clone();
                    let blocked = Blocked { thread: summary.ordinal, call, physical, rows, ids: ids.clone() };
                    (stack, self.waiting(&blocked)?, is_timed)
                }
                Err(error) => {
                    let problem = error.to_string();
                    (ThreadStack { thread: summary.ordinal, frames: Vec::new(), problem }, Waiting::No, false)
                }
            };
            let own = stack.frames.iter().position(|row| !self.is_runtime(row));
            waits.push(ThreadWait {
                thread: summary.ordinal,
                id: summary.id,
                name: summary.name.clone(),
                waiting,
                stack,
                own,
                is_timed,
                others: Vec::new(),
                leads_back: false,
            });
        }
        self.name_files(&mut waits);
        self.find_other_processes(&mut waits, &wanted);
        self.find_holders(&mut waits)?;
        self.select_thread(before.0)?;
        self.select_frame(before.1)?;
        Ok(waits)
    }

    fn waiting(&mut self, blocked: &Blocked) -> Result<Waiting, EngineError> {
        let Some(call) = &blocked.call else { return Ok(self.spinning(blocked)) };
        if let Some(at) = call.futex() {
            return self.futex_wait(blocked, at);
        }
        let mut memory = self.memory()?;
        Ok(call.waiting(&mut memory))
    }

    /// Asks the machine what the descriptors are that threads wait for.
    fn name_files(&mut self, waits: &mut [ThreadWait]) {
        if !waits.iter().any(|wait| matches!(wait.waiting, Waiting::File { .. })) {
            return;
        }
        let Ok(process) = self.current_process() else { return };
        let Ok(id) = self.process(process).map(|process| process.id()) else { return };
        let Ok(target) = self.target_of(process) else { return };
        // A dump does not know.
        let Some(Ok(handles)) = target.borrow_mut().as_os().map(|os| os.handles(id)) else { return };
        for wait in waits {
            let Waiting::File { files, .. } = &mut wait.waiting else { continue };
            for file in files {
                let handle = handles.iter().find(|handle| handle.number == file.number);
                let other = handle.filter(|handle| handle.target.starts_with("pipe:")).and_then(|handle| {
                    handles.iter().find(|other| {
                        other.target == handle.target && other.flags & ACCESS_MODE != handle.flags & ACCESS_MODE
                    })
                });
                file.other_end = other.map(|other| other.number);
                file.handle = handle.cloned();
            }
        }
    }
}

impl std::fmt::Display for LockKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LockKind::Mutex => "pthread mutex",
            LockKind::ReadLock => "pthread rwlock, to read",
            LockKind::WriteLock => "pthread rwlock, to write",
            LockKind::SpinLock => "pthread spinlock",
            LockKind::RustMutex => "std::sync::Mutex",
            LockKind::RustReadLock => "std::sync::RwLock, to read",
            LockKind::RustWriteLock => "std::sync::RwLock, to write",
            LockKind::ParkingLot => "parking_lot lock",
            LockKind::Library => "lock of the C library",
            LockKind::Once => "one-time initialisation",
        })
    }
}

/// What a file is, in words: `a pipe (pipe:[123])`; the number where the machine cannot be asked.
fn file_words(file: &WaitedFile) -> String {
    let number = file.number;
    let other = file.other_end.map(|other| format!(", whose other end is this process's own 0n{other}"));
    match &file.handle {
        Some(handle) => format!("file descriptor 0n{number} ({}{})", handle.target, other.unwrap_or_default()),
        None => format!("file descriptor 0n{number}"),
    }
}

/// `the pthread mutex accounts.lock at 00005555`55558040`.
fn named(what: &str, name: &str, at: Va) -> String {
    if name.is_empty() { format!("the {what} at {at}") } else { format!("the {what} {name} at {at}") }
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Waiting::No => write!(f, "runs"),
            Waiting::Lock(lock) => write!(f, "waits for {}", named(&lock.kind.to_string(), &lock.name, lock.at)),
            Waiting::Condition { at, name } => write!(f, "waits for {}", named("condition variable", name, *at)),
            Waiting::Semaphore { at, name } => write!(f, "waits for {}", named("semaphore", name, *at)),
            Waiting::Join(id) => write!(f, "waits for the end of thread {:x}", id.0),
            Waiting::Wakeup { at, what } if what.is_empty() => write!(f, "waits on the futex at {at}"),
            Waiting::Wakeup { at, what } => write!(f, "waits for {what} (futex at {at})"),
            Waiting::File { call, files } if files.is_empty() => write!(f, "waits in {call}"),
            Waiting::File { call, files } => {
                let files: Vec<String> = files.iter().map(file_words).collect();
                write!(f, "waits in {call} for {}", files.join(", "))
            }
            Waiting::Sleep => write!(f, "sleeps"),
            Waiting::Child(Some(id)) => write!(f, "waits for child process {id:x}"),
            Waiting::Child(None) => write!(f, "waits for a child process"),
            Waiting::Signal => write!(f, "waits for a signal"),
            Waiting::Call(name) => write!(f, "waits in {name}"),
        }
    }
}
