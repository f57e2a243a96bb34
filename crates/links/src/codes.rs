//! Where codes come from: local blocks of leased counters, or one of the other strategies.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chassis::{Lifecycle, OnError, Stage};
use domain::api::{Deadline, Ids};
use domain::code::{BlockCodes, encode_base62_u64};
use domain::permutation::Permutation64;
use domain::port::Entropy;
use domain::{Code, DomainNo, Error, LinkId, Owner, Reason, Result, Strategy, Target};
use sha2::{Digest, Sha256};

use crate::metrics;

/// Blocks held at most: one in use, one ready.
const BLOCKS_MAX: usize = 2;

/// Local blocks of counters, refilled when half is left.
pub(crate) struct CodePool {
    ids: Arc<dyn Ids>,
    block_len: u32,
    blocks: Mutex<VecDeque<BlockCodes>>,
    refilling: AtomicBool,
    empty: tokio::sync::Mutex<()>,
    life: Lifecycle,
}

impl CodePool {
    pub(crate) fn new(ids: Arc<dyn Ids>, block_len: u32, life: Lifecycle) -> Self {
        Self {
            ids,
            block_len,
            blocks: Mutex::new(VecDeque::new()),
            refilling: AtomicBool::new(false),
            empty: tokio::sync::Mutex::new(()),
            life,
        }
    }

    /// `count` codes; waits for a lease only when all blocks are used up.
    pub(crate) async fn take(self: &Arc<Self>, count: usize, deadline: Deadline) -> Result<Vec<Code>> {
        let mut codes = Vec::with_capacity(count);
        loop {
            let left = self.take_ready(count, &mut codes);
            if left <= u64::from(self.block_len) / 2 {
                self.refill_in_background(deadline);
            }
            if codes.len() == count {
                return Ok(codes);
            }
            let _one_at_a_time = self.empty.lock().await;
            if self.is_empty() {
                let block = self.ids.lease_codes(self.block_len, deadline).await?;
                self.blocks().push_back(BlockCodes::new(&block));
            }
        }
    }

    fn take_ready(&self, count: usize, codes: &mut Vec<Code>) -> u64 {
        let mut blocks = self.blocks();
        while codes.len() < count {
            let Some(block) = blocks.front_mut() else { break };
            match block.next() {
                Some(code) => codes.push(code),
                None => drop(blocks.pop_front()),
            }
        }
        let left = blocks.iter().map(BlockCodes::counters_left).sum();
        ::metrics::gauge!(metrics::CODES_LEFT).set(u32::try_from(left).map_or(f64::MAX, f64::from));
        left
    }

    fn is_empty(&self) -> bool {
        self.blocks().iter().all(|block| block.counters_left() == 0)
    }

    fn blocks(&self) -> std::sync::MutexGuard<'_, VecDeque<BlockCodes>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refill_in_background(self: &Arc<Self>, deadline: Deadline) {
        if self.blocks().len() >= BLOCKS_MAX || self.refilling.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = self.clone();
        self.life.spawn("refill codes", Stage::Background, OnError::Log, async move {
            let leased = pool.ids.lease_codes(pool.block_len, deadline).await;
            if let Ok(block) = &leased {
                pool.blocks().push_back(BlockCodes::new(block));
            }
            pool.refilling.store(false, Ordering::Release);
            leased.map(|_| ())
        });
    }
}

/// What a `hash` code is made of.
pub(crate) struct Hashed<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) domain: DomainNo,
    pub(crate) target: &'a Target,
    pub(crate) length: u8,
}

/// Makes the codes of the strategies that need no lease.
pub(crate) struct CodeMaker {
    key: [u8; 16],
    snowflake: Permutation64,
    entropy: Arc<dyn Entropy>,
}

impl CodeMaker {
    pub(crate) fn new(key: [u8; 16], entropy: Arc<dyn Entropy>) -> Self {
        Self { key, snowflake: Permutation64::new(key, 0), entropy }
    }

    /// Eleven characters that hide the id's time.
    pub(crate) fn snowflake(&self, id: LinkId) -> Result<Code> {
        foreign(&encode_base62_u64(self.snowflake.encode(id.get())))
    }

    pub(crate) fn random(&self, length: u8) -> Result<Code> {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        foreign(&base62_of(&bytes, length))
    }

    /// The `candidate`-th code of a target: the same for the same owner, domain and target.
    pub(crate) fn hash(&self, of: &Hashed<'_>, candidate: u32) -> Result<Code> {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(u64::try_from(of.owner.as_str().len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(of.owner.as_str());
        hash.update(of.domain.get().to_le_bytes());
        hash.update(candidate.to_le_bytes());
        hash.update(of.target.as_str());
        foreign(&base62_of(&hash.finalize().into(), of.length))
    }
}

/// A word that happens to be reserved is as good as a collision: the caller tries the next one.
fn foreign(text: &str) -> Result<Code> {
    Code::parse_foreign(text).map_err(|error| Error::new(Reason::AliasReserved, error.to_string()))
}

fn base62_of(bytes: &[u8; 32], length: u8) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (low, high) = bytes.split_at(16);
    let mut words = [low, high].map(|half| u128::from_le_bytes(half.try_into().unwrap_or_default()));
    (0..usize::from(length))
        .map(|i| {
            let word = &mut words[i % 2];
            let digit = usize::try_from(*word % 62).unwrap_or_default();
            *word /= 62;
            char::from(ALPHABET[digit])
        })
        .collect()
}

/// What a strategy takes when the length is not said.
pub(crate) fn default_length(strategy: Strategy, configured: u8) -> u8 {
    match strategy {
        Strategy::Hash | Strategy::Random => configured,
        Strategy::Leased | Strategy::Counter | Strategy::Snowflake => 0,
    }
}
