//! `.chain`, `.extmatch`, `!version`, `.effmach`: what extensions and machines are, where there is one of each.

use outpost_engine::values::Wildcard;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger, registry};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".chain"],
        syntax: ".chain",
        summary: "List the extensions",
        details: "All are built in, and none are loaded from files; .extmatch lists their commands.",
        example: ".chain",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Chain>,
    },
    CommandEntry {
        names: &[".extmatch"],
        syntax: ".extmatch [/D] [/e Extension] Pattern",
        summary: "List the extension commands of a pattern",
        details: "Their names begin with !, which the pattern leaves out; * stands for all. /D is taken and changes nothing; the \
                  one extension is called outpost.",
        example: ".extmatch *heap*",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<MatchExtensions>,
    },
    CommandEntry {
        names: &["!version"],
        syntax: "!version",
        summary: "Show the version of the extensions",
        details: "It is the debugger's, since all are built in. version shows that of the target, too.",
        example: "!version",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<ExtensionVersion>,
    },
    CommandEntry {
        names: &[".effmach"],
        syntax: ".effmach [.|x64|amd64]",
        summary: "Show the processor that code and registers are shown for",
        details: "Processes here run x86-64 code only, so there is nothing else to choose.",
        example: ".effmach",
        group: Group::State,
        eats_line: false,
        run: carry_out::<EffectiveMachine>,
    },
];

/// What the one extension is called.
const EXTENSION: &str = "outpost";

/// The names of all extension commands, without their sign.
fn extension_commands() -> Vec<&'static str> {
    let mut names: Vec<&str> = registry::all()
        .flat_map(|entry| entry.names)
        .filter_map(|name| name.strip_prefix('!'))
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names
}

/// `.chain`.
#[derive(Debug, Clone, Copy)]
pub struct Chain;

/// The extension: name, version, how many commands it has.
#[derive(Debug, Clone)]
pub struct ShownExtension {
    /// How many commands it has.
    pub commands: usize,
}

impl Json for ShownExtension {
    fn json(&self) -> Value {
        json!([{ "name": EXTENSION, "version": env!("CARGO_PKG_VERSION"), "commands": self.commands }])
    }
}

impl Command for Chain {
    type Data = ShownExtension;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Chain, CommandError> {
        Ok(Chain)
    }

    fn run(self, _: &mut Debugger) -> Result<ShownExtension, CommandError> {
        Ok(ShownExtension { commands: extension_commands().len() })
    }

    fn render(data: &ShownExtension, text: &mut String) {
        line!(text, "Extension chain:");
        line!(text, "    {EXTENSION}: built in, version {}, 0n{} commands", env!("CARGO_PKG_VERSION"), data.commands);
    }
}

/// `.extmatch`.
#[derive(Debug, Clone)]
pub struct MatchExtensions {
    pattern: String,
    extension: Option<String>,
}

impl Command for MatchExtensions {
    type Data = Vec<String>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<MatchExtensions, CommandError> {
        let mut extension = None;
        while let Some(option) = arguments.take_option() {
            match option {
                "D" => {}
                "e" => {
                    let name = arguments.word().ok_or_else(|| arguments.usage("/e needs an extension"))?;
                    extension = Some(name.to_owned());
                }
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let pattern = arguments.word().ok_or_else(|| arguments.usage("the pattern is missing"))?;
        Ok(MatchExtensions { pattern: pattern.trim_start_matches('!').to_owned(), extension })
    }

    fn run(self, _: &mut Debugger) -> Result<Vec<String>, CommandError> {
        let extension = self.extension.as_deref().map(Wildcard::new);
        if extension.is_some_and(|extension| !extension.matches(EXTENSION)) {
            return Ok(Vec::new());
        }
        let pattern = Wildcard::new(&self.pattern);
        let found = extension_commands().into_iter().filter(|name| pattern.matches(name));
        Ok(found.map(|name| format!("!{EXTENSION}.{name}")).collect())
    }

    fn render(data: &Vec<String>, text: &mut String) {
        data.iter().for_each(|name| line!(text, "{name}"));
    }
}

/// `!version`.
#[derive(Debug, Clone, Copy)]
pub struct ExtensionVersion;

impl Command for ExtensionVersion {
    type Data = String;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ExtensionVersion, CommandError> {
        Ok(ExtensionVersion)
    }

    fn run(self, _: &mut Debugger) -> Result<String, CommandError> {
        Ok(format!("{EXTENSION} {}, built in", env!("CARGO_PKG_VERSION")))
    }

    fn render(data: &String, text: &mut String) {
        line!(text, "{data}");
    }
}

/// `.effmach`.
#[derive(Debug, Clone, Copy)]
pub struct EffectiveMachine;

impl Command for EffectiveMachine {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<EffectiveMachine, CommandError> {
        match arguments.word() {
            None | Some("." | "#" | "x64" | "amd64") => Ok(EffectiveMachine),
            Some(other) => {
                Err(CommandError::invalid(format!("processes here run x86-64 code only, so there is no '{other}'")))
            }
        }
    }

    fn run(self, _: &mut Debugger) -> Result<String, CommandError> {
        Ok("x64".to_owned())
    }

    fn render(_: &String, text: &mut String) {
        line!(text, "Effective machine: x64 (AMD64)");
    }
}
