//! The rules that read a user agent: ours for what is common and for link previews, woothee's for the rest.

use compact_str::CompactString;
use domain::{Agent, Browser, Device, System};
use woothee::parser::Parser;

/// Crawlers and link-preview fetchers by what only they say, in lower case, with the name they are counted
/// under. The first that fits counts.
const BOTS: &[(&str, &str)] = &[
    ("slackbot", "Slackbot"),
    ("slack-imgproxy", "Slackbot"),
    // Says "like TwitterBot".
    ("telegrambot", "TelegramBot"),
    ("twitterbot", "Twitterbot"),
    ("facebookexternalhit", "facebookexternalhit"),
    ("facebookcatalog", "facebookexternalhit"),
    ("meta-externalagent", "Meta-ExternalAgent"),
    ("meta-externalfetcher", "Meta-ExternalFetcher"),
    ("discordbot", "Discordbot"),
    ("linkedinbot", "LinkedInBot"),
    ("skypeuripreview", "SkypeUriPreview"),
    ("microsoftpreview", "MicrosoftPreview"),
    ("pinterestbot", "Pinterestbot"),
    ("pinterest/0.", "Pinterestbot"),
    ("redditbot", "redditbot"),
    ("bitlybot", "bitlybot"),
    ("embedly", "Embedly"),
    ("iframely", "Iframely"),
    ("vkshare", "vkShare"),
    ("snap url preview", "Snapchat"),
    ("kakaotalk-scrap", "KakaoTalk"),
    ("quora link preview", "Quora Link Preview"),
    ("flipboardproxy", "FlipboardProxy"),
    ("mastodon/", "Mastodon"),
    ("google-inspectiontool", "Google-InspectionTool"),
    ("googleother", "GoogleOther"),
    ("adsbot-google", "AdsBot-Google"),
    ("mediapartners-google", "Mediapartners-Google"),
    ("feedfetcher-google", "FeedFetcher-Google"),
    ("google-read-aloud", "Google-Read-Aloud"),
    ("googlebot", "Googlebot"),
    ("bingbot", "bingbot"),
    ("bingpreview", "BingPreview"),
    ("adidxbot", "adidxbot"),
    ("yandex.com/bots", "YandexBot"),
    ("baiduspider", "Baiduspider"),
    ("duckduckbot", "DuckDuckBot"),
    ("duckduckgo-favicons-bot", "DuckDuckBot"),
    ("applebot", "Applebot"),
    ("amazonbot", "Amazonbot"),
    ("petalbot", "PetalBot"),
    ("bytespider", "Bytespider"),
    ("gptbot", "GPTBot"),
    ("chatgpt-user", "ChatGPT-User"),
    ("oai-searchbot", "OAI-SearchBot"),
    ("claudebot", "ClaudeBot"),
    ("claude-web", "ClaudeBot"),
    ("anthropic-ai", "ClaudeBot"),
    ("perplexitybot", "PerplexityBot"),
    ("ccbot", "CCBot"),
    ("semrushbot", "SemrushBot"),
    ("ahrefsbot", "AhrefsBot"),
    ("mj12bot", "MJ12bot"),
    ("dotbot", "DotBot"),
    ("ia_archiver", "ia_archiver"),
    ("archive.org_bot", "archive.org_bot"),
    ("uptimerobot", "UptimeRobot"),
    ("pingdom", "Pingdom"),
    ("statuscake", "StatusCake"),
    ("w3c_validator", "W3C_Validator"),
];

/// Tools by how their user agent begins, in lower case. People use them: they are no bots.
const TOOLS: &[(&str, Browser)] = &[
    ("curl/", Browser::Curl),
    ("wget/", Browser::Wget),
    ("wget2/", Browser::Wget),
    ("python-requests/", Browser::HttpLibrary),
    ("python-urllib/", Browser::HttpLibrary),
    ("python-httpx/", Browser::HttpLibrary),
    ("python/", Browser::HttpLibrary),
    ("aiohttp/", Browser::HttpLibrary),
    ("go-http-client/", Browser::HttpLibrary),
    ("okhttp/", Browser::HttpLibrary),
    ("java/", Browser::HttpLibrary),
    ("java-http-client/", Browser::HttpLibrary),
    ("apache-httpclient/", Browser::HttpLibrary),
    ("axios/", Browser::HttpLibrary),
    ("node-fetch/", Browser::HttpLibrary),
    ("node", Browser::HttpLibrary),
    ("undici", Browser::HttpLibrary),
    ("got (", Browser::HttpLibrary),
    ("libwww-perl/", Browser::HttpLibrary),
    ("ruby", Browser::HttpLibrary),
    ("faraday ", Browser::HttpLibrary),
    ("guzzlehttp/", Browser::HttpLibrary),
    ("php/", Browser::HttpLibrary),
    ("reqwest/", Browser::HttpLibrary),
    ("hyper/", Browser::HttpLibrary),
    ("dart/", Browser::HttpLibrary),
    ("httpie/", Browser::HttpLibrary),
    ("insomnia/", Browser::HttpLibrary),
    ("postmanruntime/", Browser::HttpLibrary),
];

/// Browsers by what only they say, in lower case. Those that pose as others come before them.
const BROWSERS: &[(&str, Browser)] = &[
    ("[fban", Browser::Webview),
    ("fban/", Browser::Webview),
    ("fbav/", Browser::Webview),
    ("instagram ", Browser::Webview),
    ("micromessenger/", Browser::Webview),
    ("musical_ly", Browser::Webview),
    ("bytedancewebview", Browser::Webview),
    ("linkedinapp", Browser::Webview),
    ("snapchat/", Browser::Webview),
    ("twitter for i", Browser::Webview),
    ("[pinterest/", Browser::Webview),
    (" line/", Browser::Webview),
    ("gsa/", Browser::Webview),
    ("edg/", Browser::Edge),
    ("edga/", Browser::Edge),
    ("edgios/", Browser::Edge),
    ("edge/", Browser::Edge),
    ("opr/", Browser::Opera),
    ("opt/", Browser::Opera),
    ("opios/", Browser::Opera),
    ("opera", Browser::Opera),
    ("samsungbrowser/", Browser::SamsungInternet),
    ("vivaldi/", Browser::Vivaldi),
    ("yabrowser/", Browser::Yandex),
    ("ucbrowser/", Browser::UcBrowser),
    ("ucweb/", Browser::UcBrowser),
    ("brave/", Browser::Brave),
    ("duckduckgo/", Browser::DuckDuckGo),
    (" ddg/", Browser::DuckDuckGo),
    ("fxios/", Browser::Firefox),
    ("firefox/", Browser::Firefox),
    ("; wv)", Browser::Webview),
    ("crios/", Browser::Chrome),
    ("chrome/", Browser::Chrome),
    ("chromium/", Browser::Chrome),
    ("msie ", Browser::InternetExplorer),
    ("trident/", Browser::InternetExplorer),
];

/// Systems by what only they say, in lower case; what poses as another system comes before it.
const SYSTEMS: &[(&str, System)] = &[
    ("playstation", System::Console),
    ("xbox", System::Console),
    ("nintendo", System::Console),
    ("smart-tv", System::Tv),
    ("smarttv", System::Tv),
    ("googletv", System::Tv),
    ("google tv", System::Tv),
    ("android tv", System::Tv),
    ("appletv", System::Tv),
    ("apple tv", System::Tv),
    ("hbbtv", System::Tv),
    ("web0s", System::Tv),
    ("roku/", System::Tv),
    ("crkey", System::Tv),
    ("aftt", System::Tv),
    ("ipad", System::IpadOs),
    ("iphone", System::Ios),
    ("ipod", System::Ios),
    ("windows", System::Windows),
    ("cros ", System::ChromeOs),
    ("android", System::Android),
    ("mac os x", System::MacOs),
    ("macintosh", System::MacOs),
    ("freebsd", System::Bsd),
    ("openbsd", System::Bsd),
    ("netbsd", System::Bsd),
    ("linux", System::Linux),
    ("x11", System::Linux),
];

pub(super) fn classify(user_agent: &str) -> Agent {
    let text = user_agent.to_ascii_lowercase();
    if text.trim().is_empty() {
        return Agent::default();
    }
    if let Some(&(_, name)) = BOTS.iter().find(|(says, _)| text.contains(says)) {
        return bot(name);
    }
    // Nothing follows the version but a platform letter; browsers inside the app say Mozilla first.
    if text.starts_with("whatsapp/") {
        return bot("WhatsApp");
    }
    if let Some(&(_, browser)) = TOOLS.iter().find(|(begins, _)| text.starts_with(begins)) {
        let system = find(SYSTEMS, &text).unwrap_or_default();
        return Agent { browser, system, device: Device::Other, bot: None };
    }
    if let Some(name) = self_declared(user_agent) {
        return bot(name);
    }
    let second_opinion = Parser::new().parse(user_agent);
    if let Some(known) = second_opinion.as_ref().filter(|known| known.category == "crawler") {
        return bot(known.name);
    }
    let system = find(SYSTEMS, &text).unwrap_or(System::Other);
    let browser = find(BROWSERS, &text).unwrap_or_else(|| apple_or_other(&text, system));
    Agent { browser, system, device: device(&text, system), bot: None }
}

fn bot(name: &str) -> Agent {
    Agent { bot: Some(CompactString::new(name)), ..Agent::default() }
}

fn find<T: Copy>(rules: &[(&str, T)], text: &str) -> Option<T> {
    rules.iter().find(|(says, _)| text.contains(says)).map(|(_, is)| *is)
}

/// A page inside an app for Apple's systems says `Mobile/` but neither `Safari/` nor `Version/`.
fn apple_or_other(text: &str, system: System) -> Browser {
    let is_apple = matches!(system, System::Ios | System::IpadOs | System::MacOs);
    if text.contains("safari/") && (is_apple || text.contains("version/")) {
        Browser::Safari
    } else if is_apple && text.contains("applewebkit/") {
        Browser::Webview
    } else if text.contains("cfnetwork/") {
        Browser::HttpLibrary
    } else {
        Browser::Other
    }
}

fn device(text: &str, system: System) -> Device {
    match system {
        System::Console => Device::Console,
        System::Tv => Device::Tv,
        System::Ios => Device::Mobile,
        System::Android if text.contains("mobile") => Device::Mobile,
        System::Android | System::IpadOs => Device::Tablet,
        System::Windows if text.contains("windows phone") => Device::Mobile,
        System::Windows | System::MacOs | System::Linux | System::ChromeOs | System::Bsd => Device::Desktop,
        System::Other | System::Unknown => Device::Other,
    }
}

/// The name of a program that calls itself a bot, crawler or spider: `Examplebot/1.0 (+https://…)`.
fn self_declared(user_agent: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    user_agent.split(|c: char| !is_name(c)).map(|word| word.trim_matches(['.', '-', '_'])).find(|word| {
        let lower = word.to_ascii_lowercase();
        let says_so = ["bot", "crawler", "spider"].iter().any(|kind| lower.ends_with(kind));
        // A brand of telephones, and domain names in the comment.
        says_so && lower.len() <= 32 && !lower.ends_with("cubot") && !lower.starts_with("www.")
    })
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
