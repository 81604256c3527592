//! Floating-point numbers, as short as they can be read back.

/// A `float`, as C's `%g` writes it with the fewest digits that tell it from its neighbours.
pub(crate) fn single(value: f32) -> String {
    short(format!("{value}"), format!("{value:e}"), 9)
}

/// A `double`, likewise.
pub(crate) fn double(value: f64) -> String {
    short(format!("{value}"), format!("{value:e}"), 17)
}

/// Plain digits where there are at most `most` before the point and few zeros behind it, else with an exponent.
fn short(plain: String, scientific: String, most: i32) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else { return plain };
    match exponent.parse() {
        Ok(exponent) if !(-5..most).contains(&exponent) => format!("{digits}e{exponent:+03}"),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_zeros_pile_up() {
        assert_eq!([0.0, 1.5, -0.125, 1e10, 123456.0].map(single), ["0", "1.5", "-0.125", "1e+10", "123456"]);
        assert_eq!([1e-300, 0.1, 1e100, -3.0].map(double), ["1e-300", "0.1", "1e+100", "-3"]);
        assert_eq!((double(f64::NAN), single(f32::NEG_INFINITY)), ("NaN".into(), "-inf".into()));
    }
}
