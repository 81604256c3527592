//! All commands: the one list behind recognition, `.help`, completion and the reference.

use crate::CommandError;
use crate::cmd::{self, unsupported};
use crate::command::CommandEntry;
use crate::language::Recognised;

const FAMILIES: &[&[CommandEntry]] = &[
    cmd::go::ENTRIES,
    cmd::call::ENTRIES,
    cmd::step::ENTRIES,
    cmd::trace::ENTRIES,
    cmd::breakpoint::ENTRIES,
    cmd::breakpoint_list::ENTRIES,
    cmd::breakpoint_match::ENTRIES,
    cmd::breakpoint_change::ENTRIES,
    cmd::stack::ENTRIES,
    cmd::frame::ENTRIES,
    cmd::context::ENTRIES,
    cmd::registers::ENTRIES,
    cmd::event::ENTRIES,
    cmd::exceptions::ENTRIES,
    cmd::filters::ENTRIES,
    cmd::analyze::ENTRIES,
    cmd::uniqstack::ENTRIES,
    cmd::find_stack::ENTRIES,
    cmd::heap::ENTRIES,
    cmd::locks::ENTRIES,
    cmd::tasks::ENTRIES,
    cmd::display::ENTRIES,
    cmd::display_text::ENTRIES,
    cmd::display_pointers::ENTRIES,
    cmd::enter::ENTRIES,
    cmd::assemble::ENTRIES,
    cmd::search::ENTRIES,
    cmd::memory_file::ENTRIES,
    cmd::memory_allocate::ENTRIES,
    cmd::hold_memory::ENTRIES,
    cmd::address::ENTRIES,
    cmd::image_headers::ENTRIES,
    cmd::images::ENTRIES,
    cmd::unassemble::ENTRIES,
    cmd::search_code::ENTRIES,
    cmd::symbols::ENTRIES,
    cmd::modules::ENTRIES,
    cmd::module_info::ENTRIES,
    cmd::demangle::ENTRIES,
    cmd::dies::ENTRIES,
    cmd::types::ENTRIES,
    cmd::locals::ENTRIES,
    cmd::evaluate::ENTRIES,
    cmd::dx::ENTRIES,
    cmd::dtx::ENTRIES,
    cmd::views::ENTRIES,
    cmd::paths::ENTRIES,
    cmd::symbol_options::ENTRIES,
    cmd::symbol_failures::ENTRIES,
    cmd::type_options::ENTRIES,
    cmd::source::ENTRIES,
    cmd::source_maps::ENTRIES,
    cmd::threads::ENTRIES,
    cmd::processes::ENTRIES,
    cmd::process_list::ENTRIES,
    cmd::sessions::ENTRIES,
    cmd::attach::ENTRIES,
    cmd::time::ENTRIES,
    cmd::runaway::ENTRIES,
    cmd::process_blocks::ENTRIES,
    cmd::thread_storage::ENTRIES,
    cmd::last_error::ENTRIES,
    cmd::servers::ENTRIES,
    cmd::control::ENTRIES,
    cmd::alias::ENTRIES,
    cmd::script_file::ENTRIES,
    cmd::printf::ENTRIES,
    cmd::push::ENTRIES,
    cmd::shell::ENTRIES,
    cmd::for_each::ENTRIES,
    cmd::json::ENTRIES,
    cmd::session::ENTRIES,
    cmd::prompt::ENTRIES,
    cmd::output_mask::ENTRIES,
    cmd::restrict::ENTRIES,
    cmd::extension::ENTRIES,
    cmd::help::ENTRIES,
];

/// What users of gdb type first, and what it is here.
const HINTS: &[(&str, &str)] = &[
    ("b", "the command to set a breakpoint is bp"),
    ("backtrace", "the command to show the stack is k"),
    ("break", "the command to set a breakpoint is bp"),
    ("bt", "the command to show the stack is k"),
    ("continue", "the command to run on is g"),
    ("delete", "the command to clear breakpoints is bc"),
    ("detach", "the command is .detach; qd lets go and quits"),
    ("disas", "the command to disassemble is u, for a whole function uf"),
    ("disassemble", "the command to disassemble is u, for a whole function uf"),
    ("down", "the command to go inwards a frame is .f-"),
    ("finish", "the command to run to the caller is gu"),
    ("frame", "the command to select a frame is .frame"),
    ("help", "the command is .help"),
    ("info", "see dv (locals), ~ (threads), r (registers), bl (breakpoints), lm (modules)"),
    ("kill", "the command is .kill"),
    ("list", "the command to list source lines is ls"),
    ("next", "the command to step over is p (by source line after l+t)"),
    ("ni", "the command to step over is p"),
    ("print", "the command to evaluate is ?? (C++) or ? (numbers)"),
    ("quit", "the command to quit is q"),
    ("run", "the command to run is g"),
    ("set", "memory is changed by ?? a = b or e*, registers by r name = value"),
    ("si", "the command to step into is t"),
    ("step", "the command to step into is t (by source line after l+t)"),
    ("thread", "the command to select a thread is ~Ns"),
    ("up", "the command to go outwards a frame is .f+"),
    ("watch", "the command for data breakpoints is ba w4 address"),
    ("where", "the command to show the stack is k"),
];

/// Commands to which a thread prefix means something of their own; others are run once for each thread.
const WITH_THREADS: &[&str] = &["g", "gu", "p", "pa", "pc", "pt", "pct", "ph", "bp", "ba", "k", "r"];
/// Commands that go on when they are repeated by an empty line.
const CONTINUING: &[&str] = &["d", "da", "dds", "dda", "u", "ls"];

/// Commands that decide themselves where they end in the text they stand in.
const CUTTING: &[&str] =
    &[".if", ".while", ".do", ".for", ".foreach", ".break", ".continue", ".block", ".catch", ".leave", "j", "z", "as"];

/// All commands that are carried out.
pub fn all() -> impl Iterator<Item = &'static CommandEntry> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The command of a name: as it is written, else in any case; a documented one that is not carried out is one, too.
pub(crate) fn find(name: &str) -> Option<&'static CommandEntry> {
    let by = |matches: &dyn Fn(&str) -> bool| all().find(|entry| entry.names.iter().any(|known| matches(known)));
    let exact = by(&|known| known == name);
    // Names that differ in case only are what they are written as, so only those without capitals match any case.
    let folded = || by(&|known| !known.contains(|c: char| c.is_ascii_uppercase()) && known.eq_ignore_ascii_case(name));
    exact.or_else(folded).or_else(|| unsupported::reason(name).map(|_| &unsupported::ENTRY))
}

/// Whether an entry stands for what is not carried out.
pub(crate) fn is_unsupported(entry: &CommandEntry) -> bool {
    entry.names.is_empty()
}

/// Why a documented command is not carried out.
pub(crate) fn reason_against(name: &str) -> Option<&'static str> {
    [name.to_owned(), format!(".{name}"), format!("!{name}")].iter().find_map(|name| unsupported::reason(name))
}

/// Whether a command takes the rest of the line, `;` included.
pub(crate) fn eats_line(found: &Recognised<'_>) -> bool {
    // `~N e` passes the rest of the line on.
    let for_each = found.name == "~" && {
        let (_, rest) = crate::language::ThreadSpec::parse(found.rest);
        rest.trim_start().strip_prefix(['e', 'E']).is_some_and(|rest| rest.starts_with(char::is_whitespace))
    };
    found.entry.eats_line || for_each
}

/// Whether a command decides itself where it ends.
pub(crate) fn cuts_itself(entry: &CommandEntry) -> bool {
    entry.names.first().is_some_and(|name| CUTTING.contains(name))
}

/// Whether a thread prefix is the command's own business.
pub(crate) fn takes_threads(entry: &CommandEntry) -> bool {
    entry.names.iter().any(|name| WITH_THREADS.contains(name))
}

/// Whether an empty line after it goes on where it ended.
pub(crate) fn continues(entry: &CommandEntry) -> bool {
    entry.names.first().is_some_and(|name| CONTINUING.contains(name))
}

/// A name as it is shown: extensions without their module.
pub(crate) fn display_name(name: &str) -> String {
    match name.strip_prefix('!').and_then(|extension| extension.rsplit_once('.')) {
        Some((_, bare)) => format!("!{bare}"),
        None => name.to_owned(),
    }
}

/// The complaint about a word that is no command, with what was perhaps meant.
pub(crate) fn unknown(word: &str) -> CommandError {
    let first = word.split_whitespace().next().unwrap_or(word);
    let hint = HINTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(first)).map_or("", |(_, hint)| hint);
    CommandError::Unknown { word: first.to_owned(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_described() {
        let names: Vec<&str> = all().flat_map(|entry| entry.names.iter().copied()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name} is there twice");
        }
        for entry in all() {
            assert!(!entry.names.is_empty() && !entry.summary.is_empty() && !entry.summary.ends_with('.'), "{entry:?}");
        }
    }

    #[test]
    fn lists_name_commands_that_exist() {
        for name in WITH_THREADS.iter().chain(CONTINUING).chain(CUTTING) {
            assert!(find(name).is_some_and(|entry| !is_unsupported(entry)), "{name}");
        }
    }
}
