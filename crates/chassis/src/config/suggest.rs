//! "Did you mean": the known key nearest to an unknown one.

/// `None` when nothing is near enough to be helpful.
pub(super) fn did_you_mean(unknown: &str, known: &[String]) -> Option<String> {
    let bounded: String = unknown.chars().take(128).collect();
    let unknown = bounded.as_str();
    let field = last_part(unknown);
    let in_another_section = || known.iter().find(|key| last_part(key) == field);
    let near = known
        .iter()
        .map(|key| (distance(unknown, key), key))
        .filter(|(distance, key)| *distance <= 1 + key.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key);
    let near_field = || {
        let candidates = known.iter().map(|key| (distance(field, last_part(key)), key));
        let near = candidates.filter(|(distance, key)| *distance <= 1 + last_part(key).len() / 5);
        near.min_by_key(|(distance, _)| *distance).map(|(_, key)| key)
    };
    let key = near.or_else(in_another_section).or_else(near_field)?;
    Some(format!("did you mean `{key}`?"))
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_single_edits() {
        for (a, b, expected) in [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("listen", "lisen", 1), ("a", "xyz", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn finds_typos_and_misplaced_keys_and_stays_silent_otherwise() {
        let known: Vec<String> = ["listen", "admin_listen", "gateway.header_timeout_ms", "log.level"].map(Into::into).into();
        for (unknown, expected) in [
            ("lisetn", Some("listen")),
            ("gatway.header_timeout_ms", Some("gateway.header_timeout_ms")),
            ("header_timeout_ms", Some("gateway.header_timeout_ms")),
            ("log.levle", Some("log.level")),
            ("gateway.levl", Some("log.level")),
            ("zzz", None),
        ] {
            let expected = expected.map(|key| format!("did you mean `{key}`?"));
            assert_eq!(did_you_mean(unknown, &known), expected, "{unknown}");
        }
    }
}
