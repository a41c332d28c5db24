//! The writer of one column: puts values of the column's type into the chunk that is being filled.
//!
//! Values are set by index: the row within the chunk, or, for the elements of arrays, the element within
//! the chunk. An index may be set again until it is committed. Rows are set in order without a hole; the
//! segment's writer sees to it that a row's every column has been set, to NULL if to nothing else, before the
//! next row.

use std::fmt;
use std::sync::Arc;

use super::column::{ChunkValues, ColumnChunk, NullFlags};
use super::dictionary::DictionaryWriter;
use crate::budget::Account;
use crate::kernel::grow_buffer::GrowWriter;
use crate::kernel::view_store::{ByteValue, ViewKind, ViewWriter};
use crate::schema::ColumnType;
use crate::value::Value;

/// Why a value cannot be held. Decoders rule out all but the sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The value's variant is not the one of the column's type, or the value is too long for Arrow.
    Unfit,
    /// NULL, or nothing, in a column that does not allow it.
    Null,
    /// More than 2^31 - 1 array elements in one chunk.
    TooManyElements,
    /// The row's offset is not above those of the rows before it.
    Disorder,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unfit => "the decoded value is not of the column's type, or longer than 2 GiB",
            Self::Null => "there is no value, and the column does not allow NULL",
            Self::TooManyElements => "the array is too long to be held beside those before it",
            Self::Disorder => "the offset is not above those of the rows before it",
        })
    }
}

/// The writer of one column.
pub(super) struct ColumnWriter {
    nullable: bool,
    /// Rows of the chunk; 0 for elements of arrays, whose number nobody knows beforehand.
    capacity: usize,
    nulls: NullWriter,
    values: ValuesWriter,
    account: Arc<Account>,
}

/// The counterpart of [`ChunkValues`].
enum ValuesWriter {
    Constant(i32),
    Bool(GrowWriter<u8>),
    I32(GrowWriter<i32>),
    I64(GrowWriter<i64>),
    F32(GrowWriter<f32>),
    F64(GrowWriter<f64>),
    I128(GrowWriter<i128>),
    Codes { codes: GrowWriter<u32>, dictionary: Box<DictionaryWriter> },
    Views(Box<ViewWriter>),
    List { bounds: GrowWriter<i32>, elements: Box<ColumnWriter> },
}

impl ColumnWriter {
    /// A column with its first chunk, of `capacity` rows.
    pub(super) fn new(
        data_type: &ColumnType,
        nullable: bool,
        capacity: usize,
        account: &Arc<Account>,
    ) -> Self {
        let values = match data_type {
            ColumnType::Array(element) => ValuesWriter::List {
                bounds: GrowWriter::new(capacity + 1, account),
                elements: Box::new(Self::elements(element, account)),
            },
            ColumnType::Bytes => ValuesWriter::coded(ViewKind::Binary, capacity, account),
            ColumnType::String | ColumnType::Json | ColumnType::Uuid => {
                ValuesWriter::coded(ViewKind::Text, capacity, account)
            }
            fixed => ValuesWriter::fixed(fixed, capacity, account),
        };
        Self { nullable, capacity, nulls: NullWriter::default(), values, account: Arc::clone(account) }
    }

    /// A column that has the same value in every row and takes none.
    pub(super) fn constant(value: i32, account: &Arc<Account>) -> Self {
        let values = ValuesWriter::Constant(value);
        Self {
            nullable: false,
            capacity: 0,
            nulls: NullWriter::default(),
            values,
            account: Arc::clone(account),
        }
    }

    /// The elements of an ARRAY column; text and bytes without a dictionary.
    fn elements(data_type: &ColumnType, account: &Arc<Account>) -> Self {
        let values = match data_type {
            ColumnType::Bytes => ValuesWriter::views(ViewKind::Binary, account),
            text if text.is_bytes_like() => ValuesWriter::views(ViewKind::Text, account),
            fixed => ValuesWriter::fixed(fixed, 0, account),
        };
        Self {
            nullable: true,
            capacity: 0,
            nulls: NullWriter::default(),
            values,
            account: Arc::clone(account),
        }
    }

    /// What readers share of the present chunk.
    pub(super) fn chunk(&self) -> ColumnChunk {
        let values = match &self.values {
            ValuesWriter::Constant(value) => ChunkValues::Constant(*value),
            ValuesWriter::Bool(values) => ChunkValues::Bool(values.reader()),
            ValuesWriter::I32(values) => ChunkValues::I32(values.reader()),
            ValuesWriter::I64(values) => ChunkValues::I64(values.reader()),
            ValuesWriter::F32(values) => ChunkValues::F32(values.reader()),
            ValuesWriter::F64(values) => ChunkValues::F64(values.reader()),
            ValuesWriter::I128(values) => ChunkValues::I128(values.reader()),
            ValuesWriter::Codes { codes, dictionary } => {
                ChunkValues::Codes { codes: codes.reader(), dictionary: dictionary.reader() }
            }
            ValuesWriter::Views(views) => ChunkValues::Views(views.reader()),
            ValuesWriter::List { bounds, elements } => {
                ChunkValues::List { bounds: bounds.reader(), elements: Box::new(elements.chunk()) }
            }
        };
        ColumnChunk::new(values, self.nulls.shared.clone())
    }

    /// Begins an empty chunk of `capacity` rows. This is where a column may leave its dictionary.
    pub(super) fn next_chunk(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.nulls = NullWriter::default();
        let account = &self.account;
        match &mut self.values {
            ValuesWriter::Constant(_) => {}
            ValuesWriter::Bool(values) => *values = GrowWriter::new(capacity, account),
            ValuesWriter::I32(values) => *values = GrowWriter::new(capacity, account),
            ValuesWriter::I64(values) => *values = GrowWriter::new(capacity, account),
            ValuesWriter::F32(values) => *values = GrowWriter::new(capacity, account),
            ValuesWriter::F64(values) => *values = GrowWriter::new(capacity, account),
            ValuesWriter::I128(values) => *values = GrowWriter::new(capacity, account),
            ValuesWriter::Codes { codes, dictionary } => match dictionary.is_pointless_after_chunk() {
                true => {
                    let views = ViewWriter::new(dictionary.kind(), capacity, account);
                    self.values = ValuesWriter::Views(Box::new(views));
                }
                false => *codes = GrowWriter::new(capacity, account),
            },
            ValuesWriter::Views(views) => views.renew(capacity),
            ValuesWriter::List { bounds, elements } => {
                *bounds = GrowWriter::new(capacity + 1, account);
                elements.next_chunk(0);
            }
        }
    }

    /// Sets value `index` of the chunk; after a fault the row must not be finished.
    #[inline]
    pub(super) fn set(&mut self, index: usize, value: Value<'_>) -> Result<(), Fault> {
        match (&mut self.values, value) {
            (_, Value::Null) => return self.set_null(index),
            (ValuesWriter::Bool(values), Value::Bool(value)) => values.set(index, u8::from(value)),
            (ValuesWriter::I32(values), Value::I32(value)) => values.set(index, value),
            (ValuesWriter::I64(values), Value::I64(value)) => values.set(index, value),
            (ValuesWriter::F32(values), Value::F32(value)) => values.set(index, value),
            (ValuesWriter::F64(values), Value::F64(value)) => values.set(index, value),
            (ValuesWriter::I128(values), Value::I128(value)) => values.set(index, value),
            (values, Value::Str(value)) => values.set_bytes(index, ByteValue::Text(value))?,
            (values, Value::Bytes(value)) => values.set_bytes(index, ByteValue::Binary(value))?,
            (ValuesWriter::List { bounds, elements }, Value::List(list)) => {
                set_list(bounds, elements, index, list)?;
            }
            _ => return Err(Fault::Unfit),
        }
        self.nulls.set(index, false, self.capacity, &self.account);
        Ok(())
    }

    fn set_null(&mut self, index: usize) -> Result<(), Fault> {
        if !self.nullable {
            return Err(Fault::Null);
        }
        match &mut self.values {
            ValuesWriter::List { bounds, elements } => set_list(bounds, elements, index, &[])?,
            // The row may have had a value before, or an abandoned row at this index.
            ValuesWriter::Codes { codes, .. } => codes.set(index, 0),
            _ => {}
        }
        self.nulls.set(index, true, self.capacity, &self.account);
        Ok(())
    }

    /// Makes the first `count` values of the chunk readable and immutable.
    pub(super) fn commit(&mut self, count: usize) {
        self.nulls.commit(count);
        match &mut self.values {
            ValuesWriter::Constant(_) => {}
            ValuesWriter::Bool(values) => values.commit(count),
            ValuesWriter::I32(values) => values.commit(count),
            ValuesWriter::I64(values) => values.commit(count),
            ValuesWriter::F32(values) => values.commit(count),
            ValuesWriter::F64(values) => values.commit(count),
            ValuesWriter::I128(values) => values.commit(count),
            ValuesWriter::Codes { codes, .. } => codes.commit(count),
            ValuesWriter::Views(views) => views.commit(count),
            ValuesWriter::List { bounds, elements } => {
                elements.commit(bounds.get(count) as usize);
                bounds.commit(count + 1);
            }
        }
    }
}

impl ValuesWriter {
    fn coded(kind: ViewKind, capacity: usize, account: &Arc<Account>) -> Self {
        let dictionary = Box::new(DictionaryWriter::new(kind, account));
        Self::Codes { codes: GrowWriter::new(capacity, account), dictionary }
    }

    fn views(kind: ViewKind, account: &Arc<Account>) -> Self {
        Self::Views(Box::new(ViewWriter::new(kind, 0, account)))
    }

    fn fixed(data_type: &ColumnType, capacity: usize, account: &Arc<Account>) -> Self {
        match data_type {
            ColumnType::Boolean => Self::Bool(GrowWriter::new(capacity, account)),
            ColumnType::Int | ColumnType::Date => Self::I32(GrowWriter::new(capacity, account)),
            ColumnType::Float => Self::F32(GrowWriter::new(capacity, account)),
            ColumnType::Double => Self::F64(GrowWriter::new(capacity, account)),
            ColumnType::Decimal(..) => Self::I128(GrowWriter::new(capacity, account)),
            _ => Self::I64(GrowWriter::new(capacity, account)),
        }
    }

    #[inline]
    fn set_bytes(&mut self, index: usize, value: ByteValue<'_>) -> Result<(), Fault> {
        let fits = match self {
            Self::Codes { codes, dictionary } => match dictionary.intern(value) {
                Some(code) => {
                    codes.set(index, code);
                    true
                }
                None => false,
            },
            Self::Views(views) => views.set(index, value),
            _ => false,
        };
        if fits { Ok(()) } else { Err(Fault::Unfit) }
    }
}

/// Sets the elements of row `row` behind those of the row before it.
fn set_list(
    bounds: &mut GrowWriter<i32>,
    elements: &mut ColumnWriter,
    row: usize,
    list: &[Value<'_>],
) -> Result<(), Fault> {
    let start = bounds.get(row);
    let count = i32::try_from(list.len()).ok();
    let end = count.and_then(|count| start.checked_add(count)).ok_or(Fault::TooManyElements)?;
    for (index, value) in (start as usize..).zip(list) {
        elements.set(index, *value)?;
    }
    bounds.set(row + 1, end);
    Ok(())
}

/// The writer's side of [`NullFlags`].
#[derive(Default)]
struct NullWriter {
    flags: Option<GrowWriter<u8>>,
    shared: NullFlags,
    committed: usize,
}

impl NullWriter {
    #[inline]
    fn set(&mut self, index: usize, is_null: bool, capacity: usize, account: &Arc<Account>) {
        match &mut self.flags {
            Some(flags) => flags.set(index, u8::from(is_null)),
            None if is_null => self.begin(index, capacity, account),
            None => {}
        }
    }

    #[cold]
    fn begin(&mut self, index: usize, capacity: usize, account: &Arc<Account>) {
        let mut flags = GrowWriter::new(capacity.max(index + 1), account);
        flags.set(index, 1);
        // Readers of rows that were committed without flags may find the flags from here on.
        flags.commit(self.committed);
        self.shared.begin(flags.reader());
        self.flags = Some(flags);
    }

    fn commit(&mut self, count: usize) {
        self.committed = self.committed.max(count);
        if let Some(flags) = &mut self.flags {
            flags.commit(count);
        }
    }
}
