//! Golden transcripts: what each command says, in whole sessions of the real programs on real debuggees.
//!
//! `transcripts/README.md` says how a transcript is written and renewed.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "transcripts/rules.rs"]
mod rules;
#[path = "transcripts/session.rs"]
mod session;

use std::collections::BTreeSet;
use std::path::PathBuf;

use session::Session;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// Carries out what a transcript has been given, and compares what came of it.
fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let sessions = Session::parse(&expected);
    assert!(!sessions.is_empty(), "{name}.txt has no session");
    let actual: Vec<String> = sessions.iter().map(Session::run).collect();
    let actual = actual.join("\n");
    if std::env::var_os("OUTPOST_RENEW").is_some() {
        let inputs = |sessions: &[Session]| sessions.iter().map(|one| one.inputs.clone()).collect::<Vec<_>>();
        // What ended a session early would silently take its other commands along.
        assert_eq!(inputs(&Session::parse(&actual)), inputs(&sessions), "{name}: commands were lost:\n{actual}");
        return std::fs::write(&path, actual).unwrap();
    }
    let differences = session::differences(&expected, &actual);
    assert!(differences.is_empty(), "{name}.txt: OUTPOST_RENEW=1 renews it\n{differences}");
}

/// A test for each transcript, by the name of the file.
macro_rules! transcripts {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*
    };
}

transcripts! {
    go
}

#[test]
fn no_transcript_is_left_out() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, NAMES.iter().map(|&name| name.to_owned()).collect());
}
