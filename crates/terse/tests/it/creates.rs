//! Creating and listing links.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::cluster::{Shape, both_shapes};

both_shapes!(
    a_link_is_created_and_redirects_at_once,
    a_bulk_of_a_thousand_answers_each_in_order,
    find_or_create_is_exact_under_concurrency,
    an_idempotency_key_makes_one_link,
    aliases_are_shown_as_typed_and_matched_in_any_case,
    every_strategy_makes_links_that_redirect,
    lists_walk_with_a_cursor_and_filter,
    a_code_made_elsewhere_of_the_generated_shape_is_found,
    never_leased_codes_are_404_without_the_store,
);

async fn a_link_is_created_and_redirects_at_once(shape: Shape) {
    let cluster = shape.cluster().start();
    let reply = cluster.client().post("/api/v1/links", &json!({"target": "https://example.com/a"})).await.expect(201);
    let link = reply.json();
    let code = link["code"].as_str().expect("a code");
    assert_eq!(code.len(), 7);
    assert!(code.bytes().any(|b| b.is_ascii_digit()) && code.bytes().any(|b| b.is_ascii_uppercase()));
    assert_eq!(reply.location(), format!("/api/v1/links/{}", link["id"].as_str().expect("a string")));
    assert!(!reply.header("etag").is_empty() && !reply.header("x-request-id").is_empty());
    for (field, value) in [
        ("target", json!("https://example.com/a")),
        ("title", Value::Null),
        ("tags", json!([])),
        ("state", json!("active")),
        ("redirect_status", json!(302)),
        ("caching", json!("exact")),
        ("forward_query", json!(false)),
        ("max_clicks", Value::Null),
        ("version", json!(1)),
    ] {
        assert_eq!(link[field], value, "{field}");
    }
    let redirect = cluster.anonymous().get(&format!("/{code}")).await.expect(302);
    assert_eq!(redirect.location(), "https://example.com/a");
    assert_eq!(redirect.header("cache-control"), "private, no-store");
}

async fn a_bulk_of_a_thousand_answers_each_in_order(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let mut links: Vec<_> = (0..1_000).map(|i| json!({"target": format!("https://example.com/{i}")})).collect();
    links[7] = json!({"target": "javascript:alert(1)"});
    links[8] = json!({"target": "https://example.com/8", "alias": "api"});
    let results = client.post("/api/v1/links/bulk", &json!({"links": links})).await.expect(200).json()["results"].clone();
    let results = results.as_array().expect("results");
    assert_eq!(results.len(), 1_000);
    for (i, result) in results.iter().enumerate() {
        match i {
            7 => assert_eq!((&result["status"], &result["problem"]["code"]), (&json!(422), &json!("invalid_target"))),
            8 => assert_eq!((&result["status"], &result["problem"]["code"]), (&json!(422), &json!("alias_reserved"))),
            _ => {
                assert_eq!(result["status"], 201, "{result}");
                assert_eq!(result["link"]["target"], format!("https://example.com/{i}"));
            }
        }
    }
    let codes: std::collections::HashSet<_> = results.iter().filter_map(|result| result["link"]["code"].as_str()).collect();
    assert_eq!(codes.len(), 998);
    client.post("/api/v1/links/bulk", &json!({"links": vec![json!({"target": "https://e.com"}); 1_001]})).await.expect(422);
}

async fn find_or_create_is_exact_under_concurrency(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let body = json!({"target": "https://example.com/same", "find_or_create": true});
    let replies = join_all((0..50).map(|_| client.post("/api/v1/links", &body))).await;
    let ids: std::collections::HashSet<_> = replies.iter().map(|reply| reply.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 49);
    // A deleted one is not found again.
    let id = replies[0].json()["id"].as_str().expect("an id").to_owned();
    client.delete(&format!("/api/v1/links/{id}")).await.expect(204);
    let next = client.post("/api/v1/links", &body).await.expect(201).json();
    assert_ne!(next["id"], json!(id));
    assert_eq!(client.post("/api/v1/links", &body).await.expect(200).json()["id"], next["id"]);
}

async fn an_idempotency_key_makes_one_link(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client().with("idempotency-key", "order-17");
    let body = json!({"target": "https://example.com/once"});
    let replies = join_all((0..50).map(|_| client.post("/api/v1/links", &body))).await;
    let ids: std::collections::HashSet<_> = replies.iter().map(|reply| reply.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{:?}", replies.iter().map(crate::client::Reply::text).collect::<Vec<_>>());
    let other = client.post("/api/v1/links", &json!({"target": "https://example.com/other"})).await.expect(422);
    assert_eq!(other.problem(), "idempotency_mismatch");
    let bulk = json!({"links": (0..20).map(|i| json!({"target": format!("https://example.com/{i}")})).collect::<Vec<_>>()});
    let bulk_client = cluster.client().with("idempotency-key", "bulk-1");
    let first = bulk_client.post("/api/v1/links/bulk", &bulk).await.expect(200).json();
    let again = bulk_client.post("/api/v1/links/bulk", &bulk).await.expect(200).json();
    for i in 0..20 {
        assert_eq!(first["results"][i]["link"]["id"], again["results"][i]["link"]["id"]);
    }
}

async fn aliases_are_shown_as_typed_and_matched_in_any_case(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let link = client.create(&json!({"target": "https://example.com/x", "alias": "Spring-Sale"})).await;
    assert_eq!(link["code"], "Spring-Sale");
    for path in ["/Spring-Sale", "/spring-sale", "/SPRING-SALE"] {
        cluster.anonymous().get(path).await.expect(302);
    }
    let again = client.post("/api/v1/links", &json!({"target": "https://example.com/y", "alias": "spring-SALE"})).await.expect(409);
    assert_eq!(again.problem(), "alias_taken");
    for (alias, code) in [
        ("ab", "invalid_alias"),
        ("abcdef1", "invalid_alias"),
        ("4fK9aQz", "invalid_alias"),
        ("a b", "invalid_alias"),
        ("api", "alias_reserved"),
        ("API/x", "alias_reserved"),
        ("é-é-é", "invalid_alias"),
        ("a//b", "invalid_alias"),
    ] {
        let reply = client.post("/api/v1/links", &json!({"target": "https://example.com", "alias": alias})).await.expect(422);
        assert_eq!(reply.problem(), code, "{alias}");
        assert_eq!(reply.json()["errors"][0]["pointer"], "/alias");
    }
    client.create(&json!({"target": "https://example.com/deep", "alias": "team/docs/q1"})).await;
    cluster.anonymous().get("/team/docs/q1").await.expect(302);
}

async fn every_strategy_makes_links_that_redirect(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    for (strategy, length) in [("leased", 7), ("counter", 7), ("snowflake", 11), ("hash", 10), ("random", 10)] {
        let target = format!("https://example.com/{strategy}");
        let link = client.create(&json!({"target": target, "strategy": strategy})).await;
        let code = link["code"].as_str().expect("a code");
        assert_eq!(code.len(), length, "{strategy}: {code}");
        assert_eq!(cluster.anonymous().get(&format!("/{code}")).await.expect(302).location(), target);
    }
    let short = client.create(&json!({"target": "https://example.com/r", "strategy": "random", "code_length": 7})).await;
    cluster.anonymous().get(&format!("/{}", short["code"].as_str().expect("a code"))).await.expect(302);
    let same = client.post("/api/v1/links", &json!({"target": "https://example.com/hash", "strategy": "hash"})).await.expect(200);
    assert_eq!(same.json()["target"], "https://example.com/hash");
}

async fn lists_walk_with_a_cursor_and_filter(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let links: Vec<_> = (0..25)
        .map(|i| json!({"target": format!("https://example.com/{i}"), "tags": if i % 5 == 0 { json!(["five"]) } else { json!([]) }, "title": format!("Number {i}")}))
        .collect();
    client.post("/api/v1/links/bulk", &json!({"links": links})).await.expect(200);
    let (mut path, mut seen) = ("/api/v1/links?limit=10".to_owned(), Vec::new());
    loop {
        let reply = client.get(&path).await.expect(200);
        let page = reply.json();
        seen.extend(page["data"].as_array().expect("data").iter().map(|link| link["target"].to_string()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert!(reply.header("link").contains("rel=\"next\""));
        path = format!("/api/v1/links?limit=10&cursor={cursor}");
    }
    let expected: Vec<_> = (0..25).rev().map(|i| format!("\"https://example.com/{i}\"")).collect();
    assert_eq!(seen, expected, "newest first, none twice, none missing");
    let tagged = client.get("/api/v1/links?tag=five").await.expect(200).json();
    assert_eq!(tagged["data"].as_array().map(Vec::len), Some(5));
    let found = client.get("/api/v1/links?q=number%2023").await.expect(200).json();
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1));
    client.get("/api/v1/links?cursor=nonsense!").await.expect(422);
    let tags = client.get("/api/v1/tags").await.expect(200).text();
    assert!(tags.contains("five") && tags.contains('5'), "{tags}");
    let code = found["data"][0]["code"].as_str().expect("a code");
    client.get(&format!("/api/v1/links/lookup?code={code}")).await.expect(200);
    client.get("/api/v1/links/lookup?code=nobody-has-it").await.expect(404);
}

async fn a_code_made_elsewhere_of_the_generated_shape_is_found(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    cluster.anonymous().get("/Zz9Zz9Z").await.expect(404);
    client.create(&json!({"target": "https://example.com/old", "code": "Zz9Zz9Z"})).await;
    assert_eq!(cluster.anonymous().get("/Zz9Zz9Z").await.expect(302).location(), "https://example.com/old");
    cluster.anonymous().get("/zz9zz9z").await.expect(404);
}

async fn never_leased_codes_are_404_without_the_store(shape: Shape) {
    let cluster = shape.cluster().start();
    cluster.client().create(&json!({"target": "https://example.com/a"})).await;
    let before = cluster.metric("terse_cache_requests_total", &[("tier", "store")]).await;
    for i in 0..200 {
        cluster.anonymous().get(&format!("/Zz9{i:04}")).await.expect(404);
    }
    let read = cluster.metric("terse_cache_requests_total", &[("tier", "store")]).await - before;
    // 2^21 of 62^7 counters are open: one random code in 1.7 million reads the store.
    assert!(read <= 1.0, "{read} store reads for 200 codes that were never issued");
}
