//! A target that is accepted leads to a public web page, fits into a header, and is spelled in one way.
#![no_main]

use domain::Target;
use domain::target::{PrivateAddresses, TargetPolicy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let is_own_host = |host: &str| host == "go.example.com";
    let policy = TargetPolicy { is_own_host: &is_own_host, private_addresses: PrivateAddresses::Refused };
    let Ok(target) = Target::parse(text, &policy) else { return };
    let canonical = target.as_str();
    assert!(canonical.starts_with("http://") || canonical.starts_with("https://"), "{canonical:?}");
    assert!(canonical.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{canonical:?}");
    assert!(canonical.len() <= domain::limits::TARGET_LEN_MAX);
    let url = url::Url::parse(canonical).expect("what was accepted is a URL");
    assert!(url.username().is_empty() && url.password().is_none(), "{canonical:?}");
    assert_ne!(url.host_str(), Some("go.example.com"));
    let again = Target::parse(canonical, &policy).unwrap_or_else(|_| panic!("accepted once, refused twice: {canonical:?}"));
    assert_eq!(again.as_str(), canonical);
});
