#![allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/clicks.rs"]
mod clicks;
#[path = "../it/transfer.rs"]
mod transfer;
