//! How a command that failed says so, and with which exit code: 1 failed, 2 wrong use.

use std::fmt;
use std::process::ExitCode;

use chassis::config::ConfigError;

use crate::output::Output;

/// The command was asked for something that makes no sense.
#[derive(Debug)]
pub(crate) struct WrongUse(pub(crate) String);

impl fmt::Display for WrongUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() || error.is::<WrongUse>() { 2 } else { 1 }
}

/// Says what went wrong on stderr, with its causes.
pub(crate) fn report(error: &anyhow::Error, output: Output) -> ExitCode {
    let code = exit_code(error);
    match output {
        Output::Text => eprintln!("error: {}", text(error)),
        Output::Json => eprintln!("{}", serde_json::json!({ "error": text(error), "exit_code": code })),
    }
    ExitCode::from(code)
}

/// The chain of causes, without those that their effect already quotes.
fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str("\n  ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_use_is_2_and_all_else_1() {
        assert_eq!(exit_code(&anyhow::Error::new(WrongUse("x".into()))), 2);
        assert_eq!(exit_code(&anyhow::Error::new(ConfigError { mistakes: Vec::new() })), 2);
        assert_eq!(exit_code(&anyhow::anyhow!("x")), 1);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("disk full").context("cannot write: disk full").context("start failed");
        assert_eq!(text(&error), "start failed\n  cannot write: disk full");
    }
}
