//! What an aggregate computes, in terms of a segment's columns; and the same compiled for one segment.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use headwater_segment::column::SegmentColumns;

use super::accumulator::{Accumulator, Counted, WideSums};
use super::argument::{Floats, Integers, Presence, cast_integer};
use super::distinct::{Argument, Distinct, Numbered, is_numbered};
use super::keys::{Key, SegmentKey};
use super::program::unlike;
use super::stock::Stock;
use super::values::{is_floating, is_integral};
use crate::execute::filter::columns::{column_indexes, with_column_indexes};
use crate::execute::filter::{Filter, SegmentFilter};

type Expr = Arc<dyn PhysicalExpr>;

/// What an aggregate computes. Expressions are over the columns of the segments.
pub(super) struct Fragment {
    /// The columns of the segments.
    pub(super) schema: SchemaRef,
    pub(super) filter: Filter,
    /// The keys that tell groups apart.
    pub(super) keys: Vec<Key>,
    /// All keys, in the order of the output.
    pub(super) outputs: Vec<KeyOutput>,
    pub(super) calls: Vec<Call>,
    /// Keys, then the states of the functions.
    pub(super) output: SchemaRef,
}

/// Where a key in the output comes from.
#[derive(Clone, Debug)]
pub(super) enum KeyOutput {
    /// One of the keys that tell groups apart.
    Key(usize),
    /// A function of these, which need not be grouped by: an expression over them.
    Function(Expr),
}

/// One aggregate function.
pub(super) struct Call {
    pub(super) function: Arc<AggregateFunctionExpr>,
    pub(super) arguments: Vec<Expr>,
    pub(super) filter: Option<Filter>,
    pub(super) kind: Kind,
    /// The argument, if its values are numbered.
    pub(super) numbered: Option<Arc<Numbered>>,
}

/// How a function is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Count,
    SumIntegers,
    SumFloats,
    /// Of integers that are cast.
    AverageIntegers,
    Average,
    ExtremeInteger {
        most: bool,
        data_type: DataType,
    },
    ExtremeFloat {
        most: bool,
        data_type: DataType,
    },
    DistinctIntegers {
        data_type: DataType,
    },
    /// Distinct values that are told apart by their numbers.
    DistinctNumbers,
    /// By DataFusion's accumulators.
    Stock,
}

impl Kind {
    /// How to compute a function of arguments over `schema`.
    pub(super) fn of(function: &AggregateFunctionExpr, arguments: &[Expr], schema: &Schema) -> Result<Self> {
        let [argument] = arguments else { return Ok(Self::Stock) };
        let data_type = argument.data_type(schema)?;
        if function.is_distinct() {
            return Ok(match function.fun().name() {
                "count" if is_integral(&data_type) => Self::DistinctIntegers { data_type },
                "count" if is_numbered(&data_type) => Self::DistinctNumbers,
                _ => Self::Stock,
            });
        }
        let most = function.fun().name() == "max";
        Ok(match (function.fun().name(), &data_type) {
            ("count", _) => Self::Count,
            ("sum", DataType::Int64) => Self::SumIntegers,
            ("sum", DataType::Float64) => Self::SumFloats,
            ("avg", DataType::Float64) if cast_integer(argument, schema)?.is_some() => Self::AverageIntegers,
            ("avg", DataType::Float64) => Self::Average,
            ("min" | "max", _) if is_integral(&data_type) => Self::ExtremeInteger { most, data_type },
            ("min" | "max", _) if is_floating(&data_type) => Self::ExtremeFloat { most, data_type },
            _ => Self::Stock,
        })
    }
}

impl Call {
    /// Accumulators without groups; `is_single` if there never is more than one.
    fn accumulator(&self, is_single: bool) -> Result<Accumulator> {
        let counted = Counted::new(self.filter.is_some());
        Ok(match self.kind.clone() {
            Kind::Count => Accumulator::Count(counted),
            Kind::SumIntegers => Accumulator::SumIntegers { sums: WideSums::default(), counted },
            Kind::AverageIntegers => Accumulator::AverageIntegers { sums: WideSums::default(), counted },
            Kind::SumFloats => Accumulator::SumFloats { sums: Vec::new(), counted },
            Kind::Average => Accumulator::Average { sums: Vec::new(), counted },
            Kind::ExtremeInteger { most, data_type } => {
                Accumulator::ExtremeInteger { kept: Vec::new(), most, data_type, counted }
            }
            Kind::ExtremeFloat { most, data_type } => {
                Accumulator::ExtremeFloat { kept: Vec::new(), most, data_type, counted }
            }
            Kind::DistinctIntegers { data_type } => {
                Accumulator::Distinct(Distinct::new(Argument::Integers(data_type), is_single))
            }
            Kind::DistinctNumbers => {
                let argument = self.numbered.as_ref().ok_or_else(unlike)?;
                Accumulator::Distinct(Distinct::new(Argument::Numbers(Arc::clone(argument)), is_single))
            }
            Kind::Stock => Accumulator::Stock(Stock::new(&self.function, is_single)?),
        })
    }
}

/// A [`Fragment`], compiled for one segment.
pub(super) struct Prepared {
    pub(super) filter: SegmentFilter,
    pub(super) keys: Vec<SegmentKey>,
    pub(super) calls: Vec<SegmentCall>,
    /// The columns that must be materialised for expressions over rows.
    pub(super) positions: Vec<usize>,
    pub(super) rows_schema: SchemaRef,
    /// Whether a key or a function without FILTER needs materialised rows.
    pub(super) needs_rows: bool,
}

/// One function, for one segment.
pub(super) struct SegmentCall {
    pub(super) filter: Option<SegmentFilter>,
    pub(super) input: Input,
}

/// What a function is given.
pub(super) enum Input {
    Presence(Presence),
    Integers(Integers),
    Floats(Floats),
    Numbers(SegmentKey),
    /// Expressions over the materialised rows.
    Rows(Vec<Expr>),
}

impl Input {
    async fn new(call: &Call, schema: &Schema, segment: &SegmentColumns) -> Result<Self> {
        let arguments = &call.arguments;
        if let Some(argument) = &call.numbered {
            return Ok(Self::Numbers(SegmentKey::new(&argument.key, schema, segment).await?));
        }
        Ok(match (&call.kind, arguments.as_slice()) {
            (Kind::Count, [argument]) => Self::Presence(Presence::new(argument, schema, segment).await?),
            (Kind::SumIntegers | Kind::ExtremeInteger { .. } | Kind::DistinctIntegers { .. }, [argument]) => {
                Self::Integers(Integers::new(argument, schema, segment).await?)
            }
            (Kind::AverageIntegers, [argument]) => {
                let integer = cast_integer(argument, schema)?;
                Self::Integers(Integers::new(integer.unwrap_or(argument), schema, segment).await?)
            }
            (Kind::SumFloats | Kind::Average | Kind::ExtremeFloat { .. }, [argument]) => {
                Self::Floats(Floats::new(argument, schema, segment).await?)
            }
            _ => Self::Rows(arguments.clone()),
        })
    }

    /// The expressions over rows.
    fn expressions(&mut self) -> &mut [Expr] {
        match self {
            Self::Presence(Presence::Rows(expr))
            | Self::Integers(Integers::Rows(expr))
            | Self::Floats(Floats::Rows(expr))
            | Self::Numbers(SegmentKey::Rows(expr)) => std::slice::from_mut(expr),
            Self::Rows(exprs) => exprs,
            _ => &mut [],
        }
    }

    /// Whether it needs materialised rows.
    pub(super) fn needs_rows(&self) -> bool {
        matches!(
            self,
            Self::Presence(Presence::Rows(_))
                | Self::Integers(Integers::Rows(_))
                | Self::Floats(Floats::Rows(_))
                | Self::Numbers(SegmentKey::Rows(_))
                | Self::Rows(_)
        )
    }
}

impl Fragment {
    /// The fragment for one segment; `None` if no row passes its filter. Gives way while it evaluates a large dictionary.
    pub(super) async fn prepare(&self, segment: &SegmentColumns) -> Result<Option<Prepared>> {
        let filter = self.filter.compile(segment).await?;
        if filter.is_never() {
            return Ok(None);
        }
        let schema = self.schema.as_ref();
        let mut keys = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            keys.push(SegmentKey::new(key, schema, segment).await?);
        }
        let mut calls = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let filter = match &call.filter {
                Some(filter) => Some(filter.compile(segment).await?),
                None => None,
            };
            calls.push(SegmentCall { filter, input: Input::new(call, schema, segment).await? });
        }

        let needs_rows = keys.iter().any(|key| matches!(key, SegmentKey::Rows(_)))
            || calls.iter().any(|call| call.filter.is_none() && call.input.needs_rows());
        let mut exprs: Vec<&mut Expr> = Vec::new();
        exprs.extend(keys.iter_mut().filter_map(|key| match key {
            SegmentKey::Rows(expr) => Some(expr),
            _ => None,
        }));
        exprs.extend(calls.iter_mut().flat_map(|call| call.input.expressions()));
        let positions: BTreeSet<usize> = exprs.iter().flat_map(|expr| column_indexes(expr)).collect();
        let positions: Vec<usize> = positions.into_iter().collect();
        for expr in exprs {
            *expr = with_column_indexes(expr, &positions)?;
        }
        let rows_schema = Arc::new(schema.project(&positions)?);
        Ok(Some(Prepared { filter, keys, calls, positions, rows_schema, needs_rows }))
    }

    /// All keys of some groups, from the keys that tell groups apart.
    pub(super) fn all_keys(&self, keys: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        if self.outputs.iter().all(|output| matches!(output, KeyOutput::Key(_))) {
            return Ok(keys);
        }
        let fields = self.keys.iter().map(|key| Arc::clone(&key.field));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), keys)?;
        let all = self.outputs.iter().map(|output| match output {
            KeyOutput::Key(key) => Ok(Arc::clone(batch.column(*key))),
            KeyOutput::Function(expr) => expr.evaluate(&batch)?.into_array(batch.num_rows()),
        });
        all.collect()
    }

    /// Accumulators of every function, without groups.
    pub(super) fn accumulators(&self) -> Result<Vec<Accumulator>> {
        self.calls.iter().map(|call| call.accumulator(self.keys.is_empty())).collect()
    }
}
