//! Prepared statements, portals, and the answer behind a portal: as much of it as was fetched has left, the rest waits in the
//! engine.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use bytes::{BufMut, BytesMut};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use pgwire::api::Type;
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::arguments::format_of;
use super::catalog::of_answer;
use super::copy::CopyWriter;
use super::errors::{Failure, NOT_SUPPORTED};
use super::outgoing::{TooLong, check_row, message};
use super::statements::{Command, Kind};
use super::types::{WireType, of_field};
use super::values::{Format, Values};
use crate::engine::{Description, error_of};
use crate::request::Argument;
use crate::{QueryError, QueryErrorKind};

/// Rows that are prepared for writing at a time.
const ROWS_AHEAD: usize = 1024;

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    /// Characters of its message before it.
    pub(super) characters_before: usize,
    pub(super) kind: Kind,
    /// Types that the client gave the parameters; 0: none.
    pub(super) declared: Vec<u32>,
    pub(super) described: Mutex<Option<Arc<Described>>>,
}

/// What a client was told about a statement: types alone, as a statement may have 65,535 parameters.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) parameters: Vec<Type>,
    pub(super) columns: Vec<Type>,
}

impl Described {
    pub(super) fn of(description: &Description) -> Self {
        let parameters = description.parameters.iter().map(|field| of_field(field).base);
        let columns = description.schema.fields().iter().map(|field| of_field(field).base);
        Self { parameters: parameters.collect(), columns: columns.collect() }
    }

    /// Bytes that it holds.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + (self.parameters.len() + self.columns.len()) * size_of::<Type>()
    }
}

impl Statement {
    /// Bytes that it holds.
    pub(super) fn size(&self) -> usize {
        let described = self.described.lock().as_deref().map_or(0, Described::size);
        let kind = match &self.kind {
            Kind::Command(Command::Copy(copy)) => copy.size(),
            // Its names and values are parts of the text.
            Kind::Command(_) => self.sql.len(),
            Kind::Empty | Kind::Catalog | Kind::Query => 0,
        };
        self.sql.len() + 4 * self.declared.len() + size_of::<Self>() + described + kind
    }

    /// The text of its query: all of it, or what a cursor is declared for.
    pub(super) fn query(&self) -> &str {
        match &self.kind {
            Kind::Command(Command::Declare { query_at, .. }) => &self.sql[*query_at..],
            Kind::Command(Command::Copy(copy)) => &copy.query,
            _ => &self.sql,
        }
    }

    /// The byte at which its query stands; `None` if the client did not write it.
    fn query_at(&self) -> Option<usize> {
        match &self.kind {
            Kind::Command(Command::Declare { query_at, .. }) => Some(*query_at),
            Kind::Command(Command::Copy(copy)) => copy.query_at,
            _ => Some(0),
        }
    }

    /// The failure of running it.
    pub(super) fn failure(&self, mut error: QueryError) -> Failure {
        let is_capped = error.kind == QueryErrorKind::RowsExceeded;
        let query_at = self.query_at();
        error.position = error.position.filter(|_| query_at.is_some());
        let before = &self.sql[..query_at.unwrap_or(0)];
        let characters_before = self.characters_before + before.chars().count();
        let failure = Failure::of_query(error, self.query(), characters_before);
        match is_capped {
            true => failure.with_hint("Add a LIMIT, or SET headwater.rows_max to more rows."),
            false => failure,
        }
    }
}

/// A statement with values for its parameters, and its answer as far as it is open.
pub(super) struct Portal {
    pub(super) statement: Arc<Statement>,
    pub(super) arguments: Vec<Argument>,
    pub(super) formats: Vec<u16>,
    /// Whether it was declared: `CLOSE ALL` closes those.
    pub(super) is_cursor: bool,
    pub(super) life: Life,
    pub(super) state: State,
}

/// How long a portal lives, if nobody closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// As long as its transaction.
    Transaction,
    /// Longer, if that is committed.
    Held,
    /// It was.
    Session,
}

/// How far a portal is.
pub(super) enum State {
    New,
    Open(Rows),
    /// With the tag that its end was announced with.
    Done(String),
}

impl Portal {
    pub(super) fn new(statement: Arc<Statement>) -> Self {
        Self {
            statement,
            arguments: Vec::new(),
            formats: Vec::new(),
            is_cursor: false,
            life: Life::Transaction,
            state: State::New,
        }
    }

    /// Bytes that its values hold.
    pub(super) fn size(&self) -> usize {
        self.arguments.iter().map(|argument| argument.value.size()).sum::<usize>() + self.statement.size()
    }
}

/// One column of an answer.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    field: Arc<Field>,
    pub(super) wire: WireType,
}

/// The columns of an answer to `sql`, by the names that PostgreSQL would give them.
pub(super) fn columns_of(schema: &SchemaRef, sql: &str) -> Vec<Column> {
    let names = of_answer(sql);
    let names = Some(names).filter(|names| names.len() == schema.fields().len()).unwrap_or_default();
    let column = |(at, field): (usize, &Arc<Field>)| {
        // A name without quotes may be written in any case.
        let other = names.get(at).filter(|name| !name.eq_ignore_ascii_case(field.name()));
        let name = other.unwrap_or(field.name()).replace('\0', " ");
        Column { name, field: Arc::clone(field), wire: of_field(field) }
    };
    schema.fields().iter().enumerate().map(column).collect()
}

/// Refuses more columns than the protocol can count.
pub(super) fn check_columns(count: usize) -> Result<i16, Failure> {
    i16::try_from(count).map_err(|_| Failure::new("54011", format!("{count} columns are too many")))
}

/// As a client is told the columns.
pub(super) fn row_description(columns: &[Column], formats: &[u16]) -> Result<RowDescription, Failure> {
    let field = |(at, column): (usize, &Column)| {
        let format = format_of(formats, at)?;
        let code = if format == Format::Binary { 1 } else { 0 };
        let (name, wire) = (column.name.clone(), &column.wire);
        Ok(FieldDescription::new(name, 0, 0, wire.base.oid(), wire.size, wire.modifier, code))
    };
    check_columns(columns.len())?;
    Ok(RowDescription::new(columns.iter().enumerate().map(field).collect::<Result<_, Failure>>()?))
}

/// How rows go out.
pub(super) enum RowForm<'a> {
    /// As messages of their own, each column in its format.
    Message(Vec<Format>),
    Copy(&'a mut CopyWriter),
}

/// An answer under way.
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    stream: SendableRecordBatchStream,
    /// What came and is not prepared yet.
    waiting: VecDeque<RecordBatch>,
    /// What is prepared, how many rows it has, and which comes next.
    values: Vec<Values>,
    rows: usize,
    next: usize,
    /// Rows that have left.
    pub(super) sent: u64,
}

impl Rows {
    /// The answer to `sql`.
    pub(super) fn new(schema: &SchemaRef, stream: SendableRecordBatchStream, sql: &str) -> Self {
        let columns = columns_of(schema, sql);
        let waiting = VecDeque::new();
        Self { columns, stream, waiting, values: Vec::new(), rows: 0, next: 0, sent: 0 }
    }

    /// An answer that is there already.
    pub(super) fn of_batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter([Ok(batch)]));
        Self::new(&schema, Box::pin(stream), "")
    }

    /// Sees to it that a row can be written; false if there are no more. May be dropped while it waits.
    pub(super) async fn advance(&mut self) -> Result<bool, QueryError> {
        while self.next >= self.rows {
            if let Some(batch) = self.waiting.pop_front() {
                self.prepare(&batch)?;
                continue;
            }
            let Some(batch) = self.stream.next().await else { return Ok(false) };
            let batch = batch.map_err(|error| error_of(&error))?;
            let rows = batch.num_rows();
            let pieces = (0..rows).step_by(ROWS_AHEAD);
            self.waiting.extend(pieces.map(|from| batch.slice(from, ROWS_AHEAD.min(rows - from))));
        }
        Ok(true)
    }

    fn prepare(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        if batch.num_columns() != self.columns.len() {
            return Err(QueryError::new(
                QueryErrorKind::Internal,
                "the answer has other columns than announced",
            ));
        }
        let columns = self.columns.iter().zip(batch.columns());
        let values = columns.map(|(column, array)| Values::new(&column.field, array, &column.wire.base));
        self.values = values.collect::<Result<_, _>>()?;
        (self.rows, self.next) = (batch.num_rows(), 0);
        Ok(())
    }

    /// Appends the next row, after [`advance`](Self::advance).
    pub(super) fn write(&mut self, form: &mut RowForm<'_>, out: &mut BytesMut) -> Result<(), QueryError> {
        let start = out.len();
        let written = match form {
            RowForm::Message(formats) => self.write_row(formats, out),
            RowForm::Copy(writer) => writer.row(&self.values, self.next, out),
        };
        if written.is_err() {
            out.truncate(start);
        }
        self.next += 1;
        self.sent += 1;
        written
    }

    fn write_row(&self, formats: &[Format], out: &mut BytesMut) -> Result<(), QueryError> {
        message(out, b'D', |out| {
            out.put_u16(u16::try_from(self.values.len()).map_err(|_| TooLong)?);
            let start = out.len();
            for (values, format) in self.values.iter().zip(formats) {
                values.write(self.next, *format, out)?;
                check_row(out, start)?;
            }
            Ok(())
        })
    }

    /// The format of each column.
    pub(super) fn formats(&self, codes: &[u16]) -> Result<Vec<Format>, Failure> {
        (0..self.columns.len()).map(|at| format_of(codes, at)).collect()
    }

    /// Refuses to go on if the client was told other types.
    pub(super) fn check_types(&self, described: &Described) -> Result<(), Failure> {
        let is_same = self.columns.iter().map(|column| &column.wire.base).eq(&described.columns);
        match is_same {
            true => Ok(()),
            false => Err(Failure::new(NOT_SUPPORTED, "cached plan must not change result type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_columns_than_can_be_counted_are_refused() {
        assert!(check_columns(32_767).is_ok());
        assert_eq!(check_columns(32_768).unwrap_err().code, "54011");
    }
}
