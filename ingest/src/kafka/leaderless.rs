//! A fault of librdkafka (2.12.1, and not mended since), kept from doing harm.
//!
//! A broker that has just started answers fetches with "not the leader" and says who is, partition by partition; for some it says
//! that nobody is. librdkafka makes a list of all of these, fills in those that have a leader, and reads all of them: the rest is
//! memory that nobody has written, and a partition number from there can lead anywhere. The process ends with a segmentation
//! fault, on all nodes that fetch from that broker at once.
//!
//! The list is made in a function of its own. The linker leads the call to it through here (`build.rs` of each crate that makes a
//! binary), where each entry is written first: with a partition number that no topic has, which librdkafka passes over.
//!
//! To be removed with a librdkafka that counts what it has filled in (confluentinc/librdkafka, number 5280).
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr;

/// `rd_kafka_Uuid_t`, which librdkafka passes by value and does not publish: two times 8 bytes and 23 letters.
#[repr(C)]
struct Uuid([u64; 5]);

/// Like no partition of any topic: they are numbered from 0 without a gap.
const NO_PARTITION: i32 = i32::MAX;

unsafe extern "C" {
    /// librdkafka's own function.
    fn __real_rd_kafkap_leader_discovery_set_topic(
        buffer: *mut c_void,
        metadata: *mut rd::rd_kafka_metadata,
        topic_index: c_int,
        topic_id: Uuid,
        topic_name: *mut c_char,
        partition_count: c_int,
    );
}

/// What librdkafka calls instead.
///
/// # Safety
/// As librdkafka calls its own: `metadata` has `topic_index` topics and one more.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_kafkap_leader_discovery_set_topic(
    buffer: *mut c_void,
    metadata: *mut rd::rd_kafka_metadata,
    topic_index: c_int,
    topic_id: Uuid,
    topic_name: *mut c_char,
    partition_count: c_int,
) {
    // SAFETY: the caller's promise. The function allocates `partition_count` partitions, and writes none of them; the published
    // metadata come first in librdkafka's own.
    unsafe {
        __real_rd_kafkap_leader_discovery_set_topic(
            buffer,
            metadata,
            topic_index,
            topic_id,
            topic_name,
            partition_count,
        );
        let (Ok(topic), Ok(count)) = (usize::try_from(topic_index), usize::try_from(partition_count)) else {
            return;
        };
        let partitions = (*(*metadata).topics.add(topic)).partitions;
        for place in 0..count {
            ptr::write(
                partitions.add(place),
                rd::rd_kafka_metadata_partition {
                    id: NO_PARTITION,
                    err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
                    leader: -1,
                    replica_cnt: 0,
                    replicas: ptr::null_mut(),
                    isr_cnt: 0,
                    isrs: ptr::null_mut(),
                },
            );
        }
    }
}
