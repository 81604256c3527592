//! What source stepping needs to know about the line that a thread is in.

use outpost_base::ImageOffset;

use super::{Module, SourceLocation};
use crate::{DieRef, ImageRange};

/// The code of one source line within one function, seen from one frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The line.
    pub location: SourceLocation,
    /// Code of the line in this frame, and all other code of the frame in which a step cannot end: code of no line
    /// (line 0) next to the line's, and code where no statement begins. Sorted and disjoint; leaving it ends the step.
    pub own: Vec<ImageRange>,
    /// Code of the calls on this line that were inlined, sorted: stepping over passes through it, stepping into
    /// stops where it begins.
    pub inlined: Vec<ImageRange>,
    /// Code of the frame's function, or inlined copy: what lies outside is another frame.
    pub frame: Vec<ImageRange>,
}

impl Module {
    /// The statement around `at`, as seen from the frame of the inlined call `frame`, or of the function itself.
    ///
    /// A frame further out has its line at the call site of the frame inside it, so a step from there passes over the
    /// whole inlined call. `None` without line information.
    pub fn statement_at(&self, at: ImageOffset, frame: Option<DieRef>) -> Option<Statement> {
        let function = self.function_at(at)?;
        let tree = self.tree(&function);
        let frames = self.inline_frames_at(at);
        // The frame asked for, and the inlined call directly inside it that covers `at`.
        let position = frame.and_then(|die| frames.iter().position(|inlined| inlined.die == die));
        let inside = match position {
            Some(position) => position.checked_sub(1).and_then(|inner| frames.get(inner)),
            None => frames.last(),
        };
        let own_frame = position.and_then(|position| frames.get(position));
        let location = match inside {
            Some(inner) => inner.call_site.clone()?,
            None => self.line_at(at)?,
        };
        let depth = own_frame.map_or(0, |frame| frame.depth + 1);
        let frame_ranges = own_frame.map_or_else(|| function.ranges.clone(), |frame| frame.ranges.clone());
        let within =
            |range: ImageRange| frame_ranges.iter().any(|frame| frame.start <= range.start && range.start < frame.end);
        // Calls made directly from this frame.
        let calls = tree
            .calls
            .iter()
            .filter(|call| call.depth == depth && call.ranges.first().is_some_and(|range| within(*range)));
        let calls: Vec<_> = calls.collect();
        let inlined = calls.iter().filter(|call| call.call_line == location.line);
        let inlined = merge(inlined.flat_map(|call| call.ranges.iter().copied()).collect());

        let (lines, _) = self.lines_at(at)?;
        let mut own = Vec::new();
        for range in &frame_ranges {
            let mut previous_was_own = false;
            let mut next = range.start.0;
            for (_, first) in lines.rows_in(*range) {
                // Of several rows at one address one counts.
                if first.address < next {
                    continue;
                }
                let Some((position, row)) = lines.find(first.address) else { continue };
                next = lines.end_of(position);
                let code = ImageRange::new(row.address, next.min(range.end.0));
                if code.is_empty() || calls.iter().any(|call| call.contains(code.start)) {
                    previous_was_own = false;
                    continue;
                }
                let same_line = row.line == location.line && lines.file(row) == location.file;
                // A row of line 0 belongs to the statement that it interrupts. One where no statement begins is no
                // place to stop, whosever it is, so the step passes through it.
                let is_own = same_line || !row.is_statement() || (row.line == 0 && previous_was_own);
                if is_own {
                    own.push(code);
                }
                previous_was_own = is_own;
            }
        }
        Some(Statement { location, own: merge(own), inlined, frame: merge(frame_ranges) })
    }

    /// Whether a source line begins at `at`: the place where a step that arrives there ends.
    pub fn is_statement_start(&self, at: ImageOffset) -> bool {
        let Some((lines, _)) = self.lines_at(at) else { return false };
        lines.find(at.0).is_some_and(|(_, row)| row.address == at.0 && row.is_statement() && row.line != 0)
    }
}

/// Sorted, with touching ranges joined.
fn merge(mut ranges: Vec<ImageRange>) -> Vec<ImageRange> {
    ranges.sort();
    let mut merged: Vec<ImageRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_ranges_join() {
        let range = ImageRange::new;
        assert_eq!(merge(vec![range(8, 9), range(0, 4), range(4, 6), range(2, 3)]), [range(0, 6), range(8, 9)]);
    }
}
