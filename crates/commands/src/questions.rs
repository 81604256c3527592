//! Values that commands ask for: what is there now, then `Input>`, and the next line is the answer.

use outpost_base::{MemoryReader, Va};
use outpost_engine::disassembly::{Instruction, disassemble};
use outpost_engine::{EngineError, ThreadOrdinal};

use crate::cmd::{assemble, enter, registers};
use crate::language::Arguments;
use crate::text::symbols::EngineSymbols;
use crate::text::{line, threads};
use crate::{CommandError, Debugger, Output, OutputKind};

/// The prompt while an answer is awaited.
pub(crate) const PROMPT: &str = "Input> ";

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// The value of a thread's register; an empty line leaves it.
    Register { thread: ThreadOrdinal, name: String },
    /// What to write at an address, by the `e` command of this name, and so on behind it: a blank keeps what is there, an
    /// empty line ends.
    Memory { form: String, at: Va },
    /// The instruction to write at an address, and so on behind it: a blank keeps the one that is there, an empty line ends.
    /// After one that is none it is asked for again.
    Code { at: Va },
}

impl Debugger {
    /// Has a question put after the command; several are, one after the other.
    pub(crate) fn ask(&mut self, question: Question) {
        self.questions.push_back(question);
    }

    /// Whether the next line is an answer.
    pub(crate) fn is_asking(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Shows what is there now, where something is asked for.
    pub(crate) fn show_question(&mut self, out: &mut dyn Output) {
        let Some(question) = self.questions.front().cloned() else { return };
        match self.current_value(&question) {
            Ok(text) => out.write(OutputKind::Normal, &text),
            Err(error) => self.give_up(&error, out),
        }
    }

    /// Takes a line as the answer to the first question.
    pub(crate) fn take_answer(&mut self, line: &str, out: &mut dyn Output) {
        let Some(question) = self.questions.pop_front() else { return };
        let again = matches!(question, Question::Code { .. }).then(|| question.clone());
        match (self.answer(question, line), again) {
            (Ok(()), _) => {}
            (Err(error), Some(again)) if !matches!(error, CommandError::Engine(_)) => {
                out.write(OutputKind::Error, &format!("{}\n", error.message()));
                self.questions.push_front(again);
            }
            (Err(error), _) => self.give_up(&error, out),
        }
    }

    fn give_up(&mut self, error: &CommandError, out: &mut dyn Output) {
        self.forget_what_waits();
        out.write(OutputKind::Error, &format!("{}\n", error.message()));
    }

    fn current_value(&mut self, question: &Question) -> Result<String, CommandError> {
        let mut text = String::new();
        match question {
            Question::Register { thread, name } => {
                if self.engine.current_thread()? != *thread {
                    line!(text, "{}", threads::row(&self.engine.thread(*thread)?));
                }
                self.for_threads(&[*thread], |debugger, _| {
                    let value = debugger.engine.register(name)?;
                    line!(text, "{name}={}", crate::text::registers::single(debugger.engine.arch(), name, &value));
                    Ok(())
                })?;
            }
            Question::Code { at } => line!(text, "{}", self.instruction_at(*at)?.line()),
            Question::Memory { form, at } => {
                let mut bytes = vec![0; enter::size(form)];
                let is_whole = self.engine.memory()?.read(*at, &mut bytes) == bytes.len();
                line!(text, "{at}  {}", enter::item(form, is_whole.then_some(&bytes)));
            }
        }
        Ok(text)
    }

    fn answer(&mut self, question: Question, line: &str) -> Result<(), CommandError> {
        match question {
            Question::Register { .. } if line.trim().is_empty() => Ok(()),
            Question::Register { thread, name } => self.for_threads(&[thread], |debugger, _| {
                let mut arguments = Arguments::new("r", "r Register = Value", None, line);
                registers::set(&name, &mut arguments, debugger)?;
                arguments.finish()
            }),
            Question::Memory { .. } | Question::Code { .. } if line.is_empty() => Ok(()),
            Question::Code { at } => {
                let end = match line.trim() {
                    "" => self.instruction_at(at)?.end(),
                    instruction => {
                        let code = assemble::code_of(at, instruction, self)?;
                        enter::write(at, &code, self)?;
                        at + code.len() as u64
                    }
                };
                self.questions.push_front(Question::Code { at: end });
                Ok(())
            }
            Question::Memory { form, at } => {
                let mut arguments = Arguments::new(&form, enter::SYNTAX, None, line);
                let bytes = enter::values(&mut arguments, self)?;
                enter::write(at, &bytes, self)?;
                let len = if bytes.is_empty() { enter::size(&form) } else { bytes.len() };
                // What follows is asked for before anything else that waits.
                self.questions.push_front(Question::Memory { form, at: at + len as u64 });
                Ok(())
            }
        }
    }

    fn instruction_at(&mut self, at: Va) -> Result<Instruction, CommandError> {
        let arch = self.engine.arch();
        let mut memory = self.engine.memory()?;
        let instructions = disassemble(arch, &mut memory, &mut EngineSymbols(&mut self.engine), at, 1, false);
        instructions.into_iter().next().ok_or(EngineError::Unreadable { at }.into())
    }
}
