//! What analytics counts. Labels are bounded: a partition, of which there are as many as the topic has; a unit; what failed.

chassis::metrics! {
    /// Clicks read from the log and counted, re-read ones after a start included.
    Counter CONSUMED = "terse_analytics_clicks_consumed_total" in "clicks";
    /// Records of the log whose counts are stored, each once, however often it was read: what was recorded is this, and the lag, and what is unstored.
    Counter STORED = "terse_analytics_records_stored_total" in "records";
    /// Records of the log that could not be read and were passed over.
    Counter SKIPPED = "terse_analytics_records_skipped_total" in "records";
    /// Records of the log that are not read yet.
    Gauge LAG = "terse_analytics_lag_records" in "records" by ["partition": "<partition>"];
    /// Records of the log that are read, and whose counts are not stored yet.
    Gauge UNSTORED = "terse_analytics_unstored_records" in "records" by ["partition": "<partition>"];
    /// Age of the newest click when its rows were stored.
    Histogram EVENT_AGE = "terse_analytics_event_age_seconds" in "seconds";
    /// Time of one flush of counted rows to the store.
    Histogram FLUSH = "terse_analytics_flush_seconds" in "seconds";
    /// Rows of partial counts given to the store.
    Counter PARTS = "terse_analytics_parts_written_total" in "rows";
    /// Rows of the open chunk kept in memory.
    Gauge OPEN_ROWS = "terse_analytics_open_chunk_rows" in "rows" by ["partition": "<partition>"];
    /// Partitions of the log that this process counts.
    Gauge PARTITIONS = "terse_analytics_partitions" in "partitions";
    /// Roll-ups computed.
    Counter ROLLUPS = "terse_analytics_rollups_total" in "roll-ups" by ["unit": "day|month"];
    /// Quarter-hour rows removed because their days are rolled up and old.
    Counter EXPIRED = "terse_analytics_slots_expired_total" in "rows";
    /// Failed attempts, each repeated after a pause.
    Counter ERRORS = "terse_analytics_errors_total" in "attempts" by ["what": "source|store|rollup|expire|feed|live"];
}
