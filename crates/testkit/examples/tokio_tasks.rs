//! Tasks on tokio that all wait for something: each other, a lock, a message, time. A debuggee for tests, which read it for
//! the lines with `here` in them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

async fn locked(counter: Arc<Mutex<u64>>) -> u64 {
    let value = counter.lock().await; // here: locked
    *value
}

async fn outer(counter: Arc<Mutex<u64>>) -> u64 {
    middle(counter).await + 1 // here: outer
}

async fn middle(counter: Arc<Mutex<u64>>) -> u64 {
    let boxed: Pin<Box<dyn Future<Output = u64> + Send>> = Box::pin(locked(counter));
    boxed.await // here: middle
}

async fn joined(other: JoinHandle<u64>) -> u64 {
    other.await.unwrap_or(0) // here: joined
}

async fn received(mut messages: mpsc::Receiver<u64>) -> Option<u64> {
    tokio::time::sleep(Duration::from_nanos(1)).await;
    messages.recv().await // here: received
}

async fn combined(counter: Arc<Mutex<u64>>) {
    let limited = tokio::time::timeout(Duration::from_secs(3600), locked(Arc::clone(&counter)));
    let chosen = async {
        tokio::select! {
            value = locked(Arc::clone(&counter)) => value,
            () = tokio::time::sleep(Duration::from_secs(3600)) => 0,
        }
    };
    let _ended = tokio::join!(limited, chosen);
}

#[expect(clippy::print_stdout, reason = "how tests know that it is ready")]
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let counter = Arc::new(Mutex::new(0));
    let held = counter.lock().await;
    let first = tokio::spawn(outer(Arc::clone(&counter)));
    let second = tokio::spawn(joined(first));
    let (sender, messages) = mpsc::channel(1);
    let third = tokio::spawn(received(messages));
    let fourth = tokio::spawn(async move {
        let limit = Duration::from_secs(3600);
        tokio::time::sleep(limit).await; // here: block
    });
    let fifth = tokio::spawn(combined(Arc::clone(&counter)));
    println!("ready");
    let ended = (second.await, third.await, fourth.await, fifth.await);
    drop((held, sender, ended));
}
