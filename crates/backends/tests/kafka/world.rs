//! Topics of a test's own, and clicks with known totals.

use std::time::Duration;

use backends::kafka::{self, Url};
use chassis::Lifecycle;
use domain::port::ClickLog;
use domain::{Browser, Click, Device, DomainNo, LinkId, System, UnixMs};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

pub(crate) const NOW: UnixMs = UnixMs::new(1_795_000_000_000);
/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn brokers() -> String {
    #[expect(clippy::disallowed_methods, reason = "where the test servers are is told by the environment")]
    let address = std::env::var("TERSE_TEST_KAFKA");
    address.expect("these tests need Kafka: run scripts/test, or scripts/stack up and set TERSE_TEST_KAFKA=127.0.0.1:PORT")
}

fn random() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    format!("{:016x}", u64::from_le_bytes(bytes))
}

/// Two topics, removed at the end.
pub(crate) struct Topics {
    pub(crate) name: String,
    partitions: usize,
}

impl Topics {
    pub(crate) async fn make(partitions: usize) -> Self {
        let topics = Self { name: random(), partitions };
        kafka::migrate(&topics.url(""), &topics.options()).await.unwrap();
        topics
    }

    pub(crate) fn none_yet(partitions: usize) -> Self {
        Self { name: random(), partitions }
    }

    pub(crate) fn options(&self) -> kafka::TopicOptions {
        kafka::TopicOptions { click_partitions: self.partitions, link_event_partitions: 2, ..kafka::TopicOptions::default() }
    }

    pub(crate) fn url(&self, more: &str) -> Url {
        let name = &self.name;
        let text = format!("kafka://{}/test.{name}.clicks?link_events=test.{name}.events&group=test.{name}.a&{more}", brokers());
        Url::parse(&text).unwrap()
    }

    pub(crate) fn clicks(&self) -> String {
        format!("test.{}.clicks", self.name)
    }

    pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap()
    }

    pub(crate) async fn delete(&self) {
        let events = format!("test.{}.events", self.name);
        Self::admin().delete_topics(&[&self.clicks(), &events], &AdminOptions::new()).await.unwrap();
    }

    /// The offset after the last record of each partition.
    pub(crate) async fn ends(&self) -> Vec<u64> {
        let (topic, partitions) = (self.clicks(), self.partitions);
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
            let end = |partition| consumer.fetch_watermarks(&topic, partition, PATIENCE).unwrap().1;
            (0..i32::try_from(partitions).unwrap()).map(|partition| u64::try_from(end(partition)).unwrap()).collect()
        })
        .await
        .unwrap()
    }
}

pub(crate) fn life() -> Lifecycle {
    Lifecycle::new(Duration::from_secs(30))
}

pub(crate) fn click(link: u64) -> Click<'static> {
    Click {
        link: LinkId::new(link),
        domain: DomainNo::DEFAULT,
        code: "4fK9aQz",
        owner: "ann",
        at: NOW,
        visitor: link,
        country: None,
        language: None,
        referrer: "",
        browser: Browser::Firefox,
        system: System::Linux,
        device: Device::Desktop,
        bot: "",
        utm_source: "",
        utm_medium: "",
        utm_campaign: "",
    }
}

/// Records every click, waiting for room where there is none.
pub(crate) async fn record_all(log: &dyn ClickLog, links: impl Iterator<Item = u64>) {
    for link in links {
        while log.record(&click(link)).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}
