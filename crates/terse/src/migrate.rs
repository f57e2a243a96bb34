//! `terse migrate`: brings the schema of the stores up to date, and says what it did.

use std::process::ExitCode;

use chassis::config::Loaded;

use crate::config::Config;
use crate::data_folder::take;
use crate::output::{Output, say, say_json};
use crate::wire;

pub(crate) async fn run(loaded: &Loaded<Config>, output: Output) -> anyhow::Result<ExitCode> {
    let lock = take(loaded)?;
    let steps = wire::migrate(loaded).await?;
    drop(lock);
    match output {
        Output::Json => say_json(&steps),
        Output::Text => {
            for step in &steps {
                let what = if step.from == step.to {
                    format!("is at version {}, nothing to do", step.to)
                } else if step.from == 0 {
                    format!("made at version {}", step.to)
                } else {
                    format!("brought from version {} to {}", step.from, step.to)
                };
                say(format!("{}  {what}", step.place.display()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
