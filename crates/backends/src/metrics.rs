//! What the backends count. Labels are bounded: the name of a file, a kind of failure.

/// Label `store`: `links` or `stats`.
pub(crate) const STORE_GROUP_LEN: &str = "terse_store_group_len";
pub(crate) const STORE_COMMIT_SECONDS: &str = "terse_store_commit_seconds";
pub(crate) const STORE_READ_SECONDS: &str = "terse_store_read_seconds";
/// Labels `store`, `reason`: `queue_full`, `closed`, `unavailable`, `full` or `corrupt`.
pub(crate) const STORE_FAILURES: &str = "terse_store_failures_total";

pub(crate) const CLICKS_RECORDED: &str = "terse_clicks_recorded_total";
/// Label `reason`: a [`domain::port::Dropped`]; for Kafka also `timed_out`, `refused`, `replaced` or `ended`.
pub(crate) const CLICKS_DROPPED: &str = "terse_clicks_dropped_total";
pub(crate) const CLICKS_UNREADABLE: &str = "terse_clicks_unreadable_total";
/// `redirects answered = recorded + dropped + in queue`, at every moment.
pub(crate) const CLICKS_IN_QUEUE: &str = "terse_clicks_in_queue";
pub(crate) const CLICK_LOG_BYTES: &str = "terse_click_log_bytes";
pub(crate) const CLICK_LOG_SYNC_SECONDS: &str = "terse_click_log_sync_seconds";
pub(crate) const CLICK_LOG_SYNC_FAILURES: &str = "terse_click_log_sync_failures_total";

// ---- Redis ----
/// Labels `server` (what it is used for), `op`, `outcome`: `ok`, `timeout`, `error`, `refused`, `skipped` or `busy`.
pub(crate) const REDIS_REQUESTS: &str = "terse_redis_requests_total";
pub(crate) const REDIS_REQUEST_SECONDS: &str = "terse_redis_request_seconds";
pub(crate) const REDIS_BROKEN: &str = "terse_redis_broken_ratio";
/// Label `kind`: `link` or `event`.
pub(crate) const REDIS_MALFORMED: &str = "terse_redis_malformed_total";
/// Label `outcome`: `link`, `absent` or `miss`.
pub(crate) const LINK_CACHE_FINDS: &str = "terse_link_cache_finds_total";
pub(crate) const LINK_EVENTS_GAPS: &str = "terse_link_events_gaps_total";
pub(crate) const LINK_EVENTS_MALFORMED: &str = "terse_link_events_malformed_total";

// ---- CQL ----
/// Labels `op` (a statement's name), and `reason` of failures: `unavailable`, `unknown_outcome`, `full` or `corrupt`.
pub(crate) const CQL_SECONDS: &str = "terse_cql_seconds";
pub(crate) const CQL_FAILURES: &str = "terse_cql_failures_total";
pub(crate) const CQL_HEDGES: &str = "terse_cql_hedges_total";
/// Conditional statements that found the row changed and were tried again, by `op`.
pub(crate) const CQL_CONTENDED: &str = "terse_cql_contended_total";
/// Rows that hold what no version of ours writes, by `op`.
pub(crate) const CQL_BAD_ROWS: &str = "terse_cql_bad_rows_total";

/// Registers unit and help of every metric of this crate.
pub fn describe() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(STORE_GROUP_LEN, Unit::Count, "Writes that were made durable by one commit, by `store`.");
    describe_histogram!(STORE_COMMIT_SECONDS, Unit::Seconds, "Time of one commit until the disk has it, by `store`.");
    describe_histogram!(STORE_READ_SECONDS, Unit::Seconds, "Time of one read, without its wait in the queue, by `store`.");
    describe_counter!(STORE_FAILURES, Unit::Count, "Calls that failed, by `store` and `reason`.");
    describe_counter!(CLICKS_RECORDED, Unit::Count, "Clicks kept in the click log.");
    describe_counter!(CLICKS_DROPPED, Unit::Count, "Clicks of answered redirects that the log could not keep, by `reason`.");
    describe_gauge!(CLICKS_IN_QUEUE, Unit::Count, "Clicks on their way to Kafka: neither recorded nor dropped yet.");
    describe_counter!(LINK_EVENTS_MALFORMED, Unit::Count, "Records of the topic of link events that are none and were passed over.");
    describe_counter!(CLICKS_UNREADABLE, Unit::Count, "Records of the click log that were damaged and passed over.");
    describe_gauge!(CLICK_LOG_BYTES, Unit::Bytes, "Size of the click log's segments.");
    describe_histogram!(CLICK_LOG_SYNC_SECONDS, Unit::Seconds, "Time of one sync of the click log.");
    describe_counter!(CLICK_LOG_SYNC_FAILURES, Unit::Count, "Syncs of the click log that failed; its clicks move to a new segment.");
    describe_redis();
    describe_cql();
}

fn describe_cql() {
    use ::metrics::{Unit, describe_counter, describe_histogram};
    describe_histogram!(CQL_SECONDS, Unit::Seconds, "Time of one answered CQL statement, by `op`.");
    describe_counter!(CQL_FAILURES, Unit::Count, "CQL statements that failed, by `op` and `reason`.");
    describe_counter!(CQL_HEDGES, Unit::Count, "Reads that were also sent to another replica because they were slow.");
    describe_counter!(
        CQL_CONTENDED,
        Unit::Count,
        "Conditional statements tried again because of an unclear answer or another's change, by `op`."
    );
    describe_counter!(CQL_BAD_ROWS, Unit::Count, "Rows that hold what no known version of Terse writes, by `op`.");
}

fn describe_redis() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(REDIS_REQUESTS, Unit::Count, "Requests to Redis, by `server`, `op` and `outcome`.");
    describe_histogram!(REDIS_REQUEST_SECONDS, Unit::Seconds, "Time of one answered request to Redis, by `server` and `op`.");
    describe_gauge!(
        REDIS_BROKEN,
        Unit::Count,
        "Share of Redis's keys that is done without because it does not answer, 0 to 1, by `server`."
    );
    describe_counter!(
        REDIS_MALFORMED,
        Unit::Count,
        "Values or messages in Redis that are not ours or of an unknown version, passed over, by `kind`."
    );
    describe_counter!(LINK_CACHE_FINDS, Unit::Count, "Codes looked up in the shared cache, by `outcome`.");
    describe_counter!(LINK_EVENTS_GAPS, Unit::Count, "Times that link events may have been missed: caches then check what they have.");
}
