//! What the tests share: a program with something in it, and what `cdb` says to a script on it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use outpost_testkit::{Build, Compiler};

/// Recursion, structures in a list, an array, a bit field, a table to search in.
pub(crate) const LISTS: &str = r#"
#include <stdio.h>
struct inner { int x; int y[3]; };
struct node { int value; struct node *next; struct inner in; unsigned flag : 3; char name[8]; };
static struct node third = { 3, 0, { 31, { 1, 2, 3 } }, 1, "third" };
static struct node second = { 2, &third, { 21, { 4, 5, 6 } }, 2, "second" };
static struct node first = { 1, &second, { 11, { 7, 8, 9 } }, 3, "first" };
struct node table[3];
struct node *head = &first;
char needles[64] = "needle a needle b needle c";
const char fixed[] = "a needle that cannot be written";
unsigned short wide[] = { 'w', 'i', 'd', 'e', 'r', 0 };
__attribute__((noinline)) int down(int depth, struct node *list) {
    if (depth == 0) {
        table[0] = *list;
        return list->value; // bottom
    }
    return down(depth - 1, list->next ? list->next : list) + 1;
}
int main(void) {
    int sum = 0;
    for (int i = 1; i < 6; i++)
        sum += down(i, head);
    printf("%d %c %c\n", sum, fixed[0], needles[0]);
    return wide[0] == 0;
}
"#;

/// No session takes longer.
const LIMIT: Duration = Duration::from_secs(50);

/// The program of [`LISTS`].
pub(crate) fn lists() -> PathBuf {
    Build::source(Compiler::Gcc, "lists", LISTS).flags("-g -O0").path()
}

/// What `cdb` says to a script on a program that it starts.
pub(crate) fn cdb(program: impl AsRef<Path>, script: &str) -> String {
    run(&["-c", script, program.as_ref().to_str().unwrap()])
}

/// What `cdb` says with these arguments and no input.
pub(crate) fn run(arguments: &[&str]) -> String {
    run_in(Path::new("."), arguments)
}

/// As [`run`], in a folder.
pub(crate) fn run_in(folder: &Path, arguments: &[&str]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (done, waits) = std::sync::mpsc::channel::<()>();
    // A session that hangs is ended, so that the test tells what was said until then.
    let guard = std::thread::spawn(move || {
        if waits.recv_timeout(LIMIT).is_err() {
            child.kill().unwrap();
        }
        child.wait().unwrap();
    });
    let mut output = String::new();
    stdout.read_to_string(&mut output).unwrap();
    let in_time = done.send(()).is_ok();
    guard.join().unwrap();
    assert!(in_time, "no end after {LIMIT:?}:\n{output}");
    output
}

/// What comes between the marks `.echo <name>` and the next `.echo`.
#[track_caller]
pub(crate) fn part<'a>(output: &'a str, name: &str) -> &'a str {
    let start = output.find(&format!("\n[{name}]\n")).unwrap_or_else(|| panic!("no part {name}:\n{output}"));
    // The newline before what is said stays, so that an empty part ends at once.
    let rest = &output[start + name.len() + 3..];
    rest.find("\n[").map_or(rest, |end| &rest[..=end]).trim_start_matches('\n')
}
