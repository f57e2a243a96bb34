//! Progress of what may take longer than a second; nothing where nobody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// A bar towards `total` on stderr, or a counter when the end is not known. Hidden for machines.
pub(crate) fn bar(output: Output, what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {human_pos} {per_sec}"),
    };
    shown(output, what, bar, template)
}

/// The same for bytes.
pub(crate) fn bytes(output: Output, what: &'static str, total: u64) -> ProgressBar {
    shown(output, what, ProgressBar::new(total), "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}")
}

fn shown(output: Output, what: &'static str, bar: ProgressBar, template: &str) -> ProgressBar {
    if output == Output::Json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    let bar = bar.with_message(what);
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
