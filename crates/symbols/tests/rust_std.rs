//! Views of Rust's standard library, read from a program that gdb stopped: by the layout of whatever toolchain is here.

#[path = "oracle/locals.rs"]
mod locals;
#[expect(dead_code, reason = "each test uses a part of what gdb says")]
mod oracle;

use std::collections::BTreeSet;

use locals::{locals, rounds, without_addresses};
use oracle::Program;
use outpost_base::{MemoryReader, Va};
use outpost_symbols::{ElementKey, TextOptions, Value, View, ViewLimits};
use outpost_testkit::{Build, Compiler};

const FUNCTIONS: [&str; 7] = ["hashes", "trees", "texts", "pointers", "cells", "locks", "plain"];

fn program(optimisation: &str) -> Program {
    let flags = format!("-g -Copt-level={optimisation}");
    Program::new(Build::fixture("std_views.rs").with(Compiler::Rustc).flags(&flags))
}

/// Compares at opt-level 0 and 2; what is optimised away at the latter is in `gone` and must be there at the former.
#[track_caller]
fn check(function: &str, gone: &[&str], expected: &[(&str, &str)]) {
    for level in ["0", "2"] {
        let program = program(level);
        let bias = program.stops[0].bias;
        let symbol = |at: Va| Some(program.module.symbol_at(at.to_image(bias))?.symbol.name);
        let options = TextOptions { symbol: &symbol, ..TextOptions::default() };
        let (values, mut memory) = locals(&program, &format!("std_views::{function}"));
        let expected = expected.iter().filter(|(name, _)| level == "0" || !gone.contains(name));
        for (name, text) in expected {
            let value = values.get(*name).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(without_addresses(&value.text(&options, &mut memory)), *text, "{name} at opt-level {level}");
        }
    }
}

#[test]
fn hash_tables() {
    check(
        "hashes",
        &[],
        &[
            ("empty", "size=0"),
            ("one", "size=1 {\"one\": 0n1}"),
            ("holes", "size=1 {0x4d: 0x4d}"),
            ("words", "size=1 {\"word\"}"),
            ("nested", "size=1 {{x=0n1, y=0x2}: size=2 {Some(0n3), None}}"),
            ("nothing", "size=1 {{}}"),
            ("no_values", "size=1 {0x9: ()}"),
            ("boxed", "ADDRESS size=1 {0x1: size=1 {0x2: 0x3}}"),
        ],
    );
}

#[test]
fn trees_lists_and_heaps() {
    check(
        "trees",
        &[],
        &[
            ("empty", "size=0"),
            ("emptied", "size=0"),
            ("small", "size=2 {0n1: \"one\", 0n2: \"two\"}"),
            (
                "big",
                "size=1000 {0x0: 0x0, 0x1: 0x2a7, 0x2: 0x166, 0x3: 0x25, 0x4: 0x2cc, 0x5: 0x18b, 0x6: 0x4a, 0x7: 0x2f1, \
                 0x8: 0x1b0, 0x9: 0x6f, ...}",
            ),
            ("holes", "size=5 {0x3, 0x3eb, 0x7d3, 0xbbb, 0xfa3}"),
            ("keys", "size=2 {{x=0n1, y=0x2}, {x=0n2, y=0x1}}"),
            ("nothing", "size=1 {{}}"),
            (
                "no_values",
                "size=20 {0x0: (), 0x1: (), 0x2: (), 0x3: (), 0x4: (), 0x5: (), 0x6: (), 0x7: (), 0x8: (), 0x9: (), ...}",
            ),
            ("nested", "size=1 {0x1: size=1 {0x2: 0x3}}"),
            ("list", "size=3 {0n1, 0n2, 0n3}"),
            ("no_list", "size=0"),
            ("heap", "size=3 {0n5, 0n1, 0n3}"),
        ],
    );
}

#[test]
fn texts() {
    check(
        "texts",
        &["c_str", "os_str", "path"],
        &[
            ("os_string", "\"os\""),
            ("path_buf", "\"/a/b\""),
            ("path", "\"/a/b\""),
            ("os_str", "\"os\""),
            ("c_string", "\"c text\""),
            ("c_str", "\"c text\""),
            ("borrowed", "Borrowed(\"borrowed\")"),
            ("owned", "Owned(\"owned\")"),
            ("boxed_str", "\"boxed\""),
            ("boxed_slice", "size=2 {0n1, 0n2}"),
            ("boxed_path", "\"boxed\""),
            ("rc_str", "\"counted\""),
            ("arc_slice", "size=3 {0x7, 0x8, 0x9}"),
            ("arc_path", "\"/arc\""),
            ("mut_str", "\"mutable\""),
            ("raw_str", "\"raw\""),
        ],
    );
}

#[test]
fn pointers() {
    check(
        "pointers",
        &["dynamic_reference"],
        &[
            ("rc", "ADDRESS 0n5 (strong=1, weak=1)"),
            ("weak", "ADDRESS 0n5 (strong=1, weak=1)"),
            ("dangling", "empty"),
            ("gone", "empty (strong=0, weak=1)"),
            ("arc", "ADDRESS {x=0n1, y=0x2} (strong=2, weak=1)"),
            ("arc_weak", "ADDRESS {x=0n1, y=0x2} (strong=2, weak=1)"),
            ("dynamic", "ADDRESS std_views::Key {x=0n5, y=0x6}"),
            ("dynamic_reference", "ADDRESS alloc::vec::Vec<i32, alloc::alloc::Global> size=2 {0n1, 0n2}"),
            ("dynamic_arc", "ADDRESS std_views::Key {x=0n1, y=0x2} (strong=2, weak=1)"),
            ("pinned", "ADDRESS 0n7"),
            ("pinned_reference", "ADDRESS 0n8"),
            ("callback", "ADDRESS std_views::pointers::{closure_env#0} {}"),
        ],
    );
}

#[test]
fn cells() {
    check(
        "cells",
        &["first", "second", "unique"],
        &[
            ("cell", "0n1"),
            ("free", "0n2"),
            ("shared", "0n3 (borrow=2)"),
            ("first", "ADDRESS 0n3 (borrow=2)"),
            ("second", "ADDRESS 0n3 (borrow=2)"),
            ("taken", "0n4 (borrow_mut=1)"),
            ("unique", "ADDRESS 0n4 (borrow_mut=1)"),
            ("once", "0n5"),
            ("never", "<uninit>"),
            ("lazy", "0n6"),
            ("idle", "<uninit>"),
            ("manually", "0n8"),
            ("maybe", "0n9"),
            ("wrapping", "0xa"),
            ("flag", "true"),
            ("half", "0xb"),
            ("atomic", "0x00000000`00000000"),
        ],
    );
}

#[test]
fn locks() {
    check(
        "locks",
        &[],
        &[
            ("mutex", "0n1"),
            ("held", "0n2 (locked)"),
            ("guard", "Ok(ADDRESS 0n2)"),
            ("poisoned", "ADDRESS 0n3 (poisoned) (strong=1, weak=0)"),
            ("lock", "0n4"),
            ("read", "0n5 (readers=2)"),
            ("first", "Ok(ADDRESS 0n5)"),
            ("written", "0n6 (locked)"),
            ("writer", "Ok(ADDRESS 0n6)"),
            ("once", "0n7"),
            ("never", "<uninit>"),
            ("lazy", "0n8"),
            ("idle", "<uninit>"),
        ],
    );
}

#[test]
fn times_addresses_ranges_and_enums() {
    check(
        "plain",
        &["full"],
        &[
            ("duration", "1.5s"),
            ("short", "20ns"),
            ("epoch", "1970-01-01T00:00:00Z"),
            ("later", "2023-11-14T22:13:20.5Z"),
            ("before", "1969-12-31T23:59:59Z"),
            ("v4", "127.0.0.1"),
            ("v6", "fe80::1"),
            ("ip", "127.0.0.1"),
            ("ip6", "fe80::1"),
            ("socket", "10.0.0.1:8080"),
            ("socket6", "[::1]:443"),
            ("range", "0n1..0n5"),
            ("inclusive", "0n1..=0n5"),
            ("from", "0x2.."),
            ("to", "..0n3"),
            ("full", ".."),
            ("chars", "0x61 'a'..=0x7a 'z'"),
            ("ordering", "Less (0n-1)"),
            ("option_box", "Some(\"niche\")"),
            ("option_string", "None"),
            ("result", "Err({kind=InvalidDigit (0x1)})"),
            ("slice_iter", "size=2 {0n2, 0n3}"),
            ("vec_iter", "size=2 {0x8, 0x9}"),
            ("units", "size=2 {(), ()}"),
            ("letters", "\"ext\""),
            ("letter", "0xdf 'ß'"),
            ("os_error", "No such file or directory (os error 2)"),
            ("failed", "Err(Permission denied (os error 13))"),
        ],
    );
    let (values, mut memory) = locals(&program("0"), "std_views::plain");
    // The numbers of the kinds are the library's own.
    let kind = values["kind_error"].text(&TextOptions::default(), &mut memory);
    assert!(kind.starts_with("TimedOut ("), "{kind}");
    let custom = values["custom_error"].text(&TextOptions::default(), &mut memory);
    assert!(custom.starts_with("{kind=Other ("), "{custom}");
    let instant = values["instant"].text(&TextOptions::default(), &mut memory);
    let seconds = instant.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{instant}");
}

/// Keys and values as numbers.
fn numbers(view: View, memory: &mut dyn MemoryReader) -> Vec<(u64, u64)> {
    let View::Map { entries, .. } = view else { panic!("{view:?}") };
    let mut number = |value: &Value| value.scalar(memory).expect("is a number").as_u64();
    entries.iter().map(|(key, value)| (number(key), number(value))).collect()
}

#[test]
fn maps_of_a_thousand_take_two_round_trips_after_their_header() {
    let program = program("0");
    let (values, mut memory) = locals(&program, "std_views::hashes");
    let (view, round_trips) = rounds(&values["big"], &memory);
    let found: BTreeSet<_> = numbers(view, &mut memory).into_iter().collect();
    assert_eq!(found, (0..1000).map(|number| (number, number * 7)).collect());
    assert!(round_trips <= 3, "{round_trips}");
    let (values, mut memory) = locals(&program, "std_views::trees");
    let (view, round_trips) = rounds(&values["big"], &memory);
    let mut expected: Vec<_> = (0..1000).map(|number| (number * 7919 % 1000, number)).collect();
    expected.sort_unstable();
    assert_eq!(numbers(view, &mut memory), expected);
    assert!(round_trips <= 3, "{round_trips}");
}

#[test]
fn a_part_of_a_map_is_that_part_of_the_whole() {
    let program = program("0");
    for function in ["std_views::hashes", "std_views::trees"] {
        let (values, mut memory) = locals(&program, function);
        let mut part = |start, count| {
            let limits = ViewLimits { start, count, ..ViewLimits::default() };
            let view = values["big"].view(&limits, &mut memory).expect("has a view").expect("is readable");
            numbers(view, &mut memory)
        };
        let all = part(0, u64::MAX);
        assert_eq!(all.len(), 1000, "{function}");
        for (start, count) in [(0, 1), (7, 300), (499, 2), (995, 50), (1000, 1), (u64::MAX, u64::MAX)] {
            let expected: Vec<_> = all.iter().copied().skip(start as usize).take(count as usize).collect();
            assert_eq!(part(start, count), expected, "{function}, {count} from {start}");
        }
    }
}

#[test]
fn elements_are_found_by_key_and_through_wrappers() {
    let program = program("0");
    let check = |function: &str, path: &[&str], key: ElementKey, expected: &str| {
        let (values, mut memory) = locals(&program, &format!("std_views::{function}"));
        let value = path[1..].iter().fold(values[path[0]].clone(), |value, name| {
            value.member(name, &mut memory).unwrap_or_else(|_| panic!("no {name}"))
        });
        let found = value.element_at(&key, &mut memory).expect("has elements").expect("is there");
        assert_eq!(found.text(&TextOptions::default(), &mut memory), expected, "{path:?} {key:?}");
    };
    check("hashes", &["big"], ElementKey::Number(77), "0x21b");
    check("hashes", &["one"], ElementKey::Text(b"one".to_vec()), "0n1");
    check("trees", &["big"], ElementKey::Number(919), "0x1");
    check("trees", &["list"], ElementKey::Number(1), "0n2");
    check("texts", &["arc_slice"], ElementKey::Number(2), "0x9");
    check("texts", &["path_buf"], ElementKey::Number(1), "0x61");
}

/// The variables of each function where its stack frame would lie, over what was there at the other stops: a variable
/// before it is made has what others left.
#[test]
fn variables_that_were_not_made_yet_are_survived() {
    let program = program("0");
    let mut seen = 0;
    for function in FUNCTIONS {
        let (values, _) = locals(&program, &format!("std_views::{function}"));
        for stop in &program.stops {
            for (name, value) in &values {
                let text = value.text(&TextOptions::default(), &mut stop.memory.clone());
                assert!(!text.is_empty() && text.len() < 64 << 10, "{name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 400, "{seen}");
}

/// Memory that answers any read, by a rule of its own.
struct Noise(u64);

impl MemoryReader for Noise {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        for (index, byte) in buf.iter_mut().enumerate() {
            let place = at.0.wrapping_add(index as u64);
            let word = place.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(self.0 as u32);
            *byte = match self.0 % 6 {
                0 => 0xff,
                1 => 0,
                // Small numbers and pointers that stay in a small place: what passes the checks of lengths.
                2 => {
                    if place.is_multiple_of(8) {
                        (word >> 60) as u8
                    } else {
                        0
                    }
                }
                3 => {
                    if place % 8 < 2 {
                        (word >> 56) as u8
                    } else {
                        0
                    }
                }
                4 => {
                    if place.is_multiple_of(8) {
                        1
                    } else {
                        0
                    }
                }
                _ => (word >> 56) as u8,
            };
        }
        buf.len()
    }
}

#[test]
fn garbage_ends() {
    let program = program("0");
    let symbol = |at: Va| at.0.is_multiple_of(3).then(|| "x!<std_views::Key as std_views::Speak>::{vtable}".to_owned());
    let mut readings = 0;
    for function in FUNCTIONS {
        let (values, _) = locals(&program, &format!("std_views::{function}"));
        for value in values.values() {
            for seed in 0..24 {
                let options = TextOptions { symbol: &symbol, element_limit: 1000, ..TextOptions::default() };
                assert!(value.text(&options, &mut Noise(seed)).len() < 64 << 10);
                let limits = ViewLimits { start: seed, count: 5000, text: 100 };
                if let Ok(children) = value.children(&limits, seed % 2 == 1, &mut Noise(seed)) {
                    assert!(children.items.len() <= 5000);
                }
                readings += 1;
            }
        }
    }
    assert!(readings > 2000, "{readings}");
}
