//! What a search did: for `!sym noisy`, and for saying clearly what is missing.

use std::fmt;
use std::path::PathBuf;

use outpost_base::BuildId;

/// Why a place was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchRule {
    /// The image itself, which may hold its debug info.
    Image,
    /// Named by the build-id.
    BuildId,
    /// Named by `.gnu_debuglink`.
    DebugLink,
    /// Named like the image.
    ImageName,
    /// Named by `.gnu_debugaltlink`.
    AltLink,
    /// A package of split DWARF, named like the program.
    Package,
    /// Kept from an earlier answer of a server.
    Cache,
    /// Asked of a server, by build-id.
    Server,
    /// An item of the symbol path that is not understood.
    Item,
}

/// What was found there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchOutcome {
    /// What was looked for.
    Used,
    /// No file.
    NotFound,
    /// A file that could not be read, or is not ELF.
    Unreadable(String),
    /// A file of another build.
    Mismatched {
        /// Its build-id.
        found: Option<BuildId>,
    },
    /// A file whose content is not the one that `.gnu_debuglink` was made for.
    WrongChecksum {
        /// Its CRC-32.
        found: u32,
        /// The one in the link.
        wanted: u32,
    },
    /// A file of the right build, but without debug info or symbols.
    Empty,
    /// No server had it a short while ago.
    KnownMissing,
    /// Being fetched; until it has come, what else there is has to do.
    Pending,
    /// The user did not want to wait. It is not tried again until `.reload`.
    Cancelled,
    /// Asking failed.
    Failed(String),
    /// Not looked at.
    Skipped,
}

/// One place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchStep {
    /// The file, or the item of the symbol path.
    pub place: PathBuf,
    /// Why there.
    pub rule: SearchRule,
    /// What came of it.
    pub outcome: SearchOutcome,
}

/// A whole search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchReport {
    /// The image, as its source calls it.
    pub image: String,
    /// Its build-id.
    pub build_id: Option<BuildId>,
    /// What was looked at, in order.
    pub steps: Vec<SearchStep>,
    /// Whether debug info was found, in the image or beside it.
    pub found: bool,
}

impl SearchReport {
    /// Whether a better answer is on its way.
    pub fn is_pending(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == SearchOutcome::Pending)
    }

    /// One sentence on what is missing and where it was looked for; `None` if nothing is.
    pub fn missing(&self) -> Option<String> {
        if self.found {
            return None;
        }
        let build = match &self.build_id {
            Some(id) => format!("build-id {id}"),
            None => "no build-id".to_owned(),
        };
        let looked: Vec<String> = self
            .steps
            .iter()
            .filter(|step| step.rule != SearchRule::Image)
            .map(|step| match &step.outcome {
                SearchOutcome::NotFound => step.place.display().to_string(),
                other => format!("{} ({other})", step.place.display()),
            })
            .collect();
        let looked = if looked.is_empty() { "nowhere: the symbol path is empty".to_owned() } else { looked.join(", ") };
        Some(format!("no debug file for {} ({build}): looked in {looked}", self.image))
    }
}

impl fmt::Display for SearchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SearchOutcome::Used => f.write_str("used"),
            SearchOutcome::NotFound => f.write_str("not found"),
            SearchOutcome::Unreadable(reason) => write!(f, "unreadable: {reason}"),
            SearchOutcome::Mismatched { found: Some(found) } => write!(f, "mismatched: its build-id is {found}"),
            SearchOutcome::Mismatched { found: None } => f.write_str("mismatched: it has no build-id"),
            SearchOutcome::WrongChecksum { found, wanted } => {
                write!(f, "mismatched: its checksum is {found:08x}, the link's {wanted:08x}")
            }
            SearchOutcome::Empty => f.write_str("no debug info in it"),
            SearchOutcome::KnownMissing => f.write_str("not found a short while ago"),
            SearchOutcome::Pending => f.write_str("being fetched"),
            SearchOutcome::Cancelled => f.write_str("cancelled; .reload tries again"),
            SearchOutcome::Failed(reason) => write!(f, "failed: {reason}"),
            SearchOutcome::Skipped => f.write_str("not supported"),
        }
    }
}

impl fmt::Display for SearchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SearchRule::Image => "image",
            SearchRule::BuildId => "build-id",
            SearchRule::DebugLink => "debuglink",
            SearchRule::ImageName => "name",
            SearchRule::AltLink => "debugaltlink",
            SearchRule::Package => "package",
            SearchRule::Cache => "cache",
            SearchRule::Server => "server",
            SearchRule::Item => "item",
        })
    }
}

/// `place (rule): outcome`, as `!sym noisy` shows it.
impl fmt::Display for SearchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.place.display(), self.rule, self.outcome)
    }
}
