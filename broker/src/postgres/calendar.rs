//! Dates and times as PostgreSQL writes and reads them, over its whole range: 4714-11-24 BC to the last of 64 bits, in 294247 AD
//! (dates: 5874897 AD). The two infinities are not among them.
//!
//! Days and microseconds are counted from 1970 here and from 2000 in the binary format. The calendar is the proleptic
//! Gregorian one. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"; PostgreSQL's `datatype/timestamp.h`.

/// Microseconds of a day.
pub(super) const MICROS_OF_DAY: i64 = 86_400_000_000;

/// Days from 1970-01-01 to 2000-01-01.
const DAYS_TO_2000: i64 = 10_957;
/// 4714-11-24 BC, which is PostgreSQL's first day, in days from 1970.
const FIRST_DAY: i64 = -2_440_588;
/// 5874898-01-01, the day behind PostgreSQL's last one.
const END_DAY: i64 = 2_145_042_906;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Year, month and day of a day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day of a year, month and day; `None` if there is none such.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let counted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (counted.div_euclid(400), counted.rem_euclid(400));
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    // The 30th of February is another day.
    (civil(days) == (year, month, day)).then_some(days)
}

/// The day's text, and what stands behind it: there is no year 0, the one before 1 AD is 1 BC.
fn day_text(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    match year > 0 {
        true => (format!("{year:04}-{month:02}-{day:02}"), ""),
        false => (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC"),
    }
}

/// A date; `None` if PostgreSQL has none such.
pub(super) fn date_text(days: i64) -> Option<String> {
    let (text, era) = (FIRST_DAY..END_DAY).contains(&days).then(|| day_text(days))?;
    Some(format!("{text}{era}"))
}

/// A date in the binary format.
pub(super) fn date_binary(days: i64) -> Option<i32> {
    let days = Some(days).filter(|days| (FIRST_DAY..END_DAY).contains(days))?;
    i32::try_from(days - DAYS_TO_2000).ok()
}

/// An instant, with `zone` behind it.
pub(super) fn timestamp_text(micros: i64, zone: &str) -> Option<String> {
    timestamp_binary(micros)?;
    let (text, era) = day_text(micros.div_euclid(MICROS_OF_DAY));
    Some(format!("{text} {}{zone}{era}", time_text(micros)))
}

/// An instant in the binary format.
pub(super) fn timestamp_binary(micros: i64) -> Option<i64> {
    // The last of 64 bits, in 294247, is before PostgreSQL's last one.
    let micros = (micros.div_euclid(MICROS_OF_DAY) >= FIRST_DAY).then_some(micros)?;
    micros.checked_sub(DAYS_TO_2000 * MICROS_OF_DAY)
}

/// The time of day of an instant: `04:05:06.789`.
pub(super) fn time_text(micros: i64) -> String {
    clock_text(micros.rem_euclid(MICROS_OF_DAY))
}

fn clock_text(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => clock,
        _ => format!("{clock}.{}", format!("{fraction:06}").trim_end_matches('0')),
    }
}

/// An interval in the style `postgres`: `1 year 2 mons -3 days 04:05:06.789`.
pub(super) fn interval_text(months: i32, days: i32, nanos: i64) -> String {
    let mut parts = Vec::new();
    let mut is_before_negative = false;
    let mut part = |value: i64, unit: &str| {
        if value != 0 {
            let plural = if value == 1 { "" } else { "s" };
            let sign = if is_before_negative && value > 0 { "+" } else { "" };
            parts.push(format!("{sign}{value} {unit}{plural}"));
            is_before_negative = value < 0;
        }
    };
    part(i64::from(months / 12), "year");
    part(i64::from(months % 12), "mon");
    part(i64::from(days), "day");
    let micros = nanos.div_euclid(1000);
    if micros != 0 || parts.is_empty() {
        let sign = match micros < 0 {
            true => "-",
            false if is_before_negative => "+",
            false => "",
        };
        let clock = clock_text(i64::try_from(micros.unsigned_abs()).unwrap_or(i64::MAX));
        parts.push(format!("{sign}{clock}"));
    }
    parts.join(" ")
}

/// A date, with a time and a zone or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// From 1970.
    day: i64,
    /// Of the day.
    micros: i64,
    /// How far its zone is before UTC; without a zone it is in UTC.
    ahead_seconds: i64,
}

impl Moment {
    /// Reads `2026-01-02`, `2026-01-02 +00`, `2026-01-02 10:00`, `2026-01-02T10:00:05.25+02:00`, `0044-03-15 BC`, and what has a
    /// month by its name: `Fri, 02 Jan 2026 10:00:00 GMT`, `Jan 2, 2026`, `2 January 2026 10:00+02`.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::read_digits(text).or_else(|| Self::read_names(text))
    }

    fn read_digits(text: &str) -> Option<Self> {
        let (text, is_before_christ) = match text.strip_suffix(" BC") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (date, rest) = text.split_at(text.find([' ', 'T']).unwrap_or(text.len()));
        let mut parts = date.split('-');
        let (year, month, day) =
            (number(parts.next()?, 7)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
        if parts.next().is_some() || year == 0 {
            return None;
        }
        let day = day_of(if is_before_christ { 1 - year } else { year }, month, day)?;
        let clock = rest.strip_prefix('T').unwrap_or(rest).trim_start();
        let (micros, zone) = match clock.starts_with(|first: char| first.is_ascii_digit()) {
            true => read_clock(clock)?,
            false => (0, clock),
        };
        Some(Self { day, micros, ahead_seconds: read_zone(zone)? })
    }

    fn read_names(text: &str) -> Option<Self> {
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
        // Which day of the week it was, nobody needs to be told.
        words.next_if(|word| place_of(word, &WEEKDAYS).is_some());
        let (first, second, year) = (words.next()?, words.next()?, words.next()?);
        let (month, day) = match place_of(first, &MONTHS) {
            Some(month) => (month, second),
            None => (place_of(second, &MONTHS)?, first),
        };
        // Of fewer digits nobody knows the century.
        let year = number(year, 7).filter(|_| year.len() >= 4)?;
        let day = day_of(year, month, number(day, 2)?)?;
        let (micros, zone) = words.next().map_or(Some((0, "")), read_clock)?;
        let zone = words.next_if(|_| zone.is_empty()).unwrap_or(zone);
        words.next().is_none().then_some(())?;
        Some(Self { day, micros, ahead_seconds: read_zone(zone)? })
    }

    /// Its date, where it is.
    pub(super) fn date(self) -> Option<i32> {
        date_binary(self.day)?;
        i32::try_from(self.day).ok()
    }

    /// Microseconds from 1970 by the clock where it is.
    pub(super) fn local(self) -> Option<i64> {
        let micros = self.day.checked_mul(MICROS_OF_DAY)?.checked_add(self.micros)?;
        timestamp_binary(micros).map(|_| micros)
    }

    /// Microseconds from 1970 in UTC.
    pub(super) fn instant(self) -> Option<i64> {
        let micros = self.local()?.checked_sub(self.ahead_seconds * 1_000_000)?;
        timestamp_binary(micros).map(|_| micros)
    }
}

/// Reads a time of day, `10:00` or `10:00:05.25`, as microseconds. A zone behind it is overlooked.
pub(super) fn read_time(text: &str) -> Option<i64> {
    let (micros, zone) = read_clock(text)?;
    read_zone(zone).map(|_| micros)
}

/// Microseconds of the day, and what stands behind them.
fn read_clock(text: &str) -> Option<(i64, &str)> {
    let is_behind = |c: char| !c.is_ascii_digit() && c != ':' && c != '.';
    let (clock, zone) = text.split_at(text.find(is_behind).unwrap_or(text.len()));
    let mut parts = clock.split(':');
    let (hours, minutes) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (seconds, fraction) =
        parts.next().map_or(("0", ""), |part| part.split_once('.').unwrap_or((part, "")));
    let seconds = number(seconds, 2)?;
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    // The seventh digit rounds.
    let digits = fraction.get(..fraction.len().min(7))?;
    let tenths = if digits.is_empty() { 0 } else { number(digits, 7)? * 10_i64.pow(7 - digits.len() as u32) };
    let micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + (tenths + 5) / 10;
    fraction.bytes().all(|byte| byte.is_ascii_digit()).then_some((micros, zone))
}

/// Seconds before UTC: `Z`, `+02`, `-0330`, `+05:30`, `-00:01:15`, or nothing.
fn read_zone(text: &str) -> Option<i64> {
    let text = text.trim();
    if matches!(text, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes, seconds) = match digits.split_once(':') {
        Some((hours, rest)) => {
            let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
            (hours, minutes, seconds)
        }
        None => {
            let (hours, minutes) = digits.split_at_checked(2).unwrap_or((digits, ""));
            (hours, if minutes.is_empty() { "0" } else { minutes }, "0")
        }
    };
    let (hours, minutes, seconds) = (number(hours, 2)?, number(minutes, 2)?, number(seconds, 2)?);
    (hours < 16 && minutes < 60 && seconds < 60).then_some(sign * ((hours * 60 + minutes) * 60 + seconds))
}

/// The place of a name, from 1; it may be cut to its first three letters.
fn place_of(word: &str, names: &[&str]) -> Option<i64> {
    let is = |name: &&str| name.eq_ignore_ascii_case(word) || name[..3].eq_ignore_ascii_case(word);
    (1..).zip(names).find(|(_, name)| is(name)).map(|(place, _)| place)
}

/// A number of at most so many digits, and nothing else.
fn number(text: &str, digits_max: usize) -> Option<i64> {
    let is_number = (1..=digits_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        let midnight = 20_455 * MICROS_OF_DAY;
        let hour = 3_600_000_000_i64;
        for (text, expected) in [
            ("2026-01-02", midnight),
            ("2026-1-2 +00", midnight),
            ("2026-01-02 10:00", midnight + 10 * hour),
            ("2026-01-02T10:00:05.25Z", midnight + 10 * hour + 5_250_000),
            ("2026-01-02 10:00:00.1234567+02", midnight + 8 * hour + 123_457),
            ("2026-01-02 10:00-03:30", midnight + 13 * hour + hour / 2),
            ("2026-01-02 10:00 -0330", midnight + 13 * hour + hour / 2),
            ("1969-12-31 23:59:59.999999+00", -1),
            ("2026-01-02 10:00:00 GMT", midnight + 10 * hour),
            ("Fri, 02 Jan 2026 10:00:00 GMT", midnight + 10 * hour),
            ("Jan 2, 2026", midnight),
            ("2 january 2026 10:00+02", midnight + 8 * hour),
        ] {
            assert_eq!(Moment::read(text).and_then(Moment::instant), Some(expected), "{text}");
        }
        for days in [FIRST_DAY, -719_163, -719_162, -1, 0, DAYS_TO_2000 + 59, 20_455, END_DAY - 1] {
            let text = date_text(days).unwrap();
            assert_eq!(Moment::read(&text).and_then(Moment::date).map(i64::from), Some(days), "{text}");
        }
        let micros = -62_135_596_800_000_001;
        let text = timestamp_text(micros, "+00").unwrap();
        assert_eq!(Moment::read(&text).and_then(Moment::instant), Some(micros), "{text}");
        assert_eq!(read_time("10:00:00.5+02"), Some(10 * hour + 500_000));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "2026",
            "2026-01",
            "2026-13-01",
            "2026-02-29",
            "0000-01-01",
            "+2026-01-02",
            "2026-01-02-03",
            "2026-01-02 24:00",
            "2026-01-02 10:60",
            "2026-01-02 10:00:60",
            "2026-01-02 10",
            "2026-01-02 10:00:00.x",
            "2026-01-02 10:00 +",
            "2026-01-02 10:00 +99",
            "2026-01-02 Berlin",
            "Jan 2, 26",
            "Ja 2, 2026",
            "30 Feb 2026",
            "Fri, 02 Jan 2026 10:00 GMT GMT",
            "Fri 2026",
            "infinity",
            "é2026-01-02",
        ] {
            assert_eq!(Moment::read(text), None, "{text}");
        }
        assert_eq!(Moment::read("999999-01-01").and_then(Moment::instant), None);
        assert_eq!(Moment::read("999999-01-01").and_then(Moment::date).map(i64::from), day_of(999_999, 1, 1));
    }

    #[test]
    fn days_over_the_whole_range() {
        for (days, expected) in [
            (0, Some("1970-01-01")),
            (-1, Some("1969-12-31")),
            (DAYS_TO_2000 + 59, Some("2000-02-29")),
            (-719_162, Some("0001-01-01")),
            (-719_163, Some("0001-12-31 BC")),
            (FIRST_DAY, Some("4714-11-24 BC")),
            (FIRST_DAY - 1, None),
            (END_DAY - 1, Some("5874897-12-31")),
            (END_DAY, None),
        ] {
            assert_eq!(date_text(days).as_deref(), expected, "{days}");
            assert_eq!(date_binary(days).is_some(), expected.is_some());
        }
        assert_eq!(date_binary(0), Some(-10_957));
    }

    #[test]
    fn instants_over_the_whole_range() {
        assert_eq!(timestamp_text(1, "+00").unwrap(), "1970-01-01 00:00:00.000001+00");
        assert_eq!(timestamp_text(-1, "").unwrap(), "1969-12-31 23:59:59.999999");
        assert_eq!(timestamp_text(i64::MAX, "").unwrap(), "294247-01-10 04:00:54.775807");
        assert_eq!(timestamp_text(FIRST_DAY * MICROS_OF_DAY, "").unwrap(), "4714-11-24 00:00:00 BC");
        assert_eq!(timestamp_text(FIRST_DAY * MICROS_OF_DAY - 1, ""), None);
        assert_eq!(timestamp_binary(i64::MIN), None);
        assert_eq!(timestamp_binary(DAYS_TO_2000 * MICROS_OF_DAY), Some(0));
    }

    #[test]
    fn intervals_as_postgres_prints_them() {
        for ((months, days, nanos), expected) in [
            ((0, 0, 0), "00:00:00"),
            ((14, 3, 14_706_789_000_000), "1 year 2 mons 3 days 04:05:06.789"),
            ((-1, 2, -1_000), "-1 mons +2 days -00:00:00.000001"),
            ((0, -1, 3_600_000_000_000), "-1 days +01:00:00"),
        ] {
            assert_eq!(interval_text(months, days, nanos), expected);
        }
    }
}
