//! Targets: where links lead. The only way in for a URL that an outsider chose.

mod address;
mod host;

use std::fmt;

use url::{ParseError, Url};

use crate::limits::TARGET_LEN_MAX;

pub use address::is_private_address;

/// An absolute `http` or `https` URL in its WHATWG serialisation: ASCII, no userinfo, bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL we could redirect to.
    #[error("{0}")]
    Invalid(String),
    /// A URL, but one that links must not lead to.
    #[error("{0}")]
    NotAllowed(String),
}

/// What a target may be, beside being a well-formed http(s) URL.
pub struct TargetPolicy<'a> {
    /// Whether the host is one of ours.
    pub is_own_host: &'a (dyn Fn(&str) -> bool + Sync),
    /// Private, loopback and link-local addresses are refused unless this is set.
    pub private_addresses: PrivateAddresses,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateAddresses {
    #[default]
    Refused,
    Allowed,
}

impl Target {
    /// The canonical form of `text`: what is stored, compared and sent as `Location`.
    /// Parsing the canonical form again gives the same form.
    ///
    /// # Errors
    /// `Invalid` when it is no http(s) URL, or one written to deceive; `NotAllowed` when it leads to
    /// one of our own hosts or into a private network.
    pub fn parse(text: &str, policy: &TargetPolicy<'_>) -> Result<Self, TargetError> {
        check_raw(text)?;
        let url = Url::parse(text).map_err(|error| not_a_url(error, text))?;
        if !matches!(url.scheme(), "http" | "https") {
            return invalid(format!("must begin with http:// or https://, not with `{}:`", excerpt(url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("must not contain a user name or password before the host: remove the part up to the `@`");
        }
        host::check(&url, policy)?;
        let canonical = String::from(url);
        check_canonical(&canonical)?;
        Ok(Self(canonical.into()))
    }

    /// A target this type once accepted, read back from our own store.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the URL parser would strip or encode in silence is refused: whoever wrote it into a URL meant
/// it to be read as two different things.
fn check_raw(text: &str) -> Result<(), TargetError> {
    if text.trim_matches(' ').is_empty() {
        return invalid("must not be empty: give an absolute URL such as https://example.com/");
    }
    if text.len() > TARGET_LEN_MAX {
        return too_long();
    }
    let is_line_separator = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(|c| c.is_control() || is_line_separator(c)) {
        return invalid("must not contain control characters, tabs or line breaks: percent-encode them");
    }
    Ok(())
}

fn check_canonical(canonical: &str) -> Result<(), TargetError> {
    if canonical.len() > TARGET_LEN_MAX {
        return too_long();
    }
    if !canonical.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid("must not contain characters that cannot be sent in a header: percent-encode them");
    }
    if Url::parse(canonical).ok().as_ref().map(Url::as_str) != Some(canonical) {
        return invalid("is ambiguous: write it in its canonical form");
    }
    Ok(())
}

fn not_a_url(error: ParseError, text: &str) -> TargetError {
    let detail = match error {
        ParseError::RelativeUrlWithoutBase | ParseError::RelativeUrlWithCannotBeABaseBase => {
            format!("must begin with http:// or https://, not with `{}`", excerpt(text))
        }
        ParseError::EmptyHost => "has no host: write https://host/path".to_owned(),
        ParseError::InvalidPort => "has an invalid port: it is a number from 0 to 65535".to_owned(),
        ParseError::IdnaError | ParseError::InvalidDomainCharacter => "has a host that is no valid domain name".to_owned(),
        ParseError::InvalidIpv4Address | ParseError::InvalidIpv6Address => "has a host that is no valid IP address".to_owned(),
        ParseError::SetHostOnCannotBeABaseUrl | ParseError::Overflow | _ => {
            "is not a URL: give an absolute one such as https://example.com/".to_owned()
        }
    };
    TargetError::Invalid(detail)
}

fn too_long<T>() -> Result<T, TargetError> {
    invalid(format!("must have at most {TARGET_LEN_MAX} bytes once its characters are percent-encoded"))
}

fn invalid<T>(detail: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError::Invalid(detail.into()))
}

fn not_allowed<T>(detail: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError::NotAllowed(detail.into()))
}

/// The beginning of what was sent, so that an answer never carries much of an attacker's text.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 32;
    let short: String = text.chars().take(CHARS_MAX).flat_map(char::escape_default).collect();
    if text.chars().nth(CHARS_MAX).is_some() { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests;
