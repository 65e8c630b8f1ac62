//! Families about the hub: ledger, generations, exports, engines, gate and sources.

use std::fmt;

use super::catalogue::*;
use super::exposition::{Exposition, Labels, Value};
use crate::model::Micros;
use crate::runtime::{Engine, Hub, Vitals};
use crate::sources::kubernetes::Health;

/// What becomes of a statement, in the order of [`crate::runtime::Vitals`].
const OUTCOMES: [&str; 3] = ["accepted", "unchanged", "rejected"];

const ENGINES: [(&str, Engine); 2] = [("rows", Engine::Rows), ("sql", Engine::Sql)];

pub(super) fn expose(hub: &Hub, vitals: &Vitals, out: &mut Exposition<'_>) -> fmt::Result {
    sources(vitals, out)?;
    ledger(hub, vitals, out)?;
    snapshots(hub, vitals, out)?;
    disk(hub, vitals, out)?;
    backups(hub, out)?;
    engines(hub, out)?;
    let files = hub.refused_files().all();
    out.family(&FILE_REFUSED, files.into_iter().map(|(what, refused)| (labels([what]), number(usize::from(refused)))))?;
    let (waiting, questions, evaluations) = vitals.gate;
    out.one(&WAITERS, number(waiting))?;
    out.one(&QUESTIONS, number(questions))?;
    out.one(&EVALUATIONS, Value::Count(evaluations))
}

fn sources(vitals: &Vitals, out: &mut Exposition<'_>) -> fmt::Result {
    let sources = || vitals.sources.iter();
    let statements = sources().flat_map(|((source, kind), said)| {
        let outcomes = OUTCOMES.into_iter().zip(said.statements);
        outcomes.map(move |(outcome, n)| (labels([source, kind, outcome]), Value::Count(n)))
    });
    out.family(&STATEMENTS, statements)?;
    let heard = sources().filter_map(|((source, kind), s)| Some((labels([source, kind]), time(s.heard_at?))));
    out.family(&SOURCE_HEARD, heard)?;
    let failed = sources().filter_map(|((source, kind), s)| Some((labels([source, kind]), time(s.failed_at?))));
    out.family(&SOURCE_FAILED, failed)?;
    let watches = || vitals.watches.iter();
    let states = watches().flat_map(|((source, object), watch)| {
        let is = |state: &str| Value::Gauge(f64::from(u8::from(state == watch.state)));
        Health::WORDS.into_iter().map(move |state| (labels([source, object, state]), is(state)))
    });
    out.family(&WATCH_STATE, states)?;
    out.family(&WATCH_SINCE, watches().map(|((source, object), w)| (labels([source, object]), time(w.since))))?;
    out.one(&UNHEARD, number(vitals.unheard))
}

fn ledger(hub: &Hub, vitals: &Vitals, out: &mut Exposition<'_>) -> fmt::Result {
    let stats = hub.ledger_stats();
    let (checkpoint, written_at) = stats.checkpoint();
    out.one(&SEQUENCE, sequence(vitals.seq))?;
    out.one(&READ_ONLY, number(usize::from(vitals.trouble.is_some())))?;
    out.one(&GROUPS, Value::Count(stats.groups.get()))?;
    out.one(&JOURNAL_BYTES, Value::Count(stats.bytes.get()))?;
    out.one(&COMMITS, Value::Histogram(&stats.commits))?;
    out.one(&CHECKPOINT_SEQUENCE, sequence(checkpoint))?;
    out.known(&CHECKPOINT_TIME, written_at.map(seconds))?;
    out.one(&QUEUE, number(vitals.queue.0))?;
    out.one(&QUEUE_MOST, number(vitals.queue.1))
}

fn snapshots(hub: &Hub, vitals: &Vitals, out: &mut Exposition<'_>) -> fmt::Result {
    out.one(&GENERATION_SEQUENCE, sequence(vitals.generation.0))?;
    out.one(&GENERATION_TIME, time(vitals.generation.1))?;
    out.known(&EXPORT_SEQUENCE, vitals.export.map(|(seq, _)| seq as f64))?;
    out.known(&EXPORT_TIME, vitals.export.map(|(_, at)| seconds(at)))?;
    out.one(&EXPORTS, Value::Histogram(&hub.exports().durations))?;
    out.one(&EXPORT_FAILURES, Value::Count(hub.exports().failures.get()))
}

fn disk(hub: &Hub, vitals: &Vitals, out: &mut Exposition<'_>) -> fmt::Result {
    let disk = hub.disk();
    let parts = disk.iter().flat_map(|d| [("ledger", d.ledger), ("export", d.export), ("archive", d.archive.bytes)]);
    out.family(&DATA_SIZE, parts.map(|(part, bytes)| (labels([part]), Value::Gauge(bytes as f64))))?;
    let volume = disk.and_then(|d| d.volume);
    out.known(&VOLUME_SIZE, volume.map(|(size, _)| size as f64))?;
    out.known(&VOLUME_FREE, volume.map(|(_, free)| free as f64))?;
    out.known(&KEPT_SINCE, (vitals.kept_since > Micros::MIN).then(|| seconds(vitals.kept_since)))?;
    let archive = disk.map(|d| d.archive).unwrap_or_default();
    out.one(&ARCHIVE_FILES, number(archive.files))?;
    out.one(&ARCHIVE_ROWS, Value::Gauge(archive.rows as f64))?;
    out.one(&ARCHIVE_LOST, number(usize::from(hub.rounds().archive_is_lost())))?;
    out.one(&RETENTION, Value::Histogram(&hub.rounds().durations))?;
    out.one(&RETENTION_FAILURES, Value::Count(hub.rounds().failures.get()))
}

fn backups(hub: &Hub, out: &mut Exposition<'_>) -> fmt::Result {
    let (backups, newest) = (hub.backups(), hub.backups().newest());
    out.known(&BACKUP_TIME, newest.map(|(at, _)| seconds(at)))?;
    out.known(&BACKUP_SIZE, newest.map(|(_, bytes)| bytes as f64))?;
    out.one(&BACKUPS, Value::Histogram(&backups.durations))?;
    out.one(&BACKUP_FAILURES, Value::Count(backups.failures.get()))
}

fn engines(hub: &Hub, out: &mut Exposition<'_>) -> fmt::Result {
    let engines = || ENGINES.into_iter().map(|(name, which)| (name, hub.engine(which)));
    let outcomes = engines().flat_map(|(name, engine)| {
        engine.tally().outcomes().map(move |(outcome, n)| (labels([name, outcome]), Value::Count(n)))
    });
    out.family(&QUERIES, outcomes)?;
    out.family(&QUERIES_RUNNING, engines().map(|(name, e)| (labels([name]), number(e.usage().running))))?;
    out.family(&QUERIES_WAITING, engines().map(|(name, e)| (labels([name]), number(e.usage().waiting))))?;
    out.family(&QUERY_DURATION, engines().map(|(name, e)| (labels([name]), Value::Histogram(&e.tally().durations))))?;
    out.family(&QUERY_MEMORY, engines().map(|(name, e)| (labels([name]), number(e.usage().reserved))))?;
    out.family(&QUERY_MEMORY_MOST, engines().map(|(name, e)| (labels([name]), number(e.usage().reservable))))
}

fn labels<'a, const N: usize>(values: [&'a str; N]) -> Labels<'a> {
    values.into_iter().map(Into::into).collect()
}

fn number(n: usize) -> Value<'static> {
    Value::Gauge(n as f64)
}

fn sequence(n: u64) -> Value<'static> {
    Value::Gauge(n as f64)
}

fn time(at: Micros) -> Value<'static> {
    Value::Gauge(seconds(at))
}

fn seconds(at: Micros) -> f64 {
    at.0 as f64 / 1e6
}
