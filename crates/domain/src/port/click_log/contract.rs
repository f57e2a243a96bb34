//! What every click log and its source must do. Each test takes an empty log.
#![expect(clippy::missing_panics_doc, reason = "a contract test fails by a panic")]

use std::sync::Arc;

use compact_str::{CompactString, format_compact};

use super::{ClickLog, ClickSource};
use crate::model::{Browser, Click, Country, Device, Language, LinkId, LoggedClick, System};
use crate::port::contract::{DOMAIN, join_all, owner};
use crate::time::UnixMs;

/// A click that differs from every other of another number.
fn click(number: u64) -> LoggedClick {
    let odd = |text: CompactString| if number % 2 == 1 { text } else { CompactString::default() };
    LoggedClick {
        link: LinkId::new((40_000_000_000 << 22) + number),
        domain: Some(DOMAIN),
        code: format_compact!("code{number}"),
        owner: owner("ann"),
        at: UnixMs::new(1_795_000_000_000 + i64::try_from(number).expect("small")),
        visitor: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        country: Country::parse(["DE", "US", "BR"][usize::try_from(number % 3).expect("small")]),
        language: Language::parse(["de", "fil"][usize::try_from(number % 2).expect("small")]),
        referrer: odd(format_compact!("n{number}.example.com")),
        browser: Browser::ALL[usize::try_from(number).expect("small") % Browser::ALL.len()],
        system: System::ALL[usize::try_from(number).expect("small") % System::ALL.len()],
        device: Device::ALL[usize::try_from(number).expect("small") % Device::ALL.len()],
        bot: odd("HEAD".into()),
        utm_source: odd("news".into()),
        utm_medium: odd("e-mail".into()),
        utm_campaign: odd(format_compact!("été-{number}")),
    }
}

fn record(log: &dyn ClickLog, number: u64) {
    let click = click(number);
    let click = Click {
        link: click.link,
        domain: DOMAIN,
        code: &click.code,
        owner: click.owner.as_str(),
        at: click.at,
        visitor: click.visitor,
        country: click.country,
        language: click.language,
        referrer: &click.referrer,
        browser: click.browser,
        system: click.system,
        device: click.device,
        bot: &click.bot,
        utm_source: &click.utm_source,
        utm_medium: &click.utm_medium,
        utm_campaign: &click.utm_campaign,
    };
    log.record(&click).expect("there is room");
}

/// A log may keep only what statistics need: then both fields are gone.
fn as_kept(click: LoggedClick, read: &LoggedClick) -> LoggedClick {
    match read.domain {
        Some(_) => click,
        None => LoggedClick { domain: None, code: CompactString::default(), ..click },
    }
}

/// Reads `count` clicks in batches of at most `max`, and checks that offsets are told right.
async fn read(source: &mut dyn ClickSource, count: usize, max: usize) -> Vec<(u64, LoggedClick)> {
    let mut read = Vec::new();
    while read.len() < count {
        let batch = source.next_batch(max).await.expect("answers");
        assert!(!batch.clicks.is_empty() && batch.clicks.len() <= max, "{} clicks of {max}", batch.clicks.len());
        assert_eq!(batch.clicks.len(), batch.offsets.len());
        assert_eq!(batch.start.offset, batch.offsets[0]);
        assert_eq!((batch.start.log, batch.start.partition), (source.log(), source.partition()));
        assert!(batch.offsets.last().is_some_and(|last| batch.next_offset > *last));
        read.extend(batch.offsets.into_iter().zip(batch.clicks));
    }
    read
}

pub async fn clicks_come_back_as_they_were_in_order(log: Arc<dyn ClickLog>, mut source: impl ClickSource) {
    (0..100).for_each(|number| record(&*log, number));
    log.flush().await.expect("answers");
    let first = read(&mut source, 7, 7).await;
    assert_eq!(source.lag(), 93);
    let read: Vec<_> = first.into_iter().chain(read(&mut source, 93, 7).await).collect();
    let offsets: Vec<_> = read.iter().map(|(offset, _)| *offset).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b));
    for (number, (_, read)) in (0..).zip(read) {
        assert_eq!(read, as_kept(click(number), &read));
    }
    assert_eq!(source.lag(), 0);
}

pub async fn reading_waits_for_a_click(log: Arc<dyn ClickLog>, mut source: impl ClickSource) {
    let writes = async {
        record(&*log, 1);
        log.flush().await.expect("answers");
        None
    };
    let reads = async { Some(read(&mut source, 1, 10).await) };
    let both: [std::pin::Pin<Box<dyn Future<Output = _> + Send>>; 2] = [Box::pin(reads), Box::pin(writes)];
    let answers = join_all(both).await;
    let read = &answers[0].as_ref().expect("it has read")[0].1;
    assert_eq!(*read, as_kept(click(1), read));
}

pub async fn seeking_reads_again(log: Arc<dyn ClickLog>, mut source: impl ClickSource) {
    (0..50).for_each(|number| record(&*log, number));
    log.flush().await.expect("answers");
    let first = read(&mut source, 50, 64).await;
    // Committing says what is counted; it does not move the reader.
    source.commit(first[20].0).await.expect("answers");
    for from in [0, 1, 20, 49] {
        assert_eq!(source.seek(first[from].0).await.expect("answers"), first[from].0);
        assert_eq!(read(&mut source, 50 - from, 13).await, first[from..]);
    }
    let start = source.start().await.expect("answers");
    assert!(start <= first[0].0);
}
