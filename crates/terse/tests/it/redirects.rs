//! Following links.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::json;

use crate::cluster::{Shape, both_shapes};

both_shapes!(
    a_click_budget_is_exact_under_concurrency,
    a_refused_change_leaves_the_budget_alone,
    start_and_expiry_are_evaluated_at_the_click,
    each_status_and_the_forwarded_query,
);

#[expect(clippy::disallowed_methods, reason = "the test plays a user with a watch")]
fn now_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()).expect("fits")
}

fn at(offset_s: i64) -> String {
    jiff::Timestamp::from_second(now_s() + offset_s).expect("a date").to_string()
}

async fn a_click_budget_is_exact_under_concurrency(shape: Shape) {
    let cluster = shape.cluster().start();
    cluster.client().create(&json!({"target": "https://example.com/ten", "alias": "ten-only", "max_clicks": 10})).await;
    let visitor = cluster.anonymous();
    let replies = join_all((0..100).map(|_| visitor.get("/ten-only"))).await;
    let count = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(302), count(410)), (10, 90));
    assert!(replies.iter().all(|reply| reply.header("cache-control").contains("no-store")));
    // Raised, it goes on; a bot and HEAD see no target and use nothing.
    let client = cluster.client();
    let id = client.get("/api/v1/links/lookup?code=ten-only").await.json()["id"].as_str().expect("an id").to_owned();
    client.patch(&format!("/api/v1/links/{id}"), &json!({"max_clicks": 11})).await.expect(200);
    let head = visitor.head("/ten-only").await.expect(200);
    assert_eq!(head.location(), "");
    let bot = visitor.clone().with("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)");
    let page = bot.get("/ten-only").await.expect(200);
    assert!(!page.text().contains("example.com/ten"));
    visitor.get("/ten-only").await.expect(302);
    visitor.get("/ten-only").await.expect(410);
}

async fn a_refused_change_leaves_the_budget_alone(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    let link = client.create(&json!({"target": "https://example.com/two", "max_clicks": 2, "expires_at": at(3_600)})).await;
    let path = format!("/api/v1/links/{}", link["id"].as_str().expect("an id"));
    let too_late = json!({"max_clicks": 1, "starts_at": at(7_200)});
    assert_eq!(client.patch(&path, &too_late).await.expect(422).json()["errors"][0]["pointer"], "/expires_at");
    let code = format!("/{}", link["code"].as_str().expect("a code"));
    for status in [302, 302, 410] {
        visitor.get(&code).await.expect(status);
    }
}

async fn start_and_expiry_are_evaluated_at_the_click(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    client.create(&json!({"target": "https://example.com/", "alias": "future", "starts_at": at(3_600)})).await;
    visitor.get("/future").await.expect(404);
    client.create(&json!({"target": "https://example.com/", "alias": "past", "expires_at": at(-60)})).await;
    visitor.get("/past").await.expect(410);
    client.create(&json!({"target": "https://example.com/", "alias": "brief", "expires_at": at(2)})).await;
    visitor.get("/brief").await.expect(302);
    while visitor.get("/brief").await.status != 410 {
        assert!(now_s() > 0);
        tokio::time::sleep(crate::cluster::POLL).await;
    }
    let both = json!({"target": "https://example.com/", "starts_at": at(60), "expires_at": at(30)});
    assert_eq!(client.post("/api/v1/links", &both).await.expect(422).json()["errors"][0]["pointer"], "/expires_at");
}

async fn each_status_and_the_forwarded_query(shape: Shape) {
    let cluster = shape.cluster().start();
    let (client, visitor) = (cluster.client(), cluster.anonymous());
    for status in [301, 302, 307, 308] {
        client.create(&json!({"target": "https://example.com/", "alias": format!("s-{status}"), "redirect_status": status})).await;
        visitor.get(&format!("/s-{status}")).await.expect(status);
        visitor.head(&format!("/s-{status}")).await.expect(status);
    }
    client.create(&json!({"target": "https://example.com/p?a=1#frag", "alias": "fwd", "forward_query": true})).await;
    for (query, location) in [
        ("", "https://example.com/p?a=1#frag"),
        ("?", "https://example.com/p?a=1#frag"),
        ("?b=2&a=3", "https://example.com/p?a=1&b=2&a=3#frag"),
        ("?x=%0d%0aSet-Cookie:%20a", "https://example.com/p?a=1&x=%0d%0aSet-Cookie:%20a#frag"),
    ] {
        assert_eq!(visitor.get(&format!("/fwd{query}")).await.expect(302).location(), location);
    }
    client.create(&json!({"target": "https://example.com/p", "alias": "plain"})).await;
    assert_eq!(visitor.get("/plain?b=2").await.expect(302).location(), "https://example.com/p");
    let post = visitor.post("/plain", &json!({})).await.expect(405);
    assert!(post.header("allow").contains("GET"));
    client.create(&json!({"target": "https://example.com/c", "alias": "cached", "caching": "fast"})).await;
    assert!(visitor.get("/cached").await.expect(302).header("cache-control").contains("s-maxage"));
}
