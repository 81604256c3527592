//! Stacks of all threads as each debugger prints them, reduced to names of functions.

use std::collections::BTreeMap;

/// Names of functions, innermost first, inlined ones included.
pub(crate) type Names = Vec<String>;

/// One of our frames.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) function: String,
    /// Whether it ended by a tail call.
    pub(crate) is_tail_call: bool,
}

/// Our frames, innermost first. As gdb has it, what was inlined into a function that ended by a tail call is not apart, and
/// gives it its name.
pub(crate) type Frames = Vec<Frame>;

/// By thread id, from `~*k`.
pub(crate) fn of_cdb(output: &str) -> BTreeMap<u32, Frames> {
    let mut stacks: BTreeMap<u32, Frames> = BTreeMap::new();
    let mut current = None;
    let mut inlined: Frames = Vec::new();
    for line in output.lines() {
        if let Some((_, ids)) = line.split_once("Id: ") {
            let thread = ids.split([' ', '.']).nth(1).and_then(|id| u32::from_str_radix(id, 16).ok());
            current = thread;
            continue;
        }
        let mut columns = line.splitn(4, ' ').filter(|column| !column.is_empty());
        let Some(number) = columns.next().filter(|number| number.len() >= 2) else { continue };
        let (is_inline, is_tail_call) = (line.contains("(Inline"), line.contains("(Tail Call)"));
        let is_frame = u32::from_str_radix(number, 16).is_ok() && line.contains('`') || is_inline;
        let (Some(thread), true) = (current, is_frame) else { continue };
        let site = line.split_once("     ").map_or("", |(_, site)| site.trim());
        inlined.push(Frame { function: function_of_site(site), is_tail_call });
        if is_inline {
            continue;
        }
        if is_tail_call {
            let name = inlined.swap_remove(0).function;
            inlined = vec![Frame { function: name, is_tail_call }];
        }
        stacks.entry(thread).or_default().append(&mut inlined);
    }
    stacks
}

/// `module!function+0x12 [file @ 3]` less all but the function.
fn function_of_site(site: &str) -> String {
    let site = site.split(" [").next().unwrap_or(site);
    let name = site.split_once('!').map_or(site, |(_, name)| name);
    let name = match name.rfind("+0x") {
        Some(at) if name[at + 3..].bytes().all(|byte| byte.is_ascii_hexdigit()) => &name[..at],
        _ => name,
    };
    normal(name)
}

/// By thread id, from `thread apply all backtrace`.
pub(crate) fn of_gdb(output: &str) -> BTreeMap<u32, Names> {
    let mut stacks = BTreeMap::new();
    let mut current = None;
    for line in output.lines() {
        if line.starts_with("Thread ")
            && let Some((_, rest)) = line.split_once("LWP ")
        {
            current = rest.split(|end: char| !end.is_ascii_digit()).next().and_then(|id| id.parse::<u32>().ok());
        }
        let Some(thread) = current.filter(|_| line.starts_with('#')) else { continue };
        let rest = line.split_once(' ').map_or("", |(_, rest)| rest).trim_start();
        let rest = match rest.split_once(" in ") {
            Some((address, rest)) if address.starts_with("0x") => rest,
            _ => rest,
        };
        let name = rest.split(" (").next().unwrap_or(rest);
        stacks.entry(thread).or_insert_with(Vec::new).push(normal(name));
    }
    stacks
}

/// A name without what the debuggers spell differently: blanks, parameters, template arguments, how a lambda is called.
pub(crate) fn normal(name: &str) -> String {
    let mut plain = String::new();
    let mut depth = 0_u32;
    // An arrow closes no bracket.
    let name = name.replace("->", "");
    for character in name.replace("{lambda", "<").replace("{closure", "<").replace('}', ">").chars() {
        match character {
            '<' | '(' | '{' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 || character == ' ' => {}
            other => plain.push(other),
        }
    }
    let plain = plain.trim_end_matches("const").replace("::::", "::");
    // Rust's old mangling ends in a hash, which we leave out.
    let hash = plain.rfind("::h").filter(|at| plain.len() - at == 19);
    plain[..hash.unwrap_or(plain.len())].trim_end_matches("::").to_owned()
}
