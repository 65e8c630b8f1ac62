//! Volumes that former koh left: the present one opens each, answers as a hub that was told the same afresh, and goes on with it.
//!
//! Guards against: a step of the format that loses something of an older file, and a format of which nobody kept a file.

mod making;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use koh::ledger::Cut;
use koh::ledger::migrations::{MIGRATIONS, newest};
use koh::ledger::tables::{FORMAT, META};
use serde_json::Value;

use crate::hub::{TestHub, koh, said};
use making::{falls_silent, folder, forget, make, serve, sighted, statements, tell};

const ENDING: &str = ".redb.zst";

/// The volumes, by name, and the format of each.
fn volumes() -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let format = |name: &str| name.strip_prefix("format-")?.split(['-', '.']).next()?.parse().ok();
    let mut all: Vec<(String, u64)> = entries
        .filter_map(|name| name.strip_suffix(ENDING).map(str::to_owned))
        .map(|name| (name.clone(), format(&name).unwrap()))
        .collect();
    all.sort();
    all
}

/// A data directory with a copy of a volume.
fn unpacked(volume: &str, dir: &Path) -> PathBuf {
    let data = dir.join("data");
    std::fs::create_dir(&data).unwrap();
    let packed = std::fs::File::open(folder().join(format!("{volume}{ENDING}"))).unwrap();
    std::fs::write(data.join("hub.redb"), zstd::decode_all(packed).unwrap()).unwrap();
    data
}

#[test]
fn every_format_has_a_volume_that_holds_a_checkpoint_and_a_journal() {
    let present = newest(MIGRATIONS);
    let wanted = folder().join(format!("format-{present}{ENDING}"));
    if std::env::var_os("KOH_BLESS").is_some() && !wanted.exists() {
        std::fs::write(&wanted, zstd::encode_all(make(present).as_slice(), 19).unwrap()).unwrap();
    }
    let bless = "KOH_BLESS=1 cargo test --release --locked --test it volumes";
    assert!(wanted.exists(), "{} is not there. Make it before anything else changes: {bless}", wanted.display());
    let mut formats = BTreeSet::new();
    for (volume, format) in volumes() {
        let dir = tempfile::tempdir().unwrap();
        let origin = Cut::of_file(&unpacked(&volume, dir.path()).join("hub.redb")).unwrap().origin();
        assert_eq!(origin.format, format, "{volume}");
        assert!(0 < origin.checkpoint && origin.checkpoint < origin.seq, "{volume}: {origin:?}");
        formats.insert(format);
    }
    assert!(formats.into_iter().eq(1..=present));
}

/// Columns that are of this store or this moment: numbers that it gave, and how long ago something was.
const LOCAL: [&str; 7] =
    ["seq", "generation", "epoch", "changes", "behind_seconds", "unchanged_seconds", "waiting_seconds"];

/// What the statements say happened in January; what is later happened when they were told.
fn without_now(value: Value) -> Value {
    match value {
        Value::String(text) if text.as_str() > "2026-02" && text.starts_with("20") && text.ends_with('Z') => {
            "told".into()
        }
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, without_now(value))).collect(),
        other => other,
    }
}

/// Every row of every table and view, without what is local.
fn tables(hub: &TestHub) -> BTreeMap<String, Vec<String>> {
    let sql = |text: &str| hub.post("/api/v1/sql?fresh=true", "application/sql", text).rows();
    let columns = sql("select table_name, column_name from information_schema.columns where table_schema = 'public'");
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in &columns {
        let text = |name: &str| column[name].as_str().unwrap().to_owned();
        let name = text("column_name");
        if !LOCAL.contains(&name.as_str()) && !name.ends_with("_no") {
            of.entry(text("table_name")).or_default().push(format!("\"{name}\""));
        }
    }
    let rows = |(table, columns): (String, Vec<String>)| {
        let rows = sql(&format!("select {} from {table}", columns.join(",")));
        let mut rows: Vec<String> = rows.into_iter().map(|row| without_now(row).to_string()).collect();
        rows.sort();
        (table, rows)
    };
    of.into_iter().map(rows).collect()
}

#[track_caller]
fn same(told: &str, volume: &TestHub, afresh: &TestHub) {
    falls_silent(volume);
    falls_silent(afresh);
    let (is, should) = (tables(volume), tables(afresh));
    assert!(is.keys().eq(should.keys()));
    assert!(should["reconcilers"].len() > 3 && should["transitions"].len() > 10 && should["assignments"].len() > 3);
    let mut differ = String::new();
    for (table, rows) in should {
        let missing = rows.iter().filter(|row| !is[&table].contains(row)).map(|row| format!("{table} lacks {row}\n"));
        let more = is[&table].iter().filter(|row| !rows.contains(row)).map(|row| format!("{table} has   {row}\n"));
        differ.extend(missing.chain(more));
        if rows.len() != is[&table].len() {
            differ.push_str(&format!("{table} has {} rows, not {}\n", is[&table].len(), rows.len()));
        }
    }
    assert!(differ.is_empty(), "{told}:\n{differ}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
fn succeeds(args: &[&str]) {
    let output = koh(args);
    assert!(output.status.success(), "{args:?}: {}{}", String::from_utf8_lossy(&output.stdout), said(&output));
}

/// A hub that is told the same, and nothing else.
fn afresh(told: &[Value], dir: &Path) -> TestHub {
    let data = dir.join("afresh");
    std::fs::create_dir(&data).unwrap();
    sighted(&data.join("hub.redb"), told).shutdown().unwrap();
    let hub = serve(&data, told);
    tell(&hub, told);
    if !told.iter().any(|line| line["forget"].is_string()) {
        return hub;
    }
    assert!(hub.stop().success());
    forget(&data.join("hub.redb"), told);
    serve(&data, told)
}

#[test]
fn a_volume_of_every_format_answers_as_a_hub_that_was_told_the_same_and_goes_on_with_it() {
    std::thread::scope(|scope| {
        for (volume, format) in volumes() {
            scope.spawn(move || goes_on(&volume, format));
        }
    });
}

#[track_caller]
fn goes_on(volume: &str, format: u64) {
    let dir = tempfile::tempdir().unwrap();
    let data = unpacked(volume, dir.path());
    let (before, after) = statements(format);
    let told: Vec<Value> = before.into_iter().chain(after).collect();
    let left = std::fs::read(data.join("hub.redb")).unwrap();
    succeeds(&["check", "--data", path(&data)]);
    let (as_left, of_hub) = (dir.path().join("as-left.backup"), dir.path().join("of-hub.backup"));
    succeeds(&["backup", path(&as_left), "--data", path(&data)]);
    assert!(std::fs::read(data.join("hub.redb")).unwrap() == left, "{volume}: only a hub migrates");

    let (hub, other) = (serve(&data, &told), afresh(&told, dir.path()));
    same(&format!("{volume}, opened"), &hub, &other);
    let from_backup = dir.path().join("restored-as-left");
    succeeds(&["restore", path(&as_left), "--data", path(&from_backup)]);
    same(&format!("{volume}, restored without a hub"), &serve(&from_backup, &told), &other);

    // All that the present koh knows, said once more and some of it for the first time.
    let (before, after) = statements(newest(MIGRATIONS));
    let all: Vec<Value> = before.into_iter().chain(after).collect();
    for hub in [&hub, &other] {
        tell(hub, &all);
    }
    same(&format!("{volume}, told more"), &hub, &other);
    let hub = hub.crash_and_restart();
    same(&format!("{volume}, after a crash"), &hub, &other);
    let hub = hub.stop_and_restart();
    succeeds(&["backup", path(&of_hub), "--url", &format!("http://{}", hub.address)]);
    let from_backup = dir.path().join("restored");
    succeeds(&["restore", path(&of_hub), "--data", path(&from_backup)]);
    same(&format!("{volume}, restored"), &serve(&from_backup, &told), &other);
    assert!(hub.stop().success());
    succeeds(&["check", "--data", path(&data)]);
}

#[test]
fn a_volume_of_a_newer_format_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let present = newest(MIGRATIONS);
    let data = unpacked(&format!("format-{present}"), dir.path());
    let file = data.join("hub.redb");
    let db = redb::Database::open(&file).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(META).unwrap().insert(FORMAT, present + 1).unwrap();
    txn.commit().unwrap();
    drop(db);
    let left = std::fs::read(&file).unwrap();
    for args in [&["check", "--data"][..], &["backup", "-", "--data"], &["serve", "--listen", "127.0.0.1:0", "--data"]]
    {
        let refused = koh(&[args, &[path(&data)]].concat());
        let sentence = format!("written by a newer koh (format {}, this one reads up to {present})", present + 1);
        assert!(!refused.status.success() && said(&refused).contains(&sentence), "{args:?}: {}", said(&refused));
        // A hub has opened it before it can read the number.
        assert!(args[0] == "serve" || std::fs::read(&file).unwrap() == left, "{args:?}");
    }
}
