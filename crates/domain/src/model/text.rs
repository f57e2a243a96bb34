//! Short texts that outsiders choose: bounded, without control or bidirectional characters.

use std::fmt;

use crate::limits;

/// Why a text was refused, as a sentence about "it".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TextError(pub String);

/// Characters that change how the text around them is displayed, or that are not displayed at all.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{061C}')
}

fn check(text: &str, chars_max: usize) -> Result<(), TextError> {
    if text.trim() != text || text.is_empty() {
        return Err(TextError("must not be empty, nor begin or end with white space".into()));
    }
    if text.chars().count() > chars_max {
        return Err(TextError(format!("must have at most {chars_max} characters")));
    }
    if text.chars().any(is_deceptive) {
        return Err(TextError("must not contain control, zero-width or bidirectional characters".into()));
    }
    Ok(())
}

macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $max:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, TextError> {
                check(text, $max)?;
                Ok(Self(text.into()))
            }

            /// A text this type once accepted, read back from our own store.
            pub fn from_stored(text: &str) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(
    /// What a link is called in lists and previews.
    Title, limits::TITLE_LEN_MAX
);
text!(
    /// A label to find links by; one owner's tags are apart from another's.
    Tag, limits::TAG_LEN_MAX
);
text!(
    /// Whoever a key acts for. Opaque to us.
    Owner, limits::OWNER_LEN_MAX
);
text!(
    /// What a key is called in lists.
    KeyName, limits::NAME_LEN_MAX
);
text!(
    /// Why a link was taken down, as shown on its 451 page.
    BlockReason, limits::BLOCK_REASON_LEN_MAX
);
