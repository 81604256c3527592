//! A running program stopped in the middle of its work and stepped by `cdb -premote`.

use outpost_testkit::{ProcessServer, Running, text_differences, tracer};

use crate::client::cdb;

/// How a program is brought to run through a function of its own.
pub(crate) struct Work<'a> {
    /// Where to stop on the way.
    pub(crate) breakpoint: &'a str,
    /// Who is found above the function after it returned.
    pub(crate) caller: &'a str,
}

/// Stops the program in the middle of work that `poke` gives to it, steps over and into what comes next, goes up, lets
/// go. The caller sees that the work is done.
pub(crate) fn step_through(
    server: &ProcessServer,
    running: &mut Running,
    work: &Work<'_>,
    poke: impl FnOnce(&mut Running),
) {
    let pid = running.pid();
    let Work { breakpoint, caller } = work;
    let script = format!("bp {breakpoint}; g; r rip; p; r rip; t; r rip; gu; k; bc *; qd");
    let output = cdb(server, pid, &script, || poke(running));
    assert!(output.contains("Breakpoint 0 hit"), "{breakpoint}: {output}");
    let places: Vec<&str> =
        output.lines().filter(|line| line.trim_start().starts_with("rip=") && !line.contains(" rsp=")).collect();
    assert_eq!(places.len(), 3, "{output}");
    assert!(places[0] != places[1] && places[1] != places[2], "each step moves: {output}");
    let (_, stack) = output.split_once("Child-SP").unwrap_or_else(|| panic!("no stack: {output}"));
    assert!(stack.contains(caller), "gu ends in {caller}: {output}");
    assert_eq!(tracer(pid), 0, "let go: {output}");
    assert_eq!(text_differences(pid), [0; 0], "{breakpoint}");
}
