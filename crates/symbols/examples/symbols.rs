//! Opens an image and answers questions about it: `symbols IMAGE [--cache DIR] QUESTION...`
//!
//! A question is an address (`0x1234`), a line (`file.c:12`), a type (`type:NAME`), or a name or pattern.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use outpost_base::ImageOffset;
use outpost_symbols::{CaseRule, ElfFile, FileSource, LocalFiles, Module, SymbolPath, Wildcard, find_debug_files};

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: symbols IMAGE [--cache DIR] QUESTION...");
        return ExitCode::FAILURE;
    };
    let start = Instant::now();
    let image = match FileSource::open(&path).and_then(|source| ElfFile::parse(source)) {
        Ok(image) => Arc::new(image),
        Err(error) => {
            eprintln!("failed to {error}");
            return ExitCode::FAILURE;
        }
    };
    let (found, report) = find_debug_files(&image, Some(Path::new(&path)), &SymbolPath::default(), &LocalFiles, None);
    if let Some(missing) = report.missing() {
        println!("{missing}");
    }
    let mut files = found.module_files(image);
    let mut questions: Vec<String> = arguments.collect();
    if questions.first().is_some_and(|word| word == "--cache") {
        files.cache = questions.drain(..2.min(questions.len())).nth(1).map(Into::into);
    }
    let module = Module::new(files);
    for question in &questions {
        println!("{question}:");
        answer(&module, question);
    }
    for problem in module.problems() {
        println!("problem: {}: {}", problem.what, problem.reason);
    }
    eprintln!("{:?}, {}", start.elapsed(), usage());
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "an example talks to its user")]
fn answer(module: &Module, question: &str) {
    if let Some(at) = question.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        let at = ImageOffset(at);
        if let Some(found) = module.symbol_at(at) {
            println!("  {}+{:#x}", found.symbol.name, found.displacement);
        }
        for frame in module.inline_frames_at(at) {
            println!("  inlined {} called at {:?}", frame.name, frame.call_site);
        }
        println!("  {:?}", module.line_at(at));
        println!("  {:?}", module.statement_at(at, None));
    } else if let Some(name) = question.strip_prefix("type:") {
        if Wildcard::is_pattern(name) {
            println!("  {:?}", module.types_matching(&Wildcard::new(name)));
        } else {
            println!("  {:?}", module.types_named(name, CaseRule::Exact));
        }
    } else if let Some((file, line)) = question.rsplit_once(':').and_then(|(f, l)| Some((f, l.parse().ok()?))) {
        for found in module.addresses_of_line(file, line) {
            println!("  {}:{}", found.file, found.line);
            found.addresses.iter().for_each(|address| println!("    {address:x?}"));
        }
    } else if Wildcard::is_pattern(question) {
        for symbol in module.symbols_matching(&Wildcard::new(question)) {
            println!("  {:?} {} {:?}", symbol.address, symbol.name, symbol.kind);
        }
    } else {
        for symbol in module.symbols_named(question, CaseRule::Exact) {
            println!(
                "  {:?} {} {:?} {:?} {:?}",
                symbol.address, symbol.name, symbol.kind, symbol.linkage_name, symbol.die
            );
        }
        for location in module.code_locations(question, CaseRule::Exact) {
            println!("  break at {:?}, inlined: {}", location.body, location.is_inlined);
        }
    }
}

/// CPU seconds and peak memory of this process (proc(5)).
fn usage() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    format!("{} ms CPU, {}", (ticks(11) + ticks(12)) * 10, peak.replace('\t', " "))
}
