//! Putting original bytes back.

use std::fs::File;
use std::os::fd::AsFd;

use outpost_base::ProcessId;

use crate::journal::{JournaledSite, MappingIdentity};
use crate::memory::ProcessMemory;

/// What became of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SiteOutcome {
    /// Our bytes stood there and are gone.
    Restored,
    /// Our bytes are not there: never planted, removed, or something else is mapped.
    Untouched,
    /// The memory could not be read or written.
    Failed,
}

/// Whether a site is a jump: several bytes, which nobody may be executing when they are put back.
pub(super) fn is_jump(site: &JournaledSite) -> bool {
    site.original.len() > 1
}

/// Whether our bytes stand at a site, in the memory of `process`: the site's own, or a fork child of it.
pub(super) fn stands(memory: &ProcessMemory, process: ProcessId, site: &JournaledSite) -> bool {
    let mut present = vec![0; site.replacement.len()];
    memory.read(site.at, &mut present) == present.len()
        && present == site.replacement
        && is_mapped_as_before(process, site)
}

/// Restores one site through `memory`, which is that of `process`: the site's own, or a fork child of it.
pub(super) fn restore(memory: &ProcessMemory, process: ProcessId, site: &JournaledSite) -> SiteOutcome {
    let mut present = vec![0; site.replacement.len()];
    if memory.read(site.at, &mut present) < present.len() {
        // Unmapped by the program, or a process that executed something else since.
        return if is_mapped_as_before(process, site) { SiteOutcome::Failed } else { SiteOutcome::Untouched };
    }
    if present != site.replacement || !is_mapped_as_before(process, site) {
        return SiteOutcome::Untouched;
    }
    match memory.write(site.at, &site.original) == site.original.len() {
        true => SiteOutcome::Restored,
        false => SiteOutcome::Failed,
    }
}

fn is_mapped_as_before(process: ProcessId, site: &JournaledSite) -> bool {
    let Ok(maps) = File::open(crate::memory::file_by_memory(process, "maps")) else { return false };
    MappingIdentity::at(maps.as_fd(), process, site.at) == Some(site.identity)
}
