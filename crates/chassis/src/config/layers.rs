//! What each layer says: keys with raw values and where they stand.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{Mistake, Origin};

/// What names of ours begin with. Two underscores, since orchestrators put `TERSE_…` variables of their own there.
pub const ENV_PREFIX: &str = "TERSE__";

/// `TERSE__CACHE_FILE` names a file that holds the value of `TERSE__CACHE`: secrets are mounted as files, and
/// what stands in the environment is seen by whoever may look at the process.
const FILE_SUFFIX: &str = "_file";

/// Bytes of a configuration file that are read at most.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// A value as written, before its type is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// Text of the environment or a flag: may stand for a string, a number, a truth value or a list.
    Text(String),
    Typed(Value),
    /// An empty table.
    Section,
}

impl Raw {
    pub(super) fn to_value(&self) -> Option<Value> {
        match self {
            Self::Typed(value) => Some(value.clone()),
            Self::Text(text) => Some(Value::from(text.as_str())),
            Self::Section => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    pub(super) key: String,
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// A value set on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// `section.field`
    pub key: String,
    /// As typed, e.g. `--listen`.
    pub name: String,
    pub value: String,
}

impl Flag {
    pub(super) fn to_given(&self) -> Given {
        Given { key: self.key.clone(), raw: Raw::Text(self.value.clone()), origin: Origin::Flag(self.name.clone()) }
    }
}

/// The variables of ours, by name. Taken once, at start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, Result<String, NotText>>,
}

#[derive(Clone, Debug)]
struct NotText;

impl Environment {
    /// The process's.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with(ENV_PREFIX).then(|| (name, value.into_string().map_err(|_| NotText)))
        });
        Self { variables: variables.collect() }
    }

    pub(super) fn config_file(&self) -> Option<PathBuf> {
        let path = self.variables.get(&format!("{ENV_PREFIX}CONFIG"))?.as_ref().ok()?;
        (!path.is_empty()).then(|| path.into())
    }

    pub(super) fn values(&self, mistakes: &mut Vec<Mistake>) -> Vec<Given> {
        let mut given = Vec::new();
        for (name, value) in &self.variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            if rest == "CONFIG" {
                continue;
            }
            let key = rest.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Env(name.clone());
            let (key, text) = match (value, key.strip_suffix(FILE_SUFFIX)) {
                (Err(NotText), _) => (key, Err(("the value is not UTF-8".to_owned(), None))),
                (Ok(text), None) => (key, Ok(text.clone())),
                (Ok(path), Some(key)) => (key.to_owned(), read_value(Path::new(path))),
            };
            match text {
                Ok(text) => given.push(Given { key, raw: Raw::Text(text), origin }),
                Err((what, mend)) => mistakes.push(Mistake { key, value: None, origin: Some(origin), what, mend }),
            }
        }
        given
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), Ok(value.into()))).collect() }
    }
}

/// What `text` may mean; the type decides. Without any that fits, the last one's refusal is reported.
pub(super) fn readings(text: &str) -> Vec<Value> {
    let as_text = Value::String(text.to_owned());
    let scalar = match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => text.parse::<serde_json::Number>().ok().map(Value::Number),
    };
    let list = toml_list(text).unwrap_or_else(|| {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Value::Array(items.map(Value::from).collect())
    });
    match scalar {
        Some(scalar) => vec![as_text, list, scalar],
        None => vec![list, as_text],
    }
}

/// `["a", "b"]`, as `config show` prints a list and a file holds it.
fn toml_list(text: &str) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    let value = DeValue::parse(text).ok()?;
    matches!(value.get_ref(), DeValue::Array(_)).then(|| to_json(value.get_ref()))
}

pub(super) fn read_file(path: &Path, mistakes: &mut Vec<Mistake>) -> Vec<Given> {
    let text = match read_bounded(path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("the file cannot be read: {error}");
            mistakes.push(Mistake::of_file(path, what, "name an existing TOML file with --config"));
            return Vec::new();
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    let line_of = |offset: usize| text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
    for error in errors {
        let line = error.span().map_or(1, |span| line_of(span.start));
        mistakes.push(Mistake {
            key: String::new(),
            value: None,
            origin: Some(Origin::File { path: path.into(), line }),
            what: format!("not TOML: {}", error.message()),
            mend: None,
        });
    }
    let mut given = Vec::new();
    let origin = |offset| Origin::File { path: path.into(), line: line_of(offset) };
    collect(table.get_ref(), "", &origin, &mut given);
    given
}

/// What a file holds, without the line break that editors and `echo` add; or what is wrong, and how to mend it.
fn read_value(path: &Path) -> Result<String, (String, Option<String>)> {
    let text = read_bounded(path).map_err(|error| {
        let what = format!("`{}` cannot be read: {error}", path.display());
        (what, Some("name a file that holds the value and that this user may read".to_owned()))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LEN_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_LEN_MAX {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

fn collect(table: &DeTable<'_>, prefix: &str, origin: &impl Fn(usize) -> Origin, given: &mut Vec<Given>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        if let DeValue::Table(inner) = value.get_ref()
            && !inner.is_empty()
        {
            collect(inner, &key, origin, given);
            continue;
        }
        let raw = if matches!(value.get_ref(), DeValue::Table(_)) { Raw::Section } else { Raw::Typed(to_json(value.get_ref())) };
        given.push(Given { key, raw, origin: origin(name.span().start) });
    }
}

fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| Value::from(number.to_string()), Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.to_string()), Value::from),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            Value::Object(table.iter().map(|(name, value)| (name.get_ref().to_string(), to_json(value.get_ref()))).collect())
        }
    }
}
