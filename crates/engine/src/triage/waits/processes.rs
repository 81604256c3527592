//! Other processes that keep threads waiting: who has locked a file, has the other end of a pipe, or is the child that is
//! waited for; and what they wait for in their turn, until that leads back or nothing more is known.
//!
//! They are not debugged: the machine tells what system call their first thread is in, what files they have open, and the
//! locks of files. A debuggee that is stopped is in the list of locks only with those that it holds, as its waiting was
//! interrupted; so what it wants is taken from its registers.

use outpost_base::{MemoryReader, ProcessId, Va};
use outpost_target::{FileLock, FileLockKind, HandleInfo, Os, OsProcess, ProcessQuery};

use super::system_call::{SystemCall, WantedLock};
use super::{ACCESS_MODE, ThreadWait, WaitedFile, Waiting};
use crate::Engine;

/// Processes that are followed from a thread.
const LINKS: usize = 16;
/// Processes whose open files are looked at for the other end of a pipe.
const LOOKED_AT: usize = 64;
/// open(2)'s access mode for reading alone, and for writing alone.
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;

/// What a process has to do with the wait that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessPart {
    /// It has the lock of the file.
    HasLock,
    /// It alone has the other end of the pipe.
    HasOtherEnd,
    /// It is the child that is waited for.
    IsChild,
}

/// A process that keeps another waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProcess {
    /// The system's id.
    pub process: ProcessId,
    /// Its name; empty if it has ended by now: an open file that it locked lives on in a process that inherited it.
    pub name: String,
    /// How it keeps the other waiting.
    pub part: ProcessPart,
    /// What its first thread does, in words; empty if the system does not tell.
    pub waiting: String,
    /// It has no other threads.
    pub is_single: bool,
}

/// What a process needs of another.
enum Need {
    /// That those unlock it.
    Unlock(Vec<ProcessId>),
    /// That somebody reads (or writes) at the other end of this pipe.
    OtherEnd { pipe: String, reads: bool },
    /// That a child ends.
    Child(Option<ProcessId>),
}

/// The machine as the search needs it.
struct Machine<'a> {
    os: &'a mut dyn Os,
    processes: Vec<OsProcess>,
    locks: Vec<FileLock>,
}

impl Engine {
    /// Finds the processes that keep threads of the current one waiting. `wanted` has the locks of files that threads want.
    pub(super) fn find_other_processes(&mut self, waits: &mut [ThreadWait], wanted: &[Option<WantedLock>]) {
        let waits_elsewhere = |(wait, wanted): (&ThreadWait, &Option<WantedLock>)| {
            wanted.is_some() || matches!(wait.waiting, Waiting::Child(_)) || pipe_of(&wait.waiting).is_some()
        };
        if !waits.iter().zip(wanted).any(waits_elsewhere) {
            return;
        }
        let Ok(process) = self.current_process() else { return };
        let Ok(id) = self.process(process).map(|process| process.id()) else { return };
        let Ok(target) = self.target_of(process) else { return };
        let mut target = target.borrow_mut();
        // A dump does not know.
        let Some(os) = target.as_os() else { return };
        let Ok(processes) = os.list_processes(&ProcessQuery::All, false) else { return };
        let locks = os.file_locks().unwrap_or_default();
        let mut machine = Machine { os, processes, locks };
        let is_single = waits.len() == 1;
        for (wait, wanted) in waits.iter_mut().zip(wanted) {
            let need = match (wanted, &wait.waiting) {
                (Some(wanted), Waiting::File { files, .. }) => files.first().and_then(|file| {
                    let holders = machine.holders(id, file, wanted);
                    (!holders.is_empty()).then_some(Need::Unlock(holders))
                }),
                (_, waiting) => need_of(waiting),
            };
            let Some(need) = need else { continue };
            let (others, leads_back) = machine.follow(id, need);
            wait.leads_back = leads_back && is_single && others.iter().all(|other| other.is_single);
            wait.others = others;
        }
    }
}

impl Machine<'_> {
    /// The processes from the need of one to where that leads back to it, and whether it does.
    fn follow(&mut self, start: ProcessId, need: Need) -> (Vec<OtherProcess>, bool) {
        let (mut others, mut need): (Vec<OtherProcess>, _) = (Vec::new(), Some(need));
        let mut from = start;
        while let Some((next, part)) = need.and_then(|need| self.helper(from, need)) {
            if next == start {
                return (others, true);
            }
            if others.len() == LINKS || others.iter().any(|other| other.process == next) {
                break;
            }
            let known = self.processes.iter().find(|other| other.id == next);
            let (name, is_single) =
                known.map_or((String::new(), false), |known| (known.name.clone(), known.threads == 1));
            let (waiting, further) = self.looked_at(next);
            others.push(OtherProcess { process: next, name, part, waiting, is_single });
            (from, need) = (next, further);
        }
        (others, false)
    }

    /// Who could give what `from` needs.
    fn helper(&mut self, from: ProcessId, need: Need) -> Option<(ProcessId, ProcessPart)> {
        match need {
            Need::Unlock(holders) => Some((*holders.first()?, ProcessPart::HasLock)),
            Need::Child(Some(child)) => Some((child, ProcessPart::IsChild)),
            Need::Child(None) => {
                let mut children = self.processes.iter().filter(|other| other.parent == from && other.state != 'Z');
                let only = children.next().filter(|_| children.next().is_none())?;
                Some((only.id, ProcessPart::IsChild))
            }
            Need::OtherEnd { pipe, reads } => {
                let unfit = if reads { WRITE_ONLY } else { READ_ONLY };
                let has = |handles: Vec<HandleInfo>| {
                    handles.iter().any(|handle| handle.target == pipe && handle.flags & ACCESS_MODE != unfit)
                };
                let mut found = Vec::new();
                for other in self.candidates(from, &pipe) {
                    if self.os.handles(other).is_ok_and(has) {
                        found.push(other);
                    }
                }
                // Of several, any could.
                let [only] = found[..] else { return None };
                (only != from).then_some((only, ProcessPart::HasOtherEnd))
            }
        }
    }

    /// Who may have an end of a pipe: of one without a name those who can have inherited it, and the process itself.
    fn candidates(&self, from: ProcessId, pipe: &str) -> Vec<ProcessId> {
        let parent = self.processes.iter().find(|other| other.id == from).map(|known| known.parent);
        // Who has lost its parent has none.
        let parent = parent.filter(|parent| parent.0 > 1);
        let is_relative = |other: &&OsProcess| {
            other.id == from || other.parent == from || Some(other.id) == parent || Some(other.parent) == parent
        };
        let has_name = !pipe.starts_with("pipe:");
        let all = self.processes.iter().filter(|other| has_name || is_relative(other));
        all.filter(|other| other.state != 'Z').map(|other| other.id).take(LOOKED_AT).collect()
    }

    /// What a process that is not debugged does, in words, and what it needs of others.
    fn looked_at(&mut self, process: ProcessId) -> (String, Option<Need>) {
        let behind =
            self.locks.iter().find(|lock| lock.is_waited_for && lock.process == Some(process)).map(|lock| lock.number);
        let unlock = behind.map(|number| {
            let held = self.locks.iter().filter(|lock| lock.number == number && !lock.is_waited_for);
            Need::Unlock(held.filter_map(|lock| lock.process).collect())
        });
        let mut waiting = match self.os.blocked_call(process) {
            Ok(Some((number, arguments))) => SystemCall::new(number, arguments).waiting(&mut NoMemory),
            Ok(None) => Waiting::No,
            Err(_) if unlock.is_some() => return ("waits for a lock of a file".to_owned(), unlock),
            Err(_) => return (String::new(), None),
        };
        if let Waiting::File { files, .. } = &mut waiting
            && let Ok(handles) = self.os.handles(process)
        {
            for file in files {
                file.handle = handles.iter().find(|handle| handle.number == file.number).cloned();
            }
        }
        (waiting.to_string(), unlock.or_else(|| need_of(&waiting)))
    }

    /// Who holds locks that keep a thread from the one that it wants; those of nobody in particular are left out.
    fn holders(&mut self, process: ProcessId, file: &WaitedFile, wanted: &WantedLock) -> Vec<ProcessId> {
        let Ok(Some(identity)) = self.os.file_identity(process, file.number) else { return Vec::new() };
        let (start, end) = wanted.range(file.handle.as_ref().map_or(0, |handle| handle.position));
        let hindering = self.locks.iter().filter(|lock| {
            // A process's own locks of ranges do not keep it from others.
            let is_own = lock.process == Some(process) && wanted.kind == FileLockKind::Record;
            lock.file == identity && !is_own && lock.hinders(wanted.kind, wanted.is_exclusive, start, end)
        });
        let mut holders: Vec<ProcessId> = hindering.filter_map(|lock| lock.process).collect();
        holders.dedup();
        holders
    }
}

/// The pipe that is waited at, and whether for somebody to read.
fn pipe_of(waiting: &Waiting) -> Option<(&HandleInfo, bool)> {
    let Waiting::File { call, files } = waiting else { return None };
    let reads = match call.as_str() {
        "read" | "readv" | "preadv2" => false,
        "write" | "writev" | "pwritev2" => true,
        _ => return None,
    };
    let handle = files.first()?.handle.as_ref()?;
    (handle.kind == "Pipe").then_some((handle, reads))
}

fn need_of(waiting: &Waiting) -> Option<Need> {
    if let Waiting::Child(child) = waiting {
        return Some(Need::Child(child.map(ProcessId)));
    }
    let (handle, reads) = pipe_of(waiting)?;
    Some(Need::OtherEnd { pipe: handle.target.clone(), reads })
}

impl OtherProcess {
    /// `process 10db "python3" has locked it and waits in read for file descriptor 0n4 (pipe:[123])`.
    pub(super) fn words(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" \"{}\"", self.name) };
        let part = match self.part {
            ProcessPart::HasLock if self.name.is_empty() => {
                "had locked it and has ended: whoever inherited the open file has it"
            }
            ProcessPart::HasLock => "has locked it",
            ProcessPart::HasOtherEnd => "has the other end",
            ProcessPart::IsChild => "is that child",
        };
        let waiting = if self.waiting.is_empty() { String::new() } else { format!(" and {}", self.waiting) };
        format!("process {:x}{name} {part}{waiting}", self.process.0)
    }
}

/// Memory of a process that is not debugged.
struct NoMemory;

impl MemoryReader for NoMemory {
    fn read(&mut self, _: Va, _: &mut [u8]) -> usize {
        0
    }
}
