use proptest::prelude::*;

use super::*;

use Browser as B;
use Device as D;
use System as S;

/// What people send, and what it says of them.
const PEOPLE: &[(&str, B, S, D)] = &[
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        B::Chrome,
        S::Windows,
        D::Desktop,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
        B::Edge,
        S::Windows,
        D::Desktop,
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", B::Firefox, S::Linux, D::Desktop),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        B::Safari,
        S::MacOs,
        D::Desktop,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        B::Safari,
        S::Ios,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
        B::Chrome,
        S::Ios,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15",
        B::Firefox,
        S::IpadOs,
        D::Tablet,
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        B::Chrome,
        S::Android,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        B::Chrome,
        S::Android,
        D::Tablet,
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
        B::SamsungInternet,
        S::Android,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36",
        B::Webview,
        S::Android,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 336.0.0.28.85 (iPhone14,5)",
        B::Webview,
        S::Ios,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0]",
        B::Webview,
        S::Ios,
        D::Mobile,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36 OPR/111.0.0.0",
        B::Opera,
        S::Windows,
        D::Desktop,
    ),
    ("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", B::InternetExplorer, S::Windows, D::Desktop),
    (
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        B::Chrome,
        S::ChromeOs,
        D::Desktop,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Vivaldi/6.8",
        B::Vivaldi,
        S::Windows,
        D::Desktop,
    ),
    (
        "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15",
        B::Safari,
        S::Console,
        D::Console,
    ),
    (
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/5.0 Chrome/94.0 TV Safari/537.36",
        B::SamsungInternet,
        S::Tv,
        D::Tv,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; CUBOT X20 PRO) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/100.0 Mobile Safari/537.36",
        B::Chrome,
        S::Android,
        D::Mobile,
    ),
    ("curl/8.5.0", B::Curl, S::Unknown, D::Other),
    ("Wget/1.21.4 (linux-gnu)", B::Wget, S::Linux, D::Other),
    ("python-requests/2.32.3", B::HttpLibrary, S::Unknown, D::Other),
    ("Go-http-client/2.0", B::HttpLibrary, S::Unknown, D::Other),
    ("", B::Unknown, S::Unknown, D::Unknown),
    ("something entirely different", B::Other, S::Other, D::Other),
];

#[test]
fn people() {
    for &(user_agent, browser, system, device) in PEOPLE {
        let expected = Agent { browser, system, device, bot: None };
        assert_eq!(classify(user_agent), expected, "{user_agent}");
    }
}

#[test]
fn bots() {
    for (user_agent, name) in [
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot"),
        ("Slackbot 1.0 (+https://api.slack.com/robots)", "Slackbot"),
        ("Twitterbot/1.0", "Twitterbot"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "facebookexternalhit"),
        ("WhatsApp/2.23.20.0 A", "WhatsApp"),
        ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Discordbot"),
        ("TelegramBot (like TwitterBot)", "TelegramBot"),
        ("LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", "LinkedInBot"),
        ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com", "SkypeUriPreview"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot"),
        (
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot",
        ),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bingbot"),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "GPTBot"),
        ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "YandexBot"),
        ("Mozilla/5.0 (compatible; SomeNewBot/0.1; +https://example.com/bot)", "SomeNewBot"),
        ("example-crawler", "example-crawler"),
    ] {
        let agent = classify(user_agent);
        assert_eq!(agent.bot.as_deref(), Some(name), "{user_agent}");
        assert_eq!(agent.browser, Browser::Unknown, "{user_agent}");
    }
}

proptest! {
    #[test]
    fn any_text_is_classified_with_a_short_name(user_agent in "\\PC{0,512}") {
        let agent = classify(&user_agent);
        prop_assert!(agent.bot.is_none_or(|name| !name.is_empty() && name.len() <= 32));
    }
}
