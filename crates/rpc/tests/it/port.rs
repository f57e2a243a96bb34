//! A server on a port of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::Lifecycle;
use domain::api::Deadline;
use rpc::server::Options;
use rpc::{Connector, Replicas, ResolverClient, ResolverOptions, Server, Services, channel};

pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) life: Lifecycle,
}

pub(crate) fn options() -> Options {
    Options::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

impl Port {
    pub(crate) async fn open(services: Services) -> Self {
        Self::with(services, options()).await
    }

    pub(crate) async fn with(services: Services, options: Options) -> Self {
        let life = Lifecycle::new(Duration::from_secs(20));
        let listener = Server::listen(options.listen).unwrap();
        let address = Server::new(options).unwrap().serve(services, listener, &life).await.unwrap();
        Self { address, life }
    }

    pub(crate) fn replicas(&self) -> Replicas {
        Replicas::one(self.address, connector())
    }

    pub(crate) fn resolver(&self, options: ResolverOptions) -> Arc<ResolverClient> {
        Arc::new(ResolverClient::new(connector().channel(self.address), options, &self.life))
    }
}

pub(crate) fn connector() -> Connector {
    Connector::new(channel::Options::default()).unwrap()
}

pub(crate) fn within(budget: Duration) -> Deadline {
    Deadline::after(Instant::now(), budget)
}

pub(crate) fn soon() -> Deadline {
    within(Duration::from_secs(20))
}

/// Waits until `done`, for at most ten seconds.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !done().await {
        assert!(Instant::now() < give_up, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
