//! Documented commands that are not carried out: each answers one line with the reason.

use crate::command::{CommandEntry, Group};
use crate::language::Arguments;
use crate::{CommandError, Debugger, Output, registry};

const LATER: &str = "not implemented yet";
const WINDOWS: &str = "it is about Windows";
const KERNEL: &str = "it needs a kernel target";
const PHYSICAL: &str = "ports and physical hardware need a kernel target";
const TRAVEL: &str = "time travel needs a recording, which is not implemented yet";
const EXTENSIONS: &str = "all extensions are built in and none are loaded from files; .extmatch lists their commands";
const ONE_FORM: &str = "instructions are shown in one form, with their bytes";
const BRANCHES: &str = "the processor is not asked to stop at branches; th steps to the next one";
const MARKUP: &str = "output has no markup";
const CACHE: &str = "memory is cached for the length of a stop, by itself";
const SUFFIX: &str = "symbols of Linux have no suffixes for ANSI and Unicode";
const STARTUP: &str = "settings are commands in cdb.ini, which are carried out at each start";
const SCRIPTS: &str = "views (NatVis) have nothing that runs, and there are no scripts of other languages; $$>a< carries out files of \
                       commands";
const TOGETHER: &str = "all threads stop at every event anyway";
const UNICODE: &str = "texts are shown by their types, char as UTF-8";
const DEBUG_REGISTERS: &str =
    "a context of Linux has no debug registers; ba sets them for all threads, also for new ones";
const GRAPHICAL: &str = "it is for the graphical debugger";

/// Names by the reason against them.
const REASONS: &[(&str, &[&str])] = &[
    (
        LATER,
        &[
            ".clients",
            ".dump",
            ".endsrv",
            ".ignore_missing_pages",
            ".opendump",
            ".remote_exit",
            ".send_file",
            ".server",
            "!corephdrs",
            "!dumpdebug",
            "!ntfile",
            "!ntprpsinfo",
            "!ntprstatus",
        ],
    ),
    (
        WINDOWS,
        &[
            "ah",
            ".allow_image_mapping",
            ".closehandle",
            ".copysym",
            ".cordll",
            ".dbgdbg",
            ".dumpcab",
            ".enumtag",
            ".event_code",
            ".exdicmd",
            ".exptr",
            ".fiber",
            ".fiximports",
            ".force_tb",
            ".fpo",
            ".hideinjectedcode",
            ".jdinfo",
            ".locale",
            ".netuse",
            ".ocommand",
            ".ofilter",
            ".pagein",
            ".record_branches",
            ".rrestart",
            ".urestart",
            ".wake",
            ".breakin",
        ],
    ),
    (
        KERNEL,
        &[
            "rdmsr",
            "so",
            "sq",
            "wrmsr",
            ".bugcheck",
            ".context",
            ".crash",
            ".kdfiles",
            ".kdtargetmac",
            ".process",
            ".reboot",
            ".thread",
            ".trap",
            "!dev",
            "!files",
            "!kdumpdescs",
            "!kdumppagerange",
            "!kdumppfn",
            "!log",
            "!mount",
            "!net",
            "!process",
            "!pte",
            "!running",
            "!runq",
            "!thread",
            "!timer",
            "!vm",
            "!vmcoreinfo",
            "!vtop",
        ],
    ),
    (PHYSICAL, &["ib", "id", "iw", "ob", "od", "ow", "up", "ur", "ux", "dg", ".tss"]),
    (EXTENSIONS, &[".extpath", ".load", ".loadby", ".setdll", ".unload"]),
    (ONE_FORM, &[".asm"]),
    (BRANCHES, &["tb"]),
    (MARKUP, &[".dml_flow", ".prefer_dml"]),
    (CACHE, &[".cache"]),
    (SUFFIX, &["ss"]),
    (STARTUP, &[".settings"]),
    (SCRIPTS, &[".scriptrun"]),
    (TOGETHER, &[".bpsync"]),
    (UNICODE, &[".enable_unicode"]),
    (DEBUG_REGISTERS, &[".apply_dbp"]),
    (TRAVEL, &["!tt", "g-", "p-", "t-"]),
    (
        GRAPHICAL,
        &[
            ".beep",
            ".browse",
            ".cls",
            ".flash_on_break",
            ".hh",
            ".lsrcfix",
            ".open",
            ".scroll_prefs",
            ".sound_notify",
            ".suspend_ui",
            ".write_cmd_hist",
            ".wtitle",
        ],
    ),
];

/// Stands for all of them in the registry's answers; its names are never listed.
pub(crate) const ENTRY: CommandEntry = CommandEntry {
    names: &[],
    syntax: "",
    summary: "",
    details: "",
    example: "",
    group: Group::Session,
    eats_line: true,
    run: refuse,
};

/// Why a documented command is not carried out; `None` for names that are not documented.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    let exact = |known: &&str| *known == name;
    let folded = |known: &&str| known.eq_ignore_ascii_case(name);
    let by = |matches: &dyn Fn(&&str) -> bool| {
        REASONS.iter().find(|(_, names)| names.iter().any(matches)).map(|(reason, _)| *reason)
    };
    by(&exact).or_else(|| by(&folded))
}

fn refuse(arguments: &mut Arguments<'_>, _: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let reason = reason(arguments.name).unwrap_or(LATER);
    Err(CommandError::unsupported(registry::display_name(arguments.name), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_supported_and_not() {
        for name in REASONS.iter().flat_map(|(_, names)| names.iter()) {
            let real = registry::all().any(|entry| entry.names.contains(name));
            assert!(!real, "{name} is in the registry and in the list of what is not supported");
        }
    }
}
