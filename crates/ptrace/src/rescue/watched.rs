//! Pages that a dead worker watched by their protection.

use outpost_base::ProcessId;

use super::RescueReport;
use super::threads::Captives;
use crate::journal::JournaledPages;
use crate::lifeline::NotSafe;
use crate::memory::ProcessMemory;
use crate::pages;
use crate::regions::read_regions;
use crate::remote_call::{CallError, Caller, Gadgets};

/// Gives the program its own protection back, through one of its stopped threads.
pub(super) fn give_back(
    process: ProcessId,
    captives: &mut Captives,
    all: &[&JournaledPages],
    report: &mut RescueReport,
) {
    let mapped = read_regions(process, &[]).unwrap_or_default();
    let is_left = |pages: &&&JournaledPages| {
        mapped
            .iter()
            .any(|region| region.range.overlaps(pages.piece.range) && pages::protection_of(region) == pages.piece.ours)
    };
    let left: Vec<&JournaledPages> = all.iter().filter(is_left).copied().collect();
    if left.is_empty() {
        return;
    }
    let given_back = (|| {
        let memory = ProcessMemory::open(process).map_err(|_| NotSafe::Call(CallError::Gone))?;
        let gadgets = Gadgets::find(&memory, &mapped).ok_or(NotSafe::Call(CallError::NoGadget))?;
        let mut result = Err(NotSafe::Call(CallError::Unsuitable("no thread of the process can be stopped")));
        for thread in captives.callers() {
            result = Caller::new(process, thread, &memory, gadgets, None).map_err(NotSafe::Call).and_then(|caller| {
                // Its stop is an interrupt from now on; what it was about to get is sent again.
                captives.hold_signal(thread);
                left.iter().try_for_each(|pages| pages::give_back(&caller, &pages.piece, &mapped))
            });
            if !matches!(result, Err(NotSafe::Call(CallError::Unsuitable(_) | CallError::Gone))) {
                break;
            }
        }
        result
    })();
    match given_back {
        Ok(()) => report.pages_restored += left.len() as u32,
        Err(why) => {
            tracing::warn!(%process, %why, "watched pages stay protected");
            report.pages_failed += left.len() as u32;
        }
    }
}
