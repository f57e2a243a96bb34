//! News of changed links within one process: listeners are called before `publish` returns.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use domain::port::{LinkChanged, LinkEvents as Port, LinkNews, Listener, PortResult};

pub struct LinkEvents {
    listeners: ArcSwap<Vec<Listener>>,
    certain: bool,
}

impl LinkEvents {
    /// For the only process that changes links in its store.
    pub fn alone() -> Self {
        Self { listeners: ArcSwap::default(), certain: true }
    }

    /// For a process whose store others may change unheard.
    pub fn among_others() -> Self {
        Self { listeners: ArcSwap::default(), certain: false }
    }
}

#[async_trait]
impl Port for LinkEvents {
    async fn publish(&self, event: LinkChanged) -> PortResult<()> {
        let news = LinkNews::Changed(event);
        for listener in self.listeners.load().iter() {
            listener(&news);
        }
        Ok(())
    }

    fn subscribe(&self, listener: Listener) {
        self.listeners.rcu(|listeners| {
            let mut listeners = Vec::clone(listeners);
            listeners.push(Arc::clone(&listener));
            listeners
        });
    }

    fn are_certain(&self) -> bool {
        self.certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passes_the_contract() {
        domain::port::contract::link_events::each_listener_hears_each_later_event(Arc::new(LinkEvents::alone())).await;
    }
}
