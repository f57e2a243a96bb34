//! The shapes that others build on, kept as files: answers, pages, help texts, configuration and metrics. A change of any is
//! seen in review as a difference of `snapshots/`. What differs from run to run (ids, codes, times) is masked.
//!
//! When a change is meant: `INSTA_UPDATE=always cargo test -p terse --test shapes`, and look at the difference.

#[path = "../it/client.rs"]
#[allow(dead_code, reason = "of the end-to-end tests, which use all of it")]
mod client;
#[path = "../it/cluster/mod.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "of the end-to-end tests, which use all of it")]
mod cluster;

mod answers;
mod commands;
mod metrics;
mod pages;

/// A host that does not depend on the port that the system chose.
const PUBLIC_URL: &str = "https://go.example.com";
