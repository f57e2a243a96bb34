//! Aliases, codes made elsewhere and generated ones never stand for each other.
#![no_main]

use domain::{Code, CodeKind, Slug};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(alias) = Code::parse_alias(text) {
        assert_eq!(alias.kind(), CodeKind::Alias);
        assert!(!alias.has_generated_shape() && !domain::code::may_be_respelled_as_generated(alias.as_str()), "{text:?}");
        assert!(Slug::parse(alias.as_str()).is_some(), "an alias that cannot be asked for: {text:?}");
        assert_eq!(alias.key().as_str(), alias.as_str().to_ascii_lowercase());
    }
    if let Ok(foreign) = Code::parse_foreign(text) {
        assert!(Slug::parse(foreign.as_str()).is_some(), "a code that cannot be asked for: {text:?}");
        assert_eq!(foreign.key().as_str(), foreign.as_str());
    }
    if let Some(slug) = Slug::parse(text)
        && slug.has_generated_shape()
    {
        let number = domain::code::decode_base62(text.as_bytes()).expect("seven letters and digits");
        let back = domain::code::encode_base62(number).expect("in range");
        assert_eq!(&back, text.as_bytes());
    }
});
