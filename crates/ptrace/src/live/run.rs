//! Running, stopping, writing, as the seam asks for it.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId};
use outpost_target::{
    AttachMode, BundleRequest, CreateSpec, DetachMode, Event, Interrupter, Live, Plan, SigInfo, StopBundle, StopReason,
    StopRecord, TargetError, Waited, WriteRequest,
};
use rustix::event::PollFlags;

use super::LiveTarget;
use crate::os::create;
use crate::tracer::ready;

/// How often a process waited for by name is looked for.
const NAME_INTERVAL: Duration = Duration::from_millis(50);
/// Pieces of output read before its process's end is told; the rest of a flood comes after it.
const LAST_PIECES: usize = 64;

impl Live for LiveTarget {
    fn attach(
        &mut self,
        process: ProcessId,
        mode: AttachMode,
        request: &BundleRequest,
    ) -> Result<Option<StopBundle>, TargetError> {
        self.tracer.attach(process, mode, request)
    }

    fn create(
        &mut self,
        spec: &CreateSpec,
        request: &BundleRequest,
    ) -> Result<(ProcessId, Option<StopBundle>), TargetError> {
        let mut prepared = create::prepare(spec)?;
        let process = prepared.process();
        self.tracer.rules.bundle = request.clone();
        if let Err(error) = self.tracer.take_created(process, || prepared.release()) {
            // Why it ended is known to the child alone.
            prepared.outcome()?;
            return Err(error);
        }
        self.os.stdio.insert(process, prepared.outcome()?);
        if spec.break_in {
            let bundle = self.tracer.stop_joined(process, StopReason::Created)?;
            return Ok((process, Some(bundle)));
        }
        self.tracer.start_created(process);
        Ok((process, None))
    }

    fn resume(&mut self, plan: &Plan) -> Result<(), TargetError> {
        self.tracer.resume(plan)
    }

    fn wait_event(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Waited::Event(event));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let limit = match self.os.waits_for_name() {
                true => Some(left.map_or(NAME_INTERVAL, |left| left.min(NAME_INTERVAL))),
                false => left,
            };
            let links = others.iter().map(|other| (*other, PollFlags::IN));
            let watched: Vec<_> = self.os.stdio.descriptors().into_iter().chain(links).collect();
            match self.tracer.wait_event(limit, &watched)? {
                Waited::Event(event) => self.keep_in_order(event),
                Waited::OtherReadable => {
                    self.take_output();
                    self.os.stdio.flush_input();
                    let links: Vec<_> = others.iter().map(|other| (*other, PollFlags::IN)).collect();
                    if ready(&links) {
                        return Ok(Waited::OtherReadable);
                    }
                }
                Waited::TimedOut => {
                    if let Some((process, name)) = self.os.poll_name() {
                        self.waiting.push_back(Event::ProcessAppeared { process, name });
                    } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Ok(Waited::TimedOut);
                    }
                }
            }
        }
    }

    /// None: waiting for tracees is no descriptor's business. Use [`Live::wait_event`] with the other descriptors.
    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.tracer.break_in) as Arc<dyn Interrupter>
    }

    fn write_many(&mut self, space: AddressSpaceId, writes: &[WriteRequest]) -> Result<Vec<u64>, TargetError> {
        self.tracer.write_many(space, writes)
    }

    fn set_registers(&mut self, thread: ThreadId, context: &RegisterContext) -> Result<(), TargetError> {
        self.tracer.set_context(thread, context)
    }

    fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError> {
        self.tracer.adjust_suspend(threads, delta)
    }

    fn pending_signal(&mut self, thread: ThreadId) -> Result<Option<SigInfo>, TargetError> {
        let signal = self.tracer.visible_thread(thread)?.signal;
        Ok(signal.map(|signal| crate::tracer::siginfo_of(&signal, thread)))
    }

    fn detach(&mut self, process: ProcessId, mode: DetachMode) -> Result<(), TargetError> {
        self.tracer.detach(process, mode)?;
        self.os.stdio.forget(process);
        Ok(())
    }

    fn kill(&mut self, process: ProcessId) -> Result<(), TargetError> {
        self.tracer.kill(process)
    }

    fn set_detach_on_exit(&mut self, detach: bool) -> Result<(), TargetError> {
        self.tracer.detach_on_exit = detach;
        self.tracer.journal.detach_on_exit(detach);
        Ok(())
    }
}

impl LiveTarget {
    fn take_output(&mut self) -> bool {
        let outputs = self.os.stdio.read_output();
        let any = !outputs.is_empty();
        if any {
            // The hits that led to it come first.
            self.tracer.drain_all_logs();
            while let Some(logged) = self.tracer.take_logged() {
                self.waiting.push_back(logged);
            }
        }
        self.waiting.extend(outputs.into_iter().map(Event::Output));
        any
    }

    /// What a process wrote is told before its end.
    fn keep_in_order(&mut self, event: Event) {
        let ended = match &event {
            Event::Stopped(StopBundle {
                stop: StopRecord { process, reason: StopReason::Exited { .. }, .. }, ..
            })
            | Event::Noticed(StopRecord { process, reason: StopReason::Exited { .. }, .. }) => Some(*process),
            _ => None,
        };
        if let Some(process) = ended {
            let mut pieces = 0;
            while pieces < LAST_PIECES && self.take_output() {
                pieces += 1;
            }
            self.os.stdio.process_ended(process);
        }
        self.waiting.push_back(event);
    }
}
