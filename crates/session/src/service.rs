//! The session's thread: requests and the debuggee's events, one after the other.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outpost_commands::{Completion, Debugger, Output, OutputKind, Progress};
use outpost_engine::target::{LinkNews, StdioSpec};
use outpost_engine::{EngineError, Wait};

use crate::Update;
use crate::wake::Wake;

/// What clients ask for.
pub(crate) enum Request {
    Execute(String),
    Input(Vec<u8>),
    Resize { columns: u16, rows: u16 },
    Connect(Sender<Vec<Update>>),
    Complete { line: String, cursor: usize, answer: Sender<Completion> },
}

/// Everyone who is shown what happens. Cloning shares the list.
///
/// What is to be told is gathered, since each message wakes a thread on the way of every step: it goes out before
/// anything that may take long, when the session waits, and when there is much of it or some of it is old.
#[derive(Clone)]
pub(crate) struct Broadcast {
    shared: Arc<Mutex<Listeners>>,
}

struct Listeners {
    clients: Vec<Sender<Vec<Update>>>,
    pending: Vec<Update>,
    /// Bytes of text in `pending`.
    size: usize,
    /// When the first of `pending` was told.
    since: Instant,
    /// The session has begun: what is told while it is being made, which may take long, goes out at once.
    gathers: bool,
}

/// So much text is sent at once.
const MAX_PENDING: usize = 16 << 10;
/// What is older is sent: where events come ever sooner than [`SOON`], the session never waits.
const MAX_AGE: Duration = Duration::from_millis(20);
/// A debuggee that stops again sooner, as steps do, is not told to be running.
const SOON: Duration = Duration::from_millis(2);

impl Broadcast {
    pub(crate) fn new(first: Sender<Vec<Update>>) -> Broadcast {
        let listeners =
            Listeners { clients: vec![first], pending: Vec::new(), size: 0, since: Instant::now(), gathers: false };
        Broadcast { shared: Arc::new(Mutex::new(listeners)) }
    }

    /// From now on what is told is gathered.
    pub(crate) fn begin(&self) {
        self.lock().gathers = true;
    }

    /// Adds to what all are told.
    pub(crate) fn send(&self, update: Update) {
        self.lock().add(update);
    }

    /// Tells all what was gathered; those who are gone are forgotten.
    pub(crate) fn send_pending(&self) {
        self.lock().send();
    }

    /// The same, if it is time.
    fn send_if_due(&self) {
        self.lock().send_if_due();
    }

    /// Tells what became of the link to a target.
    pub(crate) fn tell_link(&mut self, news: &LinkNews) {
        let text = match news {
            LinkNews::Lost { reason } => format!("link lost ({reason}): reconnecting ... (Ctrl+C gives up)\n"),
            LinkNews::Resumed => "link resumed\n".to_owned(),
        };
        self.write(OutputKind::Warning, &text);
        self.send_pending();
    }

    fn add(&self, client: Sender<Vec<Update>>) {
        let mut listeners = self.lock();
        // What was gathered was before its time.
        listeners.send();
        listeners.clients.push(client);
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    fn add(&mut self, update: Update) {
        if let Update::Output { text, .. } = &update {
            self.size += text.len();
        }
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        self.pending.push(update);
        self.send_if_due();
    }

    fn send_if_due(&mut self) {
        let is_due = self.size >= MAX_PENDING || (!self.pending.is_empty() && self.since.elapsed() >= MAX_AGE);
        if !self.gathers || is_due {
            self.send();
        }
    }

    fn send(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.size = 0;
        let updates = std::mem::take(&mut self.pending);
        self.clients.retain(|client| client.send(updates.clone()).is_ok());
    }
}

impl Output for Broadcast {
    fn write(&mut self, kind: OutputKind, text: &str) {
        let mut listeners = self.lock();
        match listeners.pending.last_mut() {
            Some(Update::Output { kind: last, text: shown }) if *last == kind => {
                shown.push_str(text);
                listeners.size += text.len();
                listeners.send_if_due();
            }
            _ => listeners.add(Update::Output { kind, text: text.to_owned() }),
        }
    }

    fn flush(&mut self) {
        let mut listeners = self.lock();
        // That a command is under way is worth no message of its own.
        if listeners.size > 0 {
            listeners.send();
        }
    }
}

pub(crate) struct Service {
    debugger: Debugger,
    inbox: Receiver<Request>,
    wake: Wake,
    broadcast: Broadcast,
    /// Lines that wait for the prompt.
    lines: VecDeque<String>,
    /// The prompt that clients were shown last, while it is valid.
    prompted: Option<String>,
    /// Clients know that the debuggee runs.
    told_running: bool,
}

impl Service {
    pub(crate) fn new(debugger: Debugger, inbox: Receiver<Request>, wake: Wake, broadcast: Broadcast) -> Service {
        Service { debugger, inbox, wake, broadcast, lines: VecDeque::new(), prompted: None, told_running: false }
    }

    pub(crate) fn run(mut self) {
        self.broadcast.begin();
        loop {
            let clients_left = self.take_requests();
            let progress = self.debugger.progress();
            self.told_running &= progress == Progress::Running;
            match progress {
                Progress::Ended(ending) => {
                    self.broadcast.send(Update::Ended(ending));
                    self.broadcast.send_pending();
                    return;
                }
                // With nobody left to command it, the session ends as if by `q`.
                Progress::Prompt if !clients_left && self.lines.is_empty() => {
                    self.debugger.execute("q", &mut self.broadcast);
                }
                Progress::Prompt => match self.lines.pop_front() {
                    Some(line) => {
                        self.prompted = None;
                        self.broadcast.send(Update::Busy);
                        self.debugger.execute(&line, &mut self.broadcast);
                    }
                    None => {
                        let prompt = self.debugger.prompt();
                        if self.prompted.as_ref() != Some(&prompt) {
                            self.broadcast.send(Update::Prompt(prompt.clone()));
                            self.prompted = Some(prompt);
                        }
                        self.wait();
                    }
                },
                Progress::Running => {
                    self.prompted = None;
                    if !std::mem::replace(&mut self.told_running, true) {
                        let takes_input = self.debugger.engine.terminal_process().is_some();
                        self.broadcast.send(Update::Running { takes_input });
                    }
                    self.wait();
                }
            }
        }
    }

    /// Waits for an event or a request.
    fn wait(&mut self) {
        if self.debugger.progress() == Progress::Running {
            self.broadcast.send_if_due();
            match self.debugger.engine.wait(Some(SOON), &[self.wake.as_fd()]) {
                Ok(Wait::TimedOut) => {}
                waited => return self.waited(waited),
            }
        }
        self.broadcast.send_pending();
        let waited = self.debugger.engine.wait(None, &[self.wake.as_fd()]);
        self.waited(waited);
    }

    fn waited(&mut self, waited: Result<Wait, EngineError>) {
        match waited {
            Ok(Wait::Event(event)) => {
                // What is shown while a prompt stands makes it stale.
                self.prompted = None;
                self.debugger.event(event, &mut self.broadcast);
            }
            Ok(_) => {}
            // Nothing that could make an event: only requests are left to wait for.
            Err(EngineError::NotRunning) if self.debugger.progress() == Progress::Prompt => {
                if let Ok(request) = self.inbox.recv() {
                    self.take(request);
                }
            }
            Err(error) => {
                self.prompted = None;
                self.debugger.event_failed(&error, &mut self.broadcast);
            }
        }
    }

    /// Takes in all requests there are; whether more can come.
    fn take_requests(&mut self) -> bool {
        self.wake.clear();
        loop {
            match self.inbox.try_recv() {
                Ok(request) => self.take(request),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Execute(line) => self.lines.push_back(line),
            Request::Input(bytes) => {
                if let Some(process) = self.debugger.engine.terminal_process()
                    && let Err(error) = self.debugger.engine.write_input(process, &bytes)
                {
                    self.broadcast.write(OutputKind::Error, &format!("The debuggee takes no input: {error}\n"));
                }
            }
            Request::Resize { columns, rows } => {
                // Processes that are created from now on have this size, too.
                if let StdioSpec::Pty { .. } = self.debugger.settings.stdio {
                    self.debugger.settings.stdio = StdioSpec::Pty { columns, rows };
                }
                // A window that keeps its size, as one of an older server does, is worth no word.
                if let Some(process) = self.debugger.engine.terminal_process() {
                    let _ = self.debugger.engine.resize_terminal(process, columns, rows);
                }
            }
            Request::Connect(client) => {
                if let Some(prompt) = &self.prompted {
                    // Whoever is gone already need not be told.
                    let _ = client.send(vec![Update::Prompt(prompt.clone())]);
                }
                self.broadcast.add(client);
            }
            Request::Complete { line, cursor, answer } => {
                let completion = self.debugger.complete(&line, cursor);
                // Whoever asked may have stopped waiting.
                let _ = answer.send(completion);
            }
        }
    }
}
