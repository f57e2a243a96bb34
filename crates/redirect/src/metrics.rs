//! The metrics of the redirect service, with handles kept so that the hot path looks nothing up.

use domain::api::Answer;
use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Answers by `result`.
pub const REDIRECTS: &str = "terse_redirects_total";
/// Look-ups by `tier` (`l1`, `never_issued`, `l2`, `store`) and `outcome`.
pub const CACHE_REQUESTS: &str = "terse_cache_requests_total";
pub const STORE_READ_SECONDS: &str = "terse_redirect_store_read_seconds";
pub const ANSWER_AGE_SECONDS: &str = "terse_redirect_stale_age_seconds";
pub const FLIGHTS_JOINED: &str = "terse_redirect_flights_joined_total";
pub const REFRESHES: &str = "terse_redirect_refreshes_total";
/// Writes of what the store said into the shared cache, by `outcome`.
pub const FILLS: &str = "terse_redirect_cache_fills_total";
/// Reads begun before anybody waits for them, by `outcome`.
pub const BEGUN: &str = "terse_redirect_begun_total";
pub const L1_ENTRIES: &str = "terse_redirect_l1_entries";
pub const L1_BYTES: &str = "terse_redirect_l1_bytes";
pub const INVALIDATIONS: &str = "terse_redirect_invalidations_total";
pub const NEWS_GAPS: &str = "terse_redirect_news_gaps_total";
pub const BUDGET_TAKES: &str = "terse_redirect_budget_takes_total";
pub const TAKEDOWNS: &str = "terse_redirect_takedowns";
pub const TAKEDOWN_POLLS: &str = "terse_redirect_takedown_polls_total";

/// Registers unit and help of every metric here, once per process.
pub fn describe() {
    describe_counter!(REDIRECTS, Unit::Count, "Requests for a code answered, by result");
    describe_counter!(CACHE_REQUESTS, Unit::Count, "Look-ups of a code, by tier and outcome");
    describe_histogram!(STORE_READ_SECONDS, Unit::Seconds, "Time of one read of the link store");
    describe_histogram!(
        ANSWER_AGE_SECONDS,
        Unit::Seconds,
        "Age, at most, of links served past the staleness bound while the store does not answer"
    );
    describe_counter!(FLIGHTS_JOINED, Unit::Count, "Requests that waited for a read somebody else had begun");
    describe_counter!(REFRESHES, Unit::Count, "Early refreshes, by whether they were queued or left to expiry");
    describe_counter!(FILLS, Unit::Count, "Links and absences written into the shared cache, by outcome");
    describe_counter!(BEGUN, Unit::Count, "Reads begun for requests about to come, by whether there was room");
    describe_gauge!(L1_ENTRIES, Unit::Count, "Entries of the in-process cache");
    describe_gauge!(L1_BYTES, Unit::Bytes, "Bytes of the in-process cache, overhead included");
    describe_counter!(INVALIDATIONS, Unit::Count, "News of changed links received");
    describe_counter!(NEWS_GAPS, Unit::Count, "Times that news of changed links may have been missed, so that memory is read again");
    describe_counter!(BUDGET_TAKES, Unit::Count, "Requests for clicks of limited links, by outcome");
    describe_gauge!(TAKEDOWNS, Unit::Count, "Links known to be taken down");
    describe_counter!(TAKEDOWN_POLLS, Unit::Count, "Reads of the list of takedowns, by outcome");
}

pub(crate) struct Metrics {
    redirect: Counter,
    withheld: Counter,
    found: Counter,
    not_found: Counter,
    gone: Counter,
    blocked: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) l1_hit: Counter,
    pub(crate) l1_miss: Counter,
    pub(crate) l1_expired: Counter,
    pub(crate) l1_stale: Counter,
    pub(crate) never_issued: Counter,
    pub(crate) l2_hit: Counter,
    pub(crate) l2_miss: Counter,
    pub(crate) l2_stale: Counter,
    pub(crate) l2_absent: Counter,
    pub(crate) l2_error: Counter,
    pub(crate) fill_ok: Counter,
    pub(crate) fill_error: Counter,
    pub(crate) fill_dropped: Counter,
    pub(crate) begun: Counter,
    pub(crate) begun_dropped: Counter,
    pub(crate) news_gaps: Counter,
    pub(crate) store_hit: Counter,
    pub(crate) store_absent: Counter,
    pub(crate) store_error: Counter,
    pub(crate) store_read: Histogram,
    pub(crate) stale_age: Histogram,
    pub(crate) flights_joined: Counter,
    pub(crate) refresh_queued: Counter,
    pub(crate) refresh_dropped: Counter,
    pub(crate) l1_entries: Gauge,
    pub(crate) l1_bytes: Gauge,
    pub(crate) invalidations: Counter,
    pub(crate) budget_granted: Counter,
    pub(crate) budget_refused: Counter,
    pub(crate) budget_unknown: Counter,
    pub(crate) takedowns: Gauge,
    pub(crate) takedown_poll_ok: Counter,
    pub(crate) takedown_poll_failed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let result = |result: &'static str| counter!(REDIRECTS, "result" => result);
        let tier = |tier: &'static str, outcome: &'static str| counter!(CACHE_REQUESTS, "tier" => tier, "outcome" => outcome);
        Self {
            redirect: result("redirect"),
            withheld: result("withheld"),
            found: result("found"),
            not_found: result("not_found"),
            gone: result("gone"),
            blocked: result("blocked"),
            unavailable: result("unavailable"),
            l1_hit: tier("l1", "hit"),
            l1_miss: tier("l1", "miss"),
            l1_expired: tier("l1", "expired"),
            l1_stale: tier("l1", "stale"),
            never_issued: tier("never_issued", "hit"),
            l2_hit: tier("l2", "hit"),
            l2_miss: tier("l2", "miss"),
            l2_stale: tier("l2", "stale"),
            l2_absent: tier("l2", "absent"),
            l2_error: tier("l2", "error"),
            fill_ok: counter!(FILLS, "outcome" => "ok"),
            fill_error: counter!(FILLS, "outcome" => "error"),
            fill_dropped: counter!(FILLS, "outcome" => "queue_full"),
            begun: counter!(BEGUN, "outcome" => "queued"),
            begun_dropped: counter!(BEGUN, "outcome" => "queue_full"),
            news_gaps: counter!(NEWS_GAPS),
            store_hit: tier("store", "hit"),
            store_absent: tier("store", "absent"),
            store_error: tier("store", "error"),
            store_read: histogram!(STORE_READ_SECONDS),
            stale_age: histogram!(ANSWER_AGE_SECONDS),
            flights_joined: counter!(FLIGHTS_JOINED),
            refresh_queued: counter!(REFRESHES, "outcome" => "queued"),
            refresh_dropped: counter!(REFRESHES, "outcome" => "queue_full"),
            l1_entries: gauge!(L1_ENTRIES),
            l1_bytes: gauge!(L1_BYTES),
            invalidations: counter!(INVALIDATIONS),
            budget_granted: counter!(BUDGET_TAKES, "outcome" => "granted"),
            budget_refused: counter!(BUDGET_TAKES, "outcome" => "used_up"),
            budget_unknown: counter!(BUDGET_TAKES, "outcome" => "unknown"),
            takedowns: gauge!(TAKEDOWNS),
            takedown_poll_ok: counter!(TAKEDOWN_POLLS, "outcome" => "ok"),
            takedown_poll_failed: counter!(TAKEDOWN_POLLS, "outcome" => "error"),
        }
    }

    pub(crate) fn answered(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Redirect(_) => &self.redirect,
            Answer::Withheld(_) => &self.withheld,
            Answer::Found(_) => &self.found,
            Answer::NotFound => &self.not_found,
            Answer::Gone => &self.gone,
            Answer::Blocked { .. } => &self.blocked,
        };
        counter.increment(1);
    }
}
