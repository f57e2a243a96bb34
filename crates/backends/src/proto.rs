//! What the records in `proto/terse/v1` compile to: clicks and changed links.

#![allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/terse.v1.rs"));
