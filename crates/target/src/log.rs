//! Logpoints: breakpoints whose hits are written down and stop nobody.
//!
//! What is written are values, not text: the client has the format, and makes a line of each record when it comes. Records
//! come as [`crate::Event::Logged`], many at a time, in the order of the hits, and before any stop that came after them.

use outpost_base::{MemoryReader, RegisterContext, Va};

use crate::BreakpointId;
use crate::condition::Condition;

/// What is written down of a hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPlan {
    /// The values, at most [`LogPlan::MAX_ARGUMENTS`].
    pub arguments: Vec<LogArgument>,
}

/// One value of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogArgument {
    /// Code that gives it.
    pub value: Condition,
    /// Not 0: the value is the address of a text; of that so many bytes are written at most, up to one that is zero. At most
    /// [`LogPlan::MAX_TEXT`].
    pub text: u16,
}

/// A value that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogValue {
    /// A number.
    Number(u64),
    /// A text without its zero byte.
    Text {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it ended within the bytes that were asked for.
        is_whole: bool,
    },
    /// There was none: memory that cannot be read, a division by zero.
    Missing,
}

/// A hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The breakpoint.
    pub breakpoint: BreakpointId,
    /// A value for each argument of its plan.
    pub values: Vec<LogValue>,
}

impl LogPlan {
    /// Most values of a record.
    pub const MAX_ARGUMENTS: usize = 32;
    /// Most bytes of a text.
    pub const MAX_TEXT: u16 = 256;
    /// Most bytes of all texts of a record together.
    pub const MAX_TEXTS: usize = 1024;

    /// Whether it keeps to its bounds.
    pub fn is_sound(&self) -> bool {
        let texts = self.arguments.iter().map(|argument| usize::from(argument.text));
        self.arguments.len() <= LogPlan::MAX_ARGUMENTS
            && self.arguments.iter().all(|argument| argument.text <= LogPlan::MAX_TEXT)
            && texts.sum::<usize>() <= LogPlan::MAX_TEXTS
    }

    /// Words that a record's values have in [`crate::jump_data`]: each number one; each text one for its length, which is what
    /// was asked for if it did not end before, then as many as hold what was asked for.
    pub fn words(&self) -> u16 {
        let words = |argument: &LogArgument| 1 + argument.text.div_ceil(8);
        self.arguments.iter().map(words).sum()
    }

    /// The values in these words, which the program may have written over.
    pub fn read(&self, breakpoint: BreakpointId, words: &[u8]) -> LogRecord {
        let mut rest = words;
        let mut value = |argument: &LogArgument| {
            let Some((word, behind)) = rest.split_first_chunk() else { return LogValue::Missing };
            let number = u64::from_le_bytes(*word);
            if argument.text == 0 {
                rest = behind;
                return LogValue::Number(number);
            }
            let room = usize::from(argument.text).next_multiple_of(8).min(behind.len());
            let (text, behind) = behind.split_at(room);
            rest = behind;
            let len = usize::try_from(number).unwrap_or(usize::MAX).min(usize::from(argument.text)).min(room);
            LogValue::Text { bytes: text[..len].to_vec(), is_whole: number < u64::from(argument.text) }
        };
        LogRecord { breakpoint, values: self.arguments.iter().map(&mut value).collect() }
    }

    /// Writes a hit of a stopped thread down.
    pub fn record(
        &self,
        breakpoint: BreakpointId,
        registers: &RegisterContext,
        memory: &mut dyn MemoryReader,
    ) -> LogRecord {
        let mut value = |argument: &LogArgument| match (argument.value.evaluate(registers, memory), argument.text) {
            (Err(_), _) => LogValue::Missing,
            (Ok(number), 0) => LogValue::Number(number),
            (Ok(at), len) => {
                let mut bytes = vec![0; usize::from(len)];
                let count = memory.read(Va(at), &mut bytes);
                bytes.truncate(count);
                LogValue::text(bytes, len)
            }
        };
        LogRecord { breakpoint, values: self.arguments.iter().map(&mut value).collect() }
    }
}

impl LogValue {
    /// The text in the first readable ones of `len` bytes.
    pub fn text(mut bytes: Vec<u8>, len: u16) -> LogValue {
        if bytes.is_empty() {
            return LogValue::Missing;
        }
        let end = bytes.iter().position(|byte| *byte == 0);
        bytes.truncate(end.unwrap_or(usize::from(len)));
        LogValue::Text { is_whole: end.is_some(), bytes }
    }
}

impl LogRecord {
    /// About how many bytes it takes on its way.
    pub fn size(&self) -> usize {
        let value = |value: &LogValue| match value {
            LogValue::Text { bytes, .. } => 8 + bytes.len(),
            _ => 12,
        };
        8 + self.values.iter().map(value).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::{Arch, SliceMemory};

    use super::*;
    use crate::condition::{Assembler, Op};

    fn constant(value: u64) -> Condition {
        let mut code = Assembler::default();
        code.constant(value);
        code.finish().unwrap()
    }

    fn value(argument: LogArgument) -> LogValue {
        let mut memory = SliceMemory { start: Va(0x1000), bytes: b"worm\0tail" };
        let plan = LogPlan { arguments: vec![argument] };
        let mut record = plan.record(BreakpointId(7), &RegisterContext::new(Arch::X86_64), &mut memory);
        assert_eq!(record.breakpoint, BreakpointId(7));
        record.values.remove(0)
    }

    #[test]
    fn texts_end_at_a_zero_or_their_bound_or_where_memory_does() {
        let text = |at, text| value(LogArgument { value: constant(at), text });
        let found = |bytes: &[u8], is_whole| LogValue::Text { bytes: bytes.to_vec(), is_whole };
        assert_eq!(text(0x1000, 64), found(b"worm", true));
        assert_eq!(text(0x1000, 5), found(b"worm", true));
        assert_eq!(text(0x1000, 3), found(b"wor", false));
        assert_eq!(text(0x1005, 64), found(b"tail", false), "what follows cannot be read");
        assert_eq!(text(0x1004, 64), found(b"", true));
        assert_eq!(text(0x2000, 64), LogValue::Missing);
    }

    #[test]
    fn numbers_may_be_missing() {
        assert_eq!(value(LogArgument { value: constant(5), text: 0 }), LogValue::Number(5));
        let mut code = Assembler::default();
        code.constant(1);
        code.constant(0);
        code.op(Op::DivideUnsigned);
        assert_eq!(value(LogArgument { value: code.finish().unwrap(), text: 0 }), LogValue::Missing);
    }

    #[test]
    fn records_of_pads_are_read_as_they_were_written() {
        let number = LogArgument { value: constant(0), text: 0 };
        let text = LogArgument { value: constant(0), text: 12 };
        let plan = LogPlan { arguments: vec![number.clone(), text.clone(), text, number] };
        assert_eq!(plan.words(), 8);
        let mut words = Vec::new();
        words.extend(7_u64.to_le_bytes());
        words.extend([4_u64.to_le_bytes(), *b"worm\0\0\0\0", [0xff; 8]].concat());
        words.extend([12_u64.to_le_bytes(), *b"a longer", *b" one is "].concat());
        words.extend(9_u64.to_le_bytes());
        let text = |bytes: &[u8], is_whole| LogValue::Text { bytes: bytes.to_vec(), is_whole };
        let expected = [LogValue::Number(7), text(b"worm", true), text(b"a longer one", false), LogValue::Number(9)];
        assert_eq!(plan.read(BreakpointId(1), &words).values, expected);
        // Whatever the program made of it.
        words[8..16].fill(0xff);
        assert_eq!(plan.read(BreakpointId(1), &words[..30]).values[1], text(b"worm\0\0\0\0\xff\xff\xff\xff", false));
    }

    #[test]
    fn plans_are_bounded() {
        let plan = |count, text| LogPlan { arguments: vec![LogArgument { value: constant(0), text }; count] };
        assert!(plan(32, 0).is_sound() && plan(4, 256).is_sound());
        let longest = LogPlan { arguments: [plan(4, 256).arguments, plan(28, 0).arguments].concat() };
        assert!(longest.is_sound() && 8 * u64::from(1 + longest.words()) <= crate::jump_data::LONGEST);
        assert!(!plan(33, 0).is_sound() && !plan(1, 257).is_sound() && !plan(5, 256).is_sound());
    }
}
