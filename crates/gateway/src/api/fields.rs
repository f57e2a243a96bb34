//! Reads the fields of a JSON object or of a query, and remembers every one that is wrong.

use domain::{Change, FieldError, Reason, UnixMs};
use serde_json::{Map, Value};

use super::time;
use crate::problem::Problem;

/// Wrong fields kept while reading; a body of 64 KB could name ten thousand.
const ERRORS_MAX: usize = 64;

/// A JSON object whose fields are taken out one by one; [`Self::finish`] refuses what is left.
pub(crate) struct Fields {
    object: Map<String, Value>,
    pub(crate) errors: Vec<FieldError>,
}

impl Fields {
    /// What is not an object has no fields, and is wrong as a whole.
    pub(crate) fn new(value: Value) -> Self {
        match value {
            Value::Object(object) => Self { object, errors: Vec::new() },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Self { object: Map::new(), errors: vec![FieldError::new("", Reason::InvalidField, "expected a JSON object")] }
            }
        }
    }

    pub(crate) fn fail(&mut self, pointer: &str, reason: Reason, detail: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError::new(pointer, reason, detail));
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// A field as it is, `null` included.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.shift_remove(name)
    }

    /// A field of a merge patch: absent, `null`, or a value of the kind that `read` takes.
    pub(crate) fn change<T>(&mut self, name: &str, kind: &Kind<T>) -> Change<T> {
        match self.object.shift_remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Clear,
            Some(value) => {
                let value = (kind.read)(value);
                if value.is_none() {
                    self.fail(&format!("/{name}"), Reason::InvalidField, format!("expected {}", kind.expected));
                }
                value.map_or(Change::Keep, Change::Set)
            }
        }
    }

    /// A field of a new object: `null` is as good as absent.
    pub(crate) fn optional<T>(&mut self, name: &str, kind: &Kind<T>) -> Option<T> {
        self.change(name, kind).apply(None)
    }

    /// A field that must be there. `None` is already an error.
    pub(crate) fn required<T>(&mut self, name: &str, kind: &Kind<T>) -> Option<T> {
        if !self.has(name) {
            self.object.shift_remove(name);
            self.fail(&format!("/{name}"), Reason::InvalidField, format!("is required: {}", kind.expected));
            return None;
        }
        self.optional(name, kind)
    }

    /// A list of strings; each item that is none is named.
    pub(crate) fn strings(&mut self, name: &str) -> Change<Vec<String>> {
        let Some(value) = self.object.shift_remove(name) else { return Change::Keep };
        let Value::Array(items) = value else {
            if value.is_null() {
                return Change::Clear;
            }
            self.fail(&format!("/{name}"), Reason::InvalidField, "expected a list of strings");
            return Change::Keep;
        };
        let mut strings = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => strings.push(text),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    self.fail(&format!("/{name}/{i}"), Reason::InvalidField, "expected a string");
                }
            }
        }
        Change::Set(strings)
    }

    /// Names what nobody took. Call it after the last field.
    pub(crate) fn refuse_rest(&mut self) {
        for name in std::mem::take(&mut self.object).keys() {
            self.fail(&pointer(name), Reason::UnknownField, "there is no such field");
        }
    }

    /// # Errors
    /// Every field that is wrong or unknown.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        self.refuse_rest();
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

/// A JSON pointer (RFC 6901) to a top-level field; a name longer than any of ours is cut.
fn pointer(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// How a value is read, and what to say when it cannot be.
pub(crate) struct Kind<T> {
    expected: &'static str,
    read: fn(Value) -> Option<T>,
}

pub(crate) const STRING: Kind<String> =
    Kind { expected: "a string", read: |value| if let Value::String(text) = value { Some(text) } else { None } };
pub(crate) const FLAG: Kind<bool> = Kind { expected: "true or false", read: |value| value.as_bool() };
pub(crate) const U8: Kind<u8> = Kind { expected: "a whole number from 0 to 255", read: |value| value.as_u64()?.try_into().ok() };
pub(crate) const U16: Kind<u16> = Kind { expected: "a whole number from 0 to 65535", read: |value| value.as_u64()?.try_into().ok() };
pub(crate) const U64: Kind<u64> = Kind { expected: "a whole number, not negative", read: |value| value.as_u64() };
pub(crate) const TIME: Kind<UnixMs> =
    Kind { expected: "a time such as \"2026-11-23T20:00:00Z\"", read: |value| time::parse(value.as_str()?) };

/// A query whose parameters are taken out one by one. Pointers are `/name`, as for fields.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Params {
    pub(crate) fn new(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or("").as_bytes()).take(ERRORS_MAX);
        Self { pairs: pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(), errors: Vec::new() }
    }

    pub(crate) fn fail(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(format!("/{name}"), Reason::InvalidField, detail));
    }

    /// A parameter; empty is as good as absent, and twice is one too many.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.pairs.extract_if(.., |(key, _)| key == name).map(|(_, value)| value);
        let value = values.next();
        let repeated = values.count() > 0;
        if repeated {
            self.fail(name, "given more than once");
        }
        value.filter(|value| !value.is_empty())
    }

    pub(crate) fn parsed<T>(&mut self, name: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.fail(name, format!("expected {expected}"));
        }
        value
    }

    pub(crate) fn limit(&mut self, default: usize, max: usize) -> usize {
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=max).contains(limit));
        self.parsed("limit", &format!("a whole number from 1 to {max}"), parse).unwrap_or(default)
    }

    pub(crate) fn time(&mut self, name: &str) -> Option<UnixMs> {
        self.parsed(name, TIME.expected, time::parse)
    }

    /// # Errors
    /// Every parameter that is wrong or unknown.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.errors.push(FieldError::new(pointer(&name), Reason::UnknownField, "there is no such parameter"));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(problem: &Problem) -> Vec<String> {
        let body = problem.to_json(None);
        let errors = body["errors"].as_array().unwrap();
        errors.iter().map(|error| format!("{} {}", error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())).collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let mut fields = Fields::new(json!({"a": 1, "b": "x", "c": 1.5, "d": [1, "y", null], "e": "yesterday", "f/~": 0}));
        assert_eq!(fields.optional("a", &STRING), None);
        assert_eq!(fields.optional("b", &FLAG), None);
        assert_eq!(fields.optional("c", &U64), None);
        assert_eq!(fields.strings("d"), Change::Set(vec!["y".into()]));
        assert_eq!(fields.optional("e", &TIME), None);
        assert_eq!(fields.required("g", &STRING), None);
        let problem = fields.finish().unwrap_err();
        let expected = [
            "/a invalid_field",
            "/b invalid_field",
            "/c invalid_field",
            "/d/0 invalid_field",
            "/d/2 invalid_field",
            "/e invalid_field",
            "/g invalid_field",
            "/f~1~0 unknown_field",
        ];
        assert_eq!(pointers(&problem), expected);
    }

    #[test]
    fn numbers_are_whole_and_fit() {
        for (value, fits) in [(json!(65_535), true), (json!(65_536), false), (json!(-1), false), (json!(1.0), false), (json!("1"), false)] {
            let mut fields = Fields::new(json!({"n": value.clone()}));
            assert_eq!(fields.optional("n", &U16).is_some(), fits, "{value}");
        }
    }

    #[test]
    fn null_clears_and_absence_keeps() {
        let mut fields = Fields::new(json!({"a": null, "b": "x"}));
        assert_eq!(fields.change("a", &STRING), Change::Clear);
        assert_eq!(fields.change("b", &STRING), Change::Set("x".into()));
        assert_eq!(fields.change("c", &STRING), Change::Keep);
        assert!(fields.finish().is_ok());
    }

    #[test]
    fn only_objects_have_fields() {
        for value in [json!([]), json!(null), json!("x"), json!(1)] {
            assert_eq!(pointers(&Fields::new(value).finish().unwrap_err()), [" invalid_field"]);
        }
    }

    #[test]
    fn queries_are_as_strict() {
        let mut params = Params::new(Some("limit=1001&a=1&a=2&q=x%20y&z=1&empty="));
        assert_eq!(params.limit(50, 1_000), 50);
        assert_eq!(params.text("a"), Some("1".into()));
        assert_eq!(params.text("q"), Some("x y".into()));
        assert_eq!(params.text("empty"), None);
        assert_eq!(pointers(&params.finish().unwrap_err()), ["/limit invalid_field", "/a invalid_field", "/z unknown_field"]);
        for (text, limit) in [("limit=1", 1), ("limit=1000", 1_000), ("", 50)] {
            assert_eq!(Params::new(Some(text)).limit(50, 1_000), limit);
        }
    }
}
