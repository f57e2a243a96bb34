//! What `proto/terse/v1/click.proto` compiles to.

#![allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/terse.v1.rs"));
