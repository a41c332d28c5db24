//! Encoders of values that contain others: dictionaries, maps, unions, and compound values as the text of their JSON.

use arrow::array::{Array, AsArray, MapArray, UnionArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::json::{Encoder, EncoderOptions};

use super::value::encode_value;
use super::write_json;

/// Dictionary codes looked up; Arrow's own encoder misses NULLs that stand among the dictionary's values.
pub(super) struct Dictionary<'a> {
    codes: Vec<usize>,
    values: NullableEncoder<'a>,
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(
        field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Self, ArrowError> {
        let dictionary = array.as_any_dictionary();
        let values = make_encoder(field, dictionary.values().as_ref(), options)?;
        // With no values every row is NULL, and `normalized_keys` would panic.
        let codes = match dictionary.values().is_empty() {
            true => Vec::new(),
            false => dictionary.normalized_keys(),
        };
        Ok(Self { codes, values })
    }
}

impl Encoder for Dictionary<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        encode_value(&mut self.values, self.codes[row], out);
    }
}

/// Maps as objects; a key that is not text becomes the text of its JSON.
pub(super) struct Map<'a> {
    offsets: OffsetBuffer<i32>,
    keys: JsonText<'a>,
    values: NullableEncoder<'a>,
}

impl<'a> Map<'a> {
    pub(super) fn new(
        field: &'a FieldRef,
        array: &'a MapArray,
        options: &'a EncoderOptions,
    ) -> Result<Self, ArrowError> {
        Ok(Self {
            offsets: array.offsets().clone(),
            keys: JsonText::new(make_encoder(field, array.keys().as_ref(), options)?),
            values: make_encoder(field, array.values().as_ref(), options)?,
        })
    }
}

impl Encoder for Map<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        let (from, to) = (self.offsets[row] as usize, self.offsets[row + 1] as usize);
        for entry in from..to {
            if entry > from {
                out.push(b',');
            }
            self.keys.encode(entry, out);
            out.push(b':');
            encode_value(&mut self.values, entry, out);
        }
        out.push(b'}');
    }
}

/// Unions (what the JSON functions return): the value of whichever member the row holds.
pub(super) struct Union<'a> {
    type_ids: ScalarBuffer<i8>,
    offsets: Option<ScalarBuffer<i32>>,
    /// By type id, which is never negative.
    members: Vec<Option<NullableEncoder<'a>>>,
}

impl<'a> Union<'a> {
    pub(super) fn new(
        field: &'a FieldRef,
        array: &'a UnionArray,
        options: &'a EncoderOptions,
    ) -> Result<Self, ArrowError> {
        let mut members: Vec<Option<NullableEncoder<'a>>> = Vec::new();
        if let DataType::Union(fields, _) = array.data_type() {
            for (type_id, _) in fields.iter() {
                let index = type_id as usize;
                members.resize_with(members.len().max(index + 1), || None);
                members[index] = Some(make_encoder(field, array.child(type_id).as_ref(), options)?);
            }
        }
        Ok(Self { type_ids: array.type_ids().clone(), offsets: array.offsets().cloned(), members })
    }
}

impl Encoder for Union<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let slot = self.offsets.as_ref().map_or(row, |offsets| offsets[row] as usize);
        match self.members.get_mut(self.type_ids[row] as usize).and_then(Option::as_mut) {
            Some(member) => encode_value(member, slot, out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// Values as JSON strings that hold the text of their JSON; values that are strings already stay as they are.
pub(super) struct JsonText<'a> {
    inner: NullableEncoder<'a>,
    scratch: Vec<u8>,
}

impl<'a> JsonText<'a> {
    pub(super) fn new(inner: NullableEncoder<'a>) -> Self {
        Self { inner, scratch: Vec::new() }
    }
}

impl Encoder for JsonText<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.scratch.clear();
        encode_value(&mut self.inner, row, &mut self.scratch);
        match self.scratch.first() {
            Some(b'"') => out.extend_from_slice(&self.scratch),
            _ => write_json(out, &String::from_utf8_lossy(&self.scratch)),
        }
    }
}
