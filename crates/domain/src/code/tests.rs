use proptest::prelude::*;

use super::*;

fn permutation(key: u8) -> Permutation {
    Permutation::new([key; 16], 0)
}

#[test]
fn base62_ends() {
    assert_eq!(encode_base62(0).as_ref(), Some(b"0000000"));
    assert_eq!(encode_base62(61).as_ref(), Some(b"000000z"));
    assert_eq!(encode_base62(62).as_ref(), Some(b"0000010"));
    assert_eq!(encode_base62(CODE_SPACE - 1).as_ref(), Some(b"zzzzzzz"));
    assert_eq!(encode_base62(CODE_SPACE), None);
    assert_eq!(encode_base62(u64::MAX), None);
    assert_eq!(encode_base62_u64(0), "00000000000");
    assert_eq!(encode_base62_u64(u64::MAX), "LygHa16AHYF");
    for text in ["", "000000", "00000000", "00000-0", "000000é"] {
        assert_eq!(decode_base62(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn shapes() {
    for (text, generated, respelled) in [
        ("4fK9aQz", true, true),
        ("4fk9aqz", false, true),
        ("4FK9AQZ", true, true),
        ("abcdefG", false, false),
        ("1234567", false, false),
        ("4fK9aQ", false, false),
        ("4fK9aQzz", false, false),
        ("4fK9a-z", false, false),
        ("4fK9aé", false, false),
    ] {
        assert_eq!(has_generated_shape(text), generated, "{text}");
        assert_eq!(may_be_respelled_as_generated(text), respelled, "{text}");
    }
}

#[test]
fn aliases() {
    for text in ["abc", "My-Alias", "a_b", "docs2/intro/x", "abcdefg", "1234567", "a".repeat(64).as_str(), "---"] {
        assert!(Code::parse_alias(text).is_ok(), "{text}");
    }
    for text in ["", "ab", "a".repeat(65).as_str(), "a b", "a.b", "aé1", "/abc", "abc/", "a//b", "a\nb", "a+b", "a%20"] {
        assert_eq!(Code::parse_alias(text), Err(CodeError::Alias), "{text}");
    }
    for text in ["4fK9aQz", "abcdef1", "ABCDEF1", "1a11111"] {
        assert_eq!(Code::parse_alias(text), Err(CodeError::GeneratedShape), "{text}");
    }
    let alias = Code::parse_alias("My-Alias").unwrap();
    assert_eq!((alias.as_str(), alias.key().as_str(), alias.kind()), ("My-Alias", "my-alias", CodeKind::Alias));
}

#[test]
fn reserved_first_segments() {
    for text in RESERVED {
        assert_eq!(*text, text.to_ascii_lowercase(), "reserved words are compared in lower case");
        assert!(matches!(Code::parse_foreign(text), Err(CodeError::Reserved(word)) if word == *text), "{text}");
    }
    for text in ["api", "API", "Api/x", "admin/login", "WWW"] {
        assert!(matches!(Code::parse_alias(text), Err(CodeError::Reserved(_))), "{text}");
    }
    for text in ["apis", "x/api", "api-x"] {
        assert!(Code::parse_alias(text).is_ok(), "{text}");
    }
}

#[test]
fn foreign_codes() {
    for text in ["a", "4fK9aQz", "a.b", "x=1", "a/b", "a".repeat(FOREIGN_CODE_LEN_MAX).as_str()] {
        let code = Code::parse_foreign(text).unwrap();
        assert_eq!(code.key(), text, "matched as typed");
    }
    for text in
        ["", "a".repeat(FOREIGN_CODE_LEN_MAX + 1).as_str(), "a+", "a.qr", "a/..", "./a", "a//b", "a b", "a?b", "a#b", "a%b", "é", "a\\b"]
    {
        assert_eq!(Code::parse_foreign(text), Err(CodeError::Foreign), "{text:?}");
    }
}

#[test]
fn slugs_are_paths_without_tricks() {
    for text in ["a", "a/b", "~a", "...", "a@b", "A-_.~!$'()*,;=:@&"] {
        assert!(Slug::parse(text).is_some(), "{text}");
    }
    for text in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a b", "<", "\"", "a\0", "a\u{202e}"] {
        assert!(Slug::parse(text).is_none(), "{text:?}");
    }
}

fn codes(key: u8, counters: Range<u64>) -> BlockCodes {
    BlockCodes::new(&CodeBlock { epoch: 0, key: [key; 16], start: counters.start, end: counters.end })
}

#[test]
fn a_block_yields_each_usable_counter_once_in_order() {
    let mut block = codes(1, 100..1_100);
    let made: Vec<Code> = block.by_ref().collect();
    let permutation = permutation(1);
    let counters: Vec<u64> = made.iter().map(|code| permutation.decode(decode_base62(code.as_str().as_bytes()).unwrap())).collect();
    assert!(counters.is_sorted_by(|a, b| a < b) && counters.iter().all(|counter| (100..1_100).contains(counter)));
    assert!(made.iter().all(|code| code.has_generated_shape() && code.kind() == CodeKind::Generated));
    // 69 % of all; ± 6 % is five standard deviations.
    assert!((630..750).contains(&made.len()), "{}", made.len());
    assert_eq!((block.counters_left(), block.next()), (0, None));
}

#[test]
fn blocks_at_the_end_of_the_space_and_empty_ones_end() {
    assert!(codes(1, CODE_SPACE - 50..CODE_SPACE + 50).count() <= 50);
    assert_eq!(codes(1, 5..5).next(), None);
}

#[test]
fn issued_codes_are_never_called_never_issued() {
    let issued = Issued::new(vec![(permutation(1), 1_000), (permutation(2), 500)]);
    for code in codes(1, 0..1_000).chain(codes(2, 0..500)) {
        assert!(!issued.never_issued(Slug::parse(code.as_str()).unwrap()), "{code}");
    }
    for code in codes(1, 1_000..2_000) {
        // It may be one of the other epoch's, but that takes a chance of 500 in 62^7.
        assert!(issued.never_issued(Slug::parse(code.as_str()).unwrap()), "{code}");
    }
}

#[test]
fn nothing_is_proved_of_other_shapes_or_without_a_range() {
    let unissued = codes(1, 1_000..1_010).next().unwrap();
    let slug = Slug::parse(unissued.as_str()).unwrap();
    assert!(Issued::new(vec![(permutation(1), 0)]).never_issued(slug));
    assert!(!Issued::default().never_issued(slug));
    for text in ["abc", "abcdefg", "4fk9aqz", "4fK9aQzz"] {
        assert!(!Issued::new(vec![(permutation(1), 0)]).never_issued(Slug::parse(text).unwrap()), "{text}");
    }
}

proptest! {
    #[test]
    fn base62_round_trip(value in 0..CODE_SPACE) {
        prop_assert_eq!(decode_base62(&encode_base62(value).unwrap()), Some(value));
    }

    #[test]
    fn base62_keeps_order(a in any::<u64>(), b in any::<u64>()) {
        let (x, y) = (encode_base62_u64(a), encode_base62_u64(b));
        prop_assert_eq!((x.len(), a.cmp(&b)), (11, x.cmp(&y)));
    }

    /// Whatever the case it is typed in, an alias is never looked up as a generated code.
    #[test]
    fn aliases_and_generated_codes_never_meet(text in "[0-9A-Za-z_/-]{3,8}", value in 0..CODE_SPACE) {
        if let Ok(alias) = Code::parse_alias(&text) {
            prop_assert!(!has_generated_shape(&alias.key()) && !has_generated_shape(&text.to_ascii_uppercase()));
            prop_assert!(Slug::parse(&text).is_some());
        }
        if let Some(code) = Code::generated(value) {
            prop_assert_eq!(Code::parse_alias(code.as_str()), Err(CodeError::GeneratedShape));
            prop_assert_eq!(code.key(), code.as_str());
        }
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "\\PC{0,20}") {
        let parsed = [Code::parse_alias(&text), Code::parse_foreign(&text)];
        for code in parsed.into_iter().flatten() {
            prop_assert!(code.as_str().is_ascii() && Slug::parse(code.as_str()).is_some());
        }
    }
}
