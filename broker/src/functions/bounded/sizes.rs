//! How many bytes a call makes, told from its arguments.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

/// Bytes of a letter in UTF-8, at most.
const LETTER_BYTES_MAX: u128 = 4;
/// Bytes of a view of a text, which is what is copied of it where it stays where it is.
const VIEW_BYTES: usize = 16;
/// Bytes of a number as text, more or less.
const NUMBER_TEXT_BYTES: u128 = 24;
/// The shortest month.
const MONTH_DAYS: i128 = 28;
/// The shortest day, when clocks change by one hour, and a margin.
const DAY_NS: i128 = 22 * 3_600_000_000_000;

/// What decides how large a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Size {
    /// A text as often as the number says.
    Repeat,
    /// As many letters as the number says.
    Pad,
    /// A text in the place of each occurrence of another one.
    Replace,
    /// A text in the place of each match, with parts of the match.
    RegexpReplace,
    /// A value as often as the number says.
    ArrayRepeat,
    /// As many elements as the number says.
    ArrayResize,
    /// A text between any two elements.
    ArrayToString,
    /// The steps from one number or instant to another.
    Range,
}

impl Size {
    /// Whether a call may make less than [`Size::bytes`].
    pub(super) fn is_at_most(self) -> bool {
        matches!(self, Self::Replace | Self::RegexpReplace)
    }

    /// Of a call for `rows` rows, those included that a constant takes beside columns, as it is repeated for each row.
    pub(super) fn bytes(self, values: &[ColumnarValue], rows: usize) -> Result<u128> {
        let arguments: Vec<Argument> = values.iter().map(Argument::of).collect::<Result<_>>()?;
        let is_one = arguments.iter().all(|argument| argument.is_constant);
        let repeated = arguments.iter().filter(|argument| argument.is_constant && !is_one);
        let repeated: u128 = repeated.map(|constant| bytes_of(&constant.values) * rows as u128).sum();
        let made: u128 = (0..rows).map(|row| self.bytes_of_row(&arguments, row).unwrap_or_default()).sum();
        Ok(made.max(repeated))
    }

    /// `None` where something is NULL, or no argument of the function.
    fn bytes_of_row(self, arguments: &[Argument], row: usize) -> Option<u128> {
        let argument = |index: usize| arguments.get(index);
        let text = |index: usize| argument(index)?.text(row);
        let count = |index: usize| Some(u128::try_from(argument(index)?.number(row)?).unwrap_or_default());
        Some(match self {
            Self::Repeat => text(0)?.len() as u128 * count(1)?,
            Self::Pad => {
                let is_ascii = text(0)?.is_ascii() && text(2).is_none_or(str::is_ascii);
                count(1)? * if is_ascii { 1 } else { LETTER_BYTES_MAX }
            }
            Self::Replace => {
                let (whole, from, to) = (text(0)?.len(), text(1)?.len(), text(2)?.len());
                let occurrences = whole / from.max(1) + 1;
                whole as u128 + occurrences as u128 * to as u128
            }
            Self::RegexpReplace => {
                let (whole, with) = (text(0)?.len() as u128, text(2)?);
                let flags = argument(3).and_then(|flags| flags.text(row));
                let is_everywhere = flags.is_some_and(|flags| flags.contains('g'));
                let matches = if is_everywhere { whole + 1 } else { 1 };
                // Each reference to a group may be all that has matched.
                let references = with.bytes().filter(|byte| matches!(byte, b'\\' | b'$')).count() as u128;
                whole + matches * with.len() as u128 + references * whole
            }
            Self::ArrayRepeat => argument(0)?.bytes(row) * count(1)?,
            Self::ArrayResize => {
                let fill = argument(2).map(|fill| fill.bytes(row)).unwrap_or_default();
                count(1)? * fill.max(element_bytes(argument(0)?))
            }
            Self::ArrayToString => {
                let elements = elements_of(&argument(0)?.row(row));
                elements * (text(1)?.len().max(text(2).map_or(0, str::len)) as u128 + NUMBER_TEXT_BYTES)
            }
            Self::Range => steps(arguments, row)? * size_of::<i64>() as u128,
        })
    }
}

/// Of texts that were made.
pub(super) fn letters(texts: &ArrayRef) -> u128 {
    let texts = Argument { values: ArrayRef::clone(texts), numbers: None, is_constant: false };
    (0..texts.values.len()).filter_map(|row| Some(texts.text(row)?.len() as u128)).sum()
}

/// A column, or a constant as a column of one row.
struct Argument {
    values: ArrayRef,
    /// Whole numbers, days of dates, nanoseconds of timestamps.
    numbers: Option<ArrayRef>,
    is_constant: bool,
}

impl Argument {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (values, is_constant) = match value {
            ColumnarValue::Array(array) => (ArrayRef::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let numbers = match values.data_type() {
            DataType::Int64 => Some(ArrayRef::clone(&values)),
            DataType::Date32 | DataType::Date64 => {
                let days = cast(&cast(&values, &DataType::Date32)?, &DataType::Int32)?;
                Some(cast(&days, &DataType::Int64)?)
            }
            DataType::Timestamp(_, zone) => {
                let nanos = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
                Some(cast(&cast(&values, &nanos)?, &DataType::Int64)?)
            }
            _ => None,
        };
        Ok(Self { values, numbers, is_constant })
    }

    fn place(&self, row: usize) -> Option<usize> {
        let place = if self.is_constant { 0 } else { row };
        self.values.is_valid(place).then_some(place)
    }

    fn text(&self, row: usize) -> Option<&str> {
        let place = self.place(row)?;
        Some(match self.values.data_type() {
            DataType::Utf8 => self.values.as_string::<i32>().value(place),
            DataType::LargeUtf8 => self.values.as_string::<i64>().value(place),
            DataType::Utf8View => self.values.as_string_view().value(place),
            _ => return None,
        })
    }

    fn number(&self, row: usize) -> Option<i64> {
        let place = self.place(row)?;
        let numbers = self.numbers.as_ref()?;
        numbers.is_valid(place).then(|| numbers.as_primitive::<Int64Type>().value(place))
    }

    fn row(&self, row: usize) -> ArrayRef {
        self.values.slice(if self.is_constant { 0 } else { row }, 1)
    }

    fn bytes(&self, row: usize) -> u128 {
        bytes_of(&self.row(row))
    }
}

/// How many there are from the first argument to the second one; from 0 to the only one.
fn steps(arguments: &[Argument], row: usize) -> Option<u128> {
    let number = |index: usize| arguments.get(index)?.number(row).map(i128::from);
    let (first, last) = match arguments {
        [_] => (0, number(0)?),
        _ => (number(0)?, number(1)?),
    };
    let step = match arguments {
        [] | [_] | [_, _] => 1,
        [first, _, step, ..] => match step.values.as_primitive_opt::<IntervalMonthDayNanoType>() {
            Some(intervals) => {
                let is_days = matches!(first.values.data_type(), DataType::Date32 | DataType::Date64);
                let length = shortest(intervals.value(step.place(row)?), is_days);
                return Some(((last - first.number(row).map(i128::from)?).abs() / length + 1).unsigned_abs());
            }
            None => number(2)?,
        },
    };
    let is_none = step == 0 || (last - first).signum() == -step.signum();
    Some(if is_none { 0 } else { ((last - first) / step + 1).unsigned_abs() })
}

/// The least that an interval moves an instant, in days or nanoseconds, without its direction; at least 1.
fn shortest(interval: IntervalMonthDayNano, is_days: bool) -> i128 {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let parts = [i128::from(months), i128::from(days), i128::from(nanoseconds)];
    // Months less days may be next to nothing.
    if parts.iter().any(|part| *part < 0) && parts.iter().any(|part| *part > 0) {
        return 1;
    }
    let days = parts[0] * MONTH_DAYS + parts[1];
    let length = if is_days { days } else { days * DAY_NS + parts[2] };
    length.abs().max(1)
}

/// Of one element in the place of a list, without what it refers to.
fn element_bytes(list: &Argument) -> u128 {
    match list.values.data_type() {
        DataType::List(element) | DataType::LargeList(element) => width_of(element.data_type()) as u128,
        _ => VIEW_BYTES as u128,
    }
}

fn width_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Null | DataType::Boolean => 1,
        DataType::Utf8 | DataType::Binary | DataType::List(_) => size_of::<i32>(),
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => size_of::<i64>(),
        other => other.primitive_width().unwrap_or(VIEW_BYTES),
    }
}

/// How many elements lists have, those of lists within them as well.
fn elements_of(lists: &ArrayRef) -> u128 {
    match elements(lists) {
        Some(elements) => elements.len() as u128 + elements_of(&elements),
        None => 0,
    }
}

/// The elements of all lists together; `None`: they are no lists.
fn elements(lists: &ArrayRef) -> Option<ArrayRef> {
    if let Some(lists) = lists.as_list_opt::<i32>() {
        let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
        return Some(lists.values().slice(first as usize, (last - first) as usize));
    }
    let lists = lists.as_list_opt::<i64>()?;
    let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
    Some(lists.values().slice(first as usize, (last - first) as usize))
}

/// What is copied when the values are: texts behind views stay where they are.
fn bytes_of(values: &ArrayRef) -> u128 {
    let rows = values.len();
    let letters = match values.data_type() {
        DataType::Utf8 => {
            let offsets = values.as_string::<i32>().value_offsets();
            i64::from(offsets[rows] - offsets[0])
        }
        DataType::LargeUtf8 => {
            let offsets = values.as_string::<i64>().value_offsets();
            offsets[rows] - offsets[0]
        }
        DataType::Binary => {
            let offsets = values.as_binary::<i32>().value_offsets();
            i64::from(offsets[rows] - offsets[0])
        }
        DataType::LargeBinary => {
            let offsets = values.as_binary::<i64>().value_offsets();
            offsets[rows] - offsets[0]
        }
        DataType::Struct(_) => {
            return values.as_struct().columns().iter().map(bytes_of).sum();
        }
        other if other.is_nested() && elements(values).is_none() => {
            return values.to_data().get_slice_memory_size().unwrap_or(usize::MAX) as u128;
        }
        _ => 0,
    };
    let nested = elements(values).map_or(0, |elements| bytes_of(&elements));
    nested + letters.unsigned_abs() as u128 + (rows * width_of(values.data_type())) as u128
}
