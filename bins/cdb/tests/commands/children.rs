//! `cdb -o`: processes that the debuggee makes, with their breakpoints and modules.

use outpost_testkit::{Build, Compiler, skip};

use crate::common::*;

#[test]
fn a_command_of_bash_stops_where_it_begins_and_at_its_own_breakpoints() {
    let script = "bp write; g; .echo [begins]; |; bl; lm; .echo [parent]; |0s; k; .echo [writes]; |1s; g; k 1; |; bl; \
                  .echo [ends]; g; .lastevent";
    let output = run(&["-o", "-c", script, "/bin/bash", "-c", "/bin/echo hello; true"]);
    let begins = part(&output, "begins");
    assert!(begins.contains("   0  id: ") && begins.contains(".  1  id: "), "{output}");
    assert!(begins.contains("child  name: ") && begins.contains("echo"), "{output}");
    assert!(begins.contains(" 0 e ") && begins.contains("libc_so!") && begins.contains(" 1 eu "), "{output}");
    assert!(begins.contains("   echo ") && !begins.contains("   bash "), "its modules are its own:\n{output}");
    assert!(part(&output, "parent").contains("bash!main"), "{output}");
    let writes = part(&output, "writes");
    assert!(writes.contains("Breakpoint 1 hit") && writes.contains("write"), "{output}");
    let rows: Vec<&str> = writes.lines().filter(|line| line.contains(" e ")).collect();
    assert!(rows.len() == 2 && rows[0].contains("0:****") && rows[1].contains("1:****"), "{output}");
    assert!(rows.iter().all(|row| row.contains("write")), "each is named by its own process:\n{output}");
    let ends = part(&output, "ends");
    assert!(ends.contains("hello") && ends.matches("Exit process, code 0").count() >= 2, "{output}");
}

#[test]
fn a_process_made_by_vfork_gets_its_breakpoints_with_its_program() {
    let python = "/usr/bin/python3";
    if !std::path::Path::new(python).exists() {
        return skip("the distribution's python3 is not installed");
    }
    let program = "import subprocess; subprocess.run(['/bin/echo', 'hello'])";
    let script = "bp write; g; .echo [begins]; |; bl; g; .echo [writes]; k 1; |; .echo [ends]; g; .lastevent";
    let output = run(&["-o", "-c", script, python, "-c", program]);
    assert!(part(&output, "begins").contains(" 1 eu "), "{output}");
    assert!(output.contains("Breakpoint 1 hit"), "{output}");
    assert!(part(&output, "writes").contains(".  1  id: "), "{output}");
    assert!(part(&output, "ends").contains("Exit process, code 0"), "the parent is unharmed:\n{output}");
}

#[test]
fn a_copy_of_the_parent_has_copies_of_its_breakpoints() {
    let source = r#"
        #include <stdio.h>
        #include <sys/wait.h>
        #include <unistd.h>
        __attribute__((noinline)) int work(int n) { return n * 2; }
        int main(void) {
            int status = 0;
            pid_t child = fork();
            if (child == 0) _exit(work(3));
            waitpid(child, &status, 0);
            printf("child %d, parent %d\n", WEXITSTATUS(status), work(5));
            return 0;
        }"#;
    let program = Build::source(Compiler::Gcc, "copies", source).flags("-g -O0").path();
    let script = "bp work; g; .echo [child]; |; dv n; bc 1; .echo [parent]; g; |; dv n; .echo [ends]; g";
    let output = run(&["-o", "-c", script, program.to_str().unwrap()]);
    let child = part(&output, "child");
    assert!(
        output.contains("Breakpoint 1 hit") && child.contains(".  1  id: ") && child.contains("n = 0n3"),
        "{output}"
    );
    let parent = part(&output, "parent");
    assert!(parent.contains("Breakpoint 0 hit") && parent.contains("n = 0n5"), "{output}");
    assert!(part(&output, "ends").contains("child 6, parent 10"), "{output}");

    // Without -o the child is let go unharmed, and only the parent's hit counts.
    let output = run(&["-c", "bp work; g; .echo [parent]; |; dv n; .echo [ends]; g", program.to_str().unwrap()]);
    assert!(part(&output, "parent").contains("n = 0n5"), "{output}");
    assert!(part(&output, "ends").contains("child 6, parent 10"), "{output}");
}
