//! The Kafka client alone: every message fetched as Headwater fetches it, and thrown away. Whatever is above it
//! cannot be faster.

use std::hint::black_box;
use std::time::{Duration, Instant};

use headwater_ingest::kafka::stream::{PartitionStream, RawEvent};
use headwater_segment::spec::parse_spec;

use super::{Measured, NEVER};
use crate::events::{PARTITIONS, spec_text};
use crate::{Result, process};

const WAIT: Duration = Duration::from_secs(1);
const EMPTY_WAITS_MAX: usize = 30;

/// Fetches `events` messages of a topic.
pub(super) fn fetch(kafka: &str, topic: &str, events: u64) -> Result<Measured> {
    let spec = parse_spec(&spec_text(kafka, topic, NEVER))?;
    let (cpu_before, began) = (process::cpu_time(std::process::id())?, Instant::now());
    let mut stream = PartitionStream::connect(&spec.stream)?;
    for partition in 0..PARTITIONS {
        stream.start(partition, 0)?;
    }
    let (mut messages, mut empty_waits) = (0, 0);
    while messages < events {
        let events_seen = stream.poll(WAIT, |event| {
            if let RawEvent::Message(message) = event {
                black_box(message.payload);
                messages += 1;
            }
        });
        empty_waits = if events_seen == 0 { empty_waits + 1 } else { 0 };
        if empty_waits > EMPTY_WAITS_MAX {
            return Err(format!("the topic gave {messages} of {events} events").into());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = (process::cpu_time(std::process::id())? - cpu_before).as_secs_f64();
    Ok(Measured { seconds, cpu_seconds, peak_memory_bytes: None })
}
