//! What the guardian does when a worker is gone, however it died: the worker's debuggees run on as if it had never been.
//!
//! The guardian holds the journal's descriptor and, through [`Rescuer::watch`], the memory of every debuggee. When the
//! worker's liveness pipe closes (a killed process closes its files *before* its tracees are let go), it calls
//! [`Rescuer::rescue`]:
//!
//! 1. Bytes are put back at once, by `/proc/PID/mem`, stopping nobody: only where ours still stand, and only if what is
//!    mapped there is what was when they were planted. Jumps wait until everybody is stopped: they are several bytes, and do
//!    no harm.
//! 2. Processes that the session created are ended, unless the policy lets them go.
//! 3. In the others threads are seized as soon as the dead worker has let go, if there is anything that only a tracer
//!    can undo: a thread that stands behind a hit `int3` goes back onto it, a fault that one of our bytes raised and that
//!    is not delivered yet is swallowed, debug registers are cleared, single steps end, signals that the worker's death
//!    swallowed are sent again as they were.
//!    Pages that were watched by their protection get the program's own back.
//! 4. The lifeline is taken away: the program's signal actions are put back, and what was mapped for pads is unmapped,
//!    once all threads are stopped and none is there or will return there.
//! 5. Children of debuggees that were forked with our bytes in them, and that the worker did not come to tell of, are
//!    looked for and cleaned. Debuggees of other sessions are left alone, whatever is in them.
//!
//! A thread in uninterruptible sleep is not waited for, nor one that does not leave a pad: while there is one, what it may come
//! to stays in place (jumps, pads, the handler), and [`Rescuer::continue_rescue`] takes the process up later.
//!
//! The guardian calls [`become_subreaper`] first: created debuggees become its children when their worker dies, so that
//! it may trace them and learns their exit status. All ptrace calls of a rescue come from the calling thread.

mod abandoned;
mod children;
mod remains;
mod sites;
mod threads;
mod watched;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_base::{ProcessId, ThreadId};
use rustix::process::{Pid, Signal, kill_process};

use crate::journal::{JournalImage, JournaledProcess, JournaledSite};
use crate::memory::ProcessMemory;
use crate::os::ProcRoot;
use sites::SiteOutcome;
use threads::Captives;

pub(crate) use abandoned::clean as clean_abandoned;

/// How long a dead worker may take to let go of its tracees, and those to stop.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for threads that are looked at once more.
const PATIENCE_AT_LAST: Duration = Duration::from_millis(100);
/// Generations of children that are looked for: a child may fork before it is cleaned.
const MAX_GENERATIONS: usize = 8;

/// Undoes what one worker left behind.
#[derive(Debug)]
pub struct Rescuer {
    journal: OwnedFd,
    memories: HashMap<ProcessId, ProcessMemory>,
    /// Processes with threads that could not be stopped in time.
    unfinished: Vec<Unfinished>,
}

/// A process that is to be put right when its last thread has stopped, or has left our code.
#[derive(Debug)]
struct Unfinished {
    process: ProcessId,
    /// Whose records of the journal are its: itself, or the process it was forked from.
    of: ProcessId,
    captives: Captives,
    image: Arc<JournalImage>,
}

/// What a rescue did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RescueReport {
    /// Places whose bytes were put back.
    pub sites_restored: u32,
    /// Places where our bytes were not, or where something else is mapped now.
    pub sites_untouched: u32,
    /// Places that could not be read or written although the process lives.
    pub sites_failed: u32,
    /// Processes that run on.
    pub released: Vec<ProcessId>,
    /// Processes that were ended by policy.
    pub ended: Vec<ProcessId>,
    /// Children forked by debuggees that the journal did not tell of, cleaned.
    pub children: Vec<ProcessId>,
    /// Threads that were stopped for a moment to be put right.
    pub threads_stopped: u32,
    /// Of those, threads that a byte of ours had led astray.
    pub threads_moved: u32,
    /// Signals sent again.
    pub signals_restored: u32,
    /// Stretches of pages that have the program's own protection again.
    pub pages_restored: u32,
    /// Those for which no thread could be used.
    pub pages_failed: u32,
    /// Processes whose lifeline is gone without trace.
    pub lifelines_removed: u32,
    /// Processes in which it stays mapped, since a thread may still be there.
    pub lifelines_left: u32,
    /// Threads that could not be stopped yet; see [`Rescuer::continue_rescue`].
    pub unstoppable: Vec<ThreadId>,
    /// Whether the journal could not be read, in whole or in part.
    pub journal_damaged: bool,
}

/// Makes the calling process the reaper of its orphaned descendants (prctl(2), `PR_SET_CHILD_SUBREAPER`).
///
/// # Errors
/// Those of prctl(2); none is known for a present kernel.
pub fn become_subreaper() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(rustix::process::getpid().into())?)
}

impl Rescuer {
    /// For the worker that writes this journal (see [`create_shared`](crate::journal::create_shared)).
    pub fn new(journal: OwnedFd) -> Rescuer {
        Rescuer { journal, memories: HashMap::new(), unfinished: Vec::new() }
    }

    /// Opens the memory of debuggees that joined since the last call and closes that of those that left. To be called
    /// when the journal's notifier is readable; a missed call only makes a rescue a little slower.
    pub fn watch(&mut self) {
        let processes = JournalImage::read_processes(self.journal.as_fd()).unwrap_or_default();
        self.memories.retain(|process, _| processes.iter().any(|joined| joined.process == *process));
        for joined in processes {
            if !self.memories.contains_key(&joined.process)
                && is_same(&joined)
                && let Ok(memory) = ProcessMemory::open(joined.process)
            {
                self.memories.insert(joined.process, memory);
            }
        }
    }

    /// Undoes everything the journal tells of. To be called when the worker is dead or dying; returns within some
    /// seconds, usually within milliseconds.
    pub fn rescue(&mut self) -> RescueReport {
        let mut report = RescueReport::default();
        let image = match JournalImage::read(self.journal.as_fd()) {
            Ok(image) => image,
            Err(error) => {
                tracing::error!("a worker's journal cannot be read: {error}");
                report.journal_damaged = true;
                return report;
            }
        };
        let image = Arc::new(image);
        report.journal_damaged = image.problems != 0;
        let living: Vec<JournaledProcess> =
            image.processes.iter().filter(|process| is_same(process)).copied().collect();

        let failed = self.restore_sites(&image.sites, &living, &mut report);
        let (ended, released): (Vec<JournaledProcess>, Vec<JournaledProcess>) =
            living.iter().partition(|process| process.created && !image.detach_on_exit);
        for process in ended {
            if let Some(pid) = Pid::from_raw(process.process.0 as i32)
                && kill_process(pid, Signal::KILL).is_ok()
            {
                report.ended.push(process.process);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for process in released {
            self.put_right(&image, process.process, process.process, &failed, deadline, &mut report);
            report.released.push(process.process);
        }
        self.clean_children(&image, &living, deadline, &mut report);
        report.unstoppable = self.unfinished.iter().flat_map(|process| process.captives.threads()).collect();
        self.memories.clear();
        report
    }

    /// Puts the threads of one process right. `of`: whose records of the journal are its.
    fn put_right(
        &mut self,
        image: &Arc<JournalImage>,
        process: ProcessId,
        of: ProcessId,
        failed: &[JournaledSite],
        deadline: Instant,
        report: &mut RescueReport,
    ) {
        let plan = if process == of { threads::Plan::new(image, of) } else { threads::Plan::for_child(image, of) };
        if !plan.is_needed() {
            return;
        }
        let mut captives = threads::seize_all(process, Captives::of(image, of), deadline);
        // Kernels may let nobody but a tracer write to code (CONFIG_PROC_MEM_FORCE_PTRACE), which we are now.
        for site in failed.iter().filter(|site| site.process == of) {
            if self.restore_site(site, process) == SiteOutcome::Restored {
                report.sites_restored += 1;
                report.sites_failed -= 1;
            }
        }
        self.restore_jumps(image, process, of, &mut captives, report);
        if !threads::put_right(process, &mut captives, &plan, report) {
            self.unfinished.push(Unfinished { process, of, captives, image: Arc::clone(image) });
        }
    }

    /// Takes jumps away, if everybody is stopped.
    fn restore_jumps(
        &mut self,
        image: &JournalImage,
        process: ProcessId,
        of: ProcessId,
        captives: &mut Captives,
        report: &mut RescueReport,
    ) {
        if !captives.are_all_stopped() {
            return;
        }
        for site in image.sites.iter().filter(|site| site.process == of && sites::is_jump(site)) {
            match self.restore_site(site, process) {
                SiteOutcome::Restored => report.sites_restored += 1,
                SiteOutcome::Untouched => report.sites_untouched += 1,
                SiteOutcome::Failed => report.sites_failed += 1,
            }
        }
    }

    /// Takes up processes that could not be put right before; `true` when none is left. To be called now and then.
    pub fn continue_rescue(&mut self) -> bool {
        for mut unfinished in std::mem::take(&mut self.unfinished) {
            // While somebody has one of its threads, or one sleeps, the others are left alone; those that stopped late go on.
            let waits = unfinished.captives.are_awaited() || threads::is_traced(unfinished.process);
            if waits && unfinished.captives.stopped_threads().is_empty() {
                self.unfinished.push(unfinished);
                continue;
            }
            let Unfinished { process, of, captives, image } = unfinished;
            // It may have ended meanwhile, and its id be another's.
            if image.processes.iter().any(|known| known.process == process && !is_same(known)) {
                continue;
            }
            let deadline = Instant::now() + PATIENCE_AT_LAST;
            let mut captives = threads::seize_all(process, captives, deadline);
            let plan =
                if process == of { threads::Plan::new(&image, of) } else { threads::Plan::for_child(&image, of) };
            let mut report = RescueReport::default();
            self.restore_jumps(&image, process, of, &mut captives, &mut report);
            if !threads::put_right(process, &mut captives, &plan, &mut report) {
                self.unfinished.push(Unfinished { process, of, captives, image });
            }
        }
        self.unfinished.is_empty()
    }

    /// Lets those go that are stopped yet, as they are.
    fn give_up(&mut self) {
        self.unfinished.iter_mut().for_each(|unfinished| unfinished.captives.let_go());
    }

    /// Puts bytes back in those of `processes` that have sites; gives the sites that could not be written.
    fn restore_sites(
        &mut self,
        sites: &[JournaledSite],
        processes: &[JournaledProcess],
        report: &mut RescueReport,
    ) -> Vec<JournaledSite> {
        let mut failed = Vec::new();
        let concerned = |site: &&JournaledSite| {
            !sites::is_jump(site) && processes.iter().any(|process| process.process == site.process)
        };
        for site in sites.iter().filter(concerned) {
            match self.restore_site(site, site.process) {
                SiteOutcome::Restored => report.sites_restored += 1,
                SiteOutcome::Untouched => report.sites_untouched += 1,
                SiteOutcome::Failed => {
                    report.sites_failed += 1;
                    failed.push(site.clone());
                }
            }
        }
        failed
    }

    fn restore_site(&mut self, site: &JournaledSite, process: ProcessId) -> SiteOutcome {
        let held = self.memories.get(&process).map(|memory| sites::restore(memory, process, site));
        match held {
            Some(outcome @ (SiteOutcome::Restored | SiteOutcome::Untouched)) => outcome,
            // What was opened before an exec leads nowhere; or it was never opened.
            Some(SiteOutcome::Failed) | None => match ProcessMemory::open(process) {
                Ok(memory) => {
                    let outcome = sites::restore(&memory, process, site);
                    self.memories.insert(process, memory);
                    outcome
                }
                Err(_) => SiteOutcome::Failed,
            },
        }
    }

    fn clean_children(
        &mut self,
        image: &Arc<JournalImage>,
        living: &[JournaledProcess],
        deadline: Instant,
        report: &mut RescueReport,
    ) {
        let mut known: BTreeSet<ProcessId> = image.processes.iter().map(|process| process.process).collect();
        for _ in 0..MAX_GENERATIONS {
            let before = report.children.len();
            for (child, parent) in children::find(image, living, &known) {
                known.insert(child);
                self.clean_child(image, child, parent, deadline, report);
            }
            if report.children.len() == before {
                return;
            }
        }
    }

    fn clean_child(
        &mut self,
        image: &Arc<JournalImage>,
        child: ProcessId,
        parent: ProcessId,
        deadline: Instant,
        report: &mut RescueReport,
    ) {
        // What a vfork child has in its memory is its parent's, and its parent's other threads run on there; the handler,
        // which is its own, ends with exec.
        if crate::sys::share_memory(child.0, parent.0) == Some(true) {
            return;
        }
        let sites: Vec<&JournaledSite> = image.sites.iter().filter(|site| site.process == parent).collect();
        // The worker may have put the bytes back and died before it came to the rest.
        let has_any = |memory: ProcessMemory| sites.iter().any(|site| sites::stands(&memory, child, site));
        let concerned =
            threads::Plan::for_child(image, parent).remains_in(child) || ProcessMemory::open(child).is_ok_and(has_any);
        if !concerned || children::is_another_session_s(child) {
            return;
        }
        for site in sites.into_iter().filter(|site| !sites::is_jump(site)) {
            report.sites_restored += u32::from(self.restore_site(site, child) == SiteOutcome::Restored);
        }
        self.put_right(image, child, parent, &[], deadline, report);
        report.children.push(child);
    }
}

/// Whether the process is still the one that joined, and not a later one of the same id.
fn is_same(joined: &JournaledProcess) -> bool {
    ProcRoot::default()
        .stat(joined.process.0)
        .is_some_and(|stat| joined.start_ticks == 0 || stat.start_ticks == joined.start_ticks)
}

/// One line for a log.
impl fmt::Display for RescueReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} released, {} ended, {} children cleaned; {} sites restored, {} failed; {} threads put right, {} signals \
             restored, {} lifelines removed, {} left; {} threads not stoppable yet",
            self.released.len(),
            self.ended.len(),
            self.children.len(),
            self.sites_restored,
            self.sites_failed,
            self.threads_moved,
            self.signals_restored,
            self.lifelines_removed,
            self.lifelines_left,
            self.unstoppable.len()
        )?;
        if self.journal_damaged { write!(f, "; the journal is damaged") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
