//! `terse config show`: every effective value, and where it came from.

use std::fmt::Write as _;
use std::process::ExitCode;

use chassis::config::Entry;
use clap::Args;

use crate::cli::SettingsArgs;
use crate::output::{Output, say, say_json};

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Also say where each value came from.
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(crate) fn run(args: &ShowArgs, output: Output) -> anyhow::Result<ExitCode> {
    let loaded = args.settings.load()?;
    match output {
        Output::Json if args.origin => say_json(&loaded.to_json()),
        Output::Json => {
            let values = loaded.entries().into_iter().map(|entry| (entry.key, entry.value));
            say_json(&values.collect::<serde_json::Map<_, _>>());
        }
        Output::Text => say(as_toml(&loaded.entries(), args.origin).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// A TOML file that says the same. What is not set is commented out.
fn as_toml(entries: &[Entry], with_origin: bool) -> String {
    let lines: Vec<(&str, String)> = entries.iter().map(line).collect();
    let width = lines.iter().map(|(_, line)| line.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let mut text = String::new();
    let mut open = "";
    for ((section, line), entry) in lines.iter().zip(entries) {
        if *section != open {
            let _ = writeln!(text, "\n[{section}]");
            open = section;
        }
        if with_origin {
            let _ = writeln!(text, "{line:<width$}  # {}", entry.origin);
        } else {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn line(entry: &Entry) -> (&str, String) {
    let (section, field) = entry.key.split_once('.').unwrap_or(("", &entry.key));
    let line = if entry.value.is_null() { format!("#{field} =") } else { format!("{field} = {}", entry.value) };
    (section, line)
}

#[cfg(test)]
mod tests {
    use chassis::config::{Loaded, Sources, load};

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_shown_can_be_read_back() {
        let before: Loaded<Config> = load(&Sources::default()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), as_toml(&before.entries(), true)).unwrap();
        let after: Loaded<Config> = load(&Sources { file: Some(file.path().into()), ..Sources::default() }).unwrap();
        for (before, after) in before.entries().into_iter().zip(after.entries()) {
            assert_eq!(before.value, after.value, "{}", before.key);
        }
        let shown = as_toml(&after.entries(), true);
        assert!(shown.contains(&format!("  # {}:1\n", file.path().display())), "{shown}");
    }
}
