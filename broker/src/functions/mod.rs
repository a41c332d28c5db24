//! Functions that Apache Pinot's users and tools write, whose meaning depends on the types of their arguments.
//!
//! Those over time are never run. The analyzer replaces each call by functions that are there anyway (`date_bin`, `date_trunc`,
//! `to_char`, arithmetic on milliseconds), before anything is optimized or sent to another node. What nothing else can say runs
//! itself: [`date_part`], [`float_bits`], [`interval`], [`json_texts`], [`millis_of`], [`mode`], [`moments`], [`months`], [`round`],
//! [`truths`], [`value_in`] and those of [`postgres`]; every node has them. What only Pinot's clients mean, such as an array that
//! equals a text, is for [their sessions](pinot) alone.
//!
//! An instant is a TIMESTAMP, a DATE, or a whole number of milliseconds since the epoch; what Pinot answers with milliseconds
//! is a LONG here as well. So a TIMESTAMP and a whole number are compared, calculated with ([`millis`]), and cast to each other
//! ([`casts`]) in milliseconds: SQL has no meaning for any of these, and Postgres refuses them. Whatever is compared in a way that
//! SQL does not know goes through [`compare`].
//!
//! | function | answers with |
//! |---|---|
//! | `dateTimeConvert(x, from, to, granularity)` | the instant `x`, cut to the granularity, in the format `to` |
//! | `dateTrunc(unit, x [, from, zone, to])` | the instant cut to a unit, in its own type, or in the time unit `to` |
//! | `timeConvert(x, from, to)` | a number of another time unit |
//! | `round(dateTrunc(…), ms)` | the instant cut to a number of milliseconds |
//! | `toEpochSeconds(x)`, `…Rounded(x, n)`, `…Bucket(x, n)` | seconds (or minutes, hours, days) since the epoch |
//! | `fromEpochSeconds(x)`, `…Bucket(x, n)` | milliseconds since the epoch |
//! | `fromDateTime(text, pattern [, zone])`, `toDateTime(x, pattern [, zone])` | milliseconds, text |
//! | `fromIso8601(text)`, `toIso8601(x)` | milliseconds, a text such as `2024-03-01T10:00:00Z` |
//! | `fromTimestamp(x)`, `toTimestamp(x)` (not `to_timestamp`) | milliseconds, the instant as a TIMESTAMP |
//! | `timestampAdd(unit, n, x)`, `dateAdd` | the instant `n` units later, in its own type; a month later than the 31st is a last day |
//! | `timestampDiff(unit, x, y)`, `dateDiff` | whole units from `x` to `y`, below 0 if `y` is earlier |
//! | `year(x [, zone])`, `quarter`, `month`, `week`, `day`, `dayOfWeek`, `dayOfYear`, `hour`, `minute`, `second`, … | a part of the instant |
//!
//! NULL in, NULL out. Instants before 1970 are cut downwards where they are TIMESTAMPs, towards 1970 where they are numbers.

mod bounded;
mod casts;
mod compare;
mod convert;
mod date_part;
mod days;
mod decimals;
mod float_bits;
mod format;
mod instant;
mod interval;
mod json_texts;
mod millis;
mod millis_of;
mod mixed;
mod mode;
mod moments;
mod months;
mod pattern;
mod percentile;
mod pg_pattern;
mod pinot;
mod postgres;
mod round;
mod shift;
mod truths;
mod value_in;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use compare::Compare;
use convert::Calls;
pub(crate) use format::period_ms;
use format::{Format, TimeUnit};
use postgres::literals::literals;
pub(crate) use postgres::of_catalog;
pub(crate) use round::ROUND_DIGITS;
pub(crate) use truths::{Truth, with_truths};

use crate::request::Meaning;

/// How comparisons are read for everybody.
const PLAIN: Compare = Compare(&[millis::instants, mixed::mixed, literals]);
/// How they are read for Pinot's clients.
const OF_PINOT: Compare =
    Compare(&[days::midnights, pinot::bytes, pinot::arrays, millis::instants, mixed::mixed, literals]);
/// How they are read over the catalog of PostgreSQL.
const OF_CATALOG: Compare = Compare(&[mixed::mixed]);

/// `dateTrunc`. The name that is written is an alias of SQL's own `date_trunc`, which a session may register after ours.
pub(crate) const TIME_TRUNC: &str = "trunc_time";
/// `round` of an instant.
pub(crate) const TIME_ROUND: &str = "round_time";
/// `toTimestamp`; SQL's own function is spelled with an underscore, and counts seconds.
pub(crate) const TO_TIMESTAMP: &str = "totimestamp";
/// The instant in milliseconds.
pub(crate) const TO_EPOCH_MILLIS: &str = "toepochmillis";

/// A function, as it is registered: lower case, without underscores.
#[derive(Debug)]
pub(crate) struct TimeFunction {
    /// Its name.
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    DateTimeConvert,
    Trunc,
    TimeConvert,
    Round,
    /// Milliseconds to another unit, cut to a multiple if there is a second argument.
    ToEpoch(TimeUnit),
    /// The same, counted in multiples.
    ToEpochBucket(TimeUnit),
    /// Another unit, or multiples of it, to milliseconds.
    FromEpoch(TimeUnit),
    FromDateTime,
    ToDateTime,
    FromIso8601,
    ToIso8601,
    ToTimestamp,
    /// So many units later.
    Add,
    /// Whole units from one instant to another.
    Diff,
    /// A part by the name that `date_part` knows.
    Part(&'static str),
    /// Milliseconds of the second.
    Millisecond,
}

const fn function(name: &'static str, kind: Kind) -> TimeFunction {
    TimeFunction { name, kind }
}

/// All of them.
pub(crate) const TIME_FUNCTIONS: [TimeFunction; 55] = [
    function("datetimeconvert", Kind::DateTimeConvert),
    function(TIME_TRUNC, Kind::Trunc),
    function("timeconvert", Kind::TimeConvert),
    function(TIME_ROUND, Kind::Round),
    function(TO_EPOCH_MILLIS, Kind::ToEpoch(TimeUnit::Milliseconds)),
    function("toepochseconds", Kind::ToEpoch(TimeUnit::Seconds)),
    function("toepochminutes", Kind::ToEpoch(TimeUnit::Minutes)),
    function("toepochhours", Kind::ToEpoch(TimeUnit::Hours)),
    function("toepochdays", Kind::ToEpoch(TimeUnit::Days)),
    function("toepochsecondsrounded", Kind::ToEpoch(TimeUnit::Seconds)),
    function("toepochminutesrounded", Kind::ToEpoch(TimeUnit::Minutes)),
    function("toepochhoursrounded", Kind::ToEpoch(TimeUnit::Hours)),
    function("toepochdaysrounded", Kind::ToEpoch(TimeUnit::Days)),
    function("toepochsecondsbucket", Kind::ToEpochBucket(TimeUnit::Seconds)),
    function("toepochminutesbucket", Kind::ToEpochBucket(TimeUnit::Minutes)),
    function("toepochhoursbucket", Kind::ToEpochBucket(TimeUnit::Hours)),
    function("toepochdaysbucket", Kind::ToEpochBucket(TimeUnit::Days)),
    function("fromepochseconds", Kind::FromEpoch(TimeUnit::Seconds)),
    function("fromepochminutes", Kind::FromEpoch(TimeUnit::Minutes)),
    function("fromepochhours", Kind::FromEpoch(TimeUnit::Hours)),
    function("fromepochdays", Kind::FromEpoch(TimeUnit::Days)),
    function("fromepochsecondsbucket", Kind::FromEpoch(TimeUnit::Seconds)),
    function("fromepochminutesbucket", Kind::FromEpoch(TimeUnit::Minutes)),
    function("fromepochhoursbucket", Kind::FromEpoch(TimeUnit::Hours)),
    function("fromepochdaysbucket", Kind::FromEpoch(TimeUnit::Days)),
    function("fromdatetime", Kind::FromDateTime),
    function("todatetime", Kind::ToDateTime),
    function("fromiso8601", Kind::FromIso8601),
    function("toiso8601", Kind::ToIso8601),
    function("fromtimestamp", Kind::ToEpoch(TimeUnit::Milliseconds)),
    function(TO_TIMESTAMP, Kind::ToTimestamp),
    function("timestampadd", Kind::Add),
    function("dateadd", Kind::Add),
    function("timestampdiff", Kind::Diff),
    function("datediff", Kind::Diff),
    function("year", Kind::Part("year")),
    function("yearofweek", Kind::Part("isoyear")),
    function("yow", Kind::Part("isoyear")),
    function("quarter", Kind::Part("quarter")),
    function("month", Kind::Part("month")),
    function("monthofyear", Kind::Part("month")),
    function("week", Kind::Part("week")),
    function("weekofyear", Kind::Part("week")),
    function("day", Kind::Part("day")),
    function("dayofmonth", Kind::Part("day")),
    function("dayofweek", Kind::Part("isodow")),
    function("dow", Kind::Part("isodow")),
    function("dayofyear", Kind::Part("doy")),
    function("doy", Kind::Part("doy")),
    function("hour", Kind::Part("hour")),
    function("hourofday", Kind::Part("hour")),
    function("minute", Kind::Part("minute")),
    function("minuteofhour", Kind::Part("minute")),
    function("second", Kind::Part("second")),
    function("millisecond", Kind::Millisecond),
];

/// Registers the functions, what replaces them, what knows a number as an instant, and names of types.
pub(crate) fn register_all(state: &mut SessionState) -> Result<()> {
    bounded::register(state)?;
    state.register_function_rewrite(Arc::new(casts::KnownZones))?;
    let calls = Calls::of(state)?;
    for TimeFunction { name, kind } in TIME_FUNCTIONS {
        let function = Unplanned { name, kind, signature: Signature::variadic_any(Volatility::Immutable) };
        state.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    compare(state, PLAIN)?;
    read_as_postgres(state)?;
    state.register_function_rewrite(Arc::new(Replace { calls }))?;
    state.register_expr_planner(Arc::new(millis::CalculateInMillis))?;
    state.register_udf(millis_of::function())?;
    state.register_udf(Arc::new(value_in::function()))?;
    state.register_udf(Arc::new(months::function()))?;
    state.register_udf(Arc::new(json_texts::function()))?;
    state.register_udf(Arc::new(round::to_digits()))?;
    let float_bits = Arc::new(float_bits::function());
    state.register_udf(Arc::clone(&float_bits))?;
    state.register_function_rewrite(Arc::new(float_bits::CountBits { float_bits }))?;
    let aggregates = mode::functions().into_iter().chain(moments::functions());
    for aggregate in aggregates.chain([truths::average()]) {
        state.register_udaf(Arc::new(aggregate))?;
    }
    percentile::register(state)?;
    postgres::register(state)?;
    state.register_function_rewrite(Arc::new(postgres::literals::ReadLiterals))?;
    let date_part = Arc::new(date_part::function());
    state.register_udf(Arc::clone(&date_part))?;
    // Before the planner that knows DataFusion's own function alone.
    let extract: Arc<dyn ExprPlanner> = Arc::new(date_part::Extract { date_part });
    let planners = std::iter::once(extract).chain(state.expr_planners().iter().cloned()).collect();
    let builder = SessionStateBuilder::new_from_existing(state.clone()).with_expr_planners(planners);
    *state = builder.with_type_planner(Arc::new(casts::ForeignTypes)).build();
    Ok(())
}

/// Registers what reads values of types that SQL does not mix in sessions that plan statements over the catalog of PostgreSQL.
pub(crate) fn compare_mixed_types(state: &mut SessionState) -> Result<()> {
    compare(state, OF_CATALOG)?;
    bounded::register(state)?;
    read_as_postgres(state)
}

/// What a comparison says to clients who mean that by it; `None`: what it says in SQL, or it is none.
pub(crate) fn compared(expr: &Expr, schema: &DFSchema, meaning: Meaning) -> Result<Option<Expr>> {
    let readings = match meaning {
        Meaning::Pinot => OF_PINOT,
        Meaning::Plain | Meaning::Postgres => PLAIN,
    };
    readings.predicate(expr, schema)
}

/// Comparisons are asked for when they are planned, and again when they are analyzed.
fn compare(state: &mut SessionState, readings: Compare) -> Result<()> {
    state.register_function_rewrite(Arc::new(readings))?;
    state.register_expr_planner(Arc::new(readings))
}

fn read_as_postgres(state: &mut SessionState) -> Result<()> {
    let interval_times = Arc::new(interval::function());
    state.register_udf(Arc::clone(&interval_times))?;
    state.register_function_rewrite(Arc::new(mixed::ReadAsPostgres))?;
    state.register_expr_planner(Arc::new(mixed::MultiplyIntervals { interval_times }))
}

/// The state for statements of Pinot's clients: where SQL and Pinot differ, it has the meaning of [Pinot](pinot).
pub(crate) fn with_meanings_of_pinot(state: &SessionState) -> Result<SessionState> {
    let mut planners = state.expr_planners().to_vec();
    let first: [Arc<dyn ExprPlanner>; 2] = [Arc::new(OF_PINOT), Arc::new(pinot::MeaningsOfPinot)];
    planners.splice(..0, first);
    let mut builder = SessionStateBuilder::new_from_existing(state.clone()).with_expr_planners(planners);
    let Some(analyzer) = builder.analyzer() else {
        return internal_err!("a session without an analyzer cannot have the meanings of Pinot");
    };
    // What reads for everybody would leave of a list, or of bounds, what Pinot's readings no longer see.
    analyzer.function_rewrites.retain(|rewrite| rewrite.name() != Compare::NAME);
    let first: [Arc<dyn FunctionRewrite + Send + Sync>; 2] =
        [Arc::new(pinot::MeaningsOfPinot), Arc::new(OF_PINOT)];
    analyzer.function_rewrites.splice(..0, first);
    let mut state = builder.build();
    state.register_function_rewrite(Arc::new(round::RoundToMultiples))?;
    Ok(state)
}

/// The state for statements of PostgreSQL's clients: a cast to text has the meaning of PostgreSQL.
pub(crate) fn with_meanings_of_postgres(state: &SessionState) -> Result<SessionState> {
    let mut state = state.clone();
    let text_of = state.udf("text_of")?;
    state.register_function_rewrite(Arc::new(postgres::text_of::MeaningsOfPostgres { text_of }))?;
    Ok(state)
}

/// A call that the analyzer has yet to replace.
#[derive(Debug)]
struct Unplanned {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl PartialEq for Unplanned {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Unplanned {}

impl Hash for Unplanned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Unplanned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of {} depends on its arguments", self.name)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let text = |index: usize| match args.scalar_arguments.get(index).copied().flatten() {
            Some(ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text)) => {
                text.as_deref()
            }
            _ => None,
        };
        let type_of = |index: usize| args.arg_fields.get(index).map(|field| field.data_type().clone());
        let data_type = match self.kind {
            Kind::DateTimeConvert => match text(2).and_then(Format::read) {
                Some(format) => format.data_type(),
                None => DataType::Int64,
            },
            Kind::Trunc if args.arg_fields.len() == 2 => instant::own_type(type_of(1)),
            Kind::Round => instant::own_type(type_of(0)),
            Kind::Add => instant::own_type(type_of(2)),
            Kind::ToTimestamp => instant::millis_type(),
            Kind::ToDateTime | Kind::ToIso8601 => DataType::Utf8,
            Kind::Part(_) => DataType::Int32,
            _ => DataType::Int64,
        };
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} was not planned", self.name)
    }
}

/// Replaces the calls.
#[derive(Debug)]
struct Replace {
    calls: Calls,
}

impl FunctionRewrite for Replace {
    fn name(&self) -> &str {
        "replace_time_functions"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(call) = &expr else {
            return Ok(casts::in_millis(expr, schema));
        };
        match call.func.inner().downcast_ref::<Unplanned>() {
            Some(Unplanned { name, kind, .. }) => {
                self.calls.replacement(name, *kind, &call.args, schema).map(Transformed::yes)
            }
            None => Ok(Transformed::no(expr)),
        }
    }
}
