//! The public port, over real sockets.

mod client;
mod drain;
mod hostile;
mod limits;
mod pages;
mod protocols;
mod redirects;
mod world;
