//! `age` and `make_timestamp`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, IntervalMonthDayNano, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;

use super::Columns;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// `age(x, y)`
pub(super) fn age() -> Columns {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    Columns::new("age", vec![TIMESTAMP; 2], Arc::new(Field::new("age", interval, true)), |arguments| {
        let [to, from] = arguments else { return exec_err!("age wants two instants") };
        let (to, from) =
            (to.as_primitive::<TimestampMicrosecondType>(), from.as_primitive::<TimestampMicrosecondType>());
        let ages = to.iter().zip(from).map(|pair| match pair {
            (Some(to), Some(from)) => age_of(to, from).map(Some),
            _ => Ok(None),
        });
        Ok(Arc::new(ages.collect::<Result<IntervalMonthDayNanoArray>>()?))
    })
}

/// As PostgreSQL counts it: field by field, and what a day lacks is borrowed from the month of the earlier instant.
/// Source: `timestamp_age` in `src/backend/utils/adt/timestamp.c`.
fn age_of(to: i64, from: i64) -> Result<IntervalMonthDayNano> {
    if to < from {
        let age = age_of(from, to)?;
        return Ok(IntervalMonthDayNano::new(-age.months, -age.days, -age.nanoseconds));
    }
    let read = |micros| {
        let instant = DateTime::from_timestamp_micros(micros);
        instant
            .ok_or_else(|| exec_datafusion_err!("age of an instant that is beyond the years of a calendar"))
    };
    let (later, earlier) = (read(to)?.naive_utc(), read(from)?.naive_utc());
    let month = |instant: &NaiveDateTime| instant.year() * 12 + instant.month0() as i32;
    let mut months = month(&later) - month(&earlier);
    let mut days = later.day() as i32 - earlier.day() as i32;
    let mut micros = to.rem_euclid(MICROS_PER_DAY) - from.rem_euclid(MICROS_PER_DAY);
    if micros < 0 {
        (micros, days) = (micros + MICROS_PER_DAY, days - 1);
    }
    if days < 0 {
        (days, months) = (days + i32::from(earlier.num_days_in_month()), months - 1);
    }
    Ok(IntervalMonthDayNano::new(months, days, micros * 1000))
}

/// `make_timestamp(year, month, day, hour, minute, second)`
pub(super) fn make_timestamp() -> Columns {
    let name = "make_timestamp";
    let mut arguments = vec![DataType::Int32; 5];
    arguments.push(DataType::Float64);
    Columns::new(name, arguments, Arc::new(Field::new(name, TIMESTAMP, true)), |arguments| {
        let [whole @ .., seconds] = arguments else { return exec_err!("make_timestamp wants six arguments") };
        let seconds = seconds.as_primitive::<Float64Type>();
        let instants = (0..seconds.len()).map(|row| {
            let field =
                |array: &ArrayRef| array.is_valid(row).then(|| array.as_primitive::<Int32Type>().value(row));
            let fields: Option<Vec<i32>> = whole.iter().map(field).collect();
            match (fields.as_deref(), seconds.is_valid(row)) {
                (Some(&[year, month, day, hour, minute]), true) => {
                    instant_of((year, month, day), (hour, minute, seconds.value(row))).map(Some)
                }
                _ => Ok(None),
            }
        });
        Ok(Arc::new(instants.collect::<Result<TimestampMicrosecondArray>>()?))
    })
}

fn instant_of((year, month, day): (i32, i32, i32), (hour, minute, second): (i32, i32, f64)) -> Result<i64> {
    let unsigned = |field: i32| u32::try_from(field).ok();
    let date =
        unsigned(month).zip(unsigned(day)).and_then(|(month, day)| NaiveDate::from_ymd_opt(year, month, day));
    let Some(date) = date else {
        return exec_err!("date field value out of range: {year}-{month:02}-{day:02}");
    };
    // The last second of a minute may be a leap second, and 24:00 is the midnight behind the day.
    let is_time = (0..=23).contains(&hour) && (0..=59).contains(&minute) && (0.0..=60.0).contains(&second);
    let is_end_of_day = hour == 24 && minute == 0 && second == 0.0;
    if !(is_time || is_end_of_day) {
        return exec_err!("time field value out of range: {hour}:{minute:02}:{second:02}");
    }
    let micros = (second * 1e6).round() as i64;
    let time =
        TimeDelta::seconds(i64::from(hour) * 3600 + i64::from(minute) * 60) + TimeDelta::microseconds(micros);
    let instant = date.and_time(chrono::NaiveTime::MIN).checked_add_signed(time);
    let instant = instant.ok_or_else(|| exec_datafusion_err!("timestamp out of range: year {year}"))?;
    Ok(instant.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap().and_utc().timestamp_micros()
    }

    /// What PostgreSQL 15 answers.
    #[test]
    fn ages() {
        let cases = [
            ("2024-03-01 00:00:00", "2023-01-31 00:00:00", (13, 1, 0)),
            ("2023-01-31 00:00:00", "2024-03-01 00:00:00", (-13, -1, 0)),
            ("2024-03-01 00:00:00", "2024-02-29 12:00:00.5", (0, 0, 43_199_500_000)),
            ("2024-05-15 10:00:00", "2024-03-31 11:00:00", (1, 14, 82_800_000_000)),
            ("2024-05-15 10:00:00", "2024-05-15 10:00:00", (0, 0, 0)),
        ];
        for (to, from, (months, days, of_day)) in cases {
            let expected = IntervalMonthDayNano::new(months, days, of_day * 1000);
            assert_eq!(age_of(micros(to), micros(from)).unwrap(), expected, "{to} {from}");
        }
        assert!(age_of(i64::MAX, 0).is_err());
    }

    #[test]
    fn timestamps_are_put_together() {
        assert_eq!(instant_of((2024, 2, 29), (10, 30, 5.5)).unwrap(), micros("2024-02-29 10:30:05.5"));
        assert_eq!(instant_of((2024, 2, 29), (24, 0, 0.0)).unwrap(), micros("2024-03-01 00:00:00"));
        for (date, time) in [
            ((2023, 2, 29), (0, 0, 0.0)),
            ((2024, -1, 1), (0, 0, 0.0)),
            ((2024, 1, 1), (24, 0, 1.0)),
            ((2024, 1, 1), (0, 60, 0.0)),
            ((2024, 1, 1), (0, 0, f64::NAN)),
        ] {
            assert!(instant_of(date, time).is_err(), "{date:?} {time:?}");
        }
    }
}
