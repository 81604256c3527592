//! Texts of any encoding: in quotes, and in UTF-8.

use super::TextView;

impl TextView {
    /// The text in UTF-8, whatever its encoding; bytes of an encoding that is not known are as they are. Halves of UTF-16
    /// that stand alone are encoded as if they were characters, so that what differs stays different.
    pub fn utf8(&self) -> Vec<u8> {
        match self.unit {
            2 => {
                let units = self.bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
                let codes = char::decode_utf16(units).map(|decoded| match decoded {
                    Ok(letter) => u32::from(letter),
                    Err(alone) => u32::from(alone.unpaired_surrogate()),
                });
                utf8_of(codes)
            }
            4 => {
                let units = self.bytes.chunks_exact(4);
                utf8_of(units.map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]])))
            }
            _ => self.bytes.clone(),
        }
    }

    /// The text in quotes, escaped; `...` after it if there is more.
    pub fn quoted(&self) -> String {
        quoted(self)
    }
}

pub(super) fn quoted(text: &TextView) -> String {
    let units = text.bytes.len() as u64 / u64::from(text.unit.max(1));
    let decoded = match text.unit {
        2 => {
            let units: Vec<u16> =
                text.bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        4 => {
            let codes = text.bytes.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
            codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(&text.bytes).into_owned(),
    };
    let mut escaped = String::with_capacity(decoded.len() + 2);
    escaped.push('"');
    for letter in decoded.chars() {
        match letter {
            '\0' => escaped.push_str("\\0"),
            '"' | '\\' | '\t' | '\n' | '\r' => escaped.extend(letter.escape_debug()),
            letter if letter.is_control() => escaped.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter => escaped.push(letter),
        }
    }
    escaped.push('"');
    if units < text.length {
        escaped.push_str("...");
    }
    escaped
}

fn utf8_of(codes: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for code in codes {
        match char::from_u32(code) {
            Some(letter) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None if code < 0x1_0000 => {
                bytes.extend([0xe0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]);
            }
            None => bytes.extend("\u{fffd}".bytes()),
        }
    }
    bytes
}

/// Where the NUL of a text is, in bytes.
pub(super) fn end_of_text(bytes: &[u8], unit: u8) -> Option<usize> {
    let unit = usize::from(unit.max(1));
    bytes.chunks_exact(unit).position(|unit| unit.iter().all(|byte| *byte == 0)).map(|units| units * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut_visibly() {
        let text = |bytes: &[u8], unit, length| quoted(&TextView { at: None, bytes: bytes.to_vec(), unit, length });
        assert_eq!(text(b"a\"b\n\x01", 1, 5), r#""a\"b\n\x01""#);
        assert_eq!(text(b"ab", 1, 7), r#""ab"..."#);
        assert_eq!(text("€".as_bytes(), 1, 3), "\"€\"");
        assert_eq!(text(&[0xac, 0x20], 2, 1), "\"€\"");
        assert_eq!(text(&[0, 0xf6, 1, 0], 4, 1), "\"\u{1f600}\"");
        assert_eq!(text(&[0xff], 1, 1), "\"\u{fffd}\"");
    }

    #[test]
    fn texts_of_all_encodings_are_the_same_in_utf8() {
        let text = "a\u{e9}\u{20ac}\u{1f600}";
        let view = |bytes: Vec<u8>, unit| TextView { at: None, bytes, unit, length: 0 }.utf8();
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf32: Vec<u8> = text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
        assert_eq!(view(text.as_bytes().to_vec(), 1), text.as_bytes());
        assert_eq!(view(utf16, 2), text.as_bytes());
        assert_eq!(view(utf32, 4), text.as_bytes());
        assert_eq!(view(vec![0x00, 0xd8, 0x41, 0x00], 2), b"\xed\xa0\x80A", "half of a pair");
        assert_eq!(view(vec![0xff; 4], 4), "\u{fffd}".as_bytes());
    }
}
