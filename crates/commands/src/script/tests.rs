//! Control flow on a process that is made of plain data.

use crate::Debugger;
use crate::fuzz::stopped_debugger;

fn shown_by(debugger: &mut Debugger, line: &str) -> String {
    let mut text = String::new();
    debugger.execute(line, &mut text);
    text
}

/// What lines show, carried out one after the other.
fn shown(lines: &[&str]) -> String {
    let mut debugger = stopped_debugger();
    lines.iter().map(|line| shown_by(&mut debugger, line)).collect()
}

#[test]
fn conditions_choose() {
    let check = |line: &str, expected: &str| assert_eq!(shown(&[line]), expected, "{line}");
    check(".if (1) {.echo a} .else {.echo b}; .echo c", "a\nc\n");
    check(".if (0) {.echo a} .else {.echo b}; .echo c", "b\nc\n");
    check(".if (0) {.echo a}; .echo c", "c\n");
    check(".if (0) {.echo a} .elsif (1) {.echo b} .elsif (1) {.echo d} .else {.echo e}", "b\n");
    check(".if (@rip != 0 & 1) {.if (2 > 1) {.echo \"x;}\"}}", "x;}\n");
    check(".if(1){.echo a}.else{.echo b}", "a\n");
    check("j (1) '.echo a; .echo b' ; '.echo c'", "a\nb\n");
    check("j (0) '.echo a; .echo b' ; '.echo c'", "c\n");
    check("j 0 .echo a; .echo b; .echo c", "b\nc\n");
}

#[test]
fn loops_go_round() {
    let check = |line: &str, expected: &str| assert_eq!(shown(&[line]), expected, "{line}");
    check(".for (r $t0 = 0; @$t0 < 3; r $t0 = @$t0 + 1) {.printf \"%d \", @$t0}; .echo end", "0 1 2 end\n");
    check("r $t0 = 3; .while (@$t0) {.printf \"%d \", @$t0; r $t0 = @$t0 - 1}", "3 2 1 ");
    check("r $t0 = 0; .do {.printf \"%d \", @$t0; r $t0 = @$t0 + 1} (@$t0 < 2); .echo end", "0 1 end\n");
    check("r $t0 = 7; .do {.printf \"%d \", @$t0} (0)", "7 ");
    check(
        ".for (r $t0 = 0; 1; r $t0 = @$t0 + 1) {.if (@$t0 == 1) {.continue}; .if (@$t0 == 3) {.break}; ? @$t0}",
        "Evaluate expression: 0 = 00000000`00000000\nEvaluate expression: 2 = 00000000`00000002\n",
    );
    check(
        ".for (r $t0 = 0; @$t0 < 2; r $t0 = @$t0 + 1) {.for (r $t1 = 0; @$t1 < 2; r $t1 = @$t1 + 1) \
         {.printf \"%d%d \", @$t0, @$t1}}",
        "00 01 10 11 ",
    );
    check("r $t0 = 0; .block {r $t0 = @$t0 + 1; .printf \"%d \", @$t0; z (@$t0 < 3)}; .echo end", "1 2 3 end\n");
}

#[test]
fn words_are_gone_through() {
    let check = |line: &str, expected: &str| assert_eq!(shown(&[line]), expected, "{line}");
    check(".foreach /s (w \"a b  c\") {.echo <w> ${w} w}", "<w> a a\n<w> b b\n<w> c c\n");
    check(".foreach (w {.echo one two; .echo three}) {.printf \"${w},\"}; .echo", "one,two,three,\n");
    check(".foreach /pS 1 /ps 1 /s (w \"a b c d e\") {.printf \"${w}\"}", "bd");
    check(".foreach /s (w \"1 2\") {.foreach /s (v \"3 4\") {? w * v}}", &{
        let rows = [("3", "3"), ("4", "4"), ("6", "6"), ("8", "8")];
        rows.map(|(value, hex)| format!("Evaluate expression: {value} = 00000000`0000000{hex}\n")).concat()
    });
    assert!(shown(&[".foreach (w {g}) {.echo w}"]).contains("cannot resume"));
    assert!(shown(&[".foreach (w {nosuch}) {.echo w}"]).starts_with("Unknown command 'nosuch'"));
}

#[test]
fn errors_end_what_they_are_in() {
    let check = |line: &str, expected: &str| assert_eq!(shown(&[line]), expected, "{line}");
    let unknown = "Unknown command 'nosuch'; .help lists the commands\n";
    check("nosuch; .echo a", unknown);
    check(".catch {.echo a; nosuch; .echo b}; .echo c", &format!("a\n{unknown}c\n"));
    check(".catch {.for (r $t0 = 0; 1; r $t0 = 0) {nosuch}; .echo b}; .echo c", &format!("{unknown}c\n"));
    check(".catch {.if (1) {.leave}; .echo b}; .echo c", "c\n");
    check(".break; .echo a", ".break stands in no loop\n");
    check(".continue", ".continue stands in no loop\n");
    check(".leave", ".leave stands in no .catch\n");
    check(".else {k}", ".else stands behind no .if\n");
    check(".if 1 {k}", "'(' is missing before 1\n");
    check(".if (1) k", "'{' is missing before k\n");
    check(".while (1) {k", "'{' is not closed by '}'\n");
    check(
        ".for (1; 2) {k}",
        "Three parts are wanted between the parentheses, separated by ;; usage: .for (Commands; \
                              Condition; Commands) {Commands}\n",
    );
}

#[test]
fn nothing_goes_on_for_ever() {
    let mut debugger = stopped_debugger();
    debugger.script.limit_rounds(1000);
    assert_eq!(shown_by(&mut debugger, ".while (1) {.if (1) {}}; .echo a"), "The loops go round too often\n");
    let deep = ".block {".repeat(100) + &"}".repeat(100);
    assert_eq!(shown_by(&mut debugger, &deep), "");
    let deep = (0..100).fold(".echo in".to_owned(), |inside, _| format!(".catch {{{inside}}}"));
    assert_eq!(shown_by(&mut debugger, &deep), "Commands are nested too deep\n");
    let mut debugger = stopped_debugger();
    let interrupter = debugger.engine.interrupter();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        interrupter.interrupt();
    });
    let text = shown_by(&mut debugger, ".catch {.while (1) {}}; .echo a");
    thread.join().unwrap();
    assert_eq!(text, "Interrupted\n", "Ctrl+C ends a loop, and .catch does not keep it");
}

#[test]
fn aliases_hold_from_the_next_line_or_block() {
    let check = |lines: &[&str], expected: &str| assert_eq!(shown(lines), expected, "{lines:?}");
    check(&["aS say .echo; say a", "say a"], "Unknown command 'say'; .help lists the commands\na\n");
    check(&["as say .echo a; .echo b", "say"], "a\nb\n");
    check(&["aS /x n 5; .block {? n + ${n}}"], "Evaluate expression: 10 = 00000000`0000000a\n");
    check(&["aS /c c .echo hi; .block {.echo <${c}>}"], "<hi>\n");
    check(&["aS a \"x; y\"", "al"], "  Alias            Value\n -------          -------\n a                x; y\n");
    check(&["as a b", "ad a", "al", "ad a", "ad /q a"], "No aliases\nThere is no alias 'a'; al lists them\n");
    check(&["as a b", "as c d", "ad *", "al"], "No aliases\n");
    check(&["r $.u1=5 + 6", "? $u1"], "Evaluate expression: 11 = 00000000`0000000b\n");
    check(&["aS /ma text 7", "al"], "  Alias            Value\n -------          -------\n text             wide\n");
    check(&[".echo ${none} ${/d:none}"], "${none} 0\n");
}

#[test]
fn files_are_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("commands;1.txt");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let other = folder.path().join("plain.txt");
    let plain = other.to_str().unwrap();
    let run = |line: &str| shown(&[line]);

    write(".echo a\n* a comment; .echo no\n.echo b; .echo c\n");
    assert_eq!(
        run(&format!("$<{name}")),
        "0:000> .echo a\na\n0:000> * a comment; .echo no\n0:000> .echo b; .echo c\nb\nc\n"
    );
    assert_eq!(run(&format!("$><{name}")), "a\nb\nc\n");
    std::fs::write(&other, ".if (1)\n{\n  .echo a\n}\n.else\n{\n  .echo b\n}\n$$ the end\n").unwrap();
    assert_eq!(run(&format!("$$><{plain}; .echo end")), "a\nend\n");
    std::fs::write(&other, ".echo ${$arg1}-${$arg2}-${$arg3}\n").unwrap();
    assert_eq!(run(&format!("$$>a<{plain} one \"two 2\"; .echo end")), "one-two 2-${$arg3}\nend\n");
    assert!(run("$$<nowhere.txt; .echo a").starts_with("nowhere.txt: No such file"));
    std::fs::write(&other, format!("$$<{plain}\n")).unwrap();
    assert!(run(&format!("$$<{plain}")).ends_with("Commands are nested too deep\n"), "a file that runs itself ends");
    std::fs::write(&other, "one two\nthree").unwrap();
    assert_eq!(run(&format!(".foreach /f (w \"{plain}\") {{.printf \"${{w}}.\"}}")), "one.two.three.");
}

#[test]
fn output_is_formatted() {
    let check = |line: &str, expected: &str| assert_eq!(shown(&[line]), expected, "{line}");
    check(".printf \"%d of %d\\n\", 0n10, 2+3", "10 of 5\n");
    check(".printf /D \"%p %ma|%5ma|%.2ma|%.2mu\\n\", @rsp, 0, 7, 7, 7", &{
        "00007fff`ffff0000 needle| wide|wi|\u{6977}\u{6564}\n".to_owned()
    });
    assert!(shown(&[".printf \"%d\""]).starts_with("The format has 1 fields, and 0 values are given; usage:"));
    assert!(shown(&[".printf \"%q\", 1"]).starts_with("'%q' is no field of a format; %% is a %; usage:"));
    assert!(shown(&[".printf \"%ma\", 12345678"]).starts_with("The memory at 00000000`12345678 cannot be read"));
}

#[test]
fn shell_commands_run_here() {
    let check = |line: &str, expected: &str| assert_eq!(shown(&[line]), expected, "{line}");
    check(".shell echo a; echo b", "a\nb\n");
    check(".shell echo b >&2", "b\n");
    check(".shell -ci \".echo one; .echo two\" grep two", "two\n");
    check(".shell exit 3", ".shell: exit status: 3\n");
    check(".noshell; .shell echo a", "Shell commands disabled\nShell commands are disabled (.noshell)\n");
    assert!(shown(&[".shell"]).starts_with("The shell command is missing"));
}

#[test]
fn fixed_aliases_are_replaced_where_a_block_begins() {
    let check = |lines: &[&str], expected: &str| assert_eq!(shown(lines), expected, "{lines:?}");
    check(&["r $.u2=.echo hi; .block {$u2}"], "hi\n");
    check(&["r $.u2=.echo hi; .block {.block {$u2}; .echo [$u3]}; .echo [$u2]"], "hi\n[]\n[]\n");
    check(&["r $.u2=a; .block {r $.u2=b; .echo $u2; .block {.echo $u2}}", ".echo $u2"], "a\na\nb\n");
    check(&[".echo [$u4]"], "[]\n");
}

#[test]
fn help_is_all_that_a_control_token_does_then() {
    for token in [".if", ".for", ".foreach", ".while", ".do", ".block", ".catch", ".break", ".leave", ".else"] {
        let said = shown(&[&format!("{token} --help")]);
        assert!(said.starts_with("Usage: .") && !said.contains("Unknown"), "{token}: {said}");
    }
}
