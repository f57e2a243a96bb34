//! Which files are opened, which are refused, and what is said then.

use std::path::Path;

use backends::sqlite::{LINKS, OpenError, Options, Schema, Sqlite, Stores, open_links};
use backends::system::SystemEntropy;
use domain::port::{LeaseStore as _, LinkStore as _};
use domain::{Code, DomainNo, Link, LinkId, Owner, Slug, Target, UnixMs};
use rusqlite::Connection;

pub(crate) fn open(path: &Path) -> Result<Stores, OpenError> {
    open_links(path, Options::default(), &SystemEntropy)
}

pub(crate) fn link(id: u64, code: Code) -> Link {
    let at = domain::snowflake::created_at(LinkId::new(id));
    Link {
        id: LinkId::new(id),
        domain: DomainNo::DEFAULT,
        code,
        owner: Owner::from_stored("ann"),
        // 50 bytes, as most are.
        target: Target::from_stored(&format!("https://example.com/{id:030}")),
        title: None,
        tags: Vec::new(),
        state: domain::State::Active,
        blocked: None,
        redirect_status: None,
        caching: None,
        forward_query: false,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        created_at: UnixMs::new(at.get()),
        updated_at: UnixMs::new(at.get()),
        version: 1,
        change_id: id ^ 0x5555_5555_5555_5555,
    }
}

/// The message of a refusal, on one line, without the folder.
fn refusal(path: &Path) -> String {
    let message = open(path).err().expect("the file must be refused").to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

#[tokio::test]
async fn a_newer_file_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    open(&path).unwrap().close().await;
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA user_version = 99; UPDATE meta SET value = '7.1.0' WHERE name = 'needs_terse'; PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .unwrap();
    drop(db);
    let before = std::fs::read(&path).unwrap();
    let message = refusal(&path);
    assert!(message.contains("has version 99, this one knows versions up to 1"), "{message}");
    assert!(message.contains("Run Terse 7.1.0 or later"), "{message}");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn what_is_not_ours_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "shopping list: ".repeat(100)).unwrap();
    assert!(refusal(&text).contains("is not a SQLite file"));
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("shopping list"));

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE pictures (a); PRAGMA application_id = 17").unwrap();
    let before = std::fs::read(&other).unwrap();
    assert!(refusal(&other).contains("not a file of Terse's links"));
    assert!(std::fs::read(&other).unwrap() == before);

    // Without an application id, but with tables.
    let other = folder.path().join("plain.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE pictures (a)").unwrap();
    assert!(refusal(&other).contains("not a file of Terse's links"));
}

#[test]
fn a_place_where_nothing_can_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(open(&folder.path().join("no/such/folder/terse.db")), Err(OpenError::CannotOpen { .. })));
    assert!(refusal(&folder.path().join("no/such/folder/terse.db")).contains("Does its folder exist"));
    assert!(matches!(open(folder.path()), Err(OpenError::CannotOpen { .. })));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    open(&path).unwrap().close().await;
    // The header is whole, the schema is not.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..4096].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Corrupt { .. })), "{}", refusal(&path));
}

#[tokio::test]
async fn missing_steps_are_applied_and_a_failing_one_changes_nothing() {
    const FIRST: Schema = Schema { name: "test", application_id: 5, steps: &["CREATE TABLE a (x); INSERT INTO a VALUES (1)"] };
    const SECOND: Schema = Schema { name: "test", application_id: 5, steps: &[FIRST.steps[0], "ALTER TABLE a ADD COLUMN y DEFAULT 2"] };
    const BROKEN: Schema = Schema { name: "test", application_id: 5, steps: &[FIRST.steps[0], "DELETE FROM a", "no SQL at all"] };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let columns = || {
        let db = Connection::open(&path).unwrap();
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        let rows: i64 = db.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        (version, rows, db.prepare("SELECT * FROM a").unwrap().column_count())
    };
    Sqlite::open(&path, &FIRST, Options::default()).unwrap().close().await;
    assert_eq!(columns(), (1, 1, 1));
    let error = Sqlite::open(&path, &BROKEN, Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Migration { from: 1, to: 3, .. }), "{error}");
    assert_eq!(columns(), (1, 1, 1));
    Sqlite::open(&path, &SECOND, Options::default()).unwrap().close().await;
    assert_eq!(columns(), (2, 1, 2));
    let error = Sqlite::open(&path, &FIRST, Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[tokio::test]
async fn the_first_key_stays_whatever_comes_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    let stores = open(&path).unwrap();
    let first = stores.leases.ranges().await.unwrap();
    assert_eq!(first.len(), 1);
    assert_ne!(first[0].key, [0; 16]);
    let codes: Vec<Code> = (5_000..).filter_map(Code::generated).take(50).collect();
    let links: Vec<Link> = (1..).zip(&codes).map(|(id, code)| link(id << 22, code.clone())).collect();
    stores.links.insert(links.clone()).await.unwrap();
    let second = domain::port::CodeRange { epoch: 1, key: [9; 16], ..first[0] };
    assert!(stores.leases.add_range(second).await.unwrap());
    stores.close().await;
    let stores = open(&path).unwrap();
    assert_eq!(stores.leases.ranges().await.unwrap(), [first[0], second]);
    for link in links {
        let slug = Slug::parse(link.code.as_str()).unwrap();
        assert_eq!(stores.links.find(DomainNo::DEFAULT, slug).await.unwrap().as_ref(), Some(&link));
    }
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    let (one, two) = (open(&path).unwrap(), open(&path).unwrap());
    assert_eq!(one.leases.ranges().await.unwrap(), two.leases.ranges().await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for id in 1..=200_u64 {
        let stores = if id % 2 == 0 { one.clone() } else { two.clone() };
        tasks.spawn(async move {
            stores
                .links
                .insert(vec![link(
                    id << 22,
                    Code::generated(id * 1_000_000_007 + 9).unwrap_or_else(|| Code::parse_foreign(&format!("f{id}")).unwrap()),
                )])
                .await
                .unwrap()
        });
    }
    while let Some(done) = tasks.join_next().await {
        assert_eq!(done.unwrap(), [domain::port::Inserted::Stored]);
    }
    for stores in [&one, &two] {
        let all = stores.links.walk(&domain::port::Walk::Everyone, None, 1_000).await.unwrap();
        assert_eq!(all.len(), 200);
    }
    one.close().await;
    assert!(two.links.get(LinkId::new(1 << 22)).await.unwrap().is_some(), "the other handle goes on");
}

#[tokio::test]
async fn files_are_for_this_user_only_and_one_is_left() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let stores = open(&folder.path().join("terse.db")).unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
    assert_eq!(files().count(), 3);
    for file in files() {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    stores.close().await;
    assert_eq!(files().map(|file| file.file_name()).collect::<Vec<_>>(), ["terse.db"]);
}

#[test]
fn a_file_of_the_links_is_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terse.db");
    drop(open(&path).unwrap());
    let other = Schema { application_id: LINKS.application_id + 1, name: "stats", steps: &["CREATE TABLE a (x)"] };
    assert!(matches!(Sqlite::open(&path, &other, Options::default()), Err(OpenError::Foreign { .. })));
}
