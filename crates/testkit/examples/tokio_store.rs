//! A store of words behind TCP on tokio, with clients that keep it busy: connections, channels, timers, blocking work,
//! select and join. A debuggee for tests; it ends once each client has asked so many questions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, RwLock, Semaphore, broadcast, mpsc, oneshot};

/// What a client asks for.
#[derive(Clone, Debug)]
enum Question {
    Get(String),
    Put { key: String, value: Value, ttl: Option<Duration> },
    Sum { from: u32, to: u32 },
    Quit,
}

/// What the store keeps.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(f64),
    Pair(Box<Value>, Box<Value>),
    Nothing,
}

enum Answer {
    Found { value: Value, reads: u64 },
    Missing(String),
    Done,
    Sum(u64),
}

impl Answer {
    fn text(&self, seen: usize) -> String {
        match self {
            Answer::Found { value, reads } => format!("{value:?} read {reads} times, {seen}\n"),
            Answer::Missing(key) => format!("no {key}, {seen}\n"),
            Answer::Done => format!("done, {seen}\n"),
            Answer::Sum(sum) => format!("{sum}, {seen}\n"),
        }
    }
}

struct Entry {
    value: Value,
    reads: u64,
    ttl: Option<Duration>,
}

struct Store {
    entries: RwLock<HashMap<String, Entry>>,
    recent: Mutex<BTreeMap<usize, String>>,
    asked: AtomicUsize,
    blocking: Semaphore,
    changes: broadcast::Sender<(String, usize)>,
}

struct Asked {
    question: Question,
    answer: oneshot::Sender<Answer>,
}

fn parse(line: &str) -> Result<Question, String> {
    let mut words = line.split_whitespace();
    let verb = words.next().ok_or("nothing asked")?;
    let mut word = |what: &str| words.next().map(str::to_owned).ok_or_else(|| format!("{verb} without {what}"));
    match verb {
        "get" => Ok(Question::Get(word("key")?)),
        "put" => {
            let key = word("key")?;
            let value = parse_value(&word("value")?, 0);
            let ttl = word("ttl").ok().and_then(|text| text.parse().ok()).map(Duration::from_millis);
            Ok(Question::Put { key, value, ttl })
        }
        "sum" => {
            let mut number = |what| word(what)?.parse().map_err(|error| format!("{what}: {error}"));
            Ok(Question::Sum { from: number("from")?, to: number("to")? })
        }
        "quit" => Ok(Question::Quit),
        other => Err(format!("what is {other:?}?")),
    }
}

fn parse_value(text: &str, depth: usize) -> Value {
    if let Some((left, right)) = text.split_once(',').filter(|_| depth < 8) {
        return Value::Pair(Box::new(parse_value(left, depth + 1)), Box::new(parse_value(right, depth + 1)));
    }
    match text.parse() {
        Ok(number) => Value::Number(number),
        Err(_) if text == "-" => Value::Nothing,
        Err(_) => Value::Text(text.to_owned()),
    }
}

impl Store {
    async fn answer(self: &Arc<Self>, question: Question) -> Answer {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        match question {
            Question::Get(key) => {
                let mut entries = self.entries.write().await;
                let Some(entry) = entries.get_mut(&key) else { return Answer::Missing(key) };
                entry.reads += 1;
                let mut recent = self.recent.lock().await;
                recent.insert(number, key);
                while recent.len() > 16 {
                    recent.pop_first();
                }
                Answer::Found { value: entry.value.clone(), reads: entry.reads }
            }
            Question::Put { key, value, ttl } => {
                let entry = Entry { value, reads: 0, ttl };
                self.entries.write().await.insert(key.clone(), entry);
                // Nobody may be listening.
                drop(self.changes.send((key, number)));
                Answer::Done
            }
            Question::Sum { from, to } => {
                let permit = self.blocking.acquire().await;
                let sum = tokio::task::spawn_blocking(move || sum_of(from, to)).await.unwrap_or_default();
                drop(permit);
                Answer::Sum(sum)
            }
            Question::Quit => Answer::Done,
        }
    }
}

#[inline(never)]
fn sum_of(from: u32, to: u32) -> u64 {
    let squares = (from..to).map(u64::from).filter(|number| number % 3 != 0).map(|number| number * number);
    squares.fold(0, u64::wrapping_add)
}

async fn keep(store: Arc<Store>, mut asked: mpsc::Receiver<Asked>) {
    while let Some(Asked { question, answer }) = asked.recv().await {
        let found = store.answer(question).await;
        drop(answer.send(found));
    }
}

async fn forget(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    loop {
        ticks.tick().await;
        let mut entries = store.entries.write().await;
        entries.retain(|_, entry| entry.ttl.is_none_or(|ttl| ttl > Duration::from_millis(entry.reads)));
    }
}

async fn serve(stream: TcpStream, asked: mpsc::Sender<Asked>, mut changes: broadcast::Receiver<(String, usize)>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut seen = 0_usize;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            change = changes.recv() => {
                seen += change.map_or(0, |(key, number)| key.len() + number % 2);
                continue;
            }
        };
        let Ok(Some(line)) = line else { return };
        let text = match parse(&line) {
            Ok(Question::Quit) => return,
            Ok(question) => {
                let (answer, told) = oneshot::channel();
                if asked.send(Asked { question, answer }).await.is_err() {
                    return;
                }
                match tokio::time::timeout(Duration::from_secs(5), told).await {
                    Ok(Ok(answer)) => answer.text(seen),
                    Ok(Err(_)) | Err(_) => "no answer\n".to_owned(),
                }
            }
            Err(problem) => format!("error: {problem}\n"),
        };
        if writer.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn client(port: u16, number: u32, questions: u32) -> std::io::Result<usize> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (reader, mut writer) = stream.into_split();
    let mut answers = BufReader::new(reader).lines();
    let mut length = 0;
    for count in 0..questions {
        let line = match (count + number) % 6 {
            0 => format!("put k{} {},x{count},- {}\n", count % 40, f64::from(count) / 7.0, count % 9),
            1 | 2 => format!("get k{}\n", (count * 7 + number) % 50),
            3 => format!("sum {number} {}\n", count * 50),
            4 => format!("put name{number} text{count}\n"),
            _ => format!("ask {count}\n"),
        };
        writer.write_all(line.as_bytes()).await?;
        length += answers.next_line().await?.map_or(0, |line| line.len());
        if count % 64 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    writer.write_all(b"quit\n").await?;
    Ok(length)
}

#[expect(clippy::print_stdout, reason = "how tests know that it did its work")]
#[tokio::main(flavor = "multi_thread", worker_threads = 3)]
async fn main() -> std::io::Result<()> {
    let questions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let (changes, _) = broadcast::channel(64);
    let store = Arc::new(Store {
        entries: RwLock::new(HashMap::new()),
        recent: Mutex::new(BTreeMap::new()),
        asked: AtomicUsize::new(0),
        blocking: Semaphore::new(2),
        changes,
    });
    let (asking, asked) = mpsc::channel(8);
    tokio::spawn(keep(Arc::clone(&store), asked));
    tokio::spawn(forget(Arc::clone(&store)));
    let connections = Arc::clone(&store);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, asking.clone(), connections.changes.subscribe()));
        }
    });
    let clients: Vec<_> = (0..4).map(|number| tokio::spawn(client(port, number, questions))).collect();
    let mut length = 0;
    for client in clients {
        length += client.await??;
    }
    println!("{} asked, {}", store.asked.load(Ordering::Relaxed), length > 0);
    Ok(())
}
