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
    /// The server's row in lists of servers.
    server: Option<String>,
}

/// Plain replacements, in this order.
const PATTERNS: &[(&str, &str)] = &[
    // Which C library is installed, and whether with debug information, is not the debugger's doing.
    (r"\b((?:lib\w+|ld_linux_x86_64_so|linux_vdso_so)!(?:[\w~.@]|::)+)\+0x[0-9a-f]+", "$1+*"),
    (r"\b((?:lib\w+|ld_linux_x86_64_so|linux_vdso_so)!(?:[\w~.@]|::)+(?:\+\*)?) \[[^\]\n]*\]", "$1 [*]"),
    (r"\[\./[^\]\n]*\]", "[*]"),
    // The same behind a function's parameters.
    (r"\)\+0x[0-9a-f]+ \[\*\]", ")+* [*]"),
    (r"/usr/lib/debug/\.build-id/[0-9a-f]{2}/[0-9a-f]+\.debug", "DEBUGFILE"),
    (r"(?i)(build[- ]?id *:? +)[0-9a-f]{40}", "$1*"),
    // What `dx` shows of processes and threads, and of the stack.
    (r"(?m)^( +(?:Id|ParentId) +: )0x[0-9a-f]{2,}$", "$1*"),
    (r"\b0x7ff[0-9a-f]{9}\b", "0x7ff*********"),
    (r"/rustc/[0-9a-f]{40}", "/rustc/COMMIT"),
    // Addresses of what the kernel maps: libraries, stacks of further threads.
    (r"\b00007fff(`?)f[0-9a-e][0-9a-f]{6}\b", "00007fff${1}f*******"),
    (r"(Evaluate expression: )\d+( = 00007fff`f\*+)", "$1*$2"),
    (r"(?m)^(\S{17}  .*)\b(?:[0-9a-f]{2}[ -]){3}f[0-9a-e] ff 7f 00 00(.*  ).{16}$", "$1** ** ** f* ff 7f 00 00$2*"),
    // Heaps of further threads, and by what the C library's was found.
    (r"\b00007fff(`?)e[0-9a-f]{7}\b", "00007fff${1}e*******"),
    (r"(?m)^glibc 2\.\d+; layout by .*$", "glibc *"),
    (r"(\[stack\][^\n]*\nOffset: +)[0-9a-f]+", "$1*"),
    (r#"("(?:(?:process|thread)_id|id|time_us|build_id|previous_pc)":)("[^"]*"|\d+)"#, "$1*"),
    // The machine, its users and the time.
    (r"Linux \S+ x86_64 MP \(\d+ procs\)", "Linux * x86_64 MP (* procs)"),
    (r"(Machine name: |User: )\S+", "$1*"),
    (r"(Debug session time: |Created: \b|debuggee\) time: ).*", "$1*"),
    (r"\b\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d\.\d{3} \d{4}: ", "DATE: "),
    (r"((?:Uptime|[lr] time): +)\d+ days \d+:\d\d:\d\d\.\d{3}", "$1*"),
    (r"(?m)^(  \d+:)[0-9a-f]+ +\d+ days \d+:\d\d:\d\d\.\d{3}", "$1* *"),
    (r"has used 0n\d+ ms", "has used * ms"),
    (r"(?:Port=\d+,Server=127\.0\.0\.1|port=\d+,server=127\.0\.0\.1)", "Port=*,Server=127.0.0.1"),
    (r"(Servers on \\\\)\S+:", "$1*:"),
    (r"(Server - tcp:Port=)\d+", "$1*"),
    (r"(bytes (?:sent|received)) +\d+ +\d+", "$1 * *"),
    (r"\b(pipe|socket):\[\d+\]", "$1:[*]"),
    (r"0n\d+ \((cdb|dbgsrv)\)", "* ($1)"),
    (r"process \d+ \((cdb|dbgsrv)\)", "process * ($1)"),
    (r"(Parent: |si_pid: |SI_TKILL from )(?:0n)?[0-9a-f]+", "$1*"),
    // How soon the end of a server is noticed, before or after the debugger's own, is chance.
    (r"(?m)^(?:The server is ending the session|The connection is gone|\S+ is lost): the server ends: .*\n", ""),
    (r"(The process server is ending\n(?:.*\n)*?)exit status: 3\n", "$1"),
    // The release, and how many commands it has.
    (r"\bbuilt in, version \S+, 0n\d+ commands", "built in, version *, * commands"),
    (r"(?m)^outpost \S+, built in$", "outpost *, built in"),
    // Which system calls a C library makes.
    (r"\d+ accesses and \d+ system calls", "* accesses and * system calls"),
    // Breakpoints that do not outlive a killed debugger are another test's.
    (r" \(not kill-safe: [^)\n]*\)", ""),
    (r"(?m)^Steps over calls in process \d+ are not kill-safe: .*\n", ""),
];

impl Rules {
    /// Rules for sessions about one program.
    pub(crate) fn new(compiled: &Path, program: &Path, home: &Path) -> Rules {
        let folder = compiled.parent().unwrap();
        let hash = folder.file_name().unwrap().to_str().unwrap();
        // The compiler was given it another way.
        let given = outpost_testkit::fixture("../target/debuggees");
        let testkit = given.display().to_string().replace("/fixtures/../target", "/target");
        let paths = vec![
            (program.parent().unwrap().display().to_string(), "/debuggee"),
            (folder.display().to_string(), "/debuggee"),
            (format!("{testkit}/{hash}"), "/debuggee"),
            (home.display().to_string(), "{HOME}"),
            (env!("CARGO_BIN_EXE_cdb").to_owned(), "cdb"),
        ];
        Rules { paths, ids: BTreeMap::new(), server: None }
    }

    /// Gives a process that runs already its name.
    pub(crate) fn process(&mut self, pid: u32) {
        self.name(u64::from(pid));
    }

    /// The server that the session has: of lists of servers, its row is kept.
    pub(crate) fn server(&mut self, connection: &str) {
        let listens_on = connection.split(",Server=").next().unwrap();
        self.server = Some(format!("Remote Process Server - {listens_on}"));
    }

    /// The text without what differs from run to run.
    pub(crate) fn apply(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, name) in &self.paths {
            text = text.replace(path, name);
        }
        text = self.without_ids(&text);
        let is_other = |line: &str| line.contains("Server - ") && self.server.as_deref() != Some(line.trim_end());
        text = text.split_inclusive('\n').filter(|line| !is_other(line)).collect();
        text = without_leftovers(&text);
        text = moved_stack(&text);
        for (pattern, replacement) in PATTERNS {
            text = Regex::new(pattern).unwrap().replace_all(&text, *replacement).into_owned();
        }
        text
    }

    /// Ids of processes and threads become `p1`, `p2`, in the order in which they come up.
    fn without_ids(&mut self, text: &str) -> String {
        let places = r"(?m)(^\(|\d{4}: \(|\bId: |Last event: |THREAD: )([0-9a-f]+)\.([0-9a-f]+)|(\bid: )([0-9a-f]+)";
        let text = Regex::new(places).unwrap().replace_all(text, |found: &Captures<'_>| {
            let mut name = |group: usize| self.name(u64::from_str_radix(&found[group], 16).unwrap());
            match found.get(1) {
                Some(before) => format!("{}{}.{}", before.as_str(), name(2), name(3)),
                None => format!("{}{}", &found[4], name(5)),
            }
        });
        // What `.tlist` shows of other processes is the machine's, and their details are in the lines below.
        let rows = Regex::new(r"(?m)^ 0n(\d+) (.*\n)((?:       .*\n)*)").unwrap();
        let text = rows.replace_all(&text, |found: &Captures<'_>| match self.ids.get(&found[1].parse().unwrap()) {
            Some(name) => format!(" 0n{name} {}{}", &found[2], &found[3]),
            None => String::new(),
        });
        text.into_owned()
    }

    fn name(&mut self, id: u64) -> String {
        let next = format!("p{}", self.ids.len() + 1);
        self.ids.entry(id).or_insert(next).clone()
    }
}

/// What the C library leaves in registers hangs on the processor, on chance and on time: r8 to r11, which the programs
/// do not use themselves, and all values where the C library's own code is stopped in.
fn without_leftovers(text: &str) -> String {
    let blocks = Regex::new(r"(?m)^rax=(?:.*\n)+?cs=.*\n").unwrap();
    let volatile = Regex::new(r"\b(r8|r9|r10|r11)=[0-9a-f]{16}").unwrap();
    let all = Regex::new(r"\b(r[abcd]x|r[sd]i|rbp|rsp|r1[2-5]|efl)=[0-9a-f]+|(iopl=.*)").unwrap();
    let block = |found: &Captures<'_>| {
        let text = volatile.replace_all(&found[0], "$1=****************");
        match text.contains("rip=00007ffff") {
            true => all
                .replace_all(&text, |one: &Captures<'_>| match one.get(1) {
                    Some(name) => format!("{}=****************", name.as_str()),
                    None => "iopl=*".to_owned(),
                })
                .into_owned(),
            false => text.into_owned(),
        }
    };
    blocks.replace_all(text, block).into_owned()
}

/// The stack begins below the environment and the program's path, so it is moved as a whole: the first address on it
/// that comes up becomes `00007fff`ffffe000`. Those at a page's start are the ends of its region, which do not move.
fn moved_stack(text: &str) -> String {
    let addresses = Regex::new(r"\b00007fff(`?)(ff[0-9a-f]{6})\b").unwrap();
    let low = |found: &Captures<'_>| u64::from_str_radix(&found[2], 16).unwrap();
    let first = addresses.captures_iter(text).map(|found| low(&found)).find(|low| low & 0xfff != 0);
    let Some(first) = first.map(|first| first & !0xf) else { return text.to_owned() };
    let moved = |found: &Captures<'_>| match low(found) {
        end if end & 0xfff == 0 => format!("00007fff{}ff******", &found[1]),
        low => format!("00007fff{}{:08x}", &found[1], low.wrapping_sub(first).wrapping_add(0xffff_e000) & 0xffff_ffff),
    };
    addresses.replace_all(text, moved).into_owned()
}
