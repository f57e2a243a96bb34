//! Clicks and link events over a real Kafka.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod consumer;
mod contracts;
mod exactness;
mod link_events;
mod producer;
mod topics;
mod world;
