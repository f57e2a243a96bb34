//! Browser, system, device and bot from a user agent, remembered so that a repeated one costs a look-up.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use domain::Agent;
use quick_cache::sync::Cache;

use super::agent_rules;

/// Bytes of a user agent that are looked at: bounds the work that a hostile one can cause.
const AGENT_LEN_MAX: usize = 512;

pub(crate) struct Agents {
    /// By keyed hash, so that outsiders cannot make two user agents pass for each other.
    known: Cache<u64, Arc<Agent>>,
    hasher: RandomState,
}

impl Agents {
    pub(crate) fn new(len_max: usize) -> Self {
        Self { known: Cache::new(len_max), hasher: RandomState::new() }
    }

    /// Allocates nothing for a user agent seen before.
    pub(crate) fn classify(&self, user_agent: &str) -> Arc<Agent> {
        let text = &user_agent[..user_agent.floor_char_boundary(AGENT_LEN_MAX)];
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.known.get(&hash) {
            return known;
        }
        let agent = Arc::new(agent_rules::classify(text));
        self.known.insert(hash, agent.clone());
        agent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_agent_is_the_same_allocation() {
        let agents = Agents::new(8);
        let first = agents.classify("curl/8.5.0");
        assert!(Arc::ptr_eq(&first, &agents.classify("curl/8.5.0")));
    }

    #[test]
    fn long_agents_are_cut_between_characters() {
        let agents = Agents::new(8);
        let long = "ü".repeat(10_000);
        assert!(agents.classify(&long).bot.is_none());
    }
}
