//! `numeric` in the binary format: digits to the base 10,000, from and to decimal text.
//!
//! ```text
//! count of digits (i16), weight of the first (i16), sign (u16), digits behind the point (u16), digits (u16 each)
//! ```
//! Source: PostgreSQL's `numeric_send` and `numeric_recv`.

use bytes::{BufMut, BytesMut};

/// Decimal digits in one of base 10,000.
const GROUP: usize = 4;
const NEGATIVE: u16 = 0x4000;

/// A number that the format cannot hold, or that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most 38 digits")]
pub(super) struct NotNumeric;

/// Appends the number that `text` spells, as in `-12.50`.
pub(super) fn write(text: &str, out: &mut BytesMut) -> Result<(), NotNumeric> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(NotNumeric);
    }
    let lead = (GROUP - whole.len() % GROUP) % GROUP;
    let trail = (GROUP - fraction.len() % GROUP) % GROUP;
    let padded = format!("{}{whole}{fraction}{}", "0".repeat(lead), "0".repeat(trail));
    let value = |group: &[u8]| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let groups: Vec<u16> = padded.as_bytes().chunks(GROUP).map(value).collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let end = groups.iter().rposition(|group| *group != 0).map_or(first, |last| last + 1);
    let weight = whole.len().div_ceil(GROUP) as i64 - 1 - first as i64;
    let is_zero = first == end;
    out.put_i16(i16::try_from(end - first).map_err(|_| NotNumeric)?);
    out.put_i16(if is_zero { 0 } else { i16::try_from(weight).map_err(|_| NotNumeric)? });
    out.put_u16(if negative && !is_zero { NEGATIVE } else { 0 });
    out.put_u16(u16::try_from(fraction.len()).map_err(|_| NotNumeric)?);
    groups[first..end].iter().for_each(|group| out.put_u16(*group));
    Ok(())
}

/// The number that `bytes` hold, as its digits and how many of them stand behind the point.
pub(super) fn read(bytes: &[u8]) -> Result<(i128, u8), NotNumeric> {
    let words: Vec<u16> = match bytes.len() % 2 {
        0 => bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect(),
        _ => return Err(NotNumeric),
    };
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else { return Err(NotNumeric) };
    let (weight, scale) = (i64::from(weight.cast_signed()), i64::from(*scale));
    let is_number = usize::from(*count) == groups.len() && groups.iter().all(|group| *group < 10_000);
    if !is_number || !matches!(*sign, 0 | NEGATIVE) || scale > 38 {
        return Err(NotNumeric);
    }
    let mut digits: i128 = 0;
    // The value is the sum of group * 10^(4 * (weight - index)); times 10^scale it is whole, but for digits that the scale cuts.
    for (index, group) in groups.iter().enumerate() {
        let power = 4 * (weight - index as i64) + scale;
        let group = i128::from(*group);
        let part = match u32::try_from(power) {
            Ok(power) => 10_i128.checked_pow(power).and_then(|times| group.checked_mul(times)),
            Err(_) => Some(group / 10_i128.pow(u32::try_from((-power).min(4)).unwrap_or(4))),
        };
        // A zero has no place that is too large.
        let part = if group == 0 { Some(0) } else { part };
        digits = part.and_then(|part| digits.checked_add(part)).ok_or(NotNumeric)?;
    }
    if digits.unsigned_abs() >= 10_u128.pow(38) {
        return Err(NotNumeric);
    }
    Ok((if *sign == NEGATIVE { -digits } else { digits }, u8::try_from(scale).map_err(|_| NotNumeric)?))
}

/// The number that `text` spells, as its digits and how many of them stand behind the point.
pub(super) fn parse(text: &str) -> Result<(i128, u8), NotNumeric> {
    let text = text.trim();
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, i64::from(exponent.parse::<i16>().map_err(|_| NotNumeric)?)),
        None => (text, 0),
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotNumeric);
    }
    let scale = fraction.len() as i64 - exponent;
    let significant = all.trim_start_matches('0');
    let zeros = usize::try_from(-scale).unwrap_or(0);
    if significant.len() + zeros > 38 || scale > 38 {
        return Err(NotNumeric);
    }
    let number = format!("0{significant}{}", "0".repeat(zeros));
    let number: i128 = number.parse().map_err(|_| NotNumeric)?;
    Ok((if negative { -number } else { number }, u8::try_from(scale.max(0)).map_err(|_| NotNumeric)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_as_postgres_sends_them() {
        for (text, expected) in [
            ("0", vec![0, 0, 0, 0]),
            ("-12.50", vec![2, 0, NEGATIVE, 2, 12, 5000]),
            ("10000", vec![1, 1, 0, 0, 1]),
            ("0.0001", vec![1, -1_i16 as u16, 0, 4, 1]),
            ("123456789.123", vec![4, 2, 0, 3, 1, 2345, 6789, 1230]),
        ] {
            let mut out = BytesMut::new();
            write(text, &mut out).unwrap();
            let words: Vec<u16> =
                out.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            assert_eq!(words, expected, "{text}");
        }
    }

    #[test]
    fn text_with_exponents_and_too_many_digits() {
        assert_eq!(parse("1.5e3"), Ok((1500, 0)));
        assert_eq!(parse("-.5"), Ok((-5, 1)));
        assert_eq!(parse("NaN"), Err(NotNumeric));
        assert_eq!(parse(&"9".repeat(39)), Err(NotNumeric));
        assert_eq!(parse("1e-400"), Err(NotNumeric));
        assert_eq!(parse("1e9223372036854775807"), Err(NotNumeric));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(digits in -10_i128.pow(38) + 1..10_i128.pow(38), scale in 0_usize..=38) {
            let plain = format!("{:0>39}", digits.unsigned_abs());
            let (whole, fraction) = plain.split_at(plain.len() - scale);
            let sign = if digits < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}");
            let mut out = BytesMut::new();
            write(text.trim_end_matches('.'), &mut out).unwrap();
            prop_assert_eq!(read(&out), Ok((digits, scale as u8)));
            prop_assert_eq!(parse(&text), Ok((digits, scale as u8)));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[-+0-9.eE]{0,20}") {
            let _ = read(&bytes);
            let _ = parse(&text);
        }
    }
}
