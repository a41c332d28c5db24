//! Stub.
use serde::Serialize;
/// Where in a message a column's value stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum FieldPath {
    /// Steps into the JSON payload; none means the whole message.
    Payload(Vec<PathStep>),
    /// The message key.
    Key,
    /// One message header.
    Header(String),
}
/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathStep {
    /// A field of an object.
    Field(String),
    /// An element of an array, from 0.
    Index(usize),
}
