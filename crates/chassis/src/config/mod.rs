//! Configuration: defaults < TOML file < `TERSE__SECTION__FIELD` < flags, with the origin of every value kept.
//!
//! The known keys are the fields of the settings' serialised default: nothing is listed twice. Every value that
//! a layer sets is tried on its own against the type, so that all mistakes are reported at once, each
//! with its key, value and origin.

mod layers;
mod mistake;
mod suggest;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use layers::{ENV_PREFIX, Environment, Flag};
pub use mistake::{ConfigError, Mistake};
pub use units::{Millis, Seconds, Size, Text, UnitError, Within};

use layers::{Given, Raw};

/// What can be configured. `Default` serialises to every key there is; lists and `null` are values, maps are sections.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Keys (`section.field`) whose values are never shown.
    const SECRETS: &'static [&'static str];
    /// Sections that may be given as a plain value, with the key that it then stands for:
    /// `("clicks", "clicks.url")` lets `clicks = "…"` mean `[clicks] url = "…"`.
    const SHORTHANDS: &'static [(&'static str, &'static str)] = &[];

    /// Fills in what follows from other values and was not set.
    fn complete(&mut self) {}

    /// What is wrong although each value is right by itself: `(key, what, mend)`.
    fn conflicts(&self) -> Vec<(&'static str, String, String)> {
        Vec::new()
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Env(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Where to look for values, weakest first: beneath all are the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`; `TERSE__CONFIG` stands in for it.
    pub file: Option<PathBuf>,
    pub environment: Environment,
    pub flags: Vec<Flag>,
}

/// One effective value, fit to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub value: Value,
    pub origin: Origin,
}

/// Settings that are valid as a whole.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    pub settings: T,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    origins: BTreeMap<String, Origin>,
}

/// Reads all layers.
///
/// # Errors
/// Every mistake of every layer.
pub fn load<T: Settings>(sources: &Sources) -> Result<Loaded<T>, ConfigError> {
    let defaults = defaults_of::<T>();
    let mut mistakes = Vec::new();
    let file = sources.file.clone().or_else(|| sources.environment.config_file());
    let mut given = Vec::new();
    if let Some(path) = &file {
        given.extend(layers::read_file(path, &mut mistakes));
    }
    given.extend(sources.environment.values(&mut mistakes));
    given.extend(sources.flags.iter().map(Flag::to_given));

    let mut tree = defaults.clone();
    let mut origins = BTreeMap::new();
    for mut value in given {
        let shorthand = T::SHORTHANDS.iter().find(|(short, _)| *short == value.key);
        if let (Some((_, meant)), true) = (shorthand, value.raw != Raw::Section) {
            (*meant).clone_into(&mut value.key);
        }
        let names_a_section = find(&defaults, &value.key).is_some_and(Value::is_object);
        if value.raw == Raw::Section && names_a_section {
            continue;
        }
        match accept::<T>(&defaults, &value) {
            Ok(found) => {
                put(&mut tree, &value.key, found);
                origins.insert(value.key, value.origin);
            }
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    let settings = match serde_json::from_value::<T>(tree) {
        Ok(mut settings) => {
            settings.complete();
            settings
        }
        // Each value was accepted by itself, so only the defaults can be wrong; a test of the caller's type shows it.
        Err(error) => return Err(ConfigError { mistakes: vec![Mistake::whole(error.to_string())] }),
    };
    if mistakes.is_empty() {
        let entries = Loaded { settings, file, origins };
        mistakes.extend(entries.conflicts());
        if mistakes.is_empty() {
            return Ok(entries);
        }
    }
    Err(ConfigError { mistakes })
}

impl<T: Settings> Loaded<T> {
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Every effective value in the order of the settings, secrets masked.
    pub fn entries(&self) -> Vec<Entry> {
        let tree = serde_json::to_value(&self.settings).unwrap_or_default();
        let mut entries = Vec::new();
        for_each_leaf(&tree, &mut String::new(), &mut |key, value| {
            entries.push(Entry { key: key.to_owned(), value: masked::<T>(key, value), origin: self.origin(key) });
        });
        entries
    }

    /// `{"key": {"value": …, "origin": "…"}}`, secrets masked.
    pub fn to_json(&self) -> Value {
        let entries = self
            .entries()
            .into_iter()
            .map(|entry| (entry.key, serde_json::json!({ "value": entry.value, "origin": entry.origin.to_string() })));
        Value::Object(entries.collect())
    }

    /// `key = value  (origin)`, for messages about a value that turned out not to work.
    pub fn describe(&self, key: &str) -> String {
        let value = self.entries().into_iter().find(|entry| entry.key == key).map_or(Value::Null, |entry| entry.value);
        format!("{key} = {}  ({})", show(&value), self.origin(key))
    }

    /// Where the values come from, in a few words.
    pub fn summary(&self) -> String {
        let count = |wanted: fn(&Origin) -> bool| self.origins.values().filter(|origin| wanted(origin)).count();
        let mut parts = vec!["defaults".to_owned()];
        parts.extend(self.file.as_ref().map(|file| file.display().to_string()));
        let env = count(|origin| matches!(origin, Origin::Env(_)));
        let flags = count(|origin| matches!(origin, Origin::Flag(_)));
        if env > 0 {
            parts.push(format!("{env} from the environment"));
        }
        if flags > 0 {
            parts.push(format!("{flags} from flags"));
        }
        parts.join(" + ")
    }

    fn conflicts(&self) -> Vec<Mistake> {
        let entries = self.entries();
        let shown = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| show(&entry.value));
        self.settings
            .conflicts()
            .into_iter()
            .map(|(key, what, mend)| Mistake {
                key: key.to_owned(),
                value: shown(key),
                origin: Some(self.origin(key)),
                what,
                mend: Some(mend),
            })
            .collect()
    }
}

/// Every known key, in the order of the settings.
pub fn known_keys<T: Settings>() -> Vec<String> {
    let mut keys = Vec::new();
    for_each_leaf(&defaults_of::<T>(), &mut String::new(), &mut |key, _| keys.push(key.to_owned()));
    keys
}

fn defaults_of<T: Settings>() -> Value {
    serde_json::to_value(T::default()).unwrap_or_default()
}

/// The value in the form that the type takes, or what is wrong with it.
fn accept<T: Settings>(defaults: &Value, given: &Given) -> Result<Value, Box<Mistake>> {
    let mistake = |what: String, mend: Option<String>| {
        let value = given.raw.to_value().map(|value| show(&masked::<T>(&given.key, &value)));
        Box::new(Mistake { key: given.key.clone(), value, origin: Some(given.origin.clone()), what, mend })
    };
    match find(defaults, &given.key) {
        None => {
            let known = known_keys::<T>();
            return Err(mistake("there is no such key".into(), suggest::did_you_mean(&given.key, &known)));
        }
        Some(Value::Object(_)) => return Err(mistake("this is a section, not a value".into(), None)),
        Some(_) => {}
    }
    let candidates = match &given.raw {
        Raw::Section => return Err(mistake("this is a value, not a section".into(), None)),
        Raw::Typed(value) => vec![value.clone()],
        Raw::Text(text) => layers::readings(text),
    };
    let mut refusals = Vec::new();
    for candidate in candidates {
        let mut tree = defaults.clone();
        put(&mut tree, &given.key, candidate.clone());
        match serde_json::from_value::<T>(tree) {
            Ok(_) => return Ok(candidate),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    // A reading of the right type was refused for a reason; the others only were of the wrong type.
    let reasoned = refusals.iter().find(|refusal| !refusal.starts_with("invalid type")).or_else(|| refusals.last());
    let expected = mistake::expected(reasoned.map_or("", String::as_str), T::SECRETS.contains(&given.key.as_str()));
    Err(mistake(expected, None))
}

fn find<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |tree, part| tree.as_object()?.get(part))
}

fn put(tree: &mut Value, key: &str, value: Value) {
    let mut at = tree;
    for part in key.split('.') {
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry(part).or_insert_with(|| Value::Object(Map::new()));
    }
    *at = value;
}

fn for_each_leaf(tree: &Value, key: &mut String, then: &mut impl FnMut(&str, &Value)) {
    let Some(map) = tree.as_object() else { return then(key, tree) };
    for (part, value) in map {
        let length = key.len();
        if length > 0 {
            key.push('.');
        }
        key.push_str(part);
        for_each_leaf(value, key, then);
        key.truncate(length);
    }
}

const MASK: &str = "********";

fn masked<T: Settings>(key: &str, value: &Value) -> Value {
    if value.is_null() {
        Value::Null
    } else if T::SECRETS.contains(&key) {
        MASK.into()
    } else {
        value.as_str().map_or_else(|| value.clone(), |text| mask_userinfo(text).into())
    }
}

/// Passwords also hide in URLs: `redis://user:password@host`.
fn mask_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.find('/').map_or(rest, |end| &rest[..end]);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

fn show(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 200 { text } else { text.chars().take(200).chain(['…']).collect() }
}

#[cfg(test)]
mod tests;
