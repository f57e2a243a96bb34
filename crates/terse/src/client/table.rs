//! Tables and small charts for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

/// A table without lines, as wide as the terminal allows.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Numbers stand under each other's ones.
pub(crate) fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A string as it is, anything else as JSON, nothing for null.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A [`cell`] for a terminal, which what strangers wrote must not steer.
pub(crate) fn shown(value: &Value) -> String {
    harmless(&cell(value))
}

pub(crate) fn harmless(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// A time to the minute, in UTC.
pub(crate) fn time(value: &Value) -> String {
    let text = shown(value);
    text.get(..16).filter(|_| text.ends_with('Z')).map_or_else(|| text.clone(), |minute| minute.replace('T', " "))
}

/// With a comma between thousands.
pub(crate) fn count(value: &Value) -> String {
    let digits = cell(value);
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One character a value, eight heights, the highest for the largest; what is not zero is never flat.
pub(crate) fn sparkline(values: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let max = u128::from(values.iter().copied().max().unwrap_or(0).max(1));
    let height = |value: u64| usize::try_from((u128::from(value) * 7).div_ceil(max)).unwrap_or(7).min(7);
    values.iter().map(|value| BARS[height(*value)]).collect()
}

/// At most `width` values: the sums of as many neighbours as it takes, and how many those are.
pub(crate) fn squeeze(values: &[u64], width: usize) -> (Vec<u64>, usize) {
    let each = values.len().div_ceil(width.max(1)).max(1);
    let sums = values.chunks(each).map(|chunk| chunk.iter().fold(0_u64, |sum, value| sum.saturating_add(*value)));
    (sums.collect(), each)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_largest_is_full_and_nothing_is_flat() {
        assert_eq!(sparkline(&[0, 1, 50, 100]), "▁▂▅█");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[u64::MAX, 0]), "█▁");
    }

    #[test]
    fn long_series_become_sums() {
        assert_eq!(squeeze(&[1, 2, 3], 60), (vec![1, 2, 3], 1));
        assert_eq!(squeeze(&[1, 2, 3, 4, 5], 2), (vec![6, 9], 3));
        assert_eq!(squeeze(&[], 60), (vec![], 1));
        assert_eq!(squeeze(&[u64::MAX, 1], 0), (vec![u64::MAX], 2));
    }

    #[test]
    fn cells_are_short_and_harmless() {
        assert_eq!(shown(&json!("a\u{1b}[2J\nb")), "a\\u{1b}[2J\\nb");
        assert_eq!(time(&json!("2026-11-23T21:53:49.863Z")), "2026-11-23 21:53");
        assert_eq!(time(&json!("never ever,    üZ")), "never ever,    üZ");
        assert_eq!((time(&json!(null)), time(&json!("x"))), (String::new(), "x".to_owned()));
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(&json!(number)), text);
        }
    }

    #[test]
    fn tables_have_no_lines_and_numbers_end_together() {
        let mut rows = table(&["what", "clicks"]);
        align_right(&mut rows, &[1]);
        rows.add_row(["a", "1"]).add_row(["long one", "1,000"]);
        assert_eq!(rows.trim_fmt(), "what      clicks\na              1\nlong one   1,000");
    }
}
