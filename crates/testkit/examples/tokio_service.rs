//! A service on tokio as programs outside are written: tasks, a mutex across an await, timers. A debuggee for tests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

async fn counted(counter: Arc<Mutex<u64>>, step: u64) {
    loop {
        {
            let mut value = counter.lock().await;
            *value += step;
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

/// An answer to one line of input.
#[inline(never)]
fn answer(question: &str, count: u64) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    format!("{} words, {count} counted", words.len())
}

#[expect(clippy::print_stdout, reason = "how tests know that it is ready")]
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let counter = Arc::new(Mutex::new(0));
    for step in 1..=3 {
        tokio::spawn(counted(Arc::clone(&counter), step));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    println!("ready {}", counter.lock().await);
    let (questions, mut asked) = mpsc::channel(4);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(Result::ok);
        lines.for_each(|line| questions.blocking_send(line).expect("the service listens"));
    });
    while let Some(question) = asked.recv().await {
        println!("{}", answer(&question, *counter.lock().await));
    }
}
