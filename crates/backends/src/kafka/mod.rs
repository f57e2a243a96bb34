//! Kafka: the log of clicks between services, and the durable news of changed links.
//!
//! `click_log.rs` produces clicks behind `ring.rs`; `click_feed.rs` shares the partitions among the consumers of a
//! group and `click_source.rs` reads one; `link_events.rs` is the compacted topic of changed links; `topics.rs` makes
//! and judges the topics. `native.rs` is the only place with `unsafe`: what librdkafka offers and its wrapper does not.

mod click_feed;
mod click_log;
mod click_source;
mod client;
mod delivery;
mod error;
mod hot;
mod link_events;
mod look;
mod native;
mod ring;
mod topics;
mod url;

pub use click_feed::{ClickFeed, Options as ClickFeedOptions};
pub use click_log::{ClickLog, Options as ClickLogOptions};
pub use click_source::KafkaClickSource;
pub use delivery::Counts as ClickCounts;
pub use link_events::{LinkEvents, Options as LinkEventsOptions};
pub use look::{Look, look};
pub use topics::{Fault, Options as TopicOptions, Step, inspect, migrate, plan};
pub use url::{GroupProtocol, Url, UrlError};
