//! Reading memory, seen from code that does not care whose memory it is.

use crate::Va;

/// Something that can be read like memory: a process, a dump, a cache over either, an array in a test.
///
/// The address space is the reader's business; a reader speaks for one.
pub trait MemoryReader {
    /// Reads at `at` into `buf`; returns the number of leading bytes that were readable, 0 if none.
    ///
    /// Bytes are as the target holds them: host order plays no part. Breakpoint bytes are never seen.
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize;

    /// Fills `buf` or gives `None`; a partial read counts as none.
    fn read_exact(&mut self, at: Va, buf: &mut [u8]) -> Option<()> {
        (self.read(at, buf) == buf.len()).then_some(())
    }

    /// A little-endian unsigned integer of `size` bytes (1 to 8).
    fn read_uint(&mut self, at: Va, size: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read_exact(at, bytes.get_mut(..size)?)?;
        Some(u64::from_le_bytes(bytes))
    }

    /// A little-endian 64-bit word.
    fn read_u64(&mut self, at: Va) -> Option<u64> {
        self.read_uint(at, 8)
    }

    /// Bytes up to, not including, the first NUL; at most `limit` of them. Ends early at unreadable memory.
    fn read_cstring(&mut self, at: Va, limit: usize) -> Option<Vec<u8>> {
        self.read_text(at, 1, limit)
    }

    /// As [`MemoryReader::read_cstring`], for a text of units of `unit` bytes, of which there are at most `limit`.
    fn read_text(&mut self, at: Va, unit: usize, limit: usize) -> Option<Vec<u8>> {
        let unit = unit.max(1);
        let limit = limit.saturating_mul(unit);
        let mut text = Vec::new();
        let mut chunk = [0; 256];
        let mut looked_at = 0;
        while text.len() < limit {
            let here = at.checked_add(text.len() as u64)?;
            // Stay within one page at a time, so that an unmapped next page costs nothing of this one.
            let to_page_end = 4096 - (here.0 % 4096) as usize;
            let want = chunk.len().min(limit - text.len()).min(to_page_end);
            let got = self.read(here, &mut chunk[..want]);
            text.extend_from_slice(&chunk[..got]);
            let mut units = text[looked_at..].chunks_exact(unit);
            if let Some(nul) = units.position(|unit| unit.iter().all(|&byte| byte == 0)) {
                text.truncate(looked_at + nul * unit);
                return Some(text);
            }
            looked_at = text.len() - text.len() % unit;
            if got < want {
                text.truncate(looked_at);
                return if text.is_empty() { None } else { Some(text) };
            }
        }
        Some(text)
    }
}

impl<T: MemoryReader + ?Sized> MemoryReader for &mut T {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        (**self).read(at, buf)
    }
}

/// Bytes at an address, as memory: for tests and for pieces of a file.
#[derive(Clone, Copy, Debug)]
pub struct SliceMemory<'a> {
    /// Address of the first byte.
    pub start: Va,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl MemoryReader for SliceMemory<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let Some(skip) = at.0.checked_sub(self.start.0).and_then(|skip| usize::try_from(skip).ok()) else { return 0 };
        let rest = self.bytes.get(skip..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_nul_or_at_unreadable_memory() {
        let mut memory = SliceMemory { start: Va(0x1000), bytes: b"abc\0rest" };
        assert_eq!(memory.read_cstring(Va(0x1000), 100).as_deref(), Some(&b"abc"[..]));
        assert_eq!(memory.read_cstring(Va(0x1004), 100).as_deref(), Some(&b"rest"[..]));
        assert_eq!(memory.read_cstring(Va(0x1000), 2).as_deref(), Some(&b"ab"[..]));
        assert_eq!(memory.read_cstring(Va(0x5000), 2), None);
    }

    #[test]
    fn wide_strings_end_at_a_unit_of_zeros() {
        let bytes = *b"a\0\0b\0\0rest";
        let mut memory = SliceMemory { start: Va(0xffd), bytes: &bytes };
        assert_eq!(memory.read_text(Va(0xffd), 2, 100).as_deref(), Some(&b"a\0\0b"[..]));
        assert_eq!(memory.read_text(Va(0xffd), 2, 1).as_deref(), Some(&b"a\0"[..]));
        // Across the end of a page, whose last unit is in two parts; what is left at the end is no whole unit.
        assert_eq!(memory.read_text(Va(0xffd), 4, 100).as_deref(), Some(&b"a\0\0b\0\0re"[..]));
        assert_eq!(memory.read_text(Va(0x1006), 4, 100), None);
    }

    #[test]
    fn partial_reads_are_counted() {
        let mut memory = SliceMemory { start: Va(8), bytes: &[1, 2, 3, 4] };
        let mut buf = [0; 8];
        assert_eq!(memory.read(Va(10), &mut buf), 2);
        assert_eq!(memory.read_u64(Va(8)), None);
        assert_eq!(memory.read_uint(Va(8), 4), Some(0x0403_0201));
    }
}
