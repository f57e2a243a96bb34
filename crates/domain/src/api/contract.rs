//! The contract tests of what services offer, by service. Each panics where an implementation breaks
//! its promise; the service itself and its client in another process both pass them.

pub mod ids {
    pub use crate::api::ids::contract::*;
}

pub mod links {
    pub use crate::api::links::contract::*;
}

pub mod resolver {
    pub use crate::api::resolver::contract::*;
}

pub mod stats {
    pub use crate::api::stats::contract::*;
}
