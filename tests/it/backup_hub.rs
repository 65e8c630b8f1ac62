//! Backups of a running hub by its command line, and what the hub answers that was restored from one.
//!
//! Guards against: a restored hub that answers otherwise, positions of before that are taken for its own, and a backup that holds up
//! the hub or the next backup.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use koh::backup::{Folder, Place};

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, koh, report, said};

pub(crate) fn fleet(hub: &TestHub) {
    for (version, digit) in [("1.0", 'a'), ("1.1", 'b')] {
        hub.push(&descriptor("dev", version, &commit(digit)));
        let said = |i: usize| {
            report(&format!("h{i}"), "dev", &commit(digit), if i.is_multiple_of(7) { "failure" } else { "success" })
        };
        let reports: Vec<String> = (0..50).map(said).collect();
        assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n")).status, 200);
    }
}

/// What a hub answers, without what is local to it.
pub(crate) fn answers(hub: &TestHub) -> Vec<(String, String)> {
    let gate = "/api/v1/rollouts/status?environment=dev&workload=web&version=1.1&silent=ignore";
    let paths = [
        "/api/v1/hosts",
        "/api/v1/reconcilers",
        "/api/v1/assignments",
        "/api/v1/deployments",
        "/api/v1/transitions",
        "/api/v1/workload-versions",
        "/api/v1/views/environment-state",
        "/api/v1/views/environment-history",
        "/api/v1/views/drift",
        "/api/v1/views/host-state",
        "/api/v1/views/environment-discrepancies",
        "/api/v1/sql?q=select+count(*)+as+n,+min(reported_at)+as+first+from+transitions",
    ];
    let rows = |path: &str| {
        let answer = hub.get(&format!("{path}{}fresh=true", if path.contains('?') { '&' } else { '?' }));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        (path.to_owned(), answer.text())
    };
    let mut all: Vec<_> = paths.into_iter().map(rows).collect();
    let mut verdict = hub.get(gate).json();
    let object = verdict.as_object_mut().unwrap();
    object.retain(|name, _| ["verdict", "total", "buckets", "hosts"].contains(&name.as_str()));
    all.push((gate.to_owned(), verdict.to_string()));
    all
}

fn serve(data: &Path) -> TestHub {
    TestHubBuilder::over(data).spawn()
}

#[test]
fn a_restored_hub_answers_as_the_one_before_and_takes_no_position_of_before_for_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::spawn();
    fleet(&hub);
    let before = answers(&hub);
    let etag = hub.get("/api/v1/hosts").header("etag").unwrap().to_owned();
    assert_eq!(hub.ask("GET", "/api/v1/hosts", &[("if-none-match", &etag)], b"").status, 304);
    let told = hub.get("/api/v1/changes?since=0").text();
    let cursor: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let cursor = cursor["cursor"].as_str().unwrap().to_owned();

    let (file, url) = (dir.path().join("hub.backup"), format!("http://{}", hub.address));
    let made = koh(&["backup", file.to_str().unwrap(), "--url", &url]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains("everything up to sequence"), "{}", said(&made));
    let again = koh(&["backup", file.to_str().unwrap(), "--url", &url]);
    assert!(!again.status.success() && said(&again).contains("is not overwritten"), "{}", said(&again));
    hub.push(&descriptor("dev", "9.9", &commit('f')));
    let to = dir.path().join("restored");
    let restored = koh(&["restore", file.to_str().unwrap(), "--data", to.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", said(&restored));

    let other = serve(&to);
    for ((path, was), (_, is)) in before.iter().zip(answers(&other)) {
        assert_eq!(*was, is, "{path}");
    }
    let lists = other.ask("GET", "/api/v1/hosts", &[("if-none-match", &etag)], b"");
    assert_eq!(lists.status, 200, "an ETag of before is not current");
    let told = other.get(&format!("/api/v1/changes?since={cursor}")).text();
    assert!(told.contains("\"resync\""), "{told}");
    assert_eq!(other.push(&descriptor("dev", "2.0", &commit('c')))["accepted"], 1);
}

#[test]
fn without_a_hub_the_directory_is_copied_and_with_one_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::spawn();
    fleet(&hub);
    let file = dir.path().join("a.backup");
    let busy = koh(&["backup", file.to_str().unwrap(), "--data", hub.data().to_str().unwrap()]);
    assert!(!busy.status.success() && said(&busy).contains("already open"), "{}", said(&busy));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of it");
    let data = hub.keep_data_and_stop(dir.path());
    let made = koh(&["backup", "-", "--data", data.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    std::fs::write(&file, &made.stdout).unwrap();
    for (cut, good) in [(made.stdout.len() - 3, false), (made.stdout.len(), true)] {
        let to = dir.path().join(format!("to-{good}"));
        let mut restoring = Command::new(env!("CARGO_BIN_EXE_koh"));
        restoring.args(["restore", "-", "--data", to.to_str().unwrap()]).env_clear();
        let mut child =
            restoring.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&made.stdout[..cut]).unwrap();
        let restored = child.wait_with_output().unwrap();
        assert_eq!(restored.status.success(), good, "{}", said(&restored));
        assert_eq!(to.join("hub.redb").exists(), good);
        assert!(good || said(&restored).contains(&format!("ends at byte {cut}")), "{}", said(&restored));
    }
    let again = koh(&["restore", file.to_str().unwrap(), "--data", dir.path().join("to-true").to_str().unwrap()]);
    assert!(!again.status.success() && said(&again).contains("is not empty (hub.redb is there)"), "{}", said(&again));
}

#[test]
fn a_client_that_stops_reading_holds_up_the_next_backup_until_it_goes_and_nothing_else() {
    let hub = TestHub::spawn();
    // More than what lies between the hub and a client that reads nothing; random, so that it does not pack.
    let noise = |n: u64| {
        let word = |i: u64| format!("{:016x}", (n * 1_000 + i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23));
        (0..200).map(word).collect::<String>()
    };
    for batch in 0..10u64 {
        let reports = (0..500).map(|i| {
            let mut report: serde_json::Value =
                serde_json::from_str(&report(&format!("h{i}"), "dev", &commit('a'), "failure")).unwrap();
            report["message"] = noise(batch * 500 + i).into();
            report.to_string()
        });
        let answer =
            hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.collect::<Vec<_>>().join("\n"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let mut reading = hub.connect();
    reading.write_all(b"GET /api/v1/backup HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut begin = [0; 12];
    reading.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let refused = hub.get("/api/v1/backup");
    assert_eq!(refused.problem(429), "another backup or check is under way");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(hub.push(&descriptor("dev", "1.0", &commit('a')))["accepted"], 1);
    drop(reading);
    while hub.get("/api/v1/backup").status == 429 {}
}

/// Backups in a folder, oldest first.
fn backups(folder: &Path) -> Vec<std::path::PathBuf> {
    let all = Folder::open(&Place::File(folder.to_owned())).unwrap().all().unwrap();
    all.iter().map(|place| place.to_string().into()).collect()
}

pub(crate) fn metric(hub: &TestHub, name: &str) -> Option<f64> {
    let text = hub.get("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn backups_go_into_a_folder_by_themselves_and_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let left = folder.join("koh-20260101T000000.000Z.backup.partial");
    std::fs::write(&left, "half").unwrap();
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    let name = folder.to_str().unwrap();
    let hub = TestHubBuilder::new()
        .with_arg("--backup-dir", name)
        .with_arg("--backup-every", "1ms")
        .with_arg("--backup-keep", "2")
        .spawn();
    let seq = hub.push(&descriptor("dev", "1.0", &commit('a')))["seq"].as_u64().unwrap();
    // The newest is replaced by newer ones for ever; whatever is seen under its name is whole.
    let newest = loop {
        let newest = backups(&folder).pop().and_then(|path| koh::backup::verify_file(&path).ok());
        if let Some(whole) = newest.filter(|whole| whole.head.seq >= seq) {
            break whole;
        }
    };
    assert!(newest.end.blocks > 0);
    assert!(!left.exists(), "what a killed hub left is cleared away");
    while metric(&hub, "koh_backup_duration_seconds_count").unwrap() < 4.0 {}
    assert!(metric(&hub, "koh_backup_timestamp_seconds").unwrap() > 1.7e9);
    assert!(metric(&hub, "koh_backup_size_bytes").unwrap() > 100.0);
    assert_eq!(metric(&hub, "koh_backup_failures_total"), Some(0.0));
    assert!(hub.stop().success());
    let kept = backups(&folder);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "the notes, and nothing half written");

    // The interval goes on over a restart, and its measure is known at once.
    let hub = TestHubBuilder::new().with_arg("--backup-dir", name).spawn();
    while metric(&hub, "koh_backup_timestamp_seconds").is_none() {}
    assert_eq!(metric(&hub, "koh_backup_duration_seconds_count"), Some(0.0));
    assert_eq!(backups(&folder), kept);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_and_counted_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("not-a-folder");
    std::fs::write(&folder, "a file").unwrap();
    let hub = TestHubBuilder::new().with_arg("--backup-dir", folder.to_str().unwrap()).spawn();
    while metric(&hub, "koh_backup_failures_total") == Some(0.0) {}
    assert_eq!(metric(&hub, "koh_backup_timestamp_seconds"), None);
    assert_eq!(hub.push(&descriptor("dev", "1.0", &commit('a')))["accepted"], 1);
}

#[test]
fn a_backup_under_ingest_restores_to_a_hub_with_all_that_was_answered_before_it_and_no_gap_after() {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    let (stop, pushed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let push = || {
        while !stop.load(Ordering::Acquire) {
            let n = pushed.load(Ordering::Acquire);
            let reports: Vec<String> =
                (0..50).map(|i| report(&format!("h{}", n * 50 + i), "dev", &commit('a'), "success")).collect();
            let answer = hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            pushed.fetch_add(1, Ordering::AcqRel);
        }
    };
    let counts = std::thread::scope(|scope| {
        let pushing = scope.spawn(push);
        let mut counts = Vec::new();
        for nth in 0..4 {
            while pushed.load(Ordering::Acquire) < (nth + 1) * 3 {}
            let before = pushed.load(Ordering::Acquire);
            let file = dir.path().join(format!("{nth}.backup"));
            let made = koh(&["backup", file.to_str().unwrap(), "--url", &format!("http://{}", hub.address)]);
            assert!(made.status.success(), "{}", said(&made));
            // One push may be stored and not yet answered, and one more may have begun.
            counts.push((file, before, pushed.load(Ordering::Acquire) + 1));
        }
        stop.store(true, Ordering::Release);
        pushing.join().unwrap();
        counts
    });
    for (nth, (file, before, after)) in counts.into_iter().enumerate() {
        let to = dir.path().join(format!("to-{nth}"));
        assert!(koh(&["restore", file.to_str().unwrap(), "--data", to.to_str().unwrap()]).status.success());
        let checked = koh(&["check", "--data", to.to_str().unwrap()]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        let other = serve(&to);
        let answer = other.get("/api/v1/sql?q=select+host+from+hosts&fresh=true").json();
        let mut hosts: Vec<usize> =
            answer.as_array().unwrap().iter().map(|h| h["host"].as_str().unwrap()[1..].parse().unwrap()).collect();
        hosts.sort_unstable();
        assert!(hosts.iter().copied().eq(0..hosts.len()), "what came later is there only with all that came before it");
        assert!((before * 50..=after * 50).contains(&hosts.len()), "{} of {before} to {after} batches", hosts.len());
    }
}
