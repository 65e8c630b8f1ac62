//! What a volume of `tests/fixtures/volumes` was told, and how one is made: by HTTP, with a stop and a crash.
//!
//! Invariant: a volume of a format was told every line of `statements.jsonl` that its koh knew, so lines are added there and never
//! changed; a hub that is told them afresh must answer the same.

use std::path::{Path, PathBuf};

use koh::ledger::{Ledger, OpenError, Options, Store};
use koh::model::{Body, CarrierKey, Clock, Fact, Micros, Sighting};
use koh::state::tables::Window;
use serde_json::Value;

use crate::hub::{TestHub, TestHubBuilder};

/// The folder of the volumes.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/volumes")
}

/// What a koh of this format is told: before it is stopped, and after it was started again.
pub(crate) fn statements(format: u64) -> (Vec<Value>, Vec<Value>) {
    let text = std::fs::read_to_string(folder().join("statements.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut lines = lines.filter(|line| line["since"].as_u64().unwrap() <= format);
    let before = lines.by_ref().take_while(|line| line["then"] != "stop").collect();
    (before, lines.collect())
}

/// A hub for which every host is silent at once, so that its conclusions are among what it keeps.
#[track_caller]
pub(crate) fn serve(data: &Path, told: &[Value]) -> TestHub {
    let hub = TestHubBuilder::over(data).with_arg("--late-after", "100ms").with_arg("--silent-after", "100ms");
    let Some(classes) = told.iter().find(|line| line["classes"].is_array()) else { return hub.spawn() };
    let file = data.join("../classes.json");
    std::fs::write(&file, serde_json::json!({"classes": classes["classes"]}).to_string()).unwrap();
    hub.with_arg("--classes", file.to_str().unwrap()).spawn()
}

/// Tells a hub what can be told by HTTP.
#[track_caller]
pub(crate) fn tell(hub: &TestHub, told: &[Value]) {
    for line in told {
        let Some(path) = line["to"].as_str() else { continue };
        let answer = hub.post(path, "application/json", line["say"].to_string());
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        assert_eq!(answer.json()["rejected"], 0, "{line}: {}", answer.text());
    }
}

/// Waits until nobody counts as heard any more.
pub(crate) fn falls_silent(hub: &TestHub) {
    let heard = "/api/v1/sql?fresh=true&q=select+host+from+hosts+where+liveness+in+('online','late')";
    while !hub.get(heard).rows().is_empty() {}
}

/// A ledger that is told the sightings: who watches branches is not heard by HTTP. Nothing happens in it by itself.
pub(crate) fn sighted(file: &Path, told: &[Value]) -> Ledger {
    let never = std::time::Duration::from_secs(1_000_000);
    let still =
        || Options { checkpoint_every: never, confirm_flush_every: never, sweep_every: never, ..Options::default() };
    let ledger = loop {
        match Ledger::open(Store::file(file), still()) {
            // Between fork and exec a child of another test holds the locks of all.
            Err(OpenError::Locked { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let facts: Vec<Fact> = told
        .iter()
        .map(|line| &line["sighting"])
        .filter(|seen| seen.is_object())
        .map(|seen| {
            let at = Micros::parse(seen["at"].as_str().unwrap()).unwrap();
            let carrier = text(&seen["watcher"]).bytes().fold(0x5167u128, |key, b| (key << 8) ^ u128::from(b));
            let commit = format!("sha1:{}", text(&seen["commit"]));
            let sighting = Sighting { repo: text(&seen["repo"]), branch: text(&seen["branch"]), commit };
            Fact {
                source: "kubernetes".into(),
                carrier: CarrierKey(carrier),
                at,
                clock: Clock::Said,
                identity: at.0 as u64,
                received_at: Micros::now(),
                body: Body::Sighting(Box::new(sighting)),
            }
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ledger.append(facts)).unwrap();
    ledger
}

/// Forgets what is older than the line says that does, if there is one; of a hub that is stopped.
pub(crate) fn forget(file: &Path, told: &[Value]) {
    let Some(before) = told.iter().find_map(|line| line["forget"].as_str()) else { return };
    let ledger = sighted(file, &[]);
    let since = Micros::parse(before).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let went = runtime.block_on(ledger.trim(Window { since, forgotten: since }, None)).unwrap();
    assert!(went > 0, "there was something to forget");
    ledger.shutdown().unwrap();
}

/// A volume as the koh that this is compiled with leaves it after a crash: blocks of a checkpoint, and a journal after it.
pub(crate) fn make(format: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("hub.redb");
    let (before, after) = statements(format);
    sighted(&file, &before).shutdown().unwrap();
    let hub = serve(&data, &before);
    tell(&hub, &before);
    falls_silent(&hub);
    assert!(hub.stop().success());
    forget(&file, &before);
    let hub = serve(&data, &before);
    tell(&hub, &after);
    // It is killed.
    drop(hub);
    let ledger = sighted(&file, &after);
    let volume = std::fs::read(&file).unwrap();
    ledger.shutdown().unwrap();
    volume
}
