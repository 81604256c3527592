//! Fetches: who is asked, in what order, and what came of it.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use ureq::Agent;

use super::cache::{self, Cached, Incoming};
use super::http::{self, Body, Failure};
use super::{Artifact, FetchOptions, FetchRequest};
use crate::{ElfFile, FileSource, SearchOutcome, SearchRule, SearchStep};

/// Fetches that are under way at once; the others wait their turn.
const AT_ONCE: usize = 8;
/// How often those who wait look whether they are still to.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// Longest source file that is fetched, in bytes.
const MAX_SOURCE: u64 = 64 << 20;

/// A client of servers that have files by build-id. Cloneable, and all clones are one.
///
/// What was fetched, what was not to be had and who did not answer is remembered until [`Debuginfod::forget`].
#[derive(Clone, Debug)]
pub struct Debuginfod {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: FetchOptions,
    agent: OnceLock<Agent>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fetches: HashMap<FetchRequest, Arc<Fetch>>,
    queue: VecDeque<Arc<Fetch>>,
    workers: usize,
    /// Servers that did not answer, with what was said of it.
    dead: HashMap<String, String>,
}

/// A fetch under way or done.
#[derive(Debug)]
pub struct Fetch {
    request: FetchRequest,
    done: AtomicU64,
    total: AtomicU64,
    abandoned: AtomicBool,
    result: Mutex<Option<FetchResult>>,
    finished: Condvar,
}

/// What came of a fetch.
#[derive(Clone, Debug, Default)]
pub struct FetchResult {
    /// The file, in the cache.
    pub file: Option<PathBuf>,
    /// What was looked at.
    pub steps: Vec<SearchStep>,
}

/// How a search uses servers.
#[derive(Clone, Copy)]
pub struct Fetching<'a> {
    /// Who asks them.
    pub client: &'a Debuginfod,
    /// Whoever waits for what they send; `None`: it is fetched in the background, and the search says so.
    pub patience: Option<Patience<'a>>,
}

/// A user who waits.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// Set when they no longer want to.
    pub cancel: &'a AtomicBool,
    /// Told, many times a second, what is being fetched, how many bytes have come and how many there are, 0 if that is
    /// not known.
    pub tell: &'a dyn Fn(&FetchRequest, u64, u64),
}

impl Fetching<'_> {
    /// Fetches, as patiently as said.
    pub fn fetch(&self, request: FetchRequest) -> FetchResult {
        let fetch = self.client.fetch(request);
        match self.patience {
            Some(patience) => fetch.wait(patience.cancel, &|done, total| (patience.tell)(&fetch.request, done, total)),
            None => fetch
                .result()
                .unwrap_or_else(|| FetchResult { file: None, steps: vec![fetch.step(SearchOutcome::Pending)] }),
        }
    }
}

/// What one server had to say.
enum Answer {
    Fetched(PathBuf),
    Missing,
    /// Another was first.
    Late,
    Failed(Failure, SearchOutcome),
}

impl Debuginfod {
    /// A client that knows nothing yet and starts no thread until it is asked.
    pub fn new(options: FetchOptions) -> Debuginfod {
        let shared = Shared { options, agent: OnceLock::new(), state: Mutex::default() };
        Debuginfod { shared: Arc::new(shared) }
    }

    /// Bounds and defaults.
    pub fn options(&self) -> &FetchOptions {
        &self.shared.options
    }

    /// Begins to fetch, unless that was done before or the cache has it. Returns at once.
    pub fn fetch(&self, mut request: FetchRequest) -> Arc<Fetch> {
        if request.caches.is_empty() {
            request.caches.extend(self.shared.options.cache.clone());
        }
        let mut state = self.shared.lock();
        if let Some(known) = state.fetches.get(&request) {
            return known.clone();
        }
        let fetch = Arc::new(Fetch {
            request: request.clone(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            result: Mutex::new(self.shared.cached(&request)),
            finished: Condvar::new(),
        });
        state.fetches.insert(request, fetch.clone());
        if fetch.result().is_none() {
            state.queue.push_back(fetch.clone());
            if state.workers < AT_ONCE {
                let shared = self.shared.clone();
                match thread::Builder::new().name("fetch".into()).spawn(move || shared.work()) {
                    Ok(_) => state.workers += 1,
                    Err(error) if state.workers == 0 => {
                        state.queue.clear();
                        fetch.finish(failed("start a thread", &error.to_string()));
                    }
                    Err(_) => {}
                }
            }
        }
        fetch
    }

    /// Forgets who did not answer and what was not to be had; what is under way goes on.
    pub fn forget(&self) {
        let mut state = self.shared.lock();
        state.dead.clear();
        state.fetches.retain(|_, fetch| fetch.result().is_none());
    }
}

impl Fetch {
    /// What came of it; `None` while it is under way.
    pub fn result(&self) -> Option<FetchResult> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it is done. Tells, many times a second, how many bytes have come and how many there are, 0 if that is
    /// not known. Once `cancel` is set it is given up, for good: the result says so.
    pub fn wait(&self, cancel: &AtomicBool, tell: &dyn Fn(u64, u64)) -> FetchResult {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            if cancel.load(Ordering::SeqCst) {
                self.abandoned.store(true, Ordering::SeqCst);
                let cancelled = FetchResult { file: None, steps: vec![self.step(SearchOutcome::Cancelled)] };
                return result.insert(cancelled).clone();
            }
            result = self.finished.wait_timeout(result, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            tell(self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        }
    }

    /// A step for all servers of the request.
    fn step(&self, outcome: SearchOutcome) -> SearchStep {
        SearchStep { place: self.request.urls.join(" ").into(), rule: SearchRule::Server, outcome }
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    fn finish(&self, outcome: FetchResult) {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.get_or_insert(outcome);
        self.finished.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of a request that needs no server.
    fn cached(&self, request: &FetchRequest) -> Option<FetchResult> {
        let mut steps = Vec::new();
        let mut note = |place: PathBuf, outcome| steps.push(SearchStep { place, rule: SearchRule::Cache, outcome });
        for directory in &request.caches {
            match cache::look(directory, request) {
                Cached::File(path) => {
                    let outcome = if is_wanted(&path, request).is_ok() { SearchOutcome::Used } else { continue };
                    note(path.clone(), outcome);
                    return Some(FetchResult { file: Some(path), steps });
                }
                Cached::Missing(path) => {
                    note(path, SearchOutcome::KnownMissing);
                    return Some(FetchResult { file: None, steps });
                }
                Cached::Nothing => {}
            }
        }
        None
    }

    /// Carries out fetches until none is left.
    fn work(self: Arc<Shared>) {
        loop {
            let fetch = {
                let mut state = self.lock();
                let Some(fetch) = state.queue.pop_front() else {
                    state.workers -= 1;
                    return;
                };
                fetch
            };
            if !fetch.is_abandoned() {
                let result = self.carry_out(&fetch);
                fetch.finish(result);
            }
        }
    }

    fn carry_out(self: &Arc<Shared>, fetch: &Arc<Fetch>) -> FetchResult {
        let request = &fetch.request;
        let Some(directory) = request.caches.first() else {
            return failed("keep what is fetched", "there is no cache directory; cache*DIR names one");
        };
        let mut result = FetchResult::default();
        let mut note = |url: &str, outcome| {
            let place = request.addresses(url).swap_remove(0).into();
            result.steps.push(SearchStep { place, rule: SearchRule::Server, outcome });
        };
        let mut servers = Vec::new();
        let mut certain = true;
        for url in &request.urls {
            let dead = self.lock().dead.get(url).cloned();
            match dead {
                Some(reason) => note(url, SearchOutcome::Failed(format!("skipped, it did not answer: {reason}"))),
                None if !url.starts_with("http://") && !url.starts_with("https://") => {
                    note(url, SearchOutcome::Skipped)
                }
                None => servers.push(url.clone()),
            }
        }
        certain &= servers.len() == request.urls.len();
        // Again as long as the first to answer turns out not to have it, though others said they do.
        while !servers.is_empty() {
            let (sender, answers) = mpsc::channel();
            let claimed = Arc::new(AtomicBool::new(false));
            for url in servers.drain(..) {
                let (shared, fetch, claimed) = (self.clone(), fetch.clone(), claimed.clone());
                let (directory, sender) = (directory.clone(), sender.clone());
                let ask = move || {
                    let answer = shared.ask(&url, &directory, &fetch, &claimed);
                    // Nobody listens any more if it was given up or another was first.
                    let _ = sender.send((url, answer));
                };
                if let Err(error) = thread::Builder::new().name("fetch".into()).spawn(ask) {
                    certain = false;
                    tracing::warn!("no thread to fetch: {error}");
                }
            }
            drop(sender);
            loop {
                let (url, answer) = match answers.recv_timeout(LOOK) {
                    Ok(answer) => answer,
                    Err(RecvTimeoutError::Timeout) if fetch.is_abandoned() => return result,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                match answer {
                    Answer::Fetched(path) => {
                        note(&url, SearchOutcome::Used);
                        result.file = Some(path);
                        return result;
                    }
                    Answer::Missing => note(&url, SearchOutcome::NotFound),
                    Answer::Late => servers.push(url),
                    Answer::Failed(failure, outcome) => {
                        certain = false;
                        note(&url, outcome);
                        if let Failure::Dead(reason) = failure {
                            self.lock().dead.insert(url, reason);
                        }
                    }
                }
            }
        }
        if certain {
            cache::remember_missing(directory, request);
        }
        result
    }

    /// Asks one server, and takes its file if it is the first that has it.
    fn ask(&self, url: &str, directory: &Path, fetch: &Fetch, claimed: &AtomicBool) -> Answer {
        let agent = self.agent.get_or_init(|| http::agent(&self.options));
        for address in fetch.request.addresses(url) {
            match http::get(agent, &address) {
                Ok(None) => {}
                Ok(Some(_)) if claimed.swap(true, Ordering::SeqCst) => return Answer::Late,
                Ok(Some(body)) => {
                    let answer = self.take(body, directory, fetch);
                    return answer.map_or_else(|(failure, outcome)| Answer::Failed(failure, outcome), Answer::Fetched);
                }
                Err(failure) => {
                    let outcome = outcome_of(&failure);
                    return Answer::Failed(failure, outcome);
                }
            }
        }
        Answer::Missing
    }

    /// Puts what is being sent into the cache, if it is what was asked for.
    fn take(&self, mut body: Body, directory: &Path, fetch: &Fetch) -> Result<PathBuf, (Failure, SearchOutcome)> {
        let fail = |failure: Failure| {
            let outcome = outcome_of(&failure);
            (failure, outcome)
        };
        let refuse = |reason: String| fail(Failure::Failed(reason));
        let on_disk = |error: std::io::Error| refuse(format!("cannot be kept in {}: {error}", directory.display()));
        let limit = match fetch.request.artifact {
            Artifact::Source(_) => MAX_SOURCE,
            Artifact::DebugInfo | Artifact::Executable => self.options.max_size,
        };
        let too_large = || refuse(format!("larger than the limit of {limit} bytes"));
        if body.len.is_some_and(|len| len > limit) {
            return Err(too_large());
        }
        fetch.total.store(body.len.unwrap_or(0), Ordering::Relaxed);
        let mut file = Incoming::create(directory, &fetch.request).map_err(on_disk)?;
        let mut buffer = vec![0; CHUNK];
        let mut done = 0u64;
        loop {
            if fetch.is_abandoned() {
                return Err(refuse("given up".into()));
            }
            let len = http::read(&mut body, &mut buffer).map_err(fail)?;
            if len == 0 {
                break;
            }
            done += len as u64;
            if done > limit {
                return Err(too_large());
            }
            file.write(buffer.get(..len).unwrap_or_default()).map_err(on_disk)?;
            fetch.done.store(done, Ordering::Relaxed);
        }
        if done == 0 {
            return Err(refuse("an empty file".into()));
        }
        is_wanted(file.path(), &fetch.request).map_err(|outcome| (Failure::Failed(String::new()), outcome))?;
        file.keep().map_err(on_disk)
    }
}

/// Whether the file is of the build that was asked for; for sources nothing in them tells.
fn is_wanted(path: &Path, request: &FetchRequest) -> Result<(), SearchOutcome> {
    if matches!(request.artifact, Artifact::Source(_)) {
        return Ok(());
    }
    let parsed = FileSource::open(path).and_then(|source| ElfFile::parse(source));
    match parsed {
        Ok(file) if file.build_id() == Some(&request.build_id) => Ok(()),
        Ok(file) => Err(SearchOutcome::Mismatched { found: file.build_id().cloned() }),
        Err(error) => Err(SearchOutcome::Unreadable(error.to_string())),
    }
}

fn outcome_of(failure: &Failure) -> SearchOutcome {
    let (Failure::Dead(reason) | Failure::Failed(reason)) = failure;
    SearchOutcome::Failed(reason.clone())
}

fn failed(what: &str, reason: &str) -> FetchResult {
    let outcome = SearchOutcome::Failed(reason.to_owned());
    FetchResult { file: None, steps: vec![SearchStep { place: what.into(), rule: SearchRule::Server, outcome }] }
}
