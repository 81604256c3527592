//! Compressed sections: `SHF_COMPRESSED`, the older `.zdebug_*`, and xz for `.gnu_debugdata`.

use std::io::{self, Read, Write};

use object::LittleEndian as LE;
use object::elf::{CompressionHeader64, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use object::pod;

use crate::SymbolsError;

/// Largest decompressed section that is accepted. The largest seen in the wild (browsers' `.debug_info`) have 2 GiB.
const MAX_DECOMPRESSED: u64 = 4 << 30;
/// Largest decompressed mini-symtab that is accepted; real ones have a few megabytes.
const MAX_MINI_SYMTAB: u64 = 256 << 20;
/// Bytes reserved before anything is decompressed; a stated size beyond it must prove itself.
const MAX_RESERVED: u64 = 64 << 20;

/// Decompresses a section with a compression header (gABI, "Section Compression").
pub(super) fn decompress_gabi(name: &str, section: &str, raw: &[u8]) -> Result<Vec<u8>, SymbolsError> {
    let malformed = |reason: String| malformed(name, section, reason);
    let (header, body) = pod::from_bytes::<CompressionHeader64<LE>>(raw)
        .map_err(|()| malformed("it is shorter than a compression header".to_owned()))?;
    let size = header.ch_size.get(LE);
    match header.ch_type.get(LE) {
        ELFCOMPRESS_ZLIB => inflate(name, section, body, size),
        ELFCOMPRESS_ZSTD => {
            let decoder =
                ruzstd::decoding::StreamingDecoder::new(body).map_err(|error| malformed(error.to_string()))?;
            read_all(name, section, decoder, size)
        }
        other => Err(malformed(format!("compression type {} is not known", other.0))),
    }
}

/// Decompresses a `.zdebug_*` section: "ZLIB", the size in big-endian, zlib (binutils, `bfd/compress.c`).
pub(super) fn decompress_gnu(name: &str, section: &str, raw: &[u8]) -> Result<Vec<u8>, SymbolsError> {
    let parts = raw.strip_prefix(b"ZLIB").and_then(|rest| rest.split_first_chunk::<8>());
    let Some((size, body)) = parts else {
        return Err(malformed(name, section, "it does not begin with ZLIB and a size".to_owned()));
    };
    inflate(name, section, body, u64::from_be_bytes(*size))
}

/// Decompresses `.gnu_debugdata` (xz).
pub(super) fn decompress_xz(name: &str, section: &str, raw: &[u8]) -> Result<Vec<u8>, SymbolsError> {
    let mut out = Limited { bytes: Vec::new(), limit: MAX_MINI_SYMTAB };
    match lzma_rs::xz_decompress(&mut io::Cursor::new(raw), &mut out) {
        Ok(()) => Ok(out.bytes),
        Err(error) => Err(malformed(name, section, format!("{error:?}"))),
    }
}

fn inflate(name: &str, section: &str, body: &[u8], size: u64) -> Result<Vec<u8>, SymbolsError> {
    read_all(name, section, flate2::read::ZlibDecoder::new(body), size)
}

/// Reads exactly `size` bytes; memory grows with what really comes, not with what is stated.
fn read_all(name: &str, section: &str, from: impl Read, size: u64) -> Result<Vec<u8>, SymbolsError> {
    if size > MAX_DECOMPRESSED {
        let (name, what) = (name.to_owned(), section.to_owned());
        return Err(SymbolsError::TooLarge { name, what, size, limit: MAX_DECOMPRESSED });
    }
    let mut bytes = Vec::with_capacity(size.min(MAX_RESERVED) as usize);
    from.take(size).read_to_end(&mut bytes).map_err(|error| malformed(name, section, error.to_string()))?;
    if bytes.len() as u64 != size {
        let reason = format!("it decompresses to {} bytes, but states {size}", bytes.len());
        return Err(malformed(name, section, reason));
    }
    Ok(bytes)
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
