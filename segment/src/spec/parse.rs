//! Stub.
use super::TableSpec;
/// Stub.
pub fn parse_spec(_text: &str) -> crate::Result<TableSpec> {
    Err(crate::SegmentError::Spec(Vec::new()))
}
pub(crate) mod duration_text {
    pub(crate) fn serialize<S: serde::Serializer>(
        value: &std::time::Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format!("{}ms", value.as_millis()))
    }
}
pub(crate) mod optional_duration_text {
    pub(crate) fn serialize<S: serde::Serializer>(
        value: &Option<std::time::Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::duration_text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }
}
