//! Where answers go.

use serde_json::Value;

/// What a piece of output is, for colours and for those who want only some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// The answer of a command.
    Normal,
    /// Why a command failed.
    Error,
    /// Something that the user should know although nothing failed.
    Warning,
    /// A stop and what belongs to it: event line, registers, current instruction.
    Stop,
    /// What the debuggee wrote.
    Debuggee,
    /// What symbol loading tells under `!sym noisy`, and the like.
    Verbose,
}

/// Takes output in order, in whole or partial lines.
pub trait Output {
    /// Takes `text`.
    fn write(&mut self, kind: OutputKind, text: &str);

    /// Takes the result of a command. It is its text unless this takes something else of it.
    fn result(&mut self, result: &dyn CommandResult) {
        let text = result.text();
        if !text.is_empty() {
            self.write(OutputKind::Normal, &text);
        }
    }

    /// Something comes next that may take long: what was taken is to be seen before it.
    fn flush(&mut self) {}
}

/// What a command gives, before it is known as what it is wanted.
pub trait CommandResult {
    /// The text for a console, in whole lines.
    fn text(&self) -> String;

    /// The data, as [`Json`](crate::Json) has them.
    fn json(&self) -> Value;
}

/// Output collected as text, whatever its kind.
impl Output for String {
    fn write(&mut self, _: OutputKind, text: &str) {
        self.push_str(text);
    }
}
