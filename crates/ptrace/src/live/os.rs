//! The machine, as the seam asks for it.

use outpost_base::ProcessId;
use outpost_target::{DirectoryEntry, FileId, HandleInfo, Os, OsProcess, ProcessQuery, TargetError};

use super::LiveTarget;

impl Os for LiveTarget {
    fn list_processes(
        &mut self,
        query: &ProcessQuery,
        with_attachability: bool,
    ) -> Result<Vec<OsProcess>, TargetError> {
        Ok(self.os.list_processes(query, with_attachability))
    }

    fn wait_for_process(&mut self, name: Option<&str>) -> Result<(), TargetError> {
        self.os.wait_for_process(name);
        Ok(())
    }

    fn open_file(&mut self, process: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError> {
        self.os.open_file(process, path)
    }

    fn read_file(&mut self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.os.read_file(file, ranges)
    }

    fn close_file(&mut self, file: FileId) -> Result<(), TargetError> {
        self.os.close_file(file);
        Ok(())
    }

    fn list_directory(&mut self, path: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
        self.os.list_directory(path)
    }

    fn handles(&mut self, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
        self.os.handles(process)
    }

    fn write_stdin(&mut self, process: ProcessId, bytes: &[u8]) -> Result<(), TargetError> {
        self.os.stdio.write_input(process, bytes)
    }

    fn resize_terminal(&mut self, process: ProcessId, columns: u16, rows: u16) -> Result<(), TargetError> {
        self.os.stdio.resize(process, columns, rows)
    }

    fn clock(&mut self) -> Result<(u64, u64), TargetError> {
        Ok(self.os.clock())
    }

    /// The server around this target decides; by itself it is nobody's server.
    fn end_server(&mut self) -> Result<(), TargetError> {
        let reason = "these processes are debugged without a server".into();
        Err(TargetError::Unsupported { operation: "ending the server", reason })
    }
}
