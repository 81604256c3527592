//! `dt` in all its forms.

use outpost_testkit::{Build, Compiler};

use crate::common::*;

/// A session with one part for each `dt`, named by its arguments' number.
fn dt(arguments: &[&str]) -> Vec<String> {
    let mut script = "bp down; g".to_owned();
    for (at, one) in arguments.iter().enumerate() {
        script += &format!("; .echo [{at}]; dt {one}");
    }
    script += "; .echo [end]";
    // A failure ends the rest of a line, so what must fail is asked for last or alone.
    let output = cdb(lists(), &script);
    (0..arguments.len()).map(|at| part(&output, &at.to_string()).to_owned()).collect()
}

/// Rows without offsets' and names' padding, for comparing.
fn rows(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[track_caller]
fn check(arguments: &str, expected: &[&str]) {
    let shown = dt(&[arguments]);
    let got = rows(&shown[0]);
    let got: Vec<&str> = got.iter().map(String::as_str).collect();
    assert_eq!(got, expected, "dt {arguments}:\n{}", shown[0]);
}

#[test]
fn a_type_at_an_address_given_by_name_or_number() {
    let by_name =
        dt(&["node second", "node @@(&second)", "node poi(head)", "node second in.x", "-c inner @@(&second.in)"]);
    assert!(by_name[0].contains("value : 0n2") && by_name[0].contains("name  : \"second\""), "{by_name:#?}");
    assert_eq!(by_name[0], by_name[1]);
    assert!(by_name[2].contains("\"first\""), "{by_name:#?}");
    assert_eq!(rows(&by_name[3]), ["+0x010 in : struct inner", "+0x010 x : 0n21"]);
    assert!(by_name[4].contains("x: 0n21") && by_name[4].trim().lines().count() == 1, "{by_name:#?}");
}

#[test]
fn fields_by_path_prefix_pattern_and_element() {
    check("node in", &["+0x010 in : struct inner"]);
    check("node n", &["+0x008 next : struct node *", "+0x021 name : char [8]"]);
    check("node -y n", &["+0x008 next : struct node *", "+0x021 name : char [8]"]);
    check("node *a*", &["+0x000 value : int", "+0x020 flag : unsigned int, Pos 0, 3 Bits", "+0x021 name : char [8]"]);
    check("node in.y", &["+0x010 in : struct inner", "+0x014 y : int [3]"]);
    check("node in.y[2]", &["+0x010 in : struct inner", "+0x014 y : int [3]", "+0x01c [2] : int"]);
    check("node in. ", &["+0x010 in : struct inner", "+0x010 x : int", "+0x014 y : int [3]"]);
    check("node next.value", &["+0x008 next : struct node *", "+0x000 value : int"]);
    check("-o node value flag", &["value : int", "flag : unsigned int, Pos 0, 3 Bits"]);
    let values = dt(&["first next.next.value", "first in.y[1] name", "first next.in."]);
    assert!(rows(&values[0])[3] == "+0x000 value : 0n3", "{values:#?}");
    let second = rows(&values[1]);
    assert_eq!(
        second[1..],
        ["+0x010 in : struct inner", "+0x014 y : {0n7, 0n8, 0n9}", "+0x018 [1] : 0n8", "+0x021 name : \"first\""]
    );
    assert!(rows(&values[2]).contains(&"+0x010 x : 0n21".to_owned()), "{values:#?}");
    let failed = dt(&["node nonsense"]);
    assert!(failed[0].contains("has no field 'nonsense'"), "{failed:#?}");
}

#[test]
fn recursion_follows_structures_and_pointers() {
    let shown = dt(&["-r1 first", "-r first", "-b first", "-r1 node", "-i -r1 node"]);
    let depth = |text: &str, name: &str| text.matches(&format!("\"{name}\"")).count();
    assert_eq!((depth(&shown[0], "second"), depth(&shown[0], "third")), (1, 0), "one level:\n{}", shown[0]);
    assert_eq!((depth(&shown[1], "second"), depth(&shown[1], "third")), (1, 1), "all levels:\n{}", shown[1]);
    assert!(
        shown[1].contains("x     : 0n31") || rows(&shown[1]).contains(&"+0x010 x : 0n31".to_owned()),
        "{}",
        shown[1]
    );
    assert_eq!(
        (depth(&shown[2], "second"), depth(&shown[2], "third")),
        (1, 0),
        "only the outer pointers:\n{}",
        shown[2]
    );
    assert!(rows(&shown[2]).contains(&"+0x010 x : 0n21".to_owned()), "what is inside them is opened:\n{}", shown[2]);
    assert!(rows(&shown[3]).contains(&"+0x010 x : int".to_owned()), "{}", shown[3]);
    assert!(
        shown[4].lines().filter(|line| line.contains("+0x")).all(|line| line.starts_with("   +0x")),
        "{}",
        shown[4]
    );
}

#[test]
fn elements_of_arrays() {
    let shown = dt(&["-a first", "-a2 first", "first -a in.y", "-a2 table", "-a1r1 table", "table[0] value"]);
    assert!(rows(&shown[0]).contains(&"+0x021 [0] : 0n102 'f'".to_owned()) && shown[0].contains("[7]"), "{}", shown[0]);
    assert!(shown[1].contains("[1]") && !shown[1].contains("[2]"), "{}", shown[1]);
    assert_eq!(rows(&shown[2])[3..], ["+0x014 [0] : 0n7", "+0x018 [1] : 0n8", "+0x01c [2] : 0n9"]);
    let table = rows(&shown[3]);
    assert!(
        table.len() == 3 && table[1].starts_with("+0x000 [0] :") && table[2].starts_with("+0x030 [1] :"),
        "{table:#?}"
    );
    assert!(rows(&shown[4]).contains(&"+0x000 value : 0n0".to_owned()), "{}", shown[4]);
    assert!(shown[5].contains("value : 0n0"), "{}", shown[5]);
}

#[test]
fn lists_are_followed_to_their_end() {
    let shown = dt(&["node first value -l next", "first -l next name"]);
    let expected = ["value : 0n1", "value : 0n2", "value : 0n3"];
    let values: Vec<&str> =
        shown[0].lines().filter_map(|line| line.split_once("+0x000 ").map(|(_, rest)| rest)).collect();
    assert_eq!(values, expected, "{}", shown[0]);
    assert_eq!(shown[0].matches("next at 0x").count(), 3, "{}", shown[0]);
    assert!(shown[1].contains("\"third\"") && !shown[1].contains("value"), "{}", shown[1]);
}

#[test]
fn names_by_pattern_size_and_address() {
    let shown = dt(&[
        "lists!*in*",
        "-t lists!*in*",
        "-s 30 lists!*",
        "-y lists!nod",
        "-d lists!inne*",
        "-v node",
        "@@(&second)+4",
        "-vt lists!nod*",
    ]);
    assert!(shown[0].contains("  lists!inner\n") && !shown[0].contains("lists!node"), "{}", shown[0]);
    assert_eq!(rows(&shown[1]).iter().filter(|row| row.contains('`')).count(), 0, "{}", shown[1]);
    assert_eq!(rows(&shown[2]), ["lists!node"]);
    assert_eq!(rows(&shown[3]), ["lists!node"]);
    assert_eq!(rows(&shown[4]), ["lists!inner", "+0x000 x : int", "+0x004 y : int [3]"]);
    assert_eq!(rows(&shown[5])[0], "struct node, 5 elements, 0x30 bytes");
    assert!(rows(&shown[6])[0].starts_with("lists!second+0x4 Type struct node"), "{}", shown[6]);
    assert_eq!(rows(&shown[7]), ["lists!node 0x30 bytes"]);
    let data = dt(&["lists!hea*"]);
    assert!(rows(&data[0])[0].ends_with("lists!head"), "{data:#?}");
}

/// What has the very name is meant, whatever it is, before what differs in case.
#[test]
fn exact_names_of_any_kind_come_first() {
    const NAMES: &str = r#"
typedef int Int;
typedef struct { int first; } Pair;
enum kind { INT = 3, PAIR = 5, Alone = 7 };
enum kind kind = Alone;
Pair pair = {1};
Int number = 4;
int main(void) { return number + pair.first + kind; }
"#;
    let program = Build::source(Compiler::Gcc, "names", NAMES).flags("-g -O0").path();
    let script = "g names!main; .echo [Int]; dt Int; .echo [Pair]; dt Pair; .echo [pair]; dt pair; .echo [alone]; ?? alone; \
                  .echo [value]; ?? Int; .echo [end]";
    let output = cdb(&program, script);
    assert_eq!(part(&output, "Int").trim(), "int, 0x4 bytes", "{output}");
    assert_eq!(rows(part(&output, "Pair").trim()), ["+0x000 first : int"], "{output}");
    assert!(part(&output, "pair").contains("first : 0n1") || part(&output, "pair").contains(": 0n1"), "{output}");
    assert!(part(&output, "alone").contains("Alone (0x7)"), "{output}");
    assert!(output.contains("Couldn't resolve error at 'Int'"), "{output}");
}

#[test]
fn characters_that_separate_elsewhere_and_commas_are_evaluated() {
    let script = "bp down; g; .echo [1]; ?? ';'; .catch {?? '\"'; ?? '}'}; .if (')' == 0x29) {?? 1, 2}; .echo [2]; \
                  ?? depth = 40, depth + 2; ?? depth; .echo [end]";
    let output = cdb(lists(), script);
    let first: Vec<&str> = part(&output, "1").trim().lines().collect();
    assert_eq!(first, ["char 0n59 ';'", "char 0n34 '\"'", "char 0n125 '}'", "int 0n2"], "{output}");
    assert_eq!(part(&output, "2").trim().lines().collect::<Vec<_>>(), ["int 0n42", "int 0n40"], "{output}");
}

/// Template arguments that have defaults may be left out, while one type is meant.
#[test]
fn default_arguments_of_templates_may_be_left_out() {
    const ITEMS: &str = r#"
#include <map>
#include <set>
#include <string>
#include <vector>
struct Item { int first; int second; };
struct Greater { bool operator()(int a, int b) const { return a > b; } };
int main() {
    std::vector<Item> items(3);
    std::map<int, std::vector<Item>> ages;
    std::map<std::string, std::vector<std::vector<Item>>> nested;
    std::set<int> up;
    std::set<int, Greater> down;
    return (int)(items.size() + ages.size() + up.size() + down.size() + nested.size());
}
"#;
    let program = Build::source(Compiler::Gxx, "items", ITEMS).flags("-g -O0").path();
    let script = "g items!main; .echo [1]; ?? sizeof(std::vector<Item>); \
                  ?? sizeof(std::map<int,std::vector<Item, std::allocator<Item>>>); \
                  ?? sizeof(*(std::vector<Item> *)&items); ?? sizeof(std::vector<std::vector<Item>>); \
                  ?? sizeof(std::map<std::string, std::vector<std::vector<Item>>>); \
                  ?? sizeof(std::map<int, std::vector<Item>>); .echo [2]; .catch {?? sizeof(std::set<int>)}; \
                  .catch {?? (std::vector<in> *)0}; .echo [end]";
    let output = cdb(&program, script);
    let sizes: Vec<&str> = part(&output, "1").trim().lines().collect();
    assert_eq!(sizes[0], "unsigned long 0x18", "{output}");
    assert_eq!(sizes[2], "unsigned long 0x18", "{output}");
    assert_eq!(sizes[1], "unsigned long 0x30", "{output}");
    assert_eq!(sizes[3..], ["unsigned long 0x18", "unsigned long 0x30", "unsigned long 0x30"], "{output}");
    assert!(!part(&output, "2").contains("unsigned long"), "two sets begin alike: {output}");
}
