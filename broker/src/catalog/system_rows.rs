//! The system tables: their columns and their rows.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use futures::FutureExt;
use headwater_segment::live::{LiveTable, PartitionStage, ProgressSnapshot};
use headwater_segment::schema::TableSchema;
use headwater_segment::sealed::{FORMAT_VERSION, SegmentMeta, StatValue};
use headwater_segment::tasks::TaskSnapshot;

use super::CatalogSources;
use super::prune::scalar;
use super::system::Kind::{Double, Int, Long, Text, Time};
use super::system::{Holders, Listing, Row, Spread, SystemTable, count, text, time_of_ms, time_of_us};
use super::system_letters::DEAD_LETTERS;
use super::system_nodes::NODES;
use crate::cluster::NodeId;
use crate::engine::registry::{ENDED_SHOWN_MAX, QueryEntry};
use crate::request::QueryStats;

/// The user of queries of clients that were not asked who they are.
const ANONYMOUS: &str = "anonymous";

/// Every system table.
pub(super) const TABLES: &[SystemTable] = &[
    NODES,
    SystemTable {
        name: "segments",
        columns: &[
            ("table_name", Text),
            ("path", Text),
            ("id", Text),
            ("partition", Int),
            ("from_offset", Long),
            ("to_offset", Long),
            ("rows", Long),
            ("size_bytes", Long),
            ("index_bytes", Long),
            ("format_version", Int),
            ("sealed_at", Time),
            ("state", Text),
            ("min_time", Time),
            ("max_time", Time),
            ("node", Text),
        ],
        rows: |sources, listing| async move { Ok(of_tables(&sources, &listing, segments)) }.boxed(),
        spread: Some(Spread { holders: Holders::Data, named_by: 0 }),
    },
    SystemTable {
        name: "partitions",
        columns: &[
            ("table_name", Text),
            ("partition", Int),
            ("state", Text),
            ("first_offset", Long),
            ("committed_offset", Long),
            ("visible_offset", Long),
            ("latest_offset", Long),
            ("lag", Long),
            ("rows_per_second", Double),
            ("freshness_ms", Long),
            ("dead_letters", Long),
            ("tombstones", Long),
            ("last_error", Text),
            ("node", Text),
        ],
        rows: |sources, listing| async move { Ok(of_tables(&sources, &listing, partitions)) }.boxed(),
        spread: Some(Spread { holders: Holders::Data, named_by: 0 }),
    },
    SystemTable {
        name: "queries",
        columns: &[
            ("id", Text),
            ("user_name", Text),
            ("sql", Text),
            ("state", Text),
            ("started_at", Time),
            ("elapsed_ms", Double),
            ("rows_returned", Long),
            ("error", Text),
            ("node", Text),
        ],
        rows: |sources, listing| async move { Ok(queries(&sources, &listing)) }.boxed(),
        spread: Some(Spread { holders: Holders::All, named_by: 0 }),
    },
    SystemTable {
        name: "query_log",
        columns: &[
            ("id", Text),
            ("user_name", Text),
            ("client", Text),
            ("sql", Text),
            ("started_at", Time),
            ("duration_ms", Double),
            ("state", Text),
            ("error", Text),
            ("rows_returned", Long),
            ("rows_scanned", Long),
            ("segments_scanned", Long),
            ("plan", Text),
            ("node", Text),
        ],
        rows: |sources, listing| async move { Ok(query_log(&sources, &listing)) }.boxed(),
        spread: Some(Spread { holders: Holders::All, named_by: 0 }),
    },
    SystemTable {
        name: "tasks",
        columns: &[
            ("table_name", Text),
            ("kind", Text),
            ("subject", Text),
            ("state", Text),
            ("started_at", Time),
            ("ended_at", Time),
            ("done", Long),
            ("total", Long),
            ("unit", Text),
            ("last_error", Text),
            ("next_attempt_at", Time),
            ("node", Text),
        ],
        rows: |sources, listing| async move { Ok(of_tables(&sources, &listing, tasks)) }.boxed(),
        // A broker writes checkpoints, too.
        spread: Some(Spread { holders: Holders::All, named_by: 0 }),
    },
    SystemTable {
        name: "gaps",
        columns: &[
            ("table_name", Text),
            ("partition", Int),
            ("from_offset", Long),
            ("to_offset", Long),
            ("reason", Text),
            ("recorded_at", Time),
        ],
        rows: |sources, listing| async move { Ok(of_tables(&sources, &listing, gaps)) }.boxed(),
        spread: None,
    },
    DEAD_LETTERS,
];

fn of_tables(
    sources: &CatalogSources,
    listing: &Listing,
    rows: fn(&LiveTable, &Listing) -> Vec<Row>,
) -> Vec<Row> {
    sources.tables.list().iter().flat_map(|table| rows(table, listing)).collect()
}

/// The node of rows that only this one has.
pub(super) fn this_node(listing: &Listing) -> ScalarValue {
    text(listing.node.as_ref().map(NodeId::as_str))
}

fn segments(table: &LiveTable, listing: &Listing) -> Vec<Row> {
    let read = table.read();
    let sealed = read.log.segments.iter().filter(|_| listing.part.has_shared());
    let sealed = sealed.map(|segment| sealed_segment(table.name(), &read.log.schema, segment));
    let open = read.open.iter().filter(|_| listing.part.has_own()).map(|slice| {
        let segment = &slice.segment;
        let state = if slice.sealing { "sealing" } else { "open" };
        vec![
            text(Some(table.name())),
            text(None::<String>),
            text(None::<String>),
            ScalarValue::Int32(Some(segment.partition())),
            ScalarValue::Int64(Some(segment.start_offset())),
            ScalarValue::Int64(Some(segment.next_offset())),
            count(slice.rows.len() as u64),
            count(segment.bytes()),
            ScalarValue::Int64(None),
            ScalarValue::Int32(None),
            time_of_us(None),
            text(Some(state)),
            time_of_us(None),
            time_of_us(None),
            this_node(listing),
        ]
    });
    sealed.chain(open).collect()
}

fn sealed_segment(table: &str, schema: &TableSchema, segment: &SegmentMeta) -> Row {
    let time = schema.time_column().unwrap_or(schema.timestamp_column());
    let data_type = schema.arrow().field(time).data_type();
    let known = segment.columns.get(time);
    let bound = |value: Option<&StatValue>| {
        let known = value.and_then(|value| scalar(value, data_type));
        known.and_then(|known| known.cast_to(&Time.data_type()).ok()).unwrap_or_else(|| time_of_us(None))
    };
    let state = if segment.format_version == FORMAT_VERSION { "sealed" } else { "corrupt" };
    vec![
        text(Some(table)),
        text(Some(segment.path.as_str())),
        text(Some(segment.id.to_string())),
        ScalarValue::Int32(Some(segment.partition)),
        ScalarValue::Int64(Some(segment.from)),
        ScalarValue::Int64(Some(segment.to)),
        count(segment.rows),
        count(segment.size_bytes),
        count(segment.index_length),
        ScalarValue::Int32(i32::try_from(segment.format_version).ok()),
        time_of_ms(Some(segment.sealed_at_ms)),
        text(Some(state)),
        bound(known.and_then(|stats| stats.min.as_ref())),
        bound(known.and_then(|stats| stats.max.as_ref())),
        text(None::<String>),
    ]
}

fn partitions(table: &LiveTable, listing: &Listing) -> Vec<Row> {
    let row = |progress: ProgressSnapshot| {
        vec![
            text(Some(table.name())),
            ScalarValue::Int32(Some(progress.partition)),
            text(Some(progress.stage.name())),
            ScalarValue::Int64(progress.first),
            ScalarValue::Int64(progress.committed),
            ScalarValue::Int64(progress.visible),
            ScalarValue::Int64(progress.latest),
            ScalarValue::Int64(progress.lag),
            ScalarValue::Float64(Some(progress.rows_per_second)),
            ScalarValue::Int64(progress.freshness_ms),
            count(progress.dead_letters),
            count(progress.tombstones),
            text(progress.last_error),
            this_node(listing),
        ]
    };
    let consumed =
        table.progress().into_iter().filter(|progress| progress.stage != PartitionStage::Elsewhere);
    consumed.filter(|_| listing.part.has_own()).map(row).collect()
}

fn queries(sources: &CatalogSources, listing: &Listing) -> Vec<Row> {
    let row = |query: &Arc<QueryEntry>| {
        vec![
            text(Some(query.id.as_str())),
            text(query.user.as_deref()),
            text(Some(query.sql.as_str())),
            text(Some(query.state().name())),
            time_of_us(Some(query.started_at_us)),
            ScalarValue::Float64(Some(query.elapsed().as_secs_f64() * 1000.0)),
            count(QueryStats::get(&query.stats.load().rows_returned)),
            text(query.error().map(ToString::to_string)),
            this_node(listing),
        ]
    };
    let queries = sources.registry.list(ENDED_SHOWN_MAX);
    queries.iter().filter(|_| listing.part.has_own()).map(row).collect()
}

/// The queries that have ended.
fn query_log(sources: &CatalogSources, listing: &Listing) -> Vec<Row> {
    let row = |query: &Arc<QueryEntry>| {
        let stats = query.stats.load();
        vec![
            text(Some(query.id.as_str())),
            text(Some(query.user.as_deref().unwrap_or(ANONYMOUS))),
            text(Some(query.client.name())),
            text(Some(query.sql.as_str())),
            time_of_us(Some(query.started_at_us)),
            ScalarValue::Float64(Some(query.elapsed().as_secs_f64() * 1000.0)),
            text(Some(query.state().name())),
            text(query.error().map(ToString::to_string)),
            count(QueryStats::get(&stats.rows_returned)),
            count(QueryStats::get(&stats.rows_scanned)),
            count(QueryStats::get(&stats.segments_scanned)),
            text(query.plan_kept()),
            this_node(listing),
        ]
    };
    let ended = if listing.part.has_own() { sources.registry.ended(usize::MAX) } else { Vec::new() };
    ended.iter().map(row).collect()
}

fn tasks(table: &LiveTable, listing: &Listing) -> Vec<Row> {
    let row = |task: TaskSnapshot| {
        vec![
            text(Some(table.name())),
            text(Some(task.kind.name())),
            text(Some(task.subject.what)),
            text(Some(task.state.name())),
            time_of_ms(Some(task.started_at_ms)),
            time_of_ms(task.ended_at_ms),
            count(task.done),
            task.subject.total.map_or(ScalarValue::Int64(None), count),
            text(Some(task.subject.unit)),
            text(task.last_error),
            time_of_ms(task.next_attempt_at_ms),
            this_node(listing),
        ]
    };
    table.tasks().list().into_iter().filter(|_| listing.part.has_own()).map(row).collect()
}

fn gaps(table: &LiveTable, _: &Listing) -> Vec<Row> {
    let snapshot = table.snapshot();
    // Gaps of a topic that was recreated since stand with the rows that are left of it.
    let closed = snapshot.stream.closed.iter().flat_map(|epoch| &epoch.partitions);
    let partitions = closed.chain(&snapshot.stream.partitions);
    let gaps = partitions.flat_map(|(partition, state)| state.gaps.iter().map(move |gap| (*partition, gap)));
    let row = |(partition, gap): (i32, &headwater_segment::log::Gap)| {
        vec![
            text(Some(table.name())),
            ScalarValue::Int32(Some(partition)),
            ScalarValue::Int64(Some(gap.from)),
            ScalarValue::Int64(Some(gap.to)),
            text(Some(gap.reason.name())),
            time_of_ms(Some(gap.at_ms)),
        ]
    };
    gaps.map(row).collect()
}
