//! Waiting for tracees and descriptors at once.
//!
//! wait4(2) knows no descriptors and poll(2) no tracees, and each detour (SIGCHLD, a waiting helper) costs system calls
//! for every single step. So the tracer blocks in wait4, and a helper thread, the sentinel, watches the descriptors.
//! When one is readable, or the time is up, it sends the tracer a signal whose handler does nothing, which makes wait4
//! return `EINTR`. A signal that arrives just before wait4 begins would be lost, so it is sent every millisecond until
//! the tracer has acknowledged it. Arming is a lock and a flag as long as the sentinel already watches the right
//! descriptors, so that a short run costs no system call.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outpost_target::Interrupter;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::sys::signal;

/// How often an unanswered signal is repeated.
const REPEAT: Duration = Duration::from_millis(1);
/// It only polls and sends signals.
const STACK: usize = 32 << 10;

/// The wish to break in, shared with other threads.
#[derive(Debug)]
pub(crate) struct BreakInRequest {
    wanted: AtomicBool,
    bell: OwnedFd,
}

/// The helper thread's handle; dropping it ends the thread.
pub(crate) struct Sentinel {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    _handler: signal::WakeHandler,
}

struct Shared {
    orders: Mutex<Orders>,
    /// Set while the signal is being sent; read by the tracer without the lock.
    fired: AtomicBool,
    doorbell: OwnedFd,
    break_in: Arc<BreakInRequest>,
    tracer: u32,
}

#[derive(Default)]
struct Orders {
    armed: bool,
    quit: bool,
    deadline: Option<Instant>,
    descriptors: Vec<(RawFd, PollFlags)>,
    /// The sentinel is (about to be) polling `descriptors`, at least up to this time.
    watching: Option<Option<Instant>>,
}

impl BreakInRequest {
    pub(crate) fn new() -> Result<BreakInRequest, Errno> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(BreakInRequest { wanted: AtomicBool::new(false), bell })
    }

    /// Readable while a request waits.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Whether a request waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// Takes the request.
    pub(crate) fn take(&self) -> bool {
        drain(&self.bell);
        self.wanted.swap(false, Ordering::AcqRel)
    }
}

impl Interrupter for BreakInRequest {
    fn break_in(&self) {
        self.wanted.store(true, Ordering::Release);
        ring(&self.bell);
    }
}

impl Sentinel {
    /// Starts the helper for the calling thread.
    pub(crate) fn start(break_in: Arc<BreakInRequest>) -> Result<Sentinel, Errno> {
        let handler = signal::WakeHandler::install()?;
        signal::unblock_wake();
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            fired: AtomicBool::new(false),
            doorbell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            break_in,
            tracer: signal::own_tid(),
        });
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("sentinel".into())
            .stack_size(STACK)
            .spawn(move || watched.watch())
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        Ok(Sentinel { shared, thread: Some(thread), _handler: handler })
    }

    /// From now on the tracer is taken out of wait4 when a descriptor is readable, a break-in is asked for, or at
    /// `deadline`.
    pub(crate) fn arm(&self, deadline: Option<Instant>, descriptors: &[Watched<'_>]) {
        let mut orders = self.shared.lock();
        let same = orders.descriptors.len() == descriptors.len()
            && orders.descriptors.iter().zip(descriptors).all(|(known, new)| *known == numbered(new));
        let in_time = match (orders.watching, deadline) {
            (None, _) => false,
            (Some(_), None) | (Some(None), Some(_)) => deadline.is_none(),
            (Some(Some(wakes)), Some(deadline)) => wakes <= deadline,
        };
        orders.armed = true;
        orders.deadline = deadline;
        if !(same && in_time) {
            orders.descriptors.clear();
            orders.descriptors.extend(descriptors.iter().map(numbered));
            orders.watching = Some(deadline);
            ring(&self.shared.doorbell);
        }
    }

    /// Whether it has fired and waits for [`Sentinel::disarm`].
    pub(crate) fn has_fired(&self) -> bool {
        self.shared.fired.load(Ordering::Acquire)
    }

    /// No signal comes after this returned.
    pub(crate) fn disarm(&self) {
        let mut orders = self.shared.lock();
        orders.armed = false;
        self.shared.fired.store(false, Ordering::Release);
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        {
            let mut orders = self.shared.lock();
            orders.armed = false;
            orders.quit = true;
            self.shared.fired.store(false, Ordering::Release);
        }
        ring(&self.shared.doorbell);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The sentinel's life.
    fn watch(&self) {
        signal::block_all();
        loop {
            let (watch, deadline) = {
                let mut orders = self.lock();
                if orders.quit {
                    return;
                }
                match orders.watching {
                    Some(_) => {
                        orders.watching = Some(orders.deadline);
                        (Some(orders.descriptors.clone()), orders.deadline)
                    }
                    None => (None, None),
                }
            };
            let Some(descriptors) = watch else {
                self.sleep(None, None);
                continue;
            };
            if self.sleep(Some(&descriptors), deadline) {
                continue;
            }
            let mut orders = self.lock();
            let early = orders.deadline.is_none_or(|deadline| Instant::now() < deadline);
            if early && !self.is_ready(&orders.descriptors) {
                continue;
            }
            orders.watching = None;
            if orders.armed {
                self.fired.store(true, Ordering::Release);
            }
            drop(orders);
            self.send_until_acknowledged();
        }
    }

    fn send_until_acknowledged(&self) {
        loop {
            {
                let _orders = self.lock();
                if !self.fired.load(Ordering::Acquire) {
                    return;
                }
                // Under the lock, so that none is sent after `disarm` returned. It cannot fail: the thread lives.
                let _ = signal::send_to_own(self.tracer, signal::wake_signal());
            }
            self.sleep(None, Some(Instant::now() + REPEAT));
        }
    }

    /// Sleeps until the time is up, the doorbell rings, or what is `watched` (and the wish to break in) is readable;
    /// `true`: the doorbell rang.
    fn sleep(&self, watched: Option<&[(RawFd, PollFlags)]>, deadline: Option<Instant>) -> bool {
        let mut polled = vec![PollFd::new(&self.doorbell, PollFlags::IN)];
        if watched.is_some() {
            polled.push(PollFd::from_borrowed_fd(self.break_in.descriptor(), PollFlags::IN));
        }
        let others = lent(watched.unwrap_or_default());
        polled.extend(others.iter().map(|(other, flags)| PollFd::from_borrowed_fd(*other, *flags)));
        let _ = poll(&mut polled, timeout(deadline).as_ref());
        let rang = polled.first().is_some_and(|bell| !bell.revents().is_empty());
        if rang {
            drain(&self.doorbell);
        }
        rang
    }

    fn is_ready(&self, descriptors: &[(RawFd, PollFlags)]) -> bool {
        self.break_in.is_wanted() || ready(&lent(descriptors))
    }
}

/// A descriptor and what is waited for there.
pub(crate) type Watched<'a> = (BorrowedFd<'a>, PollFlags);

/// Whether one of `descriptors` is ready (or in error) now.
pub(crate) fn ready(descriptors: &[Watched<'_>]) -> bool {
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|(other, flags)| PollFd::from_borrowed_fd(*other, *flags)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !polled.is_empty() && poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0)
}

/// Time left up to `deadline` in poll(2)'s form; `None`: for ever.
pub(crate) fn timeout(deadline: Option<Instant>) -> Option<Timespec> {
    let left = deadline?.saturating_duration_since(Instant::now());
    Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) })
}

fn numbered(watched: &Watched<'_>) -> (RawFd, PollFlags) {
    (watched.0.as_raw_fd(), watched.1)
}

fn lent(descriptors: &[(RawFd, PollFlags)]) -> Vec<Watched<'_>> {
    descriptors.iter().map(|(number, flags)| (crate::sys::descriptor(number), *flags)).collect()
}

fn ring(bell: &OwnedFd) {
    // Full only after 2^64 rings.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

fn drain(bell: &OwnedFd) {
    let _ = rustix::io::read(bell, &mut [0_u8; 8]);
}
