//! Making, widening and judging topics.

use backends::kafka::{self, TopicOptions};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};

use crate::world::Topics;

#[tokio::test]
async fn migrate_makes_what_is_missing_widens_and_mends_and_then_does_nothing() {
    let topics = Topics::none_yet(3);
    let (url, options) = (topics.url(""), topics.options());
    let faults = kafka::inspect(&url, &options).await.unwrap();
    assert_eq!(faults.iter().filter(|fault| !fault.is_warning && fault.mend.contains("terse migrate")).count(), 2, "{faults:?}");

    let applied = async |options: &TopicOptions| {
        let steps = kafka::migrate(&url, options).await.unwrap();
        steps.into_iter().filter(|step| step.applied).map(|step| step.what).collect::<Vec<_>>()
    };
    assert_eq!(applied(&options).await.len(), 2);
    assert_eq!(applied(&options).await, Vec::<String>::new());
    assert_eq!(kafka::inspect(&url, &options).await.unwrap(), []);

    let wider = TopicOptions { click_partitions: 5, ..options };
    assert!(kafka::inspect(&url, &wider).await.unwrap().iter().any(|fault| fault.what.contains("3 partitions of 5") && fault.is_warning));
    assert_eq!(applied(&wider).await.len(), 1);
    assert_eq!(applied(&options).await, Vec::<String>::new(), "never made narrower");

    // An operator's retention stays; what promises rest on is set again.
    let clicks = topics.clicks();
    let change = AlterConfig::new(ResourceSpecifier::Topic(&clicks)).set("cleanup.policy", "compact").set("retention.ms", "3600000");
    let changed = Topics::admin().alter_configs([&change], &AdminOptions::new()).await.unwrap();
    assert!(changed.iter().all(Result::is_ok));
    let faults = kafka::inspect(&url, &wider).await.unwrap();
    assert_eq!(faults.iter().map(|fault| fault.is_warning).collect::<Vec<_>>(), [false, true], "{faults:?}");
    assert_eq!(applied(&wider).await.len(), 1);
    let faults = kafka::inspect(&url, &wider).await.unwrap();
    assert!(faults.len() == 1 && faults[0].what.contains("3600000 ms"), "{faults:?}");
    topics.delete().await;
}

#[tokio::test]
async fn without_brokers_both_say_so() {
    let url = kafka::Url::parse("kafka://127.0.0.1:1/clicks").unwrap();
    assert!(kafka::inspect(&url, &TopicOptions::default()).await.is_err());
}
