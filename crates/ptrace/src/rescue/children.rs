//! Children that debuggees forked with our bytes in them, and that the journal does not tell of.
//!
//! A fork child that is not followed is cleaned at its fork event. If the worker died before that, nobody knows of the
//! child but its parent. It is looked for as a child of a debuggee, or, since it may be an orphan already, as a later
//! process of the same executable. Whether it has our bytes is for the caller to see, byte by byte and mapping by mapping.
//! The same bytes are in another session's debuggee that runs the same program and has the same breakpoints; but that one
//! is traced for as long as they are there ([`is_another_session_s`]).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use outpost_base::ProcessId;

use crate::journal::{JournalImage, JournaledProcess};
use crate::os::ProcRoot;

/// Pairs of a candidate and the debuggee that may be its parent. None if there are no sites, since then nothing of ours
/// can have been inherited.
pub(super) fn find(
    image: &JournalImage,
    parents: &[JournaledProcess],
    known: &BTreeSet<ProcessId>,
) -> Vec<(ProcessId, ProcessId)> {
    let proc = ProcRoot::default();
    let with_sites = |process: &&JournaledProcess| {
        image.sites.iter().any(|site| site.process == process.process)
            || image.regions.iter().any(|region| region.process == process.process)
    };
    // A debuggee that ended has no executable to compare with, but may have left children, which name it no more.
    let parents: Vec<&JournaledProcess> = parents.iter().filter(with_sites).collect();
    let programs: Vec<Option<File>> = parents.iter().map(|parent| executable(&proc, parent.process.0)).collect();
    if parents.is_empty() {
        return Vec::new();
    }
    let own = std::process::id();
    let mut found = Vec::new();
    for id in proc.process_ids() {
        if id == own || known.contains(&ProcessId(id)) {
            continue;
        }
        let Some(stat) = proc.stat(id) else { continue };
        let child_of = parents.iter().find(|parent| parent.process.0 == stat.parent);
        let same_program = || {
            let file = executable(&proc, id)?;
            let pairs = parents.iter().zip(&programs);
            let mut later = pairs.filter(|(parent, _)| stat.start_ticks >= parent.start_ticks);
            later.find(|(_, program)| **program == Some(file)).map(|(parent, _)| parent)
        };
        if let Some(parent) = child_of.or_else(same_program) {
            found.push((ProcessId(id), parent.process));
        }
    }
    found
}

/// Whether somebody traces a process who is not about to end, as a dead worker is that has yet to let go of it.
///
/// Asked after bytes like ours were seen in it, this tells whose they are: who plants some traces the process already, and
/// takes them away before he lets it go.
pub(super) fn is_another_session_s(process: ProcessId) -> bool {
    /// `PF_EXITING` (include/linux/sched.h), set before a task closes its files.
    const EXITING: u64 = 4;
    let proc = ProcRoot::default();
    let tracer = proc.status(process.0).map_or(0, |status| status.tracer);
    tracer != 0 && proc.stat(tracer).is_some_and(|tracer| tracer.flags & EXITING == 0)
}

/// A file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
}

/// A process's executable.
fn executable(proc: &ProcRoot, process: u32) -> Option<File> {
    let metadata = fs::metadata(proc.of(process, "exe")).ok()?;
    Some(File { device: metadata.dev(), inode: metadata.ino() })
}
