//! The services across processes: for each contract of `domain::api` its messages, the server that answers
//! for a service here, and the client that is the service there.
//! It deliberately knows no service and no store, and decides nothing: what is local and what is remote is
//! decided where all is wired together.
//! Read `ids.rs` first, the smallest contract; then `call.rs` and `channel.rs` for what a call is, `status.rs`
//! for failures, and `resolver/` for the one call that must be fast.

mod answer;
mod call;
pub mod channel;
mod clock;
pub mod endpoints;
mod ids;
mod links;
mod look;
mod method;
mod metrics;
mod proto;
mod reflection;
mod replicas;
mod resolver;
mod routes;
pub mod server;
mod stats;
mod status;
mod timeout;
mod tls;
mod traced;

pub use channel::{Channel, Connector};
pub use endpoints::Endpoints;
pub use ids::Client as IdsClient;
pub use links::Client as LinksClient;
pub use look::{Answer, SERVICES};
pub use metrics::METRICS;
pub use replicas::Replicas;
pub use resolver::{Client as ResolverClient, Options as ResolverOptions};
pub use server::{Server, Services};
pub use stats::Client as StatsClient;
pub use tls::{ClientTls, ServerTls};
