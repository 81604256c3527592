//! A session over an in-memory link: what each thing costs, what is known without asking, how it ends.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::*;
use outpost_base::*;
use outpost_remote::{Options, RemoteTarget};
use outpost_server::SessionEnd;
use outpost_target::*;
use outpost_transport::Connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn attach(remote: &mut RemoteTarget) -> StopBundle {
    let mode = AttachMode::Invasive { break_in: true };
    remote.attach(PROCESS, mode, &BundleRequest::default()).unwrap().unwrap()
}

fn plan(generation: u64) -> Plan {
    Plan::run_all(StopGeneration(generation))
}

#[test]
fn connecting_and_listing_processes_costs_two_round_trips() {
    let (target, script) = Scripted::new(1);
    let options = Options { first_query: Some(ProcessQuery::All), ..Options::default() };
    let (mut remote, _server) = connect(target, options);
    remote.list_processes(&ProcessQuery::All, true).unwrap();
    assert_eq!(remote.link_statistics().round_trips, 2);
    assert_eq!(script.take_log(), ["list"]);
    // Another question is another round trip.
    let (_, trips) = round_trips(&mut remote, |remote| remote.list_processes(&ProcessQuery::Id(PROCESS), true));
    assert_eq!(trips, 1);
}

#[test]
fn attaching_brings_lists_registers_and_memory_in_one_round_trip() {
    let (target, script) = Scripted::new(1000);
    let (mut remote, _server) = connect(target, Options::default());
    let (_, trips) = round_trips(&mut remote, |remote| {
        attach(remote);
        assert_eq!(remote.processes().unwrap().len(), 1);
        assert_eq!(remote.threads(PROCESS).unwrap().len(), 1000);
        assert!(remote.modules(PROCESS).unwrap().is_empty());
        assert!(remote.registers_many(&[THREAD], RegisterSets::default()).unwrap()[0].is_ok());
        let mut stack = [0; 16];
        assert_eq!(remote.read_memory(SPACE, Va(0x7010), &mut stack).unwrap(), 16);
        assert_eq!(stack, [1; 16]);
    });
    assert_eq!(trips, 1);
    assert_eq!(script.take_log(), ["attach 100", "processes"]);
}

#[test]
fn a_step_costs_one_round_trip_and_what_it_brought_none() {
    let (target, script) = Scripted::new(3);
    script.after_plan(Event::Stopped(bundle(2, StopReason::BreakIn, 3)));
    let (mut remote, _server) = connect(target, Options::default());
    attach(&mut remote);
    let (_, trips) = round_trips(&mut remote, |remote| {
        remote.resume(&plan(1)).unwrap();
        let Event::Stopped(stop) = event(remote) else { panic!() };
        assert_eq!(stop.generation, StopGeneration(2));
        let mut stack = [0; 4];
        remote.read_memory(SPACE, Va(0x7000), &mut stack).unwrap();
        assert_eq!(stack, [2; 4], "not the memory of the stop before");
        assert_eq!(remote.threads(PROCESS).unwrap().len(), 3);
        remote.registers_many(&[THREAD], RegisterSets::default()).unwrap();
        assert_eq!(remote.last_stop(), Some(&stop));
    });
    assert_eq!(trips, 1);
}

#[test]
fn registers_of_a_thousand_threads_cost_one_round_trip_and_are_kept_until_written_or_resumed() {
    let (target, script) = Scripted::new(1000);
    let (mut remote, _server) = connect(target, Options::default());
    attach(&mut remote);
    let threads: Vec<ThreadId> = (100..1100).map(ThreadId).collect();
    let read = |remote: &mut RemoteTarget| remote.registers_many(&threads, RegisterSets::default()).unwrap();
    let (answers, trips) = round_trips(&mut remote, read);
    assert_eq!((answers.len(), trips), (1000, 1));
    assert_eq!(round_trips(&mut remote, read).1, 0);
    let mut context = answers[5].clone().unwrap();
    context.set_pc(Va(0x1234));
    remote.set_registers(threads[5], &context).unwrap();
    let (answers, trips) = round_trips(&mut remote, read);
    assert_eq!((answers[5].as_ref().unwrap().pc(), trips), (Va(0x1234), 1));
    remote.resume(&plan(1)).unwrap();
    assert_eq!(round_trips(&mut remote, read).1, 1, "nothing is kept of what may run");
    assert!(script.take_log().contains(&"registers 999".to_owned()), "the one that came with the stop is known");
}

#[test]
fn a_stop_of_one_thread_leaves_nothing_to_be_kept() {
    let (target, script) = Scripted::new(2);
    script.after_plan(Event::Stopped(bundle(2, StopReason::BreakIn, 2)));
    let (mut remote, _server) = connect(target, Options::default());
    attach(&mut remote);
    remote.resume(&Plan { scope: StopScope::Thread, ..plan(1) }).unwrap();
    event(&mut remote);
    assert_eq!(round_trips(&mut remote, |remote| remote.threads(PROCESS)).1, 1);
    assert_eq!(round_trips(&mut remote, |remote| remote.threads(PROCESS)).1, 1);
}

#[test]
fn writing_voids_the_memory_that_came_with_the_stop() {
    let (mut target, script) = Scripted::new(1);
    target.fake.memory = vec![(Va(0x7000), vec![0xee; 64])];
    let (mut remote, _server) = connect(target, Options::default());
    attach(&mut remote);
    let mut byte = [0];
    remote.read_memory(SPACE, Va(0x7000), &mut byte).unwrap();
    assert_eq!(byte, [1]);
    let writes = [WriteRequest { at: Va(0x7000), bytes: vec![0xee] }];
    assert_eq!(remote.write_many(SPACE, &writes).unwrap(), [1]);
    remote.read_memory(SPACE, Va(0x7000), &mut byte).unwrap();
    assert_eq!(byte, [0xee]);
    // One of many bytes is cut, so that no frame is longer than a server takes.
    let writes = [WriteRequest { at: Va(0), bytes: vec![0; 40 << 20] }];
    assert_eq!(remote.write_many(SPACE, &writes).unwrap(), [40 << 20]);
    assert_eq!(script.take_log().iter().filter(|line| line.starts_with("write 1048576")).count(), 40);
}

#[test]
fn a_hundred_breakpoints_cost_one_round_trip() {
    let (target, _script) = Scripted::new(1);
    let (mut remote, _server) = connect(target, Options::default());
    let changes: Vec<_> = (0..100)
        .map(|id| {
            BreakpointChange::Set(BreakpointSpec {
                id: BreakpointId(id),
                space: SPACE,
                at: Va(u64::from(id) * 16),
                kind: BreakpointKind::Software,
                threads: ThreadFilter::All,
                condition: None,
                skip: 0,
                one_shot: false,
                auto_continue: false,
                pad: None,
                log: None,
                jump: None,
            })
        })
        .collect();
    let (answers, trips) = round_trips(&mut remote, |remote| remote.change_breakpoints(&changes).unwrap());
    assert_eq!((answers.len(), trips), (100, 1));
}

#[test]
fn large_reads_are_cut_pipelined_and_put_together() {
    let (mut target, script) = Scripted::new(1);
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    target.fake.memory = vec![(Va(0x10_0000), bytes.clone())];
    let (mut remote, _server) = connect(target, Options::default());
    let reads = [
        ReadRequest { at: Va(0x10_0000), len: 4_000_000 },
        ReadRequest { at: Va(0x10_0000 + 4_900_000), len: 1 << 20 },
        ReadRequest { at: Va(0x5), len: 10 },
        ReadRequest { at: Va(0x10_0003), len: 3 },
    ];
    let (answers, trips) = round_trips(&mut remote, |remote| remote.read_many(SPACE, &reads).unwrap());
    assert_eq!(trips, 1);
    assert!(answers[0] == bytes[..4_000_000], "whole");
    assert!(answers[1] == bytes[4_900_000..], "up to the hole");
    assert_eq!((answers[2].as_slice(), answers[3].as_slice()), (&[][..], &bytes[3..6]));
    assert!(script.take_log().len() >= 19, "no request asks for more than 256 KiB");
}

#[test]
fn a_stream_of_memory_comes_in_order_by_one_round_trip_and_ends_when_told() {
    let (mut target, script) = Scripted::new(1);
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    target.fake.memory = vec![(Va(0x10_0000), bytes.clone())];
    let (mut remote, _server) = connect(target, Options::default());
    let range = VaRange::from_len(Va(0x10_0000), 6_000_000);
    let mut got = Vec::new();
    let mut take = |piece: &[u8]| {
        got.extend_from_slice(piece);
        true
    };
    let (count, trips) = round_trips(&mut remote, |remote| remote.read_stream(SPACE, range, &mut take).unwrap());
    assert_eq!((count, trips), (5_000_000, 1));
    assert!(got == bytes, "up to the hole");

    script.take_log();
    let mut pieces = 0;
    let count = remote.read_stream(SPACE, range, &mut |_| {
        pieces += 1;
        false
    });
    assert!(count.unwrap() < 1 << 20 && pieces == 1);
    // What was asked for ahead was taken in: the next answer is the next question's.
    assert_eq!(remote.read_many(SPACE, &[ReadRequest { at: Va(0x10_0003), len: 3 }]).unwrap(), [&bytes[3..6]]);
}

#[test]
fn files_are_read_in_pieces_and_failures_say_what_failed() {
    let (target, _script) = Scripted::new(1);
    let (mut remote, _server) = connect(target, Options::default());
    let (file, len) = remote.open_file(None, "/file").unwrap();
    assert_eq!(len, 1 << 30);
    let (answers, trips) = round_trips(&mut remote, |remote| remote.read_file(file, &[(0, 4 << 20), (5, 3)]).unwrap());
    assert_eq!((answers[0].len(), answers[0][3 << 20], answers[1].as_slice(), trips), (4 << 20, 12, &[0; 3][..], 1));
    let error = remote.open_file(None, "/none").unwrap_err();
    assert_eq!(error, TargetError::File { path: "/none".into(), reason: "No such file or directory".into() });
    assert_eq!(remote.kill(PROCESS).unwrap_err(), TargetError::Gone { process: PROCESS });
    let error = remote.attach(ProcessId(7), AttachMode::Existing, &BundleRequest::default()).unwrap_err();
    assert_eq!(error, TargetError::NoProcess { process: ProcessId(7) });
    assert!(remote.clock().is_ok(), "the session goes on");
}

#[test]
fn a_stale_plan_is_refused_and_changes_nothing() {
    let (target, _script) = Scripted::new(1);
    let (mut remote, _server) = connect(target, Options::default());
    attach(&mut remote);
    let error = remote.resume(&plan(7)).unwrap_err();
    assert_eq!(error, TargetError::StaleGeneration { asked: 7, current: 1 });
    assert_eq!(round_trips(&mut remote, |remote| remote.threads(PROCESS)).1, 0, "it still stands");
}

#[test]
fn another_thread_breaks_in_while_this_one_waits() {
    let (target, script) = Scripted::new(1);
    let (mut remote, _server) = connect(target, Options::default());
    attach(&mut remote);
    remote.resume(&plan(1)).unwrap();
    let interrupter = remote.interrupter();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        interrupter.break_in();
    });
    let Event::Stopped(stop) = event(&mut remote) else { panic!() };
    assert_eq!(stop.stop.reason, StopReason::BreakIn);
    thread.join().unwrap();
    assert!(script.take_log().contains(&"break in".to_owned()));
}

#[test]
fn events_that_come_while_an_answer_is_waited_for_are_kept_and_show() {
    let (target, script) = Scripted::new(1);
    let (mut remote, _server) = connect(target, Options::default());
    let appeared = |id| Event::ProcessAppeared { process: ProcessId(id), name: "x".into() };
    for id in 0..10 {
        script.happen(appeared(id));
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while remote.link_statistics().messages_received < 14 {
        remote.clock().unwrap();
        assert!(Instant::now() < deadline);
    }
    let shows = |remote: &RemoteTarget| {
        let source = remote.event_source().unwrap();
        let mut fds = [PollFd::from_borrowed_fd(source, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    };
    for id in 0..10 {
        assert!(shows(&remote));
        assert_eq!(event(&mut remote), appeared(id));
    }
    assert!(!shows(&remote));
    let waited = remote.wait_event(Some(Duration::from_millis(1)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut));
}

#[test]
fn a_wait_ends_when_another_descriptor_is_readable() {
    let (target, _script) = Scripted::new(1);
    let (mut remote, _server) = connect(target, Options::default());
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let waited = remote.wait_event(None, &[reader.as_fd()]).unwrap();
    assert!(matches!(waited, Waited::OtherReadable));
}

#[test]
fn the_end_of_the_server_is_an_error_and_no_hang() {
    let (near, far) = Connection::pair().unwrap();
    let cut = far.try_clone().unwrap();
    let (target, _script) = Scripted::new(1);
    let server = serve(target, far);
    let (mut remote, _) = RemoteTarget::open(near, Options::default()).unwrap();
    cut.shutdown();
    server.join().unwrap();
    for _ in 0..2 {
        let error = remote.clock().unwrap_err();
        assert_eq!(error.severity(), Severity::Connection);
        assert!(error.to_string().starts_with("the connection is gone"), "{error}");
    }
    assert!(remote.wait_event(None, &[]).is_err());
}

/// A server of a release that knows no sessions that outlive their link: all else works, and what it lacks is said.
#[test]
fn a_server_that_lacks_something_is_used_and_what_is_missing_is_said() {
    let (near, far) = Connection::pair().unwrap();
    // The direct form of the server offers no such thing, like the first one ever.
    let server = serve(Scripted::new(1).0, far);
    let (mut remote, session) = RemoteTarget::open(near, Options::default()).unwrap();
    assert!(!session.resume && session.grace.is_zero());
    attach(&mut remote);
    let error = remote.sessions().unwrap_err().to_string();
    assert!(error.contains("the server is of a release that holds no sessions"), "{error}");
    assert!(remote.clock().is_ok());
    drop(remote);
    assert_eq!(server.join().unwrap(), SessionEnd::Closed);
    // What cannot be done without it fails at once, before a session is opened.
    let (near, far) = Connection::pair().unwrap();
    let server = serve(Scripted::new(1).0, far);
    let options = Options { take_over: Some(0), ..Options::default() };
    let error = RemoteTarget::open(near, options).unwrap_err().to_string();
    assert!(error.contains("knows no sessions that outlive their link"), "{error}");
    assert!(!matches!(server.join().unwrap(), SessionEnd::Ordered(_)));
}

#[test]
fn dropping_the_target_ends_the_session() {
    let (target, _script) = Scripted::new(1);
    let (remote, server) = connect(target, Options::default());
    let interrupter = remote.interrupter();
    drop(remote);
    assert_eq!(server.join().unwrap(), SessionEnd::Closed);
    interrupter.break_in();
}

#[test]
fn a_long_row_of_requests_is_answered_whole_and_an_event_does_not_wait_behind_it() {
    let (mut target, script) = Scripted::new(1);
    target.fake.memory = vec![(Va(0x10_0000), vec![5; 64 << 20])];
    let (mut remote, _server) = connect(target, Options::default());
    let interrupter = remote.interrupter();
    let thread = std::thread::spawn(move || interrupter.break_in());
    for _ in 0..3 {
        let reads = [ReadRequest { at: Va(0x10_0000), len: 64 << 20 }];
        assert_eq!(remote.read_many(SPACE, &reads).unwrap()[0].len(), 64 << 20);
    }
    thread.join().unwrap();
    assert!(matches!(event(&mut remote), Event::Stopped(_)));
    assert!(script.take_log().contains(&"break in".to_owned()));
}
