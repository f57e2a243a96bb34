//! The service over ports in memory: what it promises while everything works, and while it does not.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod allocation;
mod budget;
mod faults;
mod freshness;
mod proof;
mod shared;
mod shelf;
mod single;
mod world;

use domain::api::contract::resolver::all;

#[tokio::test]
async fn contract() {
    let world = world::World::new().await;
    all(&*world).await;
}
