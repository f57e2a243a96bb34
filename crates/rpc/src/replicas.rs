//! Calls spread over the replicas of a service: the least busy one, those that can be connected first.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::api::Deadline;
use domain::{Error, Reason, Result};
use prost::Message;
use tokio::sync::watch;

use crate::call::Frame;
use crate::channel::{Channel, Connector};
use crate::method::{MessageLimits, Method};
use crate::{metrics, status};

/// An address that could not be connected is left alone for this long while there are others.
const SHUNNED_FOR: Duration = Duration::from_secs(1);

/// All replicas of one service. Cheap to clone.
#[derive(Clone)]
pub struct Replicas(Arc<Inner>);

struct Inner {
    addresses: watch::Receiver<Arc<[SocketAddr]>>,
    connector: Connector,
    channels: Mutex<Channels>,
    /// Where the next call begins to look, so that equals take turns.
    turn: AtomicUsize,
}

#[derive(Default)]
struct Channels {
    made_for: Arc<[SocketAddr]>,
    channels: Arc<[Channel]>,
}

impl Replicas {
    /// `addresses`: those there are, as they change (see [`crate::endpoints`]).
    pub fn new(addresses: watch::Receiver<Arc<[SocketAddr]>>, connector: Connector) -> Self {
        Self(Arc::new(Inner { addresses, connector, channels: Mutex::default(), turn: AtomicUsize::new(0) }))
    }

    /// One replica at an address that does not change.
    pub fn one(address: SocketAddr, connector: Connector) -> Self {
        let (_, addresses) = watch::channel(Arc::from([address]));
        Self::new(addresses, connector)
    }

    /// Sends to one replica, and to another only if the first provably never got it.
    pub(crate) async fn call<T: Message + Default>(
        &self,
        method: &'static Method,
        limits: MessageLimits,
        message: &impl Message,
        deadline: Deadline,
    ) -> Result<T> {
        let begun = Instant::now();
        let outcome = self.send(method, limits, message, deadline).await;
        metrics::called(method, outcome.as_ref().map_or_else(status::code, |_| tonic::Code::Ok), begun.elapsed());
        outcome
    }

    async fn send<T: Message + Default>(
        &self,
        method: &'static Method,
        limits: MessageLimits,
        message: &impl Message,
        deadline: Deadline,
    ) -> Result<T> {
        let frame = Frame::encode(message, limits)?;
        let first = self.pick(None).ok_or_else(nobody)?;
        let error = match first.call(method, limits, &frame, deadline).await {
            Err(error) if error.was_never_sent() && error.reason() == Reason::Unavailable => error,
            outcome => return outcome,
        };
        let Some(second) = self.pick(Some(first.address())) else { return Err(error) };
        metrics::retried(method);
        second.call(method, limits, &frame, deadline).await
    }

    fn pick(&self, but: Option<SocketAddr>) -> Option<Channel> {
        let channels = self.channels();
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed) % channels.len().max(1);
        let in_turn = channels[turn..].iter().chain(&channels[..turn]);
        let allowed = in_turn.filter(|channel| Some(channel.address()) != but);
        allowed.min_by_key(|channel| (channel.failed_within(SHUNNED_FOR), channel.in_flight())).cloned()
    }

    /// One channel for each address there is now; those of addresses that stay are kept.
    fn channels(&self) -> Arc<[Channel]> {
        let inner = &self.0;
        let mut state = inner.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = inner.addresses.borrow();
        if !Arc::ptr_eq(&addresses, &state.made_for) {
            let old: HashMap<_, _> = state.channels.iter().map(|channel| (channel.address(), channel)).collect();
            let made =
                addresses.iter().map(|address| old.get(address).map_or_else(|| inner.connector.channel(*address), |&old| old.clone()));
            let made = made.collect();
            drop(old);
            *state = Channels { made_for: addresses.clone(), channels: made };
        }
        state.channels.clone()
    }
}

fn nobody() -> Error {
    Error::new(Reason::Unavailable, "a service has no address yet; try again").with_retry_after(Duration::from_secs(1)).with_never_sent()
}
