//! Everything crosses whole; anything else is refused without a panic.

use domain::api::{Created, Idempotency, JobState, JobStatus, ListQuery, Page, Selection};
use domain::{
    BlockReason, Caching, Caller, Change, Code, CodeKind, DomainNo, Host, Link, LinkDraft, LinkId, Owner, PatchDraft, RedirectStatus,
    Scopes, ShownState, State, Tag, Target, Title, UnixMs,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use prost::Message;

use super::{convert, link};
use crate::proto;

fn time() -> impl Strategy<Value = UnixMs> {
    any::<i64>().prop_map(UnixMs::new)
}

fn a_link() -> impl Strategy<Value = Link> {
    let names = ("[a-z0-9]{1,9}", any::<u64>(), 1..=DomainNo::MAX, vec("[a-z]{1,9}", 0..5), of("[a-z ]{0,9}x"), of("[a-z]{1,9}"));
    let states = (
        proptest::sample::select(vec![State::Active, State::Disabled, State::Deleted]),
        proptest::sample::select(vec![CodeKind::Generated, CodeKind::Alias, CodeKind::Foreign]),
        proptest::sample::select(vec![None, Some(Caching::Exact), Some(Caching::Balanced), Some(Caching::Fast)]),
        of(proptest::sample::select(vec![301, 302, 307, 308])),
        any::<bool>(),
    );
    let numbers = (of(time()), of(time()), of(any::<u64>()), time(), any::<u32>(), any::<u64>());
    (names, states, numbers).prop_map(|(names, states, numbers)| Link {
        id: LinkId::new(names.1),
        domain: DomainNo::new(names.2),
        code: Code::from_stored(&names.0, states.1),
        owner: Owner::from_stored("ann"),
        target: Target::from_stored(&format!("https://example.com/{}", names.0)),
        title: names.4.map(|title| Title::from_stored(&title)),
        tags: names.3.iter().map(|tag| Tag::from_stored(tag)).collect(),
        state: states.0,
        blocked: names.5.map(|reason| BlockReason::from_stored(&reason)),
        redirect_status: states.3.and_then(RedirectStatus::from_code),
        caching: states.2,
        forward_query: states.4,
        starts_at: numbers.0,
        expires_at: numbers.1,
        max_clicks: numbers.2,
        created_at: numbers.3,
        updated_at: numbers.3,
        version: numbers.4,
        change_id: numbers.5,
    })
}

fn a_draft() -> impl Strategy<Value = LinkDraft> {
    let texts =
        (any::<String>(), of(any::<String>()), of(any::<String>()), of(any::<String>()), vec(any::<String>(), 0..4), of(any::<String>()));
    let numbers = (of(any::<u16>()), of(time()), of(time()), of(any::<u64>()), of(any::<u8>()), any::<bool>(), any::<bool>());
    (texts, numbers).prop_map(|(texts, numbers)| LinkDraft {
        target: texts.0,
        alias: texts.1.clone(),
        code: texts.2.clone(),
        domain: texts.3.clone(),
        title: texts.5.clone(),
        tags: texts.4,
        redirect_status: numbers.0,
        caching: texts.1,
        forward_query: numbers.5,
        starts_at: numbers.1,
        expires_at: numbers.2,
        max_clicks: numbers.3,
        find_or_create: numbers.6,
        strategy: texts.2,
        code_length: numbers.4,
    })
}

fn change<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Change<T>> {
    prop_oneof![Just(None), Just(Some(None)), value.prop_map(|value| Some(Some(value)))].prop_map(|change| match change {
        None => Change::Keep,
        Some(None) => Change::Clear,
        Some(Some(value)) => Change::Set(value),
    })
}

fn a_patch() -> impl Strategy<Value = PatchDraft> {
    let text = || change(any::<String>());
    let values = (text(), text(), change(vec(any::<String>(), 0..4)), change(any::<u16>()), text());
    let more = (change(any::<bool>()), change(time()), change(time()), change(any::<u64>()), text());
    (values, more).prop_map(|(values, more)| PatchDraft {
        target: values.0,
        title: values.1,
        tags: values.2,
        redirect_status: values.3,
        caching: values.4,
        forward_query: more.0,
        starts_at: more.1,
        expires_at: more.2,
        max_clicks: more.3,
        state: more.4,
    })
}

/// Through bytes, as on the wire.
fn crossed<T: Message + Default>(message: &T) -> T {
    T::decode(&*message.encode_to_vec()).unwrap()
}

proptest! {
    #[test]
    fn links_cross(link in a_link(), next in of(1_u64..)) {
        prop_assert_eq!(super::link::link(&crossed(&link::to_link(link.clone()))).unwrap(), link.clone());
        for created in [Created::New(link.clone()), Created::Found(link.clone())] {
            prop_assert_eq!(link::created(crossed(&link::to_created(created.clone()))).unwrap(), created);
        }
        let page = Page { links: vec![link], next: next.map(LinkId::new) };
        prop_assert_eq!(link::page(&crossed(&link::to_page(page.clone()))).unwrap(), page);
    }

    #[test]
    fn drafts_and_patches_cross(draft in a_draft(), patch in a_patch()) {
        prop_assert_eq!(convert::draft(crossed(&convert::to_draft(draft.clone()))), draft);
        prop_assert_eq!(convert::patch(Some(crossed(&convert::to_patch(patch.clone())))), patch);
    }

    #[test]
    fn callers_queries_and_selections_cross(bits in 0_u8..32, limit in 0_usize..=1_000, after in of(1_u64..), tag in of("[a-z]{1,9}"), text in of("[a-z]{1,9}"), ids in vec(any::<u64>(), 0..9)) {
        let caller = Caller { owner: Owner::parse("ann").unwrap(), scopes: Scopes::from_bits(bits) };
        prop_assert_eq!(&convert::caller(Some(crossed(&convert::to_caller(&caller)))).unwrap(), &caller);
        let tag = tag.map(|tag| Tag::parse(&tag).unwrap());
        for state in [None, Some(ShownState::Active), Some(ShownState::Disabled), Some(ShownState::Deleted), Some(ShownState::Blocked)] {
            let query = ListQuery { limit, after: after.map(LinkId::new), tag: tag.clone(), state, text: text.clone() };
            prop_assert_eq!(convert::list(crossed(&convert::to_list(&caller, query.clone()))).unwrap(), query);
        }
        let host = Host::parse("sho.rt:8080").unwrap();
        let selections = [Some(Selection::Ids(ids.into_iter().map(LinkId::new).collect())), tag.map(Selection::Tag), Some(Selection::Domain(host))];
        for selection in selections.into_iter().flatten() {
            prop_assert_eq!(convert::selection(Some(convert::to_selection(selection.clone()))).unwrap(), selection);
        }
        let once = Some(Idempotency { key: "k".into(), digest: [bits; 32] });
        prop_assert_eq!(convert::once(convert::to_once(once.clone())).unwrap(), once);
    }

    #[test]
    fn jobs_cross(id in any::<u64>(), numbers in any::<(u64, u64, u64)>(), at in time()) {
        for state in [JobState::Running, JobState::Done, JobState::Failed] {
            let (done, total, errors) = numbers;
            let job = JobStatus { id: LinkId::new(id), kind: "bulk_delete", state, done, total, errors, created_at: at, updated_at: at };
            prop_assert_eq!(link::job(&crossed(&link::to_job(&job))).unwrap(), job);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = proto::Link::decode(&*bytes).map(|message| super::link::link(&message));
        let _ = proto::LinkDraft::decode(&*bytes).map(convert::draft);
        let _ = proto::LinkPatch::decode(&*bytes).map(|patch| convert::patch(Some(patch)));
        let _ = proto::ListRequest::decode(&*bytes).map(convert::list);
        let _ = proto::Caller::decode(&*bytes).map(|caller| convert::caller(Some(caller)));
        let _ = proto::BulkCreateResponse::decode(&*bytes).map(|message| link::results(message, 1));
    }
}

#[test]
fn a_link_that_could_do_harm_is_refused() {
    let good = proto::Link {
        domain: 1,
        code: "abc".into(),
        code_kind: proto::CodeKind::Alias.into(),
        owner: "ann".into(),
        target: "https://example.com/".into(),
        state: proto::State::Active.into(),
        ..proto::Link::default()
    };
    assert!(super::link::link(&good).is_ok());
    let wrong: [fn(&mut proto::Link); 9] = [
        |link| link.domain = 0,
        |link| link.domain = 1 << 20,
        |link| link.code = "a\r\nb".into(),
        |link| link.code_kind = 0,
        |link| link.owner = String::new(),
        |link| link.target = "https://example.com/\r\nSet-Cookie: a=b".into(),
        |link| link.target = format!("https://example.com/{}", "a".repeat(9_000)),
        |link| link.state = proto::State::Blocked.into(),
        |link| link.redirect_status = 200,
    ];
    for (number, spoil) in wrong.into_iter().enumerate() {
        let mut link = good.clone();
        spoil(&mut link);
        assert_eq!(super::link::link(&link).unwrap_err().reason(), domain::Reason::Internal, "{number}");
    }
}
