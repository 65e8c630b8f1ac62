//! History that leaves the ledger: what is archived is still shown, is in backups and checks, and nothing goes before it is safe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use koh::model::{Micros, Status};
use koh::query::{Engine, Limits, Statement};
use koh::snapshot::export::ExportError;
use koh::snapshot::{Archive, Generation, export, open_export};
use koh::state::State;
use koh::state::tables::Window;
use koh::state::trim::Trimmer;
use serde_json::json;

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, koh, said};
use crate::ledger_facts::{SECOND, host, report};
use crate::views_support::{go_on, lines};

const DAY: i64 = 86_400;
/// 2026-01-01.
const START: i64 = 1_767_225_600;

fn at(seconds: i64) -> Micros {
    Micros(seconds * SECOND)
}

/// Three hosts over a hundred days: a new commit every other day, that fails at first.
fn fleet() -> State {
    let mut state = State::new();
    for day in 0..100 {
        for h in 0..3 {
            let (name, time) = (format!("h{h}"), START + day * DAY + h * 60);
            let commit = format!("c{}", day / 2);
            tell(&mut state, report(&name, &commit, Status::Failure, time));
            tell(&mut state, report(&name, &commit, Status::Success, time + 600));
        }
    }
    state
}

fn tell(state: &mut State, fact: koh::model::Fact) {
    let seq = state.view().sources.iter().map(|(_, s)| s.changes).sum::<u64>() + 1;
    state.apply(seq, &fact);
}

fn generation(state: &State) -> Generation {
    Generation::take(1, 1, state.tables(), at(START + 101 * DAY))
}

async fn rows(engine: &Engine, generation: &Generation, sql: &str) -> Vec<String> {
    let answer = engine.rows(Arc::new(generation.catalog()), Statement::new(sql)).await;
    let mut rows = lines(&answer.unwrap_or_else(|e| panic!("{sql}: {e}")).batches);
    rows.sort();
    rows
}

const PAST: [&str; 2] = ["SELECT * FROM transitions", "SELECT * FROM deployments"];

fn apply(state: &mut State, window: Window, archived: Option<&Generation>) {
    state.set_window(1, window);
    let archived = archived.map(Generation::snapshot);
    let trimmed = state.trim(0..u32::MAX, window, archived.as_ref(), &mut Trimmer::default());
    state.put_trimmed(1, trimmed);
}

/// Archives all before a day and trims the state to it.
fn trim(state: &mut State, dir: &Path, day: i64) -> Archive {
    let taken = generation(state);
    let (archive, _) = Archive::add(&taken, dir, at(START + day * DAY), &go_on()).unwrap();
    let window = Window { since: archive.through(), forgotten: Micros::MIN };
    apply(state, window, Some(&taken));
    archive
}

fn folders(dir: &Path, table: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir.join(table))
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| std::fs::read_dir(e.path()).unwrap().next().is_some())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_archived_is_shown_with_the_rest_as_if_it_had_never_left() {
    let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::new(Limits::default()).unwrap());
    let mut state = fleet();
    let whole = generation(&state);
    let said_before = state.view().reconcilers.iter().map(|(_, r)| r.history.iter().count()).sum::<usize>();
    let archive = trim(&mut state, dir.path(), 40);
    let said_after = state.view().reconcilers.iter().map(|(_, r)| r.history.iter().count()).sum::<usize>();
    assert!(said_after < said_before * 2 / 3, "{said_after} of {said_before} statements are left");
    let untrimmed = generation(&fleet()).with_archive(Some(Arc::new(archive.clone())));
    let alone = generation(&state);
    let trimmed = generation(&state).with_archive(Some(Arc::new(archive.clone())));
    for sql in PAST {
        let all = rows(&engine, &whole, sql).await;
        assert_eq!(rows(&engine, &trimmed, sql).await, all, "{sql}");
        assert_eq!(rows(&engine, &untrimmed, sql).await, all, "{sql}: archived, and not trimmed yet");
        assert!(rows(&engine, &alone, sql).await.len() < all.len(), "{sql}: without the archive some are missing");
    }
    let words = "SELECT * FROM endpoint_commits";
    assert_eq!(rows(&engine, &alone, words).await, rows(&engine, &whole, words).await, "last words stay");
    assert_eq!(archive.verify().unwrap(), archive.holds());
    let january = ["day=2026-02-01", "day=2026-02-02", "day=2026-02-09", "month=2026-01"];
    let there = folders(dir.path(), "transitions");
    assert!(january.iter().all(|name| there.contains(&(*name).to_owned())), "{there:?}");

    // An export beside it names its files, and is the same without the hub.
    let data = tempfile::tempdir().unwrap();
    let archive = {
        std::fs::create_dir(data.path().join("archive")).unwrap();
        let mut again = fleet();
        trim(&mut again, &data.path().join("archive"), 40)
    };
    let trimmed = generation(&state).with_archive(Some(Arc::new(archive)));
    export(&trimmed, &data.path().join("export"), &go_on()).unwrap();
    let files = Arc::new(open_export(&data.path().join("export")).unwrap());
    for sql in PAST {
        let answer = engine.rows(Arc::clone(&files), Statement::new(sql)).await.unwrap();
        let mut exported = lines(&answer.batches);
        exported.sort();
        assert_eq!(exported, rows(&engine, &whole, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn a_window_that_moves_on_puts_days_together_and_late_words_beside_the_others() {
    let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::new(Limits::default()).unwrap());
    let mut state = fleet();
    trim(&mut state, dir.path(), 40);
    // Of a day that was archived: once as it was, and once as news.
    let late = report("h1", "c9", Status::Success, START + 18 * DAY + 60 + 600);
    let news = report("h1", "c99", Status::Success, START + 18 * DAY + 4_000);
    for fact in [&late, &news, &late] {
        tell(&mut state, fact.clone());
    }
    let archive = trim(&mut state, dir.path(), 40);
    let trimmed = generation(&state).with_archive(Some(Arc::new(archive)));
    let mut whole = fleet();
    tell(&mut whole, news.clone());
    let of_day = "SELECT host, commit, status, reported_at FROM transitions WHERE reported_at < TIMESTAMP '2026-02-01T00:00:00Z' \
                  AND commit IN ('c9', 'c99') AND host = 'h1'";
    let shown = rows(&engine, &trimmed, of_day).await;
    assert!(shown.iter().any(|row| row.contains("c99")), "{shown:?}");
    assert_eq!(shown.iter().filter(|row| row.contains("c9 ")).count(), 4, "nothing twice: {shown:?}");

    let archive = trim(&mut state, dir.path(), 75);
    let holds = archive.holds();
    assert!(folders(dir.path(), "transitions").contains(&"month=2026-02".to_owned()));
    let trimmed = generation(&state).with_archive(Some(Arc::new(archive.clone())));
    let count = "SELECT count(*) FROM transitions";
    assert_eq!(rows(&engine, &trimmed, count).await, rows(&engine, &generation(&whole), count).await);
    assert_eq!(archive.verify().unwrap(), holds);

    let mut archive = archive;
    let forgotten = archive.forget(at(START + 59 * DAY), at(START + 101 * DAY)).unwrap();
    assert!(forgotten > 0);
    assert!(archive.holds().rows < holds.rows);
    assert_eq!(archive.verify().unwrap(), archive.holds());
}

#[test]
fn what_is_confirmed_to_this_day_is_no_reason_to_write_an_archived_day_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = fleet();
    trim(&mut state, dir.path(), 100);
    let again =
        |state: &State| Archive::add(&generation(state), dir.path(), at(START + 100 * DAY), &go_on()).unwrap().1;
    // As it is when the ledger was trimmed.
    again(&state);
    assert_eq!(again(&state), 0);
    // What runs since before the window runs on.
    tell(&mut state, report("h1", "c49", Status::Success, START + 100 * DAY + 60));
    assert_eq!(again(&state), 0);
    tell(&mut state, report("h1", "late", Status::Success, START + 3 * DAY));
    assert_eq!(again(&state), 1, "a transition");
}

#[tokio::test]
async fn rows_that_are_not_in_the_archive_do_not_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = fleet();
    let taken = generation(&state);
    let (archive, _) = Archive::add(&taken, dir.path(), at(START + 40 * DAY), &go_on()).unwrap();
    // After the archive was written, and before the ledger is trimmed.
    tell(&mut state, report("h2", "late", Status::Failure, START + 3 * DAY + 7_777));
    let window = Window { since: archive.through(), forgotten: Micros::MIN };
    apply(&mut state, window, Some(&taken));
    let kept: Vec<usize> = state.view().reconcilers.iter().map(|(_, r)| r.history.iter().count()).collect();
    assert!(kept[0] < 200 && kept[2] > kept[0], "{kept:?}");
    let archive = trim(&mut state, dir.path(), 40);
    let trimmed = generation(&state).with_archive(Some(Arc::new(archive)));
    let engine = Engine::new(Limits::default()).unwrap();
    let late = rows(&engine, &trimmed, "SELECT host FROM transitions WHERE commit = 'late'").await;
    assert_eq!(late, ["h2"], "it is archived with the next round");
}

#[test]
fn a_file_that_is_wanted_again_stays() {
    let dir = tempfile::tempdir().unwrap();
    let state = fleet();
    let add = || Archive::add(&generation(&state), dir.path(), at(START + 40 * DAY), &go_on()).unwrap().0;
    let mut archive = add();
    let holds = archive.holds();
    assert!(archive.forget(at(START + 40 * DAY), at(START + 41 * DAY)).unwrap() > 0);
    assert_eq!(archive.holds().files, 0);
    for _ in 0..2 {
        assert_eq!(add().verify().unwrap(), holds);
    }
    assert!(!dir.path().join("writing").exists(), "nothing is left of the writing");
}

#[test]
fn a_word_from_among_those_that_were_dropped_disturbs_nothing_that_came_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = fleet();
    trim(&mut state, dir.path(), 99);
    let read = |state: &State| {
        let mut walk = koh::state::walk::Walk::default();
        state.view().walk(1, &mut walk);
        walk
    };
    let before = read(&state);
    // It says what the oldest statement says that was kept, and another one.
    for commit in ["c49", "c7"] {
        tell(&mut state, report("h1", commit, Status::Success, START + 30 * DAY));
    }
    let after = read(&state);
    assert_eq!((after.now, &after.deployments), (before.now, &before.deployments));
    let late = after.transitions.len() - before.transitions.len();
    assert_eq!((late, &after.transitions[late..]), (2, &before.transitions[..]));
    let c49 = after.word_on(after.now.endpoint, after.now.applied).unwrap();
    assert_eq!(c49.first, at(START + 30 * DAY), "the first word on it is an older one now");
    trim(&mut state, dir.path(), 99);
    let again = read(&state);
    assert_eq!((again.now, again.deployments, again.transitions), (before.now, before.deployments, before.transitions));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_was_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = fleet();
    let archive = trim(&mut state, dir.path(), 40);
    let (_, archived) = archive.parts();
    let file = dir.path().join(&archived.files().next().unwrap().file.path);
    let bytes = std::fs::read(&file).unwrap();
    let mut other = bytes.clone();
    other[bytes.len() / 2] ^= 1;
    std::fs::write(&file, &other).unwrap();
    let error = archive.verify().unwrap_err().to_string();
    assert!(error.contains("its checksum is another one") && error.contains("restore it from a backup"), "{error}");
    // Nothing is built upon it.
    tell(&mut state, report("h1", "c99", Status::Success, START + 2 * DAY));
    assert!(Archive::add(&generation(&state), dir.path(), at(START + 70 * DAY), &go_on()).is_err());
    std::fs::remove_file(&file).unwrap();
    let trimmed = generation(&state).with_archive(Some(Arc::new(archive.clone())));
    let engine = Engine::new(Limits::default()).unwrap();
    let newer = "SELECT count(*) FROM transitions WHERE reported_at >= TIMESTAMP '2026-02-03T00:00:00Z' \
                 AND reported_at < TIMESTAMP '2026-02-05T00:00:00Z'";
    assert_eq!(rows(&engine, &trimmed, newer).await, ["12"], "files of other days are not opened");
    let all = engine.rows(Arc::new(trimmed.catalog()), Statement::new("SELECT count(reported_at) FROM transitions"));
    assert!(all.await.is_err(), "a loss is no answer");
    assert!(archive.verify().unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&file, bytes).unwrap();
    archive.verify().unwrap();
}

#[test]
fn archiving_that_is_told_to_stop_leaves_all_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = fleet();
    let archive = trim(&mut state, dir.path(), 40);
    let stop = go_on();
    stop.cancel();
    let stopped = Archive::add(&generation(&state), dir.path(), at(START + 70 * DAY), &stop);
    assert!(matches!(stopped, Err(ExportError::Interrupted)));
    let after = Archive::open(dir.path()).unwrap().unwrap();
    assert_eq!(after.parts(), archive.parts());
    after.verify().unwrap();
}

#[test]
fn what_is_forgotten_leaves_what_runs_now() {
    let mut state = fleet();
    let quiet = report("h9", "c0", Status::Success, START);
    tell(&mut state, quiet);
    tell(&mut state, host("h9", START));
    let window = Window { since: at(START + 90 * DAY), forgotten: at(START + 90 * DAY) };
    apply(&mut state, window, None);
    let words = |state: &State| {
        let mut walk = koh::state::walk::Walk::default();
        let ids = 0..state.view().reconcilers.len() as u32;
        ids.map(|id| {
            state.view().walk(id, &mut walk);
            (walk.words.len(), walk.now.applied, walk.now.deployed_at)
        })
        .collect::<Vec<_>>()
    };
    let (left, before) = (words(&state), words(&fleet()));
    assert!(left[0].0 < before[0].0 && left[0].0 >= 5, "{left:?}");
    assert_eq!((left[0].1, left[0].2), (before[0].1, before[0].2));
    assert_eq!(left[3].0, 1, "the one word of a host that has not changed for long");
}

#[test]
fn a_word_of_a_time_that_was_forgotten_is_forgotten_too() {
    let mut state = State::new();
    for (day, commit) in [(1, "a"), (2, "b"), (3, "c")] {
        tell(&mut state, report("h", commit, Status::Success, START + day * DAY));
    }
    let window = Window { since: at(START + 10 * DAY), forgotten: at(START + 10 * DAY) };
    apply(&mut state, window, None);
    let read = |state: &State| {
        let mut walk = koh::state::walk::Walk::default();
        state.view().walk(0, &mut walk);
        (walk.now, walk.words.len(), walk.transitions, walk.deployments)
    };
    let before = read(&state);
    assert_eq!(before.1, 1);
    for commit in ["c", "b"] {
        tell(&mut state, report("h", commit, Status::Success, START));
    }
    assert_eq!(read(&state), before);
}

/// What a hub says of its history, by question.
pub(crate) fn answers(hub: &TestHub) -> BTreeMap<&'static str, Vec<String>> {
    let questions = [
        "transitions",
        "deployments",
        "endpoint_commits",
        "assignments",
        "environment_history",
        "environment_state",
        "host_state",
        "rollouts",
        "workload_history",
        "application_history",
        "version_spans",
        "host_timeline",
        "annotations",
    ];
    let rows = |name: &str| {
        let answer = hub.get(&format!("/api/v1/sql?q=SELECT%20*%20FROM%20{name}&fresh=true"));
        let mut rows: Vec<String> = answer.rows().iter().map(ToString::to_string).collect();
        rows.sort();
        rows
    };
    questions.into_iter().map(|name| (name, rows(name))).collect()
}

/// Eighty days of a fleet, told at once.
pub(crate) fn told(hub: &TestHub) {
    let now = Micros::now().0 / SECOND;
    let mut wanted = Vec::new();
    let mut reports = Vec::new();
    for n in 0..9_i64 {
        let (time, sha) = (now - (85 - n * 9) * DAY, commit(char::from(b'0' + u8::try_from(n).unwrap())));
        let mut one: serde_json::Value = serde_json::from_str(&descriptor("prod", &format!("1.{n}"), &sha)).unwrap();
        one["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = at(time).to_string().into();
        wanted.push(one.to_string());
        for h in 0..4 {
            for (later, status) in [(60, "in_progress"), (120, "failure"), (600, "success")] {
                let mut one: serde_json::Value =
                    serde_json::from_str(&crate::hub::report(&format!("h{h}"), "prod", &sha, status)).unwrap();
                one["reported_at"] = json!(at(time + later + h).to_string());
                reports.push(one.to_string());
            }
        }
    }
    hub.push(&wanted.join("\n"));
    let taken = hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n"));
    assert_eq!(taken.status, 200, "{}", taken.text());
}

pub(crate) fn metric(hub: &TestHub, name: &str) -> Option<f64> {
    let text = hub.get("/metrics").text();
    let line = text.lines().find(|line| line.split_once(' ').is_some_and(|(series, _)| series == name))?;
    line.split(' ').nth(1)?.parse().ok()
}

pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed().as_secs() < 60, "{what} did not come");
    }
}

#[test]
fn a_hub_with_a_hot_window_answers_as_before_and_so_do_its_backup_and_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let data: PathBuf = dir.path().join("data");
    let hub = TestHubBuilder::over(&data).spawn();
    told(&hub);
    let before = answers(&hub);
    assert_eq!(before["transitions"].len(), 9 * 4 * 3);
    assert!(hub.stop().success());

    let hub = TestHubBuilder::over(&data).with_arg("--hot-window", "30d").spawn();
    wait_for("the archive", || metric(&hub, "koh_retention_duration_seconds_count").is_some_and(|n| n >= 1.0));
    assert!(metric(&hub, "koh_archive_rows").unwrap() > 60.0);
    assert!(metric(&hub, "koh_history_kept_since_timestamp_seconds").is_some());
    assert!(metric(&hub, "koh_data_size_bytes{part=\"archive\"}").unwrap() > 0.0);
    assert_eq!(answers(&hub), before);
    let backup = dir.path().join("all.backup");
    let url = format!("http://{}", hub.address);
    let made = koh(&["backup", backup.to_str().unwrap(), "--url", &url]);
    assert!(made.status.success() && said(&made).contains("files of the archive"), "{}", said(&made));
    let checked = koh(&["check", "--url", &url]);
    assert!(checked.status.success(), "{}", said(&checked));

    // Also without the option, for what left the ledger stays in the archive; and after a crash.
    let hub = hub.crash_and_restart();
    assert_eq!(answers(&hub), before);
    assert!(hub.stop().success());
    let hub = TestHubBuilder::over(&data).spawn();
    assert_eq!(answers(&hub), before);
    assert!(hub.stop().success());

    let checked = koh(&["check", "--data", data.to_str().unwrap()]);
    let found = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && found.contains("archive"), "{found} {}", said(&checked));
    let counted =
        koh(&["sql", "--data", data.to_str().unwrap(), "--output", "json", "SELECT count(*) AS n FROM transitions"]);
    assert!(String::from_utf8_lossy(&counted.stdout).contains("108"), "{counted:?}");

    let other = dir.path().join("other");
    let restored = koh(&["restore", backup.to_str().unwrap(), "--data", other.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", said(&restored));
    let hub = TestHubBuilder::over(&other).spawn();
    assert_eq!(answers(&hub), before);
    assert!(hub.stop().success());

    // A file that is not what it was makes no backup, for it could not be restored.
    let files = walkdir::WalkDir::new(other.join("archive")).into_iter().flatten();
    let file = files.map(|e| e.into_path()).find(|p| p.extension().is_some_and(|e| e == "parquet")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let worse = dir.path().join("worse.backup");
    let made = koh(&["backup", worse.to_str().unwrap(), "--data", other.to_str().unwrap()]);
    assert!(!made.status.success() && !worse.exists(), "{}", said(&made));
    assert!(said(&made).contains("its checksum is another one"), "{}", said(&made));

    // A file that is lost is found, and told with what to do.
    let lost = walkdir::WalkDir::new(other.join("archive")).into_iter().flatten();
    let lost = lost.map(|e| e.into_path()).find(|p| p.extension().is_some_and(|e| e == "parquet")).unwrap();
    std::fs::remove_file(lost).unwrap();
    let checked = koh(&["check", "--data", other.to_str().unwrap()]);
    let found = String::from_utf8_lossy(&checked.stdout).into_owned() + &said(&checked);
    assert!(!checked.status.success() && found.contains("restore it from a backup"), "{found}");
}

#[test]
fn a_hub_whose_archive_is_gone_begins_no_other_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, elsewhere) = (dir.path().join("archive"), dir.path().join("elsewhere"));
    let failures = |hub: &TestHub| metric(hub, "koh_retention_failures_total");
    let rounds = |hub: &TestHub| metric(hub, "koh_retention_duration_seconds_count");
    let start = || TestHubBuilder::over(dir.path()).with_arg("--hot-window", "30d").spawn();
    let hub = start();
    told(&hub);
    assert!(hub.stop().success());
    let hub = start();
    wait_for("the archive", || rounds(&hub).is_some_and(|n| n >= 1.0));
    let before = answers(&hub);
    assert_eq!((failures(&hub), before["transitions"].len()), (Some(0.0), 9 * 4 * 3));
    assert!(hub.stop().success());

    std::fs::rename(&archive, &elsewhere).unwrap();
    let hub = start();
    wait_for("a round", || rounds(&hub).is_some_and(|n| n >= 1.0));
    assert_eq!((failures(&hub), archive.exists()), (Some(1.0), false));
    assert!(hub.stop().success());

    std::fs::rename(&elsewhere, &archive).unwrap();
    let hub = start();
    assert_eq!(answers(&hub), before);
    assert!(hub.stop().success());

    // Nor beside files that nothing names any more; and a backup without them is none.
    let (manifest, aside) = (archive.join("manifest.json"), dir.path().join("aside"));
    std::fs::rename(&manifest, &aside).unwrap();
    let hub = start();
    wait_for("a round", || rounds(&hub).is_some_and(|n| n >= 1.0));
    assert_eq!((failures(&hub), manifest.exists()), (Some(1.0), false));
    assert!(hub.stop().success());
    let backup = dir.path().join("half.backup");
    let data = dir.path().to_str().unwrap();
    let made = koh(&["backup", backup.to_str().unwrap(), "--data", data]);
    assert!(
        !made.status.success() && !backup.exists() && said(&made).contains("an archive that is not there"),
        "{}",
        said(&made)
    );
    let checked = koh(&["check", "--data", data]);
    let found = String::from_utf8_lossy(&checked.stdout).into_owned() + &said(&checked);
    assert!(!checked.status.success() && found.contains("has no manifest"), "{found}");
    std::fs::rename(&aside, &manifest).unwrap();
    let hub = start();
    assert_eq!(answers(&hub), before);
    assert!(hub.stop().success());

    // Whoever has none to bring back says so.
    std::fs::remove_dir_all(&archive).unwrap();
    std::fs::create_dir(&archive).unwrap();
    let hub = start();
    wait_for("a round", || rounds(&hub).is_some_and(|n| n >= 1.0));
    assert_eq!((failures(&hub), archive.join("manifest.json").exists()), (Some(0.0), true));
}

#[test]
fn a_hub_that_forgets_keeps_what_is_so_now() {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHubBuilder::over(dir.path()).spawn();
    told(&hub);
    let before = answers(&hub);
    assert!(hub.stop().success());
    let hub = TestHubBuilder::over(dir.path()).with_arg("--keep-history", "40d").spawn();
    wait_for("the trimming", || metric(&hub, "koh_retention_duration_seconds_count").is_some_and(|n| n >= 1.0));
    let after = answers(&hub);
    for now in ["environment_state", "host_state", "assignments"] {
        assert_eq!(after[now], before[now], "{now}");
    }
    assert!(!after["transitions"].is_empty() && after["transitions"].len() < before["transitions"].len());
    assert!(after["transitions"].iter().all(|row| before["transitions"].contains(row)));
    assert!(!dir.path().join("archive").join("manifest.json").exists());
    let checked = koh(&["check", "--url", &format!("http://{}", hub.address)]);
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn a_window_that_cannot_be_is_refused_with_the_reason() {
    let refused = |args: &[&str]| {
        let output = koh(&[&["serve", "--data", "/nonexistent"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        said(&output)
    };
    assert!(refused(&["--hot-window", "1h"]).contains("must not be shorter than 1d"));
    assert!(
        refused(&["--hot-window", "90d", "--keep-history", "30d"]).contains("must not be shorter than --hot-window")
    );
}
