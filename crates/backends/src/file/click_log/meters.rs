//! The handles of the log's metrics, kept so that counting is one addition.

use std::time::Duration;

use domain::port::Dropped;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::metrics::{
    CLICK_LOG_BYTES, CLICK_LOG_SYNC_FAILURES, CLICK_LOG_SYNC_SECONDS, CLICKS_DROPPED, CLICKS_RECORDED, CLICKS_UNREADABLE,
};

pub(super) struct Meters {
    recorded: Counter,
    buffer_full: Counter,
    disk_full: Counter,
    failed: Counter,
    unreadable: Counter,
    bytes: Gauge,
    sync_seconds: Histogram,
    sync_failures: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let dropped = |reason: Dropped| counter!(CLICKS_DROPPED, "reason" => reason.as_str());
        Self {
            recorded: counter!(CLICKS_RECORDED),
            buffer_full: dropped(Dropped::BufferFull),
            disk_full: dropped(Dropped::DiskFull),
            failed: dropped(Dropped::Failed),
            unreadable: counter!(CLICKS_UNREADABLE),
            bytes: gauge!(CLICK_LOG_BYTES),
            sync_seconds: histogram!(CLICK_LOG_SYNC_SECONDS),
            sync_failures: counter!(CLICK_LOG_SYNC_FAILURES),
        }
    }

    pub(super) fn recorded(&self) {
        self.recorded.increment(1);
    }

    pub(super) fn dropped(&self, reason: Dropped) {
        match reason {
            Dropped::BufferFull => self.buffer_full.increment(1),
            Dropped::DiskFull => self.disk_full.increment(1),
            Dropped::Failed => self.failed.increment(1),
        }
    }

    pub(super) fn unreadable(&self, count: u64) {
        self.unreadable.increment(count);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; petabytes are exact")]
    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.set(bytes as f64);
    }

    pub(super) fn sync_took(&self, time: Duration) {
        self.sync_seconds.record(time.as_secs_f64());
    }

    pub(super) fn sync_failed(&self) {
        self.sync_failures.increment(1);
    }
}
