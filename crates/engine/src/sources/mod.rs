//! Source files: finding them and keeping their lines.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::{Engine, EngineError};

/// Longest source file that is read.
const MAX_SOURCE: u64 = 64 << 20;

/// Where sources are looked for, and those found.
#[derive(Default)]
pub(crate) struct SourceStore {
    path: String,
    found: HashMap<String, Rc<SourceFile>>,
}

/// A source file's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as the compiler recorded it.
    pub recorded: String,
    /// Where it was found.
    pub found: PathBuf,
    /// Its lines without line ends; damaged UTF-8 is replaced.
    pub lines: Vec<String>,
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
    }

    /// The text of a source file by the path that debug info has for it, or by any end of such a path.
    ///
    /// Looked for, in this order: under each directory of the source path, by ever shorter ends of the recorded path;
    /// with the start of the path replaced as `from=>to` items say; at the recorded path itself.
    ///
    /// # Errors
    /// [`EngineError::NoSource`] with the places tried.
    #[doc(alias = "FindSourceFile")]
    pub fn source_file(&mut self, recorded: &str) -> Result<Rc<SourceFile>, EngineError> {
        if let Some(file) = self.sources.found.get(recorded) {
            return Ok(file.clone());
        }
        let mut looked = Vec::new();
        for candidate in candidates(&self.sources.path, recorded) {
            if let Some(lines) = read_lines(&candidate) {
                let file = Rc::new(SourceFile { recorded: recorded.to_owned(), found: candidate, lines });
                self.sources.found.insert(recorded.to_owned(), file.clone());
                return Ok(file);
            }
            looked.push(candidate.display().to_string());
        }
        Err(EngineError::NoSource { path: recorded.to_owned(), looked })
    }
}

/// Places where the file could be, best first.
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
    found.push(PathBuf::from(recorded));
    found
}

fn read_lines(path: &Path) -> Option<Vec<String>> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_SOURCE {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_path_are_tried_longest_first() {
        let found = candidates("/src;/old=>/new", "/old/a/b.c");
        let expected = ["/src/old/a/b.c", "/src/a/b.c", "/src/b.c", "/new/a/b.c", "/old/a/b.c"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(candidates("", "./x.c"), ["./x.c"].map(PathBuf::from));
    }
}
