//! Plain files.

pub mod lock;
