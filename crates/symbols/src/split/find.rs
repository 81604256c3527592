//! Finding `.dwo` files by what a skeleton says of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::SplitFiles;
use crate::hash::content_hash;
use crate::{ByteSource, ElfFile, FileSource};

/// Where a skeleton says that its `.dwo` file is.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Origin {
    /// `DW_AT_comp_dir`.
    pub(crate) directory: Vec<u8>,
    /// `DW_AT_dwo_name`.
    pub(crate) name: Vec<u8>,
}

impl Origin {
    fn name(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.name))
    }

    /// The path that the compiler wrote.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(OsStr::from_bytes(&self.directory)).join(self.name())
    }
}

impl SplitFiles {
    /// Places in which the file may be, best first: where the compiler wrote it; in each directory under its name with the
    /// folders that belong to the name, and without them. The first is gdb's rule, too ("Debugging Information in
    /// Separate Files" names no more); the others find trees that were moved.
    pub(super) fn candidates(&self, origin: &Origin) -> Vec<PathBuf> {
        let mut places = vec![origin.path()];
        for directory in &self.directories {
            if origin.name().is_relative() {
                places.push(directory.join(origin.name()));
            }
            places.extend(origin.name().file_name().map(|base| directory.join(base)));
        }
        let mut known = Vec::new();
        places.retain(|place| {
            place.is_absolute() && !known.contains(place) && {
                known.push(place.clone());
                true
            }
        });
        places
    }

    /// What changes when a file appears at, vanishes from or changes in one of the places.
    pub(crate) fn fingerprint(&self, origin: &Origin) -> u64 {
        let mut text = String::new();
        for place in self.candidates(origin) {
            if let Some(identity) = regular_file(&place).and_then(|file| file.identity()) {
                text.push_str(&format!("{} {identity}\n", place.display()));
            }
        }
        content_hash(text.as_bytes())
    }

    /// The first of the places with a file that `accept` takes; otherwise what was found instead, in words.
    pub(super) fn find<T>(
        &self,
        origin: &Origin,
        mut accept: impl FnMut(&ElfFile) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut looked = Vec::new();
        for place in self.candidates(origin) {
            let Some(file) = regular_file(&place) else {
                looked.push(place.display().to_string());
                continue;
            };
            match ElfFile::parse(file).map_err(|error| error.to_string()).and_then(|file| accept(&file)) {
                Ok(found) => return Ok(found),
                Err(reason) => looked.push(format!("{} ({reason})", place.display())),
            }
        }
        Err(looked.join(", "))
    }
}

/// The file at `place`, if it is one: the name comes from the program, and what is no file might block whoever opens it.
fn regular_file(place: &Path) -> Option<std::sync::Arc<FileSource>> {
    fs::metadata(place).ok().filter(fs::Metadata::is_file)?;
    FileSource::open(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_compilers_then_the_directories() {
        let files = SplitFiles { package: None, directories: vec!["/bin".into(), "/dbg".into()] };
        let check = |directory: &str, name: &str, expected: &[&str]| {
            let origin = Origin { directory: directory.into(), name: name.into() };
            assert_eq!(files.candidates(&origin), expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        };
        check("/src", "obj/a.dwo", &["/src/obj/a.dwo", "/bin/obj/a.dwo", "/bin/a.dwo", "/dbg/obj/a.dwo", "/dbg/a.dwo"]);
        check("/src", "/out/a.dwo", &["/out/a.dwo", "/bin/a.dwo", "/dbg/a.dwo"]);
        check("", "a.dwo", &["/bin/a.dwo", "/dbg/a.dwo"]);
    }

    #[test]
    fn a_fingerprint_tells_when_a_file_comes_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        let files = SplitFiles { package: None, directories: vec![dir.path().to_owned()] };
        let origin = Origin { directory: b"/nowhere".to_vec(), name: b"a.dwo".to_vec() };
        let none = files.fingerprint(&origin);
        std::fs::write(dir.path().join("a.dwo"), "one").unwrap();
        let one = files.fingerprint(&origin);
        assert!(one != none && one == files.fingerprint(&origin));
        std::fs::remove_file(dir.path().join("a.dwo")).unwrap();
        std::fs::create_dir(dir.path().join("a.dwo")).unwrap();
        assert_eq!(files.fingerprint(&origin), none, "a directory is no file");
    }
}
