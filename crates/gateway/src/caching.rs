//! What caches may do with a redirect: never longer than until the link's next change.

use domain::{Caching, UnixMs};
use http::header::{CACHE_CONTROL, HeaderMap};
use http::{HeaderName, HeaderValue};

/// RFC 9213: read by shared caches only, which then ignore `Cache-Control`.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Seconds that a cache may keep an answer, and serve it beyond that while it asks again.
struct Mode {
    browser_s: u64,
    shared_s: u64,
    stale_s: u64,
    control: HeaderValue,
    cdn: HeaderValue,
}

const BALANCED: Mode = Mode {
    browser_s: 0,
    shared_s: 300,
    stale_s: 60,
    control: HeaderValue::from_static("public, max-age=0, s-maxage=300, stale-while-revalidate=60"),
    cdn: HeaderValue::from_static("public, max-age=300, stale-while-revalidate=60, stale-if-error=3600"),
};

const FAST: Mode = Mode {
    browser_s: 60,
    shared_s: 3_600,
    stale_s: 300,
    control: HeaderValue::from_static("public, max-age=60, s-maxage=3600, stale-while-revalidate=300"),
    cdn: HeaderValue::from_static("public, max-age=3600, stale-while-revalidate=300, stale-if-error=3600"),
};

/// How long the answer stays true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Changed,
    Seconds(u64),
}

impl Until {
    pub(crate) fn expiry(expires_at: Option<UnixMs>, now: impl FnOnce() -> UnixMs) -> Self {
        expires_at.map_or(Self::Changed, |at| Self::Seconds(at.since(now()).as_secs()))
    }
}

/// Sets the caching headers of a redirect.
pub(crate) fn apply(headers: &mut HeaderMap, (control, cdn): (HeaderValue, Option<HeaderValue>)) {
    headers.insert(CACHE_CONTROL, control);
    if let Some(cdn) = cdn {
        headers.insert(CDN_CACHE_CONTROL, cdn);
    }
}

/// `Cache-Control` and `CDN-Cache-Control` of a redirect.
pub(crate) fn values(caching: Caching, until: Until) -> (HeaderValue, Option<HeaderValue>) {
    let mode = match caching {
        Caching::Exact => return (HeaderValue::from_static("private, no-store"), None),
        Caching::Balanced => &BALANCED,
        Caching::Fast => &FAST,
    };
    let (control, cdn) = match until {
        Until::Seconds(0) => (HeaderValue::from_static("private, no-store"), NO_STORE),
        Until::Seconds(left) if left < mode.shared_s + 3_600 => mode.shortened(left),
        Until::Seconds(_) | Until::Changed => (mode.control.clone(), mode.cdn.clone()),
    };
    (control, Some(cdn))
}

impl Mode {
    /// Fresh and stale time together end before `left` seconds are over.
    fn shortened(&self, left: u64) -> (HeaderValue, HeaderValue) {
        let shared = self.shared_s.min(left);
        let stale = self.stale_s.min(left - shared);
        let browser = self.browser_s.min(left);
        let stale = if stale == 0 { String::new() } else { format!(", stale-while-revalidate={stale}") };
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(NO_STORE);
        (value(format!("public, max-age={browser}, s-maxage={shared}{stale}")), value(format!("public, max-age={shared}{stale}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(caching: Caching, until: Until) -> (String, String) {
        let mut headers = HeaderMap::new();
        apply(&mut headers, values(caching, until));
        let text = |name| headers.get(name).map_or("", |value: &HeaderValue| value.to_str().unwrap()).to_owned();
        (text(CACHE_CONTROL), text(CDN_CACHE_CONTROL))
    }

    #[test]
    fn by_mode_and_time_left() {
        use Caching::{Balanced, Exact, Fast};
        for (caching, until, control, cdn) in [
            (Exact, Until::Changed, "private, no-store", ""),
            (Exact, Until::Seconds(5), "private, no-store", ""),
            (
                Balanced,
                Until::Changed,
                "public, max-age=0, s-maxage=300, stale-while-revalidate=60",
                "public, max-age=300, stale-while-revalidate=60, stale-if-error=3600",
            ),
            (Balanced, Until::Seconds(0), "private, no-store", "no-store"),
            (Balanced, Until::Seconds(10), "public, max-age=0, s-maxage=10", "public, max-age=10"),
            (
                Balanced,
                Until::Seconds(320),
                "public, max-age=0, s-maxage=300, stale-while-revalidate=20",
                "public, max-age=300, stale-while-revalidate=20",
            ),
            (Fast, Until::Seconds(30), "public, max-age=30, s-maxage=30", "public, max-age=30"),
            (
                Fast,
                Until::Seconds(1_000_000),
                "public, max-age=60, s-maxage=3600, stale-while-revalidate=300",
                "public, max-age=3600, stale-while-revalidate=300, stale-if-error=3600",
            ),
        ] {
            assert_eq!(headers(caching, until), (control.into(), cdn.into()), "{caching:?} {until:?}");
        }
    }

    #[test]
    fn no_cache_may_serve_past_the_expiry() {
        for left in 0..9_000 {
            for caching in [Caching::Balanced, Caching::Fast] {
                let (control, cdn) = headers(caching, Until::Seconds(left));
                for directives in [control, cdn] {
                    let number = |name: &str| -> u64 {
                        let value = directives.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
                        value.map_or(0, |digits| digits.parse().unwrap())
                    };
                    let fresh = number("s-maxage").max(number("max-age"));
                    let stale = number("stale-while-revalidate").max(number("stale-if-error"));
                    assert!(fresh + stale <= left, "{directives} with {left} s left");
                }
            }
        }
    }

    #[test]
    fn expiry_is_rounded_down() {
        let until = Until::expiry(Some(UnixMs::new(11_999)), || UnixMs::new(10_000));
        assert_eq!(until, Until::Seconds(1));
        assert_eq!(Until::expiry(Some(UnixMs::new(1)), || UnixMs::new(10_000)), Until::Seconds(0));
        assert_eq!(Until::expiry(None, || unreachable!("nothing to compare")), Until::Changed);
    }
}
