//! For the fuzz targets: the parser of click records, which nothing else outside may call.

use domain::limits;

use crate::click_codec;

/// Reads a record, and says what its longest text is; `None` for one that is refused.
pub fn click(bytes: &[u8]) -> Option<usize> {
    let (click, _) = click_codec::decode(bytes).ok()?;
    let texts = [&click.referrer, &click.bot, &click.utm_source, &click.utm_medium, &click.utm_campaign];
    assert!(click.owner.as_str().chars().count() <= limits::OWNER_LEN_MAX);
    texts.into_iter().map(|text| text.len()).max()
}
