//! Threads that are in our code, or may come to it, when the worker is killed: what they need stays until they need it no more.

use outpost_target::{DisplacedCopy, Fixup, FixupKind, JumpCode, PadCode};

use super::*;
use crate::lifeline::{Installed, Jump};
use crate::regions::read_regions;
use crate::remote_call::{Caller, Gadgets};
use crate::tracer::has_handler;

/// What gcc makes of the site's function.
const DISPLACED: [u8; 3] = [0x8d, 0x47, 0x01];
/// `jmp $`: whoever comes there stays until somebody writes [`NOPS`] over it.
const STAY: [u8; 2] = [0xeb, 0xfe];
const NOPS: [u8; 2] = [0x90; 2];
/// A thread faults at it.
const FAULT: u8 = 0xd6;
/// vfork, and the child rests: until it is killed the thread is in uninterruptible sleep.
#[rustfmt::skip]
const VFORK: [u8; 20] = [
    0xb8, 0x3a, 0, 0, 0, 0x0f, 0x05, // mov $58, %eax; syscall
    0x85, 0xc0, 0x75, 0x09,          // test %eax, %eax; jnz behind all this
    0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, // mov $34, %eax; syscall: pause
    0xeb, 0xf7,                      // again
];

impl Part {
    pub(super) fn play_in_code(&mut self, role: &str) {
        match role {
            "in-pad" => {
                let jump = self.come_to_pad(&STAY);
                ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
                say(&format!("ready, pad at {}", jump.at.0));
            }
            "before-vfork" => {
                self.come_to_pad(&VFORK);
            }
            "lifeline" => {
                self.stop_and_install();
                ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
            }
            "with-site" => {
                let mut installed = self.stop_and_install();
                self.plant_with_pad(&mut installed);
                ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
                say("ready");
                // Until it is killed; after that the lifeline leads the thread on.
                loop {
                    match self.stop() {
                        libc::SIGILL => self.enter_pad(&installed),
                        signal => ptrace::go(self.thread, ptrace::Go::Continue, signal).unwrap(),
                    }
                }
            }
            "at-vfork" => {
                self.stop_and_install();
                ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
                say("ready");
                loop {
                    match ptrace_wait::wait_blocking(ptrace_wait::Whom::Thread(self.thread)).unwrap().1.decode() {
                        ptrace_wait::Decoded::Stopped { event: libc::PTRACE_EVENT_VFORK, .. } => break,
                        ptrace_wait::Decoded::Stopped { signal, event } => {
                            let signal = if event == 0 { signal } else { 0 };
                            ptrace::go(self.thread, ptrace::Go::Continue, signal).unwrap();
                        }
                        other => panic!("{other:?}"),
                    }
                }
                say("forked");
            }
            other => panic!("{other}"),
        }
        say("ready");
        std::thread::sleep(LIMIT);
    }

    fn stop_and_install(&mut self) -> Installed {
        ptrace::interrupt(self.thread).unwrap();
        self.stop();
        self.install()
    }

    fn install(&mut self) -> Installed {
        let memory = ProcessMemory::open(self.process).unwrap();
        let regions = read_regions(self.process, &[]).unwrap();
        let gadgets = Gadgets::find(&memory, &regions).unwrap();
        let caller = Caller::new(self.process, self.thread, &memory, gadgets, None).unwrap();
        Installed::install(caller, &regions, &mut self.journal).unwrap()
    }

    /// What the program does at the site is done in a pad; a thread that comes there faults.
    fn plant_with_pad(&mut self, installed: &mut Installed) {
        let back = Fixup { offset: 4, kind: FixupKind::Relative32, destination: self.site + DISPLACED.len() as u64 };
        let code = PadCode {
            bytes: [&DISPLACED[..], &[0xe9, 0, 0, 0, 0]].concat(),
            fixups: vec![back],
            expected: DISPLACED.to_vec(),
        };
        let memory = ProcessMemory::open(self.process).unwrap();
        let regions = read_regions(self.process, &[]).unwrap();
        let gadgets = Gadgets::find(&memory, &regions).unwrap();
        let caller = || Caller::new(self.process, self.thread, &memory, gadgets, None);
        installed.add_site(self.site, &code, &memory, &regions, &mut self.journal, caller).unwrap();
        self.journal.site_planned(AddressSpaceId(1), self.process, self.site, &DISPLACED[..1], &[FAULT]);
        assert_eq!(memory.write(self.site, &[FAULT]), 1);
    }

    fn enter_pad(&self, installed: &Installed) {
        let mut general = registers::general(self.thread).unwrap();
        assert_eq!(general.pc(), self.site.0);
        general.set_pc(installed.pad_of(self.site).unwrap().0);
        registers::set_general(self.thread, &general).unwrap();
        ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
    }

    /// Brings the thread to the beginning of a jump pad: `before`, the trap, the displaced instruction.
    fn come_to_pad(&mut self, before: &[u8]) -> Jump {
        self.plant();
        self.stop();
        let image = JournalImage::read(self.journal.descriptor()).unwrap();
        self.memory().write(self.site, &image.sites[0].original);
        self.journal.site_removed(AddressSpaceId(1), self.site);
        let mut general = registers::general(self.thread).unwrap();
        general.set_pc(self.site.0);
        registers::set_general(self.thread, &general).unwrap();

        let mut expected = vec![0; JumpCode::WINDOW];
        assert_eq!(self.memory().read(self.site, &mut expected), expected.len());
        assert!(expected.starts_with(&DISPLACED), "{expected:x?}");
        let trap = before.len() as u16;
        let back =
            Fixup { offset: trap + 5, kind: FixupKind::Relative32, destination: self.site + DISPLACED.len() as u64 };
        let code = JumpCode {
            bytes: [before, &[JumpCode::TRAP], &DISPLACED, &[0xe9, 0, 0, 0, 0]].concat(),
            fixups: vec![back],
            expected,
            trap,
            exits: Vec::new(),
            copies: vec![DisplacedCopy { site_offset: 0, pad_offset: trap + 1 }],
        };
        let mut installed = self.install();
        let memory = ProcessMemory::open(self.process).unwrap();
        let regions = read_regions(self.process, &[]).unwrap();
        let gadgets = Gadgets::find(&memory, &regions).unwrap();
        let caller = Caller::new(self.process, self.thread, &memory, gadgets, None).unwrap();
        let jump = installed.add_jump(self.site, &code, None, caller, &regions, &mut self.journal).unwrap();
        general.set_pc(jump.at.0);
        registers::set_general(self.thread, &general).unwrap();
        jump
    }
}

fn threaded(nanoseconds: u64) -> Debuggee {
    Debuggee::built(&[&nanoseconds.to_string(), "threaded"], "-O1 -pthread")
}

impl Debuggee {
    /// From a copy of the program that the test may delete.
    fn of_copy(folder: &std::path::Path) -> Debuggee {
        let copy = folder.join("copy");
        std::fs::copy(Build::source(Compiler::Gcc, "abandoned", DEBUGGEE).flags("-O1").path(), &copy).unwrap();
        Debuggee::started(copy, &[&OFTEN.to_string()])
    }

    fn goes_on(&mut self) {
        let before = self.progress()[0];
        wait_until("it goes on", LIMIT, || self.progress()[0] > before + 3);
    }

    fn has_our_handler(&self) -> bool {
        has_handler(ThreadId(self.id().0), libc::SIGILL)
    }

    /// The thread that is not the first.
    fn other_thread(&self) -> u32 {
        let threads = ProcRoot::default().threads(self.id().0);
        threads.into_iter().find(|thread| *thread != self.id().0).unwrap()
    }

    fn child(&self) -> Pid {
        let proc = ProcRoot::default();
        let is_child = |id: &u32| proc.stat(*id).is_some_and(|stat| stat.parent == self.id().0);
        Pid::from_raw(proc.process_ids().into_iter().find(is_child).unwrap() as i32).unwrap()
    }

    /// The rescue comes to its end, and nothing of ours is left.
    fn assert_rescued(self, mut rescuer: Rescuer) {
        wait_until("the rescue is over", LIMIT, || rescuer.continue_rescue());
        assert!(!self.has_our_handler());
        let ours = |region: &outpost_target::Region| region.execute && region.inode == 0 && region.name.is_empty();
        assert!(!read_regions(self.id(), &[]).unwrap().iter().any(ours));
        self.assert_unharmed();
    }
}

/// A thread of a debuggee that somebody else than its worker traces, until this is dropped.
struct Elsewhere(Child);

impl Elsewhere {
    fn hold(thread: u32) -> Elsewhere {
        let script = format!(
            "import ctypes, time\n\
             libc = ctypes.CDLL(None, use_errno=True)\n\
             assert libc.ptrace(0x4206, {thread}, None, None) == 0\n\
             print('held', flush=True)\n\
             time.sleep(60)"
        );
        let mut child = Command::new("python3").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Elsewhere(child)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Its trap ended it, once the program's own actions were back.
#[test]
fn the_handler_stays_for_a_thread_that_does_not_leave_a_pad() {
    let mut debuggee = Debuggee::start(OFTEN);
    let worker = Worker::start("in-pad", debuggee.id(), debuggee.site);
    let pad = Va(worker.ready.trim().rsplit(' ').next().unwrap().parse().unwrap());
    let (report, mut rescuer) = worker.kill_and_begin_rescue();
    assert_eq!((report.lifelines_removed, report.lifelines_left), (0, 1), "{report}");
    assert!(!rescuer.continue_rescue());
    assert!(debuggee.has_our_handler());
    assert_eq!(ProcessMemory::open(debuggee.id()).unwrap().write(pad, &NOPS), NOPS.len());
    let before = debuggee.progress()[0];
    wait_until("it is led on", LIMIT, || debuggee.progress()[0] > before + 3);
    debuggee.assert_rescued(rescuer);
}

/// A signal came while it was in the pad, and nobody was there to take it out of it first.
#[test]
fn the_handler_stays_for_a_thread_that_returns_into_a_pad() {
    let mut debuggee = Debuggee::start(OFTEN);
    let worker = Worker::start("in-pad", debuggee.id(), debuggee.site);
    let pad = Va(worker.ready.trim().rsplit(' ').next().unwrap().parse().unwrap());
    debuggee.running.signal("HUP");
    let (report, rescuer) = worker.kill_and_begin_rescue();
    assert_eq!((report.lifelines_removed, report.lifelines_left), (0, 1), "{report}");
    assert!(debuggee.has_our_handler());
    assert_eq!(ProcessMemory::open(debuggee.id()).unwrap().write(pad, &NOPS), NOPS.len());
    debuggee.running.signal("USR1");
    let before = debuggee.progress()[0];
    wait_until("it is led on", LIMIT, || debuggee.progress()[0] > before + 3);
    debuggee.assert_rescued(rescuer);
}

/// It is stopped when the rescue begins, and let out of the pad. That all were stopped is not true any more then.
#[test]
fn the_handler_stays_for_a_thread_that_does_not_stop_again() {
    let debuggee = threaded(OFTEN);
    let worker = Worker::start("before-vfork", debuggee.id(), debuggee.site);
    debuggee.running.signal("STOP");
    let (report, mut rescuer) = worker.kill_and_begin_rescue();
    debuggee.running.signal("CONT");
    assert_eq!((report.lifelines_removed, report.lifelines_left), (0, 1), "{report}");
    assert!(!rescuer.continue_rescue());
    assert!(debuggee.has_our_handler());
    kill_process(debuggee.child(), Signal::KILL).unwrap();
    debuggee.assert_rescued(rescuer);
}

/// As a worker does that is slow to die.
#[test]
fn the_lifeline_stays_while_somebody_else_has_a_thread() {
    let debuggee = threaded(OFTEN);
    let other = Elsewhere::hold(debuggee.other_thread());
    let worker = Worker::start("lifeline", debuggee.id(), debuggee.site);
    let (report, mut rescuer) = worker.kill_and_begin_rescue();
    assert_eq!((report.lifelines_removed, report.lifelines_left), (0, 1), "{report}");
    assert!(!rescuer.continue_rescue());
    assert!(debuggee.has_our_handler());
    drop(other);
    debuggee.assert_rescued(rescuer);
}

#[test]
fn a_signal_that_was_held_arrives_once() {
    let mut debuggee = threaded(OFTEN);
    let other = Elsewhere::hold(debuggee.other_thread());
    let mut worker = Worker::start("holding", debuggee.id(), debuggee.site);
    debuggee.running.signal("USR1");
    worker.wait_for("held");
    let (report, mut rescuer) = worker.kill_and_begin_rescue();
    assert_eq!(report.signals_restored, 1, "{report}");
    wait_until("it arrives", LIMIT, || debuggee.progress()[1] == 1);
    drop(other);
    wait_until("the rescue is over", LIMIT, || rescuer.continue_rescue());
    let before = debuggee.progress()[0];
    wait_until("it runs on", LIMIT, || debuggee.progress()[0] > before + 3);
    assert_eq!(debuggee.progress()[1], 1);
    debuggee.assert_unharmed();
}

/// The worker had not told of it. What it has in its memory is its parent's.
#[test]
fn a_vfork_child_takes_nothing_from_its_parent() {
    let debuggee = threaded(OFTEN);
    let mut worker = Worker::start("at-vfork", debuggee.id(), debuggee.site);
    debuggee.running.signal("USR2");
    worker.wait_for("forked");
    let (report, rescuer) = worker.kill_and_begin_rescue();
    assert_eq!((&report.children[..], report.lifelines_removed, report.lifelines_left), (&[][..], 0, 1), "{report}");
    kill_process(debuggee.child(), Signal::KILL).unwrap();
    debuggee.assert_rescued(rescuer);
}

#[test]
fn what_killed_sessions_left_is_found_and_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    let mut debuggee = Debuggee::of_copy(folder.path());
    Worker::start("with-site", debuggee.id(), debuggee.site).kill_with_guardian();
    debuggee.goes_on();
    // One that came later and did not clean: its handler leads to the other's.
    Worker::start("lifeline", debuggee.id(), debuggee.site).kill_with_guardian();
    debuggee.goes_on();
    assert_eq!(text_differences(debuggee.id().0), [debuggee.site.0]);
    let reports = clean_abandoned(debuggee.id());
    let done: Vec<_> = reports.iter().map(|report| (report.sites_restored, report.lifelines_removed)).collect();
    assert_eq!(done, [(0, 1), (1, 1)]);
    assert_eq!(clean_abandoned(debuggee.id()), []);
    let journal = create_shared().unwrap();
    debuggee.assert_rescued(Rescuer::new(journal));
}

/// What the code was is not known: the way past it has to stay.
#[test]
fn what_is_not_understood_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut debuggee = Debuggee::of_copy(folder.path());
    Worker::start("with-site", debuggee.id(), debuggee.site).kill_with_guardian();
    std::fs::remove_file(folder.path().join("copy")).unwrap();
    assert_eq!(clean_abandoned(debuggee.id()), []);
    assert!(debuggee.has_our_handler());
    let mut byte = [0];
    ProcessMemory::open(debuggee.id()).unwrap().read(debuggee.site, &mut byte);
    assert_eq!(byte, [FAULT]);
    debuggee.goes_on();
}

/// It has a tracer, who cares for it.
#[test]
fn what_belongs_to_a_living_session_is_left_as_it_is() {
    let mut debuggee = Debuggee::start(OFTEN);
    let worker = Worker::start("with-site", debuggee.id(), debuggee.site);
    assert_eq!(clean_abandoned(debuggee.id()), []);
    debuggee.goes_on();
    assert_eq!(text_differences(debuggee.id().0), [debuggee.site.0]);
    let (report, rescuer) = worker.kill_and_begin_rescue();
    assert_eq!(report.sites_restored, 1, "{report}");
    debuggee.assert_rescued(rescuer);
}
