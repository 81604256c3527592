//! One debugging session that clients talk to by text.
//!
//! Given a way to make a [`Debugger`], it runs that on a thread of its own, since an engine never leaves the thread that
//! made it, and gives clients a queue in each direction: lines in, an ordered stream of [`Chunk`]s out. Today the one
//! client is in the same process. Terminals are for the crates above.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

pub use outpost_commands::{Completion, Debugger, Ending, Output, OutputKind};

use outpost_commands::Progress;
use outpost_engine::{Interrupter, Wait};

/// Chunks that wait for a slow reader; a full queue holds the session's output back, never its memory.
const QUEUED_CHUNKS: usize = 1024;

/// What a session tells its client, in order.
#[derive(Debug)]
pub enum Chunk {
    /// Text to show.
    Text(OutputKind, String),
    /// Nothing is under way: the next line may come. Holds the prompt.
    Ready(String),
    /// The session is over; nothing follows. `None`: it never began.
    Ended(Option<Ending>),
}

/// A handle on a running session. Dropping it ends the session and waits until that is done.
pub struct Session {
    requests: Option<Sender<Request>>,
    chunks: Receiver<Chunk>,
    interrupter: Arc<OnceLock<Interrupter>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Line(String),
    Complete(String, usize, Sender<Vec<Completion>>),
}

impl Session {
    /// Starts a session. `make` runs on its thread and may already write, such as why there is nothing to debug; `None`
    /// ends the session before it began. An event that it made due is waited for before the first prompt.
    pub fn start(make: impl FnOnce(&mut dyn Output) -> Option<Debugger> + Send + 'static) -> Session {
        let (requests, incoming) = channel();
        let (outgoing, chunks) = sync_channel(QUEUED_CHUNKS);
        let interrupter = Arc::new(OnceLock::new());
        let shared = Arc::clone(&interrupter);
        let thread = std::thread::spawn(move || {
            let mut output = Queue(outgoing);
            let ending = make(&mut output).map(|debugger| {
                drop(shared.set(debugger.engine.interrupter()));
                serve(debugger, &incoming, &mut output)
            });
            output.send(Chunk::Ended(ending));
        });
        Session { requests: Some(requests), chunks, interrupter, thread: Some(thread) }
    }

    /// The next chunk; waits for it. After [`Chunk::Ended`] it is always that.
    pub fn next(&self) -> Chunk {
        self.chunks.recv().unwrap_or(Chunk::Ended(None))
    }

    /// Gives a line to be carried out after those given before.
    pub fn submit(&self, line: &str) {
        self.request(Request::Line(line.into()));
    }

    /// What the word that ends at byte `position` of `line` could become. Only between [`Chunk::Ready`] and the next
    /// line; at other times it waits.
    pub fn complete(&self, line: &str, position: usize) -> Vec<Completion> {
        let (reply, answer) = channel();
        self.request(Request::Complete(line.into(), position, reply));
        answer.recv().unwrap_or_default()
    }

    /// Breaks in if the debuggee runs, else cancels the command in progress. Returns at once; for any thread.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let shared = Arc::clone(&self.interrupter);
        move || {
            if let Some(interrupter) = shared.get() {
                interrupter.interrupt();
            }
        }
    }

    fn request(&self, request: Request) {
        // A session that is over answers nobody; its last chunk says so.
        if let Some(requests) = &self.requests {
            drop(requests.send(request));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // With its queue gone the session ends by itself; debuggees are let go before the program is.
        self.requests = None;
        self.interrupter()();
        while self.chunks.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(mut debugger: Debugger, requests: &Receiver<Request>, output: &mut Queue) -> Ending {
    let mut progress = debugger.progress();
    loop {
        match progress {
            Progress::Ended(ending) => return ending,
            Progress::Running => {
                progress = match debugger.engine.wait(None, &[]) {
                    Ok(Wait::Event(event)) => debugger.event(event, output),
                    Ok(Wait::OtherReadable | Wait::TimedOut) => debugger.progress(),
                    Err(error) => debugger.event_failed(&error, output),
                };
                continue;
            }
            Progress::Prompt => output.send(Chunk::Ready(debugger.prompt())),
        }
        progress = loop {
            match requests.recv() {
                Ok(Request::Line(line)) => break debugger.execute(&line, output),
                Ok(Request::Complete(line, position, reply)) => drop(reply.send(debugger.complete(&line, position))),
                // The client is gone without a word: as if it had quit.
                Err(_) => return Ending::Quit,
            }
        };
    }
}

/// The debugger's output as chunks.
struct Queue(SyncSender<Chunk>);

impl Queue {
    fn send(&self, chunk: Chunk) {
        // A client that is gone reads nothing; its session ends with the current line.
        drop(self.0.send(chunk));
    }
}

impl Output for Queue {
    fn write(&mut self, kind: OutputKind, text: &str) {
        self.send(Chunk::Text(kind, text.into()));
    }
}
