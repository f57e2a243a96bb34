//! Every link survives, and nothing else does harm.

use proptest::prelude::*;

use super::*;

fn plain() -> Link {
    let id = LinkId::new((40_000_000_000 << 22) + 7);
    Link {
        id,
        domain: DomainNo::DEFAULT,
        code: Code::from_stored("aB3xYz9", CodeKind::Generated),
        owner: Owner::parse("ann").unwrap(),
        target: Target::from_stored("https://example.com/a"),
        title: None,
        tags: Vec::new(),
        state: State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: snowflake::created_at(id),
        updated_at: snowflake::created_at(id),
        version: 1,
        change_id: u64::MAX,
    }
}

fn full() -> Link {
    Link {
        code: Code::parse_alias("Spring-Sale/2026").unwrap(),
        title: Some(Title::parse("Frühling — 50 %").unwrap()),
        tags: ["a", "zwei", "三"].map(|tag| Tag::parse(tag).unwrap()).into(),
        state: State::Disabled,
        blocked: Some(BlockReason::parse("malware").unwrap()),
        redirect_status: Some(RedirectStatus::Permanent308),
        caching: Some(Caching::Fast),
        forward_query: true,
        starts_at: Some(UnixMs::new(-5)),
        expires_at: Some(UnixMs::new(i64::MAX)),
        max_clicks: Some(u64::MAX),
        created_at: UnixMs::new(1),
        updated_at: UnixMs::new(i64::MIN),
        version: 70_000,
        ..plain()
    }
}

fn back(link: &Link, body: &[u8]) -> Option<(Link, Duration)> {
    let head = Head { kind: Kind::Link, version: link.version, expiry: 0 };
    decode(link.domain, &link.code.key(), head, body)
}

#[test]
fn whole_links_survive() {
    let delta = Duration::from_micros(3_017);
    for link in [plain(), full(), Link { state: State::Deleted, ..plain() }] {
        assert_eq!(back(&link, &encode(&link, delta)), Some((link, delta)));
    }
    assert!(encode(&plain(), delta).len() <= 1 + 16 + 2 + 4 + 1 + plain().target.as_str().len());
}

#[test]
fn a_target_unfit_for_a_header_is_none_of_ours() {
    for target in ["javascript:alert(1)", "https://a/\r\nSet-Cookie: x", "https://a/é", ""] {
        let link = Link { target: Target::from_stored(target), ..plain() };
        assert_eq!(back(&link, &encode(&link, Duration::ZERO)), None, "{target}");
    }
}

#[test]
fn a_link_under_a_foreign_key_is_not_believed() {
    let body = encode(&full(), Duration::ZERO);
    let head = Head { kind: Kind::Link, version: 1, expiry: 0 };
    assert!(decode(DomainNo::DEFAULT, "spring-sale/2026", head, &body).is_some());
    assert_eq!(decode(DomainNo::DEFAULT, "summer", head, &body), None);
}

#[test]
fn cut_off_values_are_none() {
    let body = encode(&full(), Duration::ZERO);
    for len in 0..body.len() {
        assert_eq!(back(&full(), &body[..len]), None, "{len}");
    }
    let longer = [body.as_slice(), &[0]].concat();
    assert_eq!(back(&full(), &longer), None);
}

#[test]
fn heads_are_told_apart() {
    assert_eq!(split(b""), None);
    assert_eq!(split(b"https://example.com/"), None);
    assert_eq!(split(&[0xB0, 0, 0, 0, 9]), Some((Head { kind: Kind::Absent, version: 0, expiry: 9 }, &[][..])));
    assert_eq!(split(&[0xB0, 0, 0, 0, 9, 1]), None);
    assert_eq!(split(&[0xA1, 3, 0, 0, 0, 9, 7]), Some((Head { kind: Kind::Link, version: 3, expiry: 9 }, &[7][..])));
    assert_eq!(split(&[0xA4, 0, 0, 1, 0, 0, 0, 0, 9]), Some((Head { kind: Kind::Link, version: 256, expiry: 9 }, &[][..])));
    assert_eq!(split(&[0xC4, 0, 0, 1, 0, 0, 0, 0, 9]), Some((Head { kind: Kind::Elsewhere, version: 256, expiry: 9 }, &[][..])));
    assert_eq!(split(&[0xC4, 0, 0, 1]), None);
}

proptest! {
    #[test]
    fn any_target_survives(path in "[!-~]{0,300}") {
        let link = Link { target: Target::from_stored(&format!("https://{path}")), ..plain() };
        prop_assert_eq!(back(&link, &encode(&link, Duration::ZERO)), Some((link, Duration::ZERO)));
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..100) {
        if let Some((head, body)) = split(&bytes) {
            decode(DomainNo::DEFAULT, "aB3xYz9", head, body);
        }
        let mut body = encode(&full(), Duration::ZERO);
        let at = at % body.len();
        body.splice(at..at, bytes);
        back(&full(), &body);
    }
}
