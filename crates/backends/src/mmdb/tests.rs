use std::collections::BTreeMap;

use domain::port::contract::geo as contract;

use super::*;

/// A value of the database format, as far as countries need it.
enum Value {
    Text(&'static str),
    Short(u16),
    Number(u32),
    Long(u64),
    NoList,
    Map(BTreeMap<&'static str, Value>),
}

impl Value {
    fn map<const N: usize>(pairs: [(&'static str, Value); N]) -> Self {
        Self::Map(BTreeMap::from(pairs))
    }

    /// Type in the upper three bits, size below 29 in the others.
    fn encode(&self, out: &mut Vec<u8>) {
        let size = |len: usize| u8::try_from(len).ok().filter(|len| *len < 29).unwrap();
        match self {
            Self::Text(text) => {
                out.push(2 << 5 | size(text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            Self::Short(number) => {
                out.push(5 << 5 | 2);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Long(number) => {
                // An extended type: 7 more than what the second byte says.
                out.extend_from_slice(&[8, 2]);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::NoList => out.extend_from_slice(&[0, 4]),
            Self::Number(number) => {
                out.push(6 << 5 | 4);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Map(pairs) => {
                out.push(7 << 5 | size(pairs.len()));
                for (key, value) in pairs {
                    Self::Text(key).encode(out);
                    value.encode(out);
                }
            }
        }
    }
}

fn nested(code: &'static str) -> Value {
    Value::map([("country", Value::map([("iso_code", Value::Text(code))]))])
}

/// A database for IPv6, with IPv4 below `::/96`: a tree of 24-bit records, 16 zeros, the values, the metadata.
fn database(networks: &[(&str, u8, Value)]) -> Vec<u8> {
    #[derive(Clone, Copy)]
    enum Record {
        Empty,
        Node(usize),
        Data(usize),
    }
    let (mut nodes, mut data) = (vec![[Record::Empty; 2]], Vec::new());
    for (address, prefix, value) in networks {
        let address: IpAddr = address.parse().unwrap();
        let (bits, prefix) = match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), prefix + 96),
            IpAddr::V6(v6) => (u128::from(v6), *prefix),
        };
        let at = data.len();
        value.encode(&mut data);
        let mut node = 0;
        for depth in 0..prefix {
            let bit = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == prefix {
                nodes[node][bit] = Record::Data(at);
            } else if let Record::Node(next) = nodes[node][bit] {
                node = next;
            } else {
                nodes.push([Record::Empty; 2]);
                nodes[node][bit] = Record::Node(nodes.len() - 1);
                node = nodes.len() - 1;
            }
        }
    }
    let count = nodes.len();
    let mut out = Vec::new();
    for record in nodes.into_iter().flatten() {
        let number = match record {
            Record::Empty => count,
            Record::Node(node) => node,
            Record::Data(at) => count + 16 + at,
        };
        out.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend(data);
    out.extend_from_slice(b"\xAB\xCD\xEFMaxMind.com");
    Value::map([
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(1_795_000_000)),
        ("database_type", Value::Text("Test-Country")),
        ("description", Value::map([])),
        ("ip_version", Value::Short(6)),
        ("languages", Value::NoList),
        ("node_count", Value::Number(u32::try_from(count).unwrap())),
        ("record_size", Value::Short(24)),
    ])
    .encode(&mut out);
    out
}

fn country(geo: &dyn Geo, ip: &str) -> Option<String> {
    geo.country(ip.parse().unwrap()).map(|country| country.as_str().to_owned())
}

fn sample() -> Vec<u8> {
    database(&[
        ("192.0.2.0", 24, nested("DE")),
        ("198.51.100.0", 25, Value::map([("country_code", Value::Text("fr"))])),
        ("203.0.113.7", 32, nested("XX")),
        ("203.0.113.8", 32, Value::map([("country", Value::Number(1))])),
        ("2001:db8::", 32, nested("BR")),
    ])
}

#[test]
fn finds_countries_of_both_families_and_forms() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), sample()).unwrap();
    let geo = Mmdb::load(file.path()).unwrap();
    let known = [
        ("192.0.2.200", Some("DE")),
        ("::ffff:192.0.2.200", Some("DE")),
        ("192.0.3.0", None),
        ("198.51.100.127", Some("FR")),
        ("198.51.100.128", None),
        ("203.0.113.7", None),
        ("203.0.113.8", None),
        ("2001:db8:ffff::1", Some("BR")),
        ("2001:db9::1", None),
    ];
    for (ip, expected) in known {
        assert_eq!(country(&geo, ip).as_deref(), expected, "{ip}");
    }
    contract::knows_this_and_nothing_else(&geo, "192.0.2.1".parse().unwrap(), Country::parse("DE").unwrap());
    contract::knows_no_private_address(&geo);
    contract::knows_no_private_address(&NoGeo);
}

#[test]
fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), sample()).unwrap();
    let geo = Mmdb::load(file.path()).unwrap();
    assert!(!geo.reload().unwrap());

    fs::write(file.path(), database(&[("192.0.2.0", 24, nested("NL"))])).unwrap();
    assert!(geo.reload().unwrap());
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("NL"));

    fs::write(file.path(), b"half a file").unwrap();
    assert!(matches!(geo.reload(), Err(OpenError::Damaged { .. })));
    fs::remove_file(file.path()).unwrap();
    assert!(matches!(geo.reload(), Err(OpenError::Unreadable { .. })));
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("NL"));

    fs::write(file.path(), sample()).unwrap();
    assert!(geo.reload().unwrap());
    assert_eq!(country(&geo, "192.0.2.1").as_deref(), Some("DE"));
}

#[test]
fn what_is_no_database_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"a,b,c").unwrap();
    let message = Mmdb::load(file.path()).err().unwrap().to_string();
    assert!(message.contains(file.path().to_str().unwrap()) && message.contains("geoip.path"), "{message}");
    assert!(Mmdb::load(Path::new("/nowhere.mmdb")).err().unwrap().to_string().contains("/nowhere.mmdb"));
}

#[test]
fn a_damaged_database_answers_nothing_worse_than_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let whole = sample();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        fs::write(file.path(), &damaged).unwrap();
        if let Ok(geo) = Mmdb::load(file.path()) {
            for ip in ["192.0.2.1", "198.51.100.1", "2001:db8::1", "8.8.8.8"] {
                let found = country(&geo, ip);
                assert!(found.is_none_or(|code| code.len() == 2), "byte {at}");
            }
        }
    }
}

#[tokio::test]
async fn the_reload_task_ends_with_the_process() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), sample()).unwrap();
    let life = Lifecycle::new(Duration::from_secs(5));
    let geo = Mmdb::open(file.path(), &life).unwrap();
    assert_eq!(country(&*geo, "192.0.2.1").as_deref(), Some("DE"));
    life.drain_in_order().await;
}
