//! What is wrong with the configuration, said so that it can be mended.

use std::fmt;
use std::path::Path;

use super::Origin;

/// One mistake: which key, which value, from where, what is wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Empty when it is not about one key.
    pub key: String,
    /// As written, secrets masked.
    pub value: Option<String>,
    pub origin: Option<Origin>,
    pub what: String,
    pub mend: Option<String>,
}

impl Mistake {
    pub(super) fn whole(what: String) -> Self {
        Self { key: String::new(), value: None, origin: None, what, mend: None }
    }

    pub(super) fn of_file(path: &Path, what: String, mend: &str) -> Self {
        let value = Some(path.display().to_string());
        Self { key: "config".into(), value, origin: None, what, mend: Some(mend.into()) }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), &self.value) {
            ("", _) => f.write_str("configuration")?,
            (key, Some(value)) => write!(f, "{key} = {value}")?,
            (key, None) => f.write_str(key)?,
        }
        if let Some(origin) = &self.origin {
            write!(f, "  ({origin})")?;
        }
        write!(f, "\n    {}", self.what)?;
        if let Some(mend) = &self.mend {
            write!(f, "; {mend}")?;
        }
        Ok(())
    }
}

/// All mistakes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            many => write!(f, "the configuration has {many} mistakes:")?,
        }
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for ConfigError {}

/// The expected form, from what the type said.
pub(super) fn expected(refusal: &str, is_secret: bool) -> String {
    let form = refusal.rsplit_once("expected ").map(|(_, form)| form);
    match form {
        Some("u8") => "expected a whole number from 0 to 255".into(),
        Some("u16") => "expected a whole number from 0 to 65535".into(),
        Some("u32") => "expected a whole number from 0 to 4294967295".into(),
        Some("u64" | "usize") => "expected a whole number, 0 or more".into(),
        Some("f64") => "expected a number".into(),
        Some("a boolean") => "expected true or false".into(),
        Some("a sequence") => "expected a list".into(),
        Some(form) => format!("expected {form}"),
        // The type's own words may repeat the value.
        None if is_secret => "this is not a valid value".into(),
        None => refusal.to_owned(),
    }
}
