//! A volume that is full, and has room again: nothing acknowledged is lost, reads go on, writing goes on by itself.
//!
//! Guards against: a state that shows what the journal does not hold, a store that stays shut after its trouble, and a hub that
//! cannot start because it cannot write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use koh::ledger::tables::{BLOCKS, CHECKPOINT, META};
use koh::ledger::{AppendError, Ledger, Options, Store, Trouble};
use koh::model::{Fact, Liveness, Status};
use koh::state::State;

use crate::hub::{Answer, TestHub, TestHubBuilder, commit, report as told};
use crate::ledger_disk::Disk;
use crate::ledger_facts::{SECOND, dump, host, report, still};

const BATCHES: usize = 12;

/// One block per slice, so that a checkpoint takes many writes; and whether there is room is looked at all the time.
fn hasty() -> Options {
    Options { slice_bytes: 1, pack_bytes: 0, room_every: Duration::ZERO, room_bytes: 8 << 10, ..still() }
}

/// Batch `n`: always the same, always news.
fn batch(n: usize) -> Vec<Fact> {
    let at = 1_000 + n as i64 * 60;
    let said = |i: usize| {
        let status = if (n + i).is_multiple_of(5) { Status::Failure } else { Status::Success };
        report(&format!("host-{}", (n * 7 + i) % 40), &format!("commit-{n}"), status, at + i as i64)
    };
    (0..12).map(said).chain([host(&format!("batch-{n}"), at)]).collect()
}

/// Until the ledger takes something again.
async fn room_again(ledger: &Ledger) {
    while ledger.trouble().is_some() {
        tokio::task::yield_now().await;
    }
}

/// Fills the disk after so many writes, and makes room whenever the ledger meets the end; how often it did.
async fn work(writes: usize, expected: &[String]) -> usize {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), hasty()).unwrap();
    disk.room(Some(writes));
    let mut met = 0;
    for n in 1..=BATCHES {
        loop {
            let done = match n % 4 {
                3 => ledger.checkpoint().await.map(drop),
                _ => Ok(()),
            };
            match done.and(ledger.append(batch(n)).await.map(drop)) {
                Ok(()) => break,
                Err(error) => assert_eq!(error, AppendError::NoRoom, "full after {writes} writes, batch {n}"),
            }
            met += 1;
            // It may have gone on by itself by now where the last commit happened to be whole.
            if let Some(trouble) = ledger.trouble() {
                assert!(matches!(trouble, Trouble::NoRoom(_)), "{trouble:?}");
            }
            let (_, tables) = ledger.tables();
            let shown = dump(&tables);
            assert!(
                shown == expected[n - 1] || shown == expected[n],
                "full after {writes} writes: readers keep their state"
            );
            disk.room(None);
            room_again(&ledger).await;
        }
    }
    let killed = Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
    for ledger in [&ledger, &killed] {
        assert!(dump(&ledger.tables().1) == expected[BATCHES], "full after {writes} writes");
    }
    // Its last checkpoint may be what meets the end.
    if let Err(error) = ledger.shutdown() {
        assert_eq!(error, AppendError::NoRoom);
        met += 1;
    }
    let closed = Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
    assert!(dump(&closed.tables().1) == expected[BATCHES], "full after {writes} writes, and closed");
    met
}

#[tokio::test]
async fn wherever_the_room_ends_nothing_acknowledged_is_lost_and_writing_goes_on_when_there_is_room() {
    let mut state = State::new();
    let mut expected = vec![dump(&state.tables())];
    for n in 1..=BATCHES {
        batch(n).iter().for_each(|fact| drop(state.apply(n as u64, fact)));
        expected.push(dump(&state.tables()));
    }
    let mut writes = 0;
    while work(writes, &expected).await > 0 {
        writes += 1;
    }
    assert!(writes > 100, "the room ended in {writes} places");
}

#[tokio::test]
async fn confirmations_that_found_no_room_are_kept() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), hasty()).unwrap();
    ledger.append(vec![host("h", 10), host("i", 10)]).await.unwrap();
    ledger.append(vec![host("h", 20), host("i", 20)]).await.unwrap();
    disk.room(Some(0));
    assert_eq!(ledger.checkpoint().await, Err(AppendError::NoRoom));
    assert_eq!(ledger.append(vec![host("h", 30)]).await, Err(AppendError::NoRoom), "not even what is known");
    assert_eq!(ledger.clone().cut().await.unwrap().origin().seq, 1, "a copy can be had");
    disk.room(None);
    room_again(&ledger).await;
    ledger.checkpoint().await.unwrap();
    let killed = Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
    assert!(dump(&killed.tables().1) == dump(&ledger.tables().1));
    assert!(killed.tables().1.hosts.iter().all(|(_, h)| h.heard_at.0 == 20 * SECOND));
}

#[tokio::test]
async fn what_a_checkpoint_wrote_that_found_no_room_is_cleared_away_before_the_next_one() {
    let mut met = 0;
    for writes in 0..60 {
        let disk = Disk::default();
        let ledger = Ledger::open(Store::backend(disk.clone()), hasty()).unwrap();
        for n in 1..=3 {
            ledger.append(batch(n)).await.unwrap();
        }
        disk.room(Some(writes));
        if ledger.checkpoint().await.is_ok() {
            continue;
        }
        disk.room(None);
        room_again(&ledger).await;
        let stored = redb::Database::builder().create_with_backend(Disk::with(disk.bytes())).unwrap();
        let txn = redb::ReadableDatabase::begin_read(&stored).unwrap();
        let checkpoint = txn.open_table(META).unwrap().get(CHECKPOINT).unwrap().unwrap().value();
        let blocks = txn.open_table(BLOCKS).unwrap();
        let unfinished = blocks.range::<koh::ledger::tables::BlockKey>(..).unwrap();
        assert_eq!(unfinished.filter(|version| version.as_ref().unwrap().0.value().2 > checkpoint).count(), 0);
        met += 1;
    }
    assert!(met > 10, "the room ended in {met} places");
}

#[tokio::test]
async fn who_was_refused_while_there_was_no_room_is_not_silent_afterwards() {
    let minutes = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let clock = {
        let minutes = std::sync::Arc::clone(&minutes);
        move || koh::model::Micros(minutes.load(std::sync::atomic::Ordering::Relaxed) * 60 * SECOND)
    };
    let pass = |m| minutes.fetch_add(m, std::sync::atomic::Ordering::Relaxed);
    let disk = Disk::default();
    let ledger =
        Ledger::open(Store::backend(disk.clone()), Options { clock: std::sync::Arc::new(clock), ..hasty() }).unwrap();
    let liveness = || ledger.tables().1.hosts.iter().map(|(_, h)| h.liveness()).collect::<Vec<_>>();
    ledger.append(vec![host("h", 0)]).await.unwrap();
    disk.room(Some(0));
    assert_eq!(ledger.append(vec![host("other", 1)]).await, Err(AppendError::NoRoom));
    pass(120);
    disk.room(None);
    room_again(&ledger).await;
    ledger.sweep().await.unwrap();
    assert_eq!(liveness(), [Liveness::Online], "nobody was listened to for two hours");
    pass(70);
    ledger.sweep().await.unwrap();
    assert_eq!(liveness(), [Liveness::Silent], "but now somebody was");
}

/// A small volume of its own; `None`, aloud, where none may be mounted.
struct Volume(PathBuf, #[allow(dead_code, reason = "it holds the path")] tempfile::TempDir);

impl Volume {
    fn mount(size: &str) -> Option<Volume> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume");
        std::fs::create_dir(&path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&path).output();
        match mount {
            Ok(done) if done.status.success() => Some(Volume(path, dir)),
            Ok(done) => {
                eprintln!(
                    "SKIPPED: no volume can be mounted here ({}); run it as root",
                    String::from_utf8_lossy(&done.stderr).trim()
                );
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no volume can be mounted here ({error})");
                None
            }
        }
    }

    /// Takes all room but so much.
    fn fill(&self, but: usize) {
        let filler = self.0.join("filler");
        let chunk = vec![1; 64 << 10];
        let mut all = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut all, &chunk).is_ok() {}
        let taken = all.metadata().unwrap().len();
        all.set_len(taken.saturating_sub(but as u64)).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the machine.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn push(hub: &TestHub, n: usize) -> Answer {
    let lines: Vec<String> = (0..200)
        .map(|i| {
            let mut said: serde_json::Value =
                serde_json::from_str(&told(&format!("host-{n}-{i}"), "prod", &commit('a'), "success")).unwrap();
            said["message"] = format!("{n} {i} {}", words(n * 200 + i)).into();
            said.to_string()
        })
        .collect();
    hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n"))
}

/// Words that do not pack well.
fn words(seed: usize) -> String {
    let mut roll = crate::ledger_disk::dice(seed as u64 + 1);
    (0..200).map(|_| char::from(b'a' + u8::try_from(roll(26)).unwrap())).collect()
}

fn hosts(hub: &TestHub) -> i64 {
    let asked = hub.get("/api/v1/sql?q=SELECT%20count(*)%20AS%20n%20FROM%20hosts&fresh=true");
    asked.rows()[0]["n"].as_i64().unwrap()
}

/// Pushes a batch until it is taken.
fn until_taken(hub: &TestHub, n: usize) {
    loop {
        let answer = push(hub, n);
        if answer.status == 200 {
            return;
        }
        assert!(answer.problem(503).contains("its volume is full"), "{}", answer.text());
    }
}

fn on(volume: &Path) -> TestHub {
    TestHubBuilder::over(&volume.join("data")).spawn()
}

#[test]
fn a_hub_on_a_full_volume_answers_and_takes_again_when_there_is_room() {
    let Some(volume) = Volume::mount("size=64m") else { return };
    let hub = on(&volume.0);
    until_taken(&hub, 0);
    volume.fill(2 << 20);
    let mut taken = 1;
    let refused = loop {
        let answer = push(&hub, taken);
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 1_000, "the volume is never full");
    };
    assert_eq!(refused.problem(503), "the hub cannot store now: its volume is full");
    assert!(refused.header("retry-after").is_some());
    let ready = hub.get("/readyz");
    assert_eq!(
        (ready.status, &ready.json()["read_only"]),
        (200, &"the volume is full: nothing is taken until there is room".into())
    );
    assert!(hub.get("/metrics").text().contains("koh_ledger_read_only 1"));
    let shown = hosts(&hub);
    assert!(shown >= taken as i64 * 200, "{shown} hosts after {taken} batches");

    // A hub that is restarted meanwhile - by whoever hopes that this helps - answers too.
    let hub = hub.crash_and_restart();
    assert_eq!(hub.get("/readyz").status, 200);
    assert!(hosts(&hub) >= taken as i64 * 200);
    let hub = hub.stop_and_restart();
    assert!(hosts(&hub) >= taken as i64 * 200);
    assert_eq!(hub.get("/api/v1/views/host-state?limit=5").rows().len(), 5);

    volume.make_room();
    (0..taken + 5).for_each(|n| until_taken(&hub, n));
    assert_eq!(hub.get("/readyz").json().get("read_only"), None);
    assert_eq!(hosts(&hub), (taken as i64 + 5) * 200);
    let hub = hub.crash_and_restart();
    assert_eq!(hosts(&hub), (taken as i64 + 5) * 200);
}
