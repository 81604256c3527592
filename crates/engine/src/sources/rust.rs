//! Sources that Rust's tools keep for everybody: crates of a registry, and those of the standard library.

use std::fs;
use std::path::{Path, PathBuf};

use super::SourceRule;
use super::moved::{Candidate, Hope};

/// Most registries or toolchains that are looked at.
const MAX_FOLDERS: usize = 32;
/// Longest manifest of a toolchain that is read.
const MAX_MANIFEST: u64 = 16 << 20;
/// Digits of a commit in the version of a toolchain.
const SHORT_COMMIT: usize = 9;

/// Where Rust's tools keep their things.
#[derive(Debug, Default, Clone)]
pub(super) struct Homes {
    /// `CARGO_HOME`, or `~/.cargo`.
    pub(super) cargo: Option<PathBuf>,
    /// Directories of toolchains, with `lib/rustlib` in them.
    pub(super) toolchains: Vec<PathBuf>,
}

impl Homes {
    /// Those of the user who debugs.
    pub(super) fn of_user() -> Homes {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let in_home = |name: &str| Some(variable("HOME")?.join(name));
        let rustup = variable("RUSTUP_HOME").or_else(|| in_home(".rustup"));
        let mut toolchains = rustup.map(|home| folders(&home.join("toolchains"))).unwrap_or_default();
        // Those of distributions, and of what was installed by itself.
        toolchains.extend(["/usr/local", "/usr"].map(PathBuf::from));
        Homes { cargo: variable("CARGO_HOME").or_else(|| in_home(".cargo")), toolchains }
    }
}

/// Files that tools keep for a recorded path.
pub(super) fn candidates(recorded: &str, parts: &[&str], homes: &Homes, looked: &mut Vec<String>) -> Vec<Candidate> {
    let mut found = Vec::new();
    if let (Some((name, rest)), Some(cargo)) = (crate_of(recorded, parts), &homes.cargo) {
        let registries = folders(&cargo.join("registry/src"));
        looked.push(format!("{name} in {}", cargo.join("registry/src").display()));
        let files = registries.iter().map(|registry| join(&registry.join(name), rest));
        let rule = SourceRule::CargoRegistry;
        let candidates = files.map(|path| Candidate { path, rule, kept: rest.len() + 1, hope: Hope::Version });
        found.extend(candidates);
    }
    if let Some((commit, rest)) = library_of(recorded, parts) {
        looked.push("in the sources of Rust toolchains (rustup component add rust-src)".into());
        for toolchain in &homes.toolchains {
            let path = join(&toolchain.join("lib/rustlib/src/rust"), rest);
            if path.is_file() {
                let is_it = is_commit(toolchain, commit);
                let (rule, hope) = match is_it {
                    true => (SourceRule::RustToolchain, Hope::Version),
                    false => (SourceRule::OtherRustToolchain, Hope::OtherVersion),
                };
                found.push(Candidate { path, rule, kept: rest.len(), hope });
            }
        }
    }
    found.retain(|candidate| candidate.path.is_file());
    found.sort_by_key(|candidate| candidate.hope != Hope::Version);
    found
}

/// The crate with its version that a path is in, and the rest of the path.
///
/// Cargo unpacks `NAME-VERSION` into `registry/src/INDEX`; the standard library has those it is made of in `/rust/deps`;
/// builds that replace the starts of paths leave the name.
fn crate_of<'a>(recorded: &str, parts: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    let at = parts.iter().position(|part| is_crate(part)).filter(|_| recorded.ends_with(".rs"))?;
    (at + 1 < parts.len()).then(|| (parts[at], &parts[at + 1..]))
}

/// Whether a name ends in a version of three numbers, as cargo's all do.
fn is_crate(name: &str) -> bool {
    let versions = name.match_indices('-').map(|(at, _)| name[at + 1..].split(['-', '+']).next().unwrap_or_default());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut versions = versions.filter(|version| version.split('.').count() == 3 && version.split('.').all(is_number));
    versions.next().is_some()
}

/// The commit that a file of the standard library is of, and its path in there.
fn library_of<'a>(recorded: &str, parts: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    let [root, commit, rest @ ..] = parts else { return None };
    let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    (*root == "rustc" && is_commit && recorded.starts_with('/') && !rest.is_empty()).then_some((commit, rest))
}

/// Whether a toolchain that rustup has installed was built of a commit: its manifest has the version of each component,
/// with the beginning of the commit.
fn is_commit(toolchain: &Path, commit: &str) -> bool {
    let manifest = toolchain.join("lib/rustlib/multirust-channel-manifest.toml");
    if !fs::metadata(&manifest).is_ok_and(|metadata| metadata.len() <= MAX_MANIFEST) {
        return false;
    }
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let version = text.split_once("\n[pkg.rust]\n").and_then(|(_, text)| text.lines().next()).unwrap_or_default();
    version.contains(&format!("({} ", commit.get(..SHORT_COMMIT).unwrap_or(commit)))
}

fn folders(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).take(MAX_FOLDERS).collect();
    folders.sort();
    folders
}

fn join(directory: &Path, parts: &[&str]) -> PathBuf {
    parts.iter().fold(directory.to_owned(), |path, part| path.join(part))
}

#[cfg(test)]
mod tests {
    use super::super::trees::parts;
    use super::*;

    #[test]
    fn crates_are_told_by_their_versions() {
        let name = |path: &str| crate_of(path, &parts(path)).map(|(name, rest)| format!("{name} {}", rest.join("/")));
        let registry = "/home/ci/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/memchr-2.8.3/src/memchr.rs";
        assert_eq!(name(registry).as_deref(), Some("memchr-2.8.3 src/memchr.rs"));
        assert_eq!(name("/rust/deps/hashbrown-0.15.2/src/raw.rs").as_deref(), Some("hashbrown-0.15.2 src/raw.rs"));
        assert_eq!(name("/x/a-b-1.0.0-rc.1/lib.rs").as_deref(), Some("a-b-1.0.0-rc.1 lib.rs"));
        assert_eq!(
            name("/x/zstd-sys-2.0.9+zstd.1.5.5/src/lib.rs").as_deref(),
            Some("zstd-sys-2.0.9+zstd.1.5.5 src/lib.rs")
        );
        for other in ["/build/bash-5.2.15/shell.c", "/x/a-1.2/src/lib.rs", "/x/a-1.0.0", "/x/src/lib.rs"] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn a_toolchain_is_told_by_its_commit() {
        let root = tempfile::tempdir().unwrap();
        let commit = "59807616e1fa2540724bfbac14d7976d7e4a3860";
        for (name, version) in [("a", "1.90.0 (000000000 2025-01-01)"), ("b", "1.95.0 (59807616e 2026-04-14)")] {
            let rustlib = root.path().join(name).join("lib/rustlib");
            fs::create_dir_all(rustlib.join("src/rust/library/core/src")).unwrap();
            fs::write(rustlib.join("src/rust/library/core/src/lib.rs"), "").unwrap();
            let manifest = format!("[pkg.rls]\nversion = \"(59807616e \"\n\n[pkg.rust]\nversion = \"{version}\"\n");
            fs::write(rustlib.join("multirust-channel-manifest.toml"), manifest).unwrap();
        }
        let homes = Homes { cargo: None, toolchains: ["a", "b"].map(|name| root.path().join(name)).to_vec() };
        let recorded = format!("/rustc/{commit}/library/core/src/lib.rs");
        let found = candidates(&recorded, &parts(&recorded), &homes, &mut Vec::new());
        let rules: Vec<_> = found.iter().map(|candidate| (candidate.rule, candidate.hope)).collect();
        assert_eq!(
            rules,
            [(SourceRule::RustToolchain, Hope::Version), (SourceRule::OtherRustToolchain, Hope::OtherVersion)]
        );
        assert!(found[0].path.starts_with(root.path().join("b")));
    }
}
