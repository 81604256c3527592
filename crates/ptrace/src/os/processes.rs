//! Listing and describing processes.

use std::fs;

use outpost_base::ProcessId;
use outpost_target::{NameMatch, OsProcess, ProcessQuery};

use super::attachability::Preflight;
use super::container::container_or_unit;
use super::proc_files::ProcRoot;
use super::users::Users;

/// The kernel cuts command names to this many bytes (`TASK_COMM_LEN` less the NUL).
const MAX_COMM: usize = 15;

/// Lists processes; those that end meanwhile are left out.
pub(crate) fn list(
    proc: &ProcRoot,
    users: &mut Users,
    query: &ProcessQuery,
    preflight: Option<&Preflight>,
    started_at_us: u64,
) -> Vec<OsProcess> {
    let ids = match query {
        ProcessQuery::Id(process) => vec![process.0],
        ProcessQuery::All | ProcessQuery::Name { .. } => proc.process_ids(),
    };
    ids.into_iter()
        .filter(|&id| match query {
            ProcessQuery::Name { name, how } => has_name(proc, id, name, *how),
            ProcessQuery::All | ProcessQuery::Id(_) => true,
        })
        .filter_map(|id| describe(proc, users, id, preflight, started_at_us))
        .collect()
}

/// Whether a process is called `name`: by its executable's file or whole path, or by its command name.
///
/// The executable is not readable for every process, and the command name is cut; a cut one counts if the program's
/// name for itself goes on as asked.
pub(crate) fn has_name(proc: &ProcRoot, process: u32, name: &str, how: NameMatch) -> bool {
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or_default() == name;
    if how == NameMatch::FullPath {
        return !name.is_empty() && proc.executable(process) == name;
    }
    let Some(comm) = proc.name(process) else { return false };
    comm == name
        || (comm.len() == MAX_COMM
            && name.starts_with(&comm)
            && proc.arguments(process).first().is_some_and(|first| file_name(first)))
        || file_name(&proc.executable(process))
}

fn describe(
    proc: &ProcRoot,
    users: &mut Users,
    id: u32,
    preflight: Option<&Preflight>,
    started_at_us: u64,
) -> Option<OsProcess> {
    let (stat, status) = (proc.stat(id)?, proc.status(id)?);
    let cgroup = fs::read_to_string(proc.of(id, "cgroup")).unwrap_or_default();
    let place = [container_or_unit(&cgroup), status.inner_id.map(|id| format!("pid {id} inside")).unwrap_or_default()];
    let tracer_name = if status.tracer == 0 { None } else { proc.name(status.tracer) };
    Some(OsProcess {
        id: ProcessId(id),
        parent: ProcessId(stat.parent),
        executable: proc.executable(id),
        arguments: proc.arguments(id),
        uid: status.uids[1],
        user: users.name(status.uids[1]),
        threads: stat.threads,
        state: stat.state,
        container: place.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", "),
        tracer: ProcessId(status.tracer),
        tracer_name: tracer_name.unwrap_or_default(),
        start_time_us: started_at_us + ticks_to_us(stat.start_ticks),
        attachability: preflight.map(|preflight| preflight.check(id, proc, users)),
        name: stat.name,
    })
}

/// Clock ticks as `/proc` counts them, in microseconds.
pub(crate) fn ticks_to_us(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use outpost_target::Attachability;

    use super::*;

    /// A recorded tree: what other machines show that this one may not have.
    fn recorded() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let stat = |id: u32, name: &str, state: char, parent: u32, flags: u32| {
            format!("{id} ({name}) {state} {parent} 1 1 0 -1 {flags} 0 0 0 0 5 6 0 0 20 0 2 0 100 1 1")
        };
        let status = |uid: u32, tracer: u32| {
            format!(
                "TracerPid:\t{tracer}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t1\t1\t1\t1\nCapPrm:\t0\nCapEff:\t0\n"
            )
        };
        let process = |id: u32, name: &str, state, parent, flags, uid, tracer, cgroup: &str, arguments: &str| {
            let below = folder.path().join(id.to_string());
            let write = |file: &str, text: String| fs::write(below.join(file), text).unwrap();
            fs::create_dir(&below).unwrap();
            write("stat", stat(id, name, state, parent, flags));
            write("status", status(uid, tracer));
            write("comm", format!("{name}\n"));
            write("cgroup", format!("0::{cgroup}\n"));
            write("cmdline", arguments.to_owned());
        };
        process(1, "systemd", 'S', 0, 0, 0, 0, "/init.scope", "/sbin/init\0");
        process(9, "kworker/0:1", 'I', 2, 0x0020_0000, 0, 0, "/", "");
        process(30, "nginx", 'S', 1, 0, 0, 31, "/system.slice/nginx.service", "nginx: master\0\0\0");
        process(31, "gdb", 'S', 1, 0, 0, 0, "/", "gdb\0-p\0");
        process(40, "a-very-long-nam", 'R', 1, 0, 0, 0, "/", "/opt/a-very-long-name\0--x\0");
        folder
    }

    fn listed(query: &ProcessQuery) -> Vec<OsProcess> {
        let folder = recorded();
        let (proc, mut users) = (ProcRoot::at(folder.path()), Users::default());
        let preflight = Preflight::new(&proc, &mut users);
        list(&proc, &mut users, query, Some(&preflight), 1_000_000)
    }

    fn ids(query: ProcessQuery) -> Vec<u32> {
        listed(&query).iter().map(|process| process.id.0).collect()
    }

    #[test]
    fn a_recorded_machine_is_listed() {
        let all = listed(&ProcessQuery::All);
        assert_eq!(all.len(), 5);
        let nginx = &all[2];
        assert_eq!((nginx.container.as_str(), nginx.threads, nginx.user.as_str()), ("nginx.service", 2, "root"));
        assert_eq!((nginx.tracer.0, nginx.tracer_name.as_str()), (31, "gdb"));
        assert_eq!(nginx.arguments, ["nginx: master"]);
        assert_eq!(nginx.start_time_us, 2_000_000, "100 ticks of 10 ms after the start");
        let reason = |at: usize| match &all[at].attachability {
            Some(Attachability::No { reason, .. }) => reason.clone(),
            other => panic!("{other:?}"),
        };
        assert!(reason(1).contains("kernel") && reason(2).contains("31 (gdb)"));
    }

    #[test]
    fn names_are_matched_beyond_the_kernels_cut() {
        let named = |name: &str| ids(ProcessQuery::Name { name: name.into(), how: NameMatch::FileName });
        assert_eq!(named("gdb"), [31]);
        assert_eq!(named("a-very-long-name"), [40]);
        assert_eq!(named("a-very-long-nam"), [40]);
        assert_eq!(named("a-very-long-other"), []);
        assert_eq!(ids(ProcessQuery::Id(ProcessId(9))), [9]);
        assert_eq!(ids(ProcessQuery::Id(ProcessId(10))), []);
    }

    #[test]
    fn own_process_is_described() {
        let (proc, mut users, own) = (ProcRoot::default(), Users::default(), std::process::id());
        let found = list(&proc, &mut users, &ProcessQuery::Id(ProcessId(own)), None, 0);
        let executable = std::env::current_exe().unwrap();
        assert_eq!(Path::new(&found[0].executable), executable);
        assert_eq!(found[0].parent.0, std::os::unix::process::parent_id());
        let path = executable.to_str().unwrap();
        let query = ProcessQuery::Name { name: path.into(), how: NameMatch::FullPath };
        assert!(list(&proc, &mut users, &query, None, 0).iter().any(|process| process.id.0 == own));
    }
}
