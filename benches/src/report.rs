//! The table.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::debugger::ALL;
use crate::scenario::{Bench, Better, Row};

/// One line while it goes on.
#[expect(clippy::print_stdout, reason = "a program that is watched")]
pub(crate) fn progress(row: &Row) {
    println!("{}", line(row));
    for (kind, value) in ALL.iter().zip(&row.values) {
        if let Err(error) = value {
            println!("    {}: {error:#}", kind.name());
        }
    }
}

/// Writes the document.
pub(crate) fn write(path: &Path, rows: &[Row], bench: &Bench) -> anyhow::Result<()> {
    let mut text = String::from(
        "# Benchmarks\n\n\
         Written by `./x bench`; do not edit. Every figure is taken the same way for all three debuggers in one run: a\n\
         script is given to the debugger's command-line client, which talks to its own server on the same machine, directly\n\
         over TCP on loopback or through a link that delays each direction by 25 ms. Rates are the difference of two runs of\n\
         different length, so start-up is not in them. Medians; a run of more than half a minute is made once. Bold: the\n\
         best of the three. Round trips are counted by a link that notes who speaks. *Goal* is what the design asks for,\n\
         stated on another machine, on which a thread could be stepped 83,000 times a second; *this machine* is what a\n\
         bare loop of the same system calls reaches here, without any debugger around it and wherever the kernel lets the two\n\
         processes run: each stop wakes them in turn, and on idle processors that is most of its time. Outpost waits\n\
         where the debuggee is, if stops come quicker there.\n\n",
    );
    for kind in ALL {
        let _ = writeln!(text, "* {}: {}", kind.name(), kind.version(&bench.root));
    }
    let _ = writeln!(text, "* machine: {}, {}; {} runs of each line\n", processor(), kernel(), bench.runs);
    let _ = writeln!(text, "| | unit | goal | {} | this machine |", ALL.map(|kind| kind.name()).join(" | "));
    let _ = writeln!(text, "| --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text.push_str("\nA dash: the debugger did not get there, for the reason `./x bench` prints.\n");
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

fn line(row: &Row) -> String {
    let known = row.values.iter().filter_map(|value| value.as_ref().ok().copied());
    let best = match row.better {
        Better::More => known.fold(f64::MIN, f64::max),
        Better::Less => known.fold(f64::MAX, f64::min),
    };
    let cells = row.values.iter().map(|value| match value {
        Ok(value) if *value == best => format!("**{}**", number(*value)),
        Ok(value) => number(*value),
        Err(_) => "-".into(),
    });
    let limit =
        row.limit.as_ref().map_or_else(String::new, |limit| limit.as_ref().map_or("-".into(), |&limit| number(limit)));
    format!("| {} | {} | {} | {} | {limit} |", row.name, row.unit, row.goal, cells.collect::<Vec<_>>().join(" | "))
}

fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => {
            let digits = format!("{value:.0}");
            let head = digits.len() % 3;
            let groups = digits.as_bytes()[head..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
            let head = Some(digits[..head].to_owned()).filter(|head| !head.is_empty());
            head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
        }
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{count} x {}", model.unwrap_or("unknown processor"))
}

fn kernel() -> String {
    let output = Command::new("uname").arg("-sr").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
