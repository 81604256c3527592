//! The terminal of a created process: whoever sits at the debugger types into it while the process runs.

use outpost_target::StdioSpec;

use crate::acquire::cannot_run;
use crate::{Engine, EngineError, ProcessOrdinal};

impl Engine {
    /// The process that what is typed goes to while the debuggee runs: the current system's youngest that was created on
    /// a terminal of its own and has not ended.
    pub fn terminal_process(&self) -> Option<ProcessOrdinal> {
        let system = self.current_system()?;
        let created = self.system(system).ok()?.created.iter().rev();
        let on_terminal = created.filter(|(_, spec)| matches!(spec.stdio, StdioSpec::Pty { .. }));
        let mut known = on_terminal.filter_map(|(id, _)| self.process_by_id(system, *id));
        known.find(|process| !process.ended).map(|process| process.ordinal)
    }

    /// Tells a process that was created on a terminal of its own that its window has another size.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`]; [`EngineError::Target`] if it has no terminal, or the server cannot do it.
    pub fn resize_terminal(&mut self, process: ProcessOrdinal, columns: u16, rows: u16) -> Result<(), EngineError> {
        let known = self.process(process)?;
        let id = known.id();
        let target = self.system(known.system)?.target.clone();
        let mut target = target.borrow_mut();
        let os = target.as_os().ok_or_else(|| cannot_run("resizing a terminal"))?;
        Ok(os.resize_terminal(id, columns, rows)?)
    }

    /// Sends bytes to a created process's standard input; none at all end it.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`]; [`EngineError::Target`] if the session did not create it, or it reads no more.
    pub fn write_input(&mut self, process: ProcessOrdinal, bytes: &[u8]) -> Result<(), EngineError> {
        let known = self.process(process)?;
        let id = known.id();
        let target = self.system(known.system)?.target.clone();
        let mut target = target.borrow_mut();
        let os = target.as_os().ok_or_else(|| cannot_run("typing to a process"))?;
        Ok(os.write_stdin(id, bytes)?)
    }
}
