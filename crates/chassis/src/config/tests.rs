use std::io::Write as _;
use std::time::Duration;

use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Example {
    listen: std::net::SocketAddr,
    title: Option<String>,
    store: String,
    client: Client,
    limits: Limits,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
struct Client {
    key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Limits {
    per_ip: u32,
    wait_ms: Millis,
    keep_s: Seconds,
    body_bytes: Size,
    trusted: Vec<String>,
    strict: bool,
    share: Within<1, 99>,
    peer: Text<std::net::IpAddr>,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            title: None,
            store: "sqlite:a.db".into(),
            client: Client::default(),
            limits: Limits {
                per_ip: 100,
                wait_ms: Millis::new(250),
                keep_s: Seconds::new(60),
                body_bytes: Size(65_536),
                trusted: Vec::new(),
                strict: false,
                share: Within::new(50),
                peer: Text([127, 0, 0, 1].into()),
            },
        }
    }
}

impl Settings for Example {
    const SECRETS: &'static [&'static str] = &["client.key"];
    const SHORTHANDS: &'static [(&'static str, &'static str)] = &[("client", "client.key")];

    fn complete(&mut self) {
        self.title.get_or_insert_with(|| "untitled".into());
    }

    fn conflicts(&self) -> Vec<(&'static str, String, String)> {
        let wrong = self.limits.strict && self.limits.per_ip == 0;
        wrong.then(|| ("limits.per_ip", "strict needs a limit".to_owned(), "set 1 or more".to_owned())).into_iter().collect()
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn flag(key: &str, name: &str, value: &str) -> Flag {
    Flag { key: key.into(), name: name.into(), value: value.into() }
}

fn env_only(name: &str, value: &str) -> Result<Loaded<Example>, ConfigError> {
    load(&Sources { environment: [(name, value)].into_iter().collect(), ..Sources::default() })
}

#[test]
fn later_layers_win_and_every_value_knows_its_origin() {
    let toml = file("listen = \"127.0.0.1:1\"\nclient = {}\nstore = \"sqlite:file.db\"\n\n[limits]\nper_ip = 7\nwait_ms = \"2s\"\n");
    let loaded: Loaded<Example> = load(&Sources {
        file: Some(toml.path().into()),
        environment: [("TERSE__LIMITS__PER_IP", "8"), ("TERSE__STORE", "sqlite:env.db"), ("PATH", "/bin")].into_iter().collect(),
        flags: vec![flag("store", "--store", "sqlite:flag.db")],
    })
    .unwrap();
    assert_eq!(loaded.settings.listen.port(), 1);
    assert_eq!(loaded.settings.limits.per_ip, 8);
    assert_eq!(loaded.settings.store, "sqlite:flag.db");
    assert_eq!(loaded.settings.limits.wait_ms.0, Duration::from_secs(2));
    let at = |line| Origin::File { path: toml.path().into(), line };
    for (key, origin) in [
        ("listen", at(1)),
        ("limits.wait_ms", at(7)),
        ("limits.per_ip", Origin::Env("TERSE__LIMITS__PER_IP".into())),
        ("store", Origin::Flag("--store".into())),
        ("limits.keep_s", Origin::Default),
    ] {
        assert_eq!(loaded.origin(key), origin, "{key}");
    }
    assert_eq!(loaded.summary(), format!("defaults + {} + 1 from the environment + 1 from flags", toml.path().display()));
}

#[test]
fn text_takes_the_form_its_key_needs() {
    for (name, value, pick) in [
        ("TERSE__LIMITS__WAIT_MS", "1m", "60000"),
        ("TERSE__LIMITS__WAIT_MS", "40", "40"),
        ("TERSE__LIMITS__KEEP_S", "2h", "7200"),
        ("TERSE__LIMITS__KEEP_S", "5", "5"),
        ("TERSE__LIMITS__BODY_BYTES", "64MiB", "67108864"),
        ("TERSE__LIMITS__BODY_BYTES", "1kB", "1000"),
        ("TERSE__LIMITS__STRICT", "true", "true"),
        ("TERSE__LIMITS__TRUSTED", "10.0.0.0/8, ::1", r#"["10.0.0.0/8","::1"]"#),
        ("TERSE__LIMITS__TRUSTED", r#"["10.0.0.0/8", "::1"]"#, r#"["10.0.0.0/8","::1"]"#),
        ("TERSE__LIMITS__TRUSTED", "[]", "[]"),
        ("TERSE__LIMITS__TRUSTED", "", "[]"),
        ("TERSE__STORE", "123", "\"123\""),
        ("TERSE__TITLE", "a,b", "\"a,b\""),
        ("TERSE__TITLE", "true", "\"true\""),
    ] {
        let loaded = env_only(name, value).unwrap();
        let entry = loaded.entries().into_iter().find(|entry| entry.origin == Origin::Env(name.into())).unwrap();
        assert_eq!(entry.value.to_string(), pick, "{name}={value}");
    }
}

#[test]
fn wrong_values_name_key_value_origin_and_form() {
    for (name, value, words) in [
        (
            "TERSE__LIMITS__PER_IP",
            "lots",
            "limits.per_ip = \"lots\"  (environment TERSE__LIMITS__PER_IP)\n    expected a whole number from 0 to 4294967295",
        ),
        ("TERSE__LIMITS__PER_IP", "-1", "expected a whole number from 0 to 4294967295"),
        ("TERSE__LIMITS__WAIT_MS", "soon", "expected milliseconds as a number, or text such as \"250ms\""),
        ("TERSE__LIMITS__WAIT_MS", "99999999999999999", "expected milliseconds"),
        ("TERSE__LIMITS__KEEP_S", "250ms", "expected whole seconds"),
        ("TERSE__LIMITS__BODY_BYTES", "99999999999GiB", "expected bytes as a number"),
        ("TERSE__LIMITS__STRICT", "yes", "expected true or false"),
        ("TERSE__LIMITS__SHARE", "0", "limits.share = \"0\"  (environment TERSE__LIMITS__SHARE)\n    expected a whole number from 1 to 99"),
        ("TERSE__LIMITS__SHARE", "x", "expected a whole number from 1 to 99"),
        ("TERSE__LIMITS__PEER", "here", "invalid IP address syntax"),
        ("TERSE__LISTEN", "nowhere", "invalid socket address syntax"),
        ("TERSE__LIMITS", "5", "this is a section, not a value"),
        ("TERSE__LIMITS__PERIP", "5", "there is no such key; did you mean `limits.per_ip`?"),
        ("TERSE__LIMIT__PER_IP", "5", "did you mean `limits.per_ip`?"),
    ] {
        let error = env_only(name, value).unwrap_err();
        assert_eq!(error.mistakes.len(), 1, "{error}");
        assert!(error.to_string().contains(words), "{name}={value}: {error}");
    }
}

#[test]
fn all_mistakes_of_all_layers_are_reported_at_once() {
    let toml = file("lisetn = 1\nstore = {}\n[limits]\nper_ip = \"x\"\nstrict = 1\n[limts]\nper_ip = 1\n");
    let error = load::<Example>(&Sources {
        file: Some(toml.path().into()),
        environment: [("TERSE__NOPE__NOPE", "1")].into_iter().collect(),
        flags: vec![flag("listen", "--listen", "x")],
    })
    .unwrap_err();
    let mut keys: Vec<&str> = error.mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["limits.per_ip", "limits.strict", "limts.per_ip", "lisetn", "listen", "nope.nope", "store"]);
    let text = error.to_string();
    assert!(text.starts_with("the configuration has 7 mistakes:"), "{text}");
    assert!(text.contains(&format!("({}:4)", toml.path().display())), "{text}");
    assert!(text.contains("(flag --listen)"), "{text}");
}

#[test]
fn values_right_alone_may_be_wrong_together() {
    let environment = [("TERSE__LIMITS__STRICT", "true"), ("TERSE__LIMITS__PER_IP", "0")].into_iter().collect();
    let error = load::<Example>(&Sources { environment, ..Sources::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration has a mistake:\n  limits.per_ip = 0  (environment TERSE__LIMITS__PER_IP)\n    strict needs a limit; set 1 or more"
    );
}

#[test]
fn secrets_are_never_shown() {
    let secret = "tk_sesame";
    let loaded = env_only("TERSE__CLIENT__KEY", secret).unwrap();
    assert_eq!(loaded.settings.client.key.as_deref(), Some(secret));
    assert!(!loaded.to_json().to_string().contains(secret));
    assert_eq!(loaded.to_json()["client.key"]["value"], MASK);
    let url = env_only("TERSE__STORE", "redis://user:sesame@host:1/0").unwrap();
    assert_eq!(url.to_json()["store"]["value"], format!("redis://{MASK}@host:1/0"));
    let toml = file("[client]\nkey = [\"tk_sesame\"]\n");
    let error = load::<Example>(&Sources { file: Some(toml.path().into()), ..Sources::default() }).unwrap_err();
    assert!(!error.to_string().contains(secret), "{error}");
}

#[test]
fn a_section_given_as_a_value_means_its_shorthand() {
    for loaded in [env_only("TERSE__CLIENT", "x"), env_only("TERSE__CLIENT__KEY", "x")] {
        assert_eq!(loaded.unwrap().settings.client.key.as_deref(), Some("x"));
    }
    let toml = file("client = \"y\"\n");
    let loaded: Loaded<Example> = load(&Sources { file: Some(toml.path().into()), ..Sources::default() }).unwrap();
    assert_eq!(loaded.settings.client.key.as_deref(), Some("y"));
    assert_eq!(loaded.origin("client.key"), Origin::File { path: toml.path().into(), line: 1 });
}

#[test]
fn files_that_cannot_be_read_or_parsed_are_mistakes() {
    let missing = Sources { file: Some("/nonexistent/terse.toml".into()), ..Sources::default() };
    let error = load::<Example>(&missing).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/terse.toml"), "{error}");
    for text in ["listen = ", "[limits\nper_ip = 1", "listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n"] {
        let toml = file(text);
        let error = load::<Example>(&Sources { file: Some(toml.path().into()), ..Sources::default() }).unwrap_err();
        assert!(error.to_string().contains("not TOML"), "{text}: {error}");
    }
}

#[test]
fn values_are_read_from_files_that_the_environment_names() {
    let secret = file("redis://:sesame@host/0\n");
    let path = secret.path().to_str().unwrap();
    let loaded = env_only("TERSE__STORE_FILE", path).unwrap();
    assert_eq!(loaded.settings.store, "redis://:sesame@host/0");
    assert_eq!(loaded.describe("store"), "store = \"redis://********@host/0\"  (environment TERSE__STORE_FILE)");
    assert_eq!(env_only("TERSE__CLIENT__KEY_FILE", path).unwrap().settings.client.key.unwrap(), "redis://:sesame@host/0");

    let error = env_only("TERSE__STORE_FILE", "/nowhere/at all").unwrap_err().to_string();
    assert!(error.contains("store  (environment TERSE__STORE_FILE)") && error.contains("`/nowhere/at all` cannot be read"), "{error}");
    let error = env_only("TERSE__STROE_FILE", path).unwrap_err().to_string();
    assert!(error.contains("store") && error.contains("there is no such key") && !error.contains("sesame"), "{error}");
}

#[test]
fn the_environment_names_the_file_and_a_flag_names_another() {
    let (a, b) = (file("store = \"a\""), file("store = \"b\""));
    let environment: Environment = [("TERSE__CONFIG", a.path().to_str().unwrap())].into_iter().collect();
    let from_env: Loaded<Example> = load(&Sources { environment: environment.clone(), ..Sources::default() }).unwrap();
    assert_eq!(from_env.settings.store, "a");
    let from_flag: Loaded<Example> = load(&Sources { file: Some(b.path().into()), environment, ..Sources::default() }).unwrap();
    assert_eq!(from_flag.settings.store, "b");
}

#[test]
fn values_that_follow_from_others_are_shown_as_defaults() {
    let loaded: Loaded<Example> = load(&Sources::default()).unwrap();
    assert_eq!(loaded.to_json()["title"], serde_json::json!({ "value": "untitled", "origin": "default" }));
    assert_eq!(loaded.summary(), "defaults");
    assert_eq!(known_keys::<Example>().len(), 12);
}
