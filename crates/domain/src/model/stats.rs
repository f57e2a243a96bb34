//! Statistics: what is counted, by what, over which time.

use super::{LinkId, Owner};
use crate::time::UnixMs;

/// A quarter of an hour, numbered from 1970-01-01T00:00:00Z. Every time zone's days are made of whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    pub const LEN_MS: i64 = 15 * 60 * 1_000;
    pub const PER_DAY: u32 = 96;

    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    /// The slot that `at` lies in.
    pub fn at(at: UnixMs) -> Self {
        Self(u32::try_from(at.get().div_euclid(Self::LEN_MS).max(0)).unwrap_or(u32::MAX))
    }

    pub fn start(self) -> UnixMs {
        UnixMs::new(i64::from(self.0) * Self::LEN_MS)
    }

    /// Days since 1970-01-01, UTC.
    pub const fn day(self) -> u32 {
        self.0 / Self::PER_DAY
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    Country = 1,
    Referrer = 2,
    Browser = 3,
    System = 4,
    Device = 5,
    Language = 6,
    UtmSource = 7,
    UtmMedium = 8,
    UtmCampaign = 9,
    Bot = 10,
}

impl Dimension {
    pub const ALL: [Self; 10] = [
        Self::Country,
        Self::Referrer,
        Self::Browser,
        Self::System,
        Self::Device,
        Self::Language,
        Self::UtmSource,
        Self::UtmMedium,
        Self::UtmCampaign,
        Self::Bot,
    ];

    /// As in the path of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Country => "countries",
            Self::Referrer => "referrers",
            Self::Browser => "browsers",
            Self::System => "systems",
            Self::Device => "devices",
            Self::Language => "languages",
            Self::UtmSource => "utm_source",
            Self::UtmMedium => "utm_medium",
            Self::UtmCampaign => "utm_campaign",
            Self::Bot => "bots",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.as_str() == text)
    }

    /// The number in stored rows; never changes its meaning.
    pub const fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.number() == number)
    }
}

/// Whose clicks are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Link(LinkId),
    /// All links of one owner.
    Owner(Owner),
    /// All links there are.
    Everyone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Every redirect answered.
    pub clicks: u64,
    /// Those that were not HEAD, prefetch or a known bot.
    pub humans: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.clicks += other.clicks;
        self.humans += other.humans;
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interval {
    Hour,
    #[default]
    Day,
    Month,
}

impl Interval {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}
