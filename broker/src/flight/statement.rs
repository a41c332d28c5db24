//! What tickets and handles of prepared statements carry: a statement and its parameters, and for a ticket a name of its run.
//!
//! They hold nothing that their client could not send anyway, so they are not signed.

use prost::Message;
use prost::bytes::Bytes;
use serde_json::Value;
use tonic::Status;
use ulid::Ulid;

use super::status::status_of;
use crate::sql::SQL_BYTES_MAX;
use crate::{QueryError, QueryErrorKind};

/// Stands in front, so that a later version, or another server's ticket, is told apart.
const VERSION: &[u8] = b"headwater-1:";

/// See the module.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Statement {
    /// The SQL text.
    #[prost(string, tag = "1")]
    pub(super) sql: String,
    /// Values of its parameters, as a JSON array; empty: none are bound.
    #[prost(string, tag = "2")]
    parameters: String,
    /// Name of one run, for cancelling it; empty in the handle of a prepared statement.
    #[prost(string, tag = "3")]
    pub(super) run: String,
}

impl Statement {
    /// A statement without parameters. Refuses texts that are too long.
    pub(super) fn new(sql: String) -> Result<Self, Status> {
        let fault = match sql.len() {
            _ if sql.trim().is_empty() => "the SQL text is empty".to_owned(),
            bytes if bytes > SQL_BYTES_MAX => {
                format!("the SQL text has {bytes} bytes, more than the {SQL_BYTES_MAX} allowed")
            }
            _ => return Ok(Self { sql, ..Self::default() }),
        };
        Err(status_of(&QueryError::new(QueryErrorKind::BadRequest, fault)))
    }

    /// The same with values for its parameters.
    pub(super) fn bound(mut self, values: Vec<Value>) -> Self {
        self.parameters = if values.is_empty() { String::new() } else { Value::Array(values).to_string() };
        self
    }

    /// The same as a run that nobody else has.
    pub(super) fn for_a_run(mut self) -> Self {
        self.run = Ulid::new().to_string();
        self
    }

    /// The values of its parameters.
    pub(super) fn values(&self) -> Result<Vec<Value>, Status> {
        match self.parameters.is_empty() {
            true => Ok(Vec::new()),
            false => serde_json::from_str(&self.parameters).map_err(|_| foreign()),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = VERSION.to_vec();
        bytes.extend_from_slice(&self.encode_to_vec());
        bytes.into()
    }

    /// Reads what [`encode`](Self::encode) has written.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Status> {
        let message = bytes.strip_prefix(VERSION).ok_or_else(foreign)?;
        Message::decode(message).map_err(|_| foreign())
    }
}

fn foreign() -> Status {
    Status::invalid_argument(
        "this ticket or handle is not of this server, or of another version of it; ask anew",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_statement_survives_its_way() {
        let values = vec![json!(1), json!(4.0), json!("it's"), json!(null), json!(u64::MAX)];
        let statement = Statement::new("SELECT $1".into()).unwrap().bound(values.clone()).for_a_run();
        let read = Statement::decode(&statement.encode()).unwrap();
        assert_eq!((read.values().unwrap(), &read), (values, &statement));
        assert!(read.values().unwrap()[1].is_f64());
        assert_ne!(read.clone().for_a_run().run, read.run);
    }

    #[test]
    fn what_is_refused() {
        for bytes in [&b""[..], b"headwater-2:", b"headwater-1:\xff\xff", b"SELECT 1"] {
            assert_eq!(Statement::decode(bytes).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
        assert!(Statement::new(" \n".into()).is_err());
        assert!(Statement::new("x".repeat(SQL_BYTES_MAX + 1)).is_err());
    }
}
