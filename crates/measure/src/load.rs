//! A data folder as a server leaves it that was killed under load: many links, and clicks that nobody has counted.

use std::path::Path;

use crate::clicks::leave_uncounted;
use crate::files::Links;

/// Every hundred-thousandth code, for the script to ask for.
const SHOWN_EVERY: u64 = 100_000;

pub(crate) async fn run(folder: &str, links: &str, click_bytes: &str) -> anyhow::Result<()> {
    let folder = Path::new(folder);
    let mut all = Links::open(folder).await?;
    all.grow(links.parse()?).await?;
    for counter in (0..all.range.next).filter(|counter| all.maker.has_code(*counter)).step_by(usize::try_from(SHOWN_EVERY)?) {
        println!("CODE {}", all.maker.code(counter).as_str());
    }
    // Closing moves the write-ahead log into the file.
    all.stores.close().await;
    all.report_size(folder)?;
    let clicks = leave_uncounted(&folder.join("clicks"), click_bytes.parse()?).await?;
    println!("{clicks} clicks are in the log and not counted");
    Ok(())
}
