//! Calendar days and instants as messages write them.
//!
//! Invariant: everything that leaves here lies in the years 0001 to 9999 of the proleptic Gregorian calendar, UTC.

use std::ops::RangeInclusive;

/// 0001-01-01 to 9999-12-31 as days since 1970-01-01.
pub(super) const DAYS: RangeInclusive<i32> = -719_162..=2_932_896;
/// The same span in microseconds since 1970-01-01T00:00:00Z.
pub(super) const MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// The most digits of a fraction of a second.
const FRACTION_DIGITS_MAX: usize = 9;

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub(super) fn date_days(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = pair(y1, y2)? * 100 + pair(y3, y4)?;
    let (month, day) = (pair(m1, m2)?, pair(d1, d2)?);
    (year >= 1 && (1..=days_of_month(year, month)?).contains(&day))
        .then(|| days_since_epoch(year, month, day))
}

/// Microseconds since the epoch of `YYYY-MM-DD[T| ]HH:MM[:SS[.fraction]][Z|±HH:MM|±HHMM]`. Of the fraction the first
/// `digits_kept` (3 or 6) digits count, the others are cut, which rounds down.
pub(super) fn instant_micros(text: &[u8], digits_kept: u32) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = date_days(date)?;
    let [b'T' | b't' | b' ', rest @ ..] = rest else { return None };
    let (hour, rest) = two_digits(rest, 23)?;
    let [b':', rest @ ..] = rest else { return None };
    let (minute, rest) = two_digits(rest, 59)?;
    let (second, micros, rest) = match rest {
        [b':', rest @ ..] => {
            let (second, rest) = two_digits(rest, 59)?;
            let (micros, rest) = fraction(rest, digits_kept)?;
            (second, micros, rest)
        }
        _ => (0, 0, rest),
    };
    let seconds =
        i64::from(days) * 86_400 + i64::from((hour * 60 + minute) * 60 + second - zone_seconds(rest)?);
    Some(seconds * 1_000_000 + i64::from(micros)).filter(|instant| MICROS.contains(instant))
}

/// Reads an optional `.` and digits as microseconds.
fn fraction(text: &[u8], digits_kept: u32) -> Option<(i32, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=FRACTION_DIGITS_MAX).contains(&count) {
        return None;
    }
    let (digits, rest) = rest.split_at(count);
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(digits_kept as usize);
    let value = padded.fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    Some((value * 10i32.pow(6 - digits_kept), rest))
}

/// How far ahead of UTC the zone designator that ends an instant is; none is UTC.
fn zone_seconds(text: &[u8]) -> Option<i32> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits(rest, 23)?;
    let (minutes, rest) = two_digits(rest.strip_prefix(b":").unwrap_or(rest), 59)?;
    rest.is_empty().then_some(sign * (hours * 60 + minutes) * 60)
}

fn two_digits(text: &[u8], max: i32) -> Option<(i32, &[u8])> {
    let [tens, ones, rest @ ..] = text else { return None };
    pair(*tens, *ones).filter(|value| *value <= max).map(|value| (value, rest))
}

#[inline]
fn pair(tens: u8, ones: u8) -> Option<i32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
}

fn days_of_month(year: i32, month: i32) -> Option<i32> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i32::from(is_leap),
        _ => return None,
    })
}

/// Hinnant's `days_from_civil`: years begin in March, so that the leap day is the last of its year.
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    let year = year - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
