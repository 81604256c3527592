//! Source files: finding them and keeping their lines.

mod servers;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use outpost_base::ProcessId;
use outpost_target::Target;

use crate::{Engine, EngineError, SystemOrdinal};

/// Longest source file that is read.
const MAX_SOURCE: u64 = 64 << 20;

/// Where sources are looked for, and those found.
#[derive(Default)]
pub(crate) struct SourceStore {
    path: String,
    found: HashMap<Key, Rc<SourceFile>>,
    /// Files that a process's machine was asked for in vain.
    absent: HashSet<Key>,
}

/// A recorded path as one process means it: in a container it is another file than outside.
type Key = (Option<(SystemOrdinal, ProcessId)>, String);

/// A source file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as the compiler recorded it.
    pub recorded: String,
    /// Where it was found.
    pub found: PathBuf,
    /// By which rule.
    pub rule: SourceRule,
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

    /// Forgets the text of a source file, or that there is none; `false`: nothing was known of it.
    pub fn forget_source_file(&mut self, recorded: &str) -> bool {
        let before = self.sources.found.len() + self.sources.absent.len();
        self.sources.found.retain(|(_, known), _| known != recorded);
        self.sources.absent.retain(|(_, known)| known != recorded);
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
    /// # Errors
    /// [`EngineError::NoSource`] with the places tried.
    #[doc(alias = "FindSourceFile")]
    pub fn source_file(&mut self, recorded: &str) -> Result<Rc<SourceFile>, EngineError> {
        self.find_source(recorded, true)
    }

    /// As [`Engine::source_file`], without asking servers: for those who only want to know whether there is a source.
    pub(crate) fn has_source_file(&mut self, recorded: &str) -> bool {
        self.find_source(recorded, false).is_ok()
    }

    fn find_source(&mut self, recorded: &str, may_ask: bool) -> Result<Rc<SourceFile>, EngineError> {
        let key = (self.current_place(), recorded.to_owned());
        if let Some(file) = self.sources.found.get(&key) {
            return Ok(file.clone());
        }
        let mut looked = Vec::new();
        let (named, own) = (candidates(&self.sources.path, recorded), PathBuf::from(recorded));
        let found =
            here(named, SourceRule::SourcePath, &mut looked).or_else(|| match self.has_another_program_here() {
                true => {
                    self.on_target(&key, &mut looked).or_else(|| here(vec![own], SourceRule::Recorded, &mut looked))
                }
                false => {
                    here(vec![own], SourceRule::Recorded, &mut looked).or_else(|| self.on_target(&key, &mut looked))
                }
            });
        let found = found.or_else(|| if may_ask { self.on_servers(recorded, &mut looked) } else { None });
        let Some((found, rule, lines)) = found else {
            return Err(EngineError::NoSource { path: recorded.to_owned(), looked });
        };
        let file = Rc::new(SourceFile { recorded: recorded.to_owned(), found, rule, lines });
        self.sources.found.insert(key, file.clone());
        Ok(file)
    }

    /// Whose files the current process's are.
    fn current_place(&self) -> Option<(SystemOrdinal, ProcessId)> {
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

    /// The file at the recorded path on the current process's machine, asked for once.
    fn on_target(&mut self, key: &Key, looked: &mut Vec<String>) -> Option<Found> {
        let (Some((system, process)), recorded) = key else { return None };
        if !recorded.starts_with('/') {
            return None;
        }
        looked.push(format!("{recorded} on the target's machine"));
        if self.sources.absent.contains(key) {
            return None;
        }
        let target = self.system(*system).ok()?.target.clone();
        let bytes = read_on_target(&mut **target.borrow_mut(), *process, recorded);
        if bytes.is_none() {
            self.sources.absent.insert(key.clone());
        }
        let lines = lines_of(&bytes?).iter().map(|line| harmless(line)).collect();
        Some((PathBuf::from(recorded), SourceRule::Target, lines))
    }
}

/// Where, by which rule, its lines.
type Found = (PathBuf, SourceRule, Vec<String>);

/// The first of these files that is on this machine.
fn here(candidates: Vec<PathBuf>, rule: SourceRule, looked: &mut Vec<String>) -> Option<Found> {
    candidates.into_iter().find_map(|candidate| {
        let lines = read_lines(&candidate);
        if lines.is_none() {
            looked.push(candidate.display().to_string());
        }
        Some((candidate, rule, lines?))
    })
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

/// Places where the source path says that the file could be, best first.
fn candidates(path: &str, recorded: &str) -> Vec<PathBuf> {
    let parts: Vec<&str> = recorded.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
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

fn read_lines(path: &Path) -> Option<Vec<String>> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_SOURCE {
        return None;
    }
    Some(lines_of(&std::fs::read(path).ok()?))
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// A line of a file that another machine has sent: what it shows must not command the terminal.
fn harmless(line: &str) -> String {
    let seen = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    line.chars().map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_other_machines_do_not_command_the_terminal() {
        assert_eq!(harmless("\tint é; // \u{1b}]0;title\u{7}"), "\tint é; // \u{fffd}]0;title\u{fffd}");
    }

    #[test]
    fn ends_of_the_path_are_tried_longest_first() {
        let found = candidates("/src;/old=>/new", "/old/a/b.c");
        let expected = ["/src/old/a/b.c", "/src/a/b.c", "/src/b.c", "/new/a/b.c"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(candidates("", "./x.c").is_empty());
    }
}
