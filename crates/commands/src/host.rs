//! What the command language needs of the program it is in.

use outpost_engine::{Engine, SystemOrdinal};

use crate::CommandError;

/// Reaches what the engine must not name: servers, dump files, this program's own facts.
pub trait Host {
    /// Connects to a process server and adds its system. `transport` is as after `-premote`; `None` is this machine.
    ///
    /// # Errors
    /// [`CommandError::Host`] in the user's words.
    fn connect(&mut self, engine: &mut Engine, transport: Option<&str>) -> Result<SystemOrdinal, CommandError>;

    /// Opens a dump file and adds its system. What is damaged but usable comes back as lines for the user.
    ///
    /// # Errors
    /// [`CommandError::Host`].
    fn open_dump(&mut self, engine: &mut Engine, path: &str) -> Result<(SystemOrdinal, Vec<String>), CommandError>;

    /// Name and release of this program, for `version`.
    fn version(&self) -> String;

    /// How this program was started, for `vercommand`.
    fn command_line(&self) -> String;
}
