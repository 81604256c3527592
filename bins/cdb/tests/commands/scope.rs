//! `.frame` and what it makes of `r`.

use crate::common::*;

/// The value that a row of registers shows.
#[track_caller]
fn register<'a>(text: &'a str, name: &str) -> &'a str {
    let start = text.find(&format!("{name}=")).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    text[start + name.len() + 1..].split_whitespace().next().unwrap()
}

#[test]
fn frame_c_makes_r_show_the_frame_until_it_is_run() {
    let script = "bp down; g; k 2; .echo [thread]; r; .echo [selected]; .frame /c 1; .echo [frame]; r; \
                  .echo [refused]; r rbx = 5";
    let output = cdb(lists(), script);
    let (thread, frame) = (part(&output, "thread"), part(&output, "frame"));
    assert!(part(&output, "selected").contains("lists!main"), "{output}");
    assert_ne!(register(thread, "rip"), register(frame, "rip"));
    // rax does not outlive a call, rbx does: its value is the caller's.
    assert_eq!(register(frame, "rax"), "????????????????");
    assert_eq!(register(frame, "efl"), "????????");
    assert_eq!(register(frame, "rbx"), register(thread, "rbx"));
    assert!(frame.contains("lists!main+"), "{frame}");
    assert!(part(&output, "refused").contains("cannot be set"), "{output}");

    let script = "bp down; g; .frame /c 1; .echo [again]; .frame 1; r; .echo [step]; .frame /c 1; p; r";
    let output = cdb(lists(), script);
    assert!(part(&output, "again").contains("lists!down+"), "without /c r shows the thread's:\n{output}");
    let step = part(&output, "step");
    assert!(!step[step.rfind("rax=").unwrap()..].contains('?'), "a step ends the context:\n{output}");
}

#[test]
fn frame_r_shows_registers_once() {
    let output = cdb(lists(), "bp down; g; .echo [one]; .frame /r 1; .echo [other]; r");
    assert!(part(&output, "one").contains("rax=????????????????"), "{output}");
    assert!(!part(&output, "other").contains("????"), "{output}");
}
