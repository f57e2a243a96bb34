//! API keys: their text, their hash, and who a request comes from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::port::{Entropy, KeyStore};
use domain::{ApiKey, KeyHash, KeyId, Reason, UnixMs};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;

const PREFIX: &str = "tk_";
/// `62^43 > 2^256`.
const SECRET_LEN: usize = 43;
/// `62^6 > 2^32`.
const CHECKSUM_LEN: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How long a key that was found is believed: a revocation at another gateway takes effect within this.
const BELIEVED: Duration = Duration::from_secs(5);
/// Keys remembered at once; more are looked up each time.
const CACHED_MAX: usize = 4_096;

/// A new key: its text, shown once, and its hash, all that is kept. The text is `tk_`, 256 random
/// bits and a checksum, so that scanners can tell a leaked key from noise without asking us.
pub fn generate_key(entropy: &dyn Entropy) -> (String, KeyHash) {
    let mut secret = [0; 32];
    entropy.fill(&mut secret);
    let secret = base62(&secret, SECRET_LEN);
    let text = format!("{PREFIX}{secret}{}", checksum(&secret));
    let hash = hash_key(&text);
    (text, hash)
}

/// What is stored of a key. A fast hash will do: nobody guesses 256 random bits.
pub fn hash_key(text: &str) -> KeyHash {
    KeyHash(Sha256::digest(text.as_bytes()).into())
}

/// Whether `text` could be one of our keys; no store needs to be asked otherwise.
pub fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let alphanumeric = rest.len() == SECRET_LEN + CHECKSUM_LEN && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    alphanumeric && {
        let (secret, sum) = rest.split_at(SECRET_LEN);
        checksum(secret) == sum
    }
}

fn checksum(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    base62(&digest[..4], CHECKSUM_LEN)
}

/// Big-endian bytes as exactly `length` Base62 digits.
fn base62(bytes: &[u8], length: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; length];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in &mut number {
            let value = (rest << 8) | u16::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = ALPHABET[usize::from(rest)];
    }
    String::from_utf8(digits).unwrap_or_default()
}

/// Finds keys by what a request presents, and remembers them for a few seconds.
pub(crate) struct Authenticator {
    keys: Arc<dyn KeyStore>,
    believed: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    keys: HashMap<KeyHash, Believed>,
    /// Counts revocations, so that a look-up begun before one is not remembered after it.
    revocations: u64,
}

struct Believed {
    key: Arc<ApiKey>,
    until: Instant,
}

impl Authenticator {
    pub(crate) fn new(keys: Arc<dyn KeyStore>) -> Self {
        Self { keys, believed: Mutex::default() }
    }

    /// # Errors
    /// `unauthenticated` when there is no valid key; `unavailable` when that cannot be found out.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap, now: UnixMs) -> Result<Arc<ApiKey>, Problem> {
        let text = bearer(headers)?;
        if !is_well_formed(text) {
            return Err(refused());
        }
        let hash = hash_key(text);
        let key = match self.believed(&hash) {
            Some(key) => key,
            None => self.look_up(&hash).await?.ok_or_else(refused)?,
        };
        if !key.is_valid_at(now) {
            return Err(refused());
        }
        Ok(key)
    }

    /// A key revoked through this gateway is refused from now on.
    pub(crate) fn forget(&self, id: KeyId) {
        let mut cache = self.lock();
        cache.revocations += 1;
        cache.keys.retain(|_, believed| believed.key.id != id);
    }

    async fn look_up(&self, hash: &KeyHash) -> Result<Option<Arc<ApiKey>>, Problem> {
        let asked = Instant::now();
        let revocations = self.lock().revocations;
        let found = self.keys.find(hash).await?;
        // The store compares however it likes; what decides takes the same time for every byte.
        let found = found.filter(|key| bool::from(key.hash.0.ct_eq(&hash.0))).map(Arc::new);
        if let Some(key) = &found {
            let mut cache = self.lock();
            if cache.keys.len() >= CACHED_MAX {
                cache.keys.retain(|_, entry| entry.until > asked);
            }
            if cache.keys.len() < CACHED_MAX && cache.revocations == revocations {
                cache.keys.insert(*hash, Believed { key: key.clone(), until: asked + BELIEVED });
            }
        }
        Ok(found)
    }

    fn believed(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        let cache = self.lock();
        let entry = cache.keys.get(hash)?;
        (entry.until > Instant::now()).then(|| entry.key.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused() -> Problem {
    Problem::new(Reason::Unauthenticated, "the API key is unknown, expired or revoked").with_challenge("Bearer error=\"invalid_token\"")
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let missing = || Problem::new(Reason::Unauthenticated, "send `Authorization: Bearer tk_…`");
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Problem::new(Reason::Unauthenticated, "one Authorization header, not several"));
    }
    let value = value.to_str().map_err(|_| refused())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    Ok(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_key_is_recognised_and_a_changed_one_is_not() {
        for seed in [0, 1, 127, 255] {
            let (text, hash) = generate_key(&Fixed(seed));
            assert_eq!(text.len(), PREFIX.len() + SECRET_LEN + CHECKSUM_LEN);
            assert!(is_well_formed(&text), "{seed}");
            assert_eq!(hash_key(&text), hash);
            for i in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[i] = if changed[i] == b'x' { b'y' } else { b'x' };
                assert!(!is_well_formed(std::str::from_utf8(&changed).unwrap()), "byte {i} of seed {seed}");
            }
        }
    }

    #[test]
    fn base62_keeps_every_bit() {
        assert_eq!(base62(&[0, 0, 0, 61], 2), "0z");
        assert_eq!(base62(&[0, 0, 0, 62], 2), "10");
        assert_eq!(base62(&[0xff; 4], 6), "4gfFC3");
        assert_ne!(base62(&[0xff; 32], SECRET_LEN), base62(&[0xfe; 32], SECRET_LEN));
    }

    #[test]
    fn the_header_has_one_form() {
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(str::to_owned).map_err(|problem| problem.reason())
        };
        assert_eq!(with(&["Bearer abc"]), Ok("abc".into()));
        assert_eq!(with(&["bearer abc"]), Ok("abc".into()));
        for wrong in [&[][..], &["abc"], &["Basic abc"], &["Bearer a", "Bearer b"]] {
            assert_eq!(with(wrong), Err(Reason::Unauthenticated), "{wrong:?}");
        }
    }
}
