//! Threads that come late.

use outpost_testkit::{Running, state, tracer, wait_until};

use super::*;

/// It stopped after the others were put right: what it needs it has not got, so it is not let go with them.
#[test]
fn who_stops_late_is_put_right_the_next_time() {
    const LIMIT: Duration = Duration::from_secs(20);
    let running = Running::start("/bin/sleep", &["60"]);
    let (thread, process) = (running.pid(), ProcessId(running.pid()));
    wait_until("it sleeps", LIMIT, || state(thread) == Some('S'));
    seize_alone(thread).unwrap();
    ptrace::interrupt(thread).unwrap();
    wait_until("it is stopped", LIMIT, || state(thread) == Some('t'));
    let mut captives = Captives::default();
    captives.awaited.insert(thread, Awaited { process, held: None });
    let plan = Plan { sites: BTreeMap::new(), threads: BTreeMap::new(), remains: None, pages: Vec::new() };
    let mut report = RescueReport::default();
    assert!(!put_right(process, &mut captives, &plan, &mut report));
    assert_eq!((report.threads_stopped, tracer(thread)), (0, signal::own_tid()));
    assert!(!captives.are_awaited());
    assert!(put_right(process, &mut captives, &plan, &mut report));
    assert_eq!((report.threads_stopped, tracer(thread)), (1, 0));
}
