//! Colours (ECMA-48, SGR): errors red, warnings yellow, the prompt green.

use outpost_session::OutputKind;

/// Whether there are colours at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    On,
    Off,
}

impl Colours {
    /// On at a terminal, unless the environment forbids (`NO_COLOR`, <https://no-color.org>) or it is a dumb one.
    pub(crate) fn of_environment(is_terminal: bool) -> Colours {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if is_terminal && !forbidden && !dumb { Colours::On } else { Colours::Off }
    }

    /// `text` as that kind looks. Line ends stay outside, so that a colour never runs into what comes next.
    pub(crate) fn paint(self, kind: OutputKind, text: &str) -> String {
        let code = match kind {
            OutputKind::Error => "31",
            OutputKind::Warning => "33",
            OutputKind::Verbose => "2",
            // What the debuggee writes is for a terminal as it is: a colour could fall into a sequence of its own.
            OutputKind::Stop | OutputKind::Normal | OutputKind::Debuggee => return text.to_owned(),
        };
        self.wrap(code, text)
    }

    /// The prompt.
    pub(crate) fn prompt(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self == Colours::Off {
            return text.to_owned();
        }
        let painted = text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
            Some("") => "\n".to_owned(),
            Some(line) => format!("\x1b[{code}m{line}\x1b[0m\n"),
            None => format!("\x1b[{code}m{line}\x1b[0m"),
        });
        painted.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_end_with_their_line() {
        assert_eq!(Colours::On.paint(OutputKind::Error, "a\n\nb"), "\x1b[31ma\x1b[0m\n\n\x1b[31mb\x1b[0m");
        assert_eq!(Colours::On.paint(OutputKind::Normal, "a"), "a");
        assert_eq!(Colours::Off.paint(OutputKind::Error, "a\n"), "a\n");
    }
}
