//! Sources from servers that have them by build-id (debuginfod).

use outpost_base::BuildId;
use outpost_symbols::{Artifact, FetchRequest, Fetching, Patience, SearchOutcome};

use super::{Found, SourceRule, harmless, read_lines};
use crate::Engine;

/// Modules that are asked for one file; a header can belong to every library there is.
const MAX_MODULES: usize = 4;

impl Engine {
    /// The file that servers of the symbol path have for a module of the current process with this source path.
    ///
    /// Waits only while a user does; otherwise it is fetched in the background and not here yet.
    pub(super) fn on_servers(&mut self, recorded: &str, looked: &mut Vec<String>) -> Option<Found> {
        let path = self.symbols.path.borrow().clone();
        let client = self.symbols.client.borrow().clone();
        let told = self.symbols.progress.borrow().clone();
        let tell = |_: &FetchRequest, done: u64, total: u64| {
            if let (Some(told), Some(part)) = (&told, done.saturating_mul(1000).checked_div(total)) {
                told("fetching a source file", u32::try_from(part).unwrap_or(0).min(1000));
            }
        };
        let patience = Patience { cancel: self.symbols.interrupter.cancel_flag(), tell: &tell };
        let servers = Fetching { client: &client, patience: self.symbols.patient.get().then_some(patience) };
        for (build, source) in self.builds_of(recorded) {
            for request in path.requests(&build, &Artifact::Source(source), client.options()) {
                if request.urls.is_empty() {
                    continue;
                }
                let result = servers.fetch(request);
                looked.extend(result.steps.iter().map(ToString::to_string));
                if let Some(file) = result.file
                    && let Some(lines) = read_lines(&file)
                {
                    let lines = lines.iter().map(|line| harmless(line)).collect();
                    return Some((file, SourceRule::Server, lines));
                }
                if result.steps.iter().any(|step| step.outcome == SearchOutcome::Cancelled) {
                    return None;
                }
            }
        }
        None
    }

    /// Modules of the current process whose debug info has `recorded`, or a path that ends in it, and how servers may call
    /// the file: as debug info does, and without the `..` of that. Only modules whose index is there: nothing is read for this.
    fn builds_of(&self, recorded: &str) -> Vec<(BuildId, String)> {
        let process = self.current_process().and_then(|process| self.process(process));
        let modules = process.into_iter().flat_map(|process| process.modules.iter());
        let mut found = Vec::new();
        for module in modules {
            let known = module.symbols.get().and_then(|symbols| symbols.module().filter(|known| known.is_prepared()));
            let (Some(build), Some(known)) = (&module.info.build_id, known) else { continue };
            let Some(path) = known.source_files(recorded).into_iter().find(|path| path.starts_with('/')) else {
                continue;
            };
            if recorded.starts_with('/') && recorded != path {
                found.push((build.clone(), recorded.to_owned()));
            }
            found.push((build.clone(), path));
            if found.len() >= MAX_MODULES {
                break;
            }
        }
        found
    }
}
