//! `dx` on programs with what programs have: cycles, garbage, containers, several threads.

use std::io::Write;
use std::path::{Path, PathBuf};

use outpost_testkit::{Build, Compiler};

const CPP: &str = r#"
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>
struct ring { int number; ring *next, *before; std::string name; };
struct part { std::string name; int weights[2]; };
static volatile int sink;
__attribute__((noinline)) void stop() { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void look(ring *first, std::vector<part> &parts, std::map<std::string, int> &ages) {
    alignas(8) char raw[sizeof(std::vector<int>)];
    for (unsigned at = 0; at < sizeof raw; at++) raw[at] = 0x50 + at;
    auto &garbage = reinterpret_cast<std::vector<int> &>(raw);
    std::vector<ring *> rings{first, first->next, nullptr, reinterpret_cast<ring *>(0x10)};
    const char16_t *wide = u"weit";
    int numbers[3] = {5, -6, 7};
    int *pointer = numbers;
    stop();
    sink = garbage.size() + rings.size() + wide[0] + pointer[0] + parts.size() + ages.size();
}
int main() {
    ring one{1, nullptr, nullptr, "one"}, two{2, &one, &one, "two"};
    one.next = one.before = &two;
    std::vector<part> parts{{"bolt", {1, 2}}, {"nut", {3, 4}}, {"washer", {5, 6}}};
    std::map<std::string, int> ages{{"ann", 31}, {"bob", 47}};
    look(&one, parts, ages);
}
"#;

fn cpp() -> PathBuf {
    Build::source(Compiler::Gxx, "objects", CPP).flags("-g -O0 -std=c++17 -pthread").path()
}

/// What each command says in the frame that called `stop`. One that fails does not end the others: each is a line.
fn said(commands: &[String]) -> Vec<String> {
    said_of(&cpp(), commands)
}

fn said_of(program: &Path, commands: &[String]) -> Vec<String> {
    let mut script = tempfile::NamedTempFile::new().unwrap();
    write!(script, "bp stop\ng\n.frame 1\n{}\n.echo end\nq\n", commands.join("\n")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-G".as_ref(), program.as_os_str()])
        .stdin(std::fs::File::open(script.path()).unwrap())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut left = output.as_str();
    let mut said = Vec::new();
    for command in commands {
        let (_, behind) = left.split_once(&format!("> {command}\n")).unwrap_or_else(|| panic!("{command}:\n{output}"));
        let end = behind.find("\n0:0").unwrap_or_else(|| panic!("{command}:\n{output}"));
        said.push(behind[..end].to_owned());
        left = behind;
    }
    said
}

fn check(expected: &[(&str, &str)]) {
    let commands: Vec<String> = expected.iter().map(|(expression, _)| format!("dx {expression}")).collect();
    for ((expression, lines), said) in expected.iter().zip(said(&commands)) {
        assert_eq!(said, *lines, "{expression}");
    }
}

#[test]
fn cycles_and_garbage_are_survived() {
    let commands = [
        "dx -r20 *first",
        "dx -r3 garbage",
        "dx -r2 rings",
        "dx garbage.Count()",
        "dx rings.Sum(r => r->number)",
        "dx rings.Select(r => r->number)",
        "dx rings.Where(r => r != nullptr).Take(2).Sum(r => r->number)",
    ];
    let said = said(&commands.map(str::to_owned));
    let [ring, garbage, rings, count, sum, each, some] = &said[..] else { panic!("{said:?}") };
    assert_eq!(ring.matches("\"one\"").count(), 1, "what is open already is not opened again: {ring}");
    // By way of `next` and by way of `before`.
    assert_eq!(ring.matches("\"two\"").count(), 2, "{ring}");
    assert!(garbage.starts_with("garbage          : <") && garbage.contains("[Type: std::vector<int"), "{garbage}");
    assert!(count.contains("is not available"), "{count}");
    assert!(rings.contains("{ size=4 }") && rings.contains("number           : 2 [Type: int]"), "{rings}");
    assert!(rings.contains("[2]              : 0x00000000`00000000 [Type: ring *]"), "{rings}");
    assert!(rings.contains("<memory at 00000000`00000010 is not readable>"), "{rings}");
    assert_eq!(sum, "[2]: memory access error at 00000000`00000000");
    assert!(each.contains("[1]              : 2 [Type: int]"), "one that fails does not hide the others: {each}");
    assert!(each.contains("[3]              : <memory at 00000000`00000010 is not readable>"), "{each}");
    assert!(some.ends_with(" : 3"), "{some}");
}

#[test]
fn formats_say_how_values_are_shown() {
    check(&[
        ("numbers[1]", "numbers[1]       : -6 [Type: int]"),
        ("numbers[1],x", "numbers[1]       : 0xfffffffa [Type: int]"),
        ("numbers[1],d", "numbers[1]       : -6 [Type: int]"),
        ("numbers[2],o", "numbers[2]       : 0o7 [Type: int]"),
        ("numbers[0],b", "numbers[0]       : 0b101 [Type: int]"),
        ("first->name[0],c", "first->name[0]   : 'o' [Type: char]"),
        ("wide,su", "wide             : \"weit\" [Type: const char16_t *]"),
        (
            "pointer,2",
            "pointer          [Type: int [2]]\n    [0]              : 5 [Type: int]\n    [1]              : -6 [Type: int]",
        ),
        ("first,2,3,q", "Unknown format 'q'; usage: dx [-r Levels] [-c Count] [-n] [-g] [-v] Expression[,Format]"),
        ("parts,2", "Operand error at ',2': the value is no pointer and no array"),
    ]);
}

#[test]
fn queries_look_into_containers() {
    check(&[
        ("parts.Where(p => p.weights[0] > 1).Count()", "parts.Where(p => p.weights[0] > 1).Count() : 0x2"),
        (
            "parts.First(p => p.name == \"nut\").weights[1]",
            "parts.First(p => p.name == \"nut\").weights[1] : 4 [Type: int]",
        ),
        (
            "parts.OrderByDescending(p => p.name).Select(p => p.name.ToUpper())",
            "parts.OrderByDescending(p => p.name).Select(p => p.name.ToUpper())\n    [2]              : WASHER\n    [1]              : NUT\n    [0]              : BOLT",
        ),
        ("parts.Sum(p => p.weights.Sum())", "parts.Sum(p => p.weights.Sum()) : 21"),
        ("parts.Any(p => p.name.Length == 6)", "parts.Any(p => p.name.Length == 6) : true"),
        ("ages.First(a => a.second > 40).second", "ages.First(a => a.second > 40).second : 47 [Type: int]"),
        ("ages.First(a => a.first == \"ann\").second", "ages.First(a => a.first == \"ann\").second : 31 [Type: int]"),
        ("ages[\"ann\"]", "ages[\"ann\"]      : 31 [Type: int]"),
        (
            "-g parts.Select(p => new { p.name, First = p.weights[0] })",
            "==========================\n=     = name     = First =\n==========================\n\
                 = [0] - \"bolt\"   - 1     =\n= [1] - \"nut\"    - 3     =\n= [2] - \"washer\" - 5     =\n\
                 ==========================",
        ),
        (
            "@$curstack.Frames.Skip(1).First().Parameters.Count()",
            "@$curstack.Frames.Skip(1).First().Parameters.Count() : 0x3",
        ),
        (
            "@$curstack.Frames[2].LocalVariables[\"two\"].number",
            "@$curstack.Frames[2].LocalVariables[\"two\"].number : 2 [Type: int]",
        ),
        ("first.Count()", "'elements' is not available: ring * has none"),
    ]);
}

/// What is assigned is assigned once, however often memory is fetched to show it, and the frame stays selected.
#[test]
fn assignments_happen_once() {
    let commands = ["dx numbers[0]++", "dx numbers[0]"];
    let said = said(&commands.map(str::to_owned));
    assert_eq!(said[0], "numbers[0]++     : 5");
    assert_eq!(said[1], "numbers[0]       : 6 [Type: int]");
}

#[test]
fn what_erases_types_is_shown_by_what_it_holds() {
    for (compiler, library) in [(Compiler::Gxx, ""), (Compiler::Clangxx, "-stdlib=libc++")] {
        let flags = format!("{library} -g -O0 -std=c++17");
        let program = Build::fixture("holders.cpp").with(compiler).flags(&flags).path();
        let said = said_of(&program, &["dv".to_owned()]).remove(0);
        let shown = |name: &str| {
            let shown = said.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{name} = ")));
            shown.unwrap_or_else(|| panic!("{name}: {said}"))
        };
        for (name, expected) in [
            ("nothing", "empty"),
            ("number", "int 0n42"),
            ("real", "double 2.5"),
            ("thing", "Thing {number=0n3, name=\"three\"}"),
            ("no_function", "empty"),
            ("functor", "Doubling"),
        ] {
            assert_eq!(shown(name), expected, "{library} {name}");
        }
        assert!(shown("words").ends_with("> \"in any\""), "{said}");
        assert!(shown("function").ends_with("!plus_one"), "{said}");
        assert!(shown("method").ends_with("!Thing::get"), "{said}");
        assert!(shown("small").starts_with("main"), "{said}");
    }
}
