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

/// Names and values of a frame's parameters, from text between its parentheses; a value is what its first word says.
fn parameters(text: &str, equals: &str) -> Vec<(String, u64)> {
    let each = text.split(", ").map(|parameter| {
        let (declared, value) = parameter.split_once(equals).unwrap_or_else(|| panic!("no {equals} in {parameter}"));
        let name = declared.trim_start_matches("int ").trim_start_matches("struct node *").to_owned();
        let value = value.split(' ').next().unwrap().replace('`', "");
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.trim_start_matches("0n").parse(),
        };
        (name, number.unwrap_or_else(|error| panic!("{value}: {error}")))
    });
    each.collect()
}

/// The texts between the parentheses behind a function's name.
fn in_parentheses<'a>(text: &'a str, before: &str, behind: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split_once(behind).unwrap().0).collect()
}

#[test]
fn parameters_in_the_stack_are_gdbs() {
    let line = LISTS.lines().position(|line| line.contains("// bottom")).unwrap() + 1;
    let output = cdb(lists(), &format!("bp `lists.c:{line}`; g; .echo [p]; kp; .echo [P]; kP; .echo [end]"));
    let gdb = std::process::Command::new("gdb")
        .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", &format!("break lists.c:{line}")])
        .args(["-ex", "run", "-ex", "bt -frame-arguments all"])
        .arg(lists())
        .output()
        .unwrap();
    let gdb = String::from_utf8_lossy(&gdb.stdout).into_owned();
    let theirs: Vec<_> = in_parentheses(gdb.rsplit("#0 ").next().unwrap(), "down (", ") at");
    let theirs: Vec<_> = theirs.iter().map(|text| parameters(text, "=")).collect();
    assert_eq!(theirs.len(), 2, "{gdb}");
    let same_line = in_parentheses(part(&output, "p"), "lists!down(", ")+");
    let ours: Vec<_> = same_line.iter().map(|text| parameters(text, " = ")).collect();
    assert_eq!(ours, theirs, "{output} {gdb}");
    assert!(
        same_line.iter().all(|text| text.contains("int depth = ") && text.contains("struct node *list = ")),
        "{output}"
    );
    let own_lines = in_parentheses(part(&output, "P"), "lists!down(", ")+");
    let joined: Vec<_> = own_lines.iter().map(|text| text.trim_start().replace(",\n            ", ", ")).collect();
    assert_eq!(joined, same_line);
    assert!(part(&output, "p").contains("lists!main()+"), "{output}");
}

#[test]
fn locals_whose_debug_info_is_elsewhere_are_not_just_missing() {
    let folder = tempfile::tempdir().unwrap();
    let source = "int down(int n) { int twice = n * 2; return twice; } int main(void) { return down(0); }";
    std::fs::write(folder.path().join("apart.c"), source).unwrap();
    let gcc = |arguments: &[&str]| {
        let mut gcc = std::process::Command::new("gcc");
        assert!(gcc.args(arguments).current_dir(folder.path()).status().unwrap().success());
    };
    gcc(&["-g", "-gsplit-dwarf", "-O0", "-c", "apart.c", "-o", "apart.o"]);
    gcc(&["-g", "apart.o", "-o", "apart"]);
    let dv = || cdb(folder.path().join("apart"), "bp down; g; p; .echo [locals]; dv");
    let with = dv();
    assert!(part(&with, "locals").contains("twice = "), "{with}");
    std::fs::remove_file(folder.path().join("apart.dwo")).unwrap();
    let without = dv();
    assert!(part(&without, "locals").contains("1 of 1 units lack their .dwo file"), "{without}");
}
