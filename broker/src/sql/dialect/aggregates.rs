//! Pinot's aggregates.

use datafusion::sql::sqlparser::ast::{Array, Expr, UnaryOperator, Value};

use super::{Call, Rewrite, Rewritten, fault, filled};
use crate::sql::template::{number_of, text_of};

/// Bins of a histogram at most.
const BINS_MAX: usize = 100;

const EXACT: Rewrite = Rewrite::Templates(&[(1, "count(DISTINCT $1)")]);
/// What may follow is the size of a sketch.
const APPROXIMATE: Rewrite =
    Rewrite::Templates(&[(1, "approx_distinct($1)"), (2, "approx_distinct($1)"), (3, "approx_distinct($1)")]);

pub(super) const REWRITES: [(&str, Rewrite); 43] = [
    ("distinctcount", EXACT),
    ("distinctcountbitmap", EXACT),
    ("distinctcountoffheap", EXACT),
    ("segmentpartitioneddistinctcount", EXACT),
    ("distinctcountthetasketch", Rewrite::Shape(theta_sketch)),
    ("distinctcounthll", APPROXIMATE),
    ("distinctcounthllplus", APPROXIMATE),
    ("distinctcountull", APPROXIMATE),
    ("distinctcountsmarthll", APPROXIMATE),
    ("distinctcountsmarthllplus", APPROXIMATE),
    ("distinctcountsmartull", APPROXIMATE),
    ("distinctcountcpcsketch", APPROXIMATE),
    ("distinctsum", Rewrite::Templates(&[(1, "sum(DISTINCT $1)")])),
    ("distinctavg", Rewrite::Templates(&[(1, "avg(DISTINCT $1)")])),
    ("minmaxrange", Rewrite::Templates(&[(1, "(max($1) - min($1))")])),
    ("firstwithtime", Rewrite::Templates(&[(3, "first_value($1 ORDER BY $2 NULLS LAST)")])),
    ("lastwithtime", Rewrite::Templates(&[(3, "last_value($1 ORDER BY $2 NULLS FIRST)")])),
    ("mode", Rewrite::Shape(mode)),
    ("histogram", Rewrite::Shape(histogram)),
    ("countmv", Rewrite::Templates(&[(1, "coalesce(CAST(sum(cardinality($1)) AS BIGINT), 0)")])),
    ("summv", Rewrite::Templates(&[(1, "sum(array_sum($1))")])),
    ("minmv", Rewrite::Templates(&[(1, "min(array_min($1))")])),
    ("maxmv", Rewrite::Templates(&[(1, "max(array_max($1))")])),
    ("minmaxrangemv", Rewrite::Templates(&[(1, "(max(array_max($1)) - min(array_min($1)))")])),
    (
        "avgmv",
        Rewrite::Templates(&[(
            1,
            "(CAST(sum(array_sum($1)) AS DOUBLE) / nullif(sum(cardinality(array_compact($1))), 0))",
        )]),
    ),
    ("arrayagg", Rewrite::Shape(array_agg)),
    ("minlong", Rewrite::Name("min")),
    ("maxlong", Rewrite::Name("max")),
    ("minstring", Rewrite::Name("min")),
    ("maxstring", Rewrite::Name("max")),
    ("sumint", Rewrite::Name("sum")),
    ("sumlong", Rewrite::Name("sum")),
    ("sumprecision", Rewrite::Shape(sum_precision)),
    ("anyvalue", Rewrite::Name("any_value")),
    ("booland", Rewrite::Name("bool_and")),
    ("boolor", Rewrite::Name("bool_or")),
    ("stddevpop", Rewrite::Name("stddev_pop")),
    ("stddevsamp", Rewrite::Name("stddev_samp")),
    ("varpop", Rewrite::Name("var_pop")),
    ("varsamp", Rewrite::Name("var_samp")),
    ("covarpop", Rewrite::Name("covar_pop")),
    ("covarsamp", Rewrite::Name("covar_samp")),
    ("listagg", Rewrite::Name("string_agg")),
];

/// Percentiles, longest first; and whether they are approximate.
const PERCENTILES: [(&str, bool); 5] = [
    ("percentilesmarttdigest", true),
    ("percentiletdigest", true),
    ("percentilekll", true),
    ("percentileest", true),
    ("percentile", false),
];

/// Whether the name begins like a percentile: it may end with the number.
pub(super) fn is_percentile(name: &str) -> bool {
    name.starts_with("percentile")
}

pub(super) fn percentile(call: &Call<'_>) -> Rewritten {
    let kind = PERCENTILES
        .iter()
        .find_map(|(kind, approximate)| call.name.strip_prefix(kind).map(|suffix| (suffix, *approximate)));
    let Some((suffix, approximate)) = kind else { return Ok(None) };
    let (value, number) = match (call.arguments, suffix) {
        ([value], digits) if !digits.is_empty() => (value, digits.to_owned()),
        // A compression or a size of the sketch may follow.
        ([value, number, ..], "") => match number_of(number) {
            Some(number) => (value, number),
            None => return Err(fault("a percentile wants a number from 0 to 100")),
        },
        _ => return Ok(None),
    };
    // Another function, whose name begins alike: percentile_cont.
    let Ok(number) = number.parse::<f64>() else { return Ok(None) };
    if !(0.0..=100.0).contains(&number) {
        return Err(fault(format!("a percentile is a number from 0 to 100, not {number}")));
    }
    // Without the digits that division leaves behind: 99.9 becomes 0.999.
    let share = (number * 1e10).round() / 1e12;
    let ours = if approximate { "approx_percentile_cont" } else { "percentile_cont" };
    filled(&format!("{ours}($1, {share:?})"), &[*value], Some(call.function))
}

/// A sketch that is as large as it need be is exact. Sets of sketches are another thing.
fn theta_sketch(call: &Call<'_>) -> Rewritten {
    match call.arguments {
        [_] => call.filled("count(DISTINCT $1)"),
        [_, parameters] if text_of(parameters).is_some_and(|text| text.is_empty() || text.contains('=')) => {
            call.filled("count(DISTINCT $1)")
        }
        [] => Ok(None),
        _ => Err(fault(
            "distinctCountThetaSketch takes no conditions and no sets; write count(DISTINCT x) FILTER (WHERE …)",
        )),
    }
}

/// As exact as jsonExtractScalar is, whatever the number is; Pinot rounds to a number of digits that may follow.
fn sum_precision(call: &Call<'_>) -> Rewritten {
    match call.arguments {
        [_] => call.filled("sum(CAST($1 AS DECIMAL(38, 10)))"),
        [] => Ok(None),
        _ => Err(fault("sumPrecision adds up exactly, without a precision; round what it answers with")),
    }
}

fn mode(call: &Call<'_>) -> Rewritten {
    let [_, of_several] = call.arguments else { return Ok(None) };
    match text_of(of_several).map(str::to_ascii_uppercase).as_deref() {
        Some("MIN") => call.filled("mode($1)"),
        Some("MAX") => call.filled("mode_max($1)"),
        Some("AVG") => call.filled("mode_avg($1)"),
        _ => Err(fault("of several modes, mode takes 'MIN', 'MAX' or 'AVG'")),
    }
}

fn array_agg(call: &Call<'_>) -> Rewritten {
    match call.arguments {
        [_, kind] if text_of(kind).is_some() => call.filled("array_agg($1)"),
        [_, _, distinct] => match distinct {
            Expr::Value(value) if value.value == Value::Boolean(true) => {
                call.filled("array_agg(DISTINCT $1)")
            }
            _ => call.filled("array_agg($1)"),
        },
        _ => Ok(None),
    }
}

/// One count for each bin. A bin has its lower end; the last one has both.
fn histogram(call: &Call<'_>) -> Rewritten {
    let edges = match call.arguments {
        [_, Expr::Array(Array { elem, .. })] => elem.iter().map(double_of).collect::<Option<Vec<_>>>(),
        [_, low, high, bins] => equal_bins(low, high, bins),
        _ => return Ok(None),
    };
    let rising = |edges: &Vec<f64>| edges.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    let Some(edges) = edges.filter(|edges| (2..=BINS_MAX + 1).contains(&edges.len()) && rising(edges)) else {
        return Err(fault(format!(
            "histogram wants (x, low, high, bins) or (x, ARRAY[…]) with rising numbers and at most {BINS_MAX} bins"
        )));
    };
    let last = edges.len() - 2;
    let bins = edges.windows(2).enumerate().map(|(bin, edge)| {
        let below = if bin == last { "<=" } else { "<" };
        format!(
            "CAST(count(CASE WHEN $1 >= {:?} AND $1 {below} {:?} THEN 1 END) AS DOUBLE)",
            edge[0], edge[1]
        )
    });
    call.filled(&format!("make_array({})", bins.collect::<Vec<_>>().join(", ")))
}

fn equal_bins(low: &Expr, high: &Expr, bins: &Expr) -> Option<Vec<f64>> {
    let (low, high) = (double_of(low)?, double_of(high)?);
    let bins = number_of(bins)?.parse::<usize>().ok().filter(|bins| (1..=BINS_MAX).contains(bins))?;
    let width = (high - low) / bins as f64;
    let inner = (1..bins).map(|bin| bin as f64 * width + low);
    Some(std::iter::once(low).chain(inner).chain([high]).collect())
}

/// The number, if the expression is one, with its sign.
fn double_of(expr: &Expr) -> Option<f64> {
    let number = match expr {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => -number_of(expr)?.parse::<f64>().ok()?,
        other => number_of(other)?.parse::<f64>().ok()?,
    };
    number.is_finite().then_some(number)
}
