//! Where text goes, and where answers to questions come from.

/// What a piece of text is, so that a front end can colour or sort it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// A command's result.
    Normal,
    /// A command that failed.
    Error,
    /// Something the user should know.
    Warning,
    /// What the debuggee wrote.
    Debuggee,
    /// Where symbols were looked for (`!sym noisy`).
    Symbols,
}

/// The reader of everything an interpreter has to say. One ordered stream.
pub trait Output {
    /// Takes text; lines end with `\n`, and a piece may hold several or a part of one.
    fn write(&mut self, kind: OutputKind, text: &str);

    /// Asks for a line (`Input>`); `None` if nobody can answer.
    fn ask(&mut self, prompt: &str) -> Option<String>;

    /// Long work has got this far; `None` when it is over. Only a terminal shows it.
    fn progress(&mut self, _what: &str, _done: Option<(u64, u64)>) {}
}
