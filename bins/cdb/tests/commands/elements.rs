//! Elements of containers in expressions, by index and by key.

use std::path::PathBuf;

use outpost_testkit::{Build, Compiler};

use crate::common::*;

const CPP: &str = r#"
#include <array>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>
struct part { std::string name; int weights[2]; };
enum class color { red = 1, green = 2 };
static volatile int sink;
__attribute__((noinline)) void stop() { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void look(std::vector<part> &parts, const std::string &key) {
    std::deque<long> queue;
    for (long i = 0; i < 300; i++) queue.push_back(i * i);
    for (long i = 0; i < 70; i++) queue.pop_front();
    std::array<short, 3> fixed{7, 8, 9};
    std::vector<bool> flags{true, false, true};
    std::vector<std::vector<int>> rows{{1, 2}, {3, 4, 5}};
    std::map<int, part> by_number{{-3, {"minus", {1, 2}}}, {40, {"forty", {3, 4}}}};
    std::map<std::string, part> by_name{{"bolt", {"M4", {5, 6}}}, {"a name that does not fit the object", {"M5", {7, 8}}}};
    std::map<color, int> by_color{{color::red, 10}, {color::green, 20}};
    std::unordered_map<std::string, int> hashed{{"one", 1}, {"two", 2}};
    std::map<const char *, int> by_pointer{{"pointed", 5}};
    std::list<int> list{4, 5, 6};
    std::string_view view = "viewed";
    std::vector<int> none;
    int array[3] = {1, 2, 3};
    int *pointer = array;
    int at = 1;
    stop();
    sink = queue.size() + fixed[0] + flags[0] + rows.size() + by_number.size() + by_name.size() + by_color.size() +
           hashed.size() + by_pointer.size() + list.size() + view.size() + none.size() + pointer[1] + at + key.size() +
           parts.size();
}
int main() {
    std::vector<part> parts{{"first", {1, 2}}, {"second part, long enough for the heap", {3, 4}}};
    look(parts, "bolt");
}
"#;

const RUST: &str = r#"
use std::collections::VecDeque;
use std::hint::black_box;
use std::rc::Rc;
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn stop() {
    black_box(0);
}
pub struct Part { name: String, weights: [u16; 2] }
#[inline(never)]
pub fn look(parts: &Vec<Part>, slice: &[i32], text: &str) -> usize {
    let mut deque: VecDeque<i32> = (0..8).collect();
    for number in 0..5 {
        deque.pop_front();
        deque.push_back(100 + number);
    }
    let shared = Rc::new(vec![String::from("in an rc")]);
    let boxed: Box<[u8]> = vec![9, 8, 7].into();
    let array = [[1i32, 2], [3, 4]];
    let borrowed = &array;
    let raw: *const i32 = &array[0][0];
    let index = 1usize;
    stop();
    black_box((&deque, &shared, &boxed, &array, &borrowed, &index, &raw));
    parts.len() + slice.len() + text.len() + parts[0].weights.len() + parts[0].name.len()
}
fn main() {
    let part = |name: &str, weights| Part { name: name.into(), weights };
    println!("{}", look(&vec![part("first", [1, 2]), part("second", [3, 4])], &[5, 6, 7], "text"));
}
"#;

fn cpp() -> PathBuf {
    Build::source(Compiler::Gxx, "elements", CPP).flags("-g -O0 -std=c++17").path()
}

/// What each expression comes to in the frame that called `stop`.
fn check(program: PathBuf, expected: &[(&str, &str)]) {
    let shown: String = expected.iter().map(|(expression, _)| format!("?? {expression}\n")).collect();
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), format!("bp stop\ng\n.frame 1\n{shown}q\n")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-G".as_ref(), program.as_os_str()])
        .stdin(std::fs::File::open(script.path()).unwrap())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    for (expression, value) in expected {
        let (_, behind) = output.split_once(&format!("> ?? {expression}\n")).unwrap_or_else(|| panic!("{output}"));
        assert_eq!(behind.lines().next(), Some(*value), "{expression}");
    }
}

#[test]
fn elements_of_cpp_containers() {
    check(
        cpp(),
        &[
            ("parts[1].name", "std::string \"second part, long enough for the heap\""),
            ("parts[1].name[7]", "char 0n112 'p'"),
            ("parts[at].weights[1] + 1", "int 0n5"),
            ("parts[2]", "Operand error at '[]': index 2 is out of range, the length is 2"),
            ("parts[-1]", "Operand error at '[]': index -1 is out of range, the length is 2"),
            ("parts[1.5]", "Operand error at '[]': the index is no integer"),
            ("parts[\"one\"]", "Operand error at '[]': the index is no integer"),
            ("queue[0]", "long 0n4900"),
            ("queue[229]", "long 0n89401"),
            ("queue[230]", "Operand error at '[]': index 230 is out of range, the length is 230"),
            ("fixed[2]", "short 0n9"),
            ("fixed[3]", "Operand error at '[]': index 3 is out of range, the length is 3"),
            ("flags[1]", "bool false"),
            ("rows[1][2]", "int 0n5"),
            ("rows[1][3]", "Operand error at '[]': index 3 is out of range, the length is 3"),
            ("none[0]", "Operand error at '[]': index 0 is out of range, the length is 0"),
            ("by_number[-3].name", "std::string \"minus\""),
            ("by_number[40].weights[0]", "int 0n3"),
            ("by_number[4]", "Operand error at '[]': none of 2 entries has this key"),
            ("by_number[\"x\"]", "Operand error at '[]': the keys are no texts"),
            ("by_name[key].name", "std::string \"M4\""),
            ("by_name[\"a name that does not fit the object\"].weights[1]", "int 0n8"),
            ("by_name[\"bol\"]", "Operand error at '[]': none of 2 entries has this key"),
            ("by_name[\"bolts\"]", "Operand error at '[]': none of 2 entries has this key"),
            ("by_name[3]", "Operand error at '[]': the keys are no numbers"),
            ("by_color[color::green]", "int 0n20"),
            ("hashed[\"two\"]", "int 0n2"),
            ("by_pointer[\"pointed\"]", "int 0n5"),
            ("list[2]", "int 0n6"),
            ("view[2]", "char 0n101 'e'"),
            ("view[6]", "Operand error at '[]': index 6 is out of range, the length is 6"),
            ("key[0] == 'b'", "bool true"),
            ("array[at]", "int 0n2"),
            ("pointer[2]", "int 0n3"),
            ("*&rows[1][0]", "int 0n3"),
            ("rows[1][2] = 9", "int 0n9"),
        ],
    );
}

#[test]
fn elements_of_rust_containers() {
    let program = Build::source(Compiler::Rustc, "elements", RUST).flags("-g").path();
    check(
        program,
        &[
            ("parts[1].name", "alloc::string::String \"second\""),
            ("parts[1].name[2]", "u8 0x63"),
            ("parts[index].weights[1]", "u16 0x4"),
            ("parts[2].name", "Operand error at '[]': index 2 is out of range, the length is 2"),
            ("slice[1]", "i32 0n6"),
            ("slice[3]", "Operand error at '[]': index 3 is out of range, the length is 3"),
            ("text[3]", "u8 0x74"),
            ("text[4]", "Operand error at '[]': index 4 is out of range, the length is 4"),
            ("deque[0]", "i32 0n5"),
            ("deque[7]", "i32 0n104"),
            ("deque[8]", "Operand error at '[]': index 8 is out of range, the length is 8"),
            ("shared[0]", "alloc::string::String \"in an rc\""),
            ("boxed[2]", "u8 0x7"),
            ("array[1][0]", "i32 0n3"),
            ("array[1][5]", "Operand error at '[]': index 5 is out of range, the length is 2"),
            ("borrowed[1][1]", "i32 0n4"),
            ("borrowed[9]", "Operand error at '[]': index 9 is out of range, the length is 2"),
            ("raw[3]", "i32 0n4"),
        ],
    );
}

#[test]
fn dt_goes_into_elements() {
    let script = "bp stop; g; .frame 1; .echo [whole]; dt by_name[\"bolt\"]; .echo [path]; dt parts[1].weights[1]; \
                  .echo [field]; dt rows[1][1]; .echo [far]; dt parts[5]";
    let output = cdb(cpp(), script);
    assert!(part(&output, "whole").contains("name    : \"M4\""), "{output}");
    assert!(part(&output, "path").contains("0n4"), "{output}");
    assert!(part(&output, "field").contains("0n4"), "{output}");
    assert!(part(&output, "far").contains("index 5 is out of range, the length is 2"), "{output}");
}

/// A condition on an element cannot be evaluated by the server, which knows no containers; it is all the same.
#[test]
fn conditions_may_have_elements() {
    let script = "bp /w \"parts[1].weights[0] == 3 && key[0] == 'b'\" look; g; .echo [hit]; k 1";
    let output = cdb(cpp(), script);
    assert!(part(&output, "hit").contains("elements!look"), "{output}");
    let output = cdb(cpp(), "bp /w \"parts[1].weights[0] == 4\" look; .echo [other]; g");
    assert!(part(&output, "other").contains("Exit process"), "{output}");
}
