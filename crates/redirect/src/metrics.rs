//! The metrics of the redirect service, with handles kept so that the hot path looks nothing up.

use domain::api::Answer;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

chassis::metrics! {
    /// Requests for a code answered. `redirect`: sent on, and a click; `found`: shown, as on the preview page; `withheld`: of a limited number of clicks,
    /// none is spent on HEAD, prefetches and bots.
    Counter REDIRECTS = "terse_redirects_total" in "requests" by ["result": "redirect|withheld|found|not_found|gone|blocked|unavailable"];
    /// Look-ups of a code in memory (`l1`), in the proof that it was never issued, in the shared cache (`l2`), in the store.
    Counter CACHE_REQUESTS = "terse_cache_requests_total" in "look-ups" by ["tier": "l1|never_issued|l2|store", "outcome": "hit|miss|expired|stale|absent|error"];
    /// Time of one read of the link store.
    Histogram STORE_READ_SECONDS = "terse_redirect_store_read_seconds" in "seconds";
    /// Age, at most, of links served past the staleness bound while the store does not answer.
    Histogram ANSWER_AGE_SECONDS = "terse_redirect_stale_age_seconds" in "seconds";
    /// Requests that waited for a read somebody else had begun.
    Counter FLIGHTS_JOINED = "terse_redirect_flights_joined_total" in "requests";
    /// Early refreshes, by whether they were queued or left to expiry.
    Counter REFRESHES = "terse_redirect_refreshes_total" in "refreshes" by ["outcome": "queued|queue_full"];
    /// Links and absences written into the shared cache.
    Counter FILLS = "terse_redirect_cache_fills_total" in "writes" by ["outcome": "ok|error|queue_full"];
    /// Reads begun for requests about to come, by whether there was room.
    Counter BEGUN = "terse_redirect_begun_total" in "reads" by ["outcome": "queued|queue_full"];
    /// What waits for its turn, by what it is: early refreshes, reads begun for requests about to come, writes into the shared cache.
    Gauge QUEUED = "terse_redirect_queued" in "errands" by ["queue": "refreshes|begun|fills"];
    /// Entries of the in-process cache.
    Gauge L1_ENTRIES = "terse_redirect_l1_entries" in "entries";
    /// Bytes of the in-process cache, overhead included.
    Gauge L1_BYTES = "terse_redirect_l1_bytes" in "bytes";
    /// News of changed links received.
    Counter INVALIDATIONS = "terse_redirect_invalidations_total" in "news";
    /// Times that news of changed links may have been missed, so that memory is read again.
    Counter NEWS_GAPS = "terse_redirect_news_gaps_total" in "gaps";
    /// Requests for clicks of limited links.
    Counter BUDGET_TAKES = "terse_redirect_budget_takes_total" in "requests" by ["outcome": "granted|used_up|unknown"];
    /// Links known to be taken down.
    Gauge TAKEDOWNS = "terse_redirect_takedowns" in "links";
    /// Reads of the list of takedowns.
    Counter TAKEDOWN_POLLS = "terse_redirect_takedown_polls_total" in "reads" by ["outcome": "ok|error"];
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
    pub(crate) queued_refreshes: Gauge,
    pub(crate) queued_begun: Gauge,
    pub(crate) queued_fills: Gauge,
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
            queued_refreshes: gauge!(QUEUED, "queue" => "refreshes"),
            queued_begun: gauge!(QUEUED, "queue" => "begun"),
            queued_fills: gauge!(QUEUED, "queue" => "fills"),
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
