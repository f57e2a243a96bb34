//! Failures of Kafka as failures of a port.

use domain::port::{Outcome, PortError, PortErrorKind};
use rdkafka::error::KafkaError;

/// Nothing was changed.
pub(super) fn unread(op: &'static str) -> impl Fn(KafkaError) -> PortError {
    move |source| PortError::new(PortErrorKind::Unavailable, op, Outcome::NotApplied).with_source(source)
}

/// It may have been changed.
pub(super) fn unsure(op: &'static str) -> impl Fn(KafkaError) -> PortError {
    move |source| PortError::new(PortErrorKind::Unavailable, op, Outcome::Unknown).with_source(source)
}

/// A failure that Kafka did not name.
pub(super) fn failed(op: &'static str, outcome: Outcome, why: impl Into<String>) -> PortError {
    PortError::new(PortErrorKind::Unavailable, op, outcome).with_source(why.into())
}

/// A task of ours that panicked or was cut off.
pub(super) fn cut_off(op: &'static str) -> impl Fn(tokio::task::JoinError) -> PortError {
    move |source| PortError::new(PortErrorKind::Unavailable, op, Outcome::Unknown).with_source(source)
}
