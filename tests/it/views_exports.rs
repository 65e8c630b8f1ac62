//! Exports: what files say is what memory says, days are written once, and nothing half written is ever read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use koh::model::Status;
use koh::query::{Catalog, Engine, Limits, Statement};
use koh::snapshot::export::manifest::{Exported, Manifest};
use koh::snapshot::export::{ExportError, Report, expire, mend};
use koh::snapshot::schema::{TABLES, VIEWS};
use koh::snapshot::{export, open_export};

use super::views_generation::{Fleet, history};
use super::views_support::{go_on, lines};

async fn rows(engine: &Engine, catalog: &Arc<Catalog>, sql: &str) -> Vec<String> {
    let answer = engine.rows(Arc::clone(catalog), Statement::new(sql)).await;
    lines(&answer.unwrap_or_else(|e| panic!("{sql}: {e}")).batches)
}

fn manifest(dir: &Path) -> Exported {
    Manifest::load(dir).unwrap().unwrap().into_current()
}

fn days(dir: &Path, table: &str) -> BTreeSet<String> {
    let manifest = manifest(dir);
    let files = manifest.tables.iter().filter(|t| t.name == table).flat_map(|t| &t.files);
    files.filter(|f| f.day.is_some()).map(|f| f.path.clone()).collect()
}

fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let all = walkdir::WalkDir::new(dir).into_iter().flatten();
    all.filter(|e| e.file_type().is_file()).map(|e| e.path().strip_prefix(dir).unwrap().to_owned()).collect()
}

const DAY: i64 = 24 * 60;

/// The usual history, and a second day of it.
fn two_days() -> Fleet {
    let mut f = history();
    f.want("dev", "1.2", Some("c5"), DAY + 5);
    f.report("h1", "dev", "c5", Status::Success, DAY + 6);
    f
}

#[tokio::test]
async fn tables_and_views_over_files_equal_those_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let generation = two_days().generation(DAY + 30);
    export(&generation, dir.path(), &go_on()).unwrap();
    let engine = Engine::new(Limits::default()).unwrap();
    let (memory, files) = (Arc::new(generation.catalog()), Arc::new(open_export(dir.path()).unwrap()));
    for name in TABLES.iter().map(|t| t.name).chain(VIEWS.iter().map(|v| v.schema.name)) {
        let sql = format!("SELECT * FROM {name}");
        let (mut a, mut b) = (rows(&engine, &memory, &sql).await, rows(&engine, &files, &sql).await);
        a.sort();
        b.sort();
        // Nobody is silent there, and nothing waits.
        let nothing = ["silent_hosts", "promotion_waits"].contains(&name);
        assert!(nothing || !a.is_empty(), "{name} has rows");
        assert_eq!(a, b, "{name}");
        let sql = format!("SELECT count(*) FROM {name}");
        assert_eq!(rows(&engine, &memory, &sql).await, rows(&engine, &files, &sql).await, "{sql}");
    }
    let sql = "SELECT commit, host FROM transitions WHERE host = 'h1' ORDER BY reported_at DESC LIMIT 1";
    assert_eq!(rows(&engine, &files, sql).await, ["c5 | h1"]);
}

#[test]
fn a_day_is_written_again_only_when_its_rows_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = two_days();
    let first = export(&f.generation(DAY + 30), dir.path(), &go_on()).unwrap();
    // transitions of two days; deployments and assignments that ended on the first and on the second.
    assert_eq!((first.days_written, first.days_kept), (6, 0));
    let before = days(dir.path(), "transitions");

    f.report("h2", "dev", "c5", Status::Success, DAY + 31);
    let second = export(&f.generation(DAY + 32), dir.path(), &go_on()).unwrap();
    // The second day gains a transition and the end of a deployment.
    assert_eq!((second.days_written, second.days_kept), (2, 4));
    let after = days(dir.path(), "transitions");
    assert_eq!(before.intersection(&after).count(), 1);

    let third = export(&f.generation(DAY + 33), dir.path(), &go_on()).unwrap();
    assert_eq!(third, Report { days_written: 0, days_kept: 6, ..second });

    // A late report changes a day long closed.
    f.report("h3", "dev", "c2", Status::Failure, 14);
    let late = export(&f.generation(DAY + 34), dir.path(), &go_on()).unwrap();
    assert_eq!(late.days_written, 2);
}

#[test]
fn old_files_stay_for_readers_and_go_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = two_days();
    let mut paths = |minute: i64| {
        f.report("h2", "dev", "c5", if minute % 2 == 0 { Status::Success } else { Status::Failure }, DAY + minute);
        export(&f.generation(DAY + minute), dir.path(), &go_on()).unwrap();
        manifest(dir.path()).tables.into_iter().flat_map(|t| t.files).map(|f| f.path).collect::<Vec<_>>()
    };
    let exists = |paths: &[String]| paths.iter().filter(|p| dir.path().join(p).exists()).count();
    let first = paths(40);
    let second = paths(41);
    let third = paths(42);
    let fourth = paths(45);
    for earlier in [&first, &second, &third, &fourth] {
        assert_eq!(exists(earlier), earlier.len());
    }
    paths(60);
    assert!(exists(&first) < first.len(), "the first generation is old and not among the last three");
    assert_eq!(exists(&third) + exists(&fourth), third.len() + fourth.len());
}

#[test]
fn files_whose_time_is_over_go_although_nothing_new_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = two_days();
    for minute in 40..44 {
        f.report("h2", "dev", "c5", if minute % 2 == 0 { Status::Success } else { Status::Failure }, DAY + minute);
        export(&f.generation(DAY + minute), dir.path(), &go_on()).unwrap();
    }
    let at = |minute: i64| f.generation(DAY + minute).taken_at;
    let before = manifest(dir.path());
    assert_eq!(expire(dir.path(), at(45)).unwrap(), None);
    let left = expire(dir.path(), at(60)).unwrap().unwrap();
    assert_eq!(left, manifest(dir.path()));
    assert_eq!(left.tables, before.tables);
    let kept = |m: &Exported| m.superseded.iter().map(|s| s.path.clone()).collect::<Vec<_>>();
    assert!(kept(&left).len() < kept(&before).len() && !left.superseded.is_empty(), "the last three stay");
    let gone = kept(&before).into_iter().filter(|p| !kept(&left).contains(p));
    assert!(gone.into_iter().all(|path| !dir.path().join(path).exists()));
    assert!(left.superseded.iter().all(|s| dir.path().join(&s.path).exists() && s.bytes > 0));
    assert_eq!(expire(&dir.path().join("none"), at(60)).unwrap(), None);
}

#[test]
fn what_an_interrupted_export_left_is_not_read_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let f = two_days();
    export(&f.generation(DAY + 30), dir.path(), &go_on()).unwrap();
    let clean = files(dir.path());
    for left in ["writing/current_hosts_0.arrow", "current/x/0.arrow", "history/transitions/day=2026-01-01/0.parquet"] {
        std::fs::create_dir_all(dir.path().join(left).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(left), "half").unwrap();
    }
    open_export(dir.path()).unwrap();
    export(&f.generation(DAY + 30), dir.path(), &go_on()).unwrap();
    assert_eq!(files(dir.path()), clean);
    assert!(!dir.path().join("current/x").exists());
}

#[test]
fn an_export_that_is_told_to_stop_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut f = two_days();
    export(&f.generation(DAY + 30), dir.path(), &go_on()).unwrap();
    let (before, clean) = (manifest(dir.path()), files(dir.path()));
    f.report("h2", "dev", "c5", Status::Success, DAY + 31);
    let stop = go_on();
    stop.cancel();
    assert!(matches!(export(&f.generation(DAY + 32), dir.path(), &stop), Err(ExportError::Interrupted)));
    assert_eq!((manifest(dir.path()), files(dir.path())), (before, clean));
    assert!(export(&f.generation(DAY + 32), dir.path(), &go_on()).unwrap().days_written > 0);
}

#[test]
fn what_became_of_an_export_is_mended_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let f = two_days();
    let again = || export(&f.generation(DAY + 30), dir.path(), &go_on()).unwrap();
    again();
    let (whole, all) = (manifest(dir.path()), files(dir.path()));
    let contents = || -> Vec<Vec<u8>> { all.iter().map(|f| std::fs::read(dir.path().join(f)).unwrap()).collect() };
    let before = contents();
    assert_eq!(mend(dir.path(), &go_on()).unwrap(), 0);
    for table in ["transitions", "reconcilers"] {
        let file = whole.tables.iter().find(|t| t.name == table).map(|t| dir.path().join(&t.files[0].path)).unwrap();
        // A bit that turned, which no size tells.
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(mend(dir.path(), &go_on()).unwrap(), 1, "{table}");
        again();
        // Cut short, or gone.
        std::fs::write(&file, "half").unwrap();
        again();
        std::fs::remove_file(&file).unwrap();
        again();
        assert_eq!(mend(dir.path(), &go_on()).unwrap(), 0, "{table}");
    }
    std::fs::write(dir.path().join("manifest.json"), "{\"format\": \"koh-exp").unwrap();
    assert!(open_export(dir.path()).is_err());
    assert_eq!(mend(dir.path(), &go_on()).unwrap(), 0);
    again();
    let same = |a: &Exported, b: &Exported| assert_eq!((&a.tables, a.seq), (&b.tables, b.seq));
    same(&manifest(dir.path()), &whole);
    assert_eq!(files(dir.path()), all);
    assert!(contents().iter().zip(&before).zip(&all).all(|((a, b), f)| a == b || f.ends_with("manifest.json")));
}

#[test]
fn a_directory_without_an_export_and_a_newer_format_are_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open_export(dir.path()), Err(ExportError::Missing { .. })));
    std::fs::write(dir.path().join("manifest.json"), r#"{"format":"koh-export-9"}"#).unwrap();
    let refused = open_export(dir.path()).unwrap_err();
    assert!(matches!(refused, ExportError::Version { .. }), "{refused}");
}
