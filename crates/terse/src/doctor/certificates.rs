//! Until when certificates are valid.

use std::path::Path;
use std::time::Duration;

use backends::system::SystemClock;
use chassis::Finding;
use domain::port::Clock as _;

use crate::certificate;
use crate::config::Config;

/// Renewing takes a person: this many days are little enough to be told.
const WARN_DAYS: i64 = 14;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let named = [
        ("tls.cert", &config.tls.cert),
        ("grpc.cert", &config.grpc.cert),
        ("grpc.client_ca", &config.grpc.client_ca),
        ("services.cert", &config.services.cert),
        ("services.ca", &config.services.ca),
    ];
    let named = named.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
    named.map(|(key, path)| judge(key, path, SystemClock.now().get() / 1_000)).collect()
}

fn judge(key: &str, path: &Path, now_s: i64) -> Finding {
    let name = format!("{key} expiry");
    let place = path.display();
    let ends = match certificate::not_after(path) {
        Ok(ends) => ends,
        Err(error) => return Finding::fail(name, format!("{place} cannot be read: {error}"), format!("correct {key}, or take it out")),
    };
    let days = (ends - now_s).div_euclid(i64::try_from(Duration::from_hours(24).as_secs()).unwrap_or(i64::MAX));
    let mend = format!("renew it and put it in the place of {place}: running processes take it up within 5 s");
    if ends <= now_s {
        Finding::fail(name, format!("{place} ended {} days ago", -days), mend)
    } else if days < WARN_DAYS {
        Finding::warn(name, format!("{place} ends in {days} days"), mend)
    } else {
        Finding::ok(name, format!("{place} is valid for {days} days"))
    }
}

#[cfg(test)]
mod tests {
    use chassis::Status;

    use super::*;

    #[test]
    fn the_first_of_a_chain_to_end_counts() {
        const ENDS: i64 = 1_893_456_000;
        const DAY: i64 = 86_400;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        let pem = |year: i32| {
            let mut params = rcgen::CertificateParams::new(vec!["go.example.com".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        };
        std::fs::write(&path, pem(2040) + &pem(2030)).unwrap();
        for (now_s, status, says) in [
            (ENDS - 100 * DAY, Status::Ok, "100 days"),
            (ENDS - 13 * DAY, Status::Warn, "13 days"),
            (ENDS, Status::Fail, "0 days ago"),
            (ENDS + 9 * DAY, Status::Fail, "9 days ago"),
        ] {
            let found = judge("tls.cert", &path, now_s);
            assert!(found.status == status && found.detail.contains(says), "{found:?}");
        }
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(judge("tls.cert", &path, ENDS).status, Status::Fail);
        assert_eq!(judge("tls.cert", &folder.path().join("missing"), ENDS).status, Status::Fail);
    }
}
