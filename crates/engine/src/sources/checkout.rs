//! Files of a git checkout, by its index: no directory is walked for them.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest index that is read: that of a tree of half a million files.
const MAX_INDEX: u64 = 64 << 20;
/// Most files of one name that are taken.
const MAX_FILES: usize = 64;
/// Length of an entry's fixed part, with the SHA-1 of its content and its flags.
const FIXED: usize = 62;

/// The tops of the checkouts that these directories are in, each once.
pub(super) fn tops<'a>(directories: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let tops = directories.filter_map(|directory| directory.ancestors().find(|top| top.join(".git").exists()));
    let mut found: Vec<PathBuf> = Vec::new();
    for top in tops.map(Path::to_owned) {
        if !found.contains(&top) {
            found.push(top);
        }
    }
    found
}

/// Files of a checkout that have this base name and are there.
pub(super) fn files_named(top: &Path, base: &str) -> Vec<PathBuf> {
    let index = directory_of(top).join("index");
    let fits = fs::metadata(&index).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_INDEX);
    let Some(bytes) = fits.then(|| fs::read(index).ok()).flatten() else { return Vec::new() };
    let files = named(&bytes, base.as_bytes()).into_iter().map(|name| top.join(name));
    files.filter(|path| path.is_file()).collect()
}

/// Where git keeps what it knows of a checkout; of a further work tree, or a submodule, a file says it.
fn directory_of(top: &Path) -> PathBuf {
    let git = top.join(".git");
    let text = if git.is_file() { fs::read_to_string(&git).unwrap_or_default() } else { String::new() };
    text.strip_prefix("gitdir:").map_or(git, |directory| top.join(directory.trim()))
}

/// Names in an index that end in the component `base`; those before any damage.
///
/// Source: gitformat-index(5), versions 2 to 4.
fn named(bytes: &[u8], base: &[u8]) -> Vec<PathBuf> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (mut found, mut name) = (Vec::new(), Vec::new());
    let (Some(version @ 2..=4), Some(count)) = (word(4), word(8).filter(|_| bytes.starts_with(b"DIRC"))) else {
        return found;
    };
    let mut at = 12;
    for _ in 0..count {
        let Some(flags) = bytes.get(at + 60..at + FIXED).map(|flags| u16::from_be_bytes([flags[0], flags[1]])) else {
            break;
        };
        let is_extended = version > 2 && flags & 0x4000 != 0;
        let mut begin = at + FIXED + if is_extended { 2 } else { 0 };
        if version == 4 {
            // How much of the name before is dropped: 7 bits a byte, highest first, each further byte adds one.
            let mut dropped = 0usize;
            loop {
                let Some(&byte) = bytes.get(begin) else { return found };
                begin += 1;
                dropped = dropped.saturating_mul(128).saturating_add(usize::from(byte & 127));
                if byte & 128 == 0 {
                    break;
                }
                dropped = dropped.saturating_add(1);
            }
            name.truncate(name.len().saturating_sub(dropped));
        } else {
            name.clear();
        }
        let Some(len) = bytes.get(begin..).and_then(|rest| rest.iter().position(|&byte| byte == 0)) else { break };
        name.extend_from_slice(&bytes[begin..begin + len]);
        // Up to version 3 entries are filled up with zeros, at least one, to a multiple of eight bytes.
        at = if version == 4 { begin + len + 1 } else { at + (begin + len - at + 8) / 8 * 8 };
        if name.rsplit(|&byte| byte == b'/').next() == Some(base) && found.len() < MAX_FILES {
            found.push(PathBuf::from(String::from_utf8_lossy(&name).into_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Whether git is there to make checkouts with.
    fn has_git() -> bool {
        let has = Command::new("git").arg("--version").output().is_ok();
        if !has {
            outpost_testkit::skip("git is not installed");
        }
        has
    }

    fn git(top: &Path, arguments: &[&str]) {
        let output = Command::new("git").arg("-C").arg(top).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn names_of_every_version_are_those_that_git_has() {
        if !has_git() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let files = ["a.c", "deep/er/a.c", "deep/er/b.c", "deep/xa.c", "deeper/a.c", "x/not-there/a.c", "z.c"];
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        git(root.path(), &["init", "-q"]);
        git(root.path(), &["add", "."]);
        // An entry that is to be added has extended flags, which version 2 lacks.
        fs::write(root.path().join("zz.c"), "").unwrap();
        fs::remove_file(root.path().join("x/not-there/a.c")).unwrap();
        let wanted = ["a.c", "deep/er/a.c", "deeper/a.c"].map(|name| root.path().join(name));
        for version in ["2", "4"] {
            git(root.path(), &["update-index", "--index-version", version]);
            assert_eq!(files_named(root.path(), "a.c"), wanted, "version {version}");
        }
        git(root.path(), &["update-index", "--index-version", "2"]);
        git(root.path(), &["add", "-N", "zz.c"]);
        let index = fs::read(root.path().join(".git/index")).unwrap();
        assert_eq!(index[7], 3);
        assert_eq!(files_named(root.path(), "zz.c"), [root.path().join("zz.c")]);
        assert_eq!(tops([root.path().join("deep/er").as_path(), root.path()].into_iter()), [root.path()]);
        // Damage ends the list and nothing else.
        for len in 0..index.len() {
            assert!(named(&index[..len], b"a.c").len() <= 4);
        }
    }

    #[test]
    fn a_further_work_tree_has_an_index_elsewhere() {
        if !has_git() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let (main, other) = (root.path().join("main"), root.path().join("other"));
        fs::create_dir(&main).unwrap();
        fs::write(main.join("a.c"), "").unwrap();
        git(&main, &["init", "-q"]);
        git(&main, &["add", "."]);
        git(&main, &["-c", "user.name=n", "-c", "user.email=e@f", "commit", "-qm", "one"]);
        git(&main, &["worktree", "add", "-q", other.to_str().unwrap()]);
        assert_eq!(files_named(&other, "a.c"), [other.join("a.c")]);
    }
}
