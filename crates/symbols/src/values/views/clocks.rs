//! Days and times of `std::chrono` as people write them.

use outpost_base::MemoryReader;

use super::{View, ViewLimits, number};
use crate::{Unavailable, Value};

/// Days of the week from Sunday on ([time.cal.wd]).
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `std::chrono::year_month_day`.
pub(super) fn date(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let mut part = |names: [&str; 3]| {
        let inside = |of: &Value, memory: &mut dyn MemoryReader| {
            let found = names.iter().find_map(|name| of.member(name, memory).ok());
            found.ok_or(Unavailable::WrongType)
        };
        let part = inside(value, memory)?;
        Ok(inside(&part, memory)?.scalar(memory)?.as_i128())
    };
    let (year, month, day) =
        (part(["_M_y", "__y_", "__y"]), part(["_M_m", "__m_", "__m"]), part(["_M_d", "__d_", "__d"]));
    Ok(View::Words(format!("{:04}-{:02}-{:02}", year?, month?, day?)))
}

/// `std::chrono::weekday`.
pub(super) fn weekday(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let day = number(value, "_M_wd", memory).or_else(|_| number(value, "__wd_", memory));
    let day = day.or_else(|_| number(value, "__wd", memory))?;
    let name = usize::try_from(day).ok().and_then(|day| DAYS.get(day));
    Ok(View::Words(name.map_or_else(|| format!("weekday {day}"), |name| (*name).to_owned())))
}

/// A time since 1970 that the system's clock has, in parts of a second; `None` if it is in no year that people count.
pub(super) fn since_1970(count: i128, part: u64, whole: u64) -> Option<String> {
    let (part, whole) = (i128::from(part.max(1)), i128::from(whole.max(1)));
    let parts = count.checked_mul(part)?;
    let (seconds, rest) = (parts.div_euclid(whole), parts.rem_euclid(whole));
    let nanoseconds = rest.checked_mul(1_000_000_000)? / whole;
    let text = moment(i64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?)?;
    // What counts days has no time of day.
    let is_day = part % 86_400 == 0 && whole == 1;
    Some(if is_day { text.split('T').next().unwrap_or_default().to_owned() } else { text })
}

/// A moment in UTC, as RFC 3339 has it: `2023-11-14T22:13:20.5Z`; `None` if it is in no year that people count.
pub(super) fn moment(seconds: i64, nanoseconds: u32) -> Option<String> {
    let date = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    );
    if nanoseconds != 0 {
        text.push_str(format!(".{nanoseconds:09}").trim_end_matches('0'));
    }
    text.push('Z');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_date_prints() {
        let check = |count: i128, part, whole, expected: Option<&str>| {
            assert_eq!(since_1970(count, part, whole).as_deref(), expected, "{count} {part}/{whole}");
        };
        check(0, 1, 1, Some("1970-01-01T00:00:00Z"));
        check(1_700_000_000_000_000_000, 1, 1_000_000_000, Some("2023-11-14T22:13:20Z"));
        check(951_782_400, 1, 1, Some("2000-02-29T00:00:00Z"));
        check(-1, 1, 1000, Some("1969-12-31T23:59:59.999Z"));
        check(19_782, 86_400, 1, Some("2024-02-29"));
        check(-719_162, 86_400, 1, Some("0001-01-01"));
        check(2, 60, 1, Some("1970-01-01T00:02:00Z"));
        check(i128::from(i64::MAX), 1, 1, None);
        check(i128::MAX, 60, 1, None);
        check(5, 0, 0, Some("1970-01-01T00:00:05Z"));
    }
}
