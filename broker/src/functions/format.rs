//! Pinot's ways to write a format (`1:MILLISECONDS:EPOCH`, `EPOCH|SECONDS|5`, `1:DAYS:SIMPLE_DATE_FORMAT:yyyy-MM-dd`), a granularity
//! (`5:MINUTES`, `MINUTES|5`) and a period (`PT3H`).

use arrow::datatypes::DataType;

use super::instant::millis_type;
use super::pattern::Pattern;

/// A unit of fixed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl TimeUnit {
    /// In the plural, as Pinot writes it, in any case.
    pub(super) fn read(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_uppercase().as_str() {
            "NANOSECONDS" => Self::Nanoseconds,
            "MICROSECONDS" => Self::Microseconds,
            "MILLISECONDS" => Self::Milliseconds,
            "SECONDS" => Self::Seconds,
            "MINUTES" => Self::Minutes,
            "HOURS" => Self::Hours,
            "DAYS" => Self::Days,
            _ => return None,
        })
    }

    /// Its length as `(milliseconds, parts of a millisecond)`; one of the two is 1.
    pub(super) fn ratio(self) -> (i64, i64) {
        match self {
            Self::Nanoseconds => (1, 1_000_000),
            Self::Microseconds => (1, 1_000),
            Self::Milliseconds => (1, 1),
            Self::Seconds => (1_000, 1),
            Self::Minutes => (60_000, 1),
            Self::Hours => (3_600_000, 1),
            Self::Days => (86_400_000, 1),
        }
    }
}

/// How an instant is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A number of so many units since the epoch.
    Epoch(i64, TimeUnit),
    Timestamp,
    Text(Pattern),
}

impl Format {
    /// `None` if the text is no format.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text.contains('|') || !text.contains(':') {
            true => Self::read_piped(text),
            false => Self::read_colons(text),
        }
    }

    /// `EPOCH|MILLISECONDS|1`, `TIMESTAMP`, `SIMPLE_DATE_FORMAT|yyyy-MM-dd|UTC`
    fn read_piped(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '|');
        Some(match parts.next()? {
            "EPOCH" => {
                let unit = parts.next().map_or(Some(TimeUnit::Milliseconds), TimeUnit::read)?;
                Self::Epoch(parts.next().map_or(Some(1), size)?, unit)
            }
            "TIMESTAMP" => Self::Timestamp,
            "SIMPLE_DATE_FORMAT" => Self::Text(Pattern::read(parts.next()?, parts.next().unwrap_or("UTC"))?),
            _ => return None,
        })
    }

    /// `1:MILLISECONDS:EPOCH`, `1:DAYS:SIMPLE_DATE_FORMAT:yyyy-MM-dd tz(Europe/Berlin)`
    fn read_colons(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let (size, unit) = (size(parts.next()?)?, TimeUnit::read(parts.next()?)?);
        Some(match parts.next()? {
            "EPOCH" => Self::Epoch(size, unit),
            "TIMESTAMP" => Self::Timestamp,
            "SIMPLE_DATE_FORMAT" => {
                let pattern = parts.next()?;
                let (pattern, zone) = match pattern.split_once("tz(") {
                    Some((pattern, zone)) => (pattern.trim_end(), zone.trim_end().strip_suffix(')')?),
                    None => (pattern, "UTC"),
                };
                Self::Text(Pattern::read(pattern, zone)?)
            }
            _ => return None,
        })
    }

    /// The type of what is written so.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Epoch(..) => DataType::Int64,
            Self::Timestamp => millis_type(),
            Self::Text(_) => DataType::Utf8,
        }
    }
}

/// A granularity in milliseconds; `None` if the text is none, or it is longer than a century. Pinot has instants in milliseconds,
/// so that one shorter than that (`1:NANOSECONDS`) cuts nothing more off.
pub(super) fn granularity_ms(text: &str) -> Option<i64> {
    const CENTURY_MS: i64 = 36_525 * 86_400_000;
    let (count, unit) = match text.split_once('|') {
        Some((unit, count)) => (count, unit),
        None => text.split_once(':').unwrap_or(("1", text)),
    };
    let (ms, parts) = TimeUnit::read(unit)?.ratio();
    let ms = (size(count)?.checked_mul(ms)? / parts).max(1);
    (ms <= CENTURY_MS).then_some(ms)
}

fn size(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|size| *size > 0)
}

/// The milliseconds of a period of ISO 8601 in days and smaller: `PT3H`, `P1DT12H`, `-PT0.5S`. `None` if the text is none.
pub(crate) fn period_ms(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let rest = rest.strip_prefix(['P', 'p'])?;
    let (days, time) = rest.split_once(['T', 't']).unwrap_or((rest, ""));
    if rest.is_empty() || rest.ends_with(['T', 't']) {
        return None;
    }
    let days = parts_ms(days, &[('W', 604_800_000.0), ('D', 86_400_000.0)])?;
    let time = parts_ms(time, &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1_000.0)])?;
    let ms = sign as f64 * (days + time);
    // As far as a double counts exactly.
    (ms.abs() < 9e15).then_some(ms.round() as i64)
}

/// The sum of numbers with a unit behind each, in the order of the units.
fn parts_ms(text: &str, units: &[(char, f64)]) -> Option<f64> {
    let (mut rest, mut sum) = (text, 0.0);
    for (unit, ms) in units {
        let found = rest.find(|c: char| c.eq_ignore_ascii_case(unit));
        let Some((number, after)) = found.and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?))) else {
            continue;
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        sum += number.parse::<f64>().ok()? * ms;
        rest = after;
    }
    rest.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        assert_eq!(Format::read("1:MILLISECONDS:EPOCH"), Some(Format::Epoch(1, TimeUnit::Milliseconds)));
        assert_eq!(Format::read("5:minutes:EPOCH"), Some(Format::Epoch(5, TimeUnit::Minutes)));
        assert_eq!(Format::read("EPOCH|SECONDS|10"), Some(Format::Epoch(10, TimeUnit::Seconds)));
        assert_eq!(Format::read("EPOCH|DAYS"), Some(Format::Epoch(1, TimeUnit::Days)));
        assert_eq!(Format::read("EPOCH"), Some(Format::Epoch(1, TimeUnit::Milliseconds)));
        assert_eq!(Format::read("1:MILLISECONDS:TIMESTAMP"), Some(Format::Timestamp));
        assert_eq!(Format::read("TIMESTAMP"), Some(Format::Timestamp));
        let day = Format::Text(Pattern::read("yyyy-MM-dd HH:mm", "UTC").unwrap());
        assert_eq!(Format::read("1:DAYS:SIMPLE_DATE_FORMAT:yyyy-MM-dd HH:mm"), Some(day.clone()));
        assert_eq!(Format::read("SIMPLE_DATE_FORMAT|yyyy-MM-dd HH:mm"), Some(day));
        let berlin = Format::Text(Pattern::read("yyyyMMdd", "Europe/Berlin").unwrap());
        assert_eq!(
            Format::read("1:DAYS:SIMPLE_DATE_FORMAT:yyyyMMdd tz(Europe/Berlin)"),
            Some(berlin.clone())
        );
        assert_eq!(Format::read("SIMPLE_DATE_FORMAT|yyyyMMdd|Europe/Berlin"), Some(berlin));
        for bad in
            ["", "1:WEEKS:EPOCH", "0:DAYS:EPOCH", "-1:DAYS:EPOCH", "1:DAYS", "1:DAYS:X", "X|Y", "a:b:c:d"]
        {
            assert_eq!(Format::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn granularities() {
        for (text, ms) in [
            ("1:MINUTES", 60_000),
            ("MINUTES|5", 300_000),
            ("30:SECONDS", 30_000),
            ("DAYS", 86_400_000),
            ("1:NANOSECONDS", 1),
            ("2500:MICROSECONDS", 2),
        ] {
            assert_eq!(granularity_ms(text), Some(ms), "{text}");
        }
        for bad in ["", "0:DAYS", "x:DAYS", "0:NANOSECONDS", "9223372036854775807:DAYS", "40000:DAYS"] {
            assert_eq!(granularity_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn periods() {
        let cases = [
            ("PT3H", Some(10_800_000)),
            ("P1D", Some(86_400_000)),
            ("P1DT12H30M", Some(131_400_000)),
            ("P2W", Some(1_209_600_000)),
            ("pt0.5s", Some(500)),
            ("-PT1M", Some(-60_000)),
            ("PT", None),
            ("P", None),
            ("", None),
            ("3H", None),
            ("PT3X", None),
            ("PT1M1H", None),
            ("P1Y", None),
            ("PT-1H", None),
            ("PT99999999999999999999H", None),
        ];
        for (text, expected) in cases {
            assert_eq!(period_ms(text), expected, "{text}");
        }
    }
}
