//! Compressed sections: `SHF_COMPRESSED`, the older `.zdebug_*`, and xz for `.gnu_debugdata`.

use std::io::{self, Read, Write};

use flate2::read::ZlibDecoder;
use object::LittleEndian as LE;
use object::elf::{CompressionHeader64, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use object::pod;
use ruzstd::decoding::StreamingDecoder;

use crate::SymbolsError;

/// Largest decompressed section that is accepted. The largest seen in the wild (browsers' `.debug_info`) have 2 GiB.
const MAX_DECOMPRESSED: u64 = 4 << 30;
/// Largest decompressed mini-symtab that is accepted; real ones have a few megabytes.
const MAX_MINI_SYMTAB: u64 = 256 << 20;
/// Bytes reserved before anything is decompressed; a stated size beyond it must prove itself.
const MAX_RESERVED: u64 = 64 << 20;

/// A compressed section: its stated size, and its content as a stream.
pub(super) struct Compressed<'a> {
    name: &'a str,
    section: &'a str,
    pub(super) size: u64,
    content: Box<dyn Read + 'a>,
}

impl<'a> Compressed<'a> {
    /// A section with a compression header (gABI, "Section Compression").
    pub(super) fn gabi(name: &'a str, section: &'a str, raw: &'a [u8]) -> Result<Compressed<'a>, SymbolsError> {
        let malformed = |reason: String| malformed(name, section, reason);
        let (header, body) = pod::from_bytes::<CompressionHeader64<LE>>(raw)
            .map_err(|()| malformed("it is shorter than a compression header".to_owned()))?;
        let content: Box<dyn Read> = match header.ch_type.get(LE) {
            ELFCOMPRESS_ZLIB => Box::new(ZlibDecoder::new(body)),
            ELFCOMPRESS_ZSTD => Box::new(StreamingDecoder::new(body).map_err(|error| malformed(error.to_string()))?),
            other => return Err(malformed(format!("compression type {} is not known", other.0))),
        };
        Compressed { name, section, size: header.ch_size.get(LE), content }.bounded()
    }

    /// A `.zdebug_*` section: "ZLIB", the size in big-endian, zlib (binutils, `bfd/compress.c`).
    pub(super) fn gnu(name: &'a str, section: &'a str, raw: &'a [u8]) -> Result<Compressed<'a>, SymbolsError> {
        let parts = raw.strip_prefix(b"ZLIB").and_then(|rest| rest.split_first_chunk::<8>());
        let Some((size, body)) = parts else {
            return Err(malformed(name, section, "it does not begin with ZLIB and a size".to_owned()));
        };
        let content = Box::new(ZlibDecoder::new(body));
        Compressed { name, section, size: u64::from_be_bytes(*size), content }.bounded()
    }

    fn bounded(self) -> Result<Compressed<'a>, SymbolsError> {
        if self.size > MAX_DECOMPRESSED {
            let (name, what, size) = (self.name.to_owned(), self.section.to_owned(), self.size);
            return Err(SymbolsError::TooLarge { name, what, size, limit: MAX_DECOMPRESSED });
        }
        Ok(self)
    }

    /// The content in memory, which grows with what really comes, not with what is stated.
    pub(super) fn read(self) -> Result<Vec<u8>, SymbolsError> {
        let mut bytes = Vec::with_capacity(self.size.min(MAX_RESERVED) as usize);
        self.copy_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the content to `out`.
    pub(super) fn copy_to(self, out: &mut impl Write) -> Result<(), SymbolsError> {
        let copied = io::copy(&mut self.content.take(self.size), out);
        match copied {
            Ok(copied) if copied == self.size => Ok(()),
            Ok(copied) => {
                let reason = format!("it decompresses to {copied} bytes, but states {}", self.size);
                Err(malformed(self.name, self.section, reason))
            }
            Err(error) => Err(malformed(self.name, self.section, error.to_string())),
        }
    }
}

/// Decompresses `.gnu_debugdata` (xz).
pub(super) fn decompress_xz(name: &str, section: &str, raw: &[u8]) -> Result<Vec<u8>, SymbolsError> {
    let mut out = Limited { bytes: Vec::new(), limit: MAX_MINI_SYMTAB };
    match lzma_rs::xz_decompress(&mut io::Cursor::new(raw), &mut out) {
        Ok(()) => Ok(out.bytes),
        Err(error) => Err(malformed(name, section, format!("{error:?}"))),
    }
}

fn malformed(name: &str, what: &str, reason: String) -> SymbolsError {
    SymbolsError::Malformed { name: name.to_owned(), what: what.to_owned(), reason }
}

/// A sink that refuses to grow beyond its limit.
struct Limited {
    bytes: Vec<u8>,
    limit: u64,
}

impl Write for Limited {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + buf.len()) as u64 > self.limit {
            return Err(io::Error::other("it decompresses to more than 256 MiB"));
        }
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
