//! What is asked of a link: round trips, counted.

use outpost_base::{ProcessId, ThreadId};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::*;
use outpost_testkit::{Build, Compiler, Running, text_differences};

use crate::common::Server;
use crate::debuggee::{attach, breakpoint, read, space, symbol};
use crate::links::over_a_pair;
use crate::suite::set_many;

/// Round trips of what the architecture gives budgets for, on a real process of a thousand threads.
#[test]
fn round_trips_stay_in_their_budgets() {
    let program = Build::source(
        Compiler::Gcc,
        "thousand",
        "#include <pthread.h>\n#include <stdio.h>\n#include <unistd.h>\n\
         void *run(void *unused) { for (;;) pause(); }\n\
         int main(void) { pthread_attr_t small; pthread_t thread; pthread_attr_init(&small);\n\
         pthread_attr_setstacksize(&small, 65536);\n\
         for (int i = 1; i < 1000; i++) if (pthread_create(&thread, &small, run, 0)) return 1;\n\
         puts(\"ready\"); fflush(stdout); run(0); }\n",
    )
    .flags("-no-pie")
    .path();
    let mut running = Running::start(&program, &[]);
    assert_eq!(running.line(), "ready");
    let server = Server::start(&["-t", "tcp:port=0"]);
    let query = ProcessQuery::All;
    let options = Options { first_query: Some(query.clone()), ..Options::default() };
    let (mut remote, _) = RemoteTarget::connect(&server.transport(), options).unwrap();
    assert!(remote.list_processes(&query, true).unwrap().iter().any(|listed| listed.id.0 == running.pid()));
    assert_eq!(remote.link_statistics().round_trips, 2, "connect, authenticate and list");
    let trips = |remote: &mut RemoteTarget, what: &str, budget: u64, work: &mut dyn FnMut(&mut RemoteTarget)| {
        let before = remote.link_statistics().round_trips;
        work(remote);
        let spent = remote.link_statistics().round_trips - before;
        eprintln!("{what}: {spent} round trips");
        assert!(spent <= budget, "{what}: {spent} round trips, {budget} allowed");
    };
    let process = ProcessId(running.pid());
    let mut threads = Vec::new();
    trips(&mut remote, "attach to 1,000 threads, lists and the stack's memory", 1, &mut |remote| {
        let bundle = attach(remote, process.0);
        threads = remote.threads(process).unwrap();
        assert_eq!(threads.len(), 1000);
        assert!(remote.modules(process).unwrap().len() >= 3);
        let registers = remote.registers_many(&[bundle.stop.thread], RegisterSets::default()).unwrap();
        let sp = registers[0].as_ref().unwrap().sp();
        let space = outpost_base::AddressSpaceId(bundle.memory[0].space.0);
        assert_eq!(read(remote, space, sp, 64).len(), 64);
    });
    trips(&mut remote, "registers of 1,000 threads", 1, &mut |remote| {
        let ids: Vec<ThreadId> = threads.iter().map(|thread| thread.id).collect();
        assert!(remote.registers_many(&ids, RegisterSets::default()).unwrap().iter().all(Result::is_ok));
    });
    let space = space(&mut remote, process);
    let run_function = symbol(&program, "run");
    trips(&mut remote, "100 breakpoints", 1, &mut |remote| {
        // In the middle of instructions no thread executes: every place is as good as another.
        let states = set_many(remote, (0..100).map(|id| breakpoint(id, space, run_function + u64::from(id % 8))));
        assert!(states.iter().all(Result::is_ok), "{states:?}");
    });
    trips(&mut remote, "clear them", 1, &mut |remote| {
        let changes: Vec<_> = (0..100).map(|id| BreakpointChange::Clear(BreakpointId(id))).collect();
        remote.change_breakpoints(&changes).unwrap();
    });
    remote.detach(process, DetachMode::Deliver).unwrap();
    assert_eq!(text_differences(process.0), []);
}

#[test]
fn over_memory_connecting_and_listing_cost_two_round_trips() {
    let query = ProcessQuery::Id(ProcessId(std::process::id()));
    let mut remote = over_a_pair(Options { first_query: Some(query.clone()), ..Options::default() });
    assert_eq!(remote.list_processes(&query, true).unwrap().len(), 1);
    assert_eq!(remote.link_statistics().round_trips, 2);
}
