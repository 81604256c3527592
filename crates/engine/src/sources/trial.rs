//! Which of several files is the source that the program was built of.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};
use outpost_symbols::{Module, SourceFacts};

use super::moved::{Candidate, Hope};
use super::trees::{Company, TreeReason, Trees};
use super::{MAX_SOURCE, SourceRule};

/// Most files that one end of a path is taken for.
const MAX_NAMES: usize = 8;

/// What debug info says to a source file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceProof {
    /// It has the checksum that the compiler noted (DWARF 5; clang writes them).
    Checksum,
    /// Nothing was noted that it could be compared with; it has all the lines that code belongs to.
    None,
    /// Its checksum is another.
    Differs,
    /// It ends before lines that code belongs to.
    TooShort {
        /// Lines it has.
        lines: u32,
        /// Lines it must have.
        needed: u32,
    },
}

impl SourceProof {
    /// Whether it cannot be what the program was built of.
    pub fn is_another(self) -> bool {
        matches!(self, SourceProof::Differs | SourceProof::TooShort { .. })
    }
}

impl fmt::Display for SourceProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceProof::Checksum => f.write_str("its checksum is that of the program's source"),
            SourceProof::None => f.write_str("no checksum was recorded"),
            SourceProof::Differs => f.write_str("its checksum is another"),
            SourceProof::TooShort { lines, needed } => write!(f, "it has {lines} lines, code is of line {needed}"),
        }
    }
}

/// Why a file is taken where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceGrounds {
    /// The rule by which it was found is enough.
    Place,
    /// The tree that it is in is the right one.
    Tree(TreeReason),
    /// Another file of its tree was found that way before.
    Learnt,
    /// It has the name, and nothing speaks against it.
    Name,
}

/// A file that could be it.
#[derive(Debug)]
pub(super) struct Found {
    /// The path that debug info has for it.
    pub(super) recorded: String,
    pub(super) path: PathBuf,
    pub(super) rule: SourceRule,
    pub(super) grounds: SourceGrounds,
    pub(super) proof: SourceProof,
    pub(super) lines: Vec<String>,
    trust: Trust,
}

/// How far a file is believed to be the right one, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// It is another for sure, and only shown for want of a better one.
    None,
    /// It may be it: it has the name.
    Name,
    /// It is where it should be, or has the checksum.
    Full,
}

/// The files that were tried for one source file, and the best of them.
pub(super) struct Trial {
    /// Paths that debug info has for it, with what it says of their contents once that was asked for.
    names: Vec<(String, Option<SourceFacts>)>,
    modules: Vec<Arc<Module>>,
    pub(super) looked: Vec<String>,
    pub(super) best: Option<Found>,
}

impl Trial {
    /// For the file that `modules` call `asked`, or that they have a path for which ends so.
    pub(super) fn new(asked: &str, modules: Vec<Arc<Module>>) -> Trial {
        let mut names: Vec<String> = Vec::new();
        if !asked.starts_with('/') && !asked.is_empty() {
            names = modules.iter().flat_map(|module| module.source_files(asked)).collect();
            names.sort();
            names.dedup();
            names.truncate(MAX_NAMES);
        }
        // The end of a path says no more than the paths that end so.
        if names.is_empty() {
            names.push(asked.to_owned());
        }
        let names = names.into_iter().map(|name| (name, None)).collect();
        Trial { names, modules, looked: Vec::new(), best: None }
    }

    /// Paths that debug info has for the file.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Modules whose debug info can be asked.
    pub(super) fn modules(&self) -> &[Arc<Module>] {
        &self.modules
    }

    /// Whether debug info has this path.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.modules.iter().any(|module| !module.source_files(name).is_empty())
    }

    /// Whether nothing better is to be hoped for.
    pub(super) fn is_over(&self) -> bool {
        self.trust() == Some(Trust::Full)
    }

    /// How far the best file so far is believed.
    pub(super) fn trust(&self) -> Option<Trust> {
        self.best.as_ref().map(|best| best.trust)
    }

    /// Tries a file of this machine for the file that debug info calls `name`; it is believed if there is no checksum.
    /// `true`: there is such a file.
    pub(super) fn try_here(&mut self, name: &str, path: PathBuf, rule: SourceRule, grounds: SourceGrounds) -> bool {
        let Some(bytes) = read_here(&path) else { return false };
        let lines = lines_of(&bytes);
        let proof = self.proof(name, &lines, &bytes);
        let trust = if proof.is_another() { Trust::None } else { Trust::Full };
        self.offer(Found { recorded: name.to_owned(), path, rule, grounds, proof, lines, trust });
        true
    }

    /// As [`Trial::try_here`], of a file that another machine has sent.
    pub(super) fn try_sent(&mut self, name: &str, path: PathBuf, rule: SourceRule, bytes: &[u8]) {
        let lines: Vec<String> = lines_of(bytes).iter().map(|line| harmless(line)).collect();
        let proof = self.proof(name, &lines, bytes);
        let trust = if proof.is_another() { Trust::None } else { Trust::Full };
        let grounds = SourceGrounds::Place;
        self.offer(Found { recorded: name.to_owned(), path, rule, grounds, proof, lines, trust });
    }

    /// Tries a file of this machine in another place than debug info says. The checksum decides; where there is none, the
    /// other files of its tree do, and what is hoped of the place. Of a file that is it, `trees` learns where its tree is.
    /// `true`: there is such a file, taken or not.
    pub(super) fn try_moved(&mut self, name: &str, candidate: Candidate, trees: &mut Trees) -> bool {
        let Candidate { path, rule, kept, hope } = candidate;
        let is_refused = hope != Hope::Said && trees.is_refused(name, &path);
        let Some(bytes) = (!is_refused).then(|| read_here(&path)).flatten() else { return false };
        let lines = lines_of(&bytes);
        let proof = self.proof(name, &lines, &bytes);
        let company = match hope {
            Hope::Version | Hope::OtherVersion => Company::Unknown,
            Hope::None | Hope::Name | Hope::Said => trees.company(&self.modules, name, &path, kept),
        };
        let (reason, kept) = match (proof, company) {
            (SourceProof::Checksum, Company::Present { kept, .. }) => (Some(TreeReason::Checksum), kept),
            (SourceProof::Checksum, _) => (Some(TreeReason::Checksum), kept),
            (_, Company::Present { kept, present, of }) => (Some(TreeReason::Files { present, of }), kept),
            _ if hope == Hope::Version => (Some(TreeReason::Version), kept),
            _ => (None, kept),
        };
        let is_name_enough = company == Company::Unknown && matches!(hope, Hope::Name | Hope::OtherVersion);
        let (trust, grounds) = match (reason, hope) {
            (Some(reason), _) => (Trust::Full, SourceGrounds::Tree(reason)),
            (None, Hope::Said) if company == Company::Unknown => (Trust::Full, SourceGrounds::Place),
            (None, Hope::Said) => (Trust::Name, SourceGrounds::Name),
            (None, _) if is_name_enough && !proof.is_another() => (Trust::Name, SourceGrounds::Name),
            (None, _) => {
                let why = if proof.is_another() { proof.to_string() } else { "of another tree".into() };
                self.looked.push(format!("{} ({why})", path.display()));
                return true;
            }
        };
        if let Some(reason) = reason {
            trees.learn(name, &path, kept, rule, reason);
        }
        let trust = if proof.is_another() { Trust::None } else { trust };
        self.offer(Found { recorded: name.to_owned(), path, rule, grounds, proof, lines, trust });
        true
    }

    fn proof(&mut self, name: &str, lines: &[String], bytes: &[u8]) -> SourceProof {
        proof(&self.facts(name), lines.len(), bytes)
    }

    fn offer(&mut self, found: Found) {
        if self.trust().is_none_or(|best| found.trust > best) {
            self.best = Some(found);
        }
    }

    /// What debug info says of the content of one of the names.
    fn facts(&mut self, name: &str) -> SourceFacts {
        let modules = &self.modules;
        let Some((_, facts)) = self.names.iter_mut().find(|(known, _)| known == name) else {
            return Default::default();
        };
        facts.get_or_insert_with(|| all_facts(modules, name)).clone()
    }
}

/// What all these modules say of one source file.
fn all_facts(modules: &[Arc<Module>], name: &str) -> SourceFacts {
    let mut all = SourceFacts::default();
    for facts in modules.iter().filter_map(|module| module.source_facts(name)) {
        all.checksums.extend(facts.checksums);
        all.last_line = all.last_line.max(facts.last_line);
    }
    all
}

fn proof(facts: &SourceFacts, lines: usize, bytes: &[u8]) -> SourceProof {
    let lines = u32::try_from(lines).unwrap_or(u32::MAX);
    if !facts.checksums.is_empty() {
        let sum: [u8; 16] = Md5::digest(bytes).into();
        return if facts.checksums.contains(&sum) { SourceProof::Checksum } else { SourceProof::Differs };
    }
    match facts.last_line {
        needed if needed > lines => SourceProof::TooShort { lines, needed },
        _ => SourceProof::None,
    }
}

/// A whole file of this machine; `None`: there is none, or it is too long.
pub(super) fn read_here(path: &Path) -> Option<Vec<u8>> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_SOURCE {
        return None;
    }
    std::fs::read(path).ok()
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
    fn a_checksum_decides_and_lines_only_without_one() {
        // MD5 of "a\n", from md5sum(1).
        let sum = [0x60, 0xb7, 0x25, 0xf1, 0x0c, 0x9c, 0x85, 0xc7, 0x0d, 0x97, 0x88, 0x0d, 0xfe, 0x81, 0x91, 0xb3];
        let facts = |checksums: &[[u8; 16]], last_line| SourceFacts { checksums: checksums.to_vec(), last_line };
        assert_eq!(proof(&facts(&[[1; 16], sum], 9), 1, b"a\n"), SourceProof::Checksum);
        assert_eq!(proof(&facts(&[[1; 16]], 1), 1, b"a\n"), SourceProof::Differs);
        assert_eq!(proof(&facts(&[], 1), 1, b"a\n"), SourceProof::None);
        assert_eq!(proof(&facts(&[], 2), 1, b"a\n"), SourceProof::TooShort { lines: 1, needed: 2 });
    }
}
