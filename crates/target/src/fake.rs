//! A target made of plain data, for tests of everything above the seam.

use outpost_base::{AddressSpaceId, Arch, ProcessId, RegisterContext, ThreadId, Va};

use crate::{
    ModuleInfo, ProcessInfo, ProcessOrigin, ReadRequest, Region, RegisterSets, StopBundle, Target, TargetError,
    TargetInfo, TargetKind, ThreadInfo, ThreadRunState,
};

/// A stopped system whose every answer is a public field. It cannot run.
#[derive(Debug, Clone)]
pub struct FakeTarget {
    /// Answer to [`Target::info`].
    pub info: TargetInfo,
    /// Answer to [`Target::processes`].
    pub processes: Vec<ProcessInfo>,
    /// Threads of all processes.
    pub threads: Vec<ThreadInfo>,
    /// Modules by process.
    pub modules: Vec<(ProcessId, Vec<ModuleInfo>)>,
    /// Regions of every process.
    pub regions: Vec<Region>,
    /// Memory of every address space, as blocks that do not overlap.
    pub memory: Vec<(Va, Vec<u8>)>,
    /// Registers by thread.
    pub registers: Vec<(ThreadId, RegisterContext)>,
    /// Answer to [`Target::last_stop`].
    pub stop: Option<StopBundle>,
}

impl FakeTarget {
    /// One process (id 100) with `threads` threads (ids from 100), no memory, all registers zero.
    pub fn with_threads(threads: u32) -> FakeTarget {
        let process = ProcessId(100);
        let ids = || (100..100 + threads).map(ThreadId);
        FakeTarget {
            info: TargetInfo {
                kind: TargetKind::UserDump,
                arch: Arch::X86_64,
                page_size: 4096,
                name: "fake".into(),
                host: String::new(),
                os: String::new(),
                processors: 1,
            },
            processes: vec![ProcessInfo {
                id: process,
                parent: ProcessId(1),
                space: AddressSpaceId(100),
                origin: ProcessOrigin::Dump,
                executable: "/fake/program".into(),
                arguments: vec!["program".into()],
                auxv: Vec::new(),
                start_time_us: 0,
                user_time_us: 0,
                system_time_us: 0,
                steps_unsafe_because: String::new(),
            }],
            threads: ids()
                .map(|id| ThreadInfo {
                    id,
                    process,
                    name: "program".into(),
                    state: ThreadRunState::Stopped,
                    suspend_count: 0,
                    teb: Va(0),
                })
                .collect(),
            modules: vec![(process, Vec::new())],
            regions: Vec::new(),
            memory: Vec::new(),
            registers: ids().map(|id| (id, RegisterContext::new(Arch::X86_64))).collect(),
            stop: None,
        }
    }

    fn known(&self, process: ProcessId) -> Result<(), TargetError> {
        match self.processes.iter().any(|known| known.id == process) {
            true => Ok(()),
            false => Err(TargetError::NoProcess { process }),
        }
    }

    fn read_one(&self, request: &ReadRequest) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Blocks may adjoin, so go on from one to the next.
        while (bytes.len() as u64) < request.len {
            let at = request.at + bytes.len() as u64;
            let block = self.memory.iter().find_map(|(start, block)| {
                let skip = at.0.checked_sub(start.0)?;
                block.get(usize::try_from(skip).ok()?..).filter(|rest| !rest.is_empty())
            });
            let Some(rest) = block else { break };
            let want = (request.len - bytes.len() as u64).min(rest.len() as u64) as usize;
            bytes.extend_from_slice(&rest[..want]);
        }
        bytes
    }
}

impl Target for FakeTarget {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        Ok(self.processes.clone())
    }

    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        self.known(process)?;
        Ok(self.threads.iter().filter(|thread| thread.process == process).cloned().collect())
    }

    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        self.known(process)?;
        let list = self.modules.iter().find(|(owner, _)| *owner == process);
        Ok(list.map(|(_, modules)| modules.clone()).unwrap_or_default())
    }

    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        self.known(process)?;
        Ok(self.regions.clone())
    }

    fn read_many(&mut self, _: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        Ok(reads.iter().map(|read| self.read_one(read)).collect())
    }

    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        _: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        let find = |thread: &ThreadId| self.registers.iter().find(|(id, _)| id == thread);
        let answer = |thread: &ThreadId| match find(thread) {
            Some((_, context)) => Ok(context.clone()),
            None => Err(TargetError::NoThread { thread: *thread }),
        };
        Ok(threads.iter().map(answer).collect())
    }

    fn last_stop(&self) -> Option<&StopBundle> {
        self.stop.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::VaRange;

    use crate::SearchRequest;

    use super::*;

    #[test]
    fn reads_go_on_over_adjoining_blocks_and_end_at_a_hole() {
        let mut target = FakeTarget::with_threads(1);
        target.memory = vec![(Va(0x1000), vec![1; 4]), (Va(0x1004), vec![2; 4])];
        let reads = [ReadRequest { at: Va(0x1002), len: 16 }, ReadRequest { at: Va(0x2000), len: 1 }];
        let answers = target.read_many(AddressSpaceId(100), &reads).unwrap();
        assert_eq!(answers, [vec![1, 1, 2, 2, 2, 2], vec![]]);
    }

    #[test]
    fn search_finds_overlapping_and_block_crossing_hits() {
        let mut target = FakeTarget::with_threads(1);
        target.memory = vec![(Va(0x1000), vec![7; 5])];
        let mut request = SearchRequest {
            range: VaRange::from_len(Va(0x1000), 0x100),
            pattern: vec![7, 7],
            alignment: 1,
            writable_only: false,
            limit: 100,
        };
        let hits = target.search(AddressSpaceId(100), &request).unwrap();
        assert_eq!(hits, [0x1000, 0x1001, 0x1002, 0x1003].map(Va));
        request.alignment = 2;
        assert_eq!(target.search(AddressSpaceId(100), &request).unwrap(), [0x1000, 0x1002].map(Va));
    }
}
