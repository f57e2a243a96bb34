//! The contract of click logs, on a topic of one partition.

use std::sync::Arc;

use backends::kafka::{ClickFeed, ClickFeedOptions, ClickLog, ClickLogOptions};
use chassis::Lifecycle;
use domain::port::contract::click_log as contract;
use domain::port::{Assignment, ClickFeed as _, ClickSource};

use crate::world::{PATIENCE, Topics, life};

async fn both_ends(life: &Lifecycle) -> (Topics, Arc<ClickLog>, ClickFeed, Box<dyn ClickSource>) {
    let topics = Topics::make(1).await;
    let log = ClickLog::start(&topics.url(""), ClickLogOptions::default(), life).unwrap();
    let mut feed = ClickFeed::start(&topics.url(""), ClickFeedOptions::default(), life).unwrap();
    let gained = tokio::time::timeout(PATIENCE, feed.next()).await.unwrap().unwrap();
    let Assignment::Gained(source) = gained else { panic!("it is gained first") };
    (topics, log, feed, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_come_back_as_they_were_in_order() {
    let life = life();
    let (topics, log, _feed, source) = both_ends(&life).await;
    contract::clicks_come_back_as_they_were_in_order(log, source).await;
    topics.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_waits_for_a_click() {
    let life = life();
    let (topics, log, _feed, source) = both_ends(&life).await;
    contract::reading_waits_for_a_click(log, source).await;
    topics.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeking_reads_again() {
    let life = life();
    let (topics, log, _feed, source) = both_ends(&life).await;
    contract::seeking_reads_again(log, source).await;
    topics.delete().await;
}
