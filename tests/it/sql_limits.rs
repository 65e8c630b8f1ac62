//! Hostile SQL, each statement in a process of its own: the process lives, answers, stays small, and the slot comes back.
//!
//! A test starts this very binary again with the statement's name in the environment; the child runs it against a table
//! of a million wide rows that is made up while it is read, and prints what happened.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use koh::query::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use koh::query::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use koh::query::{Batches, Catalog, Engine, ErrorKind, Format, Limits, Statement, Table};

const ATTACK: &str = "KOH_TEST_SQL_ATTACK";
const MIB: usize = 1024 * 1024;
/// Peak resident memory of the child: the engine's pools below, twice for what operators hold while they hand it on, and
/// the binary itself.
const MOST_MEMORY: usize = 320 * MIB;

#[derive(Debug)]
struct Wide {
    rows: usize,
    name: &'static str,
    schema: SchemaRef,
}

impl Wide {
    fn of(name: &'static str, rows: usize) -> Arc<dyn Table> {
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let number = |name: &str| Field::new(name, DataType::Int64, false);
        let schema = Schema::new(vec![number("id"), number("bucket"), text("host"), text("message"), text("name")]);
        Arc::new(Wide { rows, name, schema: Arc::new(schema) })
    }
}

impl Table for Wide {
    fn name(&self) -> &str {
        self.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        4
    }

    fn scan(&self, partition: usize, projection: &[usize]) -> Batches {
        let (rows, schema, projection) = (self.rows, Arc::clone(&self.schema), projection.to_vec());
        let chunk = 8192;
        let batches = (0..rows.div_ceil(chunk)).filter(move |b| b % 4 == partition).map(move |b| {
            let ids: Vec<i64> = (b * chunk..rows.min(b * chunk + chunk)).map(|i| i as i64).collect();
            let texts = |make: &dyn Fn(i64) -> String| -> ArrayRef {
                Arc::new(ids.iter().map(|i| Some(make(*i))).collect::<StringArray>())
            };
            let column = |c: &usize| -> ArrayRef {
                match c {
                    0 => Arc::new(Int64Array::from(ids.clone())),
                    1 => Arc::new(Int64Array::from_iter_values(ids.iter().map(|i| i % 7))),
                    2 => texts(&|i| format!("host-{i}.example.org")),
                    3 => texts(&|i| format!("message {i} {}", "lorem ipsum ".repeat(8))),
                    _ => texts(&|i| format!("n{i}")),
                }
            };
            let schema = Arc::new(schema.project(&projection)?);
            let options = koh::query::arrow::array::RecordBatchOptions::new().with_row_count(Some(ids.len()));
            Ok(RecordBatch::try_new_with_options(schema, projection.iter().map(column).collect(), &options)?)
        });
        Box::new(batches)
    }

    fn rows(&self) -> Option<usize> {
        Some(self.rows)
    }
}

fn catalog() -> Arc<Catalog> {
    let view = ("v".to_string(), "select id, host || '/' || name as full, message from big".to_string());
    Arc::new(Catalog::new(vec![Wide::of("big", 1_000_000), Wide::of("small", 9_000)], vec![view]))
}

/// The child's half: does nothing unless a test below started it.
#[test]
fn the_child_runs_the_statement_it_is_given() {
    let Ok(name) = std::env::var(ATTACK) else { return };
    // A name that is none is the statement itself, for trying things by hand.
    let (_, sql) = attacks().into_iter().find(|(n, _)| *n == name).unwrap_or(("given", name));
    let memory = std::env::var("KOH_TEST_SQL_MIB").map_or(48, |m| m.parse().unwrap()) * MIB;
    let spill = tempfile::tempdir().unwrap();
    let engine = Engine::new(Limits {
        timeout: Duration::from_secs(3),
        statement_memory: memory,
        total_memory: memory + 16 * MIB,
        spill: Some(spill.path().to_path_buf()),
        spill_bytes: 64 * MIB as u64,
        bytes: 32 * MIB,
        ..Limits::default()
    })
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let ended = async {
            let output = engine.run(catalog(), Statement::new(sql), Format::NdJson).await?;
            output.body.try_fold(0, |n, bytes| async move { Ok(n + bytes.len()) }).await
        };
        let ended = ended.await;
        engine.idle().await;
        let after =
            engine.rows(catalog(), Statement::new("select count(*) from small")).await.expect("the engine goes on");
        assert_eq!(after.batches.len(), 1);
        // Whoever held the last slot lets go of its files a moment later.
        engine.idle().await;
        while spilled(spill.path()) > 0 {
            tokio::task::yield_now().await;
        }
        match ended {
            Ok(bytes) => format!("answered {bytes} bytes"),
            Err(e) => format!("{:?}: {e}", e.kind),
        }
    });
    println!("PEAK={} OUTCOME={outcome}", peak());
}

/// Files below the spill directory; what vanishes meanwhile does not count.
fn spilled(directory: &std::path::Path) -> usize {
    let entries = |path: &std::path::Path| std::fs::read_dir(path).into_iter().flatten().flatten().collect::<Vec<_>>();
    entries(directory).iter().map(|entry| entries(&entry.path()).len()).sum()
}

/// Peak resident memory of this process in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Runs one statement in a child; gives the outcome.
fn outcome(name: &str) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sql_limits::the_child_runs_the_statement_it_is_given", "--nocapture", "--test-threads", "1"])
        .env(ATTACK, name)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout).to_string();
    let err = String::from_utf8_lossy(&child.stderr).to_string();
    assert!(child.status.success(), "{name}: the process died: {:?}\n{out}\n{err}", child.status);
    let line = out.lines().find(|l| l.contains("PEAK=")).unwrap_or_else(|| panic!("{name}: no outcome\n{out}\n{err}"));
    let line = &line[line.find("PEAK=").unwrap() + 5..];
    let (peak, outcome) = line.split_once(" OUTCOME=").unwrap();
    let peak: usize = peak.parse().unwrap();
    println!("{:>4} MiB  {name}: {outcome}", peak / MIB);
    assert!(peak < MOST_MEMORY, "{name}: {} MiB resident at the peak; {outcome}", peak / MIB);
    assert!(!outcome.starts_with("Internal"), "{name}: {outcome}");
    outcome.to_string()
}

/// `select x || x` and the like, level over level.
fn doubled(first: &str, step: &str, levels: usize) -> String {
    let mut sql = format!("with a0 as (select id, {first} as x from big)");
    for level in 1..=levels {
        sql += &format!(", a{level} as (select id, {step} as x from a{})", level - 1);
    }
    sql + &format!(" select max(x) from a{levels} where x > '1'")
}

/// Every statement here is refused or stopped; none is answered.
fn refused() -> Vec<(&'static str, String)> {
    let ctes = |n: usize| {
        let mut sql = "with c0 as (select id from small)".to_string();
        for i in 1..n {
            sql += &format!(", c{i} as (select a.id from c{0} a join c{0} b on a.id = b.id)", i - 1);
        }
        sql + &format!(" select count(*) from c{}", n - 1)
    };
    let columns = |n: usize, f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<Vec<_>>().join(", ");
    vec![
        ("plus", format!("select 1{}", "+1".repeat(3_000))),
        ("ors", format!("select 1 from small where id = 0{}", " or id = 1".repeat(5_000))),
        ("unions", format!("select 1{}", " union all select 1".repeat(3_000))),
        ("parentheses", format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000))),
        ("nots", format!("select {} true", "not ".repeat(10_000))),
        ("minuses", format!("select {} 1", "- ".repeat(10_000))),
        ("cases", format!("select {}1", "case when true then ".repeat(3_000))),
        ("casts", format!("select 1{}", "::int".repeat(10_000))),
        ("subscripts", format!("select [1]{}", "[1]".repeat(10_000))),
        ("explains", format!("{} select 1", "explain ".repeat(5_000))),
        ("many_tables", format!("select count(*) from small{}", ", small".repeat(3_000))),
        ("subqueries", format!("{}select 1{}", "select * from (".repeat(3_000), ")".repeat(3_000))),
        ("repeat", "select repeat('a', 2000000000)".into()),
        ("repeat_of_rows", "select sum(length(repeat(message, id))) from big".into()),
        ("lpad", "select lpad('a', 2000000000, 'b')".into()),
        ("rpad", "select length(rpad(host, 2000000000)) from big".into()),
        ("range", "select * from range(0, 2000000000)".into()),
        ("generate_series", "select unnest(generate_series(1, 2000000000))".into()),
        ("array_repeat", "select array_repeat(1, 2000000000)".into()),
        ("array_resize", "select array_resize([1], 2000000000, 1)".into()),
        ("recursive", "with recursive t as (select 1 as n union all select n + 1 from t) select count(*) from t".into()),
        ("file", "select * from '/etc/passwd'".into()),
        ("url", "select * from \"http://127.0.0.1:9/x.parquet\"".into()),
        ("read_csv", "select * from read_csv('/etc/passwd')".into()),
        ("copy", "copy (select 1) to '/tmp/never-written.csv'".into()),
        ("external", "create external table t stored as csv location '/etc/passwd'".into()),
        ("create", "create table t as select 1".into()),
        ("set", "set datafusion.execution.batch_size = 1".into()),
        ("two", "select 1; drop table big".into()),
        ("cross_three", "select sum(a.id + b.id + c.id) from big a, big b, big c".into()),
        ("inequality", "select count(*) from big a join big b on a.id < b.id".into()),
        ("cross_through_views", "select sum(length(a.message || b.message)) from v a, v b".into()),
        ("cross_sorted", "select a.message, b.message as other from small a cross join (select * from small limit 9000) b order by a.message || b.message".into()),
        ("hash_blowup", "select a.message, b.message as other from big a join big b on a.bucket = b.bucket order by 1, 2".into()),
        ("never_ends", "select sum(a.id % 3 + b.id % 5) from (select * from big where id < 200000) a join big b on a.bucket = b.bucket".into()),
        ("constant_key", "select max(a.message) from big a join big b on a.bucket * 0 = b.bucket * 0".into()),
        ("group_everything", "select message, host, name, count(*) from big group by message, host, name".into()),
        ("distinct_everything", "select count(distinct message), count(distinct host), count(distinct name) from big".into()),
        ("collect", "select array_agg(message) from big".into()),
        ("collect_text", "select string_agg(message, ',') from big".into()),
        ("collect_windows", "select string_agg(message, ',') over (order by id) from big".into()),
        ("window_everything", "select sum(id) over (), message, host from big".into()),
        ("window_cross", "select sum(a.id) over () as s, a.message, b.message as other from small a cross join (select * from small limit 9000) b".into()),
        ("doubled_operator", doubled("message", "x || x", 30)),
        ("doubled_concat", doubled("message", "concat(x, x)", 30)),
        ("doubled_concat_ws", doubled("message", "concat_ws(x, x, x)", 30)),
        ("doubled_replace", doubled("message", "replace(x, 'o', x)", 12)),
        ("doubled_overlay", doubled("message", "overlay(x placing x from 1 for 0)", 30)),
        ("doubled_translate", doubled("message", "concat(translate(x, 'o', '💥'), x)", 30)),
        ("doubled_regexp", doubled("message", "regexp_replace(x, '.', 'aaaaaaaaaa', 'g')", 12)),
        ("doubled_lists", doubled("'a'", "array_to_string([x, x, x, x], x)", 20)),
        ("doubled_expression", doubled("id", "x + x + x", 30)),
        ("doubled_tables", ctes(20)),
        ("doubled_struct", doubled("message", "named_struct('a', x, 'b', x)", 30)),
        ("pattern_per_row", "select count(*) from big where regexp_like(message, concat('(a{1,900}){1,9}', host))".into()),
        ("pattern_operator_per_row", "select count(*) from big where message ~ host".into()),
        ("like_per_row", "select count(*) from big where message like host".into()),
        ("pattern_bomb", "select count(*) from big where regexp_like(message, '((a{1,1000}){1,1000}){1,1000}')".into()),
        ("cube", "select count(*) from big group by cube(id, bucket, host, message, name)".into()),
        ("rollups", "select count(*) from big group by rollup(id, host), rollup(name, message), rollup(bucket)".into()),
        ("sketches", format!("select {} from big group by id", columns(50, &|i| format!("approx_distinct(id + {i})")))),
        ("wide", format!("select {} from small", columns(3_000, &|i| format!("{i} as c{i}")))),
        ("literal", format!("select '{}' from big", "x".repeat(60_000))),
        ("cast_to_type", "select arrow_cast('a', 'FixedSizeBinary(2000000000)')".into()),
        ("levenshtein", "select sum(levenshtein(a.message, b.message)) from big a join big b on a.id = b.id".into()),
        ("joined_then_collected", "select a.id % 5000 as g, string_agg(a.message || b.message || b.host, ',') from big a join big b on a.id = b.id group by 1".into()),
        ("joined_then_listed", "select a.id % 5000 as g, array_agg(a.message || b.message) from big a join big b on a.id = b.id group by 1".into()),
        ("collected_different", "select bucket, string_agg(distinct message, ',') from big group by bucket".into()),
        ("not_in", "select count(*) from big where message not in (select message from big where id % 2 = 0)".into()),
        ("outer_join_through_views", "select count(*) from v a full outer join v b on a.message = b.full".into()),
        ("like_through_views", "select count(*) from v a join v b on a.full like b.full || '%'".into()),
        ("replaced_everywhere", "select max(length(regexp_replace(message, '(.)', '\\1\\1\\1\\1', 'g'))) from big".into()),
        ("explain_analyze", "explain analyze select count(*) from big a, big b".into()),
    ]
}

/// Every statement here is big and harmless, or is stopped: both are right, as long as the process stays small.
fn endured() -> Vec<(&'static str, String)> {
    let columns = |n: usize, f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<Vec<_>>().join(", ");
    let long = "x".repeat(8_000);
    vec![
        (
            "long_literals",
            format!(
                "with l as (select id, '{long}' as t from big) select {} from l",
                columns(60, &|i| format!("t as t{i}"))
            ),
        ),
        ("long_texts_sorted", format!("select host || '{}' as t, message from big order by t", "y".repeat(4_000))),
        (
            "collected_crossed",
            format!(
                "select big.id, {} from big cross join (select string_agg(host, ',') as t from (select host from small limit 2500)) s order by big.message",
                columns(10, &|i| format!("t as t{i}"))
            ),
        ),
        (
            "many_aggregates",
            format!(
                "select host, {} from big group by host",
                columns(100, &|i| format!("first_value(message order by id + {i})"))
            ),
        ),
        ("unnested", "select count(*), max(x) from (select unnest(string_to_array(message, '')) as x from big)".into()),
        (
            "window_of_rows",
            "select max(n) from (select row_number() over (partition by bucket order by message desc) as n from big)"
                .into(),
        ),
        (
            "lagging",
            "select count(*) from (select lag(message, 100000) over (order by id) as m from big) where m is not null"
                .into(),
        ),
        ("sorted", "select message, host, name, id from big order by message desc, host".into()),
        ("hundred_million_pairs", "select count(*) from small a join small b on a.message > b.message".into()),
        (
            "pattern_on_every_row",
            "select count(*) from big where regexp_like(message, '(.*)(lorem|ipsum){2,5}x')".into(),
        ),
        (
            "distinct_and_others",
            "select host, count(distinct message) a, avg(id) b, median(id) c, stddev(id) d from big group by host"
                .into(),
        ),
        ("collected_by_group", "select host, array_agg(message order by id) a from big group by host".into()),
        (
            "grouping_sets",
            format!(
                "select count(*) from big group by grouping sets ({})",
                columns(200, &|i| ["(host)", "(name)", "(host, message)", "(id)"][i % 4].to_string())
            ),
        ),
        ("many_collected", "select id % 15000 as g, string_agg(message, ',') from big group by 1".into()),
        ("many_listed", "select id % 15000 as g, array_agg(message order by host desc) from big group by 1".into()),
        ("many_listed_different", "select id % 15000 as g, array_agg(distinct message) from big group by 1".into()),
        ("wide_distinct", "select count(*) from (select distinct message, host || message || name as w from big)".into()),
        ("intersection", "select message, host from big intersect select message, host from big".into()),
        (
            "window_of_every_row",
            "select max(c) from (select count(*) over (partition by message order by host rows between unbounded preceding and unbounded following) c from big)".into(),
        ),
        (
            "unnested_lists",
            "select count(*) from (select unnest(a) from (select array_agg(id) a from small group by bucket))".into(),
        ),
        ("functions", "show functions".into()),
        ("hard_pattern", "select count(*) from big where regexp_like(message, '(?:[a-z ]{0,90}){0,40}y$')".into()),
        ("count_of_pairs", "select count(*) from big a, big b, big c".into()),
        ("median", "select median(id), percentile_cont(0.9) within group (order by id) from big".into()),
        ("replaced", "select max(length(replace(message, 'lorem', 'dolor sit amet'))) from big".into()),
    ]
}

fn attacks() -> Vec<(&'static str, String)> {
    refused().into_iter().chain(endured()).collect()
}

/// A third of the list each, so that two processors have something to do.
fn third(n: usize) {
    let names = refused().into_iter().map(|(name, _)| name).enumerate().filter(|(i, _)| i % 3 == n);
    for (_, name) in names {
        let outcome = outcome(name);
        let kinds = [ErrorKind::Invalid, ErrorKind::Refused, ErrorKind::TooLarge, ErrorKind::Timeout];
        assert!(kinds.iter().any(|kind| outcome.starts_with(&format!("{kind:?}"))), "{name}: {outcome}");
    }
}

#[test]
fn hostile_statements_are_refused_or_stopped_and_the_process_stays_small_first_third() {
    third(0);
}

#[test]
fn hostile_statements_are_refused_or_stopped_and_the_process_stays_small_second_third() {
    third(1);
}

#[test]
fn hostile_statements_are_refused_or_stopped_and_the_process_stays_small_last_third() {
    third(2);
}

#[test]
fn heavy_statements_are_answered_or_stopped_and_the_process_stays_small() {
    for (name, _) in endured() {
        let outcome = outcome(name);
        assert!(!outcome.starts_with("Invalid"), "{name}: {outcome}");
    }
}
