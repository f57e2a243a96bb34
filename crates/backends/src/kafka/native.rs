//! What librdkafka offers and its wrapper does not: the id of a topic, and how far a partition goes as last heard.
//! The only `unsafe` code for Kafka. Each function owns what it makes and frees it before it returns.
#![expect(unsafe_code, reason = "two calls of librdkafka's C interface that have no wrapper")]

use std::ffi::CString;
use std::time::Duration;

use domain::port::LogId;
use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::client::Client;

/// Why the id of a topic is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum TopicIdError {
    #[error("Kafka does not answer in time")]
    Timeout,
    #[error("there is no such topic, or it may not be described")]
    NoTopic,
    #[error("the brokers give topics no ids; Kafka 2.8 or later does")]
    NoId,
}

/// The id that Kafka gave the topic when it was made (KIP-516): another one when it is made again. Blocks.
pub(super) fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<LogId, TopicIdError> {
    let name = CString::new(topic).map_err(|_| TopicIdError::NoTopic)?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = client.native_ptr();
    // SAFETY: `client` lives as long as the borrow; names, options, queue and event are made here and destroyed here,
    // in the reverse order; what the event answers is read before it is destroyed, and null is checked at each step.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let options = c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let queue = c::rd_kafka_queue_new(client);
        c::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, std::ptr::null_mut(), 0);
        c::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms);
        let answer = if event.is_null() { Err(TopicIdError::Timeout) } else { read_id(event) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// # Safety
/// `event` must be a live event.
unsafe fn read_id(event: *mut c::rd_kafka_event_t) -> Result<LogId, TopicIdError> {
    // SAFETY: by the caller; all that is read belongs to the event.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(TopicIdError::Timeout);
        }
        if c::rd_kafka_event_error(event) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(TopicIdError::Timeout);
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 || (*topics).is_null() {
            return Err(TopicIdError::NoTopic);
        }
        let topic = *topics;
        let error = c::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && c::rd_kafka_error_code(error) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(TopicIdError::NoTopic);
        }
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return Err(TopicIdError::NoId);
        }
        let (high, low) = (c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id));
        let number = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
        if number == 0 { Err(TopicIdError::NoId) } else { Ok(LogId(number.to_be_bytes())) }
    }
}

/// The offset after the partition's last record, as the last answer of the brokers had it. Does not block.
pub(super) fn known_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<u64> {
    let name = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: `client` lives as long as the borrow, `name` until the end of the call; the two numbers are ours.
    let code = unsafe { c::rd_kafka_get_watermark_offsets(client.native_ptr(), name.as_ptr(), partition, &raw mut low, &raw mut high) };
    (code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(())?;
    u64::try_from(high).ok()
}
