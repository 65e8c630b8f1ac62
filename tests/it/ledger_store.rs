//! The ledger's promises, in memory and on a file alike: restarts, refusals, failing disks, back-pressure, confirmations.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use koh::ledger::migrations::{MIGRATIONS, newest};
use koh::ledger::tables::{FORMAT, META};
use koh::ledger::{AppendError, Ledger, OpenError, Options, Receipt, Since, Store, Trouble};
use koh::model::{Body, Fact, HostDeclaration, Liveness, Micros, Status};
use koh::state::ObjectKind;
use redb::ReadableTable as _;

use crate::ledger_disk::Disk;
use crate::ledger_facts::{SECOND, dump, host, hosts, report, still, untimed, verification};

/// A place that survives its ledger, so that one test can run on every kind of store.
enum Place {
    Memory(Disk),
    File(tempfile::TempDir),
}

impl Place {
    fn all() -> [Place; 2] {
        [Place::Memory(Disk::default()), Place::File(tempfile::tempdir().unwrap())]
    }

    fn open(&self, options: Options) -> Ledger {
        let store = match self {
            Place::Memory(disk) => Store::backend(disk.clone()),
            Place::File(dir) => Store::file(&dir.path().join("ledger.redb")),
        };
        Ledger::open(store, options).unwrap()
    }
}

fn fleet(n: i64) -> Vec<Fact> {
    (0..n).flat_map(|i| [host(&format!("h{i}"), i), report(&format!("h{i}"), "c1", Status::Success, i)]).collect()
}

#[tokio::test]
async fn a_restart_gives_the_same_state_from_journal_checkpoint_and_both() {
    for place in Place::all() {
        let ledger = place.open(still());
        let epoch = ledger.epoch();
        let receipt = ledger.append(fleet(300)).await.unwrap();
        assert_eq!(receipt, Receipt { seq: ledger.seq(), changed: 600, unchanged: 0 });
        ledger.checkpoint().await.unwrap();
        ledger.append(vec![report("h7", "c2", Status::Failure, 1_000), host("late", 1_001)]).await.unwrap();
        let (seq, before) = ledger.tables();
        if let Place::Memory(disk) = &place {
            let killed = Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
            assert_eq!((killed.seq(), killed.epoch()), (seq, epoch));
            assert!(dump(&killed.tables().1) == dump(&before), "checkpoint and journal");
        }
        ledger.shutdown().unwrap();
        let ledger = place.open(still());
        assert_eq!((ledger.seq(), ledger.epoch()), (seq, epoch));
        assert!(dump(&ledger.tables().1) == dump(&before), "checkpoint alone");
        let receipt = ledger.append(vec![host("new", 2_000)]).await.unwrap();
        assert_eq!(receipt.seq, seq + 1, "sequences go on");
    }
}

#[tokio::test]
async fn a_file_that_its_journal_made_large_is_packed_when_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let options = Options { pack_bytes: 64 << 10, ..still() };
    let ledger = Ledger::open(Store::file(&path), options.clone()).unwrap();
    for round in 0..40 {
        let word = if round % 2 == 0 { Status::Success } else { Status::Failure };
        let said = (0..200).map(|h| report(&format!("h{h}"), "c1", word, round * 1_000 + h));
        ledger.append(said.collect()).await.unwrap();
    }
    ledger.checkpoint().await.unwrap();
    let (_, before) = ledger.tables();
    let open = std::fs::metadata(&path).unwrap().len();
    ledger.shutdown().unwrap();
    let closed = std::fs::metadata(&path).unwrap().len();
    assert!(closed < open / 2, "{open} bytes while open, {closed} after");
    let ledger = Ledger::open(Store::file(&path), options).unwrap();
    assert!(dump(&ledger.tables().1) == dump(&before));
}

#[tokio::test]
async fn memory_without_a_place_works_like_any_other_store() {
    let ledger = Ledger::open(Store::memory(), still()).unwrap();
    ledger.append(fleet(3)).await.unwrap();
    ledger.checkpoint().await.unwrap();
    assert_eq!(hosts(&ledger).len(), 3);
    assert_eq!(ledger.append(Vec::new()).await, Ok(Receipt { seq: 1, changed: 0, unchanged: 0 }));
    ledger.shutdown().unwrap();
}

#[test]
fn a_second_hub_on_the_same_directory_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let first = Ledger::open(Store::file(&path), still()).unwrap();
    let error = Ledger::open(Store::file(&path), still()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains(&format!("already open (by process {} on ", std::process::id())), "{text}");
    assert!(text.contains("one data directory serves one hub"), "{text}");
    drop(first);
    Ledger::open(Store::file(&path), still()).unwrap();
}

fn edit(path: &Path, edit: impl FnOnce(&redb::WriteTransaction)) {
    let db = redb::Database::create(path).unwrap();
    let txn = db.begin_write().unwrap();
    edit(&txn);
    txn.commit().unwrap();
}

#[test]
fn a_file_of_a_newer_koh_and_a_file_of_somebody_else_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    Ledger::open(Store::file(&path), still()).unwrap().shutdown().unwrap();
    edit(&path, |txn| drop(txn.open_table(META).unwrap().insert(FORMAT, 99).unwrap()));
    for _ in 0..2 {
        let error = Ledger::open(Store::file(&path), still()).unwrap_err();
        let newest = newest(MIGRATIONS);
        assert_eq!(
            error.to_string(),
            format!(
                "written by a newer koh (format 99, this one reads up to {newest}): upgrade koh or restore a backup"
            )
        );
    }

    let other = dir.path().join("other.redb");
    edit(&other, |txn| drop(txn.open_table(redb::TableDefinition::<u8, u8>::new("cats")).unwrap()));
    let error = Ledger::open(Store::file(&other), still()).unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { .. }), "{error}");

    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database at all").unwrap();
    let error = Ledger::open(Store::file(&text), still()).unwrap_err();
    assert!(matches!(&error, OpenError::Io { path, .. } if path.ends_with("notes.txt")), "{error:?}");
    assert_eq!(std::fs::read(&text).unwrap(), b"not a database at all");
}

#[tokio::test]
async fn a_file_of_the_first_format_opens_and_is_no_longer_for_the_koh_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let ledger = Ledger::open(Store::file(&path), still()).unwrap();
    ledger.append(fleet(200)).await.unwrap();
    let before = dump(&ledger.tables().1);
    ledger.shutdown().unwrap();
    // Without a verification a file differs from one of the first format in its number alone.
    edit(&path, |txn| drop(txn.open_table(META).unwrap().insert(FORMAT, 1).unwrap()));
    let ledger = Ledger::open(Store::file(&path), still()).unwrap();
    assert!(dump(&ledger.tables().1) == before);
    ledger.append(vec![verification("failed", 9), verification("passed", 8)]).await.unwrap();
    let said = dump(&ledger.tables().1);
    ledger.shutdown().unwrap();
    edit(&path, |txn| {
        let format = txn.open_table(META).unwrap().get(FORMAT).unwrap().unwrap().value();
        assert_eq!(format, newest(MIGRATIONS));
    });
    let ledger = Ledger::open(Store::file(&path), still()).unwrap();
    assert!(dump(&ledger.tables().1) == said);
    let receipt = ledger.append(vec![verification("failed", 9)]).await.unwrap();
    assert_eq!((receipt.changed, receipt.unchanged), (0, 1));
}

#[tokio::test]
async fn a_failing_disk_makes_the_ledger_read_only_and_acknowledges_nothing() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), still()).unwrap();
    ledger.append(fleet(5)).await.unwrap();
    let (seq, before) = ledger.tables();
    disk.fail();
    assert_eq!(ledger.append(vec![host("lost", 9)]).await, Err(AppendError::Failed));
    assert_eq!(ledger.append(fleet(5)).await, Err(AppendError::Failed), "not even what is known");
    assert_eq!(ledger.append_waiting(vec![host("lost", 9)]).await, Err(AppendError::Failed));
    assert_eq!(ledger.checkpoint().await, Err(AppendError::Failed));
    let trouble = ledger.trouble().unwrap();
    assert!(matches!(&trouble, Trouble::Failed(why) if why.contains("the disk is broken")), "{trouble:?}");
    assert_eq!(ledger.seq(), seq);
    assert!(dump(&ledger.tables().1) == dump(&before), "readers keep what was durable");
    assert_eq!(ledger.clone().shutdown(), Err(AppendError::Failed));
    drop(ledger);

    let ledger = Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
    assert!(hosts(&ledger).is_superset(&(0..5).map(|i| format!("h{i}")).collect()));
}

#[tokio::test]
async fn a_full_queue_is_refused_at_once_or_waited_for() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), Options { queue_facts: 4, ..still() }).unwrap();
    disk.hold(true);
    let mut first = Box::pin(ledger.append(fleet(2)));
    assert!(futures::poll!(&mut first).is_pending());
    let full = ledger.append(vec![host("x", 1)]).await;
    assert_eq!(full, Err(AppendError::Full { retry_after: Duration::from_secs(1) }));
    let mut waiting = Box::pin(ledger.append_waiting(fleet(50)));
    assert!(futures::poll!(&mut waiting).is_pending());
    disk.hold(false);
    assert_eq!(first.await.map(|r| r.changed), Ok(4));
    assert_eq!(waiting.await.map(|r| r.changed + r.unchanged), Ok(100), "a batch larger than the queue goes through");
}

#[tokio::test]
async fn a_closed_ledger_takes_nothing_more_and_still_shows_what_it_had() {
    let ledger = Ledger::open(Store::memory(), still()).unwrap();
    ledger.append(fleet(2)).await.unwrap();
    ledger.clone().shutdown().unwrap();
    assert_eq!(ledger.append(fleet(2)).await, Err(AppendError::Closed));
    assert_eq!(ledger.checkpoint().await, Err(AppendError::Closed));
    assert_eq!(hosts(&ledger).len(), 2);
}

#[tokio::test]
async fn what_is_known_is_unchanged_and_moves_no_sequence() {
    let ledger = Ledger::open(Store::memory(), still()).unwrap();
    let first = ledger.append(fleet(10)).await.unwrap();
    let again = ledger.append(fleet(10)).await.unwrap();
    assert_eq!(again, Receipt { seq: first.seq, changed: 0, unchanged: 20 });
    let twice = [fleet(20), fleet(20)].concat();
    let mixed = ledger.append(twice).await.unwrap();
    assert_eq!((mixed.changed, mixed.unchanged), (20, 60), "also what repeats news of its own batch");
    assert_eq!(hosts(&ledger).len(), 20);
}

/// When the host was last heard, in seconds.
fn heard(ledger: &Ledger, name: &str) -> i64 {
    let (_, tables) = ledger.tables();
    let found = tables.hosts.iter().find(|(_, h)| tables.text(h.name) == name);
    found.unwrap().1.heard_at.0 / SECOND
}

#[tokio::test]
async fn a_confirmation_is_shown_at_once_and_durable_with_the_next_flush() {
    let disk = Disk::default();
    let killed = |disk: &Disk| Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
    let ledger = Ledger::open(Store::backend(disk.clone()), still()).unwrap();
    let first = ledger.append(vec![host("h", 10)]).await.unwrap();
    let confirmed = ledger.append(vec![host("h", 20)]).await.unwrap();
    assert_eq!(confirmed, Receipt { seq: first.seq, changed: 0, unchanged: 1 });
    assert_eq!(heard(&ledger, "h"), 20);
    assert_eq!(heard(&killed(&disk), "h"), 10, "a crash may lose seconds of a last-heard time");
    ledger.checkpoint().await.unwrap();
    assert_eq!(heard(&killed(&disk), "h"), 20);
    ledger.append(vec![host("h", 30)]).await.unwrap();
    ledger.shutdown().unwrap();
    assert_eq!(heard(&killed(&disk), "h"), 30, "shutdown keeps them");
}

#[tokio::test]
async fn confirmations_are_flushed_in_time_without_being_asked() {
    let flush = Options { confirm_flush_every: Duration::from_millis(1), ..still() };
    let ledger = Ledger::open(Store::memory(), flush).unwrap();
    let mut seqs = ledger.watch();
    let first = ledger.append(vec![host("h", 10)]).await.unwrap();
    ledger.append(vec![host("h", 20)]).await.unwrap();
    seqs.wait_for(|seq| *seq > first.seq).await.unwrap();
}

#[tokio::test]
async fn news_of_a_carrier_brings_its_waiting_confirmation_along() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), still()).unwrap();
    for at in [10, 20] {
        ledger.append(vec![report("h", "c1", Status::Success, at)]).await.unwrap();
    }
    ledger.append(vec![report("h", "c2", Status::Success, 30)]).await.unwrap();
    let killed = Ledger::open(Store::backend(Disk::with(disk.bytes())), still()).unwrap();
    assert!(dump(&killed.tables().1) == dump(&ledger.tables().1));
}

#[tokio::test]
async fn one_batch_means_the_same_as_its_facts_one_by_one() {
    let said = |n: usize| untimed(report("h", ["c1", "c2"][n % 2], Status::Success, 100 + n as i64), n as u64 % 2);
    let facts: Vec<Fact> = (0..6).map(said).chain([host("h", 3), host("h", 5), host("h", 4)]).collect();
    let one = Ledger::open(Store::memory(), still()).unwrap();
    let all = Ledger::open(Store::memory(), still()).unwrap();
    for fact in &facts {
        one.append(vec![fact.clone()]).await.unwrap();
    }
    all.append(facts).await.unwrap();
    assert_eq!(dump(&all.tables().1), dump(&one.tables().1));
}

#[tokio::test]
async fn the_feed_names_what_changed_after_a_sequence() {
    let ledger = Ledger::open(Store::memory(), still()).unwrap();
    let mut seqs = ledger.watch();
    let first = ledger.append(vec![host("a", 1)]).await.unwrap();
    let second = ledger.append(vec![host("b", 2), host("b", 3)]).await.unwrap();
    assert_eq!(*seqs.borrow_and_update(), second.seq);
    let Since::Changes { through, changes, .. } = ledger.feed().since(first.seq, 9) else {
        panic!("both are in the ring")
    };
    assert_eq!(through, second.seq);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].seq, changes[0].object.kind), (second.seq, ObjectKind::Host));
    assert_eq!(ledger.feed().since(second.seq + 1, 9), Since::Resync);
}

#[tokio::test]
async fn the_feed_names_a_host_that_turns_silent_or_is_heard_again_and_no_confirmation() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = {
        let now = Arc::clone(&now);
        move || Micros(now.load(Ordering::Relaxed) * SECOND)
    };
    let ledger = Ledger::open(Store::memory(), Options { clock: Arc::new(clock), ..still() }).unwrap();
    let kinds = |seq: u64| match ledger.feed().since(seq, 9) {
        Since::Changes { changes, .. } => changes.iter().map(|c| c.object.kind).collect::<Vec<_>>(),
        Since::Resync => panic!("all is in the ring"),
    };
    let heard = ledger.append(vec![report("h", "c1", Status::Success, 10)]).await.unwrap().seq;
    assert_eq!(kinds(heard - 1), [ObjectKind::Reconciler, ObjectKind::Host]);
    let mut late = report("h", "c1", Status::Success, 20);
    late.received_at = Micros(600 * SECOND);
    let confirmed = ledger.append(vec![late]).await.unwrap();
    assert_eq!((confirmed.changed, kinds(heard)), (1, vec![]), "it is journaled, and tells nothing");
    now.store(20 + 61 * 60, Ordering::Relaxed);
    ledger.sweep().await.unwrap();
    let silent = ledger.seq();
    assert_eq!(kinds(heard), [ObjectKind::Host]);
    ledger.append(vec![report("h", "c1", Status::Success, 20 + 62 * 60)]).await.unwrap();
    assert_eq!(kinds(silent), [ObjectKind::Host]);
}

#[tokio::test]
async fn hosts_that_fall_silent_are_recorded_once_and_stay_so_over_a_restart() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = {
        let now = Arc::clone(&now);
        move || Micros(now.load(Ordering::Relaxed) * SECOND)
    };
    let options = Options { clock: Arc::new(clock), ..still() };
    let disk = Disk::default();
    let silence = |ledger: &Ledger| ledger.tables().1.hosts.iter().map(|(_, h)| h.silence).collect::<Vec<_>>();
    let ledger = Ledger::open(Store::backend(disk.clone()), options.clone()).unwrap();
    ledger.append(vec![host("h", 10)]).await.unwrap();
    now.store(60, Ordering::Relaxed);
    ledger.sweep().await.unwrap();
    assert_eq!(silence(&ledger), [Liveness::Online]);
    now.store(10 + 16 * 60, Ordering::Relaxed);
    ledger.sweep().await.unwrap();
    assert_eq!(silence(&ledger), [Liveness::Late]);
    let seq = ledger.seq();
    ledger.sweep().await.unwrap();
    assert_eq!(ledger.seq(), seq, "one record per change");
    let killed = Ledger::open(Store::backend(Disk::with(disk.bytes())), options).unwrap();
    assert_eq!(silence(&killed), [Liveness::Late]);
}

#[tokio::test]
async fn what_is_imported_is_no_silence_before_one_interval_of_listening() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = {
        let now = Arc::clone(&now);
        move || Micros(now.load(Ordering::Relaxed) * SECOND)
    };
    let ledger = Ledger::open(Store::memory(), Options { clock: Arc::new(clock), ..still() }).unwrap();
    let silence = |ledger: &Ledger| ledger.tables().1.hosts.iter().map(|(_, h)| h.silence).collect::<Vec<_>>();
    // The hub has listened for ten hours when it is told of a host that was heard nine hours ago.
    let old = Fact { received_at: Micros(36_000 * SECOND), ..host("h", 3_600) };
    ledger.append(vec![old]).await.unwrap();
    for (at, expected) in [(36_000, Liveness::Online), (36_899, Liveness::Online), (36_900, Liveness::Late)] {
        now.store(at, Ordering::Relaxed);
        ledger.sweep().await.unwrap();
        assert_eq!(silence(&ledger), [expected], "at {at}");
    }
}

#[tokio::test]
async fn what_names_no_time_counts_as_heard_while_its_watch_is_whole() {
    let now = Arc::new(AtomicI64::new(0));
    let clock = {
        let now = Arc::clone(&now);
        move || Micros(now.load(Ordering::Relaxed) * SECOND)
    };
    let fact = untimed(report("h", "c1", Status::Success, 10), 1);
    let options = Options { clock: Arc::new(clock), watched_sources: vec![fact.source.clone()], ..still() };
    let source = fact.source.clone();
    let ledger = Ledger::open(Store::memory(), options).unwrap();
    ledger.append(vec![fact]).await.unwrap();
    let silence = |ledger: &Ledger| ledger.tables().1.hosts.iter().map(|(_, h)| h.silence).collect::<Vec<_>>();
    let hour = 3_600;
    for (at, broken_since, expected) in [
        (2 * hour, None, Liveness::Online),
        // The watch stood for its word until it broke.
        (2 * hour + 60, Some(2 * hour), Liveness::Online),
        (2 * hour + 900, Some(2 * hour), Liveness::Late),
        (3 * hour, Some(2 * hour), Liveness::Silent),
        (3 * hour + 1, None, Liveness::Online),
        (9 * hour, None, Liveness::Online),
    ] {
        now.store(at, Ordering::Relaxed);
        ledger.watching(&source, broken_since.map(|at| Micros(at * SECOND)));
        ledger.sweep().await.unwrap();
        assert_eq!(silence(&ledger), [expected], "at {at}");
    }
}

#[tokio::test]
async fn partial_declarations_of_a_host_mean_the_same_in_every_order() {
    let said = |at: i64, change: fn(&mut HostDeclaration)| {
        let mut fact = host("h", at);
        let Body::Host(declared) = &mut fact.body else { panic!("a host") };
        declared.heartbeat = false;
        (declared.contact, declared.labels) = (None, String::new());
        change(declared);
        fact
    };
    let facts = [
        said(5, |h| h.class = Some("edge".into())),
        said(6, |h| h.class = Some("core".into())),
        said(7, |h| h.class = Some("edge".into())),
        said(7, |h| h.class = Some("attic".into())),
        said(9, |h| h.contact = Some("ops".into())),
    ];
    let orders = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [4, 0, 2, 1, 3], [2, 4, 1, 0, 3], [3, 4, 2, 0, 1]];
    for order in orders {
        let ledger = Ledger::open(Store::memory(), still()).unwrap();
        for i in order {
            ledger.append(vec![facts[i].clone()]).await.unwrap();
        }
        let (_, tables) = ledger.tables();
        let declared = tables.hosts.get(0).unwrap().declared.clone().unwrap();
        assert_eq!((tables.text(declared.class), tables.text(declared.contact)), ("edge", "ops"), "{order:?}");
    }
}

#[tokio::test]
async fn nobody_turns_silent_for_a_time_in_which_the_clock_was_set_or_the_hub_did_not_run() {
    let seconds = Arc::new(AtomicI64::new(0));
    let clock = {
        let seconds = Arc::clone(&seconds);
        move || Micros(seconds.load(Ordering::Relaxed) * SECOND)
    };
    let options = Options { clock: Arc::new(clock), longest_gap: Duration::from_secs(60), ..still() };
    let ledger = Ledger::open(Store::memory(), options).unwrap();
    let liveness = || ledger.tables().1.hosts.iter().map(|(_, h)| h.liveness()).collect::<Vec<_>>();
    let pass = async |s: i64| {
        // Looked at every half minute, as a hub does every second.
        for _ in 0..s / 30 {
            seconds.fetch_add(30, Ordering::Relaxed);
            ledger.sweep().await.unwrap();
        }
    };
    ledger.append(vec![host("h", 0)]).await.unwrap();
    seconds.fetch_add(5 * 3_600, Ordering::Relaxed);
    ledger.sweep().await.unwrap();
    assert_eq!(liveness(), [Liveness::Online], "set forward by five hours, or suspended for them");
    pass(10 * 60).await;
    assert_eq!(liveness(), [Liveness::Online]);
    seconds.fetch_add(-4 * 3_600, Ordering::Relaxed);
    ledger.sweep().await.unwrap();
    pass(50 * 60).await;
    assert_eq!(liveness(), [Liveness::Late], "set back: it counts from there, and not from where the clock was");
    pass(20 * 60).await;
    assert_eq!(liveness(), [Liveness::Silent]);
}
