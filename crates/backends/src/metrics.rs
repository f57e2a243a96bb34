//! What the backends count. Labels are bounded: the name of a file, a kind of failure.

/// Label `store`: `links` or `stats`.
pub(crate) const STORE_GROUP_LEN: &str = "terse_store_group_len";
pub(crate) const STORE_COMMIT_SECONDS: &str = "terse_store_commit_seconds";
pub(crate) const STORE_READ_SECONDS: &str = "terse_store_read_seconds";
/// Labels `store`, `reason`: `queue_full`, `closed`, `unavailable`, `full` or `corrupt`.
pub(crate) const STORE_FAILURES: &str = "terse_store_failures_total";

/// Registers unit and help of every metric of this crate.
pub fn describe() {
    use ::metrics::{Unit, describe_counter, describe_histogram};
    describe_histogram!(STORE_GROUP_LEN, Unit::Count, "Writes that were made durable by one commit, by `store`.");
    describe_histogram!(STORE_COMMIT_SECONDS, Unit::Seconds, "Time of one commit until the disk has it, by `store`.");
    describe_histogram!(STORE_READ_SECONDS, Unit::Seconds, "Time of one read, without its wait in the queue, by `store`.");
    describe_counter!(STORE_FAILURES, Unit::Count, "Calls that failed, by `store` and `reason`.");
}
