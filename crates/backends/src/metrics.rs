//! What the backends count. Labels are bounded: the name of a file, a kind of failure.

/// Label `store`: `links` or `stats`.
pub(crate) const STORE_GROUP_LEN: &str = "terse_store_group_len";
pub(crate) const STORE_COMMIT_SECONDS: &str = "terse_store_commit_seconds";
pub(crate) const STORE_READ_SECONDS: &str = "terse_store_read_seconds";
/// Labels `store`, `reason`: `queue_full`, `closed`, `unavailable`, `full` or `corrupt`.
pub(crate) const STORE_FAILURES: &str = "terse_store_failures_total";

pub(crate) const CLICKS_RECORDED: &str = "terse_clicks_recorded_total";
/// Label `reason`: a [`domain::port::Dropped`].
pub(crate) const CLICKS_DROPPED: &str = "terse_clicks_dropped_total";
pub(crate) const CLICKS_UNREADABLE: &str = "terse_clicks_unreadable_total";
pub(crate) const CLICK_LOG_BYTES: &str = "terse_click_log_bytes";
pub(crate) const CLICK_LOG_SYNC_SECONDS: &str = "terse_click_log_sync_seconds";
pub(crate) const CLICK_LOG_SYNC_FAILURES: &str = "terse_click_log_sync_failures_total";

/// Registers unit and help of every metric of this crate.
pub fn describe() {
    use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(STORE_GROUP_LEN, Unit::Count, "Writes that were made durable by one commit, by `store`.");
    describe_histogram!(STORE_COMMIT_SECONDS, Unit::Seconds, "Time of one commit until the disk has it, by `store`.");
    describe_histogram!(STORE_READ_SECONDS, Unit::Seconds, "Time of one read, without its wait in the queue, by `store`.");
    describe_counter!(STORE_FAILURES, Unit::Count, "Calls that failed, by `store` and `reason`.");
    describe_counter!(CLICKS_RECORDED, Unit::Count, "Clicks kept in the click log.");
    describe_counter!(CLICKS_DROPPED, Unit::Count, "Clicks of answered redirects that the log could not keep, by `reason`.");
    describe_counter!(CLICKS_UNREADABLE, Unit::Count, "Records of the click log that were damaged and passed over.");
    describe_gauge!(CLICK_LOG_BYTES, Unit::Bytes, "Size of the click log's segments.");
    describe_histogram!(CLICK_LOG_SYNC_SECONDS, Unit::Seconds, "Time of one sync of the click log.");
    describe_counter!(CLICK_LOG_SYNC_FAILURES, Unit::Count, "Syncs of the click log that failed; its clicks move to a new segment.");
}
