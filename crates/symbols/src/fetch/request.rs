//! What can be asked for, and how patiently.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use outpost_base::BuildId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Bytes of a source path that need no escape in a URL (RFC 3986, 2.3), and the separators.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Variable with the URLs of servers, separated by blanks (debuginfod_find_debuginfo(3)).
const URLS: &str = "DEBUGINFOD_URLS";
/// Variable with the time-out in seconds (the same).
const TIMEOUT: &str = "DEBUGINFOD_TIMEOUT";
/// Variable with the largest file in bytes (the same).
const MAX_SIZE: &str = "DEBUGINFOD_MAXSIZE";
/// Variable with the cache directory (the same).
const CACHE: &str = "DEBUGINFOD_CACHE_PATH";

/// A file of a build.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Artifact {
    /// The separate debug file.
    DebugInfo,
    /// The image itself.
    Executable,
    /// A source file, by its absolute path in the debug info.
    Source(String),
}

/// How a server names its files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ServerLayout {
    /// As debuginfod(8): `/buildid/ID/debuginfo`.
    Debuginfod,
    /// Either way: debuginfod's first, then the names of symbol servers, `/_.debug/elf-buildid-sym-ID/_.debug`.
    ///
    /// Source: SSQP Key Conventions of dotnet/symstore, "ELF-buildid-sym".
    SymbolServer,
}

/// One question to servers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FetchRequest {
    /// The build.
    pub build_id: BuildId,
    /// What of it.
    pub artifact: Artifact,
    /// Servers, by URL; all are asked at once.
    pub urls: Vec<String>,
    /// How they name files.
    pub layout: ServerLayout,
    /// Cache directories, the first of which takes what is fetched; none: the user's.
    pub caches: Vec<PathBuf>,
}

impl FetchRequest {
    /// The addresses below `url` where the artifact may be, in the order in which they are asked for.
    pub(super) fn addresses(&self, url: &str) -> Vec<String> {
        let base = url.trim_end_matches('/');
        let id = &self.build_id;
        let kind = match &self.artifact {
            Artifact::DebugInfo => "debuginfo".to_owned(),
            Artifact::Executable => "executable".to_owned(),
            Artifact::Source(path) => format!("source/{}", utf8_percent_encode(path.trim_start_matches('/'), PATH)),
        };
        let mut addresses = vec![format!("{base}/buildid/{id}/{kind}")];
        if self.layout == ServerLayout::SymbolServer && self.artifact == Artifact::DebugInfo {
            addresses.push(format!("{base}/_.debug/elf-buildid-sym-{id}/_.debug"));
        }
        addresses
    }
}

/// Bounds, and the defaults that the environment gives.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Longest silence of a server before it is given up for the session.
    pub timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Largest debug file or image, in bytes.
    pub max_size: u64,
    /// Where files are kept if a request names no place; `None`: nowhere, so that nothing is fetched.
    pub cache: Option<PathBuf>,
    /// Servers of items that name none.
    pub urls: Vec<String>,
}

impl FetchOptions {
    /// As the environment says, in the variables of debuginfod_find_debuginfo(3). A silence of 30 seconds by default.
    pub fn from_environment() -> FetchOptions {
        let number = |name: &str| std::env::var(name).ok()?.trim().parse::<u64>().ok().filter(|number| *number > 0);
        let timeout = number(TIMEOUT).map(Duration::from_secs);
        let text = std::env::var(URLS).unwrap_or_default();
        // Newer clients take switches among them, such as `ima:enforcing`.
        let urls = text.split_whitespace().filter(|word| word.contains("://")).map(str::to_owned).collect();
        FetchOptions {
            timeout: timeout.unwrap_or(Duration::from_secs(30)),
            connect_timeout: timeout.unwrap_or(Duration::from_secs(5)).min(Duration::from_secs(5)),
            max_size: number(MAX_SIZE).unwrap_or(16 << 30),
            cache: default_cache(),
            urls,
        }
    }
}

/// `$DEBUGINFOD_CACHE_PATH`, else `~/.debuginfod_client_cache` if it exists, else `$XDG_CACHE_HOME/debuginfod_client`, else
/// `~/.cache/debuginfod_client` (debuginfod_find_debuginfo(3), "CACHE").
fn default_cache() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let variable = |name: &str| std::env::var_os(name).and_then(absolute);
    if let Some(path) = variable(CACHE) {
        return Some(path);
    }
    let home = variable("HOME");
    if let Some(old) = home.as_ref().map(|home| home.join(".debuginfod_client_cache")).filter(|old| old.is_dir()) {
        return Some(old);
    }
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(home?.join(".cache")))?;
    Some(cache.join("debuginfod_client"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_escape_what_urls_do_not_take() {
        let mut request = FetchRequest {
            build_id: BuildId(vec![0xab, 0x01]),
            artifact: Artifact::Source("/usr/src/c++ #1/ä.c".into()),
            urls: Vec::new(),
            layout: ServerLayout::SymbolServer,
            caches: Vec::new(),
        };
        assert_eq!(request.addresses("http://h/"), ["http://h/buildid/ab01/source/usr/src/c%2B%2B%20%231/%C3%A4.c"]);
        request.artifact = Artifact::DebugInfo;
        let expected = ["http://h/buildid/ab01/debuginfo", "http://h/_.debug/elf-buildid-sym-ab01/_.debug"];
        assert_eq!(request.addresses("http://h"), expected);
    }
}
