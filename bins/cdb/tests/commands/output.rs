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
