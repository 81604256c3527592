//! A service on tokio as programs outside are written: tasks, a mutex across an await, timers. A debuggee for tests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

async fn counted(counter: Arc<Mutex<u64>>, step: u64) {
    loop {
        {
            let mut value = counter.lock().await;
            *value += step;
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}

#[expect(clippy::print_stdout, reason = "how tests know that it is ready")]
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let counter = Arc::new(Mutex::new(0));
    let tasks: Vec<_> = (1..=3).map(|step| tokio::spawn(counted(Arc::clone(&counter), step))).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    println!("ready {}", counter.lock().await);
    for task in tasks {
        task.await.expect("tasks do not end");
    }
}
