//! The command language of the debugger: lines of text in, text out, typed data in between.
//!
//! Given an [`Engine`](outpost_engine::Engine), a [`Debugger`] carries out command lines. Every command is three
//! pieces ([`Command`]): a struct parsed from text, a run that gives data, a rendering of the data as text; front ends
//! with their own way of showing things call the one in the middle. The [`registry`] is the one source of names,
//! syntax and help, from which `.help`, completion and the reference in `docs/commands.md` come.
//!
//! Where text goes is an [`Output`]; where lines come from, who else listens and what a terminal does is left to the
//! crates above. Resuming commands return at once: the caller waits for the engine's events and hands them to
//! [`Debugger::event`], which shows stops and goes on with the rest of the line.

pub mod cmd;
mod command;
mod completion;
mod debugger;
mod error;
pub mod fuzz;
mod json;
mod language;
mod log;
mod nested;
mod output;
mod questions;
pub mod reference;
pub mod registry;
mod script;
mod settings;
mod text;

pub use command::{Command, CommandEntry, Group, Handler};
pub use completion::Completion;
pub use debugger::{Connector, Debugger, Ending, Progress, ServerList};
pub use error::CommandError;
pub use json::Json;
pub use language::Arguments;
pub use output::{CommandResult, Output, OutputKind};
pub use settings::Settings;
