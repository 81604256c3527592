//! The symbol path: where debug files are looked for, in order.

use std::fmt;
use std::path::PathBuf;

/// Directory of separate debug files on Linux distributions.
const SYSTEM_DEBUG: &str = "/usr/lib/debug";

/// One item of a symbol path.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SymbolPathItem {
    /// A directory: by build-id below it (`.build-id/xx/rest.debug`), or by name in it.
    Directory(PathBuf),
    /// An item that this debugger does not know; kept as it was written, so that `.sympath` shows it.
    Other(String),
}

/// An ordered list of places. Written with `:` or `;` between items; `;` alone if an item holds a colon (a URL).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolPath {
    /// The places, first one first.
    pub items: Vec<SymbolPathItem>,
}

impl Default for SymbolPath {
    /// The system's directory of debug files.
    fn default() -> SymbolPath {
        SymbolPath { items: vec![SymbolPathItem::Directory(SYSTEM_DEBUG.into())] }
    }
}

impl SymbolPath {
    /// Parses what a user types. Empty items are dropped; nothing is checked for existence.
    pub fn parse(text: &str) -> SymbolPath {
        let is_list = text.contains(';') || text.contains("://") || text.contains('*');
        let separator = if is_list { ';' } else { ':' };
        let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
        SymbolPath { items: items.map(SymbolPathItem::parse).collect() }
    }

    /// Adds the items of `text` at the end (`.sympath+`).
    pub fn append(&mut self, text: &str) {
        self.items.extend(SymbolPath::parse(text).items);
    }
}

impl SymbolPathItem {
    fn parse(item: &str) -> SymbolPathItem {
        if item.contains('*') || item.contains("://") {
            return SymbolPathItem::Other(item.to_owned());
        }
        let home = item.strip_prefix("~/").and_then(|rest| Some(PathBuf::from(std::env::var_os("HOME")?).join(rest)));
        SymbolPathItem::Directory(home.unwrap_or_else(|| item.into()))
    }
}

impl fmt::Display for SymbolPathItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SymbolPathItem::Directory(path) => path.display().fmt(f),
            SymbolPathItem::Other(text) => f.write_str(text),
        }
    }
}

/// Items with `;` between them.
impl fmt::Display for SymbolPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, item) in self.items.iter().enumerate() {
            let separator = if number == 0 { "" } else { ";" };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let path = SymbolPath::parse(text);
        let items: Vec<String> = path.items.iter().map(SymbolPathItem::to_string).collect();
        assert_eq!(items, expected);
        assert_eq!(SymbolPath::parse(&path.to_string()), path);
    }

    #[test]
    fn paths() {
        check("", &[]);
        check("/a:/b", &["/a", "/b"]);
        check(" /a ; /b ;; ", &["/a", "/b"]);
        check("/a;srv*https://debuginfod.example/", &["/a", "srv*https://debuginfod.example/"]);
        let mut path = SymbolPath::default();
        path.append("/x");
        assert_eq!(path.to_string(), "/usr/lib/debug;/x");
    }
}
