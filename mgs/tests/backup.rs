//! Backups of a running daemon, restored into the other kind of store.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod process;

use std::path::Path;
use std::process::{Command, Output};

use lustre_api::backup::TakeBackup;
use lustre_api::event::{EventQuery, StreamEvents};
use lustre_api::filesystem::{FilesystemPath, FilesystemSpec, ListFilesystems, PutFilesystem};
use lustre_api::mgs::GetMgs;
use lustre_api::{Nothing, PageQuery, WriteQuery};
use lustre_mgs_store::{Meta, RedbStore, Store, Txn};
use process::Daemon;
use rest::Client;
use testkit::Etcd;

async fn put(client: &Client, name: &str) -> u64 {
    let spec = FilesystemSpec { name: name.parse().unwrap(), description: None };
    let path = FilesystemPath { fsname: name.parse().unwrap() };
    client.call::<PutFilesystem>(&path, &WriteQuery::default(), &spec).await.unwrap().revision
}

async fn names(client: &Client) -> Vec<String> {
    let page = client.call::<ListFilesystems>(&Nothing {}, &PageQuery::default(), &Nothing {}).await.unwrap();
    page.items.iter().map(|fs| fs.spec.name.to_string()).collect()
}

async fn save(client: &Client, file: &Path) {
    let mut lines = client.stream::<TakeBackup>(&Nothing {}, &Nothing {}).await.unwrap();
    let mut text = String::new();
    while let Some((_, line)) = lines.next().await.unwrap() {
        text.push_str(&(line.line + "\n"));
    }
    std::fs::write(file, text).unwrap();
}

fn restore(file: &Path, store: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lustre-mgs")).arg("restore").arg(file).args(["--store", store]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_mgs_becomes_the_same_mgs_on_etcd_with_a_new_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let old = Daemon::start(&directory.path().join("mgs.redb"));
    put(&old.client(), "scratch").await;
    put(&old.client(), "home").await;
    save(&old.client(), &file).await;
    let after_the_backup = put(&old.client(), "lost").await;
    let before = old.client().call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
    old.kill();

    let etcd = Etcd::start().unwrap();
    let url = etcd.url("lmgs/restored");
    let output = restore(&file, &url);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let new = Daemon::start(Path::new(&url));
    let client = new.client();
    assert_eq!(names(&client).await, ["home", "scratch"]);
    let after = client.call::<GetMgs>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap();
    assert_eq!((after.uuid.as_str(), after.epoch), (before.uuid.as_str(), before.epoch + 1));
    // Who has seen what the backup did not have is told to read again, not left waiting.
    let query = EventQuery { after: Some(after_the_backup + 10), ..EventQuery::default() };
    let refused = client.stream::<StreamEvents>(&Nothing {}, &query).await.err().unwrap().to_string();
    assert!(refused.contains("does not exist"), "{refused}");
    let again = restore(&file, &url);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("something below it already"));
}

/// A version of the state that this program does not know.
const NEXT: u32 = lustre_mgs_core::decide::mgs::STATE_VERSION + 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_newer_state_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, file) = (directory.path().join("mgs.redb"), directory.path().join("backup"));
    Daemon::start(&store).kill();
    {
        // As a program does that knows the next version of the state.
        let store = RedbStore::open(&store).unwrap();
        let entry = store.get("mgs", None).await.unwrap().unwrap();
        let mut mgs: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
        mgs["version"] = NEXT.into();
        let meta = Meta { time_ms: 1, who: "test".into(), why: "as a newer version".into() };
        store.commit(Txn::new(meta).put("mgs", mgs.to_string())).await.unwrap();
        let mut lines = lustre_mgs_store::backup::export(std::sync::Arc::new(store));
        let mut text = String::new();
        while let Some(line) = lines.recv().await {
            text.push_str(&(line.unwrap() + "\n"));
        }
        std::fs::write(&file, text).unwrap();
    }
    let etcd = Etcd::start().unwrap();
    let new = directory.path().join("new.redb");
    for target in [new.to_str().unwrap(), &etcd.url("lmgs/restored")] {
        let output = restore(&file, target);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(&format!("is of version {NEXT}")), "{said}");
        assert!(said.contains("is not restored") && said.contains("install that program"), "{said}");
    }
    assert!(!new.exists(), "no file");
    assert_eq!(etcd.ctl(&["get", "", "--prefix", "--keys-only"]).unwrap().trim(), "", "no key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nightly_unit_takes_a_backup_that_can_be_restored() {
    let directory = tempfile::tempdir().unwrap();
    let old = Daemon::start(&directory.path().join("mgs.redb"));
    put(&old.client(), "scratch").await;
    let units = testkit::repository().join("packaging/systemd");
    let unit = std::fs::read_to_string(units.join("lustre-mgs-backup.service")).unwrap();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().replace("%%", "%");
    let mgsctl = testkit::binary("mgsctl").unwrap();
    let path = format!("{}:{}", mgsctl.parent().unwrap().display(), std::env::var("PATH").unwrap());
    // As systemd starts it; twice on one day is once.
    for _ in 0..2 {
        let mut unit = Command::new("sh");
        unit.args(["-c", &command]).env("PATH", &path).env("LUSTRE_MGS_ENDPOINT", &old.url);
        let output = unit.env("STATE_DIRECTORY", directory.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let is_backup = |name: &str| name.starts_with("mgs-") && name.ends_with(".backup");
    let files = std::fs::read_dir(directory.path()).unwrap();
    let names_of_files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let backups: Vec<String> = names_of_files.filter(|name| is_backup(name)).collect();
    assert_eq!(backups.len(), 1, "{backups:?}");
    let new = directory.path().join("new.redb");
    let output = restore(&directory.path().join(&backups[0]), new.to_str().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(&Daemon::start(&new).client()).await, ["scratch"]);
    let timer = std::fs::read_to_string(units.join("lustre-mgs-backup.timer")).unwrap();
    let when = timer.lines().find_map(|line| line.strip_prefix("OnCalendar=")).unwrap();
    match Command::new("systemd-analyze").args(["calendar", when]).output() {
        Ok(said) => assert!(said.status.success(), "{when}: {}", String::from_utf8_lossy(&said.stderr)),
        Err(err) => println!("OnCalendar is not checked, there is no systemd-analyze: {err}"),
    }
}
