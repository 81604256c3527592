//! Debug files from servers: a real debuginfod, and servers that stall, lie and send garbage.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outpost_symbols::{
    Artifact, Debuginfod, FetchOptions, FetchRequest, FetchResult, Fetching, LocalFiles, Patience, SearchOutcome,
    ServerLayout, SymbolPath, find_debug_files,
};
use support::{Built, build, open, run_in};

const PROGRAM: &str = "int main(int argc, char **argv) { return argc; }\n";

/// A server of a test; `answer` gets the path and writes the response.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("is bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (asked.clone(), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), count, answer) = (stream, count.clone(), answer.clone()) else { return };
            std::thread::spawn(move || {
                let mut request = vec![0; 4096];
                let len = stream.read(&mut request).unwrap_or(0);
                count.fetch_add(1, Ordering::SeqCst);
                let text = String::from_utf8_lossy(&request[..len]).into_owned();
                answer(text.split(' ').nth(1).unwrap_or_default(), &mut stream);
            });
        }
    });
    (url, asked)
}

fn send(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // The client may have gone, another being first.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn client(cache: &Path, timeout: Duration) -> Debuginfod {
    let mut options = FetchOptions::from_environment();
    (options.timeout, options.connect_timeout) = (timeout, timeout);
    (options.cache, options.urls, options.max_size) = (Some(cache.to_owned()), Vec::new(), 1 << 20);
    Debuginfod::new(options)
}

fn request(built: &Built, urls: &[&str]) -> FetchRequest {
    FetchRequest {
        build_id: built.elf().build_id().expect("has one").clone(),
        artifact: Artifact::DebugInfo,
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        layout: ServerLayout::Debuginfod,
        caches: Vec::new(),
    }
}

fn ask(client: &Debuginfod, request: FetchRequest) -> FetchResult {
    client.fetch(request).wait(&AtomicBool::new(false), &|_, _| {})
}

fn program() -> (Arc<Built>, Vec<u8>) {
    let built = build("gcc -g -Wl,--build-id=sha1", "a.c", PROGRAM);
    let bytes = std::fs::read(&built.path).expect("is there");
    (built, bytes)
}

/// Ends a server with its test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_debuginfod_serves_and_its_cache_is_shared() {
    if Command::new("debuginfod").arg("--version").output().is_err() {
        return outpost_testkit::skip("debuginfod is not installed");
    }
    let (built, _) = program();
    let dir = built.dir.path();
    // Whole before the server looks at it.
    run_in(dir, "cp program stripped");
    run_in(dir, "strip --strip-all stripped");
    let port = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("is bound").port().to_string();
    let served = Command::new("debuginfod")
        .args(["-p", &port, "-d", ":memory:", "-F"])
        .arg(dir)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _served = Served(served.expect("starts"));
    let url = format!("http://127.0.0.1:{port}");
    let cache = dir.join("kept");
    let path = SymbolPath::parse(&format!("/nonexistent;cache*{};DebugInfoD*{url}", cache.display()));
    let image = open(&dir.join("stripped"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let cancel = AtomicBool::new(false);
    let (found, report) = loop {
        // It listens, and knows its files, a while after it began.
        let client = client(&dir.join("unused"), Duration::from_secs(10));
        let patience = Patience { cancel: &cancel, tell: &|_, _, _| {} };
        let servers = Fetching { client: &client, patience: Some(patience) };
        let answer = find_debug_files(&image, None, &path, &LocalFiles, Some(&servers));
        if answer.0.debug.is_some() || Instant::now() > deadline {
            break answer;
        }
        let _ = std::fs::remove_dir_all(&cache);
        std::thread::sleep(Duration::from_millis(50));
    };
    let id = image.build_id().expect("has one").to_string();
    assert_eq!(found.debug_path.unwrap_or_else(|| panic!("{report:?}")), cache.join(&id).join("debuginfo"));
    assert!(report.found && found.debug.expect("is there").has_dwarf());
    let text = loop {
        // It knows a program's sources a while after the program.
        let source = FetchRequest {
            artifact: Artifact::Source(format!("{}/a.c", dir.canonicalize().expect("is there").display())),
            ..request(&built, &[&url])
        };
        // Another cache each time: that a server does not have it is remembered there, too.
        let sources = tempfile::tempdir().expect("temporary directory");
        let result = ask(&client(sources.path(), Duration::from_secs(10)), source);
        let text = result.file.as_ref().map(|file| std::fs::read_to_string(file).expect("reads"));
        if text.is_some() || Instant::now() > deadline {
            break text.unwrap_or_else(|| panic!("{:?}", result.steps));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(text, PROGRAM);
    // Elfutils' own client finds it in the same cache, without any server.
    let output = Command::new("debuginfod-find")
        .args(["debuginfo", &id])
        .env("DEBUGINFOD_CACHE_PATH", &cache)
        .env("DEBUGINFOD_URLS", "http://127.0.0.1:1")
        .output();
    if let Ok(output) = output {
        let expected = format!("{}\n", cache.join(&id).join("debuginfo").display());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn a_server_that_stalls_is_asked_once() {
    let (built, bytes) = program();
    let dir = tempfile::tempdir().expect("temporary directory");
    let (silent, asked) = serve(|_, _| std::thread::sleep(Duration::from_secs(60)));
    let client = client(dir.path(), Duration::from_millis(200));
    let result = ask(&client, request(&built, &[&silent]));
    assert!(result.file.is_none() && matches!(result.steps[0].outcome, SearchOutcome::Failed(_)), "{:?}", result.steps);
    let (good, _) = serve(move |_, stream| send(stream, "200 OK", &bytes));
    let result = ask(&client, request(&built, &[&silent, &good]));
    assert!(result.file.is_some(), "{:?}", result.steps);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the second question passed it over");
    assert!(result.steps.iter().any(|step| step.outcome.to_string().contains("did not answer")));
}

#[test]
fn lies_and_garbage_are_refused_and_the_next_server_serves() {
    let (built, bytes) = program();
    let other = std::fs::read(&build("gcc -g -Wl,--build-id=0x01234567", "b.c", PROGRAM).path).expect("is there");
    let dir = tempfile::tempdir().expect("temporary directory");
    let client = client(dir.path(), Duration::from_secs(10));
    let (liar, _) = serve(move |_, stream| send(stream, "200 OK", &other));
    let (garbage, _) = serve(|_, stream| send(stream, "200 OK", b"<html>Please log in"));
    let (huge, _) = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
    });
    let (cut, _) = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n\x7fELF");
    });
    let (broken, _) = serve(|_, stream| send(stream, "500 Oh no", b""));
    let all = [&*liar, &garbage, &huge, &cut, &broken];
    let result = ask(&client, request(&built, &all));
    assert!(result.file.is_none());
    let said: Vec<String> = result.steps.iter().map(|step| step.outcome.to_string()).collect();
    for wanted in ["its build-id is 01234567", "unreadable", "larger than the limit", "status 500"] {
        assert!(said.iter().any(|said| said.contains(wanted)), "{wanted}: {said:?}");
    }
    assert_eq!(said.len(), all.len(), "each is named: {said:?}");
    let left: Vec<_> =
        std::fs::read_dir(dir.path().join(request(&built, &[]).build_id.to_string())).expect("is made").collect();
    assert_eq!(left.len(), 0, "nothing of it is kept, and not that there is nothing");
    let (good, _) = serve(move |_, stream| send(stream, "200 OK", &bytes));
    assert!(ask(&client, request(&built, &[&liar, &garbage, &good])).file.is_some());
}

#[test]
fn what_no_server_has_is_asked_for_once() {
    let (built, _) = program();
    let dir = tempfile::tempdir().expect("temporary directory");
    let (empty, asked) = serve(|_, stream| send(stream, "404 Not Found", b""));
    for _ in 0..2 {
        assert!(ask(&client(dir.path(), Duration::from_secs(10)), request(&built, &[&empty])).file.is_none());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the second client saw what the first had noted");
}

#[test]
fn whoever_waits_may_give_up_and_whoever_does_not_wait_is_told() {
    let (built, _) = program();
    let dir = tempfile::tempdir().expect("temporary directory");
    let (silent, asked) = serve(|_, _| std::thread::sleep(Duration::from_secs(60)));
    let client = client(dir.path(), Duration::from_secs(60));
    let servers = Fetching { client: &client, patience: None };
    run_in(built.dir.path(), "strip --strip-all program");
    let path = SymbolPath::parse(&format!("DebugInfoD*{silent}"));
    let (_, report) = find_debug_files(&built.elf(), None, &path, &LocalFiles, Some(&servers));
    assert!(report.is_pending() && !report.found);
    let fetch = client.fetch(request(&built, &[&silent]));
    let cancel = AtomicBool::new(false);
    let result = fetch.wait(&cancel, &|_, _| cancel.store(asked.load(Ordering::SeqCst) == 1, Ordering::SeqCst));
    assert_eq!(result.steps[0].outcome, SearchOutcome::Cancelled);
    let (_, report) = find_debug_files(&built.elf(), None, &path, &LocalFiles, Some(&servers));
    assert!(!report.is_pending(), "it is not begun again by itself");
}
