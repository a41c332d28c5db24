//! The values of variables that are chosen from a list: one run of the list's statement for all who open the dashboard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use headwater_segment::clock::now_ms;
use tokio::time::Instant;

use super::super::DashboardError;
use super::super::document::{Choice, Dashboard, ListValues, VALUES_MAX};
use super::super::statement::PanelStatement;
use super::documents::Document;
use super::shared::{Kept, Shared};
use super::{LiveHub, answer};
use crate::engine::error_of;
use crate::render::value::{Dialect, encode_value, encoder_of};
use crate::render::write_json;
use crate::{QueryError, QueryErrorKind};

/// So long values are those of the last run.
const KEEP: Duration = Duration::from_secs(60);
/// A statement that failed is not tried again for so long.
const KEEP_FAILURE: Duration = Duration::from_secs(5);
/// Lists that are kept.
const LISTS_MAX: usize = 500;
/// Bytes of the lists that are kept.
const LISTS_BYTES_MAX: usize = 16 << 20;
/// Bytes of one list, as JSON.
const LIST_BYTES_MAX: usize = 1 << 20;

/// Why the values of a variable cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ValuesError {
    /// The dashboard.
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    /// There is nothing to choose from.
    #[error("the dashboard has no variable {0} that is chosen from a list")]
    NoList(String),
    /// The list's statement.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// A list: of which version of a dashboard, and of which variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ListKey {
    dashboard: String,
    tag: Arc<str>,
    variable: String,
}

/// The lists that are kept.
pub(super) struct Lists(Shared<ListKey, Result<Bytes, QueryError>>);

impl Lists {
    pub(super) fn new() -> Self {
        Self(Shared::new(LISTS_MAX, LISTS_BYTES_MAX))
    }
}

impl LiveHub {
    /// The values of a variable, as `{"values": […], "more": …}`: `more` says that the list has more than may be chosen from. They are
    /// those of the last minute.
    ///
    /// # Errors
    /// If there is no such list, or if its statement fails.
    pub async fn values(&self, id: &str, variable: &str) -> Result<Bytes, ValuesError> {
        let document = self.document(id).await?;
        let Some(statement) = document.lists.get(variable) else {
            return Ok(written(&document.dashboard, variable)?.into());
        };
        let key = ListKey {
            dashboard: id.to_string(),
            tag: Arc::clone(&document.revision.tag),
            variable: variable.to_string(),
        };
        let fetch = async |_| {
            let value = self.list(&document, statement).await;
            let (bytes, keep) = value.as_ref().map_or((0, KEEP_FAILURE), |list| (list.len(), KEEP));
            Kept { value, bytes, until: Instant::now() + keep }
        };
        Ok(self.lists.0.get(&key, fetch).await?)
    }

    async fn list(&self, document: &Document, statement: &PanelStatement) -> Result<Bytes, QueryError> {
        let interval = answer::interval(now_ms(), document.dashboard.time.last);
        let request = answer::request_of(statement, &BTreeMap::new(), interval, &self.limits);
        let mut answer = self.queries.run(request).await?;
        let first = answer.schema.fields().first().cloned();
        let field = first.ok_or_else(|| failed("the statement of the list answers without a column"))?;
        let mut values = Values::default();
        while let Some(batch) = answer.stream.next().await {
            let batch = batch.map_err(|error| error_of(&error))?;
            let column = batch.column(0).as_ref();
            let mut encoder =
                encoder_of(&field, column, Dialect::Headwater).map_err(|error| failed(error.to_string()))?;
            for row in 0..batch.num_rows() {
                if !values.push(|out| encode_value(&mut encoder, row, out)) {
                    // The rest of the answer is dropped, and so cancelled.
                    return Ok(values.into_json(true).into());
                }
            }
        }
        Ok(values.into_json(false).into())
    }
}

fn failed(message: impl Into<String>) -> QueryError {
    QueryError::new(QueryErrorKind::Execution, message)
}

/// The values that stand in the document.
fn written(dashboard: &Dashboard, name: &str) -> Result<Vec<u8>, ValuesError> {
    let variable = dashboard.variables.iter().find(|variable| variable.name == name);
    let Some(Choice::List(ListValues::Values(list))) = variable.map(|variable| &variable.choice) else {
        return Err(ValuesError::NoList(name.to_string()));
    };
    let mut values = Values::default();
    let is_whole = list.iter().all(|value| values.push(|out| write_json(out, value)));
    Ok(values.into_json(!is_whole))
}

/// Values, separated by commas.
#[derive(Default)]
struct Values {
    out: Vec<u8>,
    count: usize,
}

impl Values {
    /// Takes one more, unless there are as many as there may be.
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.count == VALUES_MAX {
            return false;
        }
        let before = self.out.len();
        if self.count > 0 {
            self.out.push(b',');
        }
        write(&mut self.out);
        if self.out.len() > LIST_BYTES_MAX {
            self.out.truncate(before);
            return false;
        }
        self.count += 1;
        true
    }

    fn into_json(self, more: bool) -> Vec<u8> {
        let end: &[u8] = if more { br#"],"more":true}"# } else { br#"],"more":false}"# };
        [br#"{"values":["#, self.out.as_slice(), end].concat()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pushed(count: usize, value: &str) -> (usize, Value) {
        let mut values = Values::default();
        let taken = (0..count).take_while(|_| values.push(|out| write_json(out, &value))).count();
        (taken, serde_json::from_slice(&values.into_json(taken < count)).unwrap())
    }

    #[test]
    fn a_list_is_bounded_by_number_and_bytes() {
        assert_eq!(pushed(0, "a").1, json!({"values": [], "more": false}));
        assert_eq!(pushed(2, "a\"b").1, json!({"values": ["a\"b", "a\"b"], "more": false}));
        let (taken, list) = pushed(VALUES_MAX, "a");
        assert_eq!((taken, &list["more"]), (VALUES_MAX, &json!(false)));
        let (taken, list) = pushed(VALUES_MAX + 1, "a");
        assert_eq!((taken, &list["more"]), (VALUES_MAX, &json!(true)));
        let (taken, list) = pushed(5, &"x".repeat(LIST_BYTES_MAX / 3));
        assert_eq!((taken, list["values"].as_array().unwrap().len(), &list["more"]), (2, 2, &json!(true)));
    }
}
