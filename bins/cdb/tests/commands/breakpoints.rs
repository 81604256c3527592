//! Breakpoints that look at the stack.

use crate::common::*;

/// Rows of a stack.
fn frames(text: &str) -> usize {
    text.lines().skip_while(|line| !line.contains("Child-SP")).skip(1).count()
}

#[test]
fn depth_of_the_stack_decides() {
    let depth = frames(part(&cdb(lists(), "bp down; g; .echo [k]; k; .echo [end]"), "k"));
    assert!(depth >= 3, "{depth}");

    let deeper = cdb(lists(), &format!("bp /C {:x} down; g; .echo [k]; k; .echo [dv]; dv depth", depth + 1));
    assert_eq!(frames(part(&deeper, "k")), depth + 2, "{deeper}");
    assert!(part(&deeper, "dv").contains("depth = 0n0"), "the first call that goes so deep is down(2):\n{deeper}");

    let script =
        format!("bp /c {:x} down 2; .bpcmds; g; .echo [k]; k; .echo [dv]; dv depth; .echo [bl]; bl", depth + 1);
    let outermost = cdb(lists(), &script);
    assert!(outermost.contains(&format!("bu0 /c {:#x} down 0x2;", depth + 1)), "{outermost}");
    assert_eq!(frames(part(&outermost, "k")), depth, "{outermost}");
    assert!(part(&outermost, "dv").contains("depth = 0n2"), "the inner call is no pass:\n{outermost}");
    assert!(part(&outermost, "bl").contains(&format!("/c {:#x}", depth + 1)), "{outermost}");
}

#[test]
fn depth_and_condition_both_have_to_hold() {
    let depth = frames(part(&cdb(lists(), "bp down; g; .echo [k]; k; .echo [end]"), "k"));
    let script =
        format!("bp /c {:x} /w \"depth > 2\" down; g; .echo [dv]; dv depth; g; .echo [next]; dv depth", depth + 1);
    let output = cdb(lists(), &script);
    assert!(part(&output, "dv").contains("depth = 0n3"), "{output}");
    assert!(part(&output, "next").contains("depth = 0n4"), "{output}");
}
