//! Every address of many programs: its line and its inlined calls, compared with the addr2line crate.

mod support;

use outpost_base::ImageOffset;
use outpost_symbols::{Module, SymbolKind, Wildcard};
use support::{CPP, RUST, build, module};

/// Addresses that are looked at per function, from its start; libraries in Rust programs have long ones.
const MAX_PER_FUNCTION: u64 = 200;
/// Functions of one program that are looked at, evenly spread.
const MAX_FUNCTIONS: usize = 60;

/// What a comparison saw.
#[derive(Default)]
struct Seen {
    addresses: usize,
    inlined: usize,
    other_line: usize,
}

/// Compares all addresses of the program's functions.
fn compare(command: &str, file_name: &str, source: &str) -> Seen {
    let built = build(command, file_name, source);
    let module = module(&built.path);
    let loader = addr2line::Loader::new(&built.path).expect("addr2line reads it");
    let functions = module.symbols_matching(&Wildcard::new("*"));
    let functions: Vec<_> =
        functions.iter().filter(|symbol| symbol.die.is_some() && symbol.kind == SymbolKind::Function).collect();
    let mut seen = Seen::default();
    for function in functions.iter().step_by(functions.len().div_ceil(MAX_FUNCTIONS)) {
        for address in (function.address.0..).take(function.size.min(MAX_PER_FUNCTION) as usize) {
            compare_address(command, &module, &loader, address, &mut seen);
        }
    }
    assert_eq!(module.problems(), [], "{command}");
    seen
}

fn compare_address(command: &str, module: &Module, loader: &addr2line::Loader, address: u64, seen: &mut Seen) {
    let at = ImageOffset(address);
    seen.addresses += 1;
    let theirs = loader.find_location(address).expect("addr2line finds");
    let theirs = theirs.and_then(|it| Some((it.file?.to_owned(), it.line?))).filter(|(_, line)| *line != 0);
    let ours = module.line_at(at).map(|at| (at.file, at.line));
    assert_eq!(ours.is_some(), theirs.is_some(), "{command} {address:#x}: {ours:?} {theirs:?}");
    // Of several rows at one address we take one that is a statement, addr2line the last.
    seen.other_line += usize::from(ours != theirs);

    let frames = module.inline_frames_at(at);
    let mut names = Vec::new();
    let mut call_lines = Vec::new();
    let mut iterator = loader.find_frames(address).expect("addr2line finds");
    while let Some(frame) = iterator.next().expect("addr2line reads") {
        let name = frame.function.map(|name| name.demangle().expect("demangles").into_owned());
        names.push(name.unwrap_or_default());
        call_lines.push(frame.location.and_then(|location| location.line));
    }
    assert_eq!(frames.len() + 1, names.len(), "{command} {address:#x}: {names:?}");
    for (number, (ours, theirs)) in frames.iter().zip(&names).enumerate() {
        // Trait methods are `{impl#0}::area` here and `<Square as Area>::area` there.
        let last = ours.name.split('<').next().expect("a name").rsplit("::").next().expect("a name");
        let last = if last.starts_with("{closure") { "closure" } else { last };
        assert!(theirs.contains(last), "{command} {address:#x}: {} {theirs}", ours.name);
        let call_line = ours.call_site.as_ref().map(|site| site.line);
        assert_eq!(call_line, call_lines[number + 1].filter(|line| *line != 0), "{command} {address:#x}");
        seen.inlined += 1;
    }
}

#[test]
fn plain_programs() {
    for command in
        ["g++ -g -O0", "clang++ -g -O0 -gdwarf-4", "g++ -g -O0 -gdwarf-2 -gno-strict-dwarf", "g++ -g -O0 -gdwarf64"]
    {
        let seen = compare(command, "a.cpp", CPP);
        assert!(seen.addresses > 300, "{command}");
        assert_eq!(seen.other_line, 0, "{command}");
    }
}

#[test]
fn optimised_programs() {
    for command in [
        "g++ -g -O2",
        "g++ -g -O3 -gdwarf-4 -fdebug-types-section",
        "g++ -g -O2 -flto",
        "g++ -g -Os -ffunction-sections -Wl,--gc-sections",
        "clang++ -g -O1",
        "clang++ -g -O2 -gdwarf-5",
        "clang++ -g -O3 -gdwarf-4 -fdebug-types-section",
    ] {
        let seen = compare(command, "a.cpp", CPP);
        assert!(seen.addresses > 50 && seen.inlined > 5, "{command}: {} {}", seen.addresses, seen.inlined);
        assert!(seen.other_line * 3 < seen.addresses, "{command}: {} of {}", seen.other_line, seen.addresses);
    }
}

#[test]
fn rust_programs() {
    for command in [
        "rustc -g",
        "rustc -g -C opt-level=1",
        "rustc -g -C opt-level=3",
        "rustc -g -C opt-level=3 -C lto=fat -C codegen-units=1",
        "rustc -g -C opt-level=2 -C symbol-mangling-version=v0",
    ] {
        let seen = compare(command, "a.rs", RUST);
        assert!(seen.addresses > 500, "{command}: {}", seen.addresses);
        assert!(seen.other_line * 3 < seen.addresses, "{command}: {} of {}", seen.other_line, seen.addresses);
    }
}
