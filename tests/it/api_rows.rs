//! Lists, views and SQL over HTTP: filters, pages, formats, parameters.

use serde_json::{Value, json};

use koh::snapshot::schema::SYSTEM;

use crate::hub::{TestHub, commit, descriptor, report};

/// Two environments, three hosts.
fn fleet() -> TestHub {
    let hub = TestHub::spawn();
    hub.push(&[descriptor("dev", "1.1.0", &commit('b')), descriptor("prod", "1.0.0", &commit('a'))].join("\n"));
    let reports = [
        report("h1", "dev", &commit('b'), "success"),
        report("h2", "dev", &commit('b'), "failure"),
        report("h3", "prod", &commit('a'), "success"),
    ];
    let answer = hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    hub
}

fn column(rows: &[Value], name: &str) -> Vec<String> {
    rows.iter().map(|r| r[name].as_str().unwrap_or("null").to_owned()).collect()
}

#[test]
fn every_list_and_view_answers_rows_and_one_row_by_its_id() {
    let hub = fleet();
    let lists = [
        ("workspaces", "workspace_id", 1),
        ("applications", "application_id", 1),
        ("workloads", "workload_id", 1),
        ("environments", "environment_id", 2),
        ("deployment-targets", "deployment_target_id", 2),
        ("workload-versions", "workload_version_id", 2),
        ("assignments", "assignment_id", 2),
        ("hosts", "host_id", 3),
        ("reconcilers", "reconciler_id", 3),
        ("deployments", "deployment_id", 3),
        ("transitions", "transition_id", 3),
    ];
    for (list, id, count) in lists {
        let rows = hub.get(&format!("/api/v1/{list}?fresh=true")).rows();
        assert_eq!(rows.len(), count, "{list}");
        let one = hub.get(&format!("/api/v1/{list}/{}", rows[0][id].as_str().unwrap()));
        assert_eq!(one.status, 200, "{list}: {}", one.text());
        assert_eq!(one.json(), rows[0], "{list}");
    }
    assert_eq!(hub.get("/api/v1/hosts/h2").json()["host"], "h2");
    for view in ["environment-state", "host-state", "environment-history", "environment-discrepancies", "drift"] {
        assert!(!hub.get(&format!("/api/v1/views/{view}")).rows().is_empty(), "{view}");
    }
    assert_eq!(hub.get("/api/v1/rollouts").rows().len(), 2);
    assert_eq!(hub.get("/api/v1/promotions").rows().len(), 2);
}

#[test]
fn promotions_tell_where_a_commit_of_main_is_on_its_way() {
    let hub = TestHub::spawn();
    let source = "5a".repeat(20);
    let built = |environment: &str, version: &str, source: &str, at: &str| {
        let mut resource: Value = serde_json::from_str(&descriptor(environment, version, &commit('a'))).unwrap();
        resource["spec"]["workloadVersion"]["commit"] = json!(source);
        resource["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!(format!("2026-01-01T{at}Z"));
        resource.to_string()
    };
    let said = [
        built("dev", "1.0.0", &source, "10:00:00.123456"),
        built("stage", "1.0.0", &source, "10:00:00.123456"),
        built("prod", "1.0.0", &source, "11:00:00.5"),
        built("test", "1.1.0", &commit('9'), "11:00:00.25"),
    ];
    hub.push(&said.join("\n"));
    let said = report("h1", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", said).status, 200);
    let environments = |query: &str| {
        column(&hub.get(&format!("/api/v1/promotions?fresh=true&{query}")).rows(), "environment").join(" ")
    };
    assert_eq!(environments(""), "prod test stage dev", "the newest first, then from z to a");
    assert_eq!(environments(&format!("source_commit={source}")), "prod stage dev");
    assert_eq!(environments(&format!("source_commit=main@sha1:{}", source.to_uppercase())), "prod stage dev");
    assert_eq!(environments("version=1.1.0"), "test");
    assert_eq!(environments("verdict=complete&workload=web"), "dev");
    assert_eq!(environments("from=2026-01-01T10:30:00Z&to=2026-01-01T11:00:00.5Z"), "test");
    let row = &hub.get("/api/v1/promotions?environment=dev").rows()[0];
    assert_eq!(row["assigned_at"], "2026-01-01T10:00:00.123Z");
    assert!(row["lead_seconds"].as_i64().unwrap() > 0, "{row}");
    let (mut path, mut paged) = ("/api/v1/promotions?limit=1".to_owned(), Vec::new());
    loop {
        let page = hub.get(&path);
        paged.extend(column(&page.rows(), "environment"));
        let Some(link) = page.header("link") else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(paged.join(" "), "prod test stage dev");
    hub.get("/api/v1/promotions?verdict=complete&colour=red").problem(400);
}

#[test]
fn filters_take_lists_in_every_spelling_and_hostile_values_as_values() {
    let hub = fleet();
    let hosts = |query: &str| column(&hub.get(&format!("/api/v1/views/host-state?fresh=true&{query}")).rows(), "host");
    assert_eq!(hosts("environment=dev"), ["h1", "h2"]);
    assert_eq!(hosts("environment=dev&environment=prod&status=success"), ["h1", "h3"]);
    assert_eq!(hosts("environment=%5B%22prod%22,%22none%22%5D"), ["h3"]);
    assert_eq!(hosts("host=h1,h3"), ["h1", "h3"]);
    assert_eq!(hosts("host=*&environment=&status=All").len(), 3);
    assert_eq!(hosts(&format!("commit=dev@sha1:{}", commit('b'))), ["h1", "h2"]);
    assert_eq!(hosts(&format!("attempted_commit={}", commit('B'))), ["h1", "h2"]);
    assert!(hosts("host=x'%3B+drop+table+hosts%3B--").is_empty());
    assert_eq!(hosts("rolled_back=true").len(), 0);
    hub.get("/api/v1/views/host-state?rolled_back=maybe").problem(400);
}

#[test]
fn a_question_about_a_few_hosts_is_answered_like_one_about_all() {
    let hub = fleet();
    let expects = r#"{"name":"h4","contact":"ops","labels":{"ring":"a","region":"eu"}}"#;
    assert_eq!(hub.post("/api/v1/ingest/hosts", "application/x-ndjson", expects).status, 200);
    let elsewhere =
        report("h3", "nowhere", &commit('c'), "in_progress").replace(r#""reconciler":"web""#, r#""reconciler":"api""#);
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", elsewhere).status, 200);
    for path in ["views/host-state", "hosts", "reconcilers"] {
        let all = hub.get(&format!("/api/v1/{path}?fresh=true")).rows();
        assert_eq!(all.len(), 4, "{path}: {all:?}");
        // A filter that every row passes, and which keeps the question from being about a few hosts only.
        let everybody: Vec<String> = (0..60).map(|n| format!("h{n}")).collect();
        assert_eq!(hub.get(&format!("/api/v1/{path}?host={}", everybody.join(","))).rows(), all, "{path}");
        assert_eq!(hub.get(&format!("/api/v1/{path}?host=h4,h3,h2,h1,nobody")).rows(), all, "{path}");
        for host in ["h1", "h2", "h3", "h4", "h5"] {
            let own: Vec<Value> = all.iter().filter(|r| r["host"] == host).cloned().collect();
            assert_eq!(hub.get(&format!("/api/v1/{path}?host={host}")).rows(), own, "{path} of {host}");
        }
        let first = hub.get(&format!("/api/v1/{path}?host=h1,h2,h3,h4&limit=2"));
        assert_eq!(first.rows(), all[..2], "{path}");
    }
    let next = hub.get("/api/v1/hosts?host=h1,h2,h3,h4&limit=3").header("link").unwrap().to_owned();
    let path = next.trim_start_matches('<').split('>').next().unwrap().to_owned();
    assert_eq!(column(&hub.get(&path).rows(), "host"), ["h4"]);
    let of_h3 = |filter: &str| hub.get(&format!("/api/v1/views/host-state?host=h3&{filter}")).rows().len();
    assert_eq!((of_h3("environment=null"), of_h3("environment=prod"), of_h3("environment=dev")), (1, 1, 0));
    assert_eq!((of_h3("rolled_back=false"), of_h3("rolled_back=true"), of_h3("status=failure,in_progress")), (2, 0, 1));
}

#[test]
fn a_selector_is_shown_with_the_host_and_what_it_selects_among_the_expectations() {
    let hub = fleet();
    let hosts = |text: &str| hub.post("/api/v1/ingest/hosts", "application/json", text);
    let h9 = r#"{"name":"h9","expects_selector":{"match_expressions":[{"key":"hub.kalypso.io/environment","operator":"In","values":["prod","dev"]}]}}"#;
    assert_eq!(hosts(h9).json()["accepted"], 1);
    assert_eq!(hosts(h9).json()["unchanged"], 1);
    let shown = hub.get("/api/v1/hosts?fresh=true&host=h9").rows().remove(0);
    assert_eq!(
        shown["expects_selector"],
        r#"{"matchExpressions":[{"key":"hub.kalypso.io/environment","operator":"In","values":["dev","prod"]}]}"#
    );
    let rows = hub.get("/api/v1/views/drift?drift=missing&host=h9").rows();
    assert_eq!(column(&rows, "environment"), ["dev", "prod"]);
    let refused = hosts(&h9.replace("\"In\"", "\"Like\""));
    refused.problem(400);
    let item = &refused.json()["items"][0];
    assert_eq!(item["title"], "expectsSelector.matchExpressions[0].operator is `Like`");
    assert!(item["detail"].as_str().unwrap().contains("Exists and DoesNotExist without"), "{item}");
}

#[test]
fn pages_follow_each_other_without_gaps_and_a_cursor_is_no_use_elsewhere() {
    let hub = TestHub::spawn();
    let lines: Vec<String> = (0..25).map(|n| report(&format!("h{n:02}"), "dev", &commit('a'), "success")).collect();
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n")).status, 200);
    for list in ["hosts", "transitions", "deployments"] {
        let whole = column(&hub.get(&format!("/api/v1/{list}?fresh=true")).rows(), "host");
        let mut paged = Vec::new();
        let mut path = format!("/api/v1/{list}?limit=7");
        loop {
            let page = hub.get(&path);
            paged.extend(column(&page.rows(), "host"));
            let Some(link) = page.header("link") else { break };
            path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
        }
        assert_eq!((paged.len(), &paged), (25, &whole), "{list}");
        let elsewhere = path.replace(list, "environments");
        hub.get(&elsewhere).problem(400);
    }
    assert!(hub.get("/api/v1/hosts?limit=5001").problem(400).contains("from 1 to 5000"));
    let cut = hub.get("/api/v1/views/host-state?limit=10");
    assert_eq!((cut.rows().len(), cut.header("x-kalypso-truncated")), (10, Some("true")));
}

#[test]
fn sql_comes_as_query_text_json_and_form_and_leaves_in_the_format_asked_for() {
    let hub = fleet();
    let count = |rows: Vec<Value>| rows[0]["n"].clone();
    assert_eq!(count(hub.get("/api/v1/sql?fresh=true&q=SELECT+count(*)+AS+n+FROM+hosts").rows()), json!(3));
    let path = "/api/v1/sql";
    let text = "SELECT count(*) AS n FROM host_state WHERE environment = 'dev'";
    for kind in ["text/plain", "application/sql; charset=utf-8"] {
        assert_eq!(count(hub.post(path, kind, text).rows()), json!(2));
    }
    let body = json!({"sql": "SELECT count(*) AS n FROM hosts WHERE host = $1 OR host = $2", "params": ["h1", "h3"]});
    assert_eq!(count(hub.post(path, "application/json", body.to_string()).rows()), json!(2));
    let form = "sql=SELECT+count(*)+AS+n+FROM+hosts+WHERE+host+%3D+%24p_host&p_host=h1";
    assert_eq!(count(hub.post(path, "application/x-www-form-urlencoded", form).rows()), json!(1));
    let csv = hub.ask("POST", path, &[("accept", "text/csv"), ("content-type", "text/plain")], text.as_bytes());
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    assert_eq!(csv.text().lines().collect::<Vec<_>>(), ["n", "2"]);
    let arrow = hub.post("/api/v1/sql?format=arrow", "text/plain", text);
    assert_eq!(arrow.header("content-type"), Some("application/vnd.apache.arrow.stream"));
    let parquet = hub.post("/api/v1/sql?format=parquet", "text/plain", text);
    assert_eq!(parquet.body[..4], *b"PAR1");
    for write in ["DROP TABLE hosts", "INSERT INTO hosts VALUES (1)", "SELECT 1; SELECT 2", "COPY hosts TO '/tmp/x'"] {
        let refused = hub.post(path, "text/plain", write);
        assert!((400..500).contains(&refused.status), "{write}: {}", refused.text());
        refused.problem(refused.status);
    }
}

#[test]
fn a_write_is_read_back_by_its_sequence() {
    let hub = TestHub::spawn();
    let taken = hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    let rows = hub.get(&format!("/api/v1/workloads?min_seq={}", taken["seq"])).rows();
    assert_eq!(column(&rows, "workload"), ["web"]);
    hub.get("/api/v1/workloads?min_seq=soon").problem(400);
    hub.get("/api/v1/workloads?min_seq=1-99").problem(410);
}

#[test]
fn the_gate_and_the_older_endpoint_answer_over_the_state_of_now() {
    let hub = fleet();
    let status = |query: &str| hub.get(&format!("/api/v1/rollouts/status?{query}")).json();
    assert_eq!(status("environment=prod&workload=web&version=1.0.0")["verdict"], "complete");
    let failed = status("environment=dev&workload=web&version=1.1.0");
    assert_eq!(failed["verdict"], "failed");
    assert_eq!(failed["freshness"]["text"], "2 of 2 heard from in the last 5 min");
    assert_eq!(column(failed["hosts"].as_array().unwrap(), "host"), ["h2"]);
    // Everybody is behind a version that nobody has; those alike come by their names.
    hub.push(&descriptor("dev", "1.2.0", &commit('d')));
    let behind = status("environment=dev&workload=web&version=1.2.0");
    assert_eq!(column(behind["hosts"].as_array().unwrap(), "host"), ["h1", "h2"]);
    assert_eq!(column(behind["hosts"].as_array().unwrap(), "bucket"), ["behind", "behind"]);
    assert_eq!(status("environment=dev&workload=web&version=9")["verdict"], "unknown_commit");
    assert_eq!(status("environment=mars&workload=web&version=9")["verdict"], "no_targets");
    let asked = json!({"manifests_endpoint": "https://git.example/shop/gitops/dev/./web", "commit_id": commit('b')});
    let answer = hub.post("/deployment_state", "application/json", asked.to_string()).json();
    assert_eq!(answer["total_subscribers"], 2);
    assert_eq!(answer["total_failed_subscribers"], 1);
    let bad = hub.post("/deployment_state", "application/json", "{}");
    assert_eq!(bad.status, 400);
    assert!(bad.json()["error"].is_string());
}

/// The rows of a statement that sees everything acknowledged.
fn asked(hub: &TestHub, sql: &str) -> Vec<Value> {
    let answer = hub.post("/api/v1/sql?fresh=true", "text/plain", sql);
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer.rows()
}

#[test]
fn a_transition_has_an_id_and_a_sequence_of_its_own_in_order_of_receipt() {
    let hub = TestHub::spawn();
    let lines: Vec<String> = (0..40).map(|n| report(&format!("h{n:02}"), "dev", &commit('a'), "success")).collect();
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n")).status, 200);
    let rows = hub.get("/api/v1/transitions?fresh=true").rows();
    assert_eq!(column(&rows, "host"), (0..40).map(|n| format!("h{n:02}")).collect::<Vec<_>>());
    let counted = "SELECT count(*) AS n, count(DISTINCT seq) AS s, count(DISTINCT transition_id) AS i FROM transitions";
    assert_eq!(asked(&hub, counted), [json!({"n": 40, "s": 40, "i": 40})]);
    for row in [&rows[0], &rows[39]] {
        assert_eq!(hub.get(&format!("/api/v1/transitions/{}", row["seq"])).json(), *row);
        assert_eq!(hub.get(&format!("/api/v1/transitions/{}", row["transition_id"].as_str().unwrap())).json(), *row);
    }
    let hub = hub.crash_and_restart();
    assert_eq!(hub.get("/api/v1/transitions?fresh=true").rows(), rows);
    hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", report("h99", "dev", &commit('a'), "failure"));
    let last = hub.get("/api/v1/transitions?fresh=true").rows().pop().unwrap();
    assert_eq!(last["host"], "h99");
}

#[test]
fn the_tables_about_the_hub_have_the_columns_that_are_declared_and_say_what_happened() {
    let hub = fleet();
    let bad = hub.post("/api/v1/ingest/reconcilers?source=ci", "application/x-ndjson", "{\"token\": \"hunter2\"}");
    assert_eq!(bad.status, 400, "{}", bad.text());
    hub.push(&descriptor("dev", "1.1.0", &commit('b')));
    for table in SYSTEM {
        let sql = format!(
            "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
             WHERE table_schema = 'system' AND table_name = '{}' ORDER BY ordinal_position",
            table.name
        );
        let declared = table.columns.iter().map(|c| {
            json!({"column_name": c.name, "data_type": c.kind.arrow().to_string(),
                   "is_nullable": if c.nullable { "YES" } else { "NO" }})
        });
        assert_eq!(asked(&hub, &sql), declared.collect::<Vec<_>>(), "{}", table.name);
    }
    let sources = asked(&hub, "SELECT * FROM system.sources ORDER BY source");
    assert_eq!(column(&sources, "source"), ["ci", "push"]);
    let (ci, push) = (&sources[0], &sources[1]);
    assert_eq!((&ci["accepted"], &ci["rejected"], &ci["kind"]), (&json!(0), &json!(1), &json!("push")));
    assert!(!ci["last_error"].as_str().unwrap().is_empty() && ci["last_error_at"].is_string());
    assert!(!ci["last_error"].as_str().unwrap().contains("hunter2"), "{ci}");
    assert_eq!((&push["accepted"], &push["unchanged"], &push["rejected"]), (&json!(5), &json!(1), &json!(0)));
    assert!(push["last_received_at"].is_string() && push["last_error"].is_null());

    let newest =
        "SELECT table_name, rows, seq FROM system.snapshots WHERE kind = 'generation' AND newest AND behind = 0";
    let snapshots = asked(&hub, &format!("{newest} AND rows IS NOT NULL"));
    assert!(snapshots.iter().any(|s| s["table_name"] == "hosts" && s["rows"] == 3), "{snapshots:?}");
    let queries = asked(&hub, "SELECT sql, status FROM system.queries WHERE status = 'running'");
    assert!(queries.iter().any(|q| q["sql"].as_str().unwrap().contains("system.queries")), "{queries:?}");
}

#[test]
fn exports_are_listed_with_their_tables_files_and_days() {
    let hub = fleet().stop_and_restart();
    let sql = "SELECT table_name, rows, files, bytes, first_day, last_day FROM system.snapshots \
               WHERE kind = 'export' AND newest AND table_name IN ('hosts', 'transitions') ORDER BY table_name";
    let exports = asked(&hub, sql);
    assert_eq!(column(&exports, "table_name"), ["hosts", "transitions"]);
    assert_eq!(
        (&exports[0]["rows"], &exports[0]["files"], &exports[0]["first_day"]),
        (&json!(3), &json!(1), &json!(null))
    );
    assert_eq!(exports[1]["rows"], 3);
    assert!(exports[1]["bytes"].as_i64().unwrap() > 0 && exports[1]["first_day"].is_string(), "{exports:?}");
}

#[test]
fn show_functions_and_the_information_schema_list_what_is_allowed_and_nothing_else() {
    let hub = TestHub::spawn();
    let names = |sql: &str, name: &str| column(&asked(&hub, sql), name);
    let shown = names("SHOW FUNCTIONS", "function_name");
    let routines = names("SELECT DISTINCT routine_name FROM information_schema.routines", "routine_name");
    for offered in ["date_trunc", "string_agg", "regexp_like", "ntile"] {
        assert!(shown.iter().any(|n| n == offered), "{offered}: {shown:?}");
    }
    // Those that take arguments of any type have no row per type.
    for offered in ["count", "row_number", "coalesce"] {
        assert!(routines.iter().any(|n| n == offered), "{offered}: {routines:?}");
    }
    for left_out in ["generate_series", "levenshtein", "arrow_cast", "named_struct"] {
        assert!(!shown.iter().chain(&routines).any(|n| n == left_out), "{left_out}");
    }
    let like = names("SHOW FUNCTIONS LIKE 'date_%'", "function_name");
    assert!(!like.is_empty() && like.iter().all(|n| n.starts_with("date")), "{like:?}");
}
