//! `koh check`: what is sound is said to be, and what is not is found, named, and answered with the backup to restore.
//!
//! Guards against: a check that looks at nothing, one that changes what it looks at, and damage that a start would take for state.

use std::path::{Path, PathBuf};
use std::process::Output;

use koh::backup::{Folder, Place};
use koh::ledger::{Cut, Ledger, OpenError, Store};
use koh::model::{Micros, Status};
use koh::runtime::{Finding, check_directory};

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, koh, report};
use crate::ledger_disk::dice;
use crate::ledger_facts::{host, report as fact, still};

fn out(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A data directory of a hub that was stopped, and a folder with a backup of it.
fn stopped(dir: &Path) -> (PathBuf, PathBuf) {
    let hub = TestHub::spawn();
    for (version, digit) in [("1.0", 'a'), ("1.1", 'b')] {
        hub.push(&descriptor("dev", version, &commit(digit)));
        let reports: Vec<String> =
            (0..30).map(|i| report(&format!("h{i}"), "dev", &commit(digit), "success")).collect();
        assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n")).status, 200);
    }
    let data = hub.keep_data_and_stop(dir);
    let backups = dir.join("backups");
    let cut = Cut::of_file(&data.join("hub.redb")).unwrap();
    folder(&backups)
        .add(Micros::now(), 7, |out| {
            koh::backup::write(cut, koh::backup::Files::default(), out, &mut |_, _| {}).map(drop)
        })
        .unwrap();
    (data, backups)
}

fn folder(backups: &Path) -> Folder {
    Folder::open(&Place::File(backups.to_owned())).unwrap()
}

#[test]
fn a_hub_and_its_directory_are_sound_and_a_check_says_what_it_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    let live = koh(&["check", "--url", &format!("http://{}", hub.address)]);
    assert!(live.status.success(), "{}", out(&live));
    assert!(out(&live).contains("ok      ledger") && out(&live).contains("as a restart would"), "{}", out(&live));
    assert!(out(&live).contains("ok      counters") && out(&live).contains("objects counted again"), "{}", out(&live));
    assert!(out(&live).contains("ok      export"), "{}", out(&live));
    let busy = koh(&["check", "--data", hub.data().to_str().unwrap()]);
    assert_eq!(busy.status.code(), Some(2), "{}", out(&busy));
    assert!(out(&busy).contains("already open"), "{}", out(&busy));
    drop(hub);

    let (data, backups) = stopped(dir.path());
    let before = std::fs::read(data.join("hub.redb")).unwrap();
    let still = koh(&["check", "--data", data.to_str().unwrap()]);
    assert!(still.status.success(), "{}", out(&still));
    assert!(out(&still).contains("the same as those of the ledger"), "{}", out(&still));
    assert!(std::fs::read(data.join("hub.redb")).unwrap() == before, "a check changes nothing");
    let file = folder(&backups).all().unwrap().remove(0).to_string();
    let good = koh(&["check", "--backup", &file]);
    assert!(good.status.success() && out(&good).contains("ok      backup"), "{}", out(&good));
    let absent = koh(&["check", "--data", dir.path().join("nowhere").to_str().unwrap()]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(out(&absent).contains("there is no ledger at"), "{}", out(&absent));
}

#[test]
fn an_export_that_differs_from_the_ledger_is_told_by_file_or_by_table() {
    let dir = tempfile::tempdir().unwrap();
    let (data, _) = stopped(dir.path());
    let manifest = data.join("export/manifest.json");
    let read = || -> serde_json::Value { serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap() };
    let named = |export: &serde_json::Value, table: &str| {
        let tables = export["tables"].as_array().unwrap();
        tables.iter().find(|t| t["name"] == table).unwrap()["files"][0]["path"].as_str().unwrap().to_owned()
    };
    let file = data.join("export").join(named(&read(), "reconcilers"));
    let whole = std::fs::read(&file).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 4;
    for (bytes, what) in
        [(&changed[..], "not those that it is named after"), (&whole[..whole.len() - 9], "the manifest says")]
    {
        std::fs::write(&file, bytes).unwrap();
        let checked = koh(&["check", "--data", data.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(1), "{}", out(&checked));
        assert!(out(&checked).contains(what) && out(&checked).contains("FAILED  export"), "{}", out(&checked));
    }
    // A hub that starts over it writes it anew, from the ledger.
    std::fs::write(&file, &changed).unwrap();
    let hub = TestHubBuilder::over(&data).spawn();
    let began = std::time::Instant::now();
    while !std::fs::read(&file).is_ok_and(|bytes| bytes == whole) {
        assert!(began.elapsed().as_secs() < 60, "the export was not mended");
    }
    assert!(hub.stop().success());
    let checked = koh(&["check", "--data", data.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", out(&checked));
    // The files of a table are whole, but they are not this table's.
    let mut export = read();
    let tables = export["tables"].as_array_mut().unwrap();
    tables.iter_mut().find(|t| t["name"] == "deployments").unwrap()["files"] = serde_json::json!([]);
    std::fs::write(&manifest, export.to_string()).unwrap();
    let checked = koh(&["check", "--data", data.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1), "{}", out(&checked));
    assert!(out(&checked).contains("deployments (0 rows, and"), "{}", out(&checked));
}

#[test]
fn a_damaged_store_is_neither_served_nor_called_sound_and_the_newest_good_backup_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backups) = stopped(dir.path());
    let good = folder(&backups).all().unwrap().remove(0).to_string();
    // A newer one that is not whole, and a whole one of a clock that was ahead, which stands for nothing.
    let soon = Micros::now().plus(60_000_000).to_string().replace(['-', ':'], "");
    let later = backups.join(format!("koh-{soon}.backup"));
    std::fs::copy(&good, backups.join("koh-29991231T000000.000Z.backup")).unwrap();
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&later, &bytes[..bytes.len() / 2]).unwrap();
    // All pages but the first, which say that this is a store.
    let path = data.join("hub.redb");
    let mut store = std::fs::read(&path).unwrap();
    store[8_192..].fill(0x5a);
    std::fs::write(&path, store).unwrap();
    let told = |text: &str| {
        assert!(text.contains("(1 newer ones are damaged)"), "{text}");
        assert!(text.contains(&format!("koh restore {good}")), "{text}");
    };
    let (data, backups) = (data.to_str().unwrap(), backups.to_str().unwrap());
    let checked = koh(&["check", "--data", data, "--backup-dir", backups]);
    assert_eq!(checked.status.code(), Some(1), "{}", out(&checked));
    assert!(out(&checked).contains("FAILED  ledger"), "{}", out(&checked));
    told(&out(&checked));
    let served = koh(&["serve", "--data", data, "--listen", "127.0.0.1:0", "--backup-dir", backups]);
    assert_eq!(served.status.code(), Some(1), "{}", out(&served));
    told(&out(&served));
    let alone = koh(&["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    assert!(!alone.status.success() && out(&alone).contains("with --backup-dir"), "{}", out(&alone));
}

/// Between fork and exec a child of another test holds the locks of all.
fn unlocked<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    loop {
        match open() {
            Err(OpenError::Locked { .. }) => std::thread::yield_now(),
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_byte_that_changed_anywhere_in_the_store_is_noticed_or_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.redb");
    let ledger = Ledger::open(Store::file(&path), still()).unwrap();
    for n in 0..12 {
        let mut facts = vec![host(&format!("batch-{n}"), n)];
        facts.extend((0..40).map(|h| fact(&format!("h{h}"), &format!("c{n}"), Status::Success, n * 100 + h)));
        ledger.append(facts).await.unwrap();
        if n == 8 {
            ledger.checkpoint().await.unwrap();
        }
    }
    // As a crash leaves it: a checkpoint and a journal.
    let whole = std::fs::read(&path).unwrap();
    ledger.shutdown().unwrap();
    let copied = |path: &Path| unlocked(|| Cut::of_file(path)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    std::fs::write(&path, &whole).unwrap();
    let pieces = copied(&path);
    let mut roll = dice(7);
    let mut noticed = 0;
    const FLIPS: usize = 300;
    for _ in 0..FLIPS {
        let at = roll(whole.len());
        let mut store = whole.clone();
        store[at] ^= 1 << roll(8);
        std::fs::write(&path, &store).unwrap();
        let mut found = Vec::new();
        match unlocked(|| check_directory(dir.path(), None, &mut |finding| found.push(finding))) {
            Ok(()) if found.iter().all(|Finding { ok, .. }| *ok) => {
                assert!(copied(&path) == pieces, "byte {at} of {} changed the store, and nobody noticed", whole.len());
            }
            Ok(()) => {
                noticed += 1;
                assert!(found.iter().any(|f| f.detail.contains("koh restore")), "byte {at}: {found:?}");
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
        assert!(std::fs::read(&path).unwrap() == store, "a check changes nothing");
    }
    assert!(noticed > 10, "{noticed} of {FLIPS} changes hit something");
}
