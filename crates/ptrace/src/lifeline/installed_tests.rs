//! A lifeline put into a running program, tried without any tracer, and taken away again.

use std::fs;
use std::time::Duration;

use outpost_target::{Fixup, FixupKind};
use outpost_testkit::{Build, Compiler, Running, text_differences, wait_until};

use super::*;
use crate::journal::NoJournal;
use crate::regions::read_regions;
use crate::remote_call::Gadgets;
use crate::sys::ptrace;
use crate::sys::ptrace_wait::{Whom, wait_blocking};

const LIMIT: Duration = Duration::from_secs(20);

/// Calls `site` in a loop and prints how often it did; the argument says what it does with SIGILL and SIGTRAP. SIGUSR1
/// raises SIGILL, which its own handler answers with a line. With `alarms`, the handler of a quick timer calls it, too.
const PROGRAM: &str = r#"
    #include <setjmp.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    static volatile int raised;
    static void own(int signal) {
        sigset_t blocked;
        sigprocmask(SIG_BLOCK, 0, &blocked);
        for (int other = 1; other < 32; other++)
            if (sigismember(&blocked, other) != (other == signal)) { printf("wrong mask %d\n", other); _exit(8); }
        raised++;
    }
    static volatile int wanted;
    static void ask(int signal) { (void)signal; wanted = 1; }
    __attribute__((noinline, noclone)) int site(int value) { __asm__ volatile("" ::: "memory"); return value + 1; }
    static void on_alarm(int signal) { if (site(signal) != signal + 1) { printf("wrong\n"); _exit(9); } }
    static sigjmp_buf back;
    static void on_fault(int signal) { siglongjmp(back, signal); }
    void touch(void *at);
    void undefined(void *at);
    __asm__("touch: movb $1, (%rdi)\nret\nundefined: ud2");
    static void faults(int signal, void (*with)(void *)) {
        if (sigsetjmp(back, 1) != 0) return;
        with(0);
        printf("no %d\n", signal);
        _exit(9);
    }
    int main(int count, char **argv) {
        (void)count;
        int own_faults = !strcmp(argv[1], "faults");
        if (own_faults) signal(SIGSEGV, on_fault), signal(SIGILL, on_fault);
        if (own_faults) printf("%p\n%p\n", (void *)touch, (void *)undefined);
        if (!strcmp(argv[1], "alarms")) signal(SIGALRM, on_alarm), ualarm(50, 50);
        if (!strcmp(argv[1], "own")) signal(SIGILL, own), signal(SIGTRAP, own);
        if (!strcmp(argv[1], "ignore")) signal(SIGILL, SIG_IGN), signal(SIGTRAP, SIG_IGN);
        signal(SIGUSR1, ask);
        printf("%p\n", (void *)site);
        fflush(stdout);
        unsigned sum = 0;
        struct timespec pause = { 0, 100000 };
        for (unsigned round = 1;; round++) {
            sum = site(sum);
            if (sum != round) { printf("wrong\n"); return 9; }
            if (own_faults && round % 100 == 0) faults(SIGSEGV, touch), faults(SIGILL, undefined);
            if (wanted) { wanted = 0; raise(SIGILL); }
            if (round % 100 == 0) nanosleep(&pause, 0);
            if (round % 10000 == 0) { printf("%u %d\n", round, raised); fflush(stdout); }
        }
    }
"#;

struct Program {
    running: Running,
    site: Va,
    memory: ProcessMemory,
}

impl Program {
    fn start(mode: &str) -> Program {
        let path = Build::source(Compiler::Gcc, "kept-alive", PROGRAM).flags("-O1").path();
        let mut running = Running::start(path, &[mode]);
        let site = Va(u64::from_str_radix(running.line().trim_start_matches("0x"), 16).unwrap());
        let memory = ProcessMemory::open(ProcessId(running.pid())).unwrap();
        Program { running, site, memory }
    }

    fn process(&self) -> ProcessId {
        ProcessId(self.running.pid())
    }

    fn regions(&self) -> Vec<Region> {
        read_regions(self.process(), &[]).unwrap()
    }

    fn stop(&self) {
        ptrace::seize(self.process().0).unwrap();
        ptrace::interrupt(self.process().0).unwrap();
        wait_blocking(Whom::Thread(self.process().0)).unwrap();
    }

    /// Stops it somewhere else than in a pad, in the lifeline, in a handler that returns there, or with a fault on its way.
    fn stop_outside(&self, installed: &Installed) {
        self.stop();
        let is_inside = || {
            let general = crate::sys::ptrace_registers::general(self.process().0).unwrap();
            let (pc, sp) = (Va(general.pc()), Va(general.sp()));
            installed.ranges().iter().any(|range| range.contains(pc)) || installed.leads_back(&self.memory, &[(pc, sp)])
        };
        while is_inside() || crate::traps::has_pending_trap(self.process(), self.process().0) {
            ptrace::go(self.process().0, ptrace::Go::Continue, 0).unwrap();
            ptrace::interrupt(self.process().0).unwrap();
            wait_blocking(Whom::Thread(self.process().0)).unwrap();
        }
    }

    fn let_go(&self) {
        ptrace::detach(self.process().0, 0).unwrap();
    }

    fn caller(&self) -> Caller<'_> {
        let gadgets = Gadgets::find(&self.memory, &self.regions()).unwrap();
        Caller::new(self.process(), self.process().0, &self.memory, gadgets, None).unwrap()
    }

    /// `lea 1(%rdi), %eax` is what gcc makes of the function's body, whose copy needs no fixup but the jump's.
    fn pad(&self) -> PadCode {
        let mut expected = vec![0; 3];
        assert_eq!(self.memory.read(self.site, &mut expected), 3);
        assert_eq!(expected, [0x8d, 0x47, 0x01]);
        let mut bytes = expected.clone();
        bytes.extend_from_slice(&[0xe9, 0, 0, 0, 0]);
        let fixups = vec![Fixup { offset: 4, kind: FixupKind::Relative32, destination: self.site + 3 }];
        PadCode { bytes, fixups, expected }
    }

    fn install(&self) -> Installed {
        let mut installed = Installed::install(self.caller(), &self.regions(), &mut NoJournal).unwrap();
        let pad = self.pad();
        let result =
            installed.add_site(self.site, &pad, &self.memory, &self.regions(), &mut NoJournal, || Ok(self.caller()));
        assert!(installed.is_in_pad(result.unwrap()));
        installed
    }

    fn remove(&self, installed: Installed) -> bool {
        let registers = crate::sys::ptrace_registers::general(self.process().0).unwrap();
        assert!(!installed.is_in_pad(Va(registers.pc())), "the loop is seldom there");
        installed.remove(&mut self.caller(), &[(Va(registers.pc()), Va(registers.sp()))], Scan::All, &mut NoJournal)
    }

    fn progress(&mut self) -> (u32, u32) {
        let line = self.running.line();
        let Some((rounds, raised)) = line.split_once(' ') else {
            panic!("{line:?}: {:?}", self.running.wait(LIMIT));
        };
        (rounds.parse().unwrap(), raised.parse().unwrap())
    }

    fn runs_on(&mut self) {
        let before = self.progress().0;
        wait_until("it runs on", LIMIT, || self.progress().0 > before + 30_000);
    }

    /// Mappings, and which signals are caught and ignored.
    fn looks(&self) -> (Vec<VaRange>, Vec<String>) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let signals = status.lines().filter(|line| line.starts_with("SigCgt") || line.starts_with("SigIgn"));
        (self.regions().iter().map(|region| region.range).collect(), signals.map(str::to_owned).collect())
    }
}

#[test]
fn a_site_without_a_tracer_harms_nobody_and_leaves_no_trace() {
    for mode in ["default", "own", "ignore", "alarms"] {
        let mut program = Program::start(mode);
        program.runs_on();
        program.stop();
        let before = program.looks();
        let installed = program.install();
        let again = program.install_again(&installed);
        assert_eq!(program.memory.write(program.site, &[0xd6]), 1);
        program.let_go();
        // Nobody is there: each hit is a SIGILL that the lifeline answers, also while it answers another.
        program.runs_on();
        program.stop_outside(&again);
        assert_eq!(program.memory.write(program.site, &[0x8d]), 1);
        assert!(program.remove(again), "{mode}");
        assert_eq!(program.looks(), before, "{mode}");
        program.let_go();
        program.runs_on();
        assert_eq!(text_differences(program.process().0), []);
    }
}

impl Program {
    /// The same site once more has the same pad.
    fn install_again(&self, installed: &Installed) -> Installed {
        let mut again = installed.clone();
        let unneeded = || -> Result<Caller<'_>, CallError> { panic!("nothing is to be mapped") };
        let pad =
            again.add_site(self.site, &self.pad(), &self.memory, &self.regions(), &mut NoJournal, unneeded).unwrap();
        assert_eq!(installed.pad_of(self.site), Some(pad));
        assert_eq!(installed.site_of_pad(pad + 3), Some((self.site, pad)));
        again
    }
}

/// An instruction that faults by itself may have been a site: the program's own handler is to come to know of it.
#[test]
fn what_faults_by_itself_does_so_where_a_site_was() {
    let mut program = Program::start("faults");
    // The first line was `touch`.
    let touch = program.site;
    let next =
        |program: &mut Program| Va(u64::from_str_radix(program.running.line().trim_start_matches("0x"), 16).unwrap());
    let (undefined, _) = (next(&mut program), next(&mut program));
    program.runs_on();
    program.stop();
    let mut installed = Installed::install(program.caller(), &program.regions(), &mut NoJournal).unwrap();
    installed.take_faults_of_pages(program.caller(), &mut NoJournal).unwrap();
    for (at, original) in [(touch, 0xc6), (undefined, 0x0f)] {
        installed.add_bare_site(at, original, &program.memory, &program.regions()).unwrap();
    }
    // One is a site still.
    assert_eq!(program.memory.write(undefined, &[0xd6]), 1);
    program.let_go();
    program.runs_on();
    program.stop_outside(&installed);
    let mut bytes = [0; 2];
    assert_eq!(program.memory.read(undefined, &mut bytes), 2);
    assert_eq!(bytes, [0x0f, 0x0b], "it was put back");
    program.remove(installed);
    program.let_go();
    program.runs_on();
}

/// Two servers, one after the other, died with everything: the second one's lifeline has the first one's fault for the original.
#[test]
fn a_site_on_another_ones_site_leads_on_to_that() {
    let mut program = Program::start("default");
    program.stop();
    let first = program.install();
    assert_eq!(program.memory.write(program.site, &[0xd6]), 1);
    let mut second = Installed::install(program.caller(), &program.regions(), &mut NoJournal).unwrap();
    second.add_bare_site(program.site, 0xd6, &program.memory, &program.regions()).unwrap();
    program.let_go();
    program.runs_on();
    program.stop_outside(&second);
    assert!(program.remove(second));
    program.let_go();
    program.runs_on();
    program.stop_outside(&first);
    assert_eq!(program.memory.write(program.site, &[0x8d]), 1);
    assert!(program.remove(first));
    program.let_go();
    program.runs_on();
}

#[test]
fn the_programs_own_handler_still_gets_what_is_its_own() {
    let mut program = Program::start("own");
    program.stop();
    let installed = program.install();
    program.let_go();
    assert_eq!(program.progress().1, 0);
    program.running.signal("USR1");
    wait_until("its handler ran", LIMIT, || program.progress().1 == 1);
    program.stop();
    assert!(program.remove(installed));
    program.let_go();
    program.running.signal("USR1");
    wait_until("its handler ran again", LIMIT, || program.progress().1 == 2);
}

#[test]
fn an_action_that_was_replaced_is_taken_over() {
    let mut program = Program::start("default");
    program.stop();
    let mut installed = program.install();
    // As if the program had set a handler: the one it has for SIGUSR1.
    let own = action(&program.caller(), libc::SIGUSR1).unwrap();
    set_action(&program.caller(), libc::SIGILL, own).unwrap();
    installed.keep(&mut program.caller(), &mut NoJournal).unwrap();
    let present = action(&program.caller(), libc::SIGILL).unwrap();
    assert!(installed.lifeline.is_ours(present));
    // The kernel resets the action when a fault is blocked: ours is put back, and the program's own is not forgotten.
    set_action(&program.caller(), libc::SIGILL, KernelSigaction { handler: 0, ..present }).unwrap();
    assert_eq!(installed.keep(&mut program.caller(), &mut NoJournal).unwrap(), 1 << (libc::SIGILL - 1));
    assert_eq!(installed.own[0], own);
    assert_eq!(program.memory.write(program.site, &[0xd6]), 1);
    program.let_go();
    program.runs_on();
    program.stop_outside(&installed);
    assert_eq!(program.memory.write(program.site, &[0x8d]), 1);
    assert!(program.remove(installed));
    assert_eq!(action(&program.caller(), libc::SIGILL).unwrap(), own);
    program.let_go();
}

#[test]
fn a_handler_address_that_the_program_kept_holds_the_mapping() {
    let program = Program::start("default");
    program.stop();
    let installed = program.install();
    let handler = installed.lifeline.action(KernelSigaction::default()).handler;
    // As a program does that saves the old action in a variable.
    let data = program.regions().into_iter().find(|region| region.write && region.usage == RegionUsage::Image).unwrap();
    let at = data.range.end - 8;
    assert_eq!(program.memory.write(at, &handler.to_le_bytes()), 8);
    let regions = program.regions().len();
    assert!(!program.remove(installed));
    assert_eq!(program.regions().len(), regions, "the mappings stay");
    assert_eq!(action(&program.caller(), libc::SIGILL).unwrap(), KernelSigaction::default());
    program.let_go();
}

#[test]
fn what_cannot_be_placed_is_said() {
    let program = Program::start("default");
    program.stop();
    let mut installed = program.install();
    let mut add = |site, code: &PadCode| {
        installed.add_site(site, code, &program.memory, &program.regions(), &mut NoJournal, || Ok(program.caller()))
    };
    let mut far = program.pad();
    far.fixups[0].destination = Va(0x10_0000);
    assert_eq!(add(program.site + 1, &far), Err(NotSafe::OutOfReach));
    assert_eq!(add(Va(0x1000_0000_0000), &far), Err(NotSafe::NoRoom));
    program.let_go();
}
