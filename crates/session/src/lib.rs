//! One debugging session that clients talk to by text.
//!
//! Given a way to make an [`Interpreter`], it runs that on a thread of its own, since an engine never leaves the thread
//! that made it, and gives clients a queue in each direction: lines in, an ordered stream of [`Chunk`]s out. Today the one
//! client is in the same process. Terminals are for the crates above.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

pub use outpost_commands::{Completion, Ended, Interpreter, OutputKind};

use outpost_commands::Output;
use outpost_engine::Interrupter;

/// Chunks that wait for a slow reader; a full queue holds the session's output back, never its memory.
const QUEUED_CHUNKS: usize = 1024;

/// What a session tells its client, in order.
#[derive(Debug)]
pub enum Chunk {
    /// Text to show.
    Text(OutputKind, String),
    /// Long work has got this far, in units of its own; `None`: it is over.
    Progress(String, Option<(u64, u64)>),
    /// Nothing is under way: the next line may come. Holds the prompt.
    Ready(String),
    /// A command asks for a line; [`Session::answer`] gives it.
    Ask(String),
    /// The session is over; nothing follows.
    Ended(Ended),
}

/// A handle on a running session.
pub struct Session {
    requests: Sender<Request>,
    answers: Sender<Option<String>>,
    chunks: Receiver<Chunk>,
    interrupter: Arc<OnceLock<Interrupter>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Line(String),
    Complete(String, usize, Sender<Vec<Completion>>),
}

impl Session {
    /// Starts a session. `make` runs on its thread and may already write, such as the banner and the first stop; `None`
    /// ends the session before it began.
    pub fn start(make: impl FnOnce(&mut dyn Output) -> Result<Interpreter, Ended> + Send + 'static) -> Session {
        let (requests, incoming) = channel();
        let (answers, answered) = channel();
        let (outgoing, chunks) = sync_channel(QUEUED_CHUNKS);
        let interrupter = Arc::new(OnceLock::new());
        let shared = Arc::clone(&interrupter);
        let thread = std::thread::spawn(move || {
            let mut output = Queue { chunks: outgoing, answers: answered };
            let ended = match make(&mut output) {
                Ok(interpreter) => {
                    drop(shared.set(interpreter.interrupter()));
                    serve(interpreter, &incoming, &mut output)
                }
                Err(ended) => ended,
            };
            output.send(Chunk::Ended(ended));
        });
        Session { requests, answers, chunks, interrupter, thread: Some(thread) }
    }

    /// The next chunk; waits for it. After [`Chunk::Ended`] it is always that.
    pub fn next(&self) -> Chunk {
        self.chunks.recv().unwrap_or(Chunk::Ended(Ended::default()))
    }

    /// Gives a line to be carried out after those given before.
    pub fn submit(&self, line: &str) {
        drop(self.requests.send(Request::Line(line.into())));
    }

    /// Answers [`Chunk::Ask`]; `None`: nobody can.
    pub fn answer(&self, line: Option<String>) {
        drop(self.answers.send(line));
    }

    /// What the word that ends at byte `position` of `line` could become. Only between [`Chunk::Ready`] and the next
    /// line; at other times it waits.
    pub fn complete(&self, line: &str, position: usize) -> Vec<Completion> {
        let (reply, answer) = channel();
        drop(self.requests.send(Request::Complete(line.into(), position, reply)));
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
}

impl Drop for Session {
    fn drop(&mut self) {
        // With its queues gone the session ends by itself; debuggees are let go before the program does.
        self.interrupter()();
        let (closed, _) = channel();
        self.requests = closed;
        let (closed, _) = channel();
        self.answers = closed;
        while self.chunks.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(mut interpreter: Interpreter, requests: &Receiver<Request>, output: &mut Queue) -> Ended {
    if let Some(ended) = interpreter.ended() {
        return ended;
    }
    output.send(Chunk::Ready(interpreter.prompt()));
    for request in requests {
        match request {
            Request::Line(line) => {
                if let Some(ended) = interpreter.execute(&line, output) {
                    return ended;
                }
                output.send(Chunk::Ready(interpreter.prompt()));
            }
            Request::Complete(line, position, reply) => drop(reply.send(interpreter.complete(&line, position))),
        }
    }
    // The client is gone without a word.
    interpreter.abandoned()
}

/// The interpreter's output as chunks.
struct Queue {
    chunks: SyncSender<Chunk>,
    answers: Receiver<Option<String>>,
}

impl Queue {
    fn send(&self, chunk: Chunk) {
        // A client that is gone reads nothing; its session ends with the current line.
        drop(self.chunks.send(chunk));
    }
}

impl Output for Queue {
    fn write(&mut self, kind: OutputKind, text: &str) {
        self.send(Chunk::Text(kind, text.into()));
    }

    fn ask(&mut self, prompt: &str) -> Option<String> {
        self.send(Chunk::Ask(prompt.into()));
        self.answers.recv().ok().flatten()
    }

    fn progress(&mut self, what: &str, done: Option<(u64, u64)>) {
        self.send(Chunk::Progress(what.into(), done));
    }
}
