//! What a server reports of its own accord.

use outpost_base::{ProcessId, ThreadId};
use outpost_target::{BreakpointId, Event, Output};

use super::decode;
use crate::convert::{TailBuilder, TailReader, all, each, event};
use crate::frame::{Frame, Header};
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// An event as a frame's payload; `None` for a kind of event that this protocol cannot carry.
pub fn encode_event(event: Event) -> Option<Payload> {
    let mut tail = TailBuilder::default();
    let (kind, message): (Kind, Vec<u8>) = match event {
        Event::Stopped(bundle) => (Kind::Stopped, encoded(&event::from_bundle(bundle, &mut tail))),
        Event::Trace { thread, steps } => {
            let steps = event::from_trace(steps, &mut tail);
            (Kind::Trace, encoded(&proto::TraceEvent { thread: thread.0, steps }))
        }
        Event::Noticed(record) => (Kind::Noticed, encoded(&proto::StopRecord::from(record))),
        Event::Output(output) => {
            tail.push(output.bytes);
            let stream = event::stream_number(output.stream);
            (Kind::Output, encoded(&proto::OutputEvent { process: output.process.0, stream }))
        }
        Event::ProcessAppeared { process, name } => {
            (Kind::ProcessAppeared, encoded(&proto::ProcessAppearedEvent { process: process.0, name }))
        }
        Event::Logged { records, dropped } => {
            let dropped = dropped.into_iter().map(|(id, hits)| proto::BreakpointHits { id: id.0, hits }).collect();
            (Kind::Logged, encoded(&proto::LoggedEvent { records: each(records), dropped }))
        }
        Event::ServerEnding { reason } => (Kind::ServerEnding, encoded(&proto::ServerEndingEvent { reason })),
        _ => return None,
    };
    Some(Payload { kind: kind.number(), message, tail: tail.into_pieces() })
}

impl Payload {
    /// The event in a payload that has not left.
    ///
    /// # Errors
    /// As [`decode_event`].
    pub fn decode_event(&self) -> Result<Event, WireError> {
        let tail = self.tail.concat();
        let header = Header { kind: self.kind, ..Header::default() };
        decode_event(&Frame { header, message: &self.message, tail: &tail })
    }
}

/// The event in a frame.
///
/// # Errors
/// A kind that is no event, a malformed message, lengths that do not match the tail.
pub fn decode_event(frame: &Frame<'_>) -> Result<Event, WireError> {
    let mut tail = TailReader::new(frame.tail);
    let event = match Kind::of(frame.header.kind)? {
        Kind::Stopped => Event::Stopped(event::to_bundle(decode(frame)?, &mut tail)?),
        Kind::Trace => {
            let trace: proto::TraceEvent = decode(frame)?;
            Event::Trace { thread: ThreadId(trace.thread), steps: event::to_trace(trace.steps, &mut tail)? }
        }
        Kind::Noticed => Event::Noticed(decode::<proto::StopRecord>(frame)?.try_into()?),
        Kind::Output => {
            let output: proto::OutputEvent = decode(frame)?;
            let bytes = tail.take(frame.tail.len() as u64)?.to_vec();
            Event::Output(Output { process: ProcessId(output.process), stream: event::stream(output.stream)?, bytes })
        }
        Kind::ProcessAppeared => {
            let appeared: proto::ProcessAppearedEvent = decode(frame)?;
            Event::ProcessAppeared { process: ProcessId(appeared.process), name: appeared.name }
        }
        Kind::Logged => {
            let logged: proto::LoggedEvent = decode(frame)?;
            let dropped = logged.dropped.into_iter().map(|dropped| (BreakpointId(dropped.id), dropped.hits)).collect();
            Event::Logged { records: all(logged.records)?, dropped }
        }
        Kind::ServerEnding => Event::ServerEnding { reason: decode::<proto::ServerEndingEvent>(frame)?.reason },
        _ => return Err(WireError::UnexpectedKind { kind: frame.header.kind }),
    };
    tail.finish()?;
    Ok(event)
}

fn encoded(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}
