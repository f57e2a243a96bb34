//! The stores on a real keyspace: the contracts of the ports, the schema, and what rows may hold.
//! Where the servers are is said by `TERSE_TEST_CQL=host:port`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(clippy::large_futures, reason = "each test opens sessions of its own, once")]

mod admin;
mod contracts;
mod proxy;
mod rows;
mod schema;
mod stats;
mod unclear;
mod world;
