//! Stopping threads: for the client, or for a moment.

use std::fs;
use std::time::{Duration, Instant};

use outpost_base::ThreadId;
use outpost_target::StopScope;
use rustix::io::Errno;

use super::{Report, State, Thread, Tracer};
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_wait::{Whom, wait_now};

/// Rounds of looking for stops that only give the processor away.
const QUICK_ROUNDS: u32 = 30;
/// Pause between further rounds.
const PAUSE: Duration = Duration::from_micros(200);
/// Threads in uninterruptible sleep are given up after this.
const SLEEPER_LIMIT: Duration = Duration::from_millis(20);
/// Any thread is given up after this: a machine that does not schedule a runnable thread for so long is in trouble.
const LIMIT: Duration = Duration::from_secs(5);

impl Tracer {
    /// Stops everybody in the scope of a report, for the client. Returns the threads that could not be stopped.
    pub(crate) fn stop_for(&mut self, report: &Report) -> Vec<ThreadId> {
        let (scope, process, tid) = (self.rules.scope, report.process, report.thread);
        let in_scope = move |thread: &Thread| match scope {
            StopScope::Thread => thread.id == tid,
            StopScope::Process => thread.process == process,
            StopScope::System => true,
        };
        let held: Vec<ThreadId> = self
            .threads
            .values()
            .filter(|thread| in_scope(thread) && !self.is_hidden(thread.id))
            .map(|thread| thread.id)
            .collect();
        for tid in &held {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.held = true;
            }
        }
        self.interrupt(&held);
        let unstoppable = self.collect(&|thread| thread.held && in_scope(thread));
        for tid in held {
            if tid != report.thread {
                drop(self.end_step_plan(tid));
            }
            if self.threads.get(&tid).is_some_and(|thread| thread.mask_before_step.is_some()) {
                let signal = self.threads.get_mut(&tid).and_then(|thread| thread.signal.take());
                self.disarm_step(tid);
                self.restore_mask_before_step(tid);
                if let Some(thread) = self.threads.get_mut(&tid) {
                    thread.signal = thread.signal.take().or(signal);
                }
            }
            // A thread may stand here for long: should we be killed meanwhile, it goes on from where it is said to be,
            // not behind a trap. It fails only if the thread is gone.
            let _ = self.flush(tid);
        }
        unstoppable
    }

    /// Takes from a stopped thread the processor's trap flag that its last step left. The flag outlives us: a thread that has
    /// it when we are killed traps after its next instruction, so it goes before what leads the thread on from there.
    /// A signal that the thread has to get, it gets.
    pub(crate) fn disarm_step(&mut self, tid: ThreadId) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let can_stop = !thread.is_exiting && !thread.is_new && thread.vfork_child.is_none();
        if !thread.is_trapping || !thread.is_stopped() || !can_stop {
            return;
        }
        // Only setting a thread going takes the flag away. An interrupt that waits stops it before it executes anything.
        thread.interrupted = true;
        if ptrace::interrupt(tid.0).is_err() {
            return self.lost(tid);
        }
        self.launch(tid, Go::Continue);
        drop(self.collect(&|thread| thread.id == tid));
    }

    /// Stops the running ones among the threads that `wanted` names, for a moment; they go on by [`Tracer::unpause`].
    /// Threads and processes that are made meanwhile are stopped too.
    pub(crate) fn pause(
        &mut self,
        wanted: &dyn Fn(&Tracer, &Thread) -> bool,
        except: Option<ThreadId>,
    ) -> Vec<ThreadId> {
        let mut paused = Vec::new();
        loop {
            let running = |thread: &&Thread| {
                thread.is_out() && !thread.paused && Some(thread.id) != except && wanted(self, thread)
            };
            let threads: Vec<ThreadId> = self.threads.values().filter(running).map(|thread| thread.id).collect();
            if threads.is_empty() {
                return paused;
            }
            for tid in &threads {
                if let Some(thread) = self.threads.get_mut(tid) {
                    thread.paused = true;
                }
            }
            self.interrupt(&threads);
            drop(self.collect(&|thread| thread.paused));
            paused.extend(threads);
        }
    }

    /// Ends a pause.
    pub(crate) fn unpause(&mut self, threads: Vec<ThreadId>) {
        for tid in &threads {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.paused = false;
            }
        }
        for tid in threads {
            self.settle(tid);
        }
    }

    /// Asks running threads to stop.
    pub(super) fn interrupt(&mut self, threads: &[ThreadId]) {
        for tid in threads {
            let Some(thread) = self.threads.get_mut(tid) else { continue };
            // A new thread stops by itself.
            if thread.is_out() && !thread.interrupted && !thread.is_new {
                thread.interrupted = true;
                // It may have ended; its status tells.
                let _ = ptrace::interrupt(tid.0);
            }
        }
    }

    /// Waits until every thread that `wanted` names has stopped or is found unstoppable; returns the latter.
    ///
    /// Everything that happens meanwhile is dealt with, so new threads may join those waited for.
    pub(crate) fn collect(&mut self, wanted: &dyn Fn(&Thread) -> bool) -> Vec<ThreadId> {
        let begin = Instant::now();
        let (mut given_up, mut round) = (Vec::new(), 0);
        loop {
            let awaited = |thread: &&Thread| wanted(thread) && thread.is_out() && !given_up.contains(&thread.id);
            let pending: Vec<ThreadId> = self.threads.values().filter(awaited).map(|thread| thread.id).collect();
            if pending.is_empty() {
                return given_up;
            }
            let mut progress = false;
            for tid in &pending {
                match wait_now(Whom::Thread(tid.0)) {
                    Ok(Some((found, status))) => {
                        self.on_status(ThreadId(found), status);
                        progress = true;
                    }
                    Ok(None) | Err(Errno::INTR) => {}
                    // Nobody of that id is left: another thread executed a program, or is about to be reported so.
                    Err(_) => {
                        if let Some(thread) = self.threads.get_mut(tid) {
                            thread.state = State::Exiting;
                        }
                        progress = true;
                    }
                }
            }
            if progress {
                continue;
            }
            self.check_creations();
            round += 1;
            if round <= QUICK_ROUNDS {
                std::thread::yield_now();
                continue;
            }
            std::thread::sleep(PAUSE);
            let waited = begin.elapsed();
            for tid in pending {
                if self.threads.get(&tid).is_some_and(|thread| gives_up(thread, waited)) {
                    given_up.push(tid);
                }
            }
        }
    }

    /// A thread may wait for somebody whose event nobody looks at: statuses of others are taken, one at a time.
    fn check_creations(&mut self) {
        if let Ok(Some((found, status))) = wait_now(Whom::Any) {
            self.on_status(ThreadId(found), status);
        }
    }
}

fn gives_up(thread: &Thread, waited: Duration) -> bool {
    if waited > LIMIT || thread.vfork_child.is_some() {
        return true;
    }
    waited > SLEEPER_LIMIT && matches!(state_letter(thread.id), Some(b'D' | b'Z' | b'X'))
}

/// State letter of `proc_pid_stat(5)`.
pub(crate) fn state_letter(tid: ThreadId) -> Option<u8> {
    let stat = fs::read(format!("/proc/{tid}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
}
