//! What `proto/terse/v1` compiles to.

#![allow(clippy::all, clippy::pedantic, clippy::restriction, unreachable_pub, missing_docs, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/terse.v1.rs"));

/// All files, the click record included, as reflection serves them.
pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/terse.v1.bin"));
