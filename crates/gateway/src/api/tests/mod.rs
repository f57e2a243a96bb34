//! The API through its router, on services in memory.

mod authz;
mod backend;
mod bad_input;
mod calls;
mod history;
mod limits;
mod links;
mod world;
