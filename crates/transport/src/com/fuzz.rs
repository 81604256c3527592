//! What a fuzzer calls, so that its seeds also replay as an ordinary test.

use std::time::Duration;

use super::frame;
use super::line::Line;

/// Takes `data` as what a hostile other end sends: records of a length, whose highest bit says that it is raw bytes, not
/// a frame's body, and that many bytes. Half of the channels are listened on, what arrives is taken, time passes. Gives how
/// many things became of channels, so that whoever makes seeds sees how far they get.
///
/// # Panics
/// On any fault of the line: that is what is looked for.
pub fn serial_line(mut data: &[u8]) -> usize {
    let mut events = 0;
    let mut now = Duration::ZERO;
    let mut line = Line::new(0xabcd, 115_200, now);
    (0..=254).step_by(2).for_each(|channel| line.channels.listen(channel, true));
    line.open(1);
    while let Some((&length, rest)) = data.split_first() {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(length & 0x7f)));
        data = rest;
        let mut framed = Vec::new();
        match length & 0x80 {
            0 => frame::encode(piece, &mut framed),
            _ => framed.extend(piece),
        }
        now += Duration::from_millis(40);
        line.receive(&framed, now);
        events += std::iter::from_fn(|| line.event()).count();
        for channel in [0, 1, 2, 254] {
            let count = line.channels.inbox(channel).len() / 2;
            line.channels.take(channel, count);
            let room = line.channels.room(channel);
            line.channels.send(channel, &framed[..framed.len().min(room)]);
            if length == 0x81 {
                line.channels.end(channel);
                line.channels.stop(channel);
            }
        }
        let mut frames = 0;
        while line.transmit(now).is_some() {
            frames += 1;
            assert!(frames < 2000, "a line that nobody acknowledges falls silent");
        }
        let _ = line.deadline(now);
    }
    events
}
