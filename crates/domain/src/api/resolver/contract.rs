//! What every resolver must do, however it is reached.
#![expect(clippy::unwrap_used, reason = "a contract test fails by a panic")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Answer, Ask, Purpose, Resolver, Visit};
use crate::api::Deadline;
use crate::model::{BlockReason, Code, CodeKind, DomainNo, Link, LinkId, LoggedClick, Owner, State, Target};
use crate::port::contract::join_all;
use crate::time::UnixMs;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";

/// A code, what is done to its link (with a time to come), whether it is taken down, and the answer.
type Case = (&'static str, fn(&mut Link, UnixMs), bool, Answer);

/// Where the resolver under test lives.
#[async_trait]
pub trait World: Send + Sync {
    fn resolver(&self) -> Arc<dyn Resolver>;

    /// The clock that the resolver reads.
    fn now(&self) -> UnixMs;

    /// Stores a link, or its next version, as the shortening service does, news included.
    async fn store(&self, link: Link);

    /// Every click recorded so far, in order.
    async fn clicks(&self) -> Vec<LoggedClick>;
}

/// Runs on an empty world.
pub async fn all(world: &dyn World) {
    unknown_codes_are_not_found(world).await;
    an_active_link_redirects_and_is_counted(world).await;
    what_keeps_a_link_from_redirecting(world).await;
    changes_are_seen(world).await;
    spellings(world).await;
    budgets_are_exact(world).await;
    budgets_are_not_for_bots(world).await;
}

fn ask(code: &str, purpose: Purpose) -> Ask<'_> {
    let visit = Visit {
        ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        user_agent: BROWSER,
        referrer: "https://www.example.org/page",
        language: "de-CH,de;q=0.9",
        country: None,
        query: "utm_source=letter",
        purpose,
    };
    Ask { domain: DomainNo::DEFAULT, code, visit }
}

/// As the gateway asks: from memory first.
async fn answer(world: &dyn World, ask: &Ask<'_>) -> Answer {
    let resolver = world.resolver();
    match resolver.try_resolve(ask) {
        Some(answer) => answer,
        None => resolver.resolve(ask, Deadline::after(Instant::now(), Duration::from_secs(10))).await.unwrap(),
    }
}

async fn follow(world: &dyn World, code: &str) -> Answer {
    answer(world, &ask(code, Purpose::Follow)).await
}

fn link(number: u64, code: &str, kind: CodeKind, now: UnixMs) -> Link {
    Link {
        id: LinkId::new((1 << 50) + number),
        domain: DomainNo::DEFAULT,
        code: Code::from_stored(code, kind),
        owner: Owner::from_stored("ann"),
        target: Target::from_stored(&format!("https://example.com/{number}?utm_source=target&utm_medium=mail")),
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
        created_at: now,
        updated_at: now,
        version: 1,
        change_id: number,
    }
}

fn next(link: &Link, change: impl FnOnce(&mut Link)) -> Link {
    let mut next = link.clone();
    next.version += 1;
    next.change_id += 1 << 32;
    change(&mut next);
    next
}

/// The answer is a redirect to the link, as it is.
fn leads_to(answer: &Answer, link: &Link) -> bool {
    matches!(answer, Answer::Redirect(route) if route.link == link.id && route.version == link.version && route.target == link.target && *route.code == *link.code.as_str())
}

async fn unknown_codes_are_not_found(world: &dyn World) {
    for code in ["never", "4fK9aQz", "", "a b", "//", "..", &"x".repeat(4_096)] {
        for purpose in [Purpose::Follow, Purpose::Head, Purpose::Inspect] {
            assert_eq!(answer(world, &ask(code, purpose)).await, Answer::NotFound, "{code:?}");
        }
    }
    assert_eq!(world.clicks().await, []);
    let late = link(1, "never", CodeKind::Alias, world.now());
    world.store(late.clone()).await;
    assert!(leads_to(&follow(world, "never").await, &late), "a miss must not hide what comes after it");
}

async fn an_active_link_redirects_and_is_counted(world: &dyn World) {
    let link = link(2, "Counted", CodeKind::Alias, world.now());
    world.store(link.clone()).await;
    let before = world.clicks().await.len();
    for _ in 0..3 {
        assert!(leads_to(&follow(world, "counted").await, &link));
    }
    assert!(matches!(answer(world, &ask("counted", Purpose::Inspect)).await, Answer::Found(route) if route.link == link.id));
    for (purpose, bot) in [(Purpose::Head, "HEAD"), (Purpose::Prefetch, "Prefetch")] {
        assert!(leads_to(&answer(world, &ask("counted", purpose)).await, &link));
        assert_eq!(world.clicks().await.last().unwrap().bot, bot);
    }
    let clicks = world.clicks().await.split_off(before);
    assert_eq!(clicks.len(), 5, "an inspection is no click");
    assert!(clicks.iter().all(|click| click.link == link.id && click.owner == link.owner));
    let click = &clicks[0];
    assert!(!click.is_bot());
    assert_eq!((click.utm_source.as_str(), click.utm_medium.as_str()), ("letter", "mail"));
    assert_eq!((click.referrer.as_str(), click.language.unwrap().as_str()), ("example.org", "de"));
    assert_eq!(clicks.iter().map(|click| click.visitor).collect::<std::collections::HashSet<_>>().len(), 1);
}

async fn what_keeps_a_link_from_redirecting(world: &dyn World) {
    let now = world.now();
    let hour = Duration::from_hours(1);
    let blocked = Answer::Blocked { reason: "malware".into() };
    let reason = || Some(BlockReason::from_stored("malware"));
    let cases: [Case; 6] = [
        ("deleted", |link, _| link.state = State::Deleted, false, Answer::NotFound),
        ("deleted-blocked", |link, _| link.state = State::Deleted, true, Answer::NotFound),
        ("disabled", |link, _| link.state = State::Disabled, false, Answer::NotFound),
        ("later", |link, hour| link.starts_at = Some(hour), false, Answer::NotFound),
        ("blocked", |_, _| (), true, blocked.clone()),
        ("disabled-blocked", |link, _| link.state = State::Disabled, true, blocked),
    ];
    for (number, (code, change, takedown, expected)) in cases.into_iter().enumerate() {
        let mut link = link(10 + u64::try_from(number).unwrap(), code, CodeKind::Alias, now);
        change(&mut link, now.saturating_add(hour));
        link.blocked = if takedown { reason() } else { None };
        world.store(link).await;
        for purpose in [Purpose::Follow, Purpose::Head, Purpose::Inspect, Purpose::Follow] {
            assert_eq!(answer(world, &ask(code, purpose)).await, expected, "{code}");
        }
    }
    let mut expired = link(20, "expired", CodeKind::Alias, now);
    expired.expires_at = Some(now);
    world.store(expired.clone()).await;
    assert_eq!(follow(world, "expired").await, Answer::Gone);
    assert_eq!(answer(world, &ask("expired", Purpose::Inspect)).await, Answer::Gone);
}

async fn changes_are_seen(world: &dyn World) {
    let first = link(30, "changing", CodeKind::Alias, world.now());
    world.store(first.clone()).await;
    assert!(leads_to(&follow(world, "changing").await, &first));
    let second = next(&first, |link| link.target = Target::from_stored("https://example.com/second"));
    world.store(second.clone()).await;
    assert!(leads_to(&follow(world, "changing").await, &second));
    let deleted = next(&second, |link| link.state = State::Deleted);
    world.store(deleted.clone()).await;
    assert_eq!(follow(world, "changing").await, Answer::NotFound);
    let restored = next(&deleted, |link| link.state = State::Active);
    world.store(restored.clone()).await;
    assert!(leads_to(&follow(world, "changing").await, &restored));
}

async fn spellings(world: &dyn World) {
    let now = world.now();
    let alias = link(40, "My-Alias", CodeKind::Alias, now);
    world.store(alias.clone()).await;
    for code in ["my-alias", "My-Alias", "MY-ALIAS", "My-Alias", "MY-ALIAS"] {
        assert!(leads_to(&follow(world, code).await, &alias), "{code}");
    }
    let foreign = link(41, "MY-alias", CodeKind::Foreign, now);
    world.store(foreign.clone()).await;
    for _ in 0..2 {
        assert!(leads_to(&follow(world, "MY-alias").await, &foreign), "as typed comes first");
        assert!(leads_to(&follow(world, "my-alias").await, &alias));
        assert!(leads_to(&follow(world, "MY-ALIAS").await, &alias));
    }
    world.store(link(42, "as.Typed", CodeKind::Foreign, now)).await;
    assert_eq!(follow(world, "as.typed").await, Answer::NotFound);
    let imported = link(43, "4fK9aQz", CodeKind::Foreign, now);
    world.store(imported.clone()).await;
    assert!(leads_to(&follow(world, "4fK9aQz").await, &imported), "of the generated shape, made elsewhere");
}

async fn budgets_are_exact(world: &dyn World) {
    let mut limited = link(50, "ten-times", CodeKind::Alias, world.now());
    limited.max_clicks = Some(10);
    world.store(limited.clone()).await;
    let before = world.clicks().await.len();
    let answers = join_all((0..100).map(|_| follow(world, "ten-times"))).await;
    let redirects = answers.iter().filter(|answer| leads_to(answer, &limited)).count();
    let gone = answers.iter().filter(|answer| **answer == Answer::Gone).count();
    assert_eq!((redirects, gone), (10, 90));
    assert_eq!(world.clicks().await.len(), before + 10);
    assert_eq!(follow(world, "ten-times").await, Answer::Gone);
    assert_eq!(answer(world, &ask("ten-times", Purpose::Inspect)).await, Answer::Gone);
}

async fn budgets_are_not_for_bots(world: &dyn World) {
    let mut once = link(51, "only-once", CodeKind::Alias, world.now());
    once.max_clicks = Some(1);
    world.store(once.clone()).await;
    let before = world.clicks().await.len();
    let mut slack = ask("only-once", Purpose::Follow);
    slack.visit.user_agent = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)";
    for ask in [ask("only-once", Purpose::Head), ask("only-once", Purpose::Prefetch), slack] {
        assert!(matches!(answer(world, &ask).await, Answer::Withheld(route) if route.link == once.id));
    }
    assert!(matches!(answer(world, &ask("only-once", Purpose::Inspect)).await, Answer::Found(_)));
    assert_eq!(world.clicks().await.len(), before, "nothing was redirected");
    assert!(leads_to(&follow(world, "only-once").await, &once));
    assert_eq!(follow(world, "only-once").await, Answer::Gone);
}
