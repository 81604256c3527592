//! Functions called in a debuggee's thread.

use outpost_base::{AddressSpaceId, Arch, ProcessId, RegisterContext, ThreadId, Va};
use outpost_ptrace::LiveTarget;
use outpost_target::*;
use outpost_testkit::Running;

use super::common::*;

/// `compute` checks its registers against memory while it counts, and says when it is asked to by SIGUSR1, ending with 7 by
/// SIGTERM; `pause`, `sleep` wait in that system call and say what it gave.
const PROGRAM: &str = r#"
    #include <errno.h>
    #include <poll.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    volatile int asked, ended, calls;
    volatile long rounds;
    static void on_usr1(int s) { asked = 1; }
    static void on_term(int s) { ended = 1; }
    long sum(long a, long b, long c, long d, long e, long f) { calls++; return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f; }
    double scale(double by, float of) { calls++; return by * of; }
    unsigned long length(const char *text) { return strlen(text); }
    struct big { long parts[4]; };
    struct big made(long from) { struct big b = { { from, from + 1, from + 2, from + 3 } }; return b; }
    __attribute__((noinline)) int inner(int x) { calls++; return x + 1; }
    int outer(int x) { return inner(x) * 2; }
    long tall(long a, long b, long c, long d, long e, long f, long g, const char *text, long double deep, long h) {
        return inner(a + b + c + d + e + f) + 10 * g + 100 * length(text) + 1000 * (long)deep + 10000 * h;
    }
    int faulty(int *p) { calls++; return *p; }
    int interrupted(int s) { raise(s); return calls; }
    int leaves(int code) { _exit(code); }
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int locked(void) { pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock); return 5; }
    static void *holder(void *x) { pthread_mutex_lock(&lock); puts("holds"); fflush(stdout); pause(); return 0; }
    int main(int argc, char **argv) {
        signal(SIGUSR1, on_usr1);
        signal(SIGTERM, on_term);
        puts("ready"); fflush(stdout);
        if (!strcmp(argv[1], "pause")) {
            while (!ended) { int result = pause(); printf("%d %d\n", result, errno == EINTR); fflush(stdout); }
            return 7;
        }
        if (!strcmp(argv[1], "poll")) {
            int result = poll(0, 0, -1);
            printf("%d %d\n", result, errno == EINTR); fflush(stdout);
            return 7;
        }
        if (!strcmp(argv[1], "sleep")) { sleep(600); return 7; }
        if (!strcmp(argv[1], "lock")) { pthread_t t; pthread_create(&t, 0, holder, 0); while (!ended) rounds++; return 7; }
        while (!ended) {
            double wide[4] = { 1.5 + rounds, 2.5, 3.5, 4.5 }, seen[4];
            long double deep = 7.25L + rounds;
            unsigned long out = 0;
            __asm__ volatile(
                "vmovupd %[wide], %%ymm7\n fldt %[deep]\n mov $123456, %%r12\n mov $1, %%rcx\n"
                "1: lea -128(%%rsp), %%r13\n mov %%r12, -64(%%rsp)\n mov -64(%%rsp), %%r12\n add $1, %%rcx\n cmp $5000, %%rcx\n jne 1b\n"
                "vmovupd %%ymm7, %[seen]\n fstpt %[deep]\n mov %%r12, %[out]\n"
                : [seen] "=m"(seen), [deep] "+m"(deep), [out] "=m"(out)
                : [wide] "m"(wide) : "rcx", "r12", "r13", "ymm7", "memory", "cc", "st", "st(1)");
            if (memcmp(wide, seen, sizeof wide) || deep != 7.25L + rounds || out != 123456) { puts("mismatch"); fflush(stdout); return 9; }
            rounds++;
            if (asked) { asked = 0; printf("calls %d\n", calls); fflush(stdout); }
        }
        return 7;
    }
"#;

struct Called {
    running: Running,
    target: LiveTarget,
    program: std::path::PathBuf,
    thread: ThreadId,
    space: AddressSpaceId,
}

impl Called {
    fn start(mode: &str) -> Called {
        let program = compile("functions", PROGRAM, "-O1 -mavx -no-pie -pthread");
        let mut running = start(&program, &[mode]);
        assert_eq!(running.line(), "ready");
        let mut target = target();
        let bundle = attach(&mut target, running.pid());
        let space = space(&mut target, ProcessId(running.pid()));
        Called { running, target, program, thread: bundle.stop.thread, space }
    }

    fn plan(&self, action: Action) -> Plan {
        let part = ThreadPlan { thread: self.thread, action, signal: SignalAction::Deliver };
        Plan { threads: vec![part], others: Action::Hold, ..Plan::run_all(generation(&self.target)) }
    }

    fn call(&self, function: &str) -> CallPlan {
        CallPlan { function: symbol(&self.program, function), ..CallPlan::default() }
    }

    /// Calls and gives the stop that comes of it.
    fn run(&mut self, call: CallPlan) -> StopBundle {
        let plan = self.plan(Action::Call(call));
        self.target.resume(&plan).unwrap();
        stop(&mut self.target)
    }

    fn refusal(&mut self, call: CallPlan) -> String {
        let plan = self.plan(Action::Call(call));
        self.target.resume(&plan).unwrap_err().to_string()
    }

    fn give_up(&mut self) -> StopBundle {
        let plan = self.plan(Action::EndCall);
        self.target.resume(&plan).unwrap();
        stop(&mut self.target)
    }

    /// Less what the processor chooses: it may find a component of the extended state in its initial configuration, and say so
    /// in XSTATE_BV, or not (Intel SDM vol. 1, 13.6, "init optimization"), depending on who had the processor meanwhile. The
    /// kernel gives the initial values then (`__copy_xstate_to_uabi_buf`), which are compared like all others.
    fn registers(&mut self) -> RegisterContext {
        const XSTATE_BV: std::ops::Range<usize> = 512..520;
        let sets = RegisterSets { floating: true, debug: false };
        let mut registers = self.target.registers_many(&[self.thread], sets).unwrap().remove(0).unwrap();
        registers.floating[XSTATE_BV].fill(0);
        registers
    }

    /// It is let go, was never disturbed, and ends as it always would.
    fn assert_unharmed(mut self, calls: u32) {
        self.target.detach(ProcessId(self.running.pid()), DetachMode::Deliver).unwrap();
        assert_eq!(outpost_testkit::text_differences(self.running.pid()), []);
        self.running.signal("USR1");
        assert_eq!(self.running.line(), format!("calls {calls}"));
        self.running.signal("TERM");
        assert_eq!(self.running.wait(LIMIT).code(), Some(7));
    }
}

fn values(words: &[u64]) -> Vec<CallWord> {
    words.iter().map(|word| CallWord::Value(*word)).collect()
}

fn returned(bundle: &StopBundle) -> &RegisterContext {
    match &bundle.stop.reason {
        StopReason::CallEnded { returned: Some(context) } => context,
        other => panic!("not returned: {other:?}"),
    }
}

fn rax(context: &RegisterContext) -> u64 {
    context.get_u64(Arch::X86_64.register_by_name("rax").unwrap()).unwrap()
}

fn xmm0(context: &RegisterContext) -> f64 {
    let value = context.get(Arch::X86_64.register_by_name("xmm0").unwrap()).unwrap();
    f64::from_le_bytes(value.bytes()[..8].try_into().unwrap())
}

#[test]
fn arguments_arrive_results_come_back_and_registers_stay() {
    let mut called = Called::start("compute");
    let before = called.registers();
    for round in 0..20 {
        let call = CallPlan { integers: values(&[round, 2, 3, 4, 5, 6]), ..called.call("sum") };
        let stop = called.run(call);
        assert_eq!(rax(returned(&stop)), round + 4 + 9 + 16 + 25 + 36);
        assert_eq!(called.registers(), before);
    }
    let vectors = vec![2.5_f64.to_bits(), 4.0_f32.to_bits().into()];
    let stop = called.run(CallPlan { vectors, ..called.call("scale") });
    assert_eq!(xmm0(returned(&stop)), 10.0);
    let data = b"twelve chars\0".to_vec();
    let stop = called.run(CallPlan { integers: vec![CallWord::Data(7)], data, ..called.call("length") });
    assert_eq!(rax(returned(&stop)), 5);
    // A large result goes where the caller said.
    let integers = vec![CallWord::Data(0), CallWord::Value(40)];
    let stop = called.run(CallPlan { integers, data: vec![0; 32], ..called.call("made") });
    let at = Va(rax(returned(&stop)));
    assert_eq!([0, 8, 16, 24].map(|offset| word(&mut called.target, called.space, at + offset)), [40, 41, 42, 43]);
    assert_eq!(called.registers(), before);
    called.assert_unharmed(21);
}

/// A call of `tall` with arguments on the stack: a number, an address, a `long double` at a multiple of 16, a number.
fn tall(called: &Called, h: u64) -> CallPlan {
    let deep = 7.0_f64 as u64;
    // 7 as the x87 has it: a mantissa with its leading one, and the exponent (Intel SDM vol. 1, 4.2.2).
    let (mantissa, exponent) = (deep << 61, 0x4001);
    let stack = [CallWord::Value(9), CallWord::Data(1)].into_iter().chain(values(&[mantissa, exponent, h]));
    CallPlan {
        integers: values(&[1, 1, 1, 1, 1, 1]),
        stack: stack.collect(),
        data: b"-text\0".to_vec(),
        ..called.call("tall")
    }
}

#[test]
fn arguments_on_the_stack_arrive_and_the_thread_comes_back_from_behind_them() {
    let mut called = Called::start("compute");
    // The vector state is looked at by the program itself.
    let before = called.registers().general;
    for round in 0..20 {
        let call = tall(&called, round);
        let stop = called.run(call);
        assert_eq!(rax(returned(&stop)), 7 + 90 + 400 + 7000 + 10000 * round);
        assert_eq!(called.registers().general, before);
    }
    // As many as there may be, and one more.
    let stack = values(&vec![5; CallPlan::MAX_STACK]);
    let stop = called.run(CallPlan { integers: values(&[1; 6]), stack, ..called.call("sum") });
    assert_eq!(rax(returned(&stop)), 21);
    let stack = values(&vec![5; CallPlan::MAX_STACK + 1]);
    let text = called.refusal(CallPlan { stack, ..called.call("sum") });
    assert!(text.contains("more arguments"), "{text}");
    assert_eq!(called.registers().general, before);
    // Given up in the middle, then let go in the middle: it comes back by itself.
    let spec = breakpoint(1, called.space, symbol(&called.program, "inner"));
    set(&mut called.target, spec);
    let call = tall(&called, 3);
    assert!(matches!(called.run(call.clone()).stop.reason, StopReason::Breakpoint { .. }));
    assert_eq!(called.give_up().stop.reason, StopReason::CallEnded { returned: None });
    assert_eq!(called.registers().general, before);
    assert!(matches!(called.run(call).stop.reason, StopReason::Breakpoint { .. }));
    called.assert_unharmed(22);
}

#[test]
fn a_breakpoint_inside_stops_there_and_the_call_ends_when_it_returns() {
    let mut called = Called::start("compute");
    let before = called.registers();
    let spec = breakpoint(1, called.space, symbol(&called.program, "inner"));
    set(&mut called.target, spec);
    let call = CallPlan { integers: values(&[20]), ..called.call("outer") };
    let stop = called.run(call.clone());
    assert_eq!(stop.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
    // A call in the call, given up at the same place; then the first goes on by single steps through its return.
    let stop = called.run(call);
    assert!(matches!(stop.stop.reason, StopReason::Breakpoint { .. }));
    assert_eq!(called.give_up().stop.reason, StopReason::CallEnded { returned: None });
    clear(&mut called.target, 1);
    let mut ended = None;
    for _ in 0..100 {
        let thread = called.thread;
        let stop = step(&mut called.target, thread, StepPlan::instructions(1));
        if !matches!(stop.stop.reason, StopReason::Step { .. }) {
            ended = Some(stop);
            break;
        }
    }
    assert_eq!(rax(returned(&ended.expect("it returned"))) as u32, 42);
    assert_eq!(called.registers(), before);
    called.assert_unharmed(1);
}

#[test]
fn a_fault_inside_stops_there_and_is_gone_with_the_call() {
    let mut called = Called::start("compute");
    let before = called.registers();
    let stop = called.run(CallPlan { integers: values(&[8]), ..called.call("faulty") });
    assert!(matches!(&stop.stop.reason, StopReason::Signal(info) if info.signo == 11 && info.address == Va(8)));
    assert_eq!(called.give_up().stop.reason, StopReason::CallEnded { returned: None });
    assert_eq!(called.registers(), before);
    assert_eq!(called.target.pending_signal(called.thread).unwrap(), None);
    called.assert_unharmed(1);
}

#[test]
fn a_signal_that_is_pending_waits_for_the_thread_to_be_back() {
    let mut called = Called::start("compute");
    run(&mut called.target);
    called.running.signal("USR1");
    let stopped = stop(&mut called.target);
    assert!(matches!(&stopped.stop.reason, StopReason::Signal(info) if info.signo == 10));
    let stop = called.run(CallPlan { integers: values(&[1, 0, 0, 0, 0, 0]), ..called.call("sum") });
    assert_eq!(rax(returned(&stop)), 1);
    assert_eq!(called.target.pending_signal(called.thread).unwrap().unwrap().signo, 10);
    called.target.detach(ProcessId(called.running.pid()), DetachMode::Deliver).unwrap();
    assert_eq!(called.running.line(), "calls 1");
    called.running.signal("TERM");
    assert_eq!(called.running.wait(LIMIT).code(), Some(7));
}

#[test]
fn a_handler_in_the_middle_of_a_call_does_not_end_it() {
    let mut called = Called::start("compute");
    let call = CallPlan { integers: values(&[10]), ..called.call("interrupted") };
    let mut plan = called.plan(Action::Call(call));
    plan.events.pass_signals = 1 << 10;
    called.target.resume(&plan).unwrap();
    let stop = stop(&mut called.target);
    assert_eq!(rax(returned(&stop)), 0);
    called.target.detach(ProcessId(called.running.pid()), DetachMode::Deliver).unwrap();
    assert_eq!(called.running.line(), "calls 0", "its handler ran");
    called.running.signal("TERM");
    assert_eq!(called.running.wait(LIMIT).code(), Some(7));
}

#[test]
fn system_calls_that_were_interrupted_go_on() {
    for mode in ["pause", "poll"] {
        let mut called = Called::start(mode);
        called.target.detach(ProcessId(called.running.pid()), DetachMode::Deliver).unwrap();
        let pid = called.running.pid();
        outpost_testkit::wait_until("it waits", LIMIT, || outpost_testkit::state(pid) == Some('S'));
        attach(&mut called.target, pid);
        let stop = called.run(CallPlan { integers: values(&[1, 1, 1, 1, 1, 1]), ..called.call("sum") });
        assert_eq!(rax(returned(&stop)), 21);
        called.target.detach(ProcessId(pid), DetachMode::Deliver).unwrap();
        outpost_testkit::wait_until("it waits again", LIMIT, || outpost_testkit::state(pid) == Some('S'));
        called.running.signal("TERM");
        assert_eq!(called.running.line(), "-1 1", "{mode} was waiting again");
        assert_eq!(called.running.wait(LIMIT).code(), Some(7));
    }
}

#[test]
fn threads_that_would_not_be_as_before_are_left_alone() {
    let mut called = Called::start("sleep");
    called.target.detach(ProcessId(called.running.pid()), DetachMode::Deliver).unwrap();
    let pid = called.running.pid();
    outpost_testkit::wait_until("it sleeps", LIMIT, || outpost_testkit::state(pid) == Some('S'));
    attach(&mut called.target, pid);
    let text = called.refusal(called.call("sum"));
    assert!(text.contains("remaining time"), "{text}");
    let text = called.refusal(CallPlan { integers: values(&[0; 7]), ..called.call("sum") });
    assert!(text.contains("more arguments"), "{text}");
    called.target.kill(ProcessId(pid)).unwrap();
}

#[test]
fn a_lock_of_a_held_thread_is_waited_for_until_the_thread_runs() {
    let mut called = Called::start("lock");
    run(&mut called.target);
    assert_eq!(called.running.line(), "holds");
    called.target.interrupter().break_in();
    stop(&mut called.target);
    called.thread = ThreadId(called.running.pid());
    let plan = called.plan(Action::Call(called.call("locked")));
    called.target.resume(&plan).unwrap();
    let waited = called.target.wait_event(Some(std::time::Duration::from_millis(50)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut), "{waited:?}");
    called.target.interrupter().break_in();
    assert_eq!(stop(&mut called.target).stop.reason, StopReason::BreakIn);
    assert_eq!(called.give_up().stop.reason, StopReason::CallEnded { returned: None });
    called.target.detach(ProcessId(called.running.pid()), DetachMode::Deliver).unwrap();
    called.running.signal("TERM");
    assert_eq!(called.running.wait(LIMIT).code(), Some(7));
}

#[test]
fn a_process_that_is_let_go_in_a_call_finishes_it_by_itself() {
    let mut called = Called::start("compute");
    let spec = breakpoint(1, called.space, symbol(&called.program, "inner"));
    set(&mut called.target, spec);
    let stop = called.run(CallPlan { integers: values(&[20]), ..called.call("outer") });
    assert!(matches!(stop.stop.reason, StopReason::Breakpoint { .. }));
    called.assert_unharmed(1);
}

#[test]
fn a_function_that_ends_the_process_ends_it() {
    let mut called = Called::start("compute");
    let stop = called.run(CallPlan { integers: values(&[3]), ..called.call("leaves") });
    assert_eq!(stop.stop.reason, StopReason::Exited { status: ExitStatus::Code(3) });
}
