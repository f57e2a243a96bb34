//! What the backends count. Labels are bounded: the name of a file, a statement, a kind of failure.

chassis::metrics! {
    // ---- SQLite ----

    /// Writes that were made durable by one commit.
    Histogram STORE_GROUP_LEN = "terse_store_group_len" in "writes" by ["store": "links|stats"];
    /// Time of one commit until the disk has it.
    Histogram STORE_COMMIT_SECONDS = "terse_store_commit_seconds" in "seconds" by ["store": "links|stats"];
    /// Time of one read, without its wait in the queue.
    Histogram STORE_READ_SECONDS = "terse_store_read_seconds" in "seconds" by ["store": "links|stats"];
    /// Reads that wait for a thread of the store; writes that wait for theirs, or for their commit.
    Gauge STORE_QUEUED = "terse_store_queued" in "calls" by ["store": "links|stats", "kind": "read|write"];
    /// Calls that failed.
    Counter STORE_FAILURES = "terse_store_failures_total" in "calls" by ["store": "links|stats", "reason": "queue_full|closed|unavailable|full|corrupt"];

    // ---- click log: files or Kafka ----

    /// Clicks kept in the click log. Clicks of redirects = recorded + dropped + in queue, at every moment.
    Counter CLICKS_RECORDED = "terse_clicks_recorded_total" in "clicks";
    /// Clicks of answered redirects that the log could not keep; the last four reasons are those of Kafka.
    Counter CLICKS_DROPPED = "terse_clicks_dropped_total" in "clicks" by ["reason": "buffer_full|disk_full|failed|timed_out|refused|replaced|ended"];
    /// Clicks on their way to Kafka: neither recorded nor dropped yet.
    Gauge CLICKS_IN_QUEUE = "terse_clicks_in_queue" in "clicks";
    /// Records of the click log that were damaged and passed over.
    Counter CLICKS_UNREADABLE = "terse_clicks_unreadable_total" in "records";
    /// Size of the click log's segments.
    Gauge CLICK_LOG_BYTES = "terse_click_log_bytes" in "bytes";
    /// Time of one sync of the click log.
    Histogram CLICK_LOG_SYNC_SECONDS = "terse_click_log_sync_seconds" in "seconds";
    /// Syncs of the click log that failed; its clicks move to a new segment.
    Counter CLICK_LOG_SYNC_FAILURES = "terse_click_log_sync_failures_total" in "syncs";

    // ---- Redis ----

    /// Requests to Redis, by what that Redis is used for. `skipped` ones were not sent because it is broken.
    Counter REDIS_REQUESTS = "terse_redis_requests_total" in "requests" by ["server": "<use>", "op": "<operation>", "outcome": "ok|timeout|error|refused|skipped|busy"];
    /// Time of one answered request to Redis.
    Histogram REDIS_REQUEST_SECONDS = "terse_redis_request_seconds" in "seconds" by ["server": "<use>", "op": "<operation>"];
    /// Share of Redis's keys that is done without because it does not answer: 0 when the breaker is closed, 1 when it is open for all of them.
    Gauge REDIS_BROKEN = "terse_redis_broken_ratio" in "ratio" by ["server": "<use>"];
    /// Values or messages in Redis that are not ours or of an unknown version, passed over.
    Counter REDIS_MALFORMED = "terse_redis_malformed_total" in "values" by ["kind": "link|event"];
    /// Codes looked up in the shared cache.
    Counter LINK_CACHE_FINDS = "terse_link_cache_finds_total" in "look-ups" by ["outcome": "link|absent|miss"];
    /// Times that link events may have been missed: caches then check what they have.
    Counter LINK_EVENTS_GAPS = "terse_link_events_gaps_total" in "gaps";
    /// Records of the topic of link events that are none and were passed over.
    Counter LINK_EVENTS_MALFORMED = "terse_link_events_malformed_total" in "records";

    // ---- CQL ----

    /// Time of one answered CQL statement.
    Histogram CQL_SECONDS = "terse_cql_seconds" in "seconds" by ["op": "<statement>"];
    /// CQL statements that failed.
    Counter CQL_FAILURES = "terse_cql_failures_total" in "statements" by ["op": "<statement>", "reason": "unavailable|unknown_outcome|full|corrupt"];
    /// Reads that were also sent to another replica because they were slow.
    Counter CQL_HEDGES = "terse_cql_hedges_total" in "reads";
    /// Conditional statements tried again because of an unclear answer or another's change.
    Counter CQL_CONTENDED = "terse_cql_contended_total" in "statements" by ["op": "<statement>"];
    /// Rows that hold what no known version of Terse writes.
    Counter CQL_BAD_ROWS = "terse_cql_bad_rows_total" in "rows" by ["op": "<statement>"];
}
