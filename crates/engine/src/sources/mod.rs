//! Source files: finding them, telling whether they are the right ones, and keeping their lines.

mod checkout;
mod moved;
mod rust;
mod servers;
mod store;
mod trees;
mod trial;

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use outpost_base::ProcessId;
use outpost_target::Target;

use moved::{Candidate, Hope, MAX_COMPONENTS, Places};
pub(crate) use store::SourceStore;
use store::{Known, Place};
pub use trees::{LearntSourceMap, TreeReason};
use trees::{common_end, parts};
use trial::Trial;
pub use trial::{SourceGrounds, SourceProof};

use crate::events::{EngineEvent, Notice};
use crate::{Engine, EngineError};

/// Longest source file that is read.
const MAX_SOURCE: u64 = 64 << 20;

/// A source file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as the compiler recorded it.
    pub recorded: String,
    /// Where it was found.
    pub found: PathBuf,
    /// By which rule.
    pub rule: SourceRule,
    /// Why it is taken there.
    pub grounds: SourceGrounds,
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
    /// In the directory that the debugger was started in, one that this is in, or one of its directories.
    WorkingDirectory,
    /// In the directory of the program, or of the library or debug file that has the source, or one that this is in.
    Program,
    /// In the git checkout that one of those is in.
    Checkout,
    /// In the crate of this version that cargo has unpacked.
    CargoRegistry,
    /// In the sources of the Rust toolchain that the standard library is of.
    RustToolchain,
    /// In those of another, or of one that does not say which it is.
    OtherRustToolchain,
    /// In a directory of `/usr/src`.
    System,
}

impl SourceFile {
    /// How it was found: the rule, and what makes the place believed.
    pub fn how(&self) -> String {
        let rule = self.rule;
        match self.grounds {
            SourceGrounds::Tree(TreeReason::Files { .. }) if self.proof == SourceProof::Checksum => rule.to_string(),
            SourceGrounds::Tree(reason @ TreeReason::Files { .. }) => format!("{rule}; {reason}"),
            SourceGrounds::Place | SourceGrounds::Tree(_) => rule.to_string(),
            SourceGrounds::Learnt => format!("{rule}, as other files of its tree"),
            SourceGrounds::Name => format!("{rule}, by its name alone"),
        }
    }

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
            SourceRule::WorkingDirectory => "around the current directory",
            SourceRule::Program => "around the program",
            SourceRule::Checkout => "in the git checkout",
            SourceRule::CargoRegistry => "in cargo's registry",
            SourceRule::RustToolchain => "in the sources of the Rust toolchain",
            SourceRule::OtherRustToolchain => "in the sources of another Rust toolchain",
            SourceRule::System => "below /usr/src",
        })
    }
}

/// The places of a file that need no search.
#[derive(Debug, Clone, Copy)]
enum Usual {
    SourcePath,
    Learnt,
    Recorded,
    Target,
}

impl Engine {
    /// Where sources are looked for: directories separated by `;`, `from=>to` items that replace the start of a path.
    #[doc(alias = "GetSourcePath")]
    pub fn source_path(&self) -> &str {
        &self.sources.path
    }

    /// Changes where sources are looked for; what was found or learnt before is looked for anew.
    #[doc(alias = "SetSourcePath")]
    pub fn set_source_path(&mut self, path: &str) {
        self.sources.set_path(path);
    }

    /// Where trees of sources have moved to, as the files found so far say; those that were learnt last come last.
    pub fn learnt_source_maps(&self) -> &[LearntSourceMap] {
        self.sources.trees.learnt()
    }

    /// Takes back what was learnt of trees whose paths began with `from`, or of all. It is not learnt again, and
    /// no file is found there but by the source path. `false`: nothing was known.
    pub fn refuse_source_maps(&mut self, from: Option<&str>) -> bool {
        let any = self.sources.trees.refuse(from);
        self.sources.look_anew();
        any
    }

    /// Tells by notices how source files are found that are looked for, or no more.
    pub fn tell_sources(&mut self, noisy: bool) {
        self.sources.noisy = noisy;
    }

    /// Forgets the text of a source file, or that there is none; `false`: nothing was known of it.
    pub fn forget_source_file(&mut self, recorded: &str) -> bool {
        self.sources.forget(recorded)
    }

    /// The text of a source file by the path that debug info has for it, or by any end of such a path.
    ///
    /// Looked for, in this order: under each directory of the source path, by ever shorter ends of the recorded path;
    /// with the start of the path replaced as `from=>to` items say; at the recorded path itself, on this machine and then
    /// on the target's, as the current process sees it. If the program of the process is there at its path on this
    /// machine, but is another build, then what stands at the recorded path here need not be its source: the
    /// target's comes first.
    ///
    /// Then its tree may have moved. It is looked for around the debugger's directory and the program's, in the git checkout
    /// that these are in, in what cargo and Rust's toolchains keep, and in `/usr/src`; directories are not walked. Without a
    /// checksum that matches, a file is believed there if the other files of its tree are there, too; then the start of its
    /// path is replaced likewise in all other paths, right after the source path. One that only has the name is taken if
    /// there is no better one; [`SourceFile::grounds`] says so.
    ///
    /// Where all that fails, the servers of the symbol path are asked, by the build-id of the module that has the path; while
    /// nobody waits, in the background, so that a later call finds it.
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
                Ok(file) => format!("SRC: {recorded}: {} {}", file.found.display(), file.how()),
                Err(error) => format!("SRC: {error}"),
            };
            self.queue.push_back(EngineEvent::Noticed(Notice::Message { text }));
        }
        found
    }

    /// As [`Engine::source_file`], without asking servers: for those who only want to know whether there is a source. One
    /// that only has the name is none.
    pub(crate) fn has_source_file(&mut self, recorded: &str) -> bool {
        self.find_source(recorded, false).is_ok_and(|file| file.grounds != SourceGrounds::Name)
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
        if !trial.is_over() && (waits || self.sources.is_news(&key)) {
            self.try_moved(&mut trial);
        }
        let mut is_final = waits;
        if !trial.is_over() && may_ask {
            is_final &= self.try_servers(&mut trial);
        }
        let is_settled = is_final || trial.is_over();
        let Some(found) = trial.best else {
            self.sources.note_missing(key);
            return Err(EngineError::NoSource { path: asked.to_owned(), looked: trial.looked });
        };
        let trial::Found { recorded, path, rule, grounds, proof, lines, .. } = found;
        let file = Rc::new(SourceFile { recorded, found: path, rule, grounds, proof, lines });
        self.sources.found.insert(key, Known { file: file.clone(), is_settled });
        Ok(file)
    }

    /// Tries the source path, what was learnt, and the recorded path on this machine and on the target's.
    fn try_usual_places(&mut self, place: Option<Place>, trial: &mut Trial) {
        let rules = match self.has_another_program_here() {
            true => [Usual::SourcePath, Usual::Learnt, Usual::Target, Usual::Recorded],
            false => [Usual::SourcePath, Usual::Learnt, Usual::Recorded, Usual::Target],
        };
        let names = trial.names();
        for (rule, name) in rules.into_iter().flat_map(|rule| names.iter().map(move |name| (rule, name))) {
            if trial.is_over() {
                return;
            }
            match rule {
                Usual::Target => self.try_target(place, name, trial),
                Usual::SourcePath => self.sources.try_path(name, trial),
                Usual::Learnt => self.sources.try_learnt(name, trial),
                // Relative to what is not recorded: what is there in the debugger's directory may be anything.
                Usual::Recorded if !name.starts_with('/') && trial.is_known(name) => {}
                Usual::Recorded => {
                    if !trial.try_here(name, PathBuf::from(name), SourceRule::Recorded, SourceGrounds::Place) {
                        trial.looked.push(name.clone());
                    }
                }
            }
        }
    }

    /// Tries where the tree of a file could have moved to.
    fn try_moved(&mut self, trial: &mut Trial) {
        for name in trial.names() {
            let places = self.source_places(&name);
            self.sources.try_moved(&name, &places, trial);
            if trial.is_over() {
                return;
            }
        }
    }

    /// Where the debugger stands on this machine, and the modules that have this source or are the program.
    fn source_places(&self, name: &str) -> Places {
        let process = self.current_process().and_then(|process| self.process(process));
        let mut programs: Vec<PathBuf> = Vec::new();
        for module in process.into_iter().flat_map(|process| process.modules.iter()) {
            let Some(symbols) = module.symbols.get().filter(|symbols| !symbols.is_another_build_here) else { continue };
            let known = symbols.module().filter(|known| known.is_prepared());
            if !module.info.is_main && known.is_none_or(|known| known.source_files(name).is_empty()) {
                continue;
            }
            for file in [&module.info.path, &symbols.file].map(Path::new) {
                let directory = file.parent().filter(|_| file.is_absolute() && file.is_file());
                let directory = directory.filter(|directory| !programs.iter().any(|known| known == directory));
                programs.extend(directory.map(Path::to_owned));
            }
        }
        let current = std::env::current_dir().ok();
        Places { current, programs, source_path: self.sources.directories(), rust: rust::Homes::of_user() }
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

/// A whole file as a process sees it; `None`: there is no machine, no such file, or it is too long.
fn read_on_target(target: &mut dyn Target, process: ProcessId, path: &str) -> Option<Vec<u8>> {
    let os = target.as_os()?;
    let (file, len) = os.open_file(Some(process), path).ok()?;
    let parts = if len <= MAX_SOURCE { os.read_file(file, &[(0, len)]).ok() } else { None };
    // The session goes on without it whatever the answer is.
    let _ = os.close_file(file);
    parts?.pop()
}
