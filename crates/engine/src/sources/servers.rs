//! Sources from servers that have them by build-id (debuginfod).

use outpost_base::BuildId;
use outpost_symbols::{Artifact, FetchRequest, Fetching, Patience, SearchOutcome};

use super::SourceRule;
use super::trial::{Trial, read_here};
use crate::Engine;

/// Modules that are asked for one file; a header can belong to every library there is.
const MAX_MODULES: usize = 4;

impl Engine {
    /// Tries the file that servers of the symbol path have for a module of the current process with this source path.
    ///
    /// Waits only while a user does; otherwise it is fetched in the background and not here yet. `false`: asking again can
    /// give more, since the user did not want to wait.
    pub(super) fn try_servers(&mut self, trial: &mut Trial) -> bool {
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
        for (name, build, source) in self.builds_of(&trial.names()) {
            for request in path.requests(&build, &Artifact::Source(source), client.options()) {
                if request.urls.is_empty() {
                    continue;
                }
                let result = servers.fetch(request);
                trial.looked.extend(result.steps.iter().map(ToString::to_string));
                if let Some(file) = result.file
                    && let Some(bytes) = read_here(&file)
                {
                    trial.try_sent(&name, file, SourceRule::Server, &bytes);
                    if trial.is_over() {
                        return true;
                    }
                }
                if result.steps.iter().any(|step| step.outcome == SearchOutcome::Cancelled) {
                    return false;
                }
            }
        }
        true
    }

    /// Modules of the current process whose debug info has one of these names, with the name, and how servers may call
    /// the file: as debug info does, and without the `..` of that. Only modules whose index is there: nothing is read for this.
    fn builds_of(&self, names: &[String]) -> Vec<(String, BuildId, String)> {
        let process = self.current_process().and_then(|process| self.process(process));
        let modules = process.into_iter().flat_map(|process| process.modules.iter());
        let mut found = Vec::new();
        for (module, name) in modules.flat_map(|module| names.iter().map(move |name| (module, name))) {
            let known = module.symbols.get().and_then(|symbols| symbols.module().filter(|known| known.is_prepared()));
            let (Some(build), Some(known)) = (&module.info.build_id, known) else { continue };
            let Some(path) = known.source_files(name).into_iter().find(|path| path.starts_with('/')) else {
                continue;
            };
            if name.starts_with('/') && *name != path {
                found.push((name.clone(), build.clone(), name.clone()));
            }
            found.push((name.clone(), build.clone(), path));
            if found.len() >= MAX_MODULES {
                break;
            }
        }
        found
    }
}
