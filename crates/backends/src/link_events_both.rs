//! News of changed links over two ways at once: a fast one that may lose some, and a durable one that is slower.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::port::{LinkChanged, LinkEvents, Listener, PortResult};

/// An event is published when one of the two has it. Listeners hear it of each, so usually twice.
pub struct LinkEventsBoth {
    fast: Way,
    durable: Way,
}

struct Way {
    name: &'static str,
    events: Arc<dyn LinkEvents>,
    down: AtomicBool,
}

impl Way {
    fn new(name: &'static str, events: Arc<dyn LinkEvents>) -> Self {
        Self { name, events, down: AtomicBool::new(false) }
    }

    async fn publish(&self, event: LinkChanged) -> PortResult<()> {
        let published = self.events.publish(event).await;
        let was_down = self.down.swap(published.is_err(), Ordering::Relaxed);
        match &published {
            Err(error) if !was_down => {
                let source = error.source.as_deref().map(tracing::field::display);
                tracing::warn!(way = self.name, %error, source, "link events fail on one way; they go the other");
            }
            Ok(()) if was_down => tracing::info!(way = self.name, "link events go both ways again"),
            _ => {}
        }
        published
    }
}

impl LinkEventsBoth {
    pub fn new(fast: Arc<dyn LinkEvents>, durable: Arc<dyn LinkEvents>) -> Self {
        Self { fast: Way::new("fast", fast), durable: Way::new("durable", durable) }
    }
}

#[async_trait]
impl LinkEvents for LinkEventsBoth {
    async fn publish(&self, event: LinkChanged) -> PortResult<()> {
        let (fast, durable) = tokio::join!(self.fast.publish(event.clone()), self.durable.publish(event));
        fast.or(durable)
    }

    fn subscribe(&self, listener: Listener) {
        self.fast.events.subscribe(listener.clone());
        self.durable.events.subscribe(listener);
    }

    fn are_certain(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use domain::port::{LinkNews, Outcome, PortError, PortErrorKind};
    use domain::{DomainNo, LinkId};

    use super::*;
    use crate::memory;

    struct Broken;

    #[async_trait]
    impl LinkEvents for Broken {
        async fn publish(&self, _event: LinkChanged) -> PortResult<()> {
            Err(PortError::new(PortErrorKind::Unavailable, "broken", Outcome::Unknown))
        }

        fn subscribe(&self, _listener: Listener) {}

        fn are_certain(&self) -> bool {
            true
        }
    }

    /// How often a listener hears one event, and whether it was published.
    async fn heard(fast: Arc<dyn LinkEvents>, durable: Arc<dyn LinkEvents>) -> (usize, bool) {
        let both = LinkEventsBoth::new(fast, durable);
        assert!(!both.are_certain());
        let heard = Arc::new(Mutex::new(0));
        let counted = heard.clone();
        both.subscribe(Arc::new(move |news: &LinkNews| {
            assert!(matches!(news, LinkNews::Changed(_)));
            *counted.lock().unwrap() += 1;
        }));
        let event = LinkChanged { link: LinkId::new(1), domain: DomainNo::DEFAULT, key: "abc".into(), version: 2, blocked: false };
        let published = both.publish(event).await.is_ok();
        let heard = *heard.lock().unwrap();
        (heard, published)
    }

    #[tokio::test]
    async fn an_event_goes_both_ways_and_one_is_enough() {
        let good = || -> Arc<dyn LinkEvents> { Arc::new(memory::LinkEvents::alone()) };
        assert_eq!(heard(good(), good()).await, (2, true));
        assert_eq!(heard(Arc::new(Broken), good()).await, (1, true));
        assert_eq!(heard(good(), Arc::new(Broken)).await, (1, true));
        assert_eq!(heard(Arc::new(Broken), Arc::new(Broken)).await, (0, false));
    }
}
