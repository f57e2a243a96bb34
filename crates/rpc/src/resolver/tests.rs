//! Requests and answers cross whole; anything else is refused without a panic.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::api::{Answer, Ask, Deadline, Purpose, Route, Visit};
use domain::{Caching, Country, DomainNo, LinkId, Owner, RedirectStatus, Target, Title, UnixMs};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use prost::Message;

use super::answers::{self, Step, Writer};
use super::asks;
use crate::proto;

fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_secs(9))
}

fn a_route() -> impl Strategy<Value = Route> {
    let numbers = (any::<u64>(), 1..=DomainNo::MAX, any::<u32>(), of(any::<i64>()), of(any::<i64>()), of(any::<u64>()), any::<i64>());
    let values = (
        "[a-zA-Z0-9_-]{1,64}",
        of("[a-z]{1,20}"),
        of(proptest::sample::select(vec![301, 302, 307, 308])),
        proptest::sample::select(vec![None, Some(Caching::Exact), Some(Caching::Balanced), Some(Caching::Fast)]),
        any::<bool>(),
    );
    (numbers, values).prop_map(|(numbers, values)| Route {
        link: LinkId::new(numbers.0),
        domain: DomainNo::new(numbers.1),
        target: Target::from_stored(&format!("https://example.com/{}", values.0)),
        code: values.0.into(),
        owner: Owner::from_stored("ann"),
        version: numbers.2,
        title: values.1.map(|title| Title::from_stored(&title)),
        redirect_status: values.2.and_then(RedirectStatus::from_code),
        caching: values.3,
        forward_query: values.4,
        starts_at: numbers.3.map(UnixMs::new),
        expires_at: numbers.4.map(UnixMs::new),
        max_clicks: numbers.5,
        created_at: UnixMs::new(numbers.6),
    })
}

proptest! {
    #[test]
    fn asks_cross(code in "\\PC{0,40}", texts in any::<(String, String, String, String)>(), ip in any::<IpAddr>(), country in of("[A-W][A-S]")) {
        let country = country.as_deref().and_then(Country::parse);
        for purpose in [Purpose::Follow, Purpose::Head, Purpose::Prefetch, Purpose::Inspect] {
            let visit = Visit { ip, user_agent: &texts.0, referrer: &texts.1, language: &texts.2, country, query: &texts.3, purpose };
            let sent = Ask { domain: DomainNo::DEFAULT, code: &code, visit };
            let message = proto::ResolveAsk::decode(&*asks::to_ask(&sent, soon()).encode_to_vec()).unwrap();
            let read = asks::ask(&message).unwrap();
            prop_assert_eq!(format!("{read:?}"), format!("{sent:?}"));
            prop_assert!(asks::deadline(&message, soon()).remaining(Instant::now()) <= Duration::from_secs(9));
        }
    }

    #[test]
    fn what_has_no_bound_is_cut_to_one_that_is_read(text in "\\PC{0,9000}") {
        let long = text.repeat(3);
        let visit = Visit { ip: [1, 2, 3, 4].into(), user_agent: &long, referrer: &long, language: &long, country: None, query: &long, purpose: Purpose::Follow };
        let message = asks::to_ask(&Ask { domain: DomainNo::DEFAULT, code: &long, visit }, soon());
        prop_assert!(asks::ask(&message).is_ok());
        prop_assert!(message.encoded_len() < 16_384);
    }

    #[test]
    fn answers_cross(routes in vec(a_route(), 1..5), picks in vec((0_usize..5, 0_usize..7), 1..40)) {
        let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        let mut writer = Writer::default();
        let mut sent = Vec::new();
        for (route, kind) in picks {
            let route = routes[route % routes.len()].clone();
            let answer = match kind {
                0 => Answer::Redirect(route),
                1 => Answer::Withheld(route),
                2 => Answer::Found(route),
                3 => Answer::NotFound,
                4 => Answer::Gone,
                5 => Answer::Blocked { reason: "malware".into() },
                _ => {
                    writer.deferred();
                    sent.push(None);
                    continue;
                }
            };
            writer.answer(answer.clone());
            sent.push(Some(answer));
        }
        let message = writer.finish();
        prop_assert!(message.routes.len() <= routes.len(), "each link once");
        let message = proto::ResolveResponse::decode(&*message.encode_to_vec()).unwrap();
        let read = answers::steps(message, sent.len()).unwrap();
        for (read, sent) in read.into_iter().zip(sent) {
            match (read.unwrap(), sent) {
                (Step::Answered(read), Some(sent)) => {
                    prop_assert_eq!(answers::one(answers::to_one(sent.clone())).unwrap(), sent.clone());
                    prop_assert_eq!(read, sent);
                }
                (Step::Deferred, None) => {}
                (read, sent) => prop_assert!(false, "{read:?} for {sent:?}"),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = proto::ResolveAsk::decode(&*bytes).map(|message| asks::ask(&message).is_ok());
        let _ = proto::ResolveResponse::decode(&*bytes).map(|message| { let asked = message.answers.len(); answers::steps(message, asked) });
        let _ = proto::ResolveOneResponse::decode(&*bytes).map(answers::one);
    }
}

#[test]
fn a_broken_route_fails_only_those_who_asked_for_it() {
    let answer = |route| proto::ResolveAnswer { outcome: proto::Outcome::Redirect.into(), route, ..proto::ResolveAnswer::default() };
    let good = answers::to_one(Answer::Redirect(Arc::new(Route {
        link: LinkId::new(1),
        domain: DomainNo::DEFAULT,
        code: "a".into(),
        owner: Owner::from_stored("ann"),
        version: 1,
        target: Target::from_stored("https://example.com/"),
        title: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: UnixMs::new(0),
    })))
    .route
    .unwrap();
    let bad = proto::Route { target: "https://example.com/\r\nX: y".into(), ..good.clone() };
    let message = proto::ResolveResponse { answers: vec![answer(0), answer(1), answer(9)], routes: vec![good, bad] };
    let steps = answers::steps(message, 3).unwrap();
    assert!(steps[0].is_ok() && steps[1].is_err() && steps[2].is_err());
    assert!(answers::steps(proto::ResolveResponse::default(), 1).is_err());
}
