//! What a table's own retention removes.

use headwater_segment::clock::now_ms;
use headwater_segment::log::LogSnapshot;
use headwater_segment::schema::ColumnType;
use headwater_segment::sealed::{SegmentMeta, StatValue};
use headwater_segment::tasks::{TaskKind, TaskSubject};
use ulid::Ulid;

use super::supervisor::{SWEEP_EVERY, Supervisor};

impl Supervisor {
    /// Removes sealed segments whose newest row is older than the table's retention.
    pub(super) fn sweep_expired(&self) {
        let snapshot = self.parts.live.snapshot();
        let Some(retention) = snapshot.spec.retention else { return };
        let expired = expired_segments(&snapshot, now_ms().saturating_sub(retention.as_millis() as i64));
        if expired.is_empty() {
            return;
        }
        tracing::info!(
            table = self.parts.live.name(),
            segments = expired.len(),
            "retention removes segments"
        );
        let live = self.parts.live.clone();
        let count = expired.len() as u64;
        let what = format!("rows older than {} s", retention.as_secs());
        let subject = TaskSubject { what, unit: "segments", total: Some(count) };
        let task = live.tasks().begin(TaskKind::Retention, subject);
        match self.parts.runtime.block_on(async { live.log().expire_segments(expired).await }) {
            Ok(snapshot) => {
                self.parts.live.adopt(snapshot, None);
                task.advance(count);
                task.done(None);
            }
            Err(error) => {
                tracing::warn!(table = live.name(), %error, "retention will be tried again");
                task.failed(&error, Some(SWEEP_EVERY));
            }
        }
    }
}

/// Ids of segments whose newest row is older than `cutoff_ms`: by the time column, or else by `$timestamp`. A segment
/// without known times is judged by when it was sealed.
fn expired_segments(snapshot: &LogSnapshot, cutoff_ms: i64) -> Vec<Ulid> {
    let schema = &snapshot.schema;
    let column = schema.time_column().unwrap_or_else(|| schema.timestamp_column());
    let is_date = schema.columns()[column].data_type == ColumnType::Date;
    let newest_ms =
        |segment: &SegmentMeta| match segment.columns.get(column).and_then(|stats| stats.max.as_ref()) {
            Some(StatValue::Int(days)) if is_date => days.saturating_add(1).saturating_mul(86_400_000),
            Some(StatValue::Int(micros)) => micros / 1000,
            _ => segment.sealed_at_ms,
        };
    snapshot
        .segments
        .iter()
        .filter(|segment| newest_ms(segment) < cutoff_ms)
        .map(|segment| segment.id)
        .collect()
}
