//! Trees of sources that have moved: what the start of a recorded path became, and how that is known.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use outpost_symbols::Module;

use super::{MAX_COMPONENTS, SourceRule};

/// Most other files of a tree that are looked for where it is thought to be.
const MAX_SAMPLE: usize = 32;
/// Most mappings that are kept.
const MAX_LEARNT: usize = 64;

/// That sources whose recorded paths begin with `from` are below `to`, learnt of one that was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearntSourceMap {
    /// Start of recorded paths, in whole components and without `.` and `..`; empty for relative ones.
    pub from: String,
    /// What it is on this machine.
    pub to: PathBuf,
    /// By which rule the first file of the tree was found.
    pub rule: SourceRule,
    /// Why it is believed.
    pub reason: TreeReason,
}

/// Why a tree of sources is believed to be the one that a program was built of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeReason {
    /// A file of it has the checksum that debug info has.
    Checksum,
    /// Of the other files that debug info has of it, at least two thirds are there.
    Files {
        /// Those that are there.
        present: usize,
        /// Those that were looked for.
        of: usize,
    },
    /// Its place is that of this very version: a crate in cargo's registry, the sources of a Rust toolchain.
    Version,
}

impl fmt::Display for TreeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TreeReason::Checksum => f.write_str("a file of it has the checksum of the program's source"),
            TreeReason::Files { present, of: 1 } => write!(f, "{present} other file of its tree is there, too"),
            TreeReason::Files { present, of } => write!(f, "{present} of {of} other files of its tree are there, too"),
            TreeReason::Version => f.write_str("it has the version that the program was built of"),
        }
    }
}

/// What the other files of a tree say to a place where one of them seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// They are there, if so much of the end of the path is taken as the tree's.
    Present { kept: usize, present: usize, of: usize },
    /// There are none, or some are there.
    Unknown,
    /// They are not.
    Absent,
}

/// Components of a recorded path, without `.` and with `..` taken back.
pub(super) fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// How many components two paths have in common at their ends.
pub(super) fn common_end(parts: &[&str], path: &Path) -> usize {
    let ends = path.components().rev().zip(parts.iter().rev());
    ends.take_while(|(left, right)| left.as_os_str() == **right).count()
}

/// A recorded path without its last `kept` components, as mappings have it.
fn start(recorded: &str, kept: usize) -> String {
    let parts = parts(recorded);
    let start = parts[..parts.len().saturating_sub(kept)].join("/");
    if recorded.starts_with('/') { format!("/{start}") } else { start }
}

fn without_end(path: &Path, kept: usize) -> Option<&Path> {
    path.ancestors().nth(kept)
}

/// What is behind `from` in a recorded path.
fn rest_behind(recorded: &str, from: &str) -> Option<PathBuf> {
    let root = if recorded.starts_with('/') { "/" } else { "" };
    let whole = format!("{root}{}", parts(recorded).join("/"));
    if recorded.starts_with('/') != from.starts_with('/') {
        return None;
    }
    let rest = Path::new(&whole).strip_prefix(from).ok()?;
    (!rest.as_os_str().is_empty()).then(|| rest.to_owned())
}

/// What is known of trees that moved.
#[derive(Debug, Default)]
pub(super) struct Trees {
    learnt: Vec<LearntSourceMap>,
    /// Mappings that the user took back.
    refused: Vec<(String, PathBuf)>,
    /// What is known of modules, by where they are.
    modules: HashMap<usize, Known>,
}

/// What is known of a module's sources.
#[derive(Debug)]
struct Known {
    /// Keeps its place from being another's.
    module: Weak<Module>,
    /// All recorded paths, sorted.
    names: Rc<Vec<String>>,
    /// Mappings that lead to its sources, as far as its other files say.
    suited: HashSet<(String, PathBuf)>,
}

impl Trees {
    /// What was learnt, last things last.
    pub(super) fn learnt(&self) -> &[LearntSourceMap] {
        &self.learnt
    }

    /// Forgets what was learnt; what was refused stays refused.
    pub(super) fn clear(&mut self) {
        self.learnt.clear();
    }

    /// Takes mappings back, those of one start or all, so that they are not learnt again. `false`: there was none.
    pub(super) fn refuse(&mut self, from: Option<&str>) -> bool {
        let before = self.learnt.len();
        let goes = |map: &LearntSourceMap| from.is_none_or(|from| map.from == from);
        self.refused.extend(self.learnt.iter().filter(|map| goes(map)).map(|map| (map.from.clone(), map.to.clone())));
        self.learnt.retain(|map| !goes(map));
        self.learnt.len() < before
    }

    /// Whether the user does not want a file to be found here.
    pub(super) fn is_refused(&self, recorded: &str, path: &Path) -> bool {
        let leads_here =
            |(from, to): &(String, PathBuf)| rest_behind(recorded, from).is_some_and(|rest| to.join(rest) == path);
        self.refused.iter().any(leads_here)
    }

    /// Where a file is by what was learnt, by the longest start first, and the newest of those.
    pub(super) fn places(&self, recorded: &str) -> Vec<(PathBuf, LearntSourceMap)> {
        let maps = self.learnt.iter().rev();
        let fitting = maps.filter_map(|map| Some((map, rest_behind(recorded, &map.from)?)));
        let mut fitting: Vec<_> = fitting.map(|(map, rest)| (map.to.join(rest), map.clone())).collect();
        fitting.sort_by_key(|(_, map)| std::cmp::Reverse(map.from.len()));
        fitting
    }

    /// Whether a mapping is for those of the modules that have this source. It may have been learnt of another program that
    /// was built in a directory of the same name: then their other files are not there.
    pub(super) fn is_suited(
        &mut self,
        modules: &[Arc<Module>],
        recorded: &str,
        path: &Path,
        map: &LearntSourceMap,
    ) -> bool {
        let key = (map.from.clone(), map.to.clone());
        let with = self.modules_with(modules, recorded);
        if with.is_empty()
            || with.iter().any(|at| self.modules.get(at).is_some_and(|known| known.suited.contains(&key)))
        {
            return true;
        }
        let kept = rest_behind(recorded, &map.from).map_or(0, |rest| rest.components().count());
        if self.company(modules, recorded, path, kept) == Company::Absent {
            return false;
        }
        for at in with {
            if let Some(known) = self.modules.get_mut(&at) {
                known.suited.insert(key.clone());
            }
        }
        true
    }

    /// Remembers where the tree of a file is that was found: all of its path but the last `kept` components was replaced.
    pub(super) fn learn(&mut self, recorded: &str, path: &Path, kept: usize, rule: SourceRule, reason: TreeReason) {
        let Some(to) = without_end(path, kept) else { return };
        let map = LearntSourceMap { from: start(recorded, kept), to: to.to_owned(), rule, reason };
        let learnt = self.learnt.iter().map(|known| (&known.from, &known.to));
        let mut known = learnt.chain(self.refused.iter().map(|(from, to)| (from, to)));
        let is_known = known.any(|known| known == (&map.from, &map.to));
        if map.from != map.to.to_string_lossy() && !is_known && self.learnt.len() < MAX_LEARNT {
            self.learnt.push(map);
        }
    }

    /// Whether other files of the tree are there, too, if `recorded` is at `path`; at most the last `most` components
    /// are taken as the tree's. The largest tree that is there counts: more of its files are found then.
    pub(super) fn company(&mut self, modules: &[Arc<Module>], recorded: &str, path: &Path, most: usize) -> Company {
        let (with, itself) = (self.modules_with(modules, recorded), whole(recorded));
        let known = with.iter().filter_map(|at| self.modules.get(at));
        let names: Vec<Rc<Vec<String>>> = known.map(|known| known.names.clone()).collect();
        let mut nearest = None;
        for kept in (1..=most.min(MAX_COMPONENTS)).rev() {
            let (from, Some(to)) = (start(recorded, kept), without_end(path, kept)) else { continue };
            let others: Vec<&String> = names.iter().flat_map(|names| below(names, &from)).collect();
            let every = others.len().div_ceil(MAX_SAMPLE).max(1);
            let sample = others.into_iter().step_by(every).filter(|name| **name != itself);
            let rests = sample.filter_map(|name| rest_behind(name, &from));
            let there: Vec<bool> = rests.map(|rest| to.join(rest).is_file()).collect();
            let (present, of) = (there.iter().filter(|is_there| **is_there).count(), there.len());
            if of > 0 && present * 3 >= of * 2 {
                return Company::Present { kept, present, of };
            }
            nearest = (of > 0).then_some((present, of)).or(nearest);
        }
        match nearest {
            Some((present, of)) if present * 3 < of => Company::Absent,
            _ => Company::Unknown,
        }
    }

    /// Those of the modules that have a recorded path.
    fn modules_with(&mut self, modules: &[Arc<Module>], recorded: &str) -> Vec<usize> {
        self.modules.retain(|_, known| known.module.strong_count() > 0);
        let with = modules.iter().filter(|module| !module.source_files(recorded).is_empty());
        let numbers = with.map(|module| {
            let make = || {
                let mut names: Vec<String> = module.source_files("").iter().map(|name| whole(name)).collect();
                names.sort();
                names.dedup();
                Known { module: Arc::downgrade(module), names: Rc::new(names), suited: HashSet::new() }
            };
            let at = Arc::as_ptr(module).addr();
            self.modules.entry(at).or_insert_with(make);
            at
        });
        numbers.collect()
    }
}

/// A recorded path without `.` and `..`.
fn whole(path: &str) -> String {
    start(path, 0)
}

/// Those of sorted paths that are below a directory; relative ones are below the empty one.
fn below<'a>(names: &'a [String], directory: &str) -> Vec<&'a String> {
    if directory.is_empty() {
        return names.iter().filter(|name| !name.starts_with('/')).collect();
    }
    let prefix = format!("{}/", directory.trim_end_matches('/'));
    let first = names.partition_point(|name| *name < prefix);
    names[first..].iter().take_while(|name| name.starts_with(&prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_by_components() {
        assert_eq!(parts("/a/./b/../c.c"), ["a", "c.c"]);
        assert_eq!(common_end(&["build", "src", "a.c"], Path::new("/home/me/src/a.c")), 2);
        assert_eq!(common_end(&["build", "a.c"], Path::new("/home/me/ba.c")), 0);
        assert_eq!(start("/build/./x/src/a.c", 2), "/build/x");
        assert_eq!(start("/a.c", 1), "/");
        assert_eq!(start("./src/a.c", 2), "");
        assert_eq!(rest_behind("/build/x/../y/a.c", "/build/y"), Some(PathBuf::from("a.c")));
        assert_eq!(rest_behind("/buildings/a.c", "/build"), None);
        assert_eq!(rest_behind("/a.c", ""), None);
        assert_eq!(rest_behind("src/a.c", ""), Some(PathBuf::from("src/a.c")));
    }

    #[test]
    fn those_below_a_directory_are_found_in_a_sorted_list() {
        let mut names = ["/b/a.c", "/b-x/c.c", "/b/d/e.c", "/bb.c", "x.c", "y/z.c"].map(str::to_owned);
        names.sort();
        assert_eq!(below(&names, "/b"), ["/b/a.c", "/b/d/e.c"]);
        assert_eq!(below(&names, "/"), ["/b-x/c.c", "/b/a.c", "/b/d/e.c", "/bb.c"]);
        assert_eq!(below(&names, ""), ["x.c", "y/z.c"]);
        assert_eq!(below(&names, "/c"), [""; 0]);
    }

    #[test]
    fn what_was_learnt_leads_to_other_files_until_it_is_refused() {
        let mut trees = Trees::default();
        let (rule, reason) = (SourceRule::Program, TreeReason::Checksum);
        trees.learn("/build/x/src/a.c", Path::new("/home/me/x/src/a.c"), 3, rule, reason);
        trees.learn("/build/x/src/a.c", Path::new("/home/me/x/src/a.c"), 3, rule, reason);
        trees.learn("/build/x/lib/b.c", Path::new("/home/me/lib/b.c"), 2, rule, reason);
        assert_eq!(trees.learnt().len(), 2);
        let places =
            |trees: &Trees, name: &str| trees.places(name).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        let both = ["/home/me/lib/c.c", "/home/me/x/lib/c.c"].map(PathBuf::from);
        assert_eq!(places(&trees, "/build/x/lib/c.c"), both, "the longest start comes first");
        assert!(places(&trees, "/other/a.c").is_empty());
        assert!(trees.refuse(Some("/build/x")) && !trees.refuse(Some("/build/x")));
        assert_eq!(places(&trees, "/build/x/lib/c.c"), both[1..]);
        assert!(trees.is_refused("/build/x/lib/c.c", &both[0]) && !trees.is_refused("/build/x/lib/c.c", &both[1]));
        // A tree that is where it was is no mapping.
        trees.learn("/srv/a.c", Path::new("/srv/a.c"), 1, rule, reason);
        assert_eq!(trees.learnt().len(), 1);
    }
}
