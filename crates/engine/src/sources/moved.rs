//! Where a source file could be whose tree has moved. Every rule looks at a bounded number of places.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::trees::{common_end, parts};
use super::{SourceRule, checkout, rust};

/// Most directories that are gone up from one.
const MAX_UP: usize = 16;
/// Most directories of one that are looked into.
const MAX_BELOW: usize = 256;
/// Most files that are read for one source.
const MAX_CANDIDATES: usize = 32;
/// Most components of a recorded path that are looked at, from its end.
pub(super) const MAX_COMPONENTS: usize = 32;
/// Where distributions put sources of packages.
const SYSTEM: [&str; 2] = ["/usr/src", "/usr/src/debug"];

/// Where the debugger and the program stand on this machine.
#[derive(Debug, Default, Clone)]
pub(super) struct Places {
    /// Directory that the debugger was started in.
    pub(super) current: Option<PathBuf>,
    /// Directories of images that have the source, and of their debug files.
    pub(super) programs: Vec<PathBuf>,
    /// Directories of the source path.
    pub(super) source_path: Vec<PathBuf>,
    pub(super) rust: rust::Homes,
}

/// A file that could be it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) rule: SourceRule,
    /// Last components of its path that can be taken as the tree's.
    pub(super) kept: usize,
    /// How far it is believed if nothing speaks for it or against it.
    pub(super) hope: Hope,
}

/// How far a file is believed by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hope {
    /// Only with proof.
    None,
    /// It may be it. Files of its tree can prove it.
    Name,
    /// It may be it, and files of its tree prove nothing: other versions have them as well.
    OtherVersion,
    /// It is it: its directory is named by the version.
    Version,
    /// It is it, as the user says. If the rest of its tree is not there, it need not be.
    Said,
}

/// Files that could be the one that was at `recorded`, best first, and the places that were looked at.
pub(super) fn candidates(recorded: &str, places: &Places) -> (Vec<Candidate>, Vec<String>) {
    let mut parts = parts(recorded);
    parts.drain(..parts.len().saturating_sub(MAX_COMPONENTS));
    // `<built-in>` and its kind.
    if parts.is_empty() || parts.last().is_some_and(|name| name.starts_with('<')) {
        return Default::default();
    }
    let mut search = Search { parts: &parts, found: Vec::new(), looked: Vec::new() };
    if let Some(current) = &places.current {
        search.around(current, SourceRule::WorkingDirectory);
    }
    places.programs.iter().for_each(|program| search.around(program, SourceRule::Program));
    let roots = places.current.iter().chain(&places.programs);
    for top in checkout::tops(roots.map(PathBuf::as_path)) {
        let files = checkout::files_named(&top, parts[parts.len() - 1]);
        files.into_iter().for_each(|path| search.offer(path, SourceRule::Checkout, false));
        search.looked.push(format!("in the git checkout {}", top.display()));
    }
    if let Some(current) = &places.current {
        search.below(current, SourceRule::WorkingDirectory);
    }
    places.source_path.iter().for_each(|directory| search.below(directory, SourceRule::SourcePath));
    SYSTEM.iter().for_each(|directory| search.below(Path::new(directory), SourceRule::System));
    let Search { mut found, mut looked, .. } = search;
    // More of the path in common is more likely; sorting keeps the order of the rules.
    found.sort_by_key(|candidate| std::cmp::Reverse(candidate.kept));
    let mut exact = rust::candidates(recorded, &parts, &places.rust, &mut looked);
    exact.append(&mut found);
    let mut all: Vec<Candidate> = Vec::new();
    for candidate in exact {
        if all.len() < MAX_CANDIDATES && all.iter().all(|known| known.path != candidate.path) {
            all.push(candidate);
        }
    }
    (all, looked)
}

struct Search<'a> {
    parts: &'a [&'a str],
    found: Vec<Candidate>,
    looked: Vec<String>,
}

impl Search<'_> {
    /// In a directory and those that it is in, by ever shorter ends of the path.
    fn around(&mut self, directory: &Path, rule: SourceRule) {
        self.looked.push(format!("around {}", directory.display()));
        let up = directory.ancestors().take(MAX_UP).filter(|directory| directory.parent().is_some());
        for (steps, directory) in up.enumerate() {
            if let Some(path) = self.longest_end(directory) {
                self.offer(path, rule, steps == 0);
            }
        }
    }

    /// In the directories of one.
    fn below(&mut self, directory: &Path, rule: SourceRule) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        self.looked.push(format!("in the directories of {}", directory.display()));
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let folders = entries.flatten().filter(|entry| !is_hidden(&entry.file_name()));
        let mut folders: Vec<PathBuf> = folders
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()))
            .map(|entry| entry.path())
            .collect();
        folders.sort();
        for folder in folders.iter().take(MAX_BELOW) {
            if let Some(path) = self.longest_end(folder) {
                self.offer(path, rule, false);
            }
        }
    }

    fn longest_end(&self, directory: &Path) -> Option<PathBuf> {
        let ends = (0..self.parts.len())
            .map(|skip| self.parts[skip..].iter().fold(directory.to_owned(), |path, part| path.join(part)));
        let mut there = ends.filter(|path| path.is_file());
        there.next()
    }

    /// A name alone says little, unless it is in the very directory.
    fn offer(&mut self, path: PathBuf, rule: SourceRule, is_near: bool) {
        let kept = common_end(self.parts, &path);
        let hope = if is_near || kept > 1 { Hope::Name } else { Hope::None };
        self.found.push(Candidate { path, rule, kept, hope });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn found(recorded: &str, places: &Places, root: &Path) -> Vec<(String, SourceRule)> {
        let (candidates, _) = candidates(recorded, places);
        let inside = candidates.into_iter().filter(|candidate| candidate.path.starts_with(root));
        let named = |candidate: Candidate| candidate.path.strip_prefix(root).unwrap().display().to_string();
        inside.map(|candidate| (candidate.rule, named(candidate))).map(|(rule, name)| (name, rule)).collect()
    }

    #[test]
    fn more_of_the_path_in_common_comes_first() {
        let root = tree(&["proj/tools/main.c", "proj/src/main.c", "proj/target/prog", "next/src/main.c"]);
        let at = |name: &str| root.path().join(name);
        let places = Places { current: Some(at("proj/tools")), programs: vec![at("proj/target")], ..Places::default() };
        let expected =
            [("proj/src/main.c", SourceRule::WorkingDirectory), ("proj/tools/main.c", SourceRule::WorkingDirectory)];
        assert_eq!(
            found("/ci/build/src/main.c", &places, root.path()),
            expected.map(|(name, rule)| (name.to_owned(), rule))
        );
        // What lies one level below the current directory.
        let places = Places { current: Some(root.path().to_owned()), ..Places::default() };
        let expected =
            ["next/src/main.c", "proj/src/main.c"].map(|name| (name.to_owned(), SourceRule::WorkingDirectory));
        assert_eq!(found("./src/main.c", &places, root.path()), expected);
    }

    #[test]
    fn what_is_no_file_is_not_looked_for() {
        let places = Places { current: Some(PathBuf::from("/tmp")), ..Places::default() };
        assert_eq!(candidates("/build/<built-in>", &places), Default::default());
        assert_eq!(candidates("", &places), Default::default());
    }

    #[test]
    fn long_paths_cost_no_more_than_others() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { current: Some(folder.path().to_owned()), ..Places::default() };
        let (found, _) = candidates(&"a/".repeat(100_000), &places);
        assert!(found.is_empty());
    }
}
