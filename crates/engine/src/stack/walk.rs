//! Unwinding many threads at once, with few round trips.

use std::collections::BTreeSet;
use std::rc::Rc;

use outpost_base::{RegisterContext, Va};
use outpost_target::{RegisterSets, TargetError};
use outpost_unwind::{Stack, unwind_stack};

use super::code::ProcessCode;
use crate::memory::PAGE;
use crate::{Engine, EngineError, ProcessOrdinal, ThreadOrdinal};

/// Rounds of "unwind, fetch what was missing" before what is missing counts as unreadable.
const MAX_ROUNDS: u32 = 64;
/// Pages fetched from a missing one on at first; doubles with each round, since a long stack goes on being long.
const FIRST_WINDOW: u64 = 1;
const LAST_WINDOW: u64 = 64;

/// A stack as the unwinder gives it.
pub(crate) type PhysicalStack = Rc<Stack>;

impl Engine {
    /// Stacks of many threads, at most `limit` physical frames each; a thread whose registers cannot be read has an
    /// error. All registers come by one request, and stack memory by one for all threads, then growing windows.
    pub(crate) fn physical_stacks(
        &mut self,
        threads: &[ThreadOrdinal],
        limit: usize,
    ) -> Result<Vec<Result<PhysicalStack, TargetError>>, EngineError> {
        let registers = self.registers_many(threads, RegisterSets::default())?;
        let mut results: Vec<Option<Result<PhysicalStack, TargetError>>> = vec![None; threads.len()];
        let mut by_process: Vec<(ProcessOrdinal, Vec<(usize, RegisterContext)>)> = Vec::new();
        for (at, (thread, registers)) in threads.iter().zip(registers).enumerate() {
            let context = match registers {
                Ok(own) => self.context_of(*thread).cloned().unwrap_or(own),
                Err(error) => {
                    results[at] = Some(Err(error));
                    continue;
                }
            };
            let process = self.process_of(*thread)?.ordinal;
            match by_process.iter_mut().find(|(known, _)| *known == process) {
                Some((_, list)) => list.push((at, context)),
                None => by_process.push((process, vec![(at, context)])),
            }
        }
        for (process, list) in by_process {
            self.unwind_process(process, list, limit, &mut results)?;
        }
        let gone = |at: usize| Err(TargetError::NoThread { thread: outpost_base::ThreadId(threads[at].0) });
        Ok(results.into_iter().enumerate().map(|(at, result)| result.unwrap_or_else(|| gone(at))).collect())
    }

    /// Unwinds threads of one process: all as far as cached memory goes, then fetches what they lacked, again.
    fn unwind_process(
        &mut self,
        process: ProcessOrdinal,
        mut todo: Vec<(usize, RegisterContext)>,
        limit: usize,
        results: &mut [Option<Result<PhysicalStack, TargetError>>],
    ) -> Result<(), EngineError> {
        let memory = self.process(process)?.memory.clone();
        let mut code = self.process_code(process)?;
        let mut window = FIRST_WINDOW;
        for round in 0..MAX_ROUNDS {
            let mut missing: BTreeSet<Va> = BTreeSet::new();
            let mut left = Vec::new();
            for (at, context) in todo {
                self.check_interrupt()?;
                let mut cached = memory.cached_only();
                let stack = unwind_stack(&context, limit, &mut code, &mut cached);
                if cached.missing.is_empty() || round + 1 == MAX_ROUNDS {
                    results[at] = Some(Ok(Rc::new(stack)));
                    continue;
                }
                for page in cached.missing {
                    missing.extend((0..window).filter_map(|next| page.checked_add(next * PAGE)));
                }
                left.push((at, context));
            }
            if left.is_empty() {
                return Ok(());
            }
            memory.fetch(&missing)?;
            todo = left;
            window = (window * 2).min(LAST_WINDOW);
        }
        Ok(())
    }

    pub(crate) fn process_code(&self, process: ProcessOrdinal) -> Result<ProcessCode, EngineError> {
        let known = self.process(process)?;
        Ok(ProcessCode { modules: known.modules.iter().cloned().collect(), loader: self.symbol_loader(process)? })
    }
}
