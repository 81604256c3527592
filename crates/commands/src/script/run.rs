//! Carries out frames, one command or round after the other.

use std::rc::Rc;

use outpost_engine::{EngineError, EngineState};

use super::{DEPTH_LIMIT, Errors, Frame, Hits, Loop, LoopKind, alias};
use crate::debugger::Progress;
use crate::language::{Arguments, cut_command, recognise};
use crate::nested::resumes;
use crate::{CommandError, Debugger, Output, OutputKind, registry};

impl Debugger {
    /// Carries out what is under way until something resumes the debuggee, asks for a value or ends the session.
    pub(crate) fn run_frames(&mut self, out: &mut dyn Output) -> Progress {
        while self.progress() == Progress::Prompt && !self.waits_for_answer() {
            if let Some(stop) = self.script.take_due() {
                self.show_stop(&stop, out);
            }
            let done = match self.script.frames.len() > DEPTH_LIMIT {
                true => Err(CommandError::invalid("commands are nested too deep")),
                false => self.run_one(out),
            };
            match done {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.failed(error, out),
            }
        }
        if self.waits_for_answer() {
            self.show_question(out);
        }
        if self.progress() != Progress::Prompt {
            self.script.take_held();
        }
        self.progress()
    }

    /// Whether whoever types has to answer before anything goes on; a file of lines answers by its next.
    fn waits_for_answer(&self) -> bool {
        let answers = matches!(self.script.frames.last(), Some(Frame::Lines(lines)) if !lines.is_empty());
        self.is_asking() && self.script.nested.is_none() && !answers
    }

    /// Carries out commands that another command runs, apart from what is under way; commands that resume are refused with
    /// `refusal`. A failure is shown and does not keep the following ones from it.
    ///
    /// Gives `false` if nothing may follow: the debuggee runs or the session is over all the same.
    pub(crate) fn run_nested(&mut self, commands: &str, refusal: &str, out: &mut dyn Output) -> bool {
        self.run_apart(commands, refusal, Errors::Show, out);
        self.progress() == Progress::Prompt
    }

    /// What commands write, collected.
    ///
    /// # Errors
    /// That of the first command that fails.
    pub(crate) fn capture_all(&mut self, commands: &str, refusal: &str) -> Result<String, CommandError> {
        let mut text = String::new();
        self.run_all(commands, refusal, &mut text)?;
        Ok(text)
    }

    /// Runs commands that another command runs, as [`Debugger::run_nested`], up to the first that fails.
    ///
    /// # Errors
    /// Of that one.
    pub(crate) fn run_all(&mut self, commands: &str, refusal: &str, out: &mut dyn Output) -> Result<(), CommandError> {
        match self.run_apart(commands, refusal, Errors::Keep(None), out) {
            Errors::Keep(Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn run_apart(&mut self, commands: &str, refusal: &str, errors: Errors, out: &mut dyn Output) -> Errors {
        let frames = std::mem::replace(&mut self.script.frames, vec![Frame::text(commands)]);
        let nested = self.script.nested.replace((refusal.to_owned(), errors));
        self.run_frames(out);
        self.script.frames = frames;
        let own = std::mem::replace(&mut self.script.nested, nested);
        own.map_or(Errors::Show, |(_, errors)| errors)
    }

    /// A text as a frame: a line that was typed, or a block that is entered.
    ///
    /// # Errors
    /// If its aliases make it too long.
    pub(crate) fn block(&self, text: &str) -> Result<Frame, CommandError> {
        let expanded = self.aliases.expand(text, &self.automatic_aliases(text));
        expanded
            .map(|text| Frame::text(&text))
            .ok_or_else(|| CommandError::invalid("its aliases make the text too long"))
    }

    /// Whether a condition holds: what the default evaluator gives is not zero.
    ///
    /// # Errors
    /// [`CommandError::Expr`]; [`CommandError::Usage`] for what follows the expression.
    pub(crate) fn condition(&mut self, text: &str) -> Result<bool, CommandError> {
        let mut arguments = Arguments::new("condition", "(Expression)", None, text);
        let value = arguments.number(self)?;
        arguments.finish()?;
        Ok(value != 0)
    }

    /// The next command or round; `false`: nothing is left.
    fn run_one(&mut self, out: &mut dyn Output) -> Result<bool, CommandError> {
        match self.script.frames.pop() {
            None => return Ok(false),
            Some(Frame::Catch) => {}
            Some(Frame::Lines(mut lines)) => {
                if let Some(line) = lines.pop_front() {
                    if self.is_asking() {
                        self.script.frames.push(Frame::Lines(lines));
                        self.show_question(out);
                        out.write(OutputKind::Normal, &format!("{}{line}\n", self.prompt()));
                        self.take_answer(&line, out);
                        return Ok(true);
                    }
                    out.write(OutputKind::Normal, &format!("{}{line}\n", self.prompt()));
                    let block = self.block(&line)?;
                    self.script.frames.extend([Frame::Lines(lines), block]);
                }
            }
            Some(Frame::Loop(looping)) => self.go_round(looping)?,
            Some(Frame::Hits(hits)) => self.next_hit(hits)?,
            Some(Frame::GoOn) => {
                self.engine.go_on()?;
                self.awaits_event |= self.engine.state() == EngineState::Running;
            }
            Some(Frame::Text { text, at }) => {
                let rest = text[at..].trim_start_matches(|c: char| c == ';' || c.is_whitespace());
                if !rest.is_empty() {
                    let from = text.len() - rest.len();
                    self.run_command(text, from, out)?;
                }
            }
        }
        Ok(true)
    }

    /// The command that stands in a text at `from`.
    fn run_command(&mut self, text: Rc<str>, from: usize, out: &mut dyn Output) -> Result<(), CommandError> {
        out.flush();
        let rest = &text[from..];
        let found = recognise(rest).map_err(registry::unknown)?;
        if registry::cuts_itself(found.entry) {
            // It decides what of the text is its own, and may ask for the text again.
            self.script.frames.push(Frame::Text { text: text.clone(), at: from });
            let mut arguments = Arguments::new(found.name, found.entry.syntax, None, found.rest);
            self.script.deed = None;
            self.carry_out(found.entry, &mut arguments, out)?;
            let after = text.len() - arguments.unread().len();
            return match self.script.deed.take() {
                Some(deed) => self.script.carry_out(deed, after),
                None => {
                    self.script.go_on_at(after);
                    Ok(())
                }
            };
        }
        let (command, after) = match registry::eats_line(&found) {
            true => rest.split_once('\n').unwrap_or((rest, "")),
            false => cut_command(rest),
        };
        if !after.trim().is_empty() {
            let at = text.len() - after.len();
            self.script.frames.push(Frame::Text { text: text.clone(), at });
        }
        if resumes(command) {
            if let Some((refusal, _)) = &self.script.nested {
                return Err(CommandError::invalid(refusal));
            }
            if self.script.postpones(command) {
                return Ok(());
            }
        }
        self.one_command(command, out)
    }

    /// The commands of the next breakpoint of several, or what they have come to.
    fn next_hit(&mut self, mut hits: Hits) -> Result<(), CommandError> {
        hits.stays |= std::mem::take(&mut hits.is_open);
        match hits.rest.pop_front() {
            Some(commands) => {
                let block = self.block(&commands)?;
                hits.is_open = true;
                self.script.frames.extend([Frame::Hits(hits), block]);
            }
            None if hits.stays => {}
            None => self.script.frames.extend(hits.resume.map(|command| Frame::text(&command))),
        }
        Ok(())
    }

    /// The next round of a loop, or its end.
    fn go_round(&mut self, looping: Loop) -> Result<(), CommandError> {
        self.engine.check_interrupt()?;
        self.script.count_round()?;
        let Loop { kind, body } = looping;
        let (kind, next) = match kind {
            LoopKind::For { condition, increment, is_next: true } => {
                let block = self.block(&increment)?;
                (LoopKind::For { condition, increment, is_next: false }, block)
            }
            LoopKind::For { condition, increment, is_next: false } => {
                if !self.condition(&condition)? {
                    return Ok(());
                }
                (LoopKind::For { condition, increment, is_next: true }, self.block(&body)?)
            }
            LoopKind::While { condition } => {
                if !self.condition(&condition)? {
                    return Ok(());
                }
                (LoopKind::While { condition }, self.block(&body)?)
            }
            LoopKind::ForEach { variable, mut tokens, skipped } => {
                let Some(token) = tokens.pop_front() else { return Ok(()) };
                tokens.drain(..skipped.min(tokens.len()));
                let round = alias::substitute(&body, &variable, &token);
                let round = round.ok_or_else(|| CommandError::invalid("a round of the loop becomes too long"))?;
                (LoopKind::ForEach { variable, tokens, skipped }, self.block(&round)?)
            }
        };
        self.script.frames.extend([Frame::Loop(Loop { kind, body }), next]);
        Ok(())
    }

    /// A command failed: what stands behind it was meant for after it, up to the end of a `.catch`.
    fn failed(&mut self, error: CommandError, out: &mut dyn Output) {
        let is_cancelled = matches!(error, CommandError::Engine(EngineError::Cancelled));
        let catch = self.script.frames.iter().rposition(|frame| matches!(frame, Frame::Catch));
        match (catch.filter(|_| !is_cancelled), &mut self.script.nested) {
            (Some(at), _) => self.script.frames.truncate(at),
            (None, Some((_, Errors::Show))) if !is_cancelled => {}
            (None, Some((_, Errors::Keep(kept)))) => {
                self.script.frames.clear();
                self.questions.clear();
                *kept = Some(error);
                return;
            }
            (None, _) => self.forget_what_waits(),
        }
        out.write(OutputKind::Error, &format!("{}\n", error.message()));
    }
}
