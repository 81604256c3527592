//! Times, addresses of networks, ranges.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use super::{MemoryReader, Unavailable, Value, View, ViewLimits};
use super::{find_inside, garbage, number, number_within};
use crate::values::views::clocks;

const NANOSECONDS: u64 = 1_000_000_000;

/// As `Duration` prints itself: `1.5s`.
pub(super) fn duration(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let (seconds, nanoseconds) = (number_within(value, "secs", memory)?, number_within(value, "nanos", memory)?);
    words(&Duration::new(seconds, below_a_second(nanoseconds)?))
}

/// What the monotonic clock said: for the most part the time since the machine was started.
pub(super) fn instant(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (seconds, nanoseconds) = (number_within(value, "tv_sec", memory)?, number_within(value, "tv_nsec", memory)?);
    let seconds = i64::try_from(seconds).map_err(|_| garbage("a time before the clock began"))?;
    words(&Duration::new(seconds.unsigned_abs(), below_a_second(nanoseconds)?))
}

/// Date and time in UTC.
pub(super) fn system_time(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let (seconds, nanoseconds) = (number_within(value, "tv_sec", memory)?, number_within(value, "tv_nsec", memory)?);
    let nanoseconds = below_a_second(nanoseconds)?;
    let text = clocks::moment(seconds as i64, nanoseconds);
    let text = text.ok_or_else(|| garbage("a time thousands of years from now"))?;
    Ok(View::Words(text))
}

fn below_a_second(nanoseconds: u64) -> Result<u32, Unavailable> {
    let nanoseconds = u32::try_from(nanoseconds).ok().filter(|count| u64::from(*count) < NANOSECONDS);
    nanoseconds.ok_or_else(|| garbage("more than a second of nanoseconds"))
}

fn words(of: &dyn std::fmt::Debug) -> Result<View, Unavailable> {
    Ok(View::Words(format!("{of:?}")))
}

/// `IpAddr` and `SocketAddr`: what each variant holds tells the variant.
pub(super) fn either(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Wrapped(value.variant(memory)?.1.member("__0", memory)?))
}

pub(super) fn ipv4(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    words(&Ipv4Addr::from(octets::<4>(value, memory)?))
}

pub(super) fn ipv6(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    words(&Ipv6Addr::from(octets::<16>(value, memory)?))
}

pub(super) fn socket_v4(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let ip = Ipv4Addr::from(octets::<4>(value, memory)?);
    words(&SocketAddrV4::new(ip, number(value, "port", memory)? as u16))
}

pub(super) fn socket_v6(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let ip = Ipv6Addr::from(octets::<16>(value, memory)?);
    let mut part = |name: &str| number(value, name, memory);
    words(&SocketAddrV6::new(ip, part("port")? as u16, part("flowinfo")? as u32, part("scope_id")? as u32))
}

/// The bytes of an address in the order of the network.
fn octets<const N: usize>(value: &Value, memory: &mut dyn MemoryReader) -> Result<[u8; N], Unavailable> {
    let field = find_inside(value.value_type(), &|name, of| name == "octets" && of.size() == Some(N as u64));
    let bytes = value.field(&field.ok_or(Unavailable::WrongType)?).bytes(memory)?;
    bytes.try_into().map_err(|_| Unavailable::WrongType)
}

pub(super) fn range(value: &Value, _limits: &ViewLimits, _memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(bounds(value, false))
}

/// One that an iteration used up has no other mark than `exhausted`.
pub(super) fn inclusive_range(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    if number(value, "exhausted", memory).is_ok_and(|exhausted| exhausted != 0) {
        return Err(Unavailable::WrongType);
    }
    Ok(bounds(value, true))
}

fn bounds(value: &Value, inclusive: bool) -> View {
    let part = |name: &str| value.value_type().own_field(name).map(|field| value.field(&field));
    View::Range { start: part("start"), end: part("end"), inclusive }
}
