//! One-line texts and fields of values, read from programs that gdb stopped.

#[path = "oracle/locals.rs"]
mod locals;
#[expect(dead_code, reason = "each test uses a part of what gdb says")]
mod oracle;

use locals::{locals, rounds, without_addresses};
use oracle::Program;
use outpost_base::MemoryReader;
use outpost_symbols::{Scalar, Store, TextOptions, Value, View, ViewLimits, field_rows};
use outpost_testkit::{Build, Compiler};

#[track_caller]
fn check(program: &Program, function: &str, expected: &[(&str, &str)]) {
    let (values, mut memory) = locals(program, function);
    let shown: Vec<(String, String)> = expected
        .iter()
        .map(|(name, _)| {
            let value = values.get(*name).unwrap_or_else(|| panic!("no {name}"));
            ((*name).to_owned(), without_addresses(&value.text(&TextOptions::default(), &mut memory)))
        })
        .collect();
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    assert_eq!(shown, expected);
}

fn c_program() -> Program {
    Program::new(Build::fixture("values.c").with(Compiler::Gcc).flags("-g -O0 -gdwarf-5 -lm"))
}

fn cpp_program() -> Program {
    Program::new(Build::fixture("values.cpp").with(Compiler::Gxx).flags("-g -O0 -std=c++17 -gdwarf-5"))
}

fn rust_program() -> Program {
    Program::new(Build::fixture("values.rs").with(Compiler::Rustc).flags("-g -Copt-level=0"))
}

#[test]
fn c_values() {
    let program = c_program();
    check(
        &program,
        "main",
        &[("argc", "0n1"), ("pair", "{a=0n6, b=0n6}"), ("flexible", "ADDRESS"), ("argv", "ADDRESS")],
    );
    check(&program, "split", &[("in", "{a=0n3, b=0n4}"), ("little", "{a=0n1, b=0n2, c=0n99 'c'}"), ("scale", "2.5")]);
    check(
        &program,
        "recurse",
        &[
            (
                "here",
                "{value=0n0, next=ADDRESS, {inner_a=0n0, {as_long=0n0, as_double=0}}, color=GREEN (0n5), name=\"node\"}",
            ),
            ("calls", "0n3"),
        ],
    );
    check(&program, "variable_length", &[("squares", "{0n0, 0n1, 0n4, 0n9, 0n16}")]);
    check(&program, "floats", &[("f", "1.5"), ("ld", "3.5"), ("product", "7"), ("v", "{1, 2, 3, 4}")]);
}

#[test]
fn c_fields() {
    let program = c_program();
    let (values, mut memory) = locals(&program, "main");
    let value = &values["e"];
    let symbol = |_| Some("values!apply".to_owned());
    let options = TextOptions { symbol: &symbol, ..TextOptions::default() };
    let rows = field_rows(value.value_type(), Some(value), 1, &options, &mut memory);
    let shown: Vec<String> = rows
        .iter()
        .filter(|row| row.depth == 0 || row.bits.is_some())
        .map(|row| {
            let bits = row.bits.map(|bits| format!(" {}:{}", bits.offset, bits.size)).unwrap_or_default();
            let offset = row.offset.expect("C has no virtual bases");
            let text = without_addresses(row.value_text.as_deref().expect("there is an object"));
            format!("+{offset:#05x}{bits} {} : {} = {text}", row.name, row.type_name)
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    let without_object = field_rows(value.value_type(), None, 0, &options, &mut memory);
    assert!(without_object.iter().all(|row| row.value_text.is_none() && row.depth == 0));
    assert_eq!(without_object.len(), 32);
}

#[test]
fn cpp_values() {
    let program = cpp_program();
    check(
        &program,
        "types",
        &[
            ("point", "@ADDRESS: {x=0n1, y=0n20}"),
            ("member", "0n4"),
            ("method", "virtual +0x10"),
            (
                "diamond",
                "{shapes::Left={shapes::Root={_vptr.Root=ADDRESS, root=0n1}, _vptr.Left=ADDRESS, left=0n2}, \
                 shapes::Right={shapes::Root={_vptr.Root=ADDRESS, root=0n1}, _vptr.Right=ADDRESS, right=0n3}, \
                 bottom=0n4}",
            ),
            ("box", "{items={0n1, 0n2, 0n3}, inner={one=0n4}}"),
            ("kind", "square (0xc8)"),
            ("plain", "minus (0n-1)"),
            ("either", "{i=0n1094861636, f=12.141422, parts={a=0n68 'D', b=0n67 'C'}}"),
            ("wide", "0x20ac '€'"),
            ("wider", "0x1f600 '😀'"),
            ("wc", "0n119 'w'"),
            ("yes", "true"),
            ("nothing", "0x00000000`00000000"),
            ("text", "ADDRESS \"plain text\""),
            ("array", "{{0n1, 0n2}, {0n3, 0n4}}"),
            ("array_reference", "@ADDRESS: {{0n1, 0n2}, {0n3, 0n4}}"),
            ("lambda", "{__plain=minus (0n-1), __array=@ADDRESS: {{...}, {...}}}"),
        ],
    );
}

/// What both libraries show alike.
fn check_containers(program: &Program) {
    let node = "ADDRESS {key=0n1, next=0x00000000`00000000, owned=empty} (shared=2, weak=1)";
    check(
        program,
        "containers",
        &[
            ("empty", "\"\""),
            ("small", "\"short\""),
            ("large", "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""),
            ("numbers", "size=3 {0n1, 0n2, 0n3}"),
            ("words", "size=3 {\"alpha\", \"beta\", \"a word too long for the object itself\"}"),
            ("flags", "size=3 {true, false, true}"),
            ("none", "size=0"),
            ("names", "size=3 {0n1: \"one\", 0n2: \"two\", 0n3: \"three\"}"),
            ("ages", "size=2 {\"ann\": 0n31, \"bob\": 0n47}"),
            ("set", "size=3 {0n1, 0n3, 0n5}"),
            ("multi", "size=2 {0n1: 0n10, 0n1: 0n11}"),
            ("hash", "size=1 {\"key\": 0n42}"),
            ("hash_set", "size=1 {0n8}"),
            ("unique", "ADDRESS 0n6"),
            ("no_unique", "empty"),
            ("shared", node),
            ("weak", node),
            ("pair", "{first=0n1, second=2.5}"),
            ("some", "0n9"),
            ("nothing", "nullopt"),
            (
                "big",
                "size=1000 {0n0: 0n0, 0n1: 0n143, 0n2: 0n286, 0n3: 0n429, 0n4: 0n572, 0n5: 0n715, 0n6: 0n858, 0n7: 0n1, \
                 0n8: 0n144, 0n9: 0n287, ...}",
            ),
        ],
    );
    check(program, "types", &[("fixed", "size=3 {0n7, 0n8, 0n9}"), ("atomic", "0n5")]);
}

/// As [`check_containers`], of what `containers.cpp` has.
fn check_further_containers(program: &Program) {
    check(
        program,
        "sequences",
        &[
            ("deque", "size=1501 {0n-1, 0n1500, 0n1501, 0n1502, 0n1503, 0n1504, 0n1505, 0n1506, 0n1507, 0n1508, ...}"),
            ("strings", "size=2 {\"front\", \"back\"}"),
            ("no_deque", "size=0"),
            ("list", "size=3 {0n1, 0n2, 0n3}"),
            ("wides", "size=2 {{number=0n1}, {number=0n2}}"),
            ("no_list", "size=0"),
            ("forward", "size=2 {\"one\", \"two\"}"),
            ("no_forward", "size=0"),
            ("no_array", "size=0"),
            ("array", "size=2 {\"a\", \"b\"}"),
            ("flags", "size=70 {false, true, false, false, false, false, false, false, false, false, ...}"),
            ("bits", "size=5 {false, true, true, false, true}"),
            ("long_bits", "size=130 {false, false, false, false, false, false, false, false, false, false, ...}"),
            ("stack", "size=2 {0n1, 0n2}"),
            ("queue", "size=1 {0n3}"),
            ("priority", "size=2 {0n6, 0n4}"),
            ("given", "size=2 {0n7, 0n8}"),
            ("span", "size=2 {0n7, 0n8}"),
            ("fixed_span", "size=2 {\"a\", \"b\"}"),
            ("view", "\"a view of text\""),
            ("wide", "\"wide\""),
            ("sixteen", "\"sixteen\""),
        ],
    );
    check(
        program,
        "associations",
        &[
            ("letters", "size=2 {0n97 'a': 0n98 'b', 0n99 'c': 0n100 'd'}"),
            ("smalls", "size=2 {{letter=0n120 'x'}, {letter=0n121 'y'}}"),
            ("shorts", "size=3 {0n1, 0n2, 0n2}"),
            ("nested", "size=1 {\"outer\": size=1 {0n1: \"inner\"}}"),
            ("words", "size=1 {\"only\"}"),
            ("multi", "size=2 {0n1: 0n10, 0n1: 0n10}"),
            ("none", "size=0"),
        ],
    );
    check(
        program,
        "wrappers",
        &[
            ("tuple", "(0n1, \"two\", 3.5)"),
            ("with_empty", "({}, 0n5)"),
            ("no_tuple", "()"),
            ("number", "0n4"),
            ("word", "\"word\""),
            ("mono", "monostate"),
            ("some", "\"some\""),
            ("nothing", "nullopt"),
            ("reference", "ADDRESS 0n11"),
            ("stateless", "ADDRESS 0n11"),
            ("with_function", "ADDRESS 0n11"),
            ("of_array", "ADDRESS 0n12"),
            ("made", "ADDRESS \"made\" (shared=1, weak=0)"),
            ("no_shared", "empty"),
            ("gone", "empty (shared=0, weak=1)"),
            ("atomic", "0n14"),
            ("flag", "true"),
            ("path", "\"/var/log\""),
            ("pause", "1500ms"),
            ("seconds", "2.5s"),
            ("frames", "3[1/60]s"),
            ("moment", "77ns"),
        ],
    );
    check(
        program,
        "standings",
        &[
            ("values", "size=2 {0n4, 0n5}"),
            ("in_vector", "ADDRESS 0n2"),
            ("in_deque", "ADDRESS 0n2000"),
            ("in_list", "ADDRESS \"bee\""),
            ("in_forward", "ADDRESS 0n8"),
            ("in_map", "ADDRESS {first=0n2, second=\"two\"}"),
            ("behind_map", "end"),
            ("in_set", "ADDRESS {letter=0n120 'x'}"),
            ("in_hashed", "ADDRESS {first=0n5, second=0n6}"),
            ("behind_hashed", "end"),
            ("in_flags", "true"),
            ("last_number", "ADDRESS 0n3"),
            ("last_name", "ADDRESS \"bee\""),
            ("no_iterator", "empty"),
            ("mutex", "unlocked"),
            ("lock", "ADDRESS unlocked (not owned)"),
            ("mono", "monostate"),
            ("when", "2023-11-14T22:13:20Z"),
            ("date", "2024-02-29"),
            ("weekday", "Thursday"),
            ("wide", "\"wide\""),
            ("sixteen", "ADDRESS \"sixteen\""),
        ],
    );
    let (values, mut memory) = locals(program, "associations");
    let limits = ViewLimits { count: 2000, ..ViewLimits::default() };
    let Some(Ok(View::Map { entries, length: 1000 })) = values["hash"].view(&limits, &mut memory) else {
        panic!("{}", values["hash"].text(&TextOptions::default(), &mut memory))
    };
    let mut numbers = Vec::new();
    for (key, value) in &entries {
        let key = key.scalar(&mut memory).expect("key").as_u64();
        assert_eq!(value.text(&TextOptions::default(), &mut memory), format!("\"{key}\""));
        numbers.push(key);
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..1000));
}

/// `values.cpp` with LLVM's library.
fn libcxx_program() -> Program {
    let flags = "-stdlib=libc++ -g -O0 -std=c++17 -gdwarf-5";
    Program::new(Build::fixture("values.cpp").with(Compiler::Clangxx).flags(flags))
}

fn containers_program(compiler: Compiler, library: &str) -> Program {
    let flags = format!("{library} -g -O0 -std=c++20 -gdwarf-5");
    Program::new(Build::fixture("containers.cpp").with(compiler).flags(&flags))
}

#[test]
fn libstdcxx_views() {
    check_containers(&cpp_program());
    check_further_containers(&containers_program(Compiler::Gxx, ""));
}

#[test]
fn libcxx_views() {
    check_containers(&libcxx_program());
    check_further_containers(&containers_program(Compiler::Clangxx, "-stdlib=libc++"));
}

#[test]
fn rust_scalars() {
    check(
        &rust_program(),
        "values::scalars",
        &[
            ("i", "0n-3"),
            ("u", "0x10000000000000000000000000"),
            ("c", "0x20ac '€'"),
            ("b", "true"),
            ("f", "1.25"),
            ("text", "\"borrowed\""),
            ("bytes", "size=3 {0x72, 0x61, 0x77}"),
            ("wide", "0n-5"),
            ("size", "0x4d"),
            ("tuple", "(0n1, 0x78 'x', \"in a tuple\")"),
            ("array", "{{0x1, 0x2}, {0x3, 0x4}}"),
            ("unit", "()"),
            ("raw", "ADDRESS"),
        ],
    );
}

#[test]
fn rust_enums() {
    check(
        &rust_program(),
        "values::enums",
        &[
            ("circle", "Circle {center={x=0n1, y=0n-2}, radius=0.5}"),
            ("square", "Square(0x6)"),
            ("empty", "Empty"),
            ("low", "Low (0x1)"),
            ("high", "High (0xc8)"),
            ("minus", "Minus (0n-5)"),
            ("some", "Some(0n5)"),
            ("none", "None"),
            ("niche", "Some(ADDRESS 0x6)"),
            ("no_reference", "None"),
            ("boxed", "Some(ADDRESS 0n9)"),
            ("ok", "Ok(0x3)"),
            ("error", "Err(\"broken\")"),
            ("nested", "Some(None)"),
            ("character", "None"),
            ("pair", "(0x7, 0x8)"),
            ("unit", "{}"),
        ],
    );
}

#[test]
fn rust_views() {
    check(
        &rust_program(),
        "values::containers",
        &[
            ("string", "\"owned text\""),
            ("empty", "\"\""),
            ("vector", "size=3 {0n1, 0n2, 0n3}"),
            ("strings", "size=2 {\"a\", \"bc\"}"),
            ("slice", "size=2 {0n2, 0n3}"),
            ("boxed", "ADDRESS {x=0n3, y=0n4}"),
            ("boxed_text", "\"boxed\""),
            ("rc", "ADDRESS 0n11 (strong=1, weak=0)"),
            ("arc", "ADDRESS \"shared\" (strong=1, weak=0)"),
            ("cell", "0n12"),
            ("refcell", "0n13"),
            ("deque", "size=4 {0n0, 0n1, 0n2, 0n3}"),
            ("list", "{value=0n1, next=Some(ADDRESS {...})}"),
            ("closure", "{_ref__cell=ADDRESS 0n12}"),
        ],
    );
}

#[test]
fn a_map_of_a_thousand_takes_two_round_trips_after_its_header() {
    for program in [cpp_program(), libcxx_program()] {
        let (values, mut memory) = locals(&program, "containers");
        let (view, round_trips) = rounds(&values["big"], &memory);
        let View::Map { entries, length: 1000 } = view else { panic!("{view:?}") };
        for (index, (key, value)) in entries.iter().enumerate() {
            let key = key.scalar(&mut memory).expect("key").as_u64();
            let value = value.scalar(&mut memory).expect("value").as_u64();
            assert_eq!((key, value * 7 % 1000), (index as u64, index as u64));
        }
        assert_eq!(entries.len(), 1000);
        // The header lies on the stack, which a stop brings along; here it is a round of its own.
        assert!(round_trips <= 3, "{round_trips}");
        let (_, round_trips) = rounds(&values["words"], &memory);
        assert!(round_trips <= 3, "{round_trips}");
    }
}

#[test]
fn views_of_garbage_end() {
    let further = ["sequences", "associations", "wrappers", "standings"];
    let programs = [
        (cpp_program(), &["containers"][..]),
        (libcxx_program(), &["containers"]),
        (containers_program(Compiler::Gxx, ""), &further),
        (containers_program(Compiler::Clangxx, "-stdlib=libc++"), &further),
    ];
    // Every container, its bytes replaced by noise of several kinds, over memory that answers with noise, too.
    struct Noise(u64);
    impl MemoryReader for Noise {
        fn read(&mut self, at: outpost_base::Va, buf: &mut [u8]) -> usize {
            for (index, byte) in buf.iter_mut().enumerate() {
                let word =
                    at.0.wrapping_add(index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(self.0 as u32);
                *byte = if self.0.is_multiple_of(3) { 0xff } else { (word >> 56) as u8 };
            }
            buf.len()
        }
    }
    let mut readings = 0;
    for (program, functions) in &programs {
        let values = functions.iter().flat_map(|function| locals(program, function).0.into_values());
        for (value, seed) in values.flat_map(|value| (0..24).map(move |seed| (value.clone(), seed))) {
            let mut noise = Noise(seed);
            let text = value.text(&TextOptions::default(), &mut noise);
            assert!(text.len() < 64 << 10);
            readings += 1;
        }
    }
    assert!(readings > 2000);
}

fn children(value: &Value, raw: bool, memory: &mut oracle::Memory) -> Vec<String> {
    let children = value.children(&ViewLimits { count: 3, ..ViewLimits::default() }, raw, memory).expect("has parts");
    let shown = children.items.iter().map(|child| {
        format!("{} = {}", child.name, without_addresses(&child.value.text(&TextOptions::default(), memory)))
    });
    shown.chain([format!("of {}", children.total)]).collect()
}

#[test]
fn children_are_what_the_value_means() {
    let (values, mut memory) = locals(&cpp_program(), "containers");
    let mut check = |name: &str, expected: &[&str]| {
        assert_eq!(children(&values[name], false, &mut memory), expected, "{name}");
    };
    check("numbers", &["[0] = 0n1", "[1] = 0n2", "[2] = 0n3", "of 3"]);
    check("ages", &["[\"ann\"] = 0n31", "[\"bob\"] = 0n47", "of 2"]);
    check("shared", &["key = 0n1", "next = 0x00000000`00000000", "owned = empty", "of 3"]);
    check("unique", &["* = 0n6", "of 1"]);
    check("big", &["[0n0] = 0n0", "[0n1] = 0n143", "[0n2] = 0n286", "of 1000"]);
    check("small", &["of 0"]);
    check("nothing", &["of 0"]);
    assert_eq!(children(&values["ages"], true, &mut memory).last().map(String::as_str), Some("of 1"));
    assert!(!values["small"].may_have_children() && values["ages"].may_have_children());
    let (values, mut memory) = locals(&rust_program(), "values::enums");
    assert_eq!(children(&values["circle"], false, &mut memory), ["center = {x=0n1, y=0n-2}", "radius = 0.5", "of 2"]);
}

#[test]
fn stores_name_the_bytes_that_an_assignment_changes() {
    let (values, mut memory) = locals(&c_program(), "main");
    let e = &values["e"];
    let at = e.address().expect("is in memory");
    let mut check = |path: &[&str], scalar: Scalar, offset: u64, bytes: &[u8]| {
        let value = path.iter().fold(e.clone(), |value, name| value.member(name, &mut memory).expect("is a member"));
        let stores = value.stores(scalar, &mut memory).expect("can be written");
        assert_eq!(stores, [Store::Memory { at: at + offset, bytes: bytes.to_vec() }], "{path:?}");
    };
    check(&["i"], Scalar::Signed(-2), 8, &[0xfe, 0xff, 0xff, 0xff]);
    check(&["truth"], Scalar::Signed(256), 0, &[1]);
    check(&["f"], Scalar::Signed(3), 0x50, &3.0_f32.to_le_bytes());
    check(&["d"], Scalar::Float(0.5), 0x58, &0.5_f64.to_le_bytes());
    // Bits 3 to 7 of the byte; a is 5 and stays.
    check(&["bits", "b"], Scalar::Signed(1), 0x90, &[0b0000_1101]);
    // Bits 43 to 72 of a packed record, five bits of x and the rest around them.
    check(&["packed", "x"], Scalar::Signed(2), 0xa5, &[0b0101_0000 | 2]);
}
