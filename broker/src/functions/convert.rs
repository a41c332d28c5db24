//! The calls, as functions that are there anyway.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit as ArrowUnit};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, ScalarUDF, cast, lit};

use super::format::{Format, TimeUnit, granularity_ms};
use super::instant::{Instant, in_zone, interval_ms, millis_type, product, quotient};
use super::pattern::Pattern;
use super::shift::{self, Length};
use super::{Kind, months};

/// The functions that calls are replaced by.
#[derive(Debug)]
pub(super) struct Calls {
    date_bin: Arc<ScalarUDF>,
    date_part: Arc<ScalarUDF>,
    date_trunc: Arc<ScalarUDF>,
    to_char: Arc<ScalarUDF>,
    to_timestamp_millis: Arc<ScalarUDF>,
    concat: Arc<ScalarUDF>,
    months_between: Arc<ScalarUDF>,
}

/// One call.
struct Call<'a> {
    name: &'a str,
    arguments: &'a [Expr],
    schema: &'a DFSchema,
}

impl Calls {
    pub(super) fn of(state: &SessionState) -> Result<Self> {
        Ok(Self {
            date_bin: state.udf("date_bin")?,
            date_part: state.udf("date_part")?,
            date_trunc: state.udf("date_trunc")?,
            to_char: state.udf("to_char")?,
            to_timestamp_millis: state.udf("to_timestamp_millis")?,
            concat: state.udf("concat")?,
            months_between: Arc::new(months::function()),
        })
    }

    /// What stands for a call of the function `name`.
    ///
    /// # Errors
    /// Of planning, if its arguments are not what they must be.
    pub(super) fn replacement(
        &self,
        name: &str,
        kind: Kind,
        arguments: &[Expr],
        schema: &DFSchema,
    ) -> Result<Expr> {
        let call = Call { name, arguments, schema };
        match kind {
            Kind::DateTimeConvert => self.date_time_convert(&call),
            Kind::Trunc => self.trunc(&call),
            Kind::Round => self.round(&call),
            Kind::TimeConvert => {
                let (from, to) = (call.unit(1)?, call.unit(2)?);
                Ok(in_unit(call.instant(0, 1, from)?.millis(), to))
            }
            Kind::ToEpoch(unit) => {
                let number = in_unit(call.instant(0, 1, TimeUnit::Milliseconds)?.millis(), unit);
                Ok(match call.count(1)? {
                    Some(count) => product(quotient(number, count), count),
                    None => number,
                })
            }
            Kind::ToEpochBucket(unit) => {
                let number = in_unit(call.instant(0, 1, TimeUnit::Milliseconds)?.millis(), unit);
                match call.count(1)? {
                    Some(count) => Ok(quotient(number, count)),
                    None => plan_err!("{name} wants two arguments"),
                }
            }
            Kind::FromEpoch(unit) => Ok(call.instant(0, call.count(1)?.unwrap_or(1), unit)?.millis()),
            Kind::FromDateTime => {
                let pattern = call.pattern()?;
                Ok(cast(self.parse(call.get(0)?.clone(), &pattern), DataType::Int64))
            }
            Kind::ToDateTime => {
                let pattern = call.pattern()?;
                Ok(self.print(call.instant(0, 1, TimeUnit::Milliseconds)?, &pattern))
            }
            Kind::FromIso8601 => Ok(cast(cast(call.get(0)?.clone(), millis_type()), DataType::Int64)),
            Kind::ToIso8601 => {
                let instant = call.instant(0, 1, TimeUnit::Milliseconds)?.zoned("UTC");
                Ok(self.to_char.call(vec![instant, lit("%Y-%m-%dT%H:%M:%S%.fZ")]))
            }
            Kind::ToTimestamp => Ok(call.instant(0, 1, TimeUnit::Milliseconds)?.zoned("UTC")),
            Kind::Add => {
                let (unit, instant) = (call.length()?, call.instant(2, 1, TimeUnit::Milliseconds)?);
                shift::add(call.get(1)?, unit, instant, call.schema)
            }
            Kind::Diff => {
                let unit = call.length()?;
                let from = call.instant(1, 1, TimeUnit::Milliseconds)?.millis();
                let to = call.instant(2, 1, TimeUnit::Milliseconds)?.millis();
                Ok(shift::difference(from, to, unit, &self.months_between))
            }
            Kind::Part(part) => {
                let instant = call.instant(0, 1, TimeUnit::Milliseconds)?;
                let instant = match call.zone(1)? {
                    Some(zone) => instant.zoned(zone),
                    None => instant.timestamp(),
                };
                Ok(self.date_part.call(vec![lit(part), instant]))
            }
            Kind::Millisecond => {
                let millis = call.instant(0, 1, TimeUnit::Milliseconds)?.millis();
                // Counted from the second before, also before 1970.
                Ok((millis % lit(1000_i64) + lit(1000_i64)) % lit(1000_i64))
            }
        }
    }

    fn date_time_convert(&self, call: &Call<'_>) -> Result<Expr> {
        let (from, to) = (call.format(1)?, call.format(2)?);
        let granularity = call.text(3)?;
        let Some(granularity) = granularity_ms(granularity) else {
            return plan_err!("{granularity:?} is not a granularity such as '5:MINUTES'");
        };
        let instant = match &from {
            Format::Epoch(size, unit) => call.instant(0, *size, *unit)?,
            Format::Timestamp => call.instant(0, 1, TimeUnit::Milliseconds)?,
            Format::Text(pattern) => Instant::Timestamp(self.parse(call.get(0)?.clone(), pattern)),
        };
        let instant = match call.zone(4)? {
            // Hours and days of a zone need not begin where those of UTC do.
            Some(zone) => match granularity {
                3_600_000 => Instant::Timestamp(self.date_trunc.call(vec![lit("hour"), instant.zoned(zone)])),
                86_400_000 => Instant::Timestamp(self.date_trunc.call(vec![lit("day"), instant.zoned(zone)])),
                _ => return plan_err!("with a time zone the granularity is 1:HOURS or 1:DAYS"),
            },
            None => self.cut(instant, granularity)?,
        };
        Ok(match &to {
            Format::Epoch(size, unit) => quotient(in_unit(instant.millis(), *unit), *size),
            Format::Timestamp => cast(instant.timestamp(), millis_type()),
            Format::Text(pattern) => self.print(instant, pattern),
        })
    }

    fn trunc(&self, call: &Call<'_>) -> Result<Expr> {
        let unit = call.text(0)?.to_ascii_lowercase();
        if call.arguments.len() == 2 {
            let instant = call.instant(1, 1, TimeUnit::Milliseconds)?;
            let is_number = matches!(instant, Instant::Millis(_));
            let cut = Instant::Timestamp(self.date_trunc.call(vec![lit(unit), instant.timestamp()]));
            return Ok(if is_number { cut.millis() } else { cut.timestamp() });
        }
        let from = call.unit(2)?;
        let instant = call.instant(1, 1, from)?;
        let instant = match call.zone(3)? {
            Some(zone) => instant.zoned(zone),
            None => instant.timestamp(),
        };
        let to = if call.arguments.len() > 4 { call.unit(4)? } else { from };
        let cut = self.date_trunc.call(vec![lit(unit), instant]);
        Ok(in_unit(Instant::Timestamp(cut).millis(), to))
    }

    fn round(&self, call: &Call<'_>) -> Result<Expr> {
        let Some(ms) = call.count(1)? else { return plan_err!("round wants a number of milliseconds") };
        let cut = self.cut(call.instant(0, 1, TimeUnit::Milliseconds)?, ms)?;
        Ok(match cut {
            Instant::Millis(expr) | Instant::Timestamp(expr) => expr,
        })
    }

    /// The instant cut to a multiple of `ms` since the epoch.
    fn cut(&self, instant: Instant, ms: i64) -> Result<Instant> {
        Ok(match instant {
            Instant::Millis(expr) => Instant::Millis(product(quotient(expr, ms), ms)),
            Instant::Timestamp(expr) => Instant::Timestamp(self.date_bin.call(vec![interval_ms(ms)?, expr])),
        })
    }

    /// A text of the pattern as a timestamp in milliseconds.
    fn parse(&self, text: Expr, pattern: &Pattern) -> Expr {
        let (missing, format) = pattern.missing;
        let text = match missing {
            "" => text,
            missing => self.concat.call(vec![text, lit(missing)]),
        };
        let parsed = self.to_timestamp_millis.call(vec![text, lit(format!("{}{format}", pattern.format))]);
        if pattern.zone == "UTC" {
            return cast(parsed, millis_type());
        }
        // Read as the clock of UTC, meant as that of the zone.
        let clock = cast(parsed, DataType::Timestamp(ArrowUnit::Millisecond, None));
        cast(cast(clock, in_zone(&pattern.zone)), millis_type())
    }

    fn print(&self, instant: Instant, pattern: &Pattern) -> Expr {
        self.to_char.call(vec![instant.zoned(&pattern.zone), lit(pattern.format.clone())])
    }
}

/// Milliseconds in another unit.
fn in_unit(millis: Expr, unit: TimeUnit) -> Expr {
    let (ms, parts) = unit.ratio();
    product(quotient(millis, ms), parts)
}

impl<'a> Call<'a> {
    fn get(&self, index: usize) -> Result<&'a Expr> {
        match self.arguments.get(index) {
            Some(argument) => Ok(argument),
            None => plan_err!("{} wants more than {} argument(s)", self.name, self.arguments.len()),
        }
    }

    fn instant(&self, index: usize, size: i64, unit: TimeUnit) -> Result<Instant> {
        Instant::of(self.get(index)?, size, unit, self.schema)
    }

    fn text(&self, index: usize) -> Result<&'a str> {
        match self.get(index)? {
            Expr::Literal(
                ScalarValue::Utf8(Some(text))
                | ScalarValue::Utf8View(Some(text))
                | ScalarValue::LargeUtf8(Some(text)),
                _,
            ) => Ok(text),
            _ => plan_err!("argument {} of {} must be a text in quotes", index + 1, self.name),
        }
    }

    /// A whole number above 0; `None` if there is no such argument.
    fn count(&self, index: usize) -> Result<Option<i64>> {
        match self.arguments.get(index) {
            None => Ok(None),
            Some(Expr::Literal(ScalarValue::Int64(Some(count)), _)) if *count > 0 => Ok(Some(*count)),
            Some(_) => {
                plan_err!("argument {} of {} must be a whole number above 0", index + 1, self.name)
            }
        }
    }

    fn unit(&self, index: usize) -> Result<TimeUnit> {
        let text = self.text(index)?;
        TimeUnit::read(text).ok_or_else(|| {
            DataFusionError::Plan(format!("{text:?} is not a time unit such as 'MILLISECONDS' or 'DAYS'"))
        })
    }

    /// A unit of the calendar, the first argument.
    fn length(&self) -> Result<Length> {
        let text = self.text(0)?;
        Length::read(text).ok_or_else(|| {
            DataFusionError::Plan(format!("{text:?} is not a unit such as 'HOUR', 'DAY' or 'MONTH'"))
        })
    }

    fn format(&self, index: usize) -> Result<Format> {
        let text = self.text(index)?;
        Format::read(text).ok_or_else(|| {
            DataFusionError::Plan(format!(
                "{text:?} is not a format such as '1:MILLISECONDS:EPOCH', 'TIMESTAMP' or \
                 '1:DAYS:SIMPLE_DATE_FORMAT:yyyy-MM-dd'"
            ))
        })
    }

    /// A time zone other than UTC; `None` if there is none.
    fn zone(&self, index: usize) -> Result<Option<&'a str>> {
        if self.arguments.len() <= index {
            return Ok(None);
        }
        let zone = self.text(index)?;
        if zone.parse::<arrow::array::timezone::Tz>().is_err() {
            return plan_err!("{zone:?} is not a time zone such as 'UTC' or 'Europe/Berlin'");
        }
        Ok((zone != "UTC").then_some(zone))
    }

    /// The pattern of the second argument, in the zone of the third.
    fn pattern(&self) -> Result<Pattern> {
        let (text, zone) = (self.text(1)?, self.zone(2)?.unwrap_or("UTC"));
        Pattern::read(text, zone).ok_or_else(|| {
            DataFusionError::Plan(format!(
                "{text:?} is not a pattern for dates such as 'yyyy-MM-dd HH:mm:ss'"
            ))
        })
    }
}
