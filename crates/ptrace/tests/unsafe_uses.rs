//! The README lists every use of unsafe, and there is none elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn the_readme_lists_every_use_of_unsafe() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeMap::<String, usize>::new();
    for entry in fs::read_dir(package.join("src/sys")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        let uses: usize = code
            .map(|code| {
                ["unsafe {", "unsafe extern", "unsafe impl", "unsafe fn"]
                    .map(|word| code.matches(word).count())
                    .iter()
                    .sum::<usize>()
            })
            .sum();
        there.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), uses);
    }
    let mut listed = BTreeMap::<String, usize>::new();
    for line in fs::read_to_string(package.join("README.md")).unwrap().lines() {
        if let Some((file, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
            *listed.entry(file.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(listed, there);
}
