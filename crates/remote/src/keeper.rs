//! Watches a session's link from a thread of its own, and makes another when it is lost.
//!
//! It works while nobody uses the target, too: a session is held for a short time only, and somebody who reads at the
//! prompt asks for nothing. What it makes is parked until the link's owner takes it; that one decides what is sent again.
//!
//! | state | left when |
//! | --- | --- |
//! | watching | the link hangs up, or its owner found it broken: making |
//! | making | the session is resumed: parked; it is gone, or nobody answers for longer than it is held: failed |
//! | parked | its owner takes it, or it hangs up: as watching |

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outpost_target::{LinkNews, LinkWatcher};
use outpost_transport::Connection;
use outpost_wire::{FrameReader, Identity, RefusalCode, RequestId, ResumeKey, WireError};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::connect::resume;
use crate::sender::Sender;
use crate::{Connector, RemoteError};

/// A server that ends says so before it hangs up: its words are read first.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// Between attempts, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How much longer than the session is held it is asked for: the server may have noticed the loss later.
const MARGIN: Duration = Duration::from_secs(5);

/// How a client comes back to its session.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) connector: Connector,
    pub(crate) password: String,
    pub(crate) identity: Identity,
    pub(crate) key: ResumeKey,
    pub(crate) grace: Duration,
}

/// A link that was made anew.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) connection: Connection,
    pub(crate) reader: FrameReader,
    pub(crate) carried_out: RequestId,
    /// Frames and bytes that came with it.
    pub(crate) received: (u64, u64),
}

/// The owner's handle.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: OwnedFd,
    /// Readable while something is parked.
    done: OwnedFd,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// The owner found the link of this number broken, and why.
    broken: Option<(u64, String)>,
    parked: Option<Result<Resumed, String>>,
    watcher: Option<LinkWatcher>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("stop", &self.stop).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Starts to watch the first link. The thread ends soon after the value.
    pub(crate) fn start(link: Connection, way: Way, sender: Arc<Sender>) -> io::Result<Keeper> {
        let flag = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let shared = Arc::new(Shared { state: Mutex::default(), wake: flag()?, done: flag()? });
        let theirs = Arc::clone(&shared);
        let run = move || Thread { shared: theirs, way, sender, link, number: 0 }.run();
        std::thread::Builder::new().name("link".into()).stack_size(256 << 10).spawn(run)?;
        Ok(Keeper { shared })
    }

    /// Who is told of losses and returns.
    pub(crate) fn set_watcher(&self, watcher: Option<LinkWatcher>) {
        self.shared.state().watcher = watcher;
    }

    /// Link `number` (the first is 0, each one taken is one more) is broken.
    pub(crate) fn report(&self, number: u64, reason: &str) {
        self.shared.state().broken = Some((number, reason.to_owned()));
        ring(&self.shared.wake);
    }

    /// Readable when [`Keeper::take`] may give something.
    pub(crate) fn done(&self) -> BorrowedFd<'_> {
        self.shared.done.as_fd()
    }

    /// The new link, or why there is none; `None` if it broke again meanwhile.
    pub(crate) fn take(&self) -> Option<Result<Resumed, String>> {
        let mut state = self.shared.state();
        silence(&self.shared.done);
        state.parked.take()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        ring(&self.shared.wake);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    shared: Arc<Shared>,
    way: Way,
    sender: Arc<Sender>,
    /// What is watched; its owner has its own handle on it.
    link: Connection,
    number: u64,
}

impl Thread {
    fn run(mut self) {
        while let Some(reason) = self.watch() {
            if self.is_stopped_within(LAST_WORDS) {
                return;
            }
            self.tell(LinkNews::Lost { reason });
            let made = self.make();
            if self.shared.state().stop {
                return;
            }
            let parked = match made {
                Ok(resumed) => resumed.connection.try_clone().map(|link| (link, resumed)).map_err(|e| e.to_string()),
                Err(reason) => Err(reason),
            };
            let failed = parked.is_err();
            let parked = parked.map(|(link, resumed)| {
                (self.link, self.number) = (link, self.number + 1);
                resumed
            });
            self.shared.state().parked = Some(parked);
            ring(&self.shared.done);
            if failed {
                return;
            }
            self.tell(LinkNews::Resumed);
        }
    }

    /// Waits until the link is lost; gives why. `None`: nobody needs it any more.
    fn watch(&mut self) -> Option<String> {
        loop {
            let hangs_up = {
                let mut fds =
                    [PollFd::new(&self.link, PollFlags::RDHUP), PollFd::new(&self.shared.wake, PollFlags::IN)];
                let _ = poll(&mut fds, None);
                !fds[0].revents().is_empty()
            };
            silence(&self.shared.wake);
            let mut state = self.shared.state();
            if state.stop {
                return None;
            }
            let reported = state.broken.take_if(|(number, _)| *number == self.number).map(|(_, reason)| reason);
            if hangs_up || reported.is_some() {
                // What is parked and was not taken is lost with it.
                if state.parked.take().is_some() {
                    silence(&self.shared.done);
                }
                return Some(reported.unwrap_or_else(|| "the other end hung up".into()));
            }
        }
    }

    fn make(&self) -> Result<Resumed, String> {
        let deadline = Instant::now() + self.way.grace + MARGIN;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match resume(&self.way, self.sender.seen()) {
                Ok(resumed) => return Ok(resumed),
                Err(error) => error,
            };
            if is_final(&error) {
                return Err(error.to_string());
            }
            if Instant::now() + pause > deadline {
                return Err(format!("no link to the server for {} s: {error}", (self.way.grace + MARGIN).as_secs()));
            }
            if self.is_stopped_within(pause) {
                return Err("nobody waits for it".into());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn is_stopped_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.shared.state().stop {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&self.shared.wake, PollFlags::IN)], Some(&timeout));
            silence(&self.shared.wake);
        }
    }

    fn tell(&self, news: LinkNews) {
        let watcher = self.shared.state().watcher.clone();
        if let Some(watcher) = watcher {
            watcher(news);
        }
    }
}

/// Whether trying again cannot help.
fn is_final(error: &RemoteError) -> bool {
    match error {
        RemoteError::Wire(WireError::Refused { code, .. }) => *code != RefusalCode::Busy,
        RemoteError::Wire(error) => matches!(
            error,
            WireError::Authentication
                | WireError::ServerNotAuthentic
                | WireError::Version(_)
                | WireError::Feature { .. }
        ),
        _ => false,
    }
}

/// Neither can fail: the counters are far from full, and an empty one is no error.
fn ring(flag: &OwnedFd) {
    let _ = rustix::io::write(flag, &1_u64.to_ne_bytes());
}

fn silence(flag: &OwnedFd) {
    let _ = rustix::io::read(flag, &mut [0_u8; 8]);
}
