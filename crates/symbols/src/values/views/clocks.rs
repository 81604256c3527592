//! Days and times of `std::chrono` as people write them.

use outpost_base::MemoryReader;

use super::{View, ViewLimits, number};
use crate::{Unavailable, Value};

/// Days of the week from Sunday on ([time.cal.wd]).
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `std::chrono::year_month_day`.
pub(super) fn date(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let mut part = |names: [&str; 2]| {
        let inside = |of: &Value, memory: &mut dyn MemoryReader| {
            of.member(names[0], memory).or_else(|_| of.member(names[1], memory))
        };
        let part = inside(value, memory)?;
        Ok(inside(&part, memory)?.scalar(memory)?.as_i128())
    };
    let (year, month, day) = (part(["_M_y", "__y_"]), part(["_M_m", "__m_"]), part(["_M_d", "__d_"]));
    Ok(View::Words(format!("{:04}-{:02}-{:02}", year?, month?, day?)))
}

/// `std::chrono::weekday`.
pub(super) fn weekday(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let day = number(value, "_M_wd", memory).or_else(|_| number(value, "__wd_", memory))?;
    let name = usize::try_from(day).ok().and_then(|day| DAYS.get(day));
    Ok(View::Words(name.map_or_else(|| format!("weekday {day}"), |name| (*name).to_owned())))
}

/// A time since 1970 that the system's clock has, in parts of a second; `None` if it is in no year that people count.
pub(super) fn since_1970(count: i128, part: u64, whole: u64) -> Option<String> {
    let (part, whole) = (i128::from(part.max(1)), i128::from(whole.max(1)));
    let parts = count.checked_mul(part)?;
    let (seconds, rest) = (parts.div_euclid(whole), parts.rem_euclid(whole));
    let seconds = i64::try_from(seconds).ok()?;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days)?;
    let date = format!("{year:04}-{month:02}-{day:02}");
    // What counts days has no time of day.
    if part % 86_400 == 0 && whole == 1 {
        return Some(date);
    }
    let mut text = format!("{date} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let digits = whole.checked_ilog10().filter(|digits| 10i128.pow(*digits) == whole).unwrap_or(0) as usize;
    if digits > 0 {
        text.push_str(&format!(".{rest:0digits$}"));
    }
    Some(text)
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    // Years that begin in March end with the day that leap years add; 400 of them have 146,097 days.
    let days = days.checked_add(719_468)?;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (-32_767..=32_767).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_date_prints() {
        let check = |count: i128, part, whole, expected: Option<&str>| {
            assert_eq!(since_1970(count, part, whole).as_deref(), expected, "{count} {part}/{whole}");
        };
        check(0, 1, 1, Some("1970-01-01 00:00:00"));
        check(1_700_000_000_000_000_000, 1, 1_000_000_000, Some("2023-11-14 22:13:20.000000000"));
        check(951_782_400, 1, 1, Some("2000-02-29 00:00:00"));
        check(-1, 1, 1000, Some("1969-12-31 23:59:59.999"));
        check(19_782, 86_400, 1, Some("2024-02-29"));
        check(-719_162, 86_400, 1, Some("0001-01-01"));
        check(2, 60, 1, Some("1970-01-01 00:02:00"));
        check(i128::from(i64::MAX), 1, 1, None);
        check(i128::MAX, 60, 1, None);
        check(5, 0, 0, Some("1970-01-01 00:00:05"));
    }
}
