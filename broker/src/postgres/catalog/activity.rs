//! The sessions of this door, and what ends them: `pg_stat_activity`, `pg_backend_pid()`, `pg_cancel_backend(pid)` and
//! `pg_terminate_backend(pid)`.
//!
//! As in PostgreSQL, everybody sees that a session is there; what it does, only its own user and administrators see, and only they
//! end it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::super::cancel::{Asker, Cancels, Ended, Listed};
use super::tables::{Cell, OWNER, OWNER_OID, batch, hashed, int, text};
use crate::catalog::CATALOG;

pub(super) const NAME: &str = "pg_stat_activity";

/// The sessions, and who asks for them.
#[derive(Clone)]
pub(in crate::postgres) struct Activities {
    pub(in crate::postgres) cancels: Arc<Cancels>,
    pub(in crate::postgres) asker: Asker,
}

impl std::fmt::Debug for Activities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Activities({})", self.asker.user)
    }
}

const ACTIVITY: &[(&str, Cell)] = &[
    ("datid", Cell::Oid),
    ("datname", Cell::Text),
    ("pid", Cell::Int4),
    ("leader_pid", Cell::Int4),
    ("usesysid", Cell::Oid),
    ("usename", Cell::Text),
    ("application_name", Cell::Text),
    ("client_addr", Cell::Text),
    ("client_hostname", Cell::Text),
    ("client_port", Cell::Int4),
    ("backend_start", Cell::Instant),
    ("xact_start", Cell::Instant),
    ("query_start", Cell::Instant),
    ("state_change", Cell::Instant),
    ("wait_event_type", Cell::Text),
    ("wait_event", Cell::Text),
    ("state", Cell::Text),
    ("backend_xid", Cell::Int4),
    ("backend_xmin", Cell::Int4),
    ("query_id", Cell::Int8),
    ("query", Cell::Text),
    ("backend_type", Cell::Text),
];

impl Activities {
    pub(super) fn table(&self) -> Result<RecordBatch> {
        batch(ACTIVITY, self.cancels.list().iter().map(|session| self.row(session)).collect())
    }

    fn row(&self, session: &Listed) -> Vec<ScalarValue> {
        let activity = &session.activity;
        let is_seen = self.asker.may_see(&session.user);
        let only_seen = |value: ScalarValue| if is_seen { value } else { ScalarValue::Null };
        let instant = |ms| only_seen(ScalarValue::TimestampMillisecond(ms, Some("UTC".into())));
        let none = || ScalarValue::Null;
        vec![
            int(hashed(CATALOG)),
            text(CATALOG),
            int(session.process.cast_signed()),
            none(),
            int(if session.user == OWNER { OWNER_OID } else { hashed(&session.user) }),
            text(&session.user),
            text(&activity.application_name),
            only_seen(text(session.from.to_string())),
            none(),
            none(),
            instant(Some(session.began_ms)),
            none(),
            instant(activity.query_began_ms),
            instant(Some(activity.state_since_ms)),
            none(),
            none(),
            only_seen(text(activity.state)),
            none(),
            none(),
            none(),
            text(if is_seen { activity.query.as_str() } else { "<insufficient privilege>" }),
            only_seen(text("client backend")),
        ]
    }

    /// The functions.
    pub(super) fn functions(&self) -> impl Iterator<Item = ScalarUDF> {
        ["pg_cancel_backend", "pg_terminate_backend"].into_iter().map(|name| {
            let kinds = vec![TypeSignature::Any(1), TypeSignature::Any(2)];
            // It is done once for each row, and never before the statement runs.
            let signature = Signature::one_of(kinds, Volatility::Volatile);
            ScalarUDF::from(End { name, sessions: self.clone(), signature })
        })
    }

    /// The number of the session that asks.
    pub(super) fn own_number(&self) -> ScalarValue {
        int(self.asker.process.cast_signed())
    }
}

/// `pg_cancel_backend(pid)`: whether there was something to end. Its second argument, how long to wait, is overlooked.
#[derive(Debug)]
struct End {
    name: &'static str,
    sessions: Activities,
    signature: Signature,
}

impl PartialEq for End {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.sessions.asker == other.sessions.asker
    }
}

impl Eq for End {}

impl Hash for End {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for End {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some(numbers) = arguments.args.into_iter().next() else {
            return exec_err!("{} needs the number of a session", self.name);
        };
        let numbers = cast(&numbers.into_array(rows)?, &DataType::Int64)?;
        let ended = numbers.as_primitive::<Int64Type>().iter().map(|number| self.end(number));
        let ended: BooleanArray = ended.collect::<Result<_>>()?;
        debug_assert_eq!(ended.len(), rows);
        Ok(ColumnarValue::Array(Arc::new(ended)))
    }
}

impl End {
    fn end(&self, number: Option<i64>) -> Result<Option<bool>> {
        let Some(number) = number else { return Ok(None) };
        let is_whole = self.name == "pg_terminate_backend";
        let Activities { cancels, asker } = &self.sessions;
        match u32::try_from(number).map_or(Ended::Unknown, |process| cancels.end(process, asker, is_whole)) {
            Ended::Done => Ok(Some(true)),
            Ended::Unknown => Ok(Some(false)),
            Ended::Denied => exec_err!("permission denied to end what another user's session does"),
        }
    }
}
