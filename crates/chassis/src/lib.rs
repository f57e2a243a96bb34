//! What any process needs to be operated: configuration, telemetry, lifecycle, the admin port.
//! It deliberately knows nothing of links, codes or clicks.
//! Read `lifecycle.rs` first.

pub mod admin;
pub mod catalogue;
pub mod check;
pub mod config;
pub mod lifecycle;
pub mod process;
pub mod reload;
mod request_id;
pub mod telemetry;
pub mod trace;

pub use check::{Check, Finding, Status};
pub use lifecycle::{Latch, Lifecycle, OnError, Stage};
pub use reload::Reloaded;
pub use request_id::RequestId;
