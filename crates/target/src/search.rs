//! Looking for bytes by reading, for targets that have no better way.

use outpost_base::{AddressSpaceId, Va};

use crate::{ReadRequest, SearchRequest, Target, TargetError};

/// How much is read at a time.
const CHUNK: u64 = 1 << 20;

/// Searches `request.range` by [`Target::read_many`]; unreadable pages are passed over. `writable_only` is the
/// caller's business: it cuts the range to writable regions first.
pub(crate) fn by_reading<T: Target + ?Sized>(
    target: &mut T,
    space: AddressSpaceId,
    request: &SearchRequest,
) -> Result<Vec<Va>, TargetError> {
    let pattern = request.pattern.as_slice();
    let page = target.info().page_size.max(1);
    if pattern.is_empty() || pattern.len() > 1024 || request.alignment == 0 {
        return Err(TargetError::Invalid { reason: "a search pattern has 1 to 1024 bytes".into() });
    }
    let overlap = pattern.len() as u64 - 1;
    let (mut hits, mut at) = (Vec::new(), request.range.start);
    while at < request.range.end && (hits.len() as u64) < u64::from(request.limit) {
        let len = (CHUNK + overlap).min(request.range.end - at);
        let answers = target.read_many(space, &[ReadRequest { at, len }])?;
        let bytes = answers.first().map_or(&[][..], Vec::as_slice);
        for (offset, window) in bytes.windows(pattern.len()).enumerate() {
            let hit = at + offset as u64;
            if window == pattern && (hit - request.range.start).is_multiple_of(u64::from(request.alignment)) {
                hits.push(hit);
            }
        }
        let read = bytes.len() as u64;
        at = match read == len {
            true if len <= overlap || at + len == request.range.end => break,
            true => at + (len - overlap),
            // The hole starts behind what was read; the next page is the next chance.
            false => match (at + read).align_down(page).checked_add(page) {
                Some(next) => next,
                None => break,
            },
        };
    }
    hits.truncate(request.limit as usize);
    Ok(hits)
}
