//! What every client of ours is configured with, and how it is heard of in the log: at a change of state only.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::url::Url;

/// Without a single default of the driver where it matters how long something takes.
pub(super) fn config(url: &Url) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &url.brokers)
        .set("client.id", "terse")
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("retry.backoff.ms", "100")
        .set("retry.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("metadata.max.age.ms", "90000")
        // A new topic, or one that was made again, is noticed within this time.
        .set("topic.metadata.refresh.fast.interval.ms", "250")
        .set("allow.auto.create.topics", "false")
        .set("statistics.interval.ms", "0")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Warning);
    if let Some((user, password)) = &url.login {
        config
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", user)
            .set("sasl.password", password);
    }
    config
}

/// The driver's own words are for whoever debugs it; what matters is said by [`Health`].
pub(super) fn log_driver(fac: &str, message: &str) {
    tracing::debug!(facility = fac, "librdkafka: {message}");
}

/// For clients that are only asked.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, message: &str) {
        log_driver(fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_driver(&error.to_string(), reason);
    }
}

/// Whether something works, said once at each change.
pub(super) struct Health {
    what: &'static str,
    down: AtomicBool,
}

impl Health {
    /// `what` goes on with "works again" or "fails".
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, down: AtomicBool::new(false) }
    }

    pub(super) fn works(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            tracing::info!("{} works again", self.what);
        }
    }

    pub(super) fn fails(&self, error: &dyn std::fmt::Display) {
        if !self.down.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "{} fails; this is said once until it works again", self.what);
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }
}
