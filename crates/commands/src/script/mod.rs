//! Texts of commands being carried out: lines, blocks, loops, and what of them waits for the next stop.
//!
//! What is under way is a stack of [`Frame`]s, the innermost last. A command that resumes the debuggee leaves them as they
//! are, and the stop goes on with them: a loop may step and look as often as it likes.

pub(crate) mod alias;
mod automatic;
pub(crate) mod blocks;
mod run;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;

use outpost_engine::Stop;

use crate::CommandError;

/// How deep blocks, loops and command strings of breakpoints may nest.
pub(crate) const DEPTH_LIMIT: usize = 64;

/// One text, loop or boundary under way.
#[derive(Debug)]
pub(crate) enum Frame {
    /// Commands; those before `at` are done.
    Text { text: Rc<str>, at: usize },
    /// Lines of a file that are carried out as if they were typed.
    Lines(VecDeque<String>),
    /// A loop, between two of its rounds while it is the innermost.
    Loop(Loop),
    /// An error within ends here.
    Catch,
    /// Commands of several breakpoints that one stop is for.
    Hits(Hits),
    /// The stop was for commands alone, and these are done.
    GoOn,
}

/// Each breakpoint has its say: the debuggee is resumed if all of them would, and stays if one does not.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// The commands that are still to come.
    pub(crate) rest: VecDeque<String>,
    /// How those that would resume wanted to, the first of them.
    resume: Option<String>,
    /// Commands are under way that did not resume so far.
    is_open: bool,
    /// Some came to their end without resuming.
    stays: bool,
}

/// A loop with what comes next in it.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) kind: LoopKind,
    pub(crate) body: Rc<str>,
}

/// What makes a loop go round.
#[derive(Debug)]
pub(crate) enum LoopKind {
    /// `.while`, and `.do` after its first round.
    While { condition: Rc<str> },
    /// `.for`; `is_next`: a round is over, and the increment comes before the condition.
    For { condition: Rc<str>, increment: Rc<str>, is_next: bool },
    /// `.foreach`: the name, what it stands for in the rounds to come, and how many of those are left out after each.
    ForEach { variable: Rc<str>, tokens: VecDeque<String>, skipped: usize },
}

/// What a control token does to the frames, once it is known where it ends.
#[derive(Debug)]
pub(crate) enum Deed {
    /// These come next, the last first.
    Enter(Vec<Frame>),
    /// `.break`.
    Break,
    /// `.continue`.
    Continue,
    /// `.leave`.
    Leave,
    /// `z`: the text it stands in begins again.
    Again,
}

/// What becomes of an error in commands that other commands run.
#[derive(Debug)]
enum Errors {
    /// It is shown, and the next command comes.
    Show,
    /// It ends them all and is the error of the command that runs them.
    Keep(Option<CommandError>),
}

/// The state of what is carried out.
#[derive(Debug, Default)]
pub(crate) struct Script {
    frames: Vec<Frame>,
    deed: Option<Deed>,
    /// Set while commands run that may not resume: why, and what happens to their errors.
    nested: Option<(String, Errors)>,
    /// A stop for breakpoints whose commands may resume, and how many frames are below these. It is shown once they are
    /// done without.
    held: Option<(Box<Stop>, usize)>,
    /// Rounds that loops may still make; `None`: any number.
    rounds_left: Option<u64>,
}

impl Frame {
    /// Commands, from the first on.
    pub(crate) fn text(text: &str) -> Frame {
        Frame::Text { text: text.into(), at: 0 }
    }
}

impl Script {
    /// Puts commands before everything that is under way.
    pub(crate) fn push(&mut self, text: &str) {
        self.frames.push(Frame::text(text));
    }

    /// Puts a frame before everything that is under way.
    pub(crate) fn enter(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Puts the commands of the breakpoints that a stop is for before everything that is under way.
    pub(crate) fn push_hits(&mut self, commands: Vec<String>) {
        match &commands[..] {
            [] => {}
            [one] => self.push(one),
            _ => self.frames.push(Frame::Hits(Hits { rest: commands.into(), ..Hits::default() })),
        }
    }

    /// Keeps a stop to be shown when the frames that come now are done.
    pub(crate) fn hold(&mut self, stop: Stop) {
        self.held = Some((Box::new(stop), self.frames.len()));
    }

    /// The stop that is held, whatever is under way. Another one comes after it.
    pub(crate) fn take_held(&mut self) -> Option<Box<Stop>> {
        self.held.take().map(|(stop, _)| stop)
    }

    /// The stop that is held, if the commands that it waits for are done.
    fn take_due(&mut self) -> Option<Box<Stop>> {
        let is_due = self.nested.is_none() && self.held.as_ref().is_some_and(|(_, below)| self.frames.len() <= *below);
        if is_due { self.take_held() } else { None }
    }

    /// A command of one breakpoint of several would resume: whether that has to wait for what the others say.
    fn postpones(&mut self, command: &str) -> bool {
        let at = self.frames.iter().rposition(|frame| matches!(frame, Frame::Hits(_)));
        let Some(at) = at else { return false };
        self.frames.truncate(at + 1);
        if let Some(Frame::Hits(hits)) = self.frames.last_mut() {
            hits.resume.get_or_insert_with(|| command.to_owned());
            hits.is_open = false;
        }
        true
    }

    /// Forgets everything that is under way.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    /// A control token was read; what it does is done when the text behind it is known.
    pub(crate) fn then(&mut self, deed: Deed) {
        self.deed = Some(deed);
    }

    /// Whether a loop is under way.
    pub(crate) fn has_loop(&self) -> bool {
        self.frames.iter().any(|frame| matches!(frame, Frame::Loop(_)))
    }

    /// Ends loops that go round more often than this in all: for whoever carries out commands that nobody wrote.
    pub(crate) fn limit_rounds(&mut self, rounds: u64) {
        self.rounds_left = Some(rounds);
    }

    /// Counts a round of a loop.
    ///
    /// # Errors
    /// If there were more than [`Script::limit_rounds`] allows.
    pub(crate) fn count_round(&mut self) -> Result<(), CommandError> {
        match &mut self.rounds_left {
            Some(0) => Err(CommandError::invalid("the loops go round too often")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Does what the last control token asked for. `rest` is where the text it stands in goes on.
    fn carry_out(&mut self, deed: Deed, rest: usize) -> Result<(), CommandError> {
        let is_loop = |frame: &Frame| matches!(frame, Frame::Loop(_));
        let is_catch = |frame: &Frame| matches!(frame, Frame::Catch);
        let innermost = |frames: &[Frame], wanted: &dyn Fn(&Frame) -> bool| frames.iter().rposition(wanted);
        match deed {
            Deed::Enter(frames) => {
                self.go_on_at(rest);
                self.frames.extend(frames);
            }
            Deed::Again => self.go_on_at(0),
            Deed::Break => match innermost(&self.frames, &is_loop) {
                Some(at) => self.frames.truncate(at),
                None => return Err(CommandError::invalid(".break stands in no loop")),
            },
            Deed::Continue => match innermost(&self.frames, &is_loop) {
                Some(at) => self.frames.truncate(at + 1),
                None => return Err(CommandError::invalid(".continue stands in no loop")),
            },
            Deed::Leave => match innermost(&self.frames, &is_catch) {
                Some(at) => self.frames.truncate(at),
                None => return Err(CommandError::invalid(".leave stands in no .catch")),
            },
        }
        Ok(())
    }

    /// The innermost text goes on at `rest`; one that is done is forgotten.
    fn go_on_at(&mut self, rest: usize) {
        if let Some(Frame::Text { text, at }) = self.frames.last_mut() {
            *at = rest;
            if text[rest..].trim().is_empty() {
                self.frames.pop();
            }
        }
    }
}
