//! Where the replicas of another service are: addresses as they are given, names asked of DNS again and
//! again. When DNS does not answer, the last answer stays in use.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::lifecycle::{Lifecycle, OnError, Stage};
use tokio::sync::watch;

use crate::metrics;

/// How often names are asked for.
pub const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);
/// How long DNS may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
/// Addresses of one service at most; a DNS answer may be anything.
const ADDRESSES_MAX: usize = 1_024;

/// A list of endpoints that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no endpoint: write host:port, several separated by commas, such as 10.0.0.1:7001 or ids.terse.svc:7001")]
pub struct EndpointsError(String);

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Address(SocketAddr),
    Name(String),
}

/// A list of endpoints of one service, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// `host:port[,host:port…]`; a host is a name or an address, IPv6 in brackets.
    ///
    /// # Errors
    /// Names the entry that is wrong.
    pub fn parse(text: &str) -> Result<Self, EndpointsError> {
        text.split(',').map(|entry| endpoint(entry.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Each entry, and the addresses it has now.
    pub async fn addresses(&self) -> Vec<(String, std::io::Result<Vec<SocketAddr>>)> {
        let mut found = Vec::new();
        for endpoint in &self.0 {
            found.push(match endpoint {
                Endpoint::Address(address) => (address.to_string(), Ok(vec![*address])),
                Endpoint::Name(name) => (name.clone(), look_up(name.clone()).await),
            });
        }
        found
    }

    /// Keeps the addresses up to date until `life` drains. The first look-up is awaited, so that callers
    /// begin with addresses if there are any. `list` names the service in logs and metrics.
    pub async fn watch(self, list: &'static str, life: &Lifecycle) -> watch::Receiver<Arc<[SocketAddr]>> {
        self.watch_with(list, life, LOOKUP_INTERVAL, look_up).await
    }

    async fn watch_with<F>(
        self,
        list: &'static str,
        life: &Lifecycle,
        interval: Duration,
        look_up: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> watch::Receiver<Arc<[SocketAddr]>>
    where
        F: Future<Output = std::io::Result<Vec<SocketAddr>>> + Send,
    {
        let fixed = self.0.iter().all(|endpoint| matches!(endpoint, Endpoint::Address(_)));
        let mut names = Names { list, known: self.0.into_iter().map(Known::new).collect() };
        names.refresh(&look_up).await;
        let (sender, receiver) = watch::channel(names.addresses());
        if fixed {
            return receiver;
        }
        let draining = life.draining(Stage::Background);
        life.spawn("endpoints", Stage::Background, OnError::Drain, async move {
            loop {
                tokio::select! {
                    () = draining.cancelled() => break,
                    () = sender.closed() => break,
                    () = tokio::time::sleep(interval) => names.refresh(&look_up).await,
                }
                let addresses = names.addresses();
                sender.send_if_modified(|old| {
                    let changed = **old != *addresses;
                    if changed {
                        tracing::info!(list, addresses = ?addresses, "endpoints changed");
                        *old = addresses;
                    }
                    changed
                });
            }
            Ok::<_, Infallible>(())
        });
        receiver
    }
}

/// An endpoint with the addresses it was last known to have.
struct Known {
    endpoint: Endpoint,
    addresses: Vec<SocketAddr>,
    is_failing: bool,
}

impl Known {
    fn new(endpoint: Endpoint) -> Self {
        let addresses = match &endpoint {
            Endpoint::Address(address) => vec![*address],
            Endpoint::Name(_) => Vec::new(),
        };
        Self { endpoint, addresses, is_failing: false }
    }
}

struct Names {
    list: &'static str,
    known: Vec<Known>,
}

impl Names {
    async fn refresh<F: Future<Output = std::io::Result<Vec<SocketAddr>>>>(&mut self, look_up: &impl Fn(String) -> F) {
        for known in &mut self.known {
            let Endpoint::Name(name) = &known.endpoint else { continue };
            match look_up(name.clone()).await {
                Ok(addresses) if !addresses.is_empty() => {
                    known.addresses = addresses;
                    if std::mem::take(&mut known.is_failing) {
                        tracing::info!(list = self.list, name, "DNS answers again");
                    }
                }
                failed => {
                    metrics::lookup_failed();
                    if !std::mem::replace(&mut known.is_failing, true) {
                        let error = failed.err().map_or_else(|| "no addresses".to_owned(), |error| error.to_string());
                        tracing::warn!(list = self.list, name, error, last = ?known.addresses, "DNS does not answer; the last answer stays in use");
                    }
                }
            }
        }
        metrics::addresses(self.list, self.addresses().len());
    }

    /// Each once, in an order that does not depend on DNS.
    fn addresses(&self) -> Arc<[SocketAddr]> {
        let distinct: BTreeSet<_> = self.known.iter().flat_map(|known| &known.addresses).copied().collect();
        distinct.into_iter().take(ADDRESSES_MAX).collect()
    }
}

async fn look_up(name: String) -> std::io::Result<Vec<SocketAddr>> {
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(name)).await {
        Ok(addresses) => Ok(addresses?.collect()),
        Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "DNS took too long")),
    }
}

fn endpoint(entry: &str) -> Result<Endpoint, EndpointsError> {
    if let Ok(address) = entry.parse::<SocketAddr>() {
        return Ok(Endpoint::Address(address));
    }
    let wrong = || EndpointsError(entry.to_owned());
    let (host, port) = entry.rsplit_once(':').ok_or_else(wrong)?;
    let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    // Digits and dots alone were meant to be an address.
    let mistyped = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !named || mistyped || !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(Endpoint::Name(entry.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    /// What DNS says at the moment; `None`: nothing.
    type Says = Arc<Mutex<Option<Vec<SocketAddr>>>>;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7_001))
    }

    fn dns(says: &Says) -> impl Fn(String) -> std::future::Ready<io::Result<Vec<SocketAddr>>> + Send + Sync + 'static {
        let says = says.clone();
        move |name| {
            assert_eq!(name, "ids.test:7001");
            std::future::ready(says.lock().unwrap().clone().ok_or_else(|| io::Error::other("no answer")))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_dns_are_picked_up_and_its_silence_is_not() {
        let life = Lifecycle::new(Duration::from_secs(5));
        let says: Says = Arc::new(Mutex::new(None));
        let list = Endpoints::parse("ids.test:7001,10.0.0.9:7001").unwrap();
        let mut addresses = list.watch_with("test", &life, LOOKUP_INTERVAL, dns(&says)).await;
        assert_eq!(**addresses.borrow_and_update(), [address(9)], "what is known without DNS");
        for answer in [vec![address(2), address(1)], vec![address(3), address(2)]] {
            *says.lock().unwrap() = Some(answer.clone());
            tokio::time::timeout(LOOKUP_INTERVAL * 2, addresses.changed()).await.unwrap().unwrap();
            let mut expected = [answer, vec![address(9)]].concat();
            expected.sort();
            assert_eq!(**addresses.borrow_and_update(), *expected);
        }
        for silence in [None, Some(Vec::new())] {
            *says.lock().unwrap() = silence;
            assert!(tokio::time::timeout(LOOKUP_INTERVAL * 3, addresses.changed()).await.is_err(), "the last answer stays");
        }
        life.drain_in_order().await;
    }
}
