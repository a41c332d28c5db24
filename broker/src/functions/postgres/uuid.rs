//! `to_uuid(text)`: the text of a UUID as it is stored, in small letters and with hyphens.

use std::sync::Arc;

use arrow::array::{AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use headwater_segment::schema::ColumnType;
use uuid::Uuid;

use super::{Columns, declared_as};

pub(super) fn to_uuid() -> Columns {
    let answer = declared_as("to_uuid", &ColumnType::Uuid);
    Columns::new("to_uuid", vec![DataType::Utf8View], answer, |arguments| {
        let [texts] = arguments else { return exec_err!("to_uuid wants a text") };
        let read = |text: Option<&str>| match text.map(stored) {
            Some(None) => exec_err!("invalid input syntax for type uuid: \"{}\"", text.unwrap_or_default()),
            uuid => Ok(uuid.flatten()),
        };
        let uuids = texts.as_string_view().iter().map(read);
        Ok(Arc::new(uuids.collect::<Result<StringViewArray>>()?))
    })
}

/// The UUID as it is stored; `None` if the text is none.
pub(super) fn stored(text: &str) -> Option<String> {
    Uuid::parse_str(text.trim()).ok().map(|uuid| uuid.to_string())
}
