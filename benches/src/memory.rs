//! What processes use, read from `/proc`.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Proportional set size of a process and its descendants in bytes.
pub(crate) fn pss_of_tree(pid: u32) -> u64 {
    let own = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let own = own.and_then(|text| kilobytes(&text, "Pss:")).unwrap_or(0) * 1024;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    own + children.split_whitespace().filter_map(|child| child.parse().ok()).map(pss_of_tree).sum::<u64>()
}

/// Resident bytes of one process.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kilobytes(&status, "VmRSS:").unwrap_or(0) * 1024
}

/// Size of a program's file, and of the libraries it loads.
pub(crate) fn size_with_libraries(program: &Path) -> (u64, u64) {
    let own = fs::metadata(program).map_or(0, |data| data.len());
    let output = Command::new("ldd").arg(program).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    let libraries = libraries.filter_map(|path| fs::metadata(path).ok()).map(|data| data.len()).sum();
    (own, libraries)
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}
