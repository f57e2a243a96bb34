//! Clients that give up after a moment and send again, through another gateway, while services are killed: a key makes one link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::cluster::{Cluster, Role};
use crate::plan::{Dice, Plan};

const SENDERS: u64 = 6;
/// Far more than any client tries.
const TRIES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_makes_one_link() {
    let mut plan = Plan::of("idempotency", 15);
    let mut cluster = Cluster::services().gateways(2).links(2).redirects(1).analytics(1).start();
    let key = cluster.admin_key();
    let gateways = [0, 1].map(|index| Client::new(cluster.service(Role::Gateway, index).addresses().0).with_key(&key));
    let (stop, given_up) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let sender = Sender { number, gateways: gateways.clone(), dice: Dice::new(plan.dice.below(u64::MAX)), given_up: given_up.clone() };
        senders.spawn(sender.run(stop.clone()));
    }
    plan.begin();
    let mut kills = 0;
    while plan.goes_on() {
        tokio::time::sleep(plan.dice.ms(1_000, 4_000)).await;
        let index = plan.dice.index(2);
        tokio::task::block_in_place(|| {
            cluster.service(Role::Links, index).kill();
            cluster.service(Role::Links, index).start();
        });
        kills += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let answered: BTreeMap<String, BTreeSet<String>> = senders.join_all().await.into_iter().flatten().collect();
    let given_up = given_up.load(Ordering::Relaxed);
    println!("soak idempotency: {} keys, {given_up} requests given up, {kills} kills", answered.len());
    assert!(answered.len() > 10 && given_up > 10, "{} keys, {given_up} requests given up", answered.len());
    assert_eq!(made_twice(&answered), [""; 0], "by what was answered");
    let listed = listed(&cluster.client()).await;
    assert_eq!(made_twice(&listed), [""; 0], "by what is listed");
    for (target, ids) in &answered {
        assert_eq!(listed.get(target), Some(ids), "{target}");
    }
}

/// Targets, each of which belongs to one key, with more than one link.
fn made_twice(links: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    links.iter().filter(|(_, ids)| ids.len() > 1).map(|(target, ids)| format!("{target}: {ids:?}")).collect()
}

struct Sender {
    number: u64,
    gateways: [Client; 2],
    dice: Dice,
    given_up: Arc<AtomicU64>,
}

impl Sender {
    /// Answers the ids that were answered for each target.
    async fn run(mut self, stop: Arc<AtomicBool>) -> Vec<(String, BTreeSet<String>)> {
        let mut answered = Vec::new();
        for order in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("{}-{order}", self.number);
            let target = format!("https://example.com/order/{name}");
            let ids = self.order(&name, &target).await;
            answered.push((target, ids));
        }
        answered
    }

    /// Until it was answered twice, in case the second answer is another.
    async fn order(&mut self, name: &str, target: &str) -> BTreeSet<String> {
        let (mut ids, mut answers) = (BTreeSet::new(), 0);
        let draft = json!({"target": target}).to_string();
        for number in 0..TRIES {
            let client = self.gateways[number % 2].clone().with("idempotency-key", name);
            // Ever longer: on a slow machine even the last of them is to come through.
            let patience = self.dice.ms(1, 500) * u32::try_from(1 + number / 10).expect("small");
            let sent = client.try_send(http::Method::POST, "/api/v1/links", Some(draft.clone().into()));
            match tokio::time::timeout(patience, sent).await {
                Ok(Ok(reply)) if reply.status == 201 => {
                    ids.insert(reply.json()["id"].as_str().expect("an id").to_owned());
                    answers += 1;
                }
                Ok(Ok(reply)) => {
                    let status = reply.status.as_u16();
                    assert!(matches!(status, 409 | 429 | 500..), "{status} {}", reply.text());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Ok(Err(_)) => {}
                Err(_) => drop(self.given_up.fetch_add(1, Ordering::Relaxed)),
            }
            if answers == 2 {
                return ids;
            }
        }
        panic!("{name} was not answered in {TRIES} tries");
    }
}

/// All links there are, by target.
async fn listed(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let (mut links, mut path) = (BTreeMap::<String, BTreeSet<String>>::new(), "/api/v1/links?limit=100".to_owned());
    loop {
        let page = client.get(&path).await.expect(200).json();
        for link in page["data"].as_array().expect("links") {
            let text = |name: &str| link[name].as_str().expect("a text").to_owned();
            links.entry(text("target")).or_default().insert(text("id"));
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return links };
        path = format!("/api/v1/links?limit=100&cursor={cursor}");
    }
}

#[test]
fn sabotage_two_links_of_one_key_are_noticed() {
    let links = |ids: &[&str]| BTreeMap::from([("t".to_owned(), ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>())]);
    assert!(made_twice(&links(&["1"])).is_empty());
    assert_eq!(made_twice(&links(&["1", "2"])).len(), 1);
}
