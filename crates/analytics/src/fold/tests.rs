//! What one chunk's rows say.

use domain::{Browser, Country, Device, System, UnixMs};

use super::*;

fn click(number: u64) -> LoggedClick {
    LoggedClick {
        link: LinkId::new(1 + number % 2),
        domain: None,
        code: "".into(),
        owner: Owner::parse("ann").unwrap(),
        at: UnixMs::new(1_795_000_000_000),
        visitor: number,
        country: Country::parse("DE"),
        language: None,
        referrer: CompactString::from(format!("r{number}.example")),
        browser: Browser::Unknown,
        system: System::Unknown,
        device: Device::Unknown,
        bot: "".into(),
        utm_source: "".into(),
        utm_medium: "".into(),
        utm_campaign: "x".repeat(300).into(),
    }
}

fn fold(clicks: u64) -> Fold {
    let mut fold = Fold::new(0, None);
    (0..clicks).for_each(|number| fold.count(number, &click(number)));
    fold
}

fn parts(fold: &mut Fold) -> Vec<Part> {
    let rows = fold.sort_dirty();
    fold.parts(0, rows)
}

#[test]
fn a_click_counts_for_everyone_its_owner_and_its_link() {
    let parts = parts(&mut fold(3));
    let of: Vec<_> = parts.iter().map(|part| (&part.subject, part.tally.counts.clicks, part.upto, part.owner.is_some())).collect();
    let ann = Subject::Owner(Owner::parse("ann").unwrap());
    let (one, two) = (Subject::Link(LinkId::new(1)), Subject::Link(LinkId::new(2)));
    assert_eq!(of, [(&Subject::Everyone, 3, 3, false), (&ann, 3, 3, false), (&one, 2, 3, true), (&two, 1, 2, true)]);
}

#[test]
fn a_dimension_keeps_256_values_and_loses_no_click() {
    let parts = parts(&mut fold(1_000));
    let referrers = &parts[0].tally.dimensions[&Dimension::Referrer];
    assert_eq!(referrers.len(), DIMENSION_VALUES_MAX + 1);
    assert_eq!(referrers.values().sum::<u64>(), 1_000);
    assert_eq!(referrers[OTHER], 744);
    assert_eq!(referrers["r255.example"], 1, "the first ones of the log are kept");
    let campaigns = &parts[0].tally.dimensions[&Dimension::UtmCampaign];
    assert_eq!(campaigns.keys().map(CompactString::len).collect::<Vec<_>>(), [DIMENSION_VALUE_LEN_MAX]);
}

#[test]
fn a_value_called_other_is_no_second_other() {
    let mut fold = Fold::new(0, None);
    for number in 0..400 {
        let referrer = if number % 4 == 0 { OTHER.into() } else { CompactString::from(format!("r{number}.example")) };
        fold.count(number, &LoggedClick { referrer, ..click(number) });
    }
    let referrers = &parts(&mut fold)[0].tally.dimensions[&Dimension::Referrer];
    assert_eq!((referrers.len(), referrers.values().sum::<u64>(), referrers[OTHER]), (257, 400, 100 + 300 - 256));
}

#[test]
fn only_what_changed_since_the_last_flush_is_dirty() {
    let mut fold = fold(10);
    fold.stored(10);
    assert_eq!(fold.dirty_len(), 0);
    fold.count(10, &click(11));
    let parts = parts(&mut fold);
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.upto == 11));
    assert_eq!(parts[0].tally.counts.clicks, 11, "a row is all of the chunk so far");
}
