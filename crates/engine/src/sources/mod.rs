//! Source files: finding them, telling whether they are the right ones, and keeping their lines.

mod servers;
mod trial;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use outpost_base::ProcessId;
use outpost_target::Target;

pub use trial::SourceProof;
use trial::{Trial, Trust};

use crate::events::{EngineEvent, Notice};
use crate::{Engine, EngineError, SystemOrdinal};

/// Longest source file that is read.
const MAX_SOURCE: u64 = 64 << 20;
/// Most components of a recorded path that are looked at, from its end.
const MAX_COMPONENTS: usize = 32;

/// Where sources are looked for, and those found.
#[derive(Default)]
pub(crate) struct SourceStore {
    path: String,
    /// What is looked for is told of.
    noisy: bool,
    found: HashMap<Key, Known>,
    /// Files that a process's machine was asked for in vain.
    absent: HashSet<Key>,
}

/// What was found for a path.
struct Known {
    file: Rc<SourceFile>,
    /// Whether it stays so: it is the right one, or all who could have a better one were asked and waited for.
    is_settled: bool,
}

/// A recorded path as one process means it: in a container it is another file than outside.
type Key = (Option<Place>, String);

/// A process whose files are meant.
type Place = (SystemOrdinal, ProcessId);

/// A source file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as the compiler recorded it.
    pub recorded: String,
    /// Where it was found.
    pub found: PathBuf,
    /// By which rule.
    pub rule: SourceRule,
    /// Whether it is the file that the program was built of.
    pub proof: SourceProof,
    /// Its lines without line ends; damaged UTF-8 is replaced.
    pub lines: Vec<String>,
}

/// How a source file was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceRule {
    /// Under a directory of the source path, or as one of its `from=>to` items says.
    SourcePath,
    /// At the recorded path on this machine.
    Recorded,
    /// At the recorded path on the target's machine, as the process sees it.
    Target,
    /// Sent by a server that has sources by build-id; what it sent is in the cache.
    Server,
}

impl SourceFile {
    /// That it is not the file that the program was built of, if it is not.
    pub fn warning(&self) -> Option<String> {
        let found = self.found.display();
        let is_another = self.proof.is_another();
        is_another.then(|| format!("{found} differs from the file the program was built of: {}", self.proof))
    }
}

impl fmt::Display for SourceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceRule::SourcePath => "by the source path",
            SourceRule::Recorded => "at the recorded path",
            SourceRule::Target => "on the target's machine",
            SourceRule::Server => "from a server, by build-id",
        })
    }
}

impl Engine {
    /// Where sources are looked for: directories separated by `;`, `from=>to` items that replace the start of a path.
    #[doc(alias = "GetSourcePath")]
    pub fn source_path(&self) -> &str {
        &self.sources.path
    }

    /// Changes where sources are looked for; what was found before is looked for anew.
    #[doc(alias = "SetSourcePath")]
    pub fn set_source_path(&mut self, path: &str) {
        path.clone_into(&mut self.sources.path);
        self.sources.found.clear();
        self.sources.absent.clear();
    }

    /// Tells by notices how source files are found that are looked for, or no more.
    pub fn tell_sources(&mut self, noisy: bool) {
        self.sources.noisy = noisy;
    }

    /// Forgets the text of a source file, or that there is none; `false`: nothing was known of it.
    pub fn forget_source_file(&mut self, recorded: &str) -> bool {
        let before = self.sources.found.len() + self.sources.absent.len();
        self.sources.found.retain(|(_, asked), known| asked != recorded && !is_end(&known.file.recorded, recorded));
        self.sources.absent.retain(|(_, asked)| asked != recorded);
        self.sources.found.len() + self.sources.absent.len() < before
    }

    /// The text of a source file by the path that debug info has for it, or by any end of such a path.
    ///
    /// Looked for, in this order: under each directory of the source path, by ever shorter ends of the recorded path;
    /// with the start of the path replaced as `from=>to` items say; at the recorded path itself, on this machine and then
    /// on the target's, as the current process sees it. If the program of the process is there at its path on this
    /// machine, but is another build, then what stands at the recorded path here need not be its source: the
    /// target's comes first. Where all that fails, the servers of the symbol path are asked, by the build-id of the module
    /// that has the path; while nobody waits, in the background, so that a later call finds it.
    ///
    /// A file whose checksum is not the recorded one, or that is too short for the lines that code belongs to, is only
    /// taken if no rule has a better one; [`SourceFile::proof`] says so.
    ///
    /// # Errors
    /// [`EngineError::NoSource`] with the places tried.
    #[doc(alias = "FindSourceFile")]
    pub fn source_file(&mut self, recorded: &str) -> Result<Rc<SourceFile>, EngineError> {
        let found = self.find_source(recorded, true);
        if self.sources.noisy {
            let text = match &found {
                Ok(file) => format!("SRC: {recorded}: {} {}", file.found.display(), file.rule),
                Err(error) => format!("SRC: {error}"),
            };
            self.queue.push_back(EngineEvent::Noticed(Notice::Message { text }));
        }
        found
    }

    /// As [`Engine::source_file`], without asking servers: for those who only want to know whether there is a source.
    pub(crate) fn has_source_file(&mut self, recorded: &str) -> bool {
        self.find_source(recorded, false).is_ok()
    }

    fn find_source(&mut self, asked: &str, may_ask: bool) -> Result<Rc<SourceFile>, EngineError> {
        let place = self.current_place();
        let key = (place, asked.to_owned());
        // Only who waits can learn more than what is at hand.
        let waits = may_ask && self.symbols.patient.get();
        if let Some(known) = self.sources.found.get(&key).filter(|known| known.is_settled || !waits) {
            return Ok(known.file.clone());
        }
        let mut trial = Trial::new(asked, self.prepared_modules());
        self.try_usual_places(place, &mut trial);
        let mut is_final = waits;
        if !trial.is_over() && may_ask {
            is_final &= self.try_servers(&mut trial);
        }
        let is_settled = is_final || trial.is_over();
        let Some(found) = trial.best else {
            return Err(EngineError::NoSource { path: asked.to_owned(), looked: trial.looked });
        };
        let trial::Found { recorded, path, rule, proof, lines, .. } = found;
        let file = Rc::new(SourceFile { recorded, found: path, rule, proof, lines });
        self.sources.found.insert(key, Known { file: file.clone(), is_settled });
        Ok(file)
    }

    /// Tries the source path, and the recorded path on this machine and on the target's.
    fn try_usual_places(&mut self, place: Option<Place>, trial: &mut Trial) {
        let rules = match self.has_another_program_here() {
            true => [SourceRule::SourcePath, SourceRule::Target, SourceRule::Recorded],
            false => [SourceRule::SourcePath, SourceRule::Recorded, SourceRule::Target],
        };
        let names = trial.names();
        for (rule, name) in rules.into_iter().flat_map(|rule| names.iter().map(move |name| (rule, name))) {
            if trial.is_over() {
                return;
            }
            match rule {
                SourceRule::Target => self.try_target(place, name, trial),
                SourceRule::SourcePath => try_here(name, candidates(&self.sources.path, name), rule, trial),
                _ => try_here(name, vec![PathBuf::from(name)], rule, trial),
            }
        }
    }

    /// Modules of the current process whose debug info can be asked without reading it first.
    fn prepared_modules(&self) -> Vec<Arc<outpost_symbols::Module>> {
        let process = self.current_process().and_then(|process| self.process(process));
        let modules = process.into_iter().flat_map(|process| process.modules.iter());
        let modules = modules.filter_map(|module| module.symbols.get()?.module().cloned());
        modules.filter(|module| module.is_prepared()).collect()
    }

    /// Whose files the current process's are.
    fn current_place(&self) -> Option<Place> {
        let process = self.process(self.current_process().ok()?).ok()?;
        Some((process.system, process.id()))
    }

    /// Whether this machine has something else at the path of the current process's program.
    fn has_another_program_here(&self) -> bool {
        let process = self.current_process().and_then(|process| self.process(process));
        let mut modules = process.into_iter().flat_map(|process| process.modules.iter());
        let main = modules.find(|module| module.info.is_main);
        main.and_then(|module| module.symbols.get()).is_some_and(|symbols| symbols.is_another_build_here)
    }

    /// Tries the file at the recorded path on a process's machine, which is asked for a file that it has not once only.
    fn try_target(&mut self, place: Option<Place>, recorded: &str, trial: &mut Trial) {
        let Some((system, process)) = place.filter(|_| recorded.starts_with('/')) else { return };
        trial.looked.push(format!("{recorded} on the target's machine"));
        let key = (place, recorded.to_owned());
        if self.sources.absent.contains(&key) {
            return;
        }
        let Ok(target) = self.system(system).map(|system| system.target.clone()) else { return };
        match read_on_target(&mut **target.borrow_mut(), process, recorded) {
            Some(bytes) => trial.try_sent(recorded, PathBuf::from(recorded), SourceRule::Target, &bytes),
            None => drop(self.sources.absent.insert(key)),
        }
    }
}

/// Tries files of this machine, until one is right.
fn try_here(name: &str, candidates: Vec<PathBuf>, rule: SourceRule, trial: &mut Trial) {
    for path in candidates {
        if !trial.try_here(name, path.clone(), rule, Trust::Full) {
            trial.looked.push(path.display().to_string());
        }
        if trial.is_over() {
            return;
        }
    }
}

/// A whole file as a process sees it; `None`: there is no machine, no such file, or it is too long.
fn read_on_target(target: &mut dyn Target, process: ProcessId, path: &str) -> Option<Vec<u8>> {
    let os = target.as_os()?;
    let (file, len) = os.open_file(Some(process), path).ok()?;
    let parts = if len <= MAX_SOURCE { os.read_file(file, &[(0, len)]).ok() } else { None };
    // The session goes on without it whatever the answer is.
    let _ = os.close_file(file);
    parts?.pop()
}

/// Whether `path` ends in the components of `end`.
fn is_end(path: &str, end: &str) -> bool {
    !end.is_empty() && Path::new(path).ends_with(end)
}

/// Components of a path, without `.` and with `..` taken back; of one longer than any real one, its end.
fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.split_off(parts.len().saturating_sub(MAX_COMPONENTS))
}

/// Places where the source path says that the file could be, best first.
fn candidates(path: &str, recorded: &str) -> Vec<PathBuf> {
    let parts = components(recorded);
    let mut found = Vec::new();
    for item in path.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        if let Some((from, to)) = item.split_once("=>") {
            if let Ok(rest) = Path::new(recorded).strip_prefix(from) {
                found.push(Path::new(to).join(rest));
            }
            continue;
        }
        for skip in 0..parts.len() {
            found.push(parts[skip..].iter().fold(PathBuf::from(item), |path, part| path.join(part)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_path_are_tried_longest_first() {
        let found = candidates("/src;/old=>/new", "/old/x/../a/b.c");
        let expected = ["/src/old/a/b.c", "/src/a/b.c", "/src/b.c", "/new/x/../a/b.c"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(candidates("/src", "./x.c"), [PathBuf::from("/src/x.c")]);
        assert!(candidates("", "./x.c").is_empty());
    }

    #[test]
    fn long_paths_cost_no_more_than_others() {
        assert_eq!(candidates("/src", &"a/".repeat(100_000)).len(), MAX_COMPONENTS);
    }
}
