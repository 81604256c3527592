//! The symbol path: where debug files are looked for, in order.

use std::fmt;
use std::path::PathBuf;

use outpost_base::BuildId;

use crate::{Artifact, FetchOptions, FetchRequest, ServerLayout};

/// Directory of separate debug files on Linux distributions.
const SYSTEM_DEBUG: &str = "/usr/lib/debug";

/// One item of a symbol path.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SymbolPathItem {
    /// A directory: by build-id below it (`.build-id/xx/rest.debug`), or by name in it.
    Directory(PathBuf),
    /// `cache*[dir]`: what servers of the items behind it send is kept in `dir`; `None`: where the user's cache is.
    Cache(Option<PathBuf>),
    /// `srv*[dir*...]URL` or `DebugInfoD*URL[*URL...]`: servers that have files by build-id.
    Servers(ServerItem),
    /// An item that this debugger does not know; kept as it was written, so that `.sympath` shows it.
    Other(String),
}

/// Servers, and where what they send is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerItem {
    /// How files are named there. Written `DebugInfoD*` or `srv*`.
    pub layout: ServerLayout,
    /// Directories that are looked into before the servers are asked, the first of which takes what they send. None: as
    /// the `cache*` item before it says.
    pub caches: Vec<PathBuf>,
    /// The servers, all asked at once. None: those that the environment names.
    pub urls: Vec<String>,
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

/// Who serves the debug files of all distributions that have a server (sourceware.org/elfutils/Debuginfod.html).
const PUBLIC_SERVER: &str = "https://debuginfod.elfutils.org/";

impl SymbolPath {
    /// Parses what a user types. Empty items are dropped; nothing is checked for existence.
    pub fn parse(text: &str) -> SymbolPath {
        let is_list = text.contains(';') || text.contains("://") || text.contains('*');
        let separator = if is_list { ';' } else { ':' };
        let items = text.split(separator).map(str::trim).filter(|item| !item.is_empty());
        SymbolPath { items: items.map(SymbolPathItem::parse).collect() }
    }

    /// The default path, and behind it the servers that `options` have; without any, and if the user `asked` for the usual
    /// path, the public one. What they send is kept in `cache`, if that is given.
    pub fn usual(options: &FetchOptions, asked: bool, cache: Option<PathBuf>) -> SymbolPath {
        let mut path = SymbolPath::default();
        let mut urls = options.urls.clone();
        if urls.is_empty() && asked {
            urls.push(PUBLIC_SERVER.to_owned());
        }
        if !urls.is_empty() {
            path.items.extend(cache.map(|cache| SymbolPathItem::Cache(Some(cache))));
            let item = ServerItem { layout: ServerLayout::Debuginfod, caches: Vec::new(), urls };
            path.items.push(SymbolPathItem::Servers(item));
        }
        path
    }

    /// What to ask the path's servers for, in order.
    pub fn requests(&self, build_id: &BuildId, artifact: &Artifact, options: &FetchOptions) -> Vec<FetchRequest> {
        let mut cache = None;
        let mut requests = Vec::new();
        for item in &self.items {
            match item {
                SymbolPathItem::Cache(directory) => cache = directory.as_ref(),
                SymbolPathItem::Servers(item) => {
                    requests.push(item.request(build_id, artifact.clone(), cache, options))
                }
                SymbolPathItem::Directory(_) | SymbolPathItem::Other(_) => {}
            }
        }
        requests
    }

    /// Adds the items of `text` at the end (`.sympath+`).
    pub fn append(&mut self, text: &str) {
        self.items.extend(SymbolPath::parse(text).items);
    }
}

impl SymbolPathItem {
    fn parse(item: &str) -> SymbolPathItem {
        if let Some((keyword, rest)) = item.split_once('*') {
            let parts = rest.split('*').map(str::trim).filter(|part| !part.is_empty());
            let (urls, directories): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.contains("://"));
            let urls: Vec<String> = urls.into_iter().map(str::to_owned).collect();
            let mut caches = directories.into_iter().map(directory);
            return match keyword.to_ascii_lowercase().as_str() {
                "cache" if urls.is_empty() => {
                    let (first, second) = (caches.next(), caches.next());
                    if second.is_some() { other(item) } else { SymbolPathItem::Cache(first) }
                }
                "srv" => ServerItem { layout: ServerLayout::SymbolServer, caches: caches.collect(), urls }.into(),
                "debuginfod" => ServerItem { layout: ServerLayout::Debuginfod, caches: caches.collect(), urls }.into(),
                _ => other(item),
            };
        }
        if item.contains("://") { other(item) } else { SymbolPathItem::Directory(directory(item)) }
    }
}

fn other(item: &str) -> SymbolPathItem {
    SymbolPathItem::Other(item.to_owned())
}

/// A directory as it was written, `~/` replaced.
fn directory(text: &str) -> PathBuf {
    let home = text.strip_prefix("~/").and_then(|rest| Some(PathBuf::from(std::env::var_os("HOME")?).join(rest)));
    home.unwrap_or_else(|| text.into())
}

impl From<ServerItem> for SymbolPathItem {
    fn from(item: ServerItem) -> SymbolPathItem {
        SymbolPathItem::Servers(item)
    }
}

impl ServerItem {
    /// What to ask the servers of this item for, `cache` being what the item before it says, and `options` what the
    /// environment does.
    pub fn request(
        &self,
        build_id: &BuildId,
        artifact: Artifact,
        cache: Option<&PathBuf>,
        options: &FetchOptions,
    ) -> FetchRequest {
        let caches = if self.caches.is_empty() { cache.into_iter().cloned().collect() } else { self.caches.clone() };
        let urls = if self.urls.is_empty() { options.urls.clone() } else { self.urls.clone() };
        FetchRequest { build_id: build_id.clone(), artifact, urls, layout: self.layout, caches }
    }
}

impl fmt::Display for ServerItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.layout {
            ServerLayout::Debuginfod => "DebugInfoD",
            ServerLayout::SymbolServer => "srv",
        })?;
        self.caches.iter().try_for_each(|cache| write!(f, "*{}", cache.display()))?;
        self.urls.iter().try_for_each(|url| write!(f, "*{url}"))?;
        // An item of nothing but its name needs the star that makes it one.
        if self.caches.is_empty() && self.urls.is_empty() { f.write_str("*") } else { Ok(()) }
    }
}

impl fmt::Display for SymbolPathItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SymbolPathItem::Directory(path) => path.display().fmt(f),
            SymbolPathItem::Cache(None) => f.write_str("cache*"),
            SymbolPathItem::Cache(Some(path)) => write!(f, "cache*{}", path.display()),
            SymbolPathItem::Servers(item) => item.fmt(f),
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
        check("cache*;cache*/c;debuginfod*", &["cache*", "cache*/c", "DebugInfoD*"]);
        check("SRV*/a**/b*http://x", &["srv*/a*/b*http://x"]);
        check(
            "DebugInfoD*http://x*https://y;odd*thing;http://z",
            &["DebugInfoD*http://x*https://y", "odd*thing", "http://z"],
        );
        let mut path = SymbolPath::default();
        path.append("/x");
        assert_eq!(path.to_string(), "/usr/lib/debug;/x");
    }
}
