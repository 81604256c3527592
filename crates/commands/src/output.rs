//! Where text goes.

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

    /// Something comes next that may take long: what was taken is to be seen before it.
    fn flush(&mut self) {}
}

/// Output collected as text, whatever its kind.
impl Output for String {
    fn write(&mut self, _: OutputKind, text: &str) {
        self.push_str(text);
    }
}
