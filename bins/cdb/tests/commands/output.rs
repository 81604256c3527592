//! What debuggees write.

use outpost_testkit::{Build, Compiler};

use crate::common::*;

#[test]
fn a_character_that_comes_in_two_pieces_is_shown_whole() {
    const SPLIT: &str = r#"
        #include <unistd.h>
        __attribute__((noinline)) void between(void) { __asm__ volatile(""); }
        int main(void) {
            write(1, "euro \xe2\x82", 7);
            between();
            write(1, "\xac, face \xf0\x9f", 10);
            between();
            write(1, "\x98\x80\nhalf \xe2", 9);
            return 0;
        }"#;
    let program = Build::source(Compiler::Gcc, "split", SPLIT).flags("-g -O0").path();
    // A piece may be told behind the stop that follows it.
    let output = cdb(program, "bp between; g; g; g");
    assert!(output.contains("euro ") && output.contains("\u{20ac}, face "), "{output}");
    assert!(output.contains("\u{1f600}\nhalf \u{fffd}"), "{output}");
    assert_eq!(output.matches('\u{fffd}').count(), 1, "{output}");
}

#[test]
fn events_are_chosen_on_the_command_line_before_the_first() {
    let program = lists();
    let program = program.to_str().unwrap();
    let first =
        |options: &[&str]| run(&[options, &["-c", ".lastevent; .echo [sx]; sx; .echo [end]; q", program]].concat());
    let output = first(&["-xe", "ld:libc*", "-xi", "ibp", "-xn", "SIGUSR1", "-x", "--sxd=dz"]);
    // The initial stop is ignored, so that of the library comes first.
    assert!(output.contains("Last event") && !output.contains("Last event: Created"), "{output}");
    let filters = part(&output, "sx");
    for row in [
        "ld - Load module - break",
        "(only libc*)",
        "ibp - Initial breakpoint - ignore",
        "SIGUSR1 - Signal 10 - output",
        "av - Access violation - second-chance break",
        "dz - Integer divide-by-zero - second-chance break",
    ] {
        assert!(filters.contains(row), "{row}:\n{filters}");
    }
    let refused =
        std::process::Command::new(env!("CARGO_BIN_EXE_cdb")).args(["-xe", "nosuch", program]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("-xe nosuch: There is no event 'nosuch'"), "{complaint}");
}
