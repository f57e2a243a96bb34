//! A click: one answered redirect, as it is recorded. Never carries an IP address.

use compact_str::CompactString;

use super::{DomainNo, LinkId, Owner};
use crate::time::UnixMs;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $number:literal => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { #[default] Unknown = 0, $($variant = $number),* }

        impl $name {
            pub const ALL: &'static [Self] = &[Self::Unknown, $(Self::$variant),*];

            /// As shown in statistics; empty for `Unknown`.
            pub const fn as_str(self) -> &'static str {
                match self { Self::Unknown => "", $(Self::$variant => $text),* }
            }

            /// The number in stored records; never changes its meaning.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// A number of a later version reads as `Unknown`.
            pub const fn from_number(number: u32) -> Self {
                match number { $($number => Self::$variant,)* _ => Self::Unknown }
            }
        }
    };
}

named! {
    Browser {
        Chrome = 1 => "Chrome", Firefox = 2 => "Firefox", Safari = 3 => "Safari", Edge = 4 => "Edge", Opera = 5 => "Opera",
        InternetExplorer = 6 => "Internet Explorer", SamsungInternet = 7 => "Samsung Internet", Vivaldi = 8 => "Vivaldi",
        Yandex = 9 => "Yandex Browser", Webview = 10 => "In-app browser", Curl = 11 => "curl", Wget = 12 => "Wget",
        HttpLibrary = 13 => "HTTP library", Brave = 14 => "Brave", DuckDuckGo = 15 => "DuckDuckGo", UcBrowser = 16 => "UC Browser",
        Other = 255 => "Other",
    }
}
named! {
    System {
        Windows = 1 => "Windows", MacOs = 2 => "macOS", Linux = 3 => "Linux", Android = 4 => "Android", Ios = 5 => "iOS",
        IpadOs = 6 => "iPadOS", ChromeOs = 7 => "ChromeOS", Bsd = 8 => "BSD", Console = 9 => "Game console", Tv = 10 => "TV",
        Other = 255 => "Other",
    }
}
named! {
    Device {
        Desktop = 1 => "Desktop", Mobile = 2 => "Mobile", Tablet = 3 => "Tablet", Tv = 4 => "TV", Console = 5 => "Console",
        Other = 255 => "Other",
    }
}

/// Two upper-case letters, ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// `XX` and `T1`, with which CDNs say "unknown" and "Tor", are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let [a, b] = <[u8; 2]>::try_from(text.as_bytes()).ok()?.map(|b| b.to_ascii_uppercase());
        (a.is_ascii_uppercase() && b.is_ascii_uppercase() && [a, b] != *b"XX").then_some(Self([a, b]))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// The primary subtag of a language, two or three lower-case letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language([u8; 3]);

impl Language {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split(['-', '_']).next()?.as_bytes();
        let mut letters = [0; 3];
        let fits = matches!(text.len(), 2 | 3) && text.iter().all(u8::is_ascii_alphabetic);
        if !fits {
            return None;
        }
        letters[..text.len()].copy_from_slice(text);
        letters.make_ascii_lowercase();
        Some(Self(letters))
    }

    pub fn as_str(&self) -> &str {
        let length = if self.0[2] == 0 { 2 } else { 3 };
        std::str::from_utf8(&self.0[..length]).unwrap_or("")
    }
}

/// What is known of a client from its user agent alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    pub browser: Browser,
    pub system: System,
    pub device: Device,
    /// The name of a crawler or link-preview fetcher.
    pub bot: Option<CompactString>,
}

/// One click, borrowed from whoever records it, so that recording allocates nothing.
/// Empty strings mean "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Click<'a> {
    pub link: LinkId,
    pub domain: DomainNo,
    /// As shown.
    pub code: &'a str,
    pub owner: &'a str,
    pub at: UnixMs,
    /// `HMAC(salt of the UTC day, owner ‖ IP ‖ user agent)`, truncated to 64 bits.
    pub visitor: u64,
    pub country: Option<Country>,
    pub language: Option<Language>,
    /// The referrer's host, without `www.`.
    pub referrer: &'a str,
    pub browser: Browser,
    pub system: System,
    pub device: Device,
    /// The bot's name, `HEAD` or `Prefetch`; empty for people.
    pub bot: &'a str,
    pub utm_source: &'a str,
    pub utm_medium: &'a str,
    pub utm_campaign: &'a str,
}

/// Where in a trace a click was made; known of the few whose trace is kept. Neither number is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickTrace {
    pub trace_id: u128,
    pub span_id: u64,
}

/// One click as read back from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedClick {
    pub link: LinkId,
    /// `None`, and `code` empty, where the log keeps only what statistics need.
    pub domain: Option<DomainNo>,
    pub code: CompactString,
    pub owner: Owner,
    pub at: UnixMs,
    pub visitor: u64,
    pub country: Option<Country>,
    pub language: Option<Language>,
    pub referrer: CompactString,
    pub browser: Browser,
    pub system: System,
    pub device: Device,
    pub bot: CompactString,
    pub utm_source: CompactString,
    pub utm_medium: CompactString,
    pub utm_campaign: CompactString,
}

impl LoggedClick {
    pub fn is_bot(&self) -> bool {
        !self.bot.is_empty()
    }
}
