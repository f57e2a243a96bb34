//! Traces, as a collector gets them: whole from the door to the store, linked from the click to its counting, and never a
//! word about who clicked what.

use serde_json::json;

use crate::cluster::{Builder, Cluster, Role, Shape, both_shapes};
use crate::collector::{Collected, Collector, hex};

both_shapes!(
    a_redirect_is_one_trace_and_its_click_is_linked,
    a_code_that_no_cache_knows_is_one_trace_to_the_store,
    a_create_is_one_trace_to_the_store,
);

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced(cluster: Builder, collector: &Collector, sample_one_in: u32) -> Builder {
    cluster.set("TERSE__TRACES__OTLP_ENDPOINT", &collector.endpoint()).set("TERSE__TRACES__SAMPLE_ONE_IN", &sample_one_in)
}

/// The service that has this part in a shape.
fn service(shape: Shape, of: &str) -> String {
    match shape {
        Shape::AllInOne => "terse".into(),
        Shape::Services => format!("terse-{of}"),
    }
}

/// All spans of the trace of the request that a span named `root` began.
fn whole(spans: &[Collected], root: &Collected) -> Vec<Collected> {
    spans.iter().filter(|of| of.span.trace_id == root.span.trace_id).cloned().collect()
}

/// Whether every span of it but one is part of another one of it: processes export when they like, the inner spans first.
fn is_one_tree(trace: &[Collected]) -> bool {
    let ids: Vec<_> = trace.iter().map(|of| &of.span.span_id).collect();
    trace.iter().filter(|of| !ids.contains(&&of.span.parent_span_id)).count() == 1
}

/// A service, and the name of a span of it; with a `*` at its end, its beginning.
type Part = (String, &'static str);

fn is_part(of: &Collected, (service, name): &Part) -> bool {
    let named = name.strip_suffix('*').map_or(of.span.name == *name, |beginning| of.span.name.starts_with(beginning));
    of.service == *service && named
}

/// A trace from this root that has each of the parts, once all of it has come.
async fn trace_with(collector: &Collector, root: &Part, parts: &[Part]) -> Vec<Collected> {
    let find = |spans: &[Collected]| {
        let mut traces = spans.iter().filter(|of| is_part(of, root)).map(|root| whole(spans, root));
        let is_there = |trace: &Vec<Collected>| parts.iter().all(|part| trace.iter().any(|of| is_part(of, part))) && is_one_tree(trace);
        traces.find(is_there)
    };
    collector.until(&format!("{root:?} with {parts:?}"), find).await
}

/// How a code crosses to the service that resolves it, if it must, and is looked up.
fn resolving(shape: Shape) -> Vec<Part> {
    let (gateway, redirect) = (service(shape, "gateway"), service(shape, "redirect"));
    match shape {
        Shape::AllInOne => vec![(redirect, "find a link")],
        Shape::Services => vec![
            (gateway.clone(), "terse.v1.Resolver/Resolve"),
            (redirect.clone(), "terse.v1.Resolver/Resolve"),
            (gateway, "terse.v1.Resolver/ResolveOne"),
            (redirect.clone(), "terse.v1.Resolver/ResolveOne"),
            (redirect, "HMGET"),
        ],
    }
}

async fn a_redirect_is_one_trace_and_its_click_is_linked(shape: Shape) {
    let collector = Collector::start().await;
    let cluster = traced(shape.cluster(), &collector, 1).start();
    let link = cluster.client().create(&json!({"target": "https://example.com/secret?token=canary"})).await;
    let code = link["code"].as_str().expect("a code");
    let agent = cluster.anonymous().with("user-agent", "canary-agent/1.0").with("traceparent", TRACEPARENT);
    let reply = agent.get(&format!("/{code}?utm_source=canary")).await.expect(302);

    let mut parts = resolving(shape);
    parts.push((service(shape, "redirect"), "create *"));
    let trace = trace_with(&collector, &(service(shape, "gateway"), "GET /{code}"), &parts).await;
    let root = trace.iter().find(|of| of.span.name == "GET /{code}").expect("the request");
    assert_eq!(root.attribute("http.response.status_code"), "302");
    assert_eq!(root.attribute("terse.request_id"), reply.header("x-request-id"));
    assert_ne!(hex(&root.span.trace_id), TRACEPARENT[3..35], "a stranger says nothing of traces");

    let creation = trace.iter().find(|of| of.attribute("messaging.operation.name") == "create").expect("the making of the click");
    let (analytics, trace_id) = (service(shape, "analytics"), &root.span.trace_id);
    let counting = collector.until("linked counting", |spans| {
        let mut countings = spans.iter().filter(|of| of.is_named(&analytics, "process clicks"));
        countings.find(|of| of.span.links.iter().any(|link| link.trace_id == *trace_id && link.span_id == creation.span.span_id)).cloned()
    });
    let counting = counting.await;
    assert_ne!(counting.span.trace_id, *trace_id, "it counts the clicks of many");
    let stored = |spans: &[Collected]| spans.iter().any(|of| of.span.parent_span_id == counting.span.span_id).then_some(());
    collector.until("the storing of the counts", stored).await;

    for word in ["canary", "127.0.0.1", code, &cluster.admin_key()] {
        let telling: Vec<_> = collector.now().into_iter().filter(|of| tells(of, word)).collect();
        assert!(telling.is_empty(), "{word} in {telling:#?}");
    }
}

/// Whether a span says the word anywhere but in the address of a server of ours.
fn tells(of: &Collected, word: &str) -> bool {
    let mut span = of.span.clone();
    span.attributes.retain(|attribute| attribute.key != "server.address");
    format!("{span:?}").contains(word)
}

async fn a_code_that_no_cache_knows_is_one_trace_to_the_store(shape: Shape) {
    let collector = Collector::start().await;
    let cluster = traced(shape.cluster(), &collector, 1).start();
    cluster.anonymous().get("/never-made").await.expect(404);
    let mut parts = resolving(shape);
    if shape == Shape::Services {
        parts.push(("terse-redirect".into(), "SELECT links"));
    }
    let trace = trace_with(&collector, &(service(shape, "gateway"), "GET /{code}"), &parts).await;
    let request = trace.iter().find(|of| of.span.name == "GET /{code}").expect("the request");
    assert_eq!((request.attribute("http.response.status_code"), request.attribute("error.type")), ("404".into(), String::new()));
}

async fn a_create_is_one_trace_to_the_store(shape: Shape) {
    let collector = Collector::start().await;
    let cluster = traced(shape.cluster(), &collector, 1).start();
    cluster.client().create(&json!({"target": "https://example.com/a"})).await;
    let (gateway, links) = (service(shape, "gateway"), service(shape, "links"));
    let parts: Vec<Part> = match shape {
        Shape::AllInOne => vec![(links, "insert links")],
        Shape::Services => vec![
            (gateway.clone(), "terse.v1.Links/Create"),
            (links.clone(), "terse.v1.Links/Create"),
            (links.clone(), "terse.v1.Ids/NextIds"),
            (service(shape, "ids"), "terse.v1.Ids/NextIds"),
            (links, "INSERT links"),
        ],
    };
    trace_with(&collector, &(gateway, "POST /api/v1/links"), &parts).await;
}

/// What a client began before a trusted proxy is one trace over all services, whatever else is sampled.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxys_trace_is_one_over_all_five_services() {
    let collector = Collector::start().await;
    let cluster = traced(Cluster::services(), &collector, 1_000_000).set("TERSE__GATEWAY__TRUSTED_PROXIES", &"127.0.0.0/8").start();
    let client = cluster.client().with("traceparent", TRACEPARENT).with("x-request-id", "one-for-all");
    let link = client.create(&json!({"target": "https://example.com/a"})).await;
    client.get(&format!("/{}", link["code"].as_str().expect("a code"))).await.expect(302);
    client.get(&format!("/api/v1/links/{}/stats", link["id"].as_str().expect("an id"))).await.expect(200);

    let of_it = |spans: &[Collected]| spans.iter().filter(|of| hex(&of.span.trace_id) == TRACEPARENT[3..35]).cloned().collect::<Vec<_>>();
    let five = ["gateway", "links", "ids", "redirect", "analytics"].map(|role| format!("terse-{role}"));
    let trace = collector.until("span of each service in the trace", |spans| {
        let trace = of_it(spans);
        five.iter().all(|service| trace.iter().any(|of| of.service == *service)).then_some(trace)
    });
    let trace = trace.await;
    let requests: Vec<_> = trace.iter().filter(|of| hex(&of.span.parent_span_id) == TRACEPARENT[36..52]).collect();
    assert!(requests.iter().all(|of| of.service == "terse-gateway" && of.attribute("terse.request_id") == "one-for-all"));
}

/// One in a million is sampled here: what is kept is kept because of how it ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_is_kept_though_it_was_not_sampled() {
    let collector = Collector::start().await;
    let cluster = traced(Cluster::all_in_one(), &collector, 1_000_000).set("TERSE__TRACES__SLOW_MS", &0).start();
    cluster.client().create(&json!({"target": "https://example.com/a", "alias": "slowly"})).await;
    for _ in 0..2 {
        cluster.anonymous().get("/slowly").await.expect(302);
    }
    let from_memory = collector.until("two redirects", |spans| {
        let mut redirects = spans.iter().filter(|of| of.span.name == "GET /{code}");
        redirects.nth(1).cloned()
    });
    let from_memory = from_memory.await;
    assert_eq!((from_memory.attribute("terse.kept"), from_memory.span.flags), ("slow".into(), 0));
    assert!(!collector.now().iter().any(|of| of.span.name.starts_with("create ")), "clicks carry only traces that are kept whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_exported_before_the_process_ends() {
    let collector = Collector::start().await;
    let mut cluster = traced(Cluster::all_in_one(), &collector, 1).start();
    cluster.client().create(&json!({"target": "https://example.com/a", "alias": "last"})).await;
    cluster.anonymous().get("/last").await.expect(302);
    assert_eq!(cluster.interrupt(), Some(0));
    let names: Vec<_> = collector.now().into_iter().map(|of| of.span.name).collect();
    for expected in ["GET /{code}", "create clicks", "process clicks"] {
        assert!(names.iter().any(|name| name == expected), "{expected} not in {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_spans_and_one_line() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut cluster = Cluster::all_in_one()
        .set("TERSE__TRACES__OTLP_ENDPOINT", &format_args!("http://{nobody}"))
        .set("TERSE__TRACES__SAMPLE_ONE_IN", &1)
        .start();
    cluster.client().create(&json!({"target": "https://example.com/a", "alias": "alone"})).await;
    for failed in [1.0, 2.0] {
        cluster.anonymous().get("/alone").await.expect(302);
        let more = async {
            while lost(&cluster).await < failed {
                tokio::time::sleep(crate::cluster::POLL).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), more).await.expect("counted");
    }
    assert_eq!(cluster.interrupt(), Some(0));
    assert_eq!(cluster.log().matches("traces cannot be exported").count(), 1, "{}", cluster.log());
}

async fn lost(cluster: &Cluster) -> f64 {
    cluster.metric("terse_trace_spans_total", &[("outcome", "failed")]).await
}

/// One in a million is sampled here, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_kept_and_found_in_the_log_under_the_same_names() {
    let collector = Collector::start().await;
    let mut cluster = traced(Cluster::services(), &collector, 1_000_000).set("TERSE__TRACES__SLOW_MS", &"1h").start();
    let client = cluster.client();
    cluster.service(Role::Links, 0).kill();
    let reply = client.post("/api/v1/links", &json!({"target": "https://example.com/a"})).await.expect(503);

    let gateway = service(Shape::Services, "gateway");
    let parts = [(gateway.clone(), "terse.v1.Links/Create")];
    let trace = trace_with(&collector, &(gateway, "POST /api/v1/links"), &parts).await;
    assert!(
        trace.iter().all(|of| of.attribute("terse.kept") == "failed" && of.span.status.as_ref().is_some_and(|status| status.code == 2))
    );
    let request = trace.iter().find(|of| of.span.name == "POST /api/v1/links").expect("the request");
    assert_eq!(request.attribute("error.type"), "503");

    let (id, trace_id) = (reply.header("x-request-id"), hex(&request.span.trace_id));
    let log = cluster.log();
    let line = log.lines().find(|line| line.contains("request failed") && line.contains(id));
    let line: serde_json::Value = serde_json::from_str(line.expect("the failure in the log")).expect("JSON");
    assert_eq!((&line["request_id"], &line["trace_id"]), (&json!(id), &json!(trace_id)));
}
