//! Plain files.

pub mod click_log;
pub mod lock;
pub mod salt_store;
