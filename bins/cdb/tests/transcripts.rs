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

/// Names the compilers whose code the transcripts show.
const TOOLCHAIN: &str = "TOOLCHAIN";

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
        std::fs::write(folder().join(TOOLCHAIN), session::toolchain()).unwrap();
        return std::fs::write(&path, actual).unwrap();
    }
    let differences = session::differences(&expected, &actual);
    let recorded = std::fs::read_to_string(folder().join(TOOLCHAIN)).unwrap();
    if !differences.is_empty() && recorded != session::toolchain() {
        // Other code has other addresses; who changes the debugger there compares with what it said before.
        return outpost_testkit::skip(&format!(
            "the transcripts were made with {}",
            recorded.trim().replace('\n', ", ")
        ));
    }
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
    address
    assemble
    breakpoints
    context
    copies
    calls
    dies
    display
    enter
    errors
    evaluate
    expressions
    filters
    go
    heap
    holders
    images
    inline_frames
    iterators
    jumps
    json
    language
    locals
    logpoints
    logpoints_hot
    members
    missed
    modules
    objects
    options
    paths
    processes
    registers
    scripts
    search
    server
    session
    shapes
    signals
    source
    source_moved
    stack
    step
    symbols
    tail_calls
    threads
    thrown
    tools
    trace
    triage
    types
    unassemble
    views
    watch
    watch_pages
    watch_passes
}

#[test]
fn no_transcript_is_left_out() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let files: BTreeSet<String> = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, NAMES.iter().map(|&name| name.to_owned()).collect());
}

/// The rows of the first tier, by their names: commands that users of the reference expect, and that must be seen at work
/// on a live debuggee, whatever becomes of the registry. What is about servers and dumps has tests of its own.
const EXPECTED: &str = "g ga gh gn gN gu gc p t pa ta pc tc pt tt pct tct ph th .restart \
     bp bu bm ba bl bc bd be .bpcmds k kb kp kP kv kc kn kf kL kd .kframes .frame .f+ .f- r rF rX rM rm \
     .exr .ecxr .excr .cxr .lastevent d db dw dW dd dc dq dp df dD da du dyb dyd dds dqs dps dda ddp ddu dpa dpp dpu dqa \
     dqp dqu ds dS dl e eb ew ed eq ep ef eD ea eu eza ezu f m c s .writemem .readmem !address \
     u ub uu uf x ln lm dt dv dx .sympath .symfix .reload ld !sym .symopt .srcpath .lsrcpath .exepath .lines l+ l- lsp ls lsa \
     lsc lsf lsf- lse ? ?? .formats n .expr ~ | || .tlist .attach .create .createdir .childdbg .detach .kill .abandon \
     q qq qd .servers .endpsrv .noshell vertarget version .time .ttime !runaway vercommand !analyze !peb !teb !proc !tcb \
     !handle !gle * $$ .echo .printf .if .for .while .do .break .continue .foreach .block .catch .leave j z as aS ad al \
     $< $$< $>< $$>< $$>a< .logopen .logappend .logclose .logfile .shell .help !help sx sxe sxd sxn sxi sxr sx- .linkstats \
     .chain .load .unload";

/// The names that a line's first words can be: `~1s`, `bp5`, `kbn`, `l+t` and `lmvm` have more than a name in them.
fn is_used(name: &str, inputs: &[String]) -> bool {
    let starts = |input: &String| {
        // A thread before a command, unless threads are what it is about.
        let text = match input.strip_prefix('~').filter(|_| name != "~") {
            Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit() || "*.#".contains(c)).trim_start(),
            None => input.as_str(),
        };
        text.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() && name != "~"))
            || name.starts_with('k') && text.split(' ').next() == Some(name)
            || ["l+", "l-", "bp", "lm", "~", "|", "||"].contains(&name) && text.starts_with(name)
    };
    inputs.iter().flat_map(|input| input.split("; ").map(str::to_owned)).any(|input| starts(&input))
}

#[test]
fn every_command_is_in_a_transcript() {
    let texts = NAMES.iter().map(|name| std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap());
    let inputs: Vec<String> = texts.flat_map(|text| Session::parse(&text)).flat_map(|session| session.inputs).collect();
    let known = outpost_commands::registry::all().flat_map(|entry| entry.names.iter().copied());
    let expected = EXPECTED.split_whitespace().chain(known);
    let missing: BTreeSet<&str> = expected.filter(|name| !is_used(name, &inputs)).collect();
    assert!(missing.is_empty(), "in no transcript: {missing:?}");
}
