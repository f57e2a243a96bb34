//! The public port, over real sockets.

mod client;
mod drain;
mod hostile;
mod limits;
mod pages;
mod plain;
mod protocols;
mod redirects;
mod world;
