use chassis::config::{Environment, Flag, Loaded, Sources, load};

use super::*;

fn with(key: &str, value: &str) -> Result<Loaded<Config>, String> {
    let flags = vec![Flag { key: key.into(), name: format!("--set {key}"), value: value.into() }];
    load(&Sources { flags, ..Sources::default() }).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_are_valid_and_follow_the_data_folder_and_the_port() {
    let loaded: Loaded<Config> = load(&Sources::default()).unwrap();
    let shown = loaded.to_json();
    for (key, value) in [
        ("listen", "127.0.0.1:8080"),
        ("admin_listen", "127.0.0.1:8081"),
        ("public_url", "http://localhost:8080"),
        ("store", "sqlite:./terse-data/terse.db"),
        ("clicks.url", "file:./terse-data/clicks"),
        ("cache", "memory:"),
    ] {
        assert_eq!(shown[key]["value"], value, "{key}");
    }
    let moved = with("data", "/srv/terse").unwrap().to_json();
    assert_eq!(moved["store"]["value"], "sqlite:/srv/terse/terse.db");
    assert_eq!(with("listen", "0.0.0.0:80").unwrap().to_json()["public_url"]["value"], "http://localhost");
    assert!(with("listen", "127.0.0.1:0").unwrap().settings.public_url.is_none());
}

/// Every key with its default: what an operator may rely on. See `tests/shapes` for how to write it anew.
#[test]
fn keys_and_defaults() {
    let loaded: Loaded<Config> = load(&Sources::default()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&loaded.to_json()).unwrap());
}

#[test]
fn wrong_values_say_what_is_expected() {
    for (key, value, words) in [
        ("listen", "8080", "expected ADDRESS:PORT"),
        ("listen", "localhost:99999", "expected ADDRESS:PORT"),
        ("public_url", "go.example.com", "expected http:// or https://"),
        ("public_url", "https://go.example.com/x", "expected http:// or https://"),
        ("public_url", "ftp://go.example.com", "expected http:// or https://"),
        ("store", "mysql://x", "`mysql:` is not a known scheme; known: sqlite:PATH"),
        ("store", "scylla://a,b", "names no keyspace"),
        ("store", "sqlite:", "expected sqlite:PATH"),
        ("cache", "redis://", "host"),
        ("clicks", "kafka://a", "names a topic"),
        ("clicks", "terse-data/clicks", "expected file:FOLDER"),
        ("codes.strategy", "best", "expected one of"),
        ("codes.code_length", "3", "expected a whole number from 7 to 22"),
        ("redirect.staleness_s", "1h", "set 5 to 300"),
        ("clicks.segment_bytes", "1", "set for example 16MiB"),
        ("gateway.trusted_proxies", "10.0.0.0/8,here", "`here` is not a network"),
        ("tls.cert", "a.pem", "a certificate needs its key"),
        ("admin_listen", "127.0.0.1:8080", "the public and the admin port are the same"),
        ("limits.request_per_s", "1", "did you mean `limits.requests_per_s`?"),
        ("redirect.cache_bytes", "1KiB", "set at least 1MiB"),
        ("gateway.referrer_policy", "a\nb", "expected printable ASCII"),
        ("log.level", "loud", "expected one of"),
    ] {
        let error = with(key, value).unwrap_err();
        assert!(error.contains(words), "{key}={value}: {error}");
        assert!(error.contains(&format!("(flag --set {key})")), "{key}={value}: {error}");
    }
}

#[test]
fn public_urls_lose_what_says_nothing() {
    for (given, kept, port) in [
        ("https://Go.Example.com/", "https://go.example.com", 443),
        ("https://go.example.com:443", "https://go.example.com", 443),
        ("http://go.example.com:443", "http://go.example.com:443", 443),
        ("http://[::1]:8080", "http://[::1]:8080", 8080),
        ("HTTP://bücher.example", "http://xn--bcher-kva.example", 80),
    ] {
        let url = given.parse::<PublicUrl>().unwrap();
        assert_eq!((url.to_string().as_str(), url.port()), (kept, port), "{given}");
    }
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    let keys = chassis::config::known_keys::<Config>();
    let defaults: Loaded<Config> = load(&Sources::default()).unwrap();
    let environment: Environment = defaults
        .entries()
        .into_iter()
        .filter(|entry| !entry.value.is_null())
        .map(|entry| {
            let name = format!("TERSE__{}", entry.key.replace('.', "__").to_ascii_uppercase());
            let value = match entry.value.as_str() {
                Some(text) => text.to_owned(),
                None => entry.value.as_array().map_or_else(|| entry.value.to_string(), |_| String::new()),
            };
            (name, value)
        })
        .collect();
    let loaded: Loaded<Config> = load(&Sources { environment, ..Sources::default() }).unwrap();
    assert!(keys.len() > 40, "{keys:?}");
    for (before, after) in defaults.entries().into_iter().zip(loaded.entries()) {
        assert_eq!(before.value, after.value, "{}", before.key);
    }
}
