//! The power is cut at every sync, and between them, while the ledger works: everything acknowledged is there afterwards, and
//! nothing is there by half.
//!
//! Guards against: an acknowledgement before the fsync, a checkpoint that is read before it is whole, a journal that is trimmed
//! too early, and leftovers of an interrupted checkpoint being taken for state. Killing the process would prove none of this:
//! the page cache survives it.

use koh::ledger::{Ledger, Options, Store};
use koh::model::{Fact, Status};
use koh::state::State;

use crate::ledger_disk::{Disk, Event, cut, dice};
use crate::ledger_facts::{dump, host, report, still};

const BATCHES: usize = 36;

/// One block per slice, so that a checkpoint takes many transactions; and the file is packed at the end.
fn small_slices() -> Options {
    Options { slice_bytes: 1, pack_bytes: 0, ..still() }
}

/// Batch `n`: always the same, always news, over hosts that earlier batches touched too.
fn batch(n: usize) -> Vec<Fact> {
    let at = 1_000 + n as i64 * 60;
    let mut facts: Vec<Fact> = (0..12)
        .map(|i| {
            let status = if (n + i).is_multiple_of(5) { Status::Failure } else { Status::Success };
            report(&format!("host-{}", (n * 7 + i) % 160), &format!("commit-{n}"), status, at + i as i64)
        })
        .collect();
    facts.push(host(&format!("batch-{n}"), at));
    facts
}

/// Does the batches one after the other, with checkpoints running beside them.
async fn work(ledger: &Ledger, disk: &Disk) {
    let mut checkpoints = tokio::task::JoinSet::new();
    for n in 1..=BATCHES {
        if n % 10 == 5 {
            let ledger = ledger.clone();
            checkpoints.spawn(async move { ledger.checkpoint().await });
            tokio::task::yield_now().await;
        }
        let receipt = ledger.append(batch(n)).await.unwrap();
        assert_eq!(receipt.seq, n as u64, "one batch is one entry here");
        disk.acknowledged(n);
    }
    while let Some(done) = checkpoints.join_next().await {
        done.unwrap().unwrap();
    }
}

/// Opens what a cut left; the state must be exactly that of the first batches, all acknowledged ones among them.
fn check(image: Vec<u8>, acknowledged: usize, expected: &[String], what: &str) -> Disk {
    let disk = Disk::with(image);
    let ledger = Ledger::open(Store::backend(disk.clone()), small_slices()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let (seq, tables) = ledger.tables();
    assert!(seq >= acknowledged as u64, "{what}: batch {acknowledged} was acknowledged, {seq} are there");
    assert!(dump(&tables) == expected[seq as usize], "{what}: the state is not that of {seq} batches");
    ledger.shutdown().unwrap();
    disk
}

fn acknowledged(history: &[Event]) -> usize {
    let acknowledged = |e: &Event| match e {
        Event::Acknowledged(n) => Some(*n),
        _ => None,
    };
    history.iter().rev().find_map(acknowledged).unwrap_or(0)
}

#[tokio::test]
async fn whenever_the_power_is_cut_everything_acknowledged_is_there_and_nothing_by_half() {
    let mut state = State::new();
    let mut expected = vec![dump(&state.tables())];
    for n in 1..=BATCHES {
        batch(n).iter().for_each(|fact| drop(state.apply(n as u64, fact)));
        expected.push(dump(&state.tables()));
    }

    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), small_slices()).unwrap();
    // A file comes into being by a rename, so that half a creation is never met.
    let blank = disk.bytes();
    let created = disk.history().len();
    work(&ledger, &disk).await;
    ledger.shutdown().unwrap();

    let history = disk.history().split_off(created);
    let syncs: Vec<usize> = (0..history.len()).filter(|&i| matches!(history[i], Event::Sync)).collect();
    assert!(syncs.len() > 2 * BATCHES, "groups and slices of checkpoints: {} syncs", syncs.len());

    let mut roll = dice(1);
    for (nth, &sync) in syncs.iter().enumerate() {
        let before = nth.checked_sub(1).map_or(0, |previous| syncs[previous] + 1);
        let between = before + roll(sync + 1 - before);
        // Just before the sync (its writes are in the air), just after it, and somewhere in between.
        for at in [sync, sync + 1, between] {
            let image = cut(&blank, &history, at, &mut roll);
            let what = format!("cut after event {at} of {}", history.len());
            let after = check(image.clone(), acknowledged(&history[..at]), &expected, &what);
            if at != between {
                continue;
            }
            // And the power goes again while the ledger recovers.
            let recovery = after.history();
            let again = roll(recovery.len() + 1);
            let image = cut(&image, &recovery, again, &mut roll);
            let what = format!("{what}, then after event {again} of {}", recovery.len());
            check(image, acknowledged(&history[..at]), &expected, &what);
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whoever_wrote_at_the_same_time() {
    let disk = Disk::default();
    let ledger = Ledger::open(Store::backend(disk.clone()), Options { group_facts: 7, ..small_slices() }).unwrap();
    let (blank, created) = (disk.bytes(), disk.history().len());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (ledger, disk) = (ledger.clone(), disk.clone());
        writers.spawn(async move {
            for n in 0..10 {
                let facts = (0..3).map(|i| host(&format!("{writer}-{n}-{i}"), n)).collect();
                ledger.append(facts).await.unwrap();
                disk.acknowledged(usize::try_from(writer * 10 + n).unwrap());
                if n == 4 {
                    ledger.checkpoint().await.unwrap();
                }
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    drop(ledger);

    let history = disk.history().split_off(created);
    let mut roll = dice(2);
    for at in (0..history.len()).filter(|&i| matches!(history[i], Event::Sync)) {
        let image = cut(&blank, &history, at + 1, &mut roll);
        let ledger = Ledger::open(Store::backend(Disk::with(image)), still()).unwrap();
        let there = crate::ledger_facts::hosts(&ledger);
        for event in &history[..at] {
            if let Event::Acknowledged(n) = event {
                assert!(
                    (0..3).all(|i| there.contains(&format!("{}-{}-{i}", n / 10, n % 10))),
                    "batch {n} at event {at}"
                );
            }
        }
    }
}
