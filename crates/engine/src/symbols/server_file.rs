//! A file of the debuggee's machine as a source of bytes, fetched in chunks through the target.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use outpost_base::ProcessId;
use outpost_symbols::{ByteSource, SectionData, SymbolsError};
use outpost_target::{FileId, Os, Target, TargetError};

use crate::system::TargetHandle;

/// Unit of fetching: headers, section tables and strings near each other come together.
const CHUNK: u64 = 64 << 10;
/// Bytes asked for by one request.
const MAX_REQUEST: u64 = 8 << 20;

/// A file read through a target.
///
/// Parsers may ask from any thread, but a target answers on the engine's only: sections are loaded there, before
/// parallel work on them begins. A read on another thread of what is not there yet fails.
#[derive(Debug)]
pub(super) struct ServerFile {
    path: String,
    len: u64,
    file: FileId,
    /// Names the target in [`TARGETS`].
    target: u64,
    /// Chunks fetched, by number.
    chunks: Mutex<BTreeMap<u64, Arc<[u8]>>>,
}

type WeakTarget = Weak<RefCell<Box<dyn Target>>>;

thread_local! {
    /// Targets that files of this thread are read through. A source must be able to go to any thread, a target must
    /// not; so the source has a number, and only the engine's thread knows what it means.
    static TARGETS: RefCell<HashMap<u64, WeakTarget>> = RefCell::new(HashMap::new());
}

static NEXT: AtomicU64 = AtomicU64::new(1);

impl ServerFile {
    /// Opens `path` as `process` sees it.
    ///
    /// # Errors
    /// In words: no live machine, no such file.
    pub(super) fn open(target: &TargetHandle, process: ProcessId, path: &str) -> Result<Arc<ServerFile>, String> {
        ServerFile::open_by(target, path, |os| os.open_file(Some(process), path))
    }

    /// The same of a file that is found otherwise; `path` is what it is called.
    ///
    /// # Errors
    /// As [`ServerFile::open`].
    pub(super) fn open_by(
        target: &TargetHandle,
        path: &str,
        open: impl FnOnce(&mut dyn Os) -> Result<(FileId, u64), TargetError>,
    ) -> Result<Arc<ServerFile>, String> {
        let (file, len) = {
            let mut target = target.borrow_mut();
            let os = target.as_os().ok_or("there is no machine to read files of")?;
            open(os).map_err(|error| error.to_string())?
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        TARGETS.with_borrow_mut(|targets| {
            targets.retain(|_, target| target.strong_count() != 0);
            targets.insert(number, Rc::downgrade(target));
        });
        let chunks = Mutex::default();
        Ok(Arc::new(ServerFile { path: path.to_owned(), len, file, target: number, chunks }))
    }

    /// Fetches the chunks that `ranges` lack, by one round trip per [`MAX_REQUEST`].
    fn fetch(&self, ranges: &[Range<u64>]) -> Result<(), SymbolsError> {
        let mut wanted: Vec<u64> = Vec::new();
        {
            let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            for range in ranges.iter().filter(|range| range.start < range.end) {
                wanted.extend((range.start / CHUNK..range.end.div_ceil(CHUNK)).filter(|at| !chunks.contains_key(at)));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            return Ok(());
        }
        let target = TARGETS.with_borrow(|targets| targets.get(&self.target).and_then(Weak::upgrade));
        let target = target.ok_or_else(|| self.failed(0, 0, "the target is not at hand here"))?;
        for batch in wanted.chunks((MAX_REQUEST / CHUNK) as usize) {
            let span = |&at: &u64| (at * CHUNK, CHUNK.min(self.len - at * CHUNK));
            let spans: Vec<(u64, u64)> = batch.iter().map(span).collect();
            let mut target = target.borrow_mut();
            let os = target.as_os().ok_or_else(|| self.failed(0, 0, "the machine is gone"))?;
            let answers = os.read_file(self.file, &spans).map_err(|error| self.failed(0, 0, &error.to_string()))?;
            let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            for ((at, (offset, len)), bytes) in batch.iter().zip(&spans).zip(answers) {
                if bytes.len() as u64 != *len {
                    return Err(self.failed(*offset, *len, "the file became shorter"));
                }
                chunks.insert(*at, bytes.into());
            }
        }
        Ok(())
    }

    fn failed(&self, offset: u64, len: u64, reason: &str) -> SymbolsError {
        let source = Arc::new(std::io::Error::other(reason.to_owned()));
        SymbolsError::Read { name: self.name(), offset, len, source }
    }

    fn copy(&self, range: &Range<u64>) -> Result<SectionData, SymbolsError> {
        let len = range.end - range.start;
        let mut bytes = Vec::with_capacity(len as usize);
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        for at in range.start / CHUNK..range.end.div_ceil(CHUNK) {
            let chunk = chunks.get(&at).ok_or_else(|| self.failed(range.start, len, "not fetched"))?;
            let start = range.start.saturating_sub(at * CHUNK) as usize;
            let end = (range.end - at * CHUNK).min(chunk.len() as u64) as usize;
            bytes.extend_from_slice(chunk.get(start..end).unwrap_or_default());
        }
        Ok(SectionData::from(bytes))
    }
}

impl ByteSource for ServerFile {
    fn name(&self) -> String {
        format!("{} (on the target's machine)", self.path)
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, len: u64) -> Result<SectionData, SymbolsError> {
        let end = offset.saturating_add(len);
        let mut all = self.read_many(std::slice::from_ref(&(offset..end)))?;
        all.pop().ok_or_else(|| self.failed(offset, len, "nothing read"))
    }

    fn read_many(&self, ranges: &[Range<u64>]) -> Result<Vec<SectionData>, SymbolsError> {
        if let Some(outside) = ranges.iter().find(|range| range.start > range.end || range.end > self.len) {
            let (offset, len) = (outside.start, outside.end.saturating_sub(outside.start));
            return Err(SymbolsError::OutOfBounds { name: self.name(), offset, len, file_len: self.len });
        }
        self.fetch(ranges)?;
        ranges.iter().map(|range| self.copy(range)).collect()
    }
}

impl Drop for ServerFile {
    fn drop(&mut self) {
        // Elsewhere than on the engine's thread the file stays open until the session ends.
        let target = TARGETS.try_with(|targets| targets.try_borrow_mut().ok()?.remove(&self.target)?.upgrade());
        if let Ok(Some(target)) = target
            && let Ok(mut target) = target.try_borrow_mut()
            && let Some(os) = target.as_os()
        {
            // The session goes on without it whatever the answer is.
            let _ = os.close_file(self.file);
        }
    }
}
