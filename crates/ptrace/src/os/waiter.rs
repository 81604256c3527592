//! Waiting for a process of a name to appear, by looking now and then.

use std::collections::HashSet;

use outpost_base::ProcessId;
use outpost_target::NameMatch;

use super::proc_files::ProcRoot;
use super::processes::has_name;

/// A wish for a process of some name, that was not there when the wish was made.
///
/// A look costs one directory listing and one small file per process that is not of that name yet. All are looked at
/// each time: a process gets its name by exec, which may come long after its start.
#[derive(Debug)]
pub(crate) struct NameWaiter {
    name: String,
    how: NameMatch,
    /// Those that had the name already. Told apart from later ones of the same id by their start.
    known: HashSet<(u32, u64)>,
}

impl NameWaiter {
    pub(crate) fn new(proc: &ProcRoot, name: &str) -> NameWaiter {
        let how = if name.contains('/') { NameMatch::FullPath } else { NameMatch::FileName };
        let mut waiter = NameWaiter { name: name.to_owned(), how, known: HashSet::new() };
        while waiter.poll(proc).is_some() {}
        waiter
    }

    /// A process that got the name since the last look, and each only once.
    pub(crate) fn poll(&mut self, proc: &ProcRoot) -> Option<(ProcessId, String)> {
        proc.process_ids().into_iter().find_map(|id| {
            if !has_name(proc, id, &self.name, self.how) {
                return None;
            }
            let start = proc.stat(id)?.start_ticks;
            self.known.insert((id, start)).then(|| (ProcessId(id), self.name.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outpost_testkit::{Build, Compiler, Running, wait_until};

    use super::*;

    #[test]
    fn only_what_starts_later_is_reported_and_only_once() {
        let source = "#include <unistd.h>\nint main(void) { pause(); }";
        let program = Build::source(Compiler::Gcc, "waited-for-by-its-name", source).path();
        let proc = ProcRoot::default();
        let earlier = Running::start(&program, &[]);
        wait_until("it executes", Duration::from_secs(5), || proc.executable(earlier.pid()).contains("waited-for"));
        let mut waiter = NameWaiter::new(&proc, "waited-for-by-its-name");
        assert_eq!(waiter.poll(&proc), None);
        let later = Running::start(&program, &[]);
        let mut found = None;
        wait_until("it appears", Duration::from_secs(5), || {
            found = waiter.poll(&proc);
            found.is_some()
        });
        assert_eq!(found.unwrap().0, ProcessId(later.pid()));
        assert_eq!(waiter.poll(&proc), None);
    }
}
