//! What images say of themselves, beside binutils.

use std::process::Command;

use crate::common::*;

/// The words of a table's lines after the one that begins with `title`, as far as they are indented.
fn table(text: &str, title: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(title)).skip(1);
    let rows = lines.take_while(|line| line.starts_with("  "));
    rows.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn headers_are_those_that_readelf_shows() {
    let program = "/bin/bash";
    let ours = cdb(program, "!dh bash");
    let theirs = Command::new("readelf").args(["-SW", program]).output().unwrap();
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    // [Nr] Name Type Address Off Size
    let sections = theirs.lines().filter_map(|line| line.trim_start().strip_prefix('[')?.split_once(']'));
    let sections = sections.map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let sections: Vec<_> = sections.filter(|words| words.first().is_some_and(|word| word.starts_with('.'))).collect();
    let shown = table(&ours, "Sections:");
    assert_eq!(shown.len(), sections.len(), "{ours}");
    assert!(sections.len() > 20);
    for (ours, theirs) in shown.iter().zip(&sections) {
        let offset = u64::from_str_radix(theirs[3], 16).unwrap();
        assert_eq!(ours[0], theirs[0]);
        assert!(ours.contains(&format!("{offset:#x}")), "{ours:?} {theirs:?}");
    }
    let loads = table(&ours, "Segments:").into_iter().filter(|row| row[0] == "LOAD");
    let accesses: Vec<_> = loads.map(|row| row[2].clone()).collect();
    assert!(accesses.iter().any(|access| access == "rx") && accesses.iter().any(|access| access == "rw"), "{ours}");
}
