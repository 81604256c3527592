//! The handles of a session: one for each client.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use outpost_commands::{Completion, Debugger, Ending, Output, OutputKind};
use outpost_engine::Interrupter;

use crate::service::{Broadcast, Request, Service};
use crate::wake::{self, Waker};

/// Stack of the session's thread: expressions and types nest, and debug info decides how deep.
const STACK_SIZE: usize = 16 << 20;

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Something to show, in whole or partial lines.
    Output {
        /// What it is.
        kind: OutputKind,
        /// The text.
        text: String,
    },
    /// Long work goes on.
    Progress {
        /// What is being worked on.
        what: String,
        /// How far it is, from 0 to 1000.
        permille: u32,
    },
    /// A command is wanted; the prompt to show.
    Prompt(String),
    /// A command is being carried out.
    Busy,
    /// The debuggee runs.
    Running {
        /// It is on a terminal of its own: what is typed is for it ([`Client::type_input`]).
        takes_input: bool,
    },
    /// The session is over.
    Ended(Ending),
    /// The session could not begin.
    Failed(String),
}

/// A running session.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<Sender<Request>>,
    waker: Waker,
    interrupter: Arc<OnceLock<Interrupt>>,
}

/// The engine's interrupter, which tells nothing of itself.
pub(crate) struct Interrupt(pub(crate) Interrupter);

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupt")
    }
}

/// One participant: submits lines, receives everything that is shown.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    updates: Updates,
}

/// What a client is told, in order.
#[derive(Debug)]
pub struct Updates {
    /// Several at a time, since each message wakes a thread.
    received: Receiver<Vec<Update>>,
    /// Those that came and were not asked for yet.
    ready: RefCell<VecDeque<Update>>,
}

impl Updates {
    fn new(received: Receiver<Vec<Update>>) -> Updates {
        Updates { received, ready: RefCell::default() }
    }

    /// The next one; `None` when the session is gone.
    pub fn next(&self) -> Option<Update> {
        loop {
            if let Some(update) = self.ready.borrow_mut().pop_front() {
                return Some(update);
            }
            let more = self.received.recv().ok()?;
            self.ready.borrow_mut().extend(more);
        }
    }

    fn next_within(&self, time: Duration) -> Result<Update, RecvTimeoutError> {
        loop {
            if let Some(update) = self.ready.borrow_mut().pop_front() {
                return Ok(update);
            }
            let more = self.received.recv_timeout(time)?;
            self.ready.borrow_mut().extend(more);
        }
    }
}

impl Session {
    /// Starts a session on a thread of its own. `build` makes the debugger there, and may show something while it does;
    /// if it fails, the client gets [`Update::Failed`] with its error.
    ///
    /// # Errors
    /// If there are no more threads or descriptors.
    pub fn start(
        build: impl FnOnce(&mut dyn Output) -> Result<Debugger, String> + Send + 'static,
    ) -> std::io::Result<(Session, Client)> {
        let (waker, wake) = wake::pair()?;
        let (requests, inbox) = mpsc::channel();
        let (first, updates) = mpsc::channel();
        let interrupter: Arc<OnceLock<Interrupt>> = Arc::default();
        let shared = Shared { requests: Mutex::new(requests), waker, interrupter: interrupter.clone() };
        let shared = Arc::new(shared);
        let run = move || {
            let mut broadcast = Broadcast::new(first);
            match build(&mut broadcast) {
                Ok(mut debugger) => {
                    let told = broadcast.clone();
                    let progress = move |what: &str, permille: u32| {
                        told.send(Update::Progress { what: what.to_owned(), permille });
                        told.send_pending();
                    };
                    debugger.engine.set_symbol_progress(Some(Arc::new(progress)));
                    let told = broadcast.clone();
                    debugger.engine.set_link_watcher(Some(Arc::new(move |news| told.clone().tell_link(&news))));
                    // Nobody else sets it.
                    let _ = interrupter.set(Interrupt(debugger.engine.interrupter()));
                    Service::new(debugger, inbox, wake, broadcast).run();
                }
                Err(reason) => {
                    broadcast.send(Update::Failed(reason));
                    broadcast.send_pending();
                }
            }
        };
        let thread = thread::Builder::new().name("session".into()).stack_size(STACK_SIZE).spawn(run)?;
        let client = Client { shared: shared.clone(), updates: Updates::new(updates) };
        Ok((Session { shared, thread: Some(thread) }, client))
    }

    /// Another participant, who is shown everything from now on, the prompt first if one is due.
    pub fn connect(&self) -> Client {
        let (sender, updates) = mpsc::channel();
        self.shared.send(Request::Connect(sender));
        Client { shared: self.shared.clone(), updates: Updates::new(updates) }
    }

    /// A handle that only interrupts, for signal handlers' threads.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.interrupt()
    }

    /// Waits for the session's end.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Client {
    /// Submits a command line; an empty one repeats the last. Lines are carried out in the order they come.
    pub fn submit(&self, line: &str) {
        self.shared.send(Request::Execute(line.to_owned()));
    }

    /// Sends what was typed to the terminal of the debuggee; dropped if none has one.
    pub fn type_input(&self, bytes: Vec<u8>) {
        self.shared.send(Request::Input(bytes));
    }

    /// Tells the debuggee's terminal, if it has one, that the window has another size.
    pub fn resize_terminal(&self, columns: u16, rows: u16) {
        self.shared.send(Request::Resize { columns, rows });
    }

    /// Breaks in if the debuggee runs, else cancels the command in progress.
    pub fn interrupt(&self) {
        self.shared.interrupt();
    }

    /// The next update; `None` when the session is gone.
    pub fn next_update(&self) -> Option<Update> {
        self.updates.next()
    }

    /// Takes the updates out, to be received by another thread; this client has none any more.
    pub fn split_updates(&mut self) -> Updates {
        let (_, none) = mpsc::channel();
        std::mem::replace(&mut self.updates, Updates::new(none))
    }

    /// The next update, if one comes within a time.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    pub fn next_update_within(&self, time: Duration) -> Result<Update, RecvTimeoutError> {
        self.updates.next_within(time)
    }

    /// What a line could go on with at the byte position `cursor`; `None` if the session is busy for longer than a
    /// user would wait.
    pub fn complete(&self, line: &str, cursor: usize) -> Option<Completion> {
        /// Symbols may have to be loaded, once.
        const PATIENCE: Duration = Duration::from_secs(10);
        let (answer, answers) = mpsc::channel();
        self.shared.send(Request::Complete { line: line.to_owned(), cursor, answer });
        answers.recv_timeout(PATIENCE).ok()
    }
}

impl Shared {
    fn send(&self, request: Request) {
        // A session that is over tells so by its updates.
        let _ = self.requests.lock().unwrap_or_else(PoisonError::into_inner).send(request);
        self.waker.wake();
    }

    fn interrupt(&self) {
        if let Some(Interrupt(interrupter)) = self.interrupter.get() {
            interrupter.interrupt();
        }
    }
}
