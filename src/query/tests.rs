//! Tests of the engine over a small catalog in memory.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use futures::TryStreamExt;
use serde_json::json;

use super::*;

/// A table of `rows` rows in batches of a thousand, split into three partitions.
#[derive(Debug)]
struct Hosts {
    name: &'static str,
    rows: usize,
    schema: SchemaRef,
}

impl Hosts {
    fn of(name: &'static str, rows: usize) -> Arc<dyn Table> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let status = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("host", DataType::Utf8, false),
            Field::new("status", status, false),
            Field::new("reported_at", time, false),
            Field::new("load", DataType::Float64, true),
        ]));
        Arc::new(Hosts { name, rows, schema })
    }
}

impl Table for Hosts {
    fn name(&self) -> &str {
        self.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn partitions(&self) -> usize {
        3
    }

    fn scan(&self, partition: usize, projection: &[usize]) -> Batches {
        let (rows, schema, projection) = (self.rows, Arc::clone(&self.schema), projection.to_vec());
        let batches = (0..rows.div_ceil(1000)).filter(move |batch| batch % 3 == partition).map(move |batch| {
            let ids = || (batch * 1000..rows.min(batch * 1000 + 1000)).map(|i| i as i64);
            let status: DictionaryArray<Int32Type> = ids().map(|i| ["success", "failure"][(i % 2) as usize]).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(ids())),
                Arc::new(ids().map(|i| Some(format!("host-{i}"))).collect::<StringArray>()),
                Arc::new(status),
                Arc::new(
                    TimestampMicrosecondArray::from_iter_values(ids().map(|i| i * 1_000_500)).with_timezone("UTC"),
                ),
                Arc::new(
                    ids()
                        .map(|i| (i > 0).then(|| if i == 1 { f64::NAN } else { i as f64 / 2.0 }))
                        .collect::<Float64Array>(),
                ),
            ];
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?.project(&projection)?)
        });
        Box::new(batches)
    }

    fn rows(&self) -> Option<usize> {
        Some(self.rows)
    }
}

fn catalog() -> Arc<Catalog> {
    let tables = vec![Hosts::of("hosts", 10), Hosts::of("many", 60_000)];
    let views = vec![
        ("failing".to_string(), "select id, host, status from hosts where status = 'failure'".to_string()),
        (
            "named".to_string(),
            "select f.host || '!' as host, h.load from failing f join hosts h on h.id = f.id".to_string(),
        ),
        ("broken".to_string(), "select nothing from nowhere".to_string()),
        ("circle".to_string(), "select * from circle".to_string()),
    ];
    Arc::new(Catalog::new(tables, views).with_system_tables(vec![Hosts::of("sources", 2)]))
}

fn engine() -> Engine {
    Engine::new(Limits::default()).unwrap()
}

async fn text_of(engine: &Engine, sql: &str, format: Format) -> Result<String, QueryError> {
    let output = engine.run(catalog(), Statement::new(sql), format).await?;
    let bytes: Vec<bytes::Bytes> = output.body.try_collect().await?;
    Ok(String::from_utf8(bytes.concat()).unwrap())
}

async fn json_of(engine: &Engine, sql: &str) -> serde_json::Value {
    serde_json::from_str(&text_of(engine, sql, Format::Json).await.unwrap()).unwrap()
}

async fn error_of(engine: &Engine, sql: &str) -> QueryError {
    text_of(engine, sql, Format::Json).await.unwrap_err()
}

#[tokio::test]
async fn json_is_a_bare_array_of_flat_objects_with_plain_types() {
    let rows = json_of(
        &engine(),
        "select id, host, status, reported_at, load, [id, 7] as pair from hosts order by id limit 3",
    )
    .await;
    assert_eq!(
        rows,
        json!([
            {"id": 0, "host": "host-0", "status": "success", "reported_at": "1970-01-01T00:00:00.000Z", "load": null, "pair": "[0,7]"},
            {"id": 1, "host": "host-1", "status": "failure", "reported_at": "1970-01-01T00:00:01.000Z", "load": null, "pair": "[1,7]"},
            {"id": 2, "host": "host-2", "status": "success", "reported_at": "1970-01-01T00:00:02.001Z", "load": 1.0, "pair": "[2,7]"},
        ])
    );
}

#[tokio::test]
async fn an_empty_answer_is_an_empty_array_or_a_header() {
    let engine = engine();
    assert_eq!(text_of(&engine, "select id from hosts where id < 0", Format::Json).await.unwrap(), "[]\n");
    assert_eq!(text_of(&engine, "select id, host from hosts where id < 0", Format::Csv).await.unwrap(), "id,host\r\n");
    assert_eq!(text_of(&engine, "select id from hosts where id < 0", Format::NdJson).await.unwrap(), "");
}

#[tokio::test]
async fn csv_quotes_what_needs_quotes_and_leaves_null_empty() {
    let text =
        text_of(&engine(), "select 'a\"b' as a, 'x,y' as b, null as c, '' as d, 1.5 as e", Format::Csv).await.unwrap();
    assert_eq!(text, "a,b,c,d,e\r\n\"a\"\"b\",\"x,y\",,\"\",1.5\r\n");
}

#[tokio::test]
async fn arrow_and_parquet_hold_all_rows_with_plain_strings() {
    use datafusion::arrow::ipc::reader::StreamReader;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let engine = engine();
    for format in [Format::Arrow, Format::Parquet] {
        let output = engine.run(catalog(), Statement::new("select * from many"), format).await.unwrap();
        assert_eq!(output.schema.field_with_name("status").unwrap().data_type(), &DataType::Utf8);
        let bytes: Vec<bytes::Bytes> = output.body.try_collect().await.unwrap();
        let bytes = bytes::Bytes::from(bytes.concat());
        let rows: usize = match format {
            Format::Arrow => StreamReader::try_new(&bytes[..], None).unwrap().map(|b| b.unwrap().num_rows()).sum(),
            _ => {
                let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
                reader.map(|b| b.unwrap().num_rows()).sum()
            }
        };
        assert_eq!(rows, 60_000);
    }
}

#[tokio::test]
async fn views_build_on_views_and_are_planned_only_when_named() {
    let engine = engine();
    let rows = json_of(&engine, "select host, load from named order by host limit 2").await;
    assert_eq!(rows, json!([{"host": "host-1!", "load": null}, {"host": "host-3!", "load": 1.5}]));
    assert!(error_of(&engine, "select * from broken").await.title.contains("nowhere"));
    assert_eq!(error_of(&engine, "select * from circle").await.title, "The view circle refers to itself");
}

#[tokio::test]
async fn names_can_be_looked_up() {
    let engine = engine();
    let good = Arc::new(Catalog::new(vec![Hosts::of("hosts", 10)], vec![("v".into(), "select id from hosts".into())]));
    let sql = "select table_name, table_type from information_schema.tables where table_schema = 'public' order by 1";
    let rows = engine.rows(Arc::clone(&good), Statement::new(sql)).await.unwrap();
    assert_eq!(rows.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    for sql in
        ["show tables", "describe v", "show columns from v", "explain select * from v", "select * from system.queries"]
    {
        let rows = engine.rows(Arc::clone(&good), Statement::new(sql)).await.unwrap();
        assert!(rows.batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 0, "{sql}");
    }
}

#[tokio::test]
async fn parameters_become_values_and_never_sql() {
    let engine = engine();
    let hostile = "x' or '1'='1";
    let run = |sql: &str, params: serde_json::Value| {
        let statement = Statement { sql: sql.into(), params: Params::from_json(params).unwrap() };
        engine.rows(catalog(), statement)
    };
    let count = |rows: Rows| rows.batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!(count(run("select 1 from hosts where host = $1", json!([hostile])).await.unwrap()), 0);
    assert_eq!(
        count(run("select 1 from hosts where id >= $from limit $n", json!({"from": -5, "n": 3})).await.unwrap()),
        3
    );
    assert_eq!(count(run("select 1 from hosts where load = $1 or $2", json!([1.5, false])).await.unwrap()), 1);
    let error = run("select $1", json!([])).await.unwrap_err();
    assert_eq!(error.title, "The parameter $1 has no value");
}

#[tokio::test]
async fn errors_teach_and_show_no_insides() {
    let engine = engine();
    let error = error_of(&engine, "select hots from hosts").await;
    assert_eq!((error.kind, error.title.as_str()), (ErrorKind::Invalid, "There is no column hots"));
    assert!(error.detail.starts_with("Did you mean host? Columns at this place: host"), "{}", error.detail);
    let error = error_of(&engine, "select * from hostz").await;
    assert_eq!(error.title, "There is no table or view hostz");
    assert!(error.detail.contains("Did you mean hosts?"), "{}", error.detail);
    for sql in [
        "selec 1",
        "select 1 +",
        "select nosuch(1)",
        "select 1/0 from hosts",
        "select cast('x' as int)",
        "select a.id, b.id from hosts a join hosts b on a.id = b.id",
        "select id from hosts a, hosts b",
        "select * from range(1, 10)",
        "select host + 1 from hosts",
        "select sum(host) from hosts",
        "select * from 'file:///etc/passwd'",
        "select id from hosts group by host",
        "select (select id from hosts)",
    ] {
        let error = error_of(&engine, sql).await;
        assert!(matches!(error.kind, ErrorKind::Invalid | ErrorKind::Refused), "{sql}: {error:?}");
        let text = format!("{} {}", error.title, error.detail);
        println!("{sql}\n    {text}");
        for inside in ["backtrace", "bug", "Utf8(", "DataFusion error", "src/", "::", "\n"] {
            assert!(!text.contains(inside), "{sql}: {text}");
        }
        assert!(error.title.len() <= 120 && error.title.is_ascii(), "{sql}: {}", error.title);
    }
}

#[tokio::test]
async fn json_over_its_rows_is_an_error_and_ndjson_streams() {
    let engine = engine();
    let error = error_of(&engine, "select * from many").await;
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.detail.contains("LIMIT"), "{}", error.detail);
    let text = text_of(&engine, "select * from many", Format::NdJson).await.unwrap();
    assert_eq!(text.lines().count(), 60_000);
}

#[tokio::test]
async fn a_failure_after_the_start_ends_the_body_with_an_error() {
    let engine = engine();
    let sql = "select id, host, reported_at, 1 / (id - 55000) as x from many";
    let output = engine.run(catalog(), Statement::new(sql), Format::NdJson).await.unwrap();
    assert!(!output.complete);
    let ended: Result<Vec<bytes::Bytes>, QueryError> = output.body.try_collect().await;
    assert_eq!(ended.unwrap_err().kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn too_many_statements_are_told_to_come_back_and_slots_return() {
    let limits = Limits { concurrency: 1, queue: 0, ..Limits::default() };
    let engine = Engine::new(limits).unwrap();
    let output =
        engine.run(catalog(), Statement::new("select * from many a order by host"), Format::NdJson).await.unwrap();
    assert_eq!(engine.usage().running, 1);
    let busy = engine.rows(catalog(), Statement::new("select 1")).await.unwrap_err();
    assert_eq!(busy.kind, ErrorKind::Busy);
    drop(output);
    while engine.usage().running > 0 {
        tokio::task::yield_now().await;
    }
    let idle = Usage { running: 0, waiting: 0, reserved: 0, reservable: Limits::default().total_memory };
    assert_eq!(engine.usage(), idle);
    engine.rows(catalog(), Statement::new("select 1")).await.unwrap();
}

#[tokio::test]
async fn windows_sorts_and_collections_work_within_bounds() {
    let engine = engine();
    let sql = "select host, row_number() over (partition by status order by id desc) as n, sum(id) over () as s from hosts order by id limit 1";
    assert_eq!(json_of(&engine, sql).await, json!([{"host": "host-0", "n": 5, "s": 45}]));
    let sql = "select status, string_agg(host, ',' order by host) as hosts, count(distinct id) as n from hosts where id < 4 group by status order by 1";
    let wanted = json!([{"status": "failure", "hosts": "host-1,host-3", "n": 2}, {"status": "success", "hosts": "host-0,host-2", "n": 2}]);
    assert_eq!(json_of(&engine, sql).await, wanted);
    assert_eq!(error_of(&engine, "select string_agg(host, ',') from many").await.kind, ErrorKind::TooLarge);
    assert_eq!(error_of(&engine, "select array_agg(host) over () from many").await.kind, ErrorKind::Refused);
    let sql = "select replace(host, 'host', 'h') as a, lpad('x', 3, '.') as b, repeat('ab', 2) as c, upper(host) as d, to_char(reported_at, '%Y') as e from hosts limit 1";
    assert_eq!(json_of(&engine, sql).await, json!([{"a": "h-0", "b": "..x", "c": "abab", "d": "HOST-0", "e": "1970"}]));
}

#[tokio::test]
async fn a_spilling_sort_gives_every_row_and_leaves_no_file() {
    let spill = tempfile::tempdir().unwrap();
    let limits =
        Limits { statement_memory: 6 * 1024 * 1024, spill: Some(spill.path().to_path_buf()), ..Limits::default() };
    let engine = Engine::new(limits).unwrap();
    let text = text_of(
        &engine,
        "select a.host, a.reported_at, b.host as other, a.load from many a join many b on a.id = b.id order by other desc, a.host",
        Format::Csv,
    );
    let outcome = text.await;
    match outcome {
        Ok(text) => assert_eq!(text.lines().count(), 60_001),
        Err(error) => assert_eq!(error.kind, ErrorKind::TooLarge, "{error:?}"),
    }
    while engine.usage().running > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn statements_about_a_large_fleet_may_take_more_memory() {
    let limits = Limits { statement_memory: 1 << 20, total_memory: 1 << 20, ..Limits::default() };
    let engine = Engine::new(limits).unwrap();
    let counted =
        || Statement::new("select host, count(distinct id) as n from many group by host order by host limit 9");
    let usual = engine.rows(catalog(), counted()).await;
    assert_eq!(usual.map(drop).map_err(|e| e.kind), Err(ErrorKind::TooLarge));
    assert_eq!(engine.usage().reservable, 1 << 20);
    let large = Arc::new(Catalog::new(vec![Hosts::of("many", 60_000)], Vec::new()).with_memory(64 << 20));
    assert_eq!(engine.rows(large, counted()).await.unwrap().batches[0].num_rows(), 9);
    assert_eq!(engine.usage().reservable, 64 << 20);
}
