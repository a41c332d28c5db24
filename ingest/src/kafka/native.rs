//! The calls into librdkafka that its safe wrapper lacks, each wrapped so that nothing unsafe leaves this file.
//!
//! Why: the wrapper hands out one message per call, behind an allocation, and hides the partition of an error and
//! the offset of an end-of-partition mark. librdkafka's own per-partition consumer (`rd_kafka_consume_start_queue`)
//! needs no group, starts and stops each partition by itself, and `rd_kafka_consume_batch_queue` hands out hundreds
//! of messages per call.
//!
//! Safety rules that hold throughout:
//! - the `rd_kafka_t` behind a [`NativeStream`] lives as long as its `BaseConsumer`, which the stream owns;
//! - `topic` and `queue` are destroyed in `Drop`, after every started partition was stopped and before the consumer;
//! - a message pointer is valid from the batch call until `rd_kafka_message_destroy`, which `MessageGuard` calls
//!   once; payload, key and headers are only lent out inside that span.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

const HEADERS_PER_MESSAGE_MAX: usize = 10_000;

/// A message, lent for the time of one call.
pub struct RawMessage<'a> {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Kafka timestamp in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Payload; none for a tombstone.
    pub payload: Option<&'a [u8]>,
    native: &'a rd::rd_kafka_message_t,
}

impl<'a> RawMessage<'a> {
    /// Calls `visit` with each header's name and value, in order.
    pub fn headers(&self, mut visit: impl FnMut(&'a str, Option<&'a [u8]>)) {
        let mut headers: *mut rd::rd_kafka_headers_t = ptr::null_mut();
        // SAFETY: `native` is a live message (see the rules above); `headers` is an out-parameter owned by it.
        let found = unsafe { rd::rd_kafka_message_headers(self.native, &mut headers) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
            return;
        }
        for index in 0..HEADERS_PER_MESSAGE_MAX {
            let mut name: *const c_char = ptr::null();
            let mut value: *const c_void = ptr::null();
            let mut size = 0usize;
            // SAFETY: `headers` belongs to the live message; the three out-parameters are valid for the call.
            let got =
                unsafe { rd::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size) };
            if got != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return;
            }
            // SAFETY: librdkafka terminates header names with a NUL and keeps them as long as the message.
            let name: &'a CStr = unsafe { CStr::from_ptr(name) };
            // SAFETY: `value` is null or points to `size` bytes that live as long as the message.
            let value = unsafe { lend(value.cast_mut(), size) };
            // The protocol says that names are UTF-8; one that is not cannot be asked for by name.
            visit(name.to_str().unwrap_or("\u{fffd}"), value);
        }
    }

    /// The value of the last header of this name.
    pub fn header(&self, wanted: &str) -> Option<&'a [u8]> {
        let mut found = None;
        self.headers(|name, value| {
            if name == wanted {
                found = value;
            }
        });
        found
    }
}

/// What a fetch brought.
pub enum RawEvent<'a> {
    /// A message.
    Message(RawMessage<'a>),
    /// The consumer stands at the end of the partition: nothing is below `offset` that was not delivered.
    End {
        /// Partition.
        partition: i32,
        /// The partition's next offset.
        offset: i64,
    },
    /// The partition's consumer reports an error.
    Error {
        /// Partition.
        partition: i32,
        /// librdkafka's code.
        code: RDKafkaRespErr,
    },
}

struct MessageGuard(*mut rd::rd_kafka_message_t);

impl Drop for MessageGuard {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a batch call and is destroyed here and nowhere else.
        unsafe { rd::rd_kafka_message_destroy(self.0) }
    }
}

/// A set of partitions of one topic, fetched into one queue.
pub(super) struct NativeStream<C: ConsumerContext + ClientContext + 'static> {
    consumer: BaseConsumer<C>,
    topic_name: CString,
    topic: *mut rd::rd_kafka_topic_t,
    queue: *mut rd::rd_kafka_queue_t,
    started: BTreeSet<i32>,
    batch: Vec<*mut rd::rd_kafka_message_t>,
}

// SAFETY: librdkafka handles are thread-safe, and `batch` holds pointers only inside `poll`.
unsafe impl<C: ConsumerContext + 'static> Send for NativeStream<C> {}

impl<C: ConsumerContext + 'static> NativeStream<C> {
    /// A stream over `topic` with nothing started. `None` if librdkafka refuses the topic's name.
    pub(super) fn new(consumer: BaseConsumer<C>, topic: &str, batch_max: usize) -> Option<Self> {
        let topic_name = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: `client` is live; a null configuration means the client's default topic configuration.
        let handle = unsafe { rd::rd_kafka_topic_new(client, topic_name.as_ptr(), ptr::null_mut()) };
        if handle.is_null() {
            return None;
        }
        // SAFETY: `client` is live; the queue is destroyed in `Drop`.
        let queue = unsafe { rd::rd_kafka_queue_new(client) };
        let batch = vec![ptr::null_mut(); batch_max];
        Some(Self { consumer, topic_name, topic: handle, queue, started: BTreeSet::new(), batch })
    }

    /// The consumer, for metadata and offset queries.
    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// Starts fetching a partition at an offset; one that runs is stopped first.
    pub(super) fn start(&mut self, partition: i32, offset: i64) -> Result<(), RDKafkaRespErr> {
        self.stop(partition);
        // SAFETY: topic and queue are live for as long as `self`.
        let answer = unsafe { rd::rd_kafka_consume_start_queue(self.topic, partition, offset, self.queue) };
        if answer == -1 {
            // SAFETY: reads the calling thread's last error.
            return Err(unsafe { rd::rd_kafka_last_error() });
        }
        self.started.insert(partition);
        Ok(())
    }

    /// Stops fetching a partition; what was fetched and not yet delivered is dropped.
    pub(super) fn stop(&mut self, partition: i32) {
        if self.started.remove(&partition) {
            // SAFETY: the partition was started on this live topic. The call waits until its fetcher is gone.
            unsafe { rd::rd_kafka_consume_stop(self.topic, partition) };
        }
    }

    /// Waits up to `timeout` for something to arrive, then hands out what is there, at most one batch and one more.
    /// Returns how many events.
    pub(super) fn poll(&mut self, timeout: Duration, mut visit: impl FnMut(RawEvent<'_>)) -> usize {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // The batch call waits until its batch is full, so the waiting is done for one message, and the batch call
        // only takes what has arrived.
        // SAFETY: the queue is live.
        let first = unsafe { rd::rd_kafka_consume_queue(self.queue, timeout_ms) };
        if first.is_null() {
            return 0;
        }
        let guard = MessageGuard(first);
        // SAFETY: the call returned a live message that `guard` destroys after the visit.
        visit(event_of(unsafe { &*guard.0 }));
        drop(guard);
        // SAFETY: `batch` has room for `len` pointers; the queue is live.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(self.queue, 0, self.batch.as_mut_ptr(), self.batch.len())
        };
        let count = usize::try_from(count).unwrap_or(0);
        for slot in &mut self.batch[..count] {
            let guard = MessageGuard(std::mem::replace(slot, ptr::null_mut()));
            // SAFETY: the batch call filled this slot with a live message that `guard` destroys after the visit.
            let message = unsafe { &*guard.0 };
            visit(event_of(message));
        }
        count + 1
    }

    /// The partition's next offset as the last fetch response said, without asking the broker.
    pub(super) fn cached_latest(&self, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (-1i64, -1i64);
        // SAFETY: the client and the name are live; both out-parameters are valid for the call.
        let answer = unsafe {
            rd::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                self.topic_name.as_ptr(),
                partition,
                &mut low,
                &mut high,
            )
        };
        (answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl<C: ConsumerContext + 'static> Drop for NativeStream<C> {
    fn drop(&mut self) {
        for partition in std::mem::take(&mut self.started) {
            // SAFETY: see `stop`.
            unsafe { rd::rd_kafka_consume_stop(self.topic, partition) };
        }
        // SAFETY: nothing fetches into the queue any more; both handles are destroyed once, before the consumer.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue);
            rd::rd_kafka_topic_destroy(self.topic);
        }
    }
}

fn event_of(message: &rd::rd_kafka_message_t) -> RawEvent<'_> {
    let (partition, offset) = (message.partition, message.offset);
    match message.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: `message` is live; `kind` is valid for the call.
            let timestamp_ms = unsafe { rd::rd_kafka_message_timestamp(message, &mut kind) };
            let timestamp_ms = (timestamp_ms >= 0
                && kind != rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
                .then_some(timestamp_ms);
            // SAFETY: librdkafka gives pointer and length of bytes that live as long as the message.
            let key = unsafe { lend(message.key, message.key_len) };
            // SAFETY: as above.
            let payload = unsafe { lend(message.payload, message.len) };
            RawEvent::Message(RawMessage { partition, offset, timestamp_ms, key, payload, native: message })
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => RawEvent::End { partition, offset },
        code => RawEvent::Error { partition, code },
    }
}

/// # Safety
/// `data` is null, or points to `len` bytes that live for `'a`.
unsafe fn lend<'a>(data: *mut c_void, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// librdkafka's text for an error code.
pub(super) fn error_text(code: RDKafkaRespErr) -> String {
    // SAFETY: the function returns a static string for every code.
    unsafe { CStr::from_ptr(rd::rd_kafka_err2str(code)) }.to_string_lossy().into_owned()
}

/// The topic's id, which changes when it is deleted and created again. `None` if the broker does not tell.
pub(super) fn topic_id<C: ConsumerContext + 'static>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Option<String> {
    let name = CString::new(topic).ok()?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = consumer.client().native_ptr();
    // SAFETY: every handle made here is destroyed before the function returns, in the reverse order; the client and
    // the name outlive them; the result and its parts are read only while `event` lives; null is checked throughout.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let options =
            rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let queue = rd::rd_kafka_queue_new(client);
        rd::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(500));
        let id = if event.is_null() { None } else { id_in(event) };
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_TopicCollection_destroy(topics);
        id
    }
}

/// # Safety
/// `event` is a live event.
unsafe fn id_in(event: *mut rd::rd_kafka_event_t) -> Option<String> {
    // SAFETY: the caller's promise; each pointer belongs to the event and is checked for null.
    unsafe {
        if rd::rd_kafka_event_error(event) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0usize;
        let descriptions = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if descriptions.is_null() || count == 0 {
            return None;
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(*descriptions);
        if id.is_null() {
            return None;
        }
        let high = rd::rd_kafka_Uuid_most_significant_bits(id);
        let low = rd::rd_kafka_Uuid_least_significant_bits(id);
        (high != 0 || low != 0).then(|| format!("{high:016x}{low:016x}"))
    }
}
