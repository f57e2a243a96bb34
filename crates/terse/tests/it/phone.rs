//! Pages on a narrow phone, light and dark, seen by Chromium where there is one: nothing sticks out to the side.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::cluster::Cluster;

/// The narrowest phones that are sold, and the narrowest ever.
const WIDTHS: [u64; 2] = [360, 320];

/// A browser without a window, spoken to over pipes (`DevTools` protocol, messages end with a zero byte).
struct Browser {
    child: Child,
    commands: ChildStdin,
    events: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
}

impl Browser {
    /// `None` where there is no Chromium.
    fn start(profile: &Path) -> Option<Self> {
        let installed = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
        let name = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(installed)?;
        // It reads commands from file 3 and writes to file 4.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, name]);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.display())).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let (commands, events) = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let mut browser = Self { child, commands, events, session: None, last: 0 };
        let tab = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", &json!({"targetId": tab, "flatten": true}));
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", &json!({}));
        Some(browser)
    }

    fn hear(&mut self) -> Value {
        let mut message = Vec::new();
        self.events.read_until(0, &mut message).expect("a message");
        serde_json::from_slice(message.strip_suffix(b"\0").expect("the browser lives")).expect("JSON")
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        write!(self.commands, "{message}\0").expect("sent");
        loop {
            let heard = self.hear();
            if heard["id"] == self.last {
                assert!(heard["error"].is_null(), "{method}: {heard}");
                return heard["result"].clone();
            }
        }
    }

    fn look(&mut self, width: u64, scheme: &str) {
        let screen = json!({"width": width, "height": 740, "deviceScaleFactor": 2, "mobile": true});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        self.call("Emulation.setEmulatedMedia", &json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}));
    }

    /// Opens a page, and answers what the script says of it.
    fn visit(&mut self, url: &str, script: &str) -> Value {
        let shown = self.call("Page.navigate", &json!({"url": url}));
        assert!(shown["errorText"].is_null() || shown["errorText"] == "net::ERR_HTTP_RESPONSE_CODE_FAILURE", "{url}: {shown}");
        while self.hear()["method"] != "Page.loadEventFired" {}
        self.call("Runtime.evaluate", &json!({"expression": script, "returnByValue": true}))["result"]["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How wide the page is, what sticks out of it, and what it is painted with.
const MEASURE: &str = "({
    width: document.documentElement.scrollWidth,
    outside: [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 99)),
    paper: getComputedStyle(document.documentElement).backgroundColor,
    ink: getComputedStyle(document.documentElement).color,
    heading: document.querySelector('h1')?.textContent ?? '',
})";

async fn pages(cluster: &Cluster) -> Vec<(String, &'static str)> {
    let client = cluster.client();
    let long = "unbroken".repeat(25);
    let host = format!("{}.{}.example.com", "a".repeat(60), "b".repeat(60));
    let target = format!("https://{host}/{long}?q={long}");
    client.create(&json!({"target": "https://example.com/a", "alias": "short", "title": "A title"})).await;
    let far = client.create(&json!({"target": target, "alias": &long[..60], "title": long})).await;
    client.create(&json!({"target": "https://example.com/a", "alias": "over", "expires_at": "2020-01-01T00:00:00Z"})).await;
    for (alias, reason) in [("taken", "phishing"), ("taken-at-length", long.as_str())] {
        let link = client.create(&json!({"target": "https://example.com/a", "alias": alias})).await;
        let path = format!("/api/v1/links/{}/block", link["id"].as_str().expect("an id"));
        client.post(&path, &json!({"reason": reason})).await.expect(200);
    }
    let code = far["code"].as_str().expect("a code");
    vec![
        ("/".into(), "Short links"),
        ("/short+".into(), "example.com"),
        (format!("/{code}+"), "example.com"),
        ("/absent".into(), "nothing here"),
        (format!("/{}", &long[..64]), "nothing here"),
        ("/over".into(), "ended"),
        ("/taken".into(), "taken down"),
        ("/taken-at-length".into(), "taken down"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_fit_a_narrow_phone_light_and_dark() {
    let profile = tempfile::tempdir().expect("a folder");
    let Some(mut browser) = Browser::start(profile.path()) else {
        eprintln!("skipped: there is no Chromium here");
        return;
    };
    let name = format!("{}.example.com", "go".repeat(25));
    let cluster = Cluster::all_in_one().set("TERSE__PUBLIC_URL", &format!("https://{name}")).start();
    let pages = pages(&cluster).await;
    for width in WIDTHS {
        let mut papers = Vec::new();
        for scheme in ["light", "dark"] {
            browser.look(width, scheme);
            for (path, heading) in &pages {
                let seen = browser.visit(&format!("http://{}{path}", cluster.public()), MEASURE);
                let what = format!("{path} at {width}, {scheme}: {seen}");
                assert!(seen["heading"].as_str().expect("a heading").contains(heading), "{what}");
                assert_eq!(seen["width"], width, "{what}");
                assert_eq!(seen["outside"], json!([]), "{what}");
                assert_ne!(seen["paper"], seen["ink"], "{what}");
                papers.push((scheme, seen["paper"].as_str().expect("a colour").to_owned()));
            }
        }
        papers.sort();
        papers.dedup();
        assert_eq!(papers.len(), 2, "one paper for each scheme: {papers:?}");
        assert_ne!(papers[0].1, papers[1].1);
    }
}
