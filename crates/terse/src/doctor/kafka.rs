//! The brokers and the topics.

use backends::kafka::{Fault, GroupProtocol, Look, Url};
use chassis::Finding;
use domain::port::PortError;

use crate::config::Config;
use crate::wire;

pub(super) async fn examine(config: &Config, url: &Url) -> Vec<Finding> {
    let look = match wire::look::brokers(url).await {
        Ok(look) => look,
        Err(error) => return vec![silent("kafka", url, &error)],
    };
    let mut findings = vec![Finding::ok("kafka", format!("{} brokers: {}", look.brokers.len(), look.brokers.join(", ")))];
    findings.push(groups(url, &look));
    findings.push(made_by_name(url, &look));
    match wire::look::topics(config, url).await {
        Ok(faults) => findings.extend(topics(url, &faults)),
        Err(error) => findings.push(silent("kafka topics", url, &error)),
    }
    findings
}

fn silent(name: &str, url: &Url, error: &PortError) -> Finding {
    let cause = error.source.as_deref().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    let mend = format!(
        "start the brokers, and see that this machine reaches {}: kafka-broker-api-versions.sh --bootstrap-server {0}",
        url.brokers()
    );
    Finding::fail(name, cause, mend)
}

/// With `classic` a consumer that is killed blocks its partitions for as long as its session lasts.
fn groups(url: &Url, look: &Look) -> Finding {
    const NAME: &str = "kafka groups";
    let offers = |protocol: &str| look.group_protocols.iter().any(|offered| offered == protocol);
    let offered = if look.group_protocols.is_empty() { "classic".to_owned() } else { look.group_protocols.join(", ") };
    match url.protocol() {
        GroupProtocol::Consumer if !offers("consumer") => Finding::fail(
            NAME,
            format!("protocol=consumer is asked for, and the brokers offer {offered}"),
            "take protocol=consumer out of the URL of the clicks, or upgrade to Kafka 4",
        ),
        GroupProtocol::Auto | GroupProtocol::Consumer if offers("consumer") => Finding::ok(NAME, "protocol consumer"),
        GroupProtocol::Auto | GroupProtocol::Consumer | GroupProtocol::Classic => {
            Finding::ok(NAME, format!("protocol classic; the brokers offer {offered}"))
        }
    }
}

fn made_by_name(url: &Url, look: &Look) -> Finding {
    if !look.makes_topics {
        return Finding::ok("kafka brokers", "topics are made by terse migrate alone");
    }
    let detail = "a topic is made by whoever names it: with one partition, and one copy";
    let mend = format!(
        "kafka-configs.sh --bootstrap-server {} --entity-type brokers --entity-default --alter --add-config auto.create.topics.enable=false",
        url.brokers()
    );
    Finding::warn("kafka brokers", detail, mend)
}

fn topics(url: &Url, faults: &[Fault]) -> Vec<Finding> {
    if faults.is_empty() {
        let detail = format!("{} and {} have the partitions, copies and settings they need", url.topic(), url.link_events());
        return vec![Finding::ok("kafka topics", detail)];
    }
    let finding = |fault: &Fault| {
        let (name, what, mend) = ("kafka topics", fault.what.as_str(), fault.mend.as_str());
        if fault.is_warning { Finding::warn(name, what, mend) } else { Finding::fail(name, what, mend) }
    };
    faults.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use chassis::Status;

    use super::*;

    #[test]
    fn protocols_of_groups() {
        let look = |protocols: &[&str]| Look {
            brokers: Vec::new(),
            group_protocols: protocols.iter().map(|name| (*name).to_owned()).collect(),
            makes_topics: false,
        };
        for (query, offered, status, says) in [
            ("", &["classic", "consumer"][..], Status::Ok, "protocol consumer"),
            ("", &[], Status::Ok, "protocol classic"),
            ("?protocol=classic", &["classic", "consumer"], Status::Ok, "protocol classic"),
            ("?protocol=consumer", &["classic"], Status::Fail, "asked for"),
        ] {
            let url = Url::parse(&format!("kafka://a/terse.clicks{query}")).unwrap();
            let found = groups(&url, &look(offered));
            assert!(found.status == status && found.detail.contains(says), "{query} {offered:?}: {found:?}");
        }
    }
}
