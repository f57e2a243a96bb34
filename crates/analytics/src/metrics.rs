//! What analytics counts. Labels are bounded: a unit, what failed.

pub(crate) const CONSUMED: &str = "terse_analytics_clicks_consumed_total";
pub(crate) const SKIPPED: &str = "terse_analytics_records_skipped_total";
/// Label `partition`, of which there are as many as the topic has.
pub(crate) const LAG: &str = "terse_analytics_lag_records";
pub(crate) const EVENT_AGE: &str = "terse_analytics_event_age_seconds";
pub(crate) const FLUSH: &str = "terse_analytics_flush_seconds";
pub(crate) const PARTS: &str = "terse_analytics_parts_written_total";
/// Label `partition`.
pub(crate) const OPEN_ROWS: &str = "terse_analytics_open_chunk_rows";
/// Label `unit`: `day`, `month`.
pub(crate) const ROLLUPS: &str = "terse_analytics_rollups_total";
pub(crate) const EXPIRED: &str = "terse_analytics_slots_expired_total";
pub(crate) const PARTITIONS: &str = "terse_analytics_partitions";
/// Label `what`: `source`, `store`, `rollup`, `expire`, `feed`, `live`.
pub(crate) const ERRORS: &str = "terse_analytics_errors_total";

/// Registers unit and help of every metric of this crate.
pub fn describe() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(CONSUMED, Unit::Count, "Clicks read from the log and counted, re-read ones after a start included.");
    describe_counter!(SKIPPED, Unit::Count, "Records of the log that could not be read and were passed over.");
    describe_gauge!(LAG, Unit::Count, "Records of the log that are not read yet, by `partition`.");
    describe_histogram!(EVENT_AGE, Unit::Seconds, "Age of the newest click when its rows were stored.");
    describe_histogram!(FLUSH, Unit::Seconds, "Time of one flush of counted rows to the store.");
    describe_counter!(PARTS, Unit::Count, "Rows of partial counts given to the store.");
    describe_gauge!(OPEN_ROWS, Unit::Count, "Rows of the open chunk kept in memory, by `partition`.");
    describe_gauge!(PARTITIONS, Unit::Count, "Partitions of the log that this process counts.");
    describe_counter!(ROLLUPS, Unit::Count, "Roll-ups computed, by `unit`.");
    describe_counter!(EXPIRED, Unit::Count, "Quarter-hour rows removed because their days are rolled up and old.");
    describe_counter!(ERRORS, Unit::Count, "Failed attempts, each repeated after a pause, by `what`.");
}
