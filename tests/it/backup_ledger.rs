//! Backups below the hub: what a cut holds while others write, what a restore makes of it, and what becomes of one that is not whole.
//!
//! Guards against: a backup by half that is taken for a whole one, a restore that buries a store or is taken for one before it ended,
//! and a copy that misses what was acknowledged.

use std::path::Path;

use koh::backup::{self, BackupError, Part, Reader};
use koh::ledger::migrations::{MIGRATIONS, newest};
use koh::ledger::tables::{BLOCKS, FORMAT, META};
use koh::ledger::{AppendError, Cut, Ledger, OpenError, Options, Piece, Rebuild, RestoreError, Store};
use koh::model::{Fact, Micros, Status};
use koh::state::State;
use proptest::prelude::*;

use crate::ledger_disk::Disk;
use crate::ledger_facts::{dump, host, report, still, verification};
use crate::views_support::go_on;

fn batch(n: i64) -> Vec<Fact> {
    let mut facts: Vec<Fact> = (0..9)
        .map(|i| report(&format!("h{}", (n * 5 + i) % 400), &format!("c{n}"), Status::Success, n * 60 + i))
        .collect();
    facts.push(host(&format!("batch-{n}"), n));
    facts
}

fn written(cut: Cut) -> Vec<u8> {
    let mut bytes = Vec::new();
    backup::write(cut, backup::Files::default(), &mut bytes, &mut |_, _| {}).unwrap();
    bytes
}

fn piece(part: Part) -> Piece {
    let Part::Piece(piece) = part else { panic!("there is no archive") };
    piece
}

fn restore(bytes: &[u8], data: &Path) -> Result<u64, BackupError> {
    backup::restore(bytes, data, &mut |_, _| {}).map(|(_, epoch)| epoch)
}

fn open(data: &Path) -> Result<Ledger, OpenError> {
    Ledger::open(Store::file(&data.join("hub.redb")), still())
}

/// The backup of a ledger with a journal and a checkpoint, from its file.
async fn sample(data: &Path) -> (Vec<u8>, String, u64) {
    let ledger = Ledger::open(Store::file(&data.join("hub.redb")), Options { pack_bytes: 0, ..still() }).unwrap();
    for n in 0..60 {
        ledger.append(batch(n)).await.unwrap();
    }
    ledger.append(vec![verification("passed", 9)]).await.unwrap();
    let (seq, tables) = ledger.tables();
    ledger.clone().shutdown().unwrap();
    (written(Cut::of_file(&data.join("hub.redb")).unwrap()), dump(&tables), seq)
}

#[tokio::test]
async fn a_backup_of_a_running_ledger_and_of_its_file_are_restored_to_the_same_state_with_another_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let ledger = open(&data).unwrap();
    for n in 0..40 {
        ledger.append(batch(n)).await.unwrap();
        if n == 20 {
            ledger.checkpoint().await.unwrap();
        }
    }
    let (seq, before) = ledger.tables();
    let epoch = ledger.epoch();
    let running = written(ledger.cut().await.unwrap());
    // What a crash leaves: a checkpoint, and a journal after it.
    let crashed = dir.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    std::fs::copy(data.join("hub.redb"), crashed.join("hub.redb")).unwrap();
    ledger.shutdown().unwrap();
    let of_files = [&crashed, &data].map(|data| written(Cut::of_file(&data.join("hub.redb")).unwrap()));
    assert!(Reader::open(of_files[0].as_slice()).unwrap().head().checkpoint < seq, "the journal is in it");
    for (nth, bytes) in [&running].into_iter().chain(&of_files).enumerate() {
        let to = dir.path().join(format!("restored-{nth}"));
        let renewed = restore(bytes, &to).unwrap();
        assert_ne!(renewed, epoch);
        let restored = open(&to).unwrap();
        assert_eq!((restored.seq(), restored.epoch()), (seq, renewed));
        assert!(dump(&restored.tables().1) == dump(&before), "{nth}");
        let receipt = restored.append(vec![host("new", 9_000)]).await.unwrap();
        assert_eq!(receipt.seq, seq + 1, "sequences go on");
        restored.shutdown().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_ingest_holds_all_that_was_acknowledged_before_it_and_a_prefix_of_the_rest() {
    const BATCHES: i64 = 300;
    let mut state = State::new();
    let mut expected = vec![dump(&state.tables())];
    for n in 0..BATCHES {
        batch(n).iter().for_each(|fact| drop(state.apply(n as u64 + 1, fact)));
        expected.push(dump(&state.tables()));
    }
    let ledger = Ledger::open(Store::memory(), Options { slice_bytes: 1, ..still() }).unwrap();
    let writer = tokio::spawn({
        let ledger = ledger.clone();
        async move {
            for n in 0..BATCHES {
                assert_eq!(ledger.append(batch(n)).await.unwrap().seq, n as u64 + 1, "one batch is one entry here");
                if n % 50 == 9 {
                    ledger.checkpoint().await.unwrap();
                }
            }
        }
    });
    let mut cuts = 0;
    let mut between = 0;
    while ledger.seq() < BATCHES as u64 {
        let acknowledged = ledger.seq();
        let cut = ledger.cut().await.unwrap();
        let seq = cut.origin().seq;
        assert!(seq >= acknowledged, "{seq} of {acknowledged}");
        // It is read while the writer goes on.
        let bytes = written(cut);
        let dir = tempfile::tempdir().unwrap();
        restore(&bytes, dir.path()).unwrap();
        assert!(dump(&open(dir.path()).unwrap().tables().1) == expected[seq as usize], "sequence {seq}");
        cuts += 1;
        between += usize::from(seq < BATCHES as u64);
    }
    writer.await.unwrap();
    assert!(cuts > 0 && between > 0, "{cuts} backups, {between} while it was written");
}

#[tokio::test]
async fn confirmations_that_were_acknowledged_are_in_it() {
    let ledger = Ledger::open(Store::memory(), still()).unwrap();
    let now = Micros::now().0 / 1_000_000;
    ledger.append(vec![report("h", "c", Status::Success, now)]).await.unwrap();
    let receipt = ledger.append(vec![report("h", "c", Status::Success, now + 5)]).await.unwrap();
    assert_eq!((receipt.changed, receipt.unchanged), (0, 1));
    let bytes = written(ledger.cut().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    restore(&bytes, dir.path()).unwrap();
    assert!(dump(&open(dir.path()).unwrap().tables().1) == dump(&ledger.tables().1));
}

#[tokio::test]
async fn when_the_disk_fails_what_was_acknowledged_can_still_be_saved() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), still()).unwrap();
    ledger.append(batch(1)).await.unwrap();
    let (seq, before) = ledger.tables();
    disk.fail();
    assert_eq!(ledger.append(batch(2)).await, Err(AppendError::Failed));
    let bytes = written(ledger.cut().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    restore(&bytes, dir.path()).unwrap();
    let restored = open(dir.path()).unwrap();
    assert_eq!(restored.seq(), seq);
    assert!(dump(&restored.tables().1) == dump(&before));
    drop(ledger.clone().shutdown());
    assert!(matches!(ledger.cut().await, Err(AppendError::Closed)));
}

#[tokio::test]
async fn looking_at_a_file_changes_nothing_in_it_and_an_old_format_is_migrated_by_the_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (_, before, _) = sample(dir.path()).await;
    let path = dir.path().join("hub.redb");
    edit(&path, |txn| drop(txn.open_table(META).unwrap().insert(FORMAT, 1).unwrap()));
    let bytes = std::fs::read(&path).unwrap();
    let copy = written(Cut::of_file(&path).unwrap());
    assert!(std::fs::read(&path).unwrap() == bytes);
    assert_eq!(Reader::open(copy.as_slice()).unwrap().head().format, 1);
    let to = dir.path().join("restored");
    restore(&copy, &to).unwrap();
    let db = redb::Database::create(to.join("hub.redb")).unwrap();
    let format = redb::ReadableDatabase::begin_read(&db).unwrap().open_table(META).unwrap().get(FORMAT).unwrap();
    assert_eq!(format.unwrap().value(), newest(MIGRATIONS));
    drop(db);
    assert!(dump(&open(&to).unwrap().tables().1) == before);
}

fn edit(path: &Path, edit: impl FnOnce(&redb::WriteTransaction)) {
    let db = redb::Database::create(path).unwrap();
    let txn = db.begin_write().unwrap();
    edit(&txn);
    txn.commit().unwrap();
}

#[tokio::test]
async fn a_backup_of_a_newer_koh_is_refused_whichever_part_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bytes, ..) = sample(dir.path()).await;
    edit(&dir.path().join("hub.redb"), |txn| drop(txn.open_table(META).unwrap().insert(FORMAT, 99).unwrap()));
    let error = Cut::of_file(&dir.path().join("hub.redb")).unwrap_err();
    assert!(error.to_string().starts_with("written by a newer koh (format 99"), "{error}");
    bytes[8] = 7;
    let to = dir.path().join("restored");
    let error = restore(&bytes, &to).unwrap_err();
    assert!(matches!(error, BackupError::Newer { found: 7 }), "{error}");
    assert!(!to.exists());
}

#[tokio::test]
async fn a_backup_that_was_cut_short_anywhere_is_refused_and_says_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, ..) = sample(dir.path()).await;
    assert!(bytes.len() < 40_000, "{}: every length is tried", bytes.len());
    for length in 0..bytes.len() {
        match backup::verify(&bytes[..length], &mut |_, _| {}) {
            Err(BackupError::Short { at, .. }) => assert_eq!(at, length as u64),
            other => panic!("{length} of {} bytes: {other:?}", bytes.len()),
        }
    }
    let to = dir.path().join("restored");
    for length in [bytes.len() / 3, bytes.len() - 1] {
        restore(&bytes[..length], &to).unwrap_err();
        assert!(matches!(open_existing(&to), Err(OpenError::Absent { .. })), "nothing is in place");
    }
    restore(&bytes, &to).unwrap();
}

fn open_existing(data: &Path) -> Result<Cut, OpenError> {
    Cut::of_file(&data.join("hub.redb"))
}

#[tokio::test]
async fn a_byte_that_changed_anywhere_is_noticed_and_so_are_frames_that_are_missing_doubled_or_more() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, ..) = sample(dir.path()).await;
    let refused = |bytes: &[u8]| backup::verify(bytes, &mut |_, _| {}).expect_err("it is not what was written");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        match refused(&changed) {
            BackupError::Damaged { at: frame, .. } => {
                assert!(frame as usize <= at, "byte {at}, said to be after {frame}")
            }
            // A length that became larger runs into the end.
            BackupError::Short { .. } => assert!(at > 12),
            BackupError::Foreign | BackupError::Newer { .. } => assert!(at < 12),
            other => panic!("byte {at}: {other}"),
        }
    }
    let starts = frames(&bytes);
    assert!(starts.len() > 2);
    let frame = |nth: usize| &bytes[starts[nth]..starts.get(nth + 1).copied().unwrap_or(bytes.len())];
    let without = [&bytes[..starts[1]], &bytes[starts[2]..]].concat();
    let twice = [&bytes[..starts[2]], frame(1), &bytes[starts[2]..]].concat();
    let more = [&bytes[..], b"x"].concat();
    for other in [without, twice, more] {
        assert!(matches!(refused(&other), BackupError::Damaged { .. }));
    }
}

/// Where the frames begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![12];
    loop {
        let at = starts[starts.len() - 1];
        let stored = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
        if at + 25 + stored == bytes.len() {
            return starts;
        }
        starts.push(at + 25 + stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_backup(bytes in proptest::collection::vec(any::<u8>(), 0..400), headed in any::<bool>()) {
        let begin: &[u8] = if headed { b"kohback\n\x01\0\0\0" } else { b"" };
        let refused = backup::verify([begin, &bytes].concat().as_slice(), &mut |_, _| {}).is_err();
        prop_assert!(refused);
    }
}

#[tokio::test]
async fn a_restore_goes_into_an_empty_directory_only() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, ..) = sample(dir.path()).await;
    for (name, taken) in [("hub.redb", true), ("notes.txt", true), ("lost+found", false), ("LOCK", false)] {
        let to = dir.path().join(format!("to-{name}"));
        std::fs::create_dir(&to).unwrap();
        std::fs::write(to.join(name), "mine").unwrap();
        match restore(&bytes, &to) {
            Err(BackupError::Restore(RestoreError::NotEmpty { found, .. })) if taken => assert_eq!(found, name),
            Ok(_) if !taken => drop(open(&to).unwrap()),
            other => panic!("{name}: {other:?}"),
        }
        if taken {
            assert_eq!(std::fs::read(to.join(name)).unwrap(), b"mine");
        }
    }
}

#[tokio::test]
async fn whatever_a_restore_leaves_when_it_is_killed_does_not_open_and_the_next_restore_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, before, _) = sample(dir.path()).await;
    let origin = Cut::of_file(&dir.path().join("hub.redb")).unwrap().origin();
    let to = dir.path().join("to");
    let killed = |when: &str| {
        let left = dir.path().join(when);
        std::fs::create_dir(&left).unwrap();
        for entry in std::fs::read_dir(&to).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), left.join(entry.file_name())).unwrap();
        }
        let error = open(&left).unwrap_err();
        assert!(matches!(error, OpenError::Unfinished { .. }), "{when}: {error}");
        assert!(error.to_string().contains("run koh restore again"), "{error}");
        let looked = open_existing(&left).unwrap_err();
        assert!(matches!(looked, OpenError::Unfinished { .. }), "{when}: {looked}");
        restore(&bytes, &left).unwrap();
        assert!(dump(&open(&left).unwrap().tables().1) == before);
    };
    let mut rebuild = Rebuild::begin(&to.join("hub.redb"), origin, Vec::new()).unwrap();
    killed("at the begin");
    let mut reader = Reader::open(bytes.as_slice()).unwrap();
    while let Some(parts) = reader.next().unwrap() {
        parts.into_iter().for_each(|part| rebuild.piece(piece(part)).unwrap());
    }
    killed("before its end");
    let second = Rebuild::begin(&to.join("hub.redb"), origin, Vec::new()).unwrap_err();
    assert!(matches!(second, RestoreError::Open(OpenError::Locked { .. })), "{second}");
    drop(rebuild);
    let left: Vec<_> = std::fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["LOCK"], "one that is given up cleans up after itself");
}

#[tokio::test]
async fn pieces_of_something_else_make_no_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, ..) = sample(dir.path()).await;
    let origin = Cut::of_file(&dir.path().join("hub.redb")).unwrap().origin();
    let pieces: Vec<Piece> = {
        let mut reader = Reader::open(bytes.as_slice()).unwrap();
        std::iter::from_fn(|| reader.next().unwrap()).flatten().map(piece).collect()
    };
    let attempt = |pieces: &[Piece]| {
        let mut rebuild = Rebuild::begin(&dir.path().join("to").join("hub.redb"), origin, Vec::new()).unwrap();
        pieces.iter().try_for_each(|piece| rebuild.piece(piece.clone()))?;
        rebuild.finish()
    };
    let mut swapped = pieces.clone();
    swapped.swap(0, 1);
    assert!(matches!(attempt(&swapped), Err(RestoreError::Disorder(_))));
    let mut garbled = pieces.clone();
    let Piece::Block { record, .. } = &mut garbled[0] else { panic!("blocks come first") };
    record.truncate(record.len() / 2);
    assert!(matches!(attempt(&garbled), Err(RestoreError::Open(OpenError::Damaged { .. }))));
    let entry = Piece::Entry { seq: origin.seq + 7, record: Vec::new() };
    assert!(matches!(attempt(&[&pieces[..], &[entry]].concat()), Err(RestoreError::Disorder(_))));
    attempt(&pieces).unwrap();
}

#[tokio::test]
async fn a_file_with_a_damaged_block_is_not_copied_and_the_block_is_named() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path()).await;
    let path = dir.path().join("hub.redb");
    edit(&path, |txn| {
        let mut blocks = txn.open_table(BLOCKS).unwrap();
        let key = redb::ReadableTable::first(&blocks).unwrap().unwrap().0.value();
        blocks.insert(key, [0u8, 1, 2, 3].as_slice()).unwrap();
    });
    let mut bytes = Vec::new();
    let error =
        backup::write(Cut::of_file(&path).unwrap(), backup::Files::default(), &mut bytes, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("block 0 of table 0 is damaged"), "{error}");
    assert!(matches!(backup::verify(bytes.as_slice(), &mut |_, _| {}), Err(BackupError::Short { .. })));
}

#[tokio::test]
async fn a_restore_that_ended_between_the_archive_and_the_ledger_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let (bytes, before, _) = sample(&data).await;
    let (bare, to) = (bytes.clone(), dir.path().join("to"));
    // An archive of no rows is one too.
    let taken = koh::snapshot::Generation::take(1, 1, State::new().tables(), Micros(0));
    let (archive, _) = koh::snapshot::Archive::add(&taken, &data.join("archive"), Micros(0), &go_on()).unwrap();
    let mut bytes = Vec::new();
    let cut = Cut::of_file(&data.join("hub.redb")).unwrap();
    let files = backup::Files::of(Some(&archive), &cut).unwrap();
    backup::write(cut, files, &mut bytes, &mut |_, _| {}).unwrap();
    for (backup, has_archive) in [(&bytes, true), (&bytes, true), (&bare, false)] {
        // As it stands when the archive has its name and the ledger has not.
        let _ = std::fs::remove_file(to.join("hub.redb"));
        std::fs::create_dir_all(to.join("archive/transitions")).unwrap();
        std::fs::write(to.join("archive/transitions/old.parquet"), "of the attempt before").unwrap();
        std::fs::write(to.join("hub.redb.restoring"), "").unwrap();
        restore(backup, &to).unwrap();
        assert!(!to.join("archive/transitions/old.parquet").exists());
        assert_eq!(to.join("archive/manifest.json").exists(), has_archive);
        let restored = open(&to).unwrap();
        assert!(dump(&restored.tables().1) == before);
        restored.shutdown().unwrap();
    }
}
