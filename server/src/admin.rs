//! Table management on this node: what `headwater table …` and `PUT /tables/{t}` do.

use async_trait::async_trait;
use headwater_broker::admin::{AdminError, Applied, TableAdmin};
use headwater_ingest::IngestError;
use headwater_ingest::table::{SealOutcome, TableIngest, check_stream};
use headwater_segment::SegmentError;
use headwater_segment::live::{LiveTable, PartitionStage};
use headwater_segment::log::TableLog;
use headwater_segment::spec::{SpecFault, TableSpec, parse_spec};
use serde_json::{Value, json};

use crate::cluster::peers::{NO_DATA_NODES, furthest};
use crate::node_tables::NodeTables;

/// How long a change of spec waits for what was read with the old one to be sealed.
const SEAL_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

#[async_trait]
impl TableAdmin for NodeTables {
    async fn apply(&self, name: &str, spec_text: &str) -> Result<Applied, AdminError> {
        let spec = named_spec(name, spec_text)?;
        // Before anything is written: a table whose consumer cannot start would be there all the same.
        check_stream(&spec).map_err(from_ingest)?;
        // Before the lock: of two nodes whose specs change at once, each needs the other's.
        self.seal_on_others(&spec).await?;
        let mut ingests = self.ingests.lock().await;
        let root = self.table_root(name);
        let Some(present) = TableLog::open(self.store.clone(), root.clone()).await.map_err(from_segment)?
        else {
            let log = TableLog::create(self.store.clone(), root, &spec).await.map_err(from_segment)?;
            self.run_table(log, &mut ingests).map_err(from_ingest)?;
            return Ok(Applied::Created);
        };
        let is_served =
            if self.consumes { ingests.contains_key(name) } else { self.tables.get(name).is_some() };
        if *present.snapshot().spec == spec && is_served {
            return Ok(Applied::Unchanged);
        }
        // The new spec counts from one offset on: what was read with the old one is sealed first.
        present.snapshot().check_spec(&spec).map_err(from_segment)?;
        if let Some(ingest) = ingests.remove(name)
            && tokio::time::timeout(SEAL_WAIT, ingest.stop(true)).await.is_err()
        {
            tracing::warn!(
                table = name,
                "not everything was sealed before the change; the rest is read again from Kafka"
            );
        }
        let log = match self.tables.get(name) {
            Some(live) => live.log().clone(),
            None => present,
        };
        let changed = log.set_spec(&spec).await;
        // Whatever came of it, the table goes on with the spec that the log now holds.
        self.run_table(log, &mut ingests).map_err(from_ingest)?;
        changed.map_err(from_segment)?;
        Ok(Applied::Updated)
    }

    async fn drop_table(&self, name: &str, purge: bool) -> Result<(), AdminError> {
        let mut ingests = self.ingests.lock().await;
        let live = self.tables.get(name);
        if live.is_none() && !purge {
            return Err(no_such_table(name));
        }
        self.stop_consuming(name, &mut ingests).await;
        if let Some(live) = live {
            live.log().drop_table().await.map_err(from_segment)?;
            self.tables.remove(name);
        }
        if purge {
            let deleted =
                TableLog::purge(self.store.clone(), self.table_root(name)).await.map_err(from_segment)?;
            tracing::info!(table = name, objects = deleted, "the objects of a dropped table were deleted");
        }
        Ok(())
    }

    async fn pause(&self, name: &str, partition: Option<i32>) -> Result<(), AdminError> {
        self.set_paused(name, partition, true).await
    }

    async fn resume(&self, name: &str, partition: Option<i32>) -> Result<(), AdminError> {
        self.set_paused(name, partition, false).await
    }

    async fn seal(&self, name: &str, partition: Option<i32>) -> Result<Vec<Value>, AdminError> {
        let mut sealed = self.seal_here(name, partition).await?;
        if let Some(peers) = &self.peers {
            let path = format!("/node/tables/{name}/seal{}", query_of(partition));
            for answer in peers.ask_all(&path).await? {
                sealed.extend(answer.as_array().cloned().unwrap_or_default());
            }
            // What the others have committed is in this node's next answers.
            if let Some(live) = self.tables.get(name) {
                live.follow_log().await.map_err(from_segment)?;
            }
        }
        Ok(sealed)
    }

    async fn describe(&self, name: &str) -> Result<Value, AdminError> {
        let live = self.tables.get(name).ok_or_else(|| no_such_table(name))?;
        let mut partitions = partitions_of(partitions_json(&live, self.this()));
        if let Some(peers) = &self.peers {
            for (_, answer) in peers.ask(&format!("/node/tables/{name}/partitions")).await {
                // A node that does not answer is seen by what is missing.
                partitions.extend(partitions_of(answer.unwrap_or_default()));
            }
            partitions = furthest(partitions);
        }
        Ok(describe(&live, partitions))
    }

    async fn ready(&self) -> Result<(), String> {
        let mut missing = Vec::new();
        if self.peers.as_ref().is_some_and(|peers| !peers.has_data_nodes()) {
            missing.push(NO_DATA_NODES.to_string());
        }
        // A node that consumes nothing answers as long as others do.
        let consumed = if self.consumes { self.tables.list() } else { Vec::new() };
        for live in consumed {
            if let Some(trouble) = live.trouble() {
                missing.push(format!("table {}: {trouble}", live.name()));
                continue;
            }
            let progress = live.progress();
            if progress.is_empty() {
                missing.push(format!("table {}: its topic was not looked at yet", live.name()));
            }
            for partition in progress {
                if let Some(error) = &partition.seal_error {
                    missing.push(format!(
                        "table {}: partition {}: {error}",
                        live.name(),
                        partition.partition
                    ));
                }
                let why = match partition.stage {
                    PartitionStage::Live | PartitionStage::Paused | PartitionStage::Elsewhere => continue,
                    PartitionStage::Starting => "is starting".to_string(),
                    PartitionStage::CatchingUp => {
                        format!("is catching up, lag {}", partition.lag.unwrap_or_default())
                    }
                    PartitionStage::Failed => format!("failed: {}", partition.last_error.unwrap_or_default()),
                };
                missing.push(format!("table {}: partition {} {why}", live.name(), partition.partition));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
    }
}

impl NodeTables {
    /// Has the other nodes seal what they have read of a table, if `spec` changes it: the new one counts from one offset on.
    async fn seal_on_others(&self, spec: &TableSpec) -> Result<(), AdminError> {
        let Some(peers) = &self.peers else { return Ok(()) };
        let name = &spec.name;
        let present =
            TableLog::open(self.store.clone(), self.table_root(name)).await.map_err(from_segment)?;
        let Some(present) = present.map(|log| log.snapshot()).filter(|log| *log.spec != *spec) else {
            return Ok(());
        };
        present.check_spec(spec).map_err(from_segment)?;
        let path = format!("/node/tables/{name}/seal");
        // A node that does not seal loses nothing: what it has is read again, with the new spec.
        match tokio::time::timeout(SEAL_WAIT, peers.ask(&path)).await {
            Ok(answers) => {
                for (node, error) in
                    answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().err()?)))
                {
                    tracing::warn!(table = name, node = %node.member.id, error, "a node has not sealed before the change; its rest is read again from Kafka");
                }
            }
            Err(_) => tracing::warn!(
                table = name,
                "not all nodes have sealed before the change; the rest is read again from Kafka"
            ),
        }
        Ok(())
    }

    /// Seals what this node consumes.
    pub(crate) async fn seal_here(
        &self,
        name: &str,
        partition: Option<i32>,
    ) -> Result<Vec<Value>, AdminError> {
        if !self.consumes {
            return self.tables.get(name).map(|_| Vec::new()).ok_or_else(|| no_such_table(name));
        }
        let sealing = {
            let ingests = self.ingests.lock().await;
            consumer(&ingests, name)?.begin_seal(partition).await.map_err(from_ingest)?
        };
        let outcomes = sealing.wait().await.map_err(from_ingest)?;
        Ok(outcomes.iter().filter_map(outcome_json).collect())
    }

    /// Pauses what this node consumes, or goes on with it.
    pub(crate) async fn pause_here(
        &self,
        name: &str,
        partition: Option<i32>,
        pause: bool,
    ) -> Result<(), AdminError> {
        if !self.consumes {
            return self.tables.get(name).map(|_| ()).ok_or_else(|| no_such_table(name));
        }
        let ingests = self.ingests.lock().await;
        let consumer = consumer(&ingests, name)?;
        let done = if pause { consumer.pause(partition).await } else { consumer.resume(partition).await };
        done.map_err(from_ingest)
    }

    /// On all nodes.
    async fn set_paused(&self, name: &str, partition: Option<i32>, pause: bool) -> Result<(), AdminError> {
        self.pause_here(name, partition, pause).await?;
        if let Some(peers) = &self.peers {
            let action = if pause { "pause" } else { "resume" };
            peers.ask_all(&format!("/node/tables/{name}/{action}{}", query_of(partition))).await?;
        }
        Ok(())
    }

    /// This node's name, in a cluster.
    pub(crate) fn this(&self) -> Option<&str> {
        self.peers.as_ref().map(|peers| peers.this.as_str())
    }
}

/// A spec that is for the table `name`.
pub(crate) fn named_spec(name: &str, spec_text: &str) -> Result<TableSpec, AdminError> {
    let spec = parse_spec(spec_text).map_err(from_segment)?;
    if spec.name != name {
        let fault = SpecFault {
            path: "name".into(),
            message: format!("is {:?}, but the request names {name:?}", spec.name),
        };
        return Err(from_segment(SegmentError::Spec(vec![fault])));
    }
    Ok(spec)
}

fn query_of(partition: Option<i32>) -> String {
    partition.map_or_else(String::new, |partition| format!("?partition={partition}"))
}

fn partitions_of(list: Value) -> Vec<Value> {
    match list {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    }
}

fn consumer<'a>(
    ingests: &'a std::collections::BTreeMap<String, TableIngest>,
    name: &str,
) -> Result<&'a TableIngest, AdminError> {
    ingests.get(name).ok_or_else(|| no_such_table(name))
}

/// How far each partition is here, as a JSON array. `node` is this node's name.
pub(crate) fn partitions_json(live: &LiveTable, node: Option<&str>) -> Value {
    let partitions = live.progress().into_iter().map(|progress| {
        let mut entry = json!({
            "partition": progress.partition,
            "state": progress.stage.name(),
            "first_offset": progress.first,
            "committed_offset": progress.committed,
            "visible_offset": progress.visible,
            "latest_offset": progress.latest,
            "lag": progress.lag,
            "rows_per_second": progress.rows_per_second,
            "freshness_ms": progress.freshness_ms,
            "dead_letters": progress.dead_letters,
            "last_error": progress.last_error,
        });
        if let Some(node) = node {
            entry["node"] = json!(node);
        }
        entry
    });
    Value::Array(partitions.collect())
}

fn describe(live: &LiveTable, partitions: Vec<Value>) -> Value {
    let snapshot = live.snapshot();
    let spec: Value = serde_json::from_str(&snapshot.spec.to_json()).unwrap_or_default();
    let columns: Vec<Value> = snapshot
        .schema
        .columns()
        .iter()
        .map(|column| {
            json!({ "name": column.name, "type": column.data_type.to_string(), "nullable": column.nullable })
        })
        .collect();
    let rows = snapshot.segments.rows();
    let bytes = snapshot.segments.size_bytes();
    json!({
        "name": live.name(),
        "spec": spec,
        "columns": columns,
        "log_version": snapshot.version,
        "segments": snapshot.segments.len(),
        "sealed_rows": rows,
        "sealed_bytes": bytes,
        "partitions": partitions,
        "trouble": live.trouble(),
    })
}

fn outcome_json(outcome: &SealOutcome) -> Option<Value> {
    match outcome {
        SealOutcome::Segment(meta) => Some(json!({
            "partition": meta.partition,
            "from": meta.from,
            "to": meta.to,
            "rows": meta.rows,
            "size_bytes": meta.size_bytes,
            "path": meta.path,
        })),
        SealOutcome::OffsetOnly { .. } | SealOutcome::Nothing => None,
    }
}

fn no_such_table(name: &str) -> AdminError {
    AdminError::NotFound(format!("there is no table {name}"))
}

pub(crate) fn from_segment(error: SegmentError) -> AdminError {
    match error {
        SegmentError::Spec(faults) => {
            let message = SegmentError::Spec(faults.clone()).to_string();
            AdminError::Invalid { message, faults }
        }
        SegmentError::NoSuchTable(name) => no_such_table(&name),
        error @ SegmentError::Refused(_) => AdminError::Conflict(error.to_string()),
        error => AdminError::Unavailable(error.to_string()),
    }
}

pub(crate) fn from_ingest(error: IngestError) -> AdminError {
    match error {
        IngestError::Segment(error) => from_segment(error),
        error @ IngestError::NoSuchPartition { .. } => AdminError::NotFound(error.to_string()),
        error @ (IngestError::Config { .. } | IngestError::TopicRefused { .. }) => {
            AdminError::Invalid { message: error.to_string(), faults: Vec::new() }
        }
        error => AdminError::Unavailable(error.to_string()),
    }
}
