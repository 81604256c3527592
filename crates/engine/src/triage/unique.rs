//! Threads with the same stack, told once.

use std::collections::HashMap;

use outpost_base::Va;

use crate::{Engine, EngineError, ThreadOrdinal, ThreadStack};

/// Threads whose stacks are the same: equal addresses of instructions in every frame.
#[derive(Debug, Clone)]
pub struct StackGroup {
    /// Who they are, in the order asked for.
    pub threads: Vec<ThreadOrdinal>,
    /// The stack of the first.
    pub stack: ThreadStack,
}

impl Engine {
    /// The stacks of threads, equal ones together, in the order of the first thread of each. At most `limit` frames are
    /// looked at and compared.
    ///
    /// Costs what [`Engine::stacks`] does on the link; only one stack of each group is given names.
    ///
    /// # Errors
    /// As [`Engine::stacks`].
    pub fn unique_stacks(&mut self, threads: &[ThreadOrdinal], limit: usize) -> Result<Vec<StackGroup>, EngineError> {
        self.need_stopped()?;
        let stacks = self.physical_stacks(threads, limit)?;
        let mut groups: Vec<StackGroup> = Vec::new();
        let mut known: HashMap<Result<Vec<Va>, String>, usize> = HashMap::new();
        for (&thread, stack) in threads.iter().zip(stacks) {
            self.check_interrupt()?;
            let key = match &stack {
                Ok(stack) => Ok(stack.frames.iter().map(|frame| frame.address.address()).collect()),
                Err(error) => Err(error.to_string()),
            };
            if let Some(group) = known.get(&key).and_then(|&at| groups.get_mut(at)) {
                group.threads.push(thread);
                continue;
            }
            known.insert(key, groups.len());
            let stack = match stack {
                Ok(stack) => self.describe_stack(thread, &stack, limit)?,
                Err(error) => ThreadStack { thread, frames: Vec::new(), problem: error.to_string() },
            };
            groups.push(StackGroup { threads: vec![thread], stack });
        }
        Ok(groups)
    }
}
