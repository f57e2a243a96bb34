//! `kill -9` at random moments under mixed load: whatever was acknowledged is there afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::clicks::until_counted;
use crate::client::Client;
use crate::cluster::Cluster;

const ROUNDS: usize = 50;
const WRITERS: usize = 6;
const CLICKERS: usize = 4;

/// What one client was told before the process died.
#[derive(Default)]
struct Told {
    /// Id → (code, target, version, deleted).
    links: HashMap<String, (String, String, u64, bool)>,
    /// A change was sent and not answered: it may or may not have been made.
    unsure: Option<String>,
    /// Clicks answered, and clicks sent without an answer.
    clicks: u64,
    clicks_unsure: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_survives_fifty_kills() {
    let mut cluster = Cluster::all_in_one().start();
    let key = cluster.admin_key();
    let clicked = cluster.client().create(&json!({"target": "https://example.com/clicked", "alias": "clicked"})).await;
    let clicked = clicked["id"].as_str().expect("an id").to_owned();
    let mut known: HashMap<String, (String, String, u64, bool)> = HashMap::new();
    let (mut clicks, mut clicks_unsure) = (0, 0);
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let client = Client::new(cluster.public()).with_key(&key);
        let writers = (0..WRITERS).map(|writer| write(client.clone(), format!("r{round}w{writer}"), stop.clone()));
        let clickers = (0..CLICKERS).map(|_| click(Client::new(cluster.public()), stop.clone()));
        let mut tasks = tokio::task::JoinSet::new();
        writers.for_each(|task| drop(tasks.spawn(task)));
        clickers.for_each(|task| drop(tasks.spawn(task)));
        // The moment differs from round to round; nothing is asserted about it.
        tokio::time::sleep(Duration::from_millis(20 + (round as u64 * 37) % 160)).await;
        cluster.kill();
        stop.store(true, Ordering::Relaxed);
        for told in tasks.join_all().await {
            clicks += told.clicks;
            clicks_unsure += told.clicks_unsure;
            let unsure = told.unsure;
            known.extend(told.links.into_iter().filter(|(id, _)| unsure.as_ref() != Some(id)));
        }
        cluster.start();
    }
    assert!(known.len() > ROUNDS && clicks > ROUNDS as u64, "{} links, {clicks} clicks: no load at all", known.len());
    check_links(&cluster.client(), &known).await;
    check_clicks(&cluster.client(), &clicked, clicks, clicks_unsure).await;
}

async fn write(client: Client, name: String, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    let mut i = 0;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let target = format!("https://example.com/{name}/{i}");
        let Some(link) =
            answered(client.try_send(http::Method::POST, "/api/v1/links", Some(json!({"target": target}).to_string().into())).await)
        else {
            break;
        };
        let (id, code) = (link["id"].as_str().expect("an id").to_owned(), link["code"].as_str().expect("a code").to_owned());
        told.links.insert(id.clone(), (code.clone(), target, 1, false));
        let path = format!("/api/v1/links/{id}");
        if i % 3 == 0 {
            told.unsure = Some(id.clone());
            let target = format!("https://example.com/{name}/{i}/changed");
            let Some(link) =
                answered(client.try_send(http::Method::PATCH, &path, Some(json!({"target": target}).to_string().into())).await)
            else {
                break;
            };
            told.links.insert(id.clone(), (code.clone(), target, link["version"].as_u64().expect("a version"), false));
            told.unsure = None;
        }
        if i % 5 == 0 {
            told.unsure = Some(id.clone());
            if client.try_send(http::Method::DELETE, &path, None).await.map(|reply| reply.status.as_u16()).ok() != Some(204) {
                break;
            }
            let link = told.links.get_mut(&id).expect("just made");
            (link.2, link.3) = (link.2 + 1, true);
            told.unsure = None;
        }
    }
    told
}

fn answered<E>(reply: Result<crate::client::Reply, E>) -> Option<Value> {
    reply.ok().filter(|reply| reply.status.is_success()).and_then(|reply| serde_json::from_slice(&reply.body).ok())
}

async fn click(client: Client, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    while !stop.load(Ordering::Relaxed) {
        match client.try_send(http::Method::GET, "/clicked", None).await {
            Ok(reply) if reply.status == 302 => told.clicks += 1,
            Ok(reply) => panic!("{} for a link that exists", reply.status),
            Err(_) => {
                told.clicks_unsure += 1;
                break;
            }
        }
    }
    told
}

async fn check_links(client: &Client, known: &HashMap<String, (String, String, u64, bool)>) {
    let codes: std::collections::HashSet<_> = known.values().map(|link| &link.0).collect();
    assert_eq!(codes.len(), known.len(), "a code was given twice");
    let all: Vec<_> = known.iter().collect();
    for some in all.chunks(100) {
        let replies = join_all(some.iter().map(|(id, _)| {
            let client = client.clone();
            async move { client.get(&format!("/api/v1/links/{id}")).await }
        }))
        .await;
        for ((id, (code, target, version, deleted)), reply) in some.iter().zip(replies) {
            let link = reply.expect(200).json();
            assert_eq!((&link["code"], &link["target"], &link["version"]), (&json!(code), &json!(target), &json!(version)), "{id}");
            assert_eq!(link["state"] == "deleted", *deleted, "{id}");
        }
    }
}

/// Every answered click is counted; of those without an answer, some may have been recorded.
async fn check_clicks(client: &Client, id: &str, answered: u64, unsure: u64) {
    // One more click, made last, is counted after all others: the log is read in order.
    client.get("/clicked").await.expect(302);
    let link = client.create(&json!({"target": "https://example.com/last", "alias": "last-one"})).await;
    client.get("/last-one").await.expect(302);
    until_counted(client, link["id"].as_str().expect("an id"), 1).await;
    let stats = client.get(&format!("/api/v1/links/{id}/stats")).await.expect(200).json();
    let counted = stats["total"].as_u64().expect("a number") - 1;
    assert!((answered..=answered + unsure).contains(&counted), "{counted} counted, {answered} answered, {unsure} without an answer");
}
