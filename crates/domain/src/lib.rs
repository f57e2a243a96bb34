//! The words of the product: what a link, a code, a click and a domain are, what a service
//! offers (`api`) and what it needs (`port`).
//! It deliberately knows no I/O, no runtime and no wire format; nothing here reads a clock.
//! Read `model/link.rs` first, then `api/links.rs` and `port/link_store.rs`.

pub mod api;
pub mod code;
pub mod error;
pub mod limits;
pub mod model;
pub mod permutation;
pub mod port;
pub mod snowflake;
pub mod target;
pub mod time;
pub mod visitors;

pub use error::{Error, FieldError, Kind, Reason, Result};
pub use model::*;
pub use time::UnixMs;
