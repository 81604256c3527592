//! Why a process makes no progress: the verdict over what its threads wait for.

use std::collections::HashMap;

use outpost_base::ProcessId;
use outpost_target::{StopReason, ThreadTimes};

use super::{Lock, LockKind, ThreadWait, Waiting};
use crate::triage::blame;
use crate::{Engine, EngineError, StackFrame, ThreadOrdinal};

/// What kind of standstill it is. Names are parts of bucket strings and stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HangClass {
    /// Threads wait for one another in a circle.
    Deadlock,
    /// A thread waits for what it holds itself.
    SelfDeadlock,
    /// The thread that holds the lock has ended.
    OrphanedLock,
    /// Every thread waits to be woken by another.
    NobodyWakes,
    /// Processes wait for one another in a circle.
    ProcessDeadlock,
    /// A lock is held by a thread that does something else.
    LockWait,
    /// A thread runs all the time.
    Spinning,
    /// The thread that would go on was stopped by the debugger: whether it makes progress cannot be told from that.
    Stopped,
    /// Input or output does not come about.
    BlockedOnFile,
    /// A child process does not end.
    BlockedOnChild,
    /// What is waited for is nothing that could be told: a timer, a signal.
    Waiting,
}

impl HangClass {
    /// Its name in bucket strings.
    pub fn name(self) -> &'static str {
        match self {
            HangClass::Deadlock => "DEADLOCK",
            HangClass::SelfDeadlock => "SELF_DEADLOCK",
            HangClass::OrphanedLock => "ORPHANED_LOCK",
            HangClass::NobodyWakes => "NOBODY_WAKES",
            HangClass::ProcessDeadlock => "PROCESS_DEADLOCK",
            HangClass::LockWait => "LOCK_WAIT",
            HangClass::Spinning => "SPINNING",
            HangClass::Stopped => "STOPPED",
            HangClass::BlockedOnFile => "BLOCKED_ON_FILE",
            HangClass::BlockedOnChild => "BLOCKED_ON_CHILD",
            HangClass::Waiting => "WAITING",
        }
    }
}

impl std::fmt::Display for HangClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What `!analyze -hang` finds.
#[derive(Debug, Clone)]
pub struct Hang {
    /// The system's id for the process.
    pub process_id: ProcessId,
    /// What kind of standstill it is.
    pub class: HangClass,
    /// It in words.
    pub cause: String,
    /// All threads with what they wait for.
    pub threads: Vec<ThreadWait>,
    /// Those it is about, by their places in `threads`: the circle in its order, or the chain to where it ends.
    pub involved: Vec<usize>,
    /// The one whose frame is to blame.
    pub blamed: Option<usize>,
    /// Name of the bug: the same for the same bug, over runs and address space layouts.
    pub bucket: String,
    /// Processor time of threads, where it is known.
    pub times: Vec<(ThreadOrdinal, ThreadTimes)>,
}

impl Hang {
    /// The frame that is to blame.
    pub fn blamed_frame(&self) -> Option<&StackFrame> {
        self.threads.get(self.blamed?)?.own_frame()
    }
}

impl Engine {
    /// Says why the current process makes no progress.
    ///
    /// # Errors
    /// As [`Engine::waits`].
    pub fn analyze_hang(&mut self) -> Result<Hang, EngineError> {
        let threads = self.waits()?;
        let process = self.current_process()?;
        // Without them nothing but the busiest is unknown.
        let times = self.thread_times(process).unwrap_or_default();
        let process_id = self.process(process)?.id();
        let stopped = self.stopped_by_event();
        Ok(judge(process_id, threads, times, stopped))
    }

    /// The thread whose own event was the last stop, in words. Attaching and breaking in stop whatever runs; all else
    /// stops a thread where it happens to come by.
    fn stopped_by_event(&self) -> Option<Stopped> {
        let event = self.last_event.as_ref()?;
        let by = match &event.reason {
            StopReason::Attached | StopReason::BreakIn | StopReason::DumpOpened => return None,
            StopReason::Breakpoint { .. } => "a breakpoint",
            StopReason::Step { .. } => "a step",
            // Somebody else's, to stop it or to have a core of it.
            StopReason::Signal(info) if info.code <= 0 && info.sender != event.process_id => return None,
            StopReason::Signal(_) => "a signal, of which !analyze tells",
            _ => "an event of its own",
        };
        Some(Stopped { thread: event.thread, by })
    }
}

/// A thread that the last event stopped.
#[derive(Debug, Clone, Copy)]
struct Stopped {
    thread: ThreadOrdinal,
    by: &'static str,
}

/// What a thread is called: `thread 2 "writer"`.
fn thread_words(wait: &ThreadWait) -> String {
    let name = if wait.name.is_empty() { String::new() } else { format!(" \"{}\"", wait.name) };
    format!("thread {}{name}", wait.thread)
}

/// The thread that another waits for, by its place.
fn blocker(threads: &[ThreadWait], wait: &ThreadWait) -> Option<usize> {
    let id = match &wait.waiting {
        Waiting::Lock(Lock { owner: Some(id), .. }) | Waiting::Join(id) => *id,
        _ => return None,
    };
    threads.iter().position(|other| other.id == id)
}

fn is_orphaned(threads: &[ThreadWait], wait: &ThreadWait) -> bool {
    matches!(&wait.waiting, Waiting::Lock(Lock { owner: Some(_), .. })) && blocker(threads, wait).is_none()
}

/// The circle that following blockers from a thread ends in.
fn circle_from(threads: &[ThreadWait], start: usize) -> Option<Vec<usize>> {
    let mut path = Vec::new();
    let mut at = start;
    loop {
        if let Some(first) = path.iter().position(|seen| *seen == at) {
            return Some(path.split_off(first));
        }
        path.push(at);
        at = blocker(threads, threads.get(at)?)?;
    }
}

/// A thread with what it waits for, from it to where nobody else is waited for.
fn chain_from(threads: &[ThreadWait], start: usize) -> Vec<usize> {
    let mut path = vec![start];
    while let Some(next) = path.last().and_then(|at| blocker(threads, threads.get(*at)?)) {
        if path.contains(&next) {
            break;
        }
        path.push(next);
    }
    path
}

/// Needs another thread of the process to go on.
fn needs_waking(wait: &ThreadWait) -> bool {
    let is_wakeable = match &wait.waiting {
        Waiting::Condition { .. } | Waiting::Semaphore { .. } | Waiting::Join(_) | Waiting::Wakeup { .. } => true,
        Waiting::Lock(lock) => lock.kind != LockKind::SpinLock,
        _ => false,
    };
    is_wakeable && !wait.is_timed
}

fn judge(
    process_id: ProcessId,
    threads: Vec<ThreadWait>,
    times: Vec<(ThreadOrdinal, ThreadTimes)>,
    stopped: Option<Stopped>,
) -> Hang {
    let (class, involved) = classify(&threads, &times, stopped);
    let cause = match (class, stopped) {
        (HangClass::Stopped, Some(stopped)) => stopped_cause(&threads, &involved, stopped),
        _ => cause_of(class, &threads, &involved, &times),
    };
    // The least name: which thread came first to the circle is chance.
    let is_circle = matches!(class, HangClass::Deadlock | HangClass::NobodyWakes);
    let own = |at: &usize| threads.get(*at).and_then(ThreadWait::own_frame);
    let mut with_frames: Vec<usize> = involved.iter().copied().filter(|at| own(at).is_some()).collect();
    if is_circle {
        // Who merely waits for another's end is not the one that fails to come to it.
        let joins = |at: &usize| class == HangClass::NobodyWakes && matches!(threads[*at].waiting, Waiting::Join(_));
        with_frames.sort_by_key(|at| (joins(at), own(at).map(|frame| (frame.module.clone(), frame.function.clone()))));
    }
    // Of a chain, the thread at its end keeps the others waiting.
    let blamed = if is_circle { with_frames.first() } else { with_frames.last() }.or(involved.first()).copied();
    let frame = blamed.and_then(|at| threads.get(at)).and_then(ThreadWait::own_frame);
    let bucket = blame::bucket(class.name(), frame, with_frames.iter().filter_map(own));
    Hang { process_id, class, cause, involved, blamed, bucket, threads, times }
}

fn stopped_cause(threads: &[ThreadWait], involved: &[usize], stopped: Stopped) -> String {
    let thread = involved.first().and_then(|at| threads.get(*at)).map(thread_words).unwrap_or_default();
    format!(
        "{thread} was stopped by {}, and no thread waits for a lock that is held: whether it goes on is not known; let it run \
         and break in where it should have gone on",
        stopped.by
    )
}

fn classify(
    threads: &[ThreadWait],
    times: &[(ThreadOrdinal, ThreadTimes)],
    stopped: Option<Stopped>,
) -> (HangClass, Vec<usize>) {
    let all = || 0..threads.len();
    if let Some(circle) = all().find_map(|start| circle_from(threads, start)) {
        let class = if circle.len() == 1 { HangClass::SelfDeadlock } else { HangClass::Deadlock };
        return (class, circle);
    }
    if let Some(orphan) = all().find(|at| is_orphaned(threads, &threads[*at])) {
        return (HangClass::OrphanedLock, vec![orphan]);
    }
    if let Some(at) = all().find(|at| threads[*at].leads_back && !threads[*at].is_timed) {
        let is_own = threads[at].others.is_empty();
        return (if is_own { HangClass::SelfDeadlock } else { HangClass::ProcessDeadlock }, vec![at]);
    }
    // The longest queue for one lock, by where it ends.
    let locked = all().filter(|at| matches!(threads[*at].waiting, Waiting::Lock(_)));
    let chains: Vec<Vec<usize>> = locked.map(|at| chain_from(threads, at)).collect();
    let mut ends: HashMap<usize, usize> = HashMap::new();
    for end in chains.iter().filter(|chain| chain.len() > 1).filter_map(|chain| chain.last()) {
        *ends.entry(*end).or_default() += 1;
    }
    let worst = ends.into_iter().max_by_key(|(end, count)| (*count, std::cmp::Reverse(*end)));
    if let Some(chain) = worst.and_then(|(end, _)| chains.iter().find(|chain| chain.last() == Some(&end))) {
        return (HangClass::LockWait, chain.clone());
    }
    if threads.iter().all(needs_waking) && !threads.is_empty() {
        return (HangClass::NobodyWakes, all().collect());
    }
    // Who holds it does not show.
    let unknown = all().find(|at| match &threads[*at].waiting {
        Waiting::Lock(lock) => lock.owner.is_none() && lock.kind != LockKind::SpinLock && !threads[*at].is_timed,
        _ => false,
    });
    if let Some(at) = unknown {
        return (HangClass::LockWait, vec![at]);
    }
    let is_busy = |at: &usize| match &threads[*at].waiting {
        Waiting::No => true,
        Waiting::Lock(lock) => lock.kind == LockKind::SpinLock,
        _ => false,
    };
    let time = |at: usize| {
        let found = times.iter().find(|(thread, _)| *thread == threads[at].thread);
        found.map_or(0, |(_, times)| times.user_time_us + times.system_time_us)
    };
    let is_stopped = |at: &usize| {
        let is_its = stopped.is_some_and(|stopped| stopped.thread == threads[*at].thread);
        is_its && threads[*at].waiting == Waiting::No
    };
    let mut running = all().filter(|at| is_busy(at) && !is_stopped(at));
    // Beside the one that the debugger stopped, others were running just then, which need not be all they do.
    if let Some(at) = all().find(is_stopped)
        && !running.any(|at| matches!(threads[at].waiting, Waiting::Lock(_)))
    {
        return (HangClass::Stopped, vec![at]);
    }
    if let Some(busiest) = all().filter(is_busy).max_by_key(|at| (time(*at), std::cmp::Reverse(*at))) {
        return (HangClass::Spinning, vec![busiest]);
    }
    let place = |fits: &dyn Fn(&Waiting) -> bool| threads.iter().position(|wait| fits(&wait.waiting));
    // What the first thread needs says most.
    let first = chain_from(threads, 0);
    let end = first.last().and_then(|at| threads.get(*at)).map(|wait| &wait.waiting);
    let class_of = |waiting: &Waiting| match waiting {
        Waiting::File { .. } => HangClass::BlockedOnFile,
        Waiting::Child(_) => HangClass::BlockedOnChild,
        _ => HangClass::Waiting,
    };
    match end.map(class_of) {
        Some(class @ (HangClass::BlockedOnFile | HangClass::BlockedOnChild)) => (class, first),
        _ => match place(&|waiting| matches!(waiting, Waiting::File { .. })) {
            Some(at) if end.is_none_or(|end| !matches!(end, Waiting::Sleep | Waiting::Signal)) => {
                (HangClass::BlockedOnFile, vec![at])
            }
            _ => (HangClass::Waiting, first),
        },
    }
}

fn cause_of(
    class: HangClass,
    threads: &[ThreadWait],
    involved: &[usize],
    times: &[(ThreadOrdinal, ThreadTimes)],
) -> String {
    let members: Vec<&ThreadWait> = involved.iter().filter_map(|at| threads.get(*at)).collect();
    let held = |wait: &ThreadWait| match (&wait.waiting, blocker(threads, wait).and_then(|at| threads.get(at))) {
        (Waiting::Lock(lock), Some(owner)) => {
            let does = if lock.kind == LockKind::Once { "carries out" } else { "holds" };
            match owner.thread == wait.thread {
                true => format!(", which it {does} itself"),
                false => format!(", which {} {does}", thread_words(owner)),
            }
        }
        (Waiting::Join(_), Some(other)) => format!(" ({})", thread_words(other)),
        _ => String::new(),
    };
    let state = |wait: &ThreadWait| match &wait.waiting {
        Waiting::Lock(Lock { state, kind: LockKind::Library | LockKind::WriteLock, .. }) if !state.is_empty() => {
            format!(" ({state})")
        }
        _ => String::new(),
    };
    let sentence = |wait: &&ThreadWait| format!("{} {}{}{}", thread_words(wait), wait.waiting, held(wait), state(wait));
    let sentence = |wait: &&ThreadWait| {
        let others: Vec<String> = wait.others.iter().map(|other| format!("; {}", other.words())).collect();
        let back = match wait.others.last().map(|last| last.part) {
            _ if !wait.leads_back => "",
            None => ", which it has locked itself, through another descriptor",
            Some(_) => ", for which it needs this process",
        };
        format!("{}{}{back}", sentence(wait), others.concat())
    };
    let joined = || members.iter().map(sentence).collect::<Vec<_>>().join("; ");
    match class {
        HangClass::SelfDeadlock => joined(),
        HangClass::Deadlock => format!("{}: a deadlock of 0n{} threads", joined(), members.len()),
        HangClass::ProcessDeadlock => {
            let others: usize = members.iter().map(|wait| wait.others.len()).sum();
            format!("{}: a deadlock of 0n{} processes", joined(), others + 1)
        }
        HangClass::OrphanedLock => {
            let owner = members.first().and_then(|wait| match &wait.waiting {
                Waiting::Lock(lock) => lock.owner,
                _ => None,
            });
            let id = owner.map(|id| format!(" {:x}", id.0)).unwrap_or_default();
            let joined = joined();
            // A child of fork has but the thread that forked.
            match threads.len() {
                1 => format!(
                    "{joined}, which was locked by thread{id}; that has ended without unlocking it, or held it when this \
                     process was forked and is no part of it"
                ),
                _ => format!("{joined}, which was locked by thread{id}; that has ended without unlocking it"),
            }
        }
        HangClass::NobodyWakes => format!("every thread waits and none is left to wake another: {}", joined()),
        HangClass::Spinning => {
            let Some(wait) = members.first() else { return String::new() };
            let used = times.iter().find(|(thread, _)| *thread == wait.thread);
            let used = used.map(|(_, times)| (times.user_time_us + times.system_time_us) / 1000);
            let used = used.map(|used| format!(" and has used 0n{used} ms of processor time")).unwrap_or_default();
            match &wait.waiting {
                Waiting::Lock(_) => format!("{} turns in a loop and {}{used}", thread_words(wait), wait.waiting),
                _ => format!("{} runs{used}; no thread waits for a lock that is held", thread_words(wait)),
            }
        }
        _ => joined(),
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::{ThreadId, Va};

    use super::*;
    use crate::ThreadStack;

    fn thread(number: u32, waiting: Waiting) -> ThreadWait {
        let thread = ThreadOrdinal(number);
        ThreadWait {
            thread,
            id: ThreadId(100 + number),
            name: String::new(),
            waiting,
            stack: ThreadStack { thread, frames: Vec::new(), problem: String::new() },
            own: None,
            is_timed: false,
            others: Vec::new(),
            leads_back: false,
        }
    }

    fn lock(at: u64, owner: Option<u32>) -> Waiting {
        let owner = owner.map(|number| ThreadId(100 + number));
        Waiting::Lock(Lock { at: Va(at), kind: LockKind::Mutex, name: String::new(), state: String::new(), owner })
    }

    fn check(waits: Vec<Waiting>, class: HangClass, involved: &[usize]) {
        let threads = waits.into_iter().enumerate().map(|(number, waiting)| thread(number as u32, waiting)).collect();
        let hang = judge(ProcessId(1), threads, Vec::new(), None);
        assert_eq!((hang.class, hang.involved.as_slice()), (class, involved), "{}", hang.cause);
    }

    #[test]
    fn circles_come_first_then_chains() {
        check(vec![Waiting::Join(ThreadId(101)), lock(8, Some(2)), lock(16, Some(1))], HangClass::Deadlock, &[1, 2]);
        check(vec![Waiting::Sleep, lock(8, Some(1))], HangClass::SelfDeadlock, &[1]);
        check(vec![Waiting::Sleep, lock(8, Some(7))], HangClass::OrphanedLock, &[1]);
        check(vec![lock(8, Some(1)), Waiting::Sleep, lock(8, Some(1))], HangClass::LockWait, &[0, 1]);
        let condition = || Waiting::Condition { at: Va(8), name: String::new() };
        check(vec![Waiting::Join(ThreadId(101)), condition()], HangClass::NobodyWakes, &[0, 1]);
        check(vec![Waiting::No, condition()], HangClass::Spinning, &[0]);
        let file = || Waiting::File { call: "read".into(), files: Vec::new() };
        check(vec![Waiting::Join(ThreadId(101)), file()], HangClass::BlockedOnFile, &[0, 1]);
        check(vec![Waiting::Sleep], HangClass::Waiting, &[0]);
    }

    #[test]
    fn a_thread_at_a_breakpoint_is_no_spinning_one() {
        let stopped = |waits: Vec<Waiting>| {
            let threads =
                waits.into_iter().enumerate().map(|(number, waiting)| thread(number as u32, waiting)).collect();
            let by = Stopped { thread: ThreadOrdinal(0), by: "a breakpoint" };
            judge(ProcessId(1), threads, Vec::new(), Some(by))
        };
        let hang = stopped(vec![Waiting::No, Waiting::Sleep]);
        assert_eq!((hang.class, hang.involved.as_slice()), (HangClass::Stopped, &[0][..]), "{}", hang.cause);
        assert!(hang.cause.contains("stopped by a breakpoint"), "{}", hang.cause);
        // What others wait for is as it was.
        assert_eq!(stopped(vec![Waiting::No, lock(8, Some(1))]).class, HangClass::SelfDeadlock);
        assert_eq!(stopped(vec![Waiting::No, lock(8, Some(0))]).class, HangClass::LockWait);
    }
}
