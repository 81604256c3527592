//! What is told of debuggees that would not outlive their server.

use outpost_testkit::{Build, Compiler};

use crate::common::*;

/// What `cdb` says before and after a program blocks SIGILL.
fn blocking(script: &str) -> String {
    const BLOCKS: &str = r#"
        #include <signal.h>
        __attribute__((noinline)) void called(void) { __asm__ volatile(""); }
        __attribute__((noinline)) void before(void) { called(); }
        __attribute__((noinline)) void after(void) { called(); }
        int main(void) {
            before();
            sigset_t set;
            sigemptyset(&set);
            sigaddset(&set, SIGILL);
            sigprocmask(SIG_BLOCK, &set, 0);
            after();
            return 0;
        }"#;
    cdb(Build::source(Compiler::Gcc, "blocks", BLOCKS).flags("-g -O0").path(), script)
}

#[test]
fn bl_and_bpmode_tell_where_steps_are_not_kill_safe() {
    let output = blocking(
        "bp before; g; p 3; .echo [safe]; bl; .bpmode; .echo [run]; bc *; ba e1 after; g; .echo [list]; bl; \
         .echo [one]; bl 0; .echo [mode]; .bpmode; .echo [end]",
    );
    let warning = "Steps over calls in process 0 are not kill-safe: ";
    if part(&output, "safe").contains(warning) {
        return outpost_testkit::skip("nothing can be put into processes here, so no step is kill-safe");
    }
    for name in ["list", "mode"] {
        let line = part(&output, name).lines().find_map(|line| line.strip_prefix(warning));
        assert!(line.is_some_and(|reason| reason.contains("SIGILL")), "{name}: {output}");
    }
    assert!(!part(&output, "one").contains(warning), "{output}");
}
