//! The bounded ring between the redirect path and the producer: many threads put, one takes, nobody waits.
//!
//! A record takes a run of 64-bit words: one with its length, then its bytes. A thread reserves the run by moving the
//! tail, writes the bytes, and publishes by the length word, last. The taker stops at the first run that is not
//! published yet, and leaves zeros behind: so a length word is zero until its record is whole. All words are atomic,
//! so a mistake here would be a wrong byte and never undefined behaviour.

use std::sync::atomic::{AtomicU64, Ordering};

const WORD: u64 = 8;
/// Marks a length word as published; a record may be empty.
const PUBLISHED: u64 = 1 << 63;

pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// Words reserved and words taken since the beginning. Never wrap: 2^64 words are centuries.
    tail: Padded,
    head: Padded,
}

/// On a cache line of its own: one is moved by recorders, one by the taker.
#[repr(align(128))]
struct Padded(AtomicU64);

impl Ring {
    /// With room for `bytes`, rounded up to a power of two.
    pub(super) fn new(bytes: usize) -> Self {
        let len = bytes.div_ceil(8).next_power_of_two().max(64);
        let words = (0..len).map(|_| AtomicU64::new(0)).collect();
        Self { words, tail: Padded(AtomicU64::new(0)), head: Padded(AtomicU64::new(0)) }
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        let mask = self.words.len() as u64 - 1;
        // The index is below the length, which is a `usize`.
        &self.words[usize::try_from(at & mask).unwrap_or(0)]
    }

    /// Whether there was room.
    pub(super) fn put(&self, record: &[u8]) -> bool {
        let len = record.len() as u64;
        let need = 1 + len.div_ceil(WORD);
        let mut at = self.tail.0.load(Ordering::Relaxed);
        loop {
            // What was taken was zeroed before the head moved: acquire sees the zeros.
            let used = at - self.head.0.load(Ordering::Acquire).min(at);
            if used + need > self.words.len() as u64 {
                return false;
            }
            match self.tail.0.compare_exchange_weak(at, at + need, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => at = other,
            }
        }
        for (place, bytes) in (at + 1..).zip(record.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.word(place).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.word(at).store(PUBLISHED | len, Ordering::Release);
        true
    }

    /// Takes the oldest record into `out` and answers its length; `None` when there is none yet. For one thread only.
    pub(super) fn take(&self, out: &mut [u8]) -> Option<usize> {
        let at = self.head.0.load(Ordering::Relaxed);
        let mark = self.word(at).load(Ordering::Acquire);
        if mark & PUBLISHED == 0 {
            return None;
        }
        let len = mark & !PUBLISHED;
        let need = 1 + len.div_ceil(WORD);
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(out.len());
        for (place, bytes) in (at + 1..at + need).zip(out[..len].chunks_mut(8)) {
            let word = self.word(place).load(Ordering::Relaxed).to_le_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        for place in at..at + need {
            self.word(place).store(0, Ordering::Relaxed);
        }
        self.head.0.store(at + need, Ordering::Release);
        Some(len)
    }

    /// All records that were put before this call lie below the answer.
    pub(super) fn tail(&self) -> u64 {
        self.tail.0.load(Ordering::SeqCst)
    }

    /// All records below it were taken.
    pub(super) fn head(&self) -> u64 {
        self.head.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_back_what_it_took_in_order(steps in proptest::collection::vec(proptest::option::of(0_usize..90), 1..200)) {
            let ring = Ring::new(512);
            let (mut expected, mut next) = (std::collections::VecDeque::new(), 0_u8);
            let mut out = [0; 100];
            for step in steps {
                if let Some(len) = step {
                    let record = vec![next; len];
                    if ring.put(&record) {
                        expected.push_back(record);
                    }
                    next = next.wrapping_add(1);
                } else {
                    let taken = ring.take(&mut out).map(|len| out[..len].to_vec());
                    prop_assert_eq!(taken, expected.pop_front());
                }
            }
            while let Some(record) = expected.pop_front() {
                let len = ring.take(&mut out).unwrap();
                prop_assert_eq!(&out[..len], &record[..]);
            }
            prop_assert_eq!(ring.take(&mut out), None);
            prop_assert_eq!(ring.head(), ring.tail());
        }
    }

    /// Each thread's records come out whole, once and in order, and all that were refused were refused for want of room.
    #[test]
    fn many_threads_put_while_one_takes() {
        const THREADS: u64 = 4;
        const EACH: u64 = 50_000;
        let ring = Ring::new(4096);
        let done = AtomicBool::new(false);
        let (mut taken, mut last) = (0, [0_u64; 4]);
        let kept = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let ring = &ring;
                    scope.spawn(move || {
                        let put = |turn: u64| {
                            let len = usize::try_from(16 + turn % 60).unwrap();
                            let mut record = vec![u8::try_from(turn % 251).unwrap(); len];
                            record[..8].copy_from_slice(&thread.to_le_bytes());
                            record[8..16].copy_from_slice(&turn.to_le_bytes());
                            ring.put(&record)
                        };
                        (1..=EACH).filter(|turn| put(*turn)).count() as u64
                    })
                })
                .collect();
            let taker = scope.spawn(|| {
                let mut out = [0; 128];
                loop {
                    let was_done = done.load(Ordering::SeqCst);
                    let Some(len) = ring.take(&mut out) else {
                        if was_done {
                            break;
                        }
                        std::thread::yield_now();
                        continue;
                    };
                    let number = |at: usize| u64::from_le_bytes(out[at..at + 8].try_into().unwrap());
                    let (thread, turn) = (usize::try_from(number(0)).unwrap(), number(8));
                    assert!(turn > last[thread], "in order and once");
                    assert_eq!(len, usize::try_from(16 + turn % 60).unwrap());
                    assert!(out[16..len].iter().all(|byte| u64::from(*byte) == turn % 251), "whole");
                    last[thread] = turn;
                    taken += 1;
                }
                taken
            });
            let kept: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            done.store(true, Ordering::SeqCst);
            assert_eq!(taker.join().unwrap(), kept);
            kept
        });
        assert!(kept > 0);
    }

    #[test]
    fn a_full_ring_refuses_and_takes_again_after_one_is_gone() {
        let ring = Ring::new(512);
        let room = (0..1000).take_while(|_| ring.put(&[7; 56])).count();
        assert_eq!(room, 8);
        let mut out = [0; 64];
        assert_eq!(ring.take(&mut out), Some(56));
        assert!(ring.put(&[8; 56]));
        assert!(!ring.put(&[9; 56]));
    }
}
