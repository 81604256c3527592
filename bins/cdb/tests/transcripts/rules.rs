//! What is no part of an answer: ids, times, versions, places on this machine. All else is compared as it is.
//!
//! `README.md` states the same rules for readers of transcripts.

use std::collections::BTreeMap;
use std::path::Path;

use regex::{Captures, Regex};

/// Made anew for each session, since ids are numbered as they come up.
pub(crate) struct Rules {
    paths: Vec<(String, &'static str)>,
    ids: BTreeMap<u64, String>,
    port: Option<String>,
}

/// Plain replacements, in this order.
const PATTERNS: &[(&str, &str)] = &[
    // Which C library is installed, and whether with debug information, is not the debugger's doing.
    (r"\b((?:lib\w+|ld_linux_x86_64_so|linux_vdso_so)!(?:[\w~.@]|::)+)\+0x[0-9a-f]+", "$1+*"),
    (r"\b((?:lib\w+|ld_linux_x86_64_so|linux_vdso_so)!(?:[\w~.@]|::)+(?:\+\*)?) \[[^\]\n]*\]", "$1 [*]"),
    (r"/usr/lib/debug/\.build-id/[0-9a-f]{2}/[0-9a-f]+\.debug", "DEBUGFILE"),
    (r"/rustc/[0-9a-f]{40}", "/rustc/COMMIT"),
    // Addresses of what the kernel maps: libraries, stacks of further threads.
    (r"\b00007fff`f[0-9a-e][0-9a-f]{6}\b", "00007fff`f*******"),
    (r"\b00007ffff[0-9a-e][0-9a-f]{6}\b", "00007ffff*******"),
    // What breakpoints need to outlive a killed debugger is another test's.
    (r" \(not kill-safe: [^)\n]*\)", ""),
];

impl Rules {
    /// Rules for sessions about one program.
    pub(crate) fn new(program: &Path, home: &Path) -> Rules {
        let folder = program.parent().unwrap();
        let hash = folder.file_name().unwrap().to_str().unwrap();
        // The compiler was given it another way.
        let compiled = outpost_testkit::fixture("../target/debuggees");
        let testkit = compiled.display().to_string().replace("/fixtures/../target", "/target");
        let paths = vec![
            (folder.display().to_string(), "/debuggee"),
            (format!("{testkit}/{hash}"), "/debuggee"),
            (home.display().to_string(), "/home"),
        ];
        Rules { paths, ids: BTreeMap::new(), port: None }
    }

    /// Gives a process that runs already its name.
    pub(crate) fn process(&mut self, pid: u32) {
        self.name(u64::from(pid));
    }

    /// Hides the port of a transport.
    pub(crate) fn port(&mut self, transport: &str) {
        self.port = transport.split(['=', ',']).nth(1).map(str::to_owned);
    }

    /// The text without what differs from run to run.
    pub(crate) fn apply(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, name) in &self.paths {
            text = text.replace(path, name);
        }
        text = self.without_ids(&text);
        text = moved_stack(&text);
        for (pattern, replacement) in PATTERNS {
            text = Regex::new(pattern).unwrap().replace_all(&text, *replacement).into_owned();
        }
        text
    }

    /// Ids of processes and threads become `p1`, `p2`, in the order in which they come up.
    fn without_ids(&mut self, text: &str) -> String {
        let places = Regex::new(r"(?m)((?:^\(|[iI]d: |Last event: ))([0-9a-f]+)(?:\.([0-9a-f]+))?").unwrap();
        let text = places.replace_all(text, |found: &Captures<'_>| {
            let mut name = |group: usize| {
                let digits = found.get(group)?.as_str();
                Some(self.name(u64::from_str_radix(digits, 16).unwrap()))
            };
            let (process, thread) = (name(2).unwrap(), name(3).map(|name| format!(".{name}")));
            format!("{}{process}{}", &found[1], thread.unwrap_or_default())
        });
        text.into_owned()
    }

    fn name(&mut self, id: u64) -> String {
        let next = format!("p{}", self.ids.len() + 1);
        self.ids.entry(id).or_insert(next).clone()
    }
}

/// The stack begins below the environment and the program's path, so it is moved as a whole: the first address on it
/// that comes up becomes `00007fff`ffffe000`.
fn moved_stack(text: &str) -> String {
    let addresses = Regex::new(r"\b00007fff(`?)(ff[0-9a-f]{6})\b").unwrap();
    let low = |found: &Captures<'_>| u64::from_str_radix(&found[2], 16).unwrap();
    let Some(first) = addresses.captures(text).map(|found| low(&found) & !0xf) else { return text.to_owned() };
    let moved = |found: &Captures<'_>| {
        format!("00007fff{}{:08x}", &found[1], low(found).wrapping_sub(first).wrapping_add(0xffff_e000) & 0xffff_ffff)
    };
    addresses.replace_all(text, moved).into_owned()
}
