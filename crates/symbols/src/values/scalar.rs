//! Scalars: what the bits of numbers, characters, truth values and pointers mean.

use outpost_base::Va;

use crate::{BaseEncoding, Type, TypeKind};

/// A value without parts, ready to print or to compute with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scalar {
    /// A signed integer.
    Signed(i128),
    /// An unsigned integer.
    Unsigned(u128),
    /// A truth value; the number is kept, because memory may hold more than 0 and 1.
    Bool(u128),
    /// A character with its code; `signed` as the type says.
    Character {
        /// The code, sign-extended if the type is signed.
        code: i64,
        /// Whether the type is signed.
        signed: bool,
    },
    /// A floating-point number; `long double` and `__float128` are rounded to the nearest `f64`.
    Float(f64),
    /// A complex number: real and imaginary part.
    Complex(f64, f64),
    /// A pointer or reference.
    Pointer(Va),
}

impl Scalar {
    /// The number of an integer, character, truth value or pointer; floats are cut towards zero.
    pub fn as_i128(self) -> i128 {
        match self {
            Scalar::Signed(value) => value,
            Scalar::Unsigned(value) | Scalar::Bool(value) => value as i128,
            Scalar::Character { code, .. } => i128::from(code),
            Scalar::Float(value) | Scalar::Complex(value, _) => value as i128,
            Scalar::Pointer(at) => i128::from(at.0),
        }
    }

    /// The low 64 bits, as an address or for bit operations.
    pub fn as_u64(self) -> u64 {
        self.as_i128() as u64
    }

    /// As a floating-point number.
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Float(value) | Scalar::Complex(value, _) => value,
            Scalar::Unsigned(value) => value as f64,
            other => other.as_i128() as f64,
        }
    }

    /// Whether it counts as true.
    pub fn is_true(self) -> bool {
        match self {
            Scalar::Float(value) => value != 0.0,
            Scalar::Complex(real, imaginary) => real != 0.0 || imaginary != 0.0,
            other => other.as_i128() != 0,
        }
    }

    /// Reads `bits` (little-endian, `bit_size` of them) as a value of `of`; `None` if the type has no scalars.
    pub fn decode(of: &Type, bytes: &[u8], bit_size: u64) -> Option<Scalar> {
        let resolved = of.resolved();
        if let TypeKind::Pointer { .. } = resolved.kind() {
            return Some(Scalar::Pointer(Va(unsigned(bytes, bit_size)? as u64)));
        }
        if let TypeKind::MemberPointer { .. } = resolved.kind() {
            return Some(Scalar::Signed(sign_extend(unsigned(bytes, bit_size)?, bit_size)));
        }
        if let TypeKind::Unspecified = resolved.kind() {
            return Some(Scalar::Pointer(Va(unsigned(bytes, bit_size)? as u64)));
        }
        let encoding = resolved.encoding()?;
        Scalar::decode_as(encoding, bytes, bit_size)
    }

    /// As [`Scalar::decode`], for a bare encoding.
    pub fn decode_as(encoding: BaseEncoding, bytes: &[u8], bit_size: u64) -> Option<Scalar> {
        Some(match encoding {
            BaseEncoding::Bool => Scalar::Bool(unsigned(bytes, bit_size)?),
            BaseEncoding::Signed => Scalar::Signed(sign_extend(unsigned(bytes, bit_size)?, bit_size)),
            BaseEncoding::Unsigned => Scalar::Unsigned(unsigned(bytes, bit_size)?),
            BaseEncoding::SignedChar => {
                Scalar::Character { code: sign_extend(unsigned(bytes, bit_size)?, bit_size) as i64, signed: true }
            }
            BaseEncoding::UnsignedChar | BaseEncoding::Unicode => {
                Scalar::Character { code: unsigned(bytes, bit_size)? as i64, signed: false }
            }
            BaseEncoding::Float => Scalar::Float(float(bytes)?),
            BaseEncoding::ComplexFloat => {
                let (real, imaginary) = bytes.split_at_checked(bytes.len() / 2)?;
                Scalar::Complex(float(real)?, float(imaginary)?)
            }
            BaseEncoding::Other(_) => return None,
        })
    }

    /// The bytes of this value as a `of` of `size` bytes, as an assignment would convert it; `None` if the type has no
    /// scalars of that size.
    pub fn encode(self, of: &Type, size: usize) -> Option<Vec<u8>> {
        let resolved = of.resolved();
        let encoding = match resolved.kind() {
            TypeKind::Pointer { .. } | TypeKind::Unspecified => BaseEncoding::Unsigned,
            TypeKind::MemberPointer { .. } => BaseEncoding::Signed,
            _ => resolved.encoding()?,
        };
        match encoding {
            BaseEncoding::Float => match size {
                4 => Some((self.as_f64() as f32).to_le_bytes().to_vec()),
                8 => Some(self.as_f64().to_le_bytes().to_vec()),
                10..=16 => {
                    let mut bytes = x87_from_f64(self.as_f64()).to_vec();
                    bytes.resize(size, 0);
                    Some(bytes)
                }
                _ => None,
            },
            BaseEncoding::ComplexFloat | BaseEncoding::Other(_) => None,
            BaseEncoding::Bool => {
                let mut bytes = vec![0; size];
                *bytes.first_mut()? = u8::from(self.is_true());
                Some(bytes)
            }
            _ => {
                let number = match self {
                    Scalar::Unsigned(value) | Scalar::Bool(value) => value,
                    other => other.as_i128() as u128,
                };
                number.to_le_bytes().get(..size).map(<[u8]>::to_vec)
            }
        }
    }
}

/// `size` bits of `bytes` from bit `offset` on, moved down to bit 0. Missing bytes give `None`.
pub(crate) fn extract_bits(bytes: &[u8], offset: u64, size: u64) -> Option<Vec<u8>> {
    let first = usize::try_from(offset / 8).ok()?;
    let end = usize::try_from(offset.checked_add(size)?.div_ceil(8)).ok()?;
    let source = bytes.get(first..end)?;
    let shift = offset % 8;
    let mut moved: Vec<u8> = (0..source.len())
        .map(|at| {
            let high = source.get(at + 1).copied().unwrap_or(0);
            ((u16::from(source[at]) | u16::from(high) << 8) >> shift) as u8
        })
        .collect();
    moved.truncate(usize::try_from(size.div_ceil(8)).ok()?);
    if let (Some(last), rest @ 1..) = (moved.last_mut(), size % 8) {
        *last &= (1u8 << rest) - 1;
    }
    Some(moved)
}

/// The lowest `bit_size` (at most 128) bits as a number.
pub(crate) fn unsigned(bytes: &[u8], bit_size: u64) -> Option<u128> {
    let mut wide = [0; 16];
    let count = bytes.len().min(16);
    wide[..count].copy_from_slice(&bytes[..count]);
    let value = u128::from_le_bytes(wide);
    match bit_size {
        0 => None,
        1..128 => Some(value & ((1 << bit_size) - 1)),
        128 => Some(value),
        _ => None,
    }
}

pub(crate) fn sign_extend(value: u128, bit_size: u64) -> i128 {
    let unused = 128u64.saturating_sub(bit_size).min(127) as u32;
    ((value << unused) as i128) >> unused
}

/// A floating-point number by the length of its representation.
fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        2 => Some(half(u16::from_le_bytes(bytes.try_into().ok()?))),
        4 => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        // x86 pads its 10 bytes to 12 or 16 (SysV x86-64 psABI, 3.1.2).
        10..=16 => Some(f64_from_x87(bytes.get(..10)?.try_into().ok()?)),
        _ => None,
    }
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => sign * f64::INFINITY,
        0x1f => f64::NAN,
        exponent => sign * (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

/// x87 double extended: 64 bits of significand with explicit integer bit, 15 of exponent, sign (Intel SDM vol. 1, 4.2.2).
fn f64_from_x87(bytes: [u8; 10]) -> f64 {
    let (low, high) = bytes.split_at(8);
    let significand = u64::from_le_bytes(low.try_into().unwrap_or_default());
    let top = u16::from_le_bytes(high.try_into().unwrap_or_default());
    let sign = if top >> 15 == 1 { -1.0 } else { 1.0 };
    match top & 0x7fff {
        0x7fff if significand << 1 == 0 => sign * f64::INFINITY,
        0x7fff => f64::NAN,
        // `as` rounds to nearest even, once; a power of two then scales exactly unless the result is subnormal.
        exponent => {
            let exponent = i32::from(exponent.max(1)) - 16383 - 63;
            let half = exponent / 2;
            sign * (significand as f64) * 2f64.powi(half) * 2f64.powi(exponent - half)
        }
    }
}

fn x87_from_f64(value: f64) -> [u8; 10] {
    let bits = value.to_bits();
    let sign = (bits >> 63) as u16;
    let fraction = bits & ((1 << 52) - 1);
    let (exponent, significand) = match (bits >> 52) & 0x7ff {
        0 if fraction == 0 => (0, 0),
        // Every double that is subnormal is normal with 15 bits of exponent.
        0 => {
            let shift = fraction.leading_zeros();
            ((16383 - 1022 + 11 - shift as i32) as u16, fraction << shift)
        }
        0x7ff => (0x7fff, 1 << 63 | fraction << 11),
        exponent => ((exponent as i32 - 1023 + 16383) as u16, 1 << 63 | fraction << 11),
    };
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&significand.to_le_bytes());
    bytes[8..].copy_from_slice(&(sign << 15 | exponent).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_extracted_across_bytes() {
        let check = |bytes: &[u8], offset, size, expected: &[u8]| {
            assert_eq!(extract_bits(bytes, offset, size).as_deref(), Some(expected), "{offset} {size}");
        };
        check(&[0b1010_0101, 0xff], 0, 4, &[0b0101]);
        check(&[0b1010_0101, 0xff], 4, 8, &[0b1111_1010]);
        check(&[0, 0x80, 0x01], 15, 2, &[0b11]);
        check(&[1, 2, 3, 4], 8, 16, &[2, 3]);
        check(&[0xff; 9], 1, 64, &[0xff; 8]);
        assert_eq!(extract_bits(&[1], 4, 8), None);
        assert_eq!(extract_bits(&[1], u64::MAX, 8), None);
    }

    #[test]
    fn integers_of_every_width_keep_their_sign() {
        let signed = |bytes: &[u8], bits| Scalar::decode_as(BaseEncoding::Signed, bytes, bits);
        assert_eq!(signed(&[0b101], 3), Some(Scalar::Signed(-3)));
        assert_eq!(signed(&[0xff; 16], 128), Some(Scalar::Signed(-1)));
        assert_eq!(signed(&[0xfe, 0xff, 0xff, 0xff], 32), Some(Scalar::Signed(-2)));
        let unsigned = Scalar::decode_as(BaseEncoding::Unsigned, &[0xff; 16], 128);
        assert_eq!(unsigned, Some(Scalar::Unsigned(u128::MAX)));
        assert_eq!(signed(&[0], 0), None, "a bit field of no bits has no value");
    }

    #[test]
    fn floats_of_every_width() {
        let float = |bytes: &[u8]| match Scalar::decode_as(BaseEncoding::Float, bytes, bytes.len() as u64 * 8) {
            Some(Scalar::Float(value)) => value,
            other => panic!("{other:?}"),
        };
        assert_eq!(float(&[0x00, 0x3e]), 1.5);
        assert_eq!(float(&1.5f32.to_le_bytes()), 1.5);
        assert_eq!(float(&(-0.1f64).to_le_bytes()), -0.1);
        // 1.0L as gcc stores it in 16 bytes, the upper six undefined.
        assert_eq!(float(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f, 1, 2, 3, 4, 5, 6]), 1.0);
        for value in [0.0, 1.0, -2.5, 1e300, -1e-300, 5e-324, f64::MAX, f64::INFINITY, 0.1] {
            assert_eq!(f64_from_x87(x87_from_f64(value)), value, "{value}");
        }
        assert!(f64_from_x87(x87_from_f64(f64::NAN)).is_nan());
    }
}
