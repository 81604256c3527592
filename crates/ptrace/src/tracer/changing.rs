//! What the client changes in debuggees: memory, registers, suspend counts.

use outpost_base::{AddressSpaceId, RegisterContext, ThreadId, VaRange};
use outpost_target::{TargetError, WriteRequest};

use super::Tracer;
use crate::error::os_error;
use crate::sys::ptrace_registers::{self, GeneralRegisters, word};

/// Debug registers that can be set; 4 and 5 do not exist (Intel SDM vol. 3B, 18.2.2).
const DEBUG_REGISTERS: [usize; 6] = [0, 1, 2, 3, 6, 7];

impl Tracer {
    /// Writes many ranges, under breakpoints.
    pub(crate) fn write_many(
        &mut self,
        space: AddressSpaceId,
        writes: &[WriteRequest],
    ) -> Result<Vec<u64>, TargetError> {
        self.space(space)?;
        let mut counts = Vec::new();
        for write in writes {
            self.remove_jumps(space, VaRange::from_len(write.at, write.bytes.len() as u64));
            let Some(known) = self.spaces.get_mut(&space) else { break };
            let bytes = known.sites.write_under(write.at, &write.bytes);
            counts.push(known.memory.write(write.at, &bytes) as u64);
            self.renew_sites(space, VaRange::from_len(write.at, write.bytes.len() as u64));
        }
        self.note_written(space);
        Ok(counts)
    }

    /// Writes the blocks of `context` that are present into a stopped thread.
    pub(crate) fn set_context(&mut self, tid: ThreadId, context: &RegisterContext) -> Result<(), TargetError> {
        if !self.visible_thread(tid)?.is_stopped() {
            return Err(TargetError::WrongThreadState { thread: tid, state: "running".into() });
        }
        let failed = |errno| os_error(format!("set registers of thread {tid}"), errno);
        if !context.general.is_empty() {
            let Ok(words) = <[u64; 27]>::try_from(context.general.as_slice()) else {
                return Err(TargetError::Invalid { reason: "the general registers of x86-64 are 27 words".into() });
            };
            let gone = TargetError::WrongThreadState { thread: tid, state: "exiting".into() };
            let old = self.registers(tid).ok_or(gone)?;
            let mut new = GeneralRegisters(words);
            // A thread stopped in a system call that is to be restarted has pc moved back by the kernel when it goes on;
            // a pc that was set on purpose stays.
            if new.pc() != old.pc() && new.0[word::ORIG_RAX] == old.0[word::ORIG_RAX] {
                new.0[word::ORIG_RAX] = u64::MAX;
            }
            self.set_registers(tid, new);
            // At once, so that what the kernel refuses is told now.
            if let Err(errno) = self.flush(tid) {
                self.set_registers(tid, old);
                return Err(failed(errno));
            }
        }
        if !context.floating.is_empty() {
            ptrace_registers::set_floating(tid.0, &context.floating).map_err(failed)?;
        }
        if !context.debug.is_empty() {
            for index in DEBUG_REGISTERS {
                let Some(value) = context.debug.get(index) else { continue };
                if ptrace_registers::debug(tid.0, index).map_err(failed)? != *value {
                    ptrace_registers::set_debug(tid.0, index, *value).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Adds to suspend counts; returns the new ones.
    pub(crate) fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError> {
        for tid in threads {
            self.visible_thread(*tid)?;
        }
        let mut counts = Vec::new();
        for tid in threads {
            let Some(thread) = self.threads.get_mut(tid) else { continue };
            thread.suspend = thread.suspend.saturating_add_signed(delta);
            let count = thread.suspend;
            counts.push(count);
            if count > 0 && thread.is_out() {
                self.interrupt(&[*tid]);
                drop(self.collect(&|thread| thread.id == *tid));
            } else if count == 0 {
                self.settle(*tid);
            }
        }
        Ok(counts)
    }
}
