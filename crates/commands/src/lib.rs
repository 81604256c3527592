//! The command language: text in, a typed command, its typed result, text out.
//!
//! Given an [`Engine`](outpost_engine::Engine) and a line, [`Interpreter`] carries it out and writes what is to be read to an
//! [`Output`]. Each command is one module of `cmd`: a struct that is parsed from text, a handler that returns data, a
//! renderer. Handlers never format, renderers never look anything up; so another front end takes the data and leaves the
//! text. What a command is called and how it explains itself is its [`CommandInfo`], the one source of `.help`, of
//! completion and of `docs/commands.md`.
//!
//! Terminals, files to read commands from and connections are for the crates above: what a command needs of those it
//! asks of a [`Host`].

mod arguments;
mod cmd;
mod command;
mod completion;
mod context;
mod error;
mod host;
mod interpreter;
mod line;
mod log;
mod output;
mod prompt;
mod registry;
mod settings;
mod stop_display;

pub use command::{CommandInfo, Group, Needs};
pub use completion::Completion;
pub use error::CommandError;
pub use host::Host;
pub use interpreter::{Ended, Interpreter};
pub use output::{Output, OutputKind};
pub use registry::{infos, reference};
pub use settings::Settings;
