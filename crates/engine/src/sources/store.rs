//! What is known of source files, and the source path.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use outpost_base::ProcessId;

use super::trees::Trees;
use super::trial::Trial;
use super::{Candidate, Hope, MAX_COMPONENTS, Places, SourceFile, SourceGrounds, SourceRule, common_end, moved, parts};
use crate::SystemOrdinal;

/// A process whose files are meant.
pub(super) type Place = (SystemOrdinal, ProcessId);

/// A recorded path as one process means it: in a container it is another file than outside.
pub(super) type Key = (Option<Place>, String);

/// Where sources are looked for, and those found.
#[derive(Default)]
pub(crate) struct SourceStore {
    pub(super) path: String,
    /// What is looked for is told of.
    pub(super) noisy: bool,
    pub(super) found: HashMap<Key, Known>,
    /// Files that a process's machine was asked for in vain.
    pub(super) absent: HashSet<Key>,
    /// Files that were nowhere, with the number of mappings that were known then.
    missing: HashMap<Key, usize>,
    pub(super) trees: Trees,
}

/// What was found for a path.
pub(super) struct Known {
    pub(super) file: Rc<SourceFile>,
    /// Whether it stays so: it is the right one, or all who could have a better one were asked and waited for.
    pub(super) is_settled: bool,
}

/// What the source path says to a file.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    /// The start of its path is this.
    Map(PathBuf),
    /// It may be there.
    File(PathBuf),
}

impl SourceStore {
    pub(super) fn set_path(&mut self, path: &str) {
        path.clone_into(&mut self.path);
        self.trees.clear();
        self.absent.clear();
        self.look_anew();
    }

    /// Forgets what was found, or not.
    pub(super) fn look_anew(&mut self) {
        self.found.clear();
        self.missing.clear();
    }

    /// Forgets one file; `false`: nothing was known of it.
    pub(super) fn forget(&mut self, recorded: &str) -> bool {
        let count = |store: &SourceStore| store.found.len() + store.absent.len() + store.missing.len();
        let before = count(self);
        self.found.retain(|(_, asked), known| asked != recorded && !is_end(&known.file.recorded, recorded));
        self.absent.retain(|(_, asked)| asked != recorded);
        self.missing.retain(|(_, asked), _| asked != recorded);
        count(self) < before
    }

    /// Whether there can be more to find than when the file was looked for last.
    pub(super) fn is_news(&self, key: &Key) -> bool {
        self.missing.get(key) != Some(&self.trees.learnt().len())
    }

    pub(super) fn note_missing(&mut self, key: Key) {
        self.missing.insert(key, self.trees.learnt().len());
    }

    /// Directories of the source path.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let items = self.path.split(';').map(str::trim).filter(|item| !item.is_empty() && !item.contains("=>"));
        items.map(PathBuf::from).collect()
    }

    /// Tries where the source path says that a file is.
    pub(super) fn try_path(&mut self, name: &str, trial: &mut Trial) {
        let rule = SourceRule::SourcePath;
        for item in items(&self.path, name) {
            let (path, is_there) = match item {
                Item::Map(path) => (path.clone(), trial.try_here(name, path, rule, SourceGrounds::Place)),
                Item::File(path) => {
                    let kept = common_end(&parts(name), &path);
                    let candidate = Candidate { path: path.clone(), rule, kept, hope: Hope::Said };
                    (path, trial.try_moved(name, candidate, &mut self.trees))
                }
            };
            if !is_there {
                trial.looked.push(path.display().to_string());
            }
            if trial.is_over() {
                return;
            }
        }
    }

    /// Tries where the tree of a file is, as others of it say.
    pub(super) fn try_learnt(&mut self, name: &str, trial: &mut Trial) {
        for (path, map) in self.trees.places(name) {
            let is_suited = path.is_file() && self.trees.is_suited(trial.modules(), name, &path, &map);
            if !is_suited || !trial.try_here(name, path.clone(), map.rule, SourceGrounds::Learnt) {
                trial.looked.push(path.display().to_string());
            }
            if trial.is_over() {
                return;
            }
        }
    }

    /// Tries where the tree of a file could have moved to.
    pub(super) fn try_moved(&mut self, name: &str, places: &Places, trial: &mut Trial) {
        let (candidates, looked) = moved::candidates(name, places);
        for place in looked {
            if !trial.looked.contains(&place) {
                trial.looked.push(place);
            }
        }
        let before = self.trees.learnt().len();
        for candidate in candidates {
            trial.try_moved(name, candidate, &mut self.trees);
            if trial.is_over() {
                break;
            }
        }
        if self.trees.learnt().len() > before {
            // What was only taken for want of a better one may have one now.
            self.found.retain(|_, known| known.file.grounds != SourceGrounds::Name && !known.file.proof.is_another());
        }
    }
}

/// Whether `path` ends in the components of `end`.
fn is_end(path: &str, end: &str) -> bool {
    !end.is_empty() && Path::new(path).ends_with(end)
}

/// Places where the source path says that the file could be, best first.
fn items(path: &str, recorded: &str) -> Vec<Item> {
    let mut parts = parts(recorded);
    parts.drain(..parts.len().saturating_sub(MAX_COMPONENTS));
    let mut found = Vec::new();
    for item in path.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        if let Some((from, to)) = item.split_once("=>") {
            let rest = Path::new(recorded).strip_prefix(from.trim()).ok();
            found.extend(rest.map(|rest| Item::Map(Path::new(to.trim()).join(rest))));
            continue;
        }
        for skip in 0..parts.len() {
            found.push(Item::File(parts[skip..].iter().fold(PathBuf::from(item), |path, part| path.join(part))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_path_are_tried_longest_first() {
        let found = items("/src;/old=>/new", "/old/x/../a/b.c");
        let files = ["/src/old/a/b.c", "/src/a/b.c", "/src/b.c"].map(|path| Item::File(PathBuf::from(path)));
        let map = Item::Map(PathBuf::from("/new/x/../a/b.c"));
        assert_eq!(found, files.into_iter().chain([map]).collect::<Vec<_>>());
        assert_eq!(items("/src", "./x.c"), [Item::File(PathBuf::from("/src/x.c"))]);
        assert!(items("", "./x.c").is_empty());
    }

    #[test]
    fn long_paths_cost_no_more_than_others() {
        assert_eq!(items("/src", &"a/".repeat(100_000)).len(), MAX_COMPONENTS);
    }
}
