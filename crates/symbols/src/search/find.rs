//! The search itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outpost_base::BuildId;

use super::report::{SearchOutcome, SearchReport, SearchRule, SearchStep};
use super::{SymbolPath, SymbolPathItem};
use crate::{Artifact, ByteSource, ElfFile, FetchRequest, Fetching, FileSource, ModuleFiles, SplitFiles, SymbolsError};

/// Bytes that are read at once to compute a checksum.
const CHECKSUM_WINDOW: u64 = 1 << 20;

/// Opens files by path: those of this machine, or of another.
pub trait FileFinder {
    /// The file's bytes; `None` if there is no such file.
    /// # Errors
    /// [`SymbolsError::Open`] if there is one but it cannot be opened.
    fn open(&self, path: &Path) -> Result<Option<Arc<dyn ByteSource>>, SymbolsError>;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFiles;

impl FileFinder for LocalFiles {
    fn open(&self, path: &Path) -> Result<Option<Arc<dyn ByteSource>>, SymbolsError> {
        match FileSource::open(path) {
            Ok(source) => Ok(Some(source)),
            Err(SymbolsError::Open { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What a search found beside the image.
#[derive(Clone, Debug, Default)]
pub struct FoundFiles {
    /// The separate debug file; `None` if the image holds its debug info, or none was found.
    pub debug: Option<Arc<ElfFile>>,
    /// Where it was found.
    pub debug_path: Option<PathBuf>,
    /// The file of shared DWARF that the debug info refers to.
    pub alt: Option<Arc<ElfFile>>,
    /// The package of its split DWARF, and where `.dwo` files are looked for.
    pub split: SplitFiles,
}

impl FoundFiles {
    /// What a module of `image` is made of, with the user's cache directory.
    pub fn module_files(self, image: Arc<ElfFile>) -> ModuleFiles {
        ModuleFiles { debug: self.debug, alt: self.alt, split: self.split, ..ModuleFiles::new(image) }
    }
}

/// Looks for the debug file of `image`, which lies at `image_path` if it is a file.
///
/// An image that holds DWARF needs none. Otherwise the items of the symbol path come first, each by build-id and by
/// name, then the places of `.gnu_debuglink`: beside the image, in `.debug/` there, and in the system's directory. A
/// file is used only if its build-id is the image's; without build-ids, if its checksum is the link's. `servers` asks those of
/// the path; `None`: they are passed over.
pub fn find_debug_files(
    image: &ElfFile,
    image_path: Option<&Path>,
    symbol_path: &SymbolPath,
    files: &dyn FileFinder,
    servers: Option<&Fetching<'_>>,
) -> (FoundFiles, SearchReport) {
    let report =
        SearchReport { image: image.name(), build_id: image.build_id().cloned(), steps: Vec::new(), found: false };
    let mut search = Search { image, files, servers, report };
    let mut found = FoundFiles::default();
    let own = image_path.map_or_else(|| PathBuf::from(image.name()), Path::to_owned);
    if image.has_dwarf() {
        search.note(own.clone(), SearchRule::Image, SearchOutcome::Used);
        search.report.found = true;
    } else {
        search.note(own.clone(), SearchRule::Image, SearchOutcome::Empty);
        if let Some((path, file)) = search.debug_file(image_path, symbol_path) {
            search.report.found = true;
            found.debug = Some(Arc::new(file));
            found.debug_path = Some(path);
        }
    }
    let with_dwarf = found.debug.as_deref().unwrap_or(image);
    let beside = found.debug_path.clone().unwrap_or(own);
    if let Some((link, id)) = with_dwarf.debug_alt_link() {
        found.alt = search.alt_file(&link, &id, &beside, symbol_path).map(Arc::new);
    }
    let programs = [image_path, found.debug_path.as_deref()];
    found.split = search.split_files(with_dwarf, &programs, symbol_path);
    (found, search.report)
}

struct Search<'a> {
    image: &'a ElfFile,
    files: &'a dyn FileFinder,
    servers: Option<&'a Fetching<'a>>,
    report: SearchReport,
}

/// Where to look next.
enum Candidate {
    File(PathBuf, SearchRule),
    Ask(FetchRequest),
    Skip(String),
}

impl Search<'_> {
    fn note(&mut self, place: PathBuf, rule: SearchRule, outcome: SearchOutcome) {
        self.report.steps.push(SearchStep { place, rule, outcome });
    }

    /// Asks servers, and returns what came.
    fn fetch(&mut self, request: FetchRequest) -> Option<PathBuf> {
        let result = self.servers?.fetch(request);
        self.report.steps.extend(result.steps);
        result.file
    }

    fn debug_file(&mut self, image_path: Option<&Path>, symbol_path: &SymbolPath) -> Option<(PathBuf, ElfFile)> {
        for candidate in self.candidates(image_path, symbol_path) {
            let (place, rule) = match candidate {
                Candidate::File(place, rule) => (place, rule),
                Candidate::Skip(text) => {
                    self.note(text.into(), SearchRule::Item, SearchOutcome::Skipped);
                    continue;
                }
                Candidate::Ask(request) => {
                    let Some(place) = self.fetch(request) else { continue };
                    match self.try_debug_file(&place, SearchRule::BuildId) {
                        (Some(file), _) => return Some((place, file)),
                        (None, outcome) => self.note(place, SearchRule::Cache, outcome),
                    }
                    continue;
                }
            };
            // Two rules may name one place, and a link may name the image itself.
            let known = self.report.steps.iter().any(|step| step.place == place);
            if known || image_path == Some(&place) {
                continue;
            }
            let (file, outcome) = self.try_debug_file(&place, rule);
            self.note(place.clone(), rule, outcome);
            if let Some(file) = file {
                return Some((place, file));
            }
        }
        None
    }

    /// Places in the order in which they are looked at.
    fn candidates(&self, image_path: Option<&Path>, symbol_path: &SymbolPath) -> Vec<Candidate> {
        let id = self.image.build_id();
        let link = self.image.debug_link().map(|link| link.file_name);
        let base = image_path.and_then(Path::file_name);
        let directory = image_path.and_then(Path::parent);
        let inside = directory.map(|directory| directory.strip_prefix("/").unwrap_or(directory));
        let mut places = Vec::new();
        let mut cache = None;
        for item in &symbol_path.items {
            let root = match item {
                SymbolPathItem::Directory(root) => root,
                SymbolPathItem::Cache(directory) => {
                    cache = directory.as_ref();
                    continue;
                }
                SymbolPathItem::Servers(item) => {
                    places.extend(id.zip(self.servers).map(|(id, servers)| {
                        Candidate::Ask(item.request(id, Artifact::DebugInfo, cache, servers.client.options()))
                    }));
                    continue;
                }
                SymbolPathItem::Other(text) => {
                    places.push(Candidate::Skip(text.clone()));
                    continue;
                }
            };
            if let Some(rest) = id.and_then(by_build_id) {
                places.push(Candidate::File(root.join(".build-id").join(&rest), SearchRule::BuildId));
                if root.ends_with(".build-id") {
                    places.push(Candidate::File(root.join(&rest), SearchRule::BuildId));
                }
            }
            if let Some(link) = &link {
                places.push(Candidate::File(root.join(link), SearchRule::DebugLink));
                if let Some(inside) = inside {
                    places.push(Candidate::File(root.join(inside).join(link), SearchRule::DebugLink));
                }
            }
            if let Some(base) = base {
                places.push(Candidate::File(root.join(base), SearchRule::ImageName));
                let mut with_suffix = base.to_owned();
                with_suffix.push(".debug");
                places.push(Candidate::File(root.join(with_suffix), SearchRule::ImageName));
            }
        }
        // gdb manual, "Debugging Information in Separate Files".
        if let (Some(link), Some(directory), Some(inside)) = (&link, directory, inside) {
            places.push(Candidate::File(directory.join(link), SearchRule::DebugLink));
            places.push(Candidate::File(directory.join(".debug").join(link), SearchRule::DebugLink));
            places.push(Candidate::File(Path::new("/usr/lib/debug").join(inside).join(link), SearchRule::DebugLink));
        }
        places
    }

    fn try_debug_file(&self, place: &Path, rule: SearchRule) -> (Option<ElfFile>, SearchOutcome) {
        let source = match self.files.open(place) {
            Ok(Some(source)) => source,
            Ok(None) => return (None, SearchOutcome::NotFound),
            Err(error) => return (None, SearchOutcome::Unreadable(error.to_string())),
        };
        let file = match ElfFile::parse(source.clone()) {
            Ok(file) => file,
            Err(error) => return (None, SearchOutcome::Unreadable(error.to_string())),
        };
        if self.image.build_id() != file.build_id() {
            return (None, SearchOutcome::Mismatched { found: file.build_id().cloned() });
        }
        if self.image.build_id().is_none() {
            let wanted = self.image.debug_link().filter(|_| rule == SearchRule::DebugLink).map(|link| link.crc);
            match (wanted, checksum(&*source)) {
                (Some(wanted), Ok(found)) if wanted == found => {}
                (Some(wanted), Ok(found)) => return (None, SearchOutcome::WrongChecksum { found, wanted }),
                (_, Err(error)) => return (None, SearchOutcome::Unreadable(error.to_string())),
                // Nothing shows that it belongs to the image.
                (None, Ok(_)) => return (None, SearchOutcome::Mismatched { found: None }),
            }
        }
        if !file.has_dwarf() && !file.has_symtab() {
            return (None, SearchOutcome::Empty);
        }
        (Some(file), SearchOutcome::Used)
    }

    fn alt_file(&mut self, link: &str, id: &BuildId, beside: &Path, symbol_path: &SymbolPath) -> Option<ElfFile> {
        // The link is relative to the debug file's true place; build-id directories hold symbolic links.
        let real = std::fs::canonicalize(beside).unwrap_or_else(|_| beside.to_owned());
        let mut places: Vec<PathBuf> = Vec::new();
        if let Some(directory) = real.parent() {
            places.push(directory.join(link));
        }
        for item in &symbol_path.items {
            if let (SymbolPathItem::Directory(root), Some(rest)) = (item, by_build_id(id)) {
                places.push(root.join(".build-id").join(rest));
            }
            if let (SymbolPathItem::Directory(root), Some(base)) = (item, Path::new(link).file_name()) {
                places.push(root.join(".dwz").join(base));
            }
        }
        for place in places {
            let outcome = match self.files.open(&place).map(|source| source.map(ElfFile::parse)) {
                Ok(None) => SearchOutcome::NotFound,
                Err(error) | Ok(Some(Err(error))) => SearchOutcome::Unreadable(error.to_string()),
                Ok(Some(Ok(file))) if file.build_id() == Some(id) => {
                    self.note(place, SearchRule::AltLink, SearchOutcome::Used);
                    return Some(file);
                }
                Ok(Some(Ok(file))) => SearchOutcome::Mismatched { found: file.build_id().cloned() },
            };
            self.note(place, SearchRule::AltLink, outcome);
        }
        let place = self.ask_path(symbol_path, id, &Artifact::DebugInfo)?;
        ElfFile::parse(self.files.open(&place).ok()??).ok()
    }

    /// The package of split DWARF, and where single files of it may be: where the program and its debug file are, under
    /// their links' names and their own, and in the directories of the symbol path.
    fn split_files(
        &mut self,
        with_dwarf: &ElfFile,
        programs: &[Option<&Path>],
        symbol_path: &SymbolPath,
    ) -> SplitFiles {
        let mut files = SplitFiles::default();
        let mut packages: Vec<PathBuf> = Vec::new();
        let package = |path: &Path, extension: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(extension);
            PathBuf::from(name)
        };
        for program in programs.iter().copied().flatten() {
            let real = std::fs::canonicalize(program).ok();
            for path in [Some(program), real.as_deref()].into_iter().flatten() {
                // gdb's rule ("Separate Debug Files"); lldb's for a debug file `X.debug`.
                packages.push(package(path, ".dwp"));
                packages.extend((path.extension() == Some("debug".as_ref())).then(|| path.with_extension("dwp")));
                files.directories.extend(path.parent().map(Path::to_owned));
            }
        }
        for item in &symbol_path.items {
            if let SymbolPathItem::Directory(root) = item {
                let name = programs.first().copied().flatten().and_then(Path::file_name);
                packages.extend(name.map(|name| package(&root.join(name), ".dwp")));
                files.directories.push(root.clone());
            }
        }
        let mut known = Vec::new();
        files.directories.retain(|place| {
            !known.contains(place) && {
                known.push(place.clone());
                true
            }
        });
        // Units of split DWARF have their addresses in this section.
        if with_dwarf.section(".debug_addr").is_some() {
            files.package = packages.iter().find_map(|place| self.package(place)).map(Arc::new);
        }
        files
    }

    /// The package at `place`. What belongs to this program in it, its units' ids tell.
    fn package(&mut self, place: &Path) -> Option<ElfFile> {
        let opened = self.files.open(place).transpose()?;
        let parsed = opened.and_then(ElfFile::parse);
        let (file, outcome) = match parsed {
            Ok(file) if file.section(".debug_cu_index").is_some() => (Some(file), SearchOutcome::Used),
            Ok(_) => (None, SearchOutcome::Empty),
            Err(error) => (None, SearchOutcome::Unreadable(error.to_string())),
        };
        self.note(place.to_owned(), SearchRule::Package, outcome);
        file
    }

    /// Asks the servers of the path, item by item.
    fn ask_path(&mut self, symbol_path: &SymbolPath, id: &BuildId, artifact: &Artifact) -> Option<PathBuf> {
        let options = self.servers?.client.options();
        let requests = symbol_path.requests(id, artifact, options);
        requests.into_iter().find_map(|request| self.fetch(request))
    }
}

/// `xx/rest.debug`; ids too short for that have no place.
fn by_build_id(id: &BuildId) -> Option<PathBuf> {
    let text = id.to_string();
    let (directory, rest) = text.split_at_checked(2)?;
    (!rest.is_empty()).then(|| PathBuf::from(directory).join(format!("{rest}.debug")))
}

/// CRC-32 of a whole file, as `.gnu_debuglink` has it.
fn checksum(source: &dyn ByteSource) -> Result<u32, SymbolsError> {
    let mut crc = flate2::Crc::new();
    let mut at = 0;
    while at < source.len() {
        let len = CHECKSUM_WINDOW.min(source.len() - at);
        crc.update(&source.read(at, len)?);
        at += len;
    }
    Ok(crc.sum())
}
