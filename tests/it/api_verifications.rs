//! Verifications over HTTP: pushed, listed, asked for by SQL, and kept.

use serde_json::{Value, json};

use crate::hub::{Answer, TestHub, commit};

const PATH: &str = "/api/v1/rollouts/verifications";

fn smoke(more: Value) -> Value {
    let mut item = json!({
        "name": "smoke", "result": "passed", "workload": "web", "environment": "prod", "version": "1.2.0",
        "reported_at": "2026-01-31T12:00:00Z",
    });
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

fn post(hub: &TestHub, body: &Value) -> Answer {
    hub.post(PATH, "application/json", body.to_string())
}

#[track_caller]
fn taken(hub: &TestHub, body: &Value) -> (u64, u64) {
    let answer = post(hub, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let taken = answer.json();
    (taken["accepted"].as_u64().unwrap(), taken["unchanged"].as_u64().unwrap())
}

fn list(hub: &TestHub, query: &str) -> Vec<Value> {
    hub.get(&format!("{PATH}?fresh=true&{query}")).rows()
}

#[test]
fn what_was_judged_is_listed_and_is_a_table_of_sql() {
    let hub = TestHub::spawn();
    let hex = commit('a');
    let items = json!([
        smoke(json!({"result": "Succeeded", "link": "https://bot:pw@ci.example/runs/7", "reported_by": "ci"})),
        smoke(json!({"result": "failed", "reported_at": "2026-01-31T13:00:00Z", "message": "token=abcdefgh12345678"})),
        {"name": "board", "result": "pending", "commit": format!("main@sha1:{}", hex.to_uppercase())},
    ]);
    assert_eq!(taken(&hub, &items), (3, 0));

    let rows = list(&hub, "name=smoke");
    let told = |row: &Value, columns: &[&str]| columns.iter().map(|c| row[*c].clone()).collect::<Vec<_>>();
    let columns = ["sequence", "current", "result", "raw_result", "link", "reported_by", "message", "reported_at"];
    assert_eq!(
        rows.iter().map(|row| Value::from(told(row, &columns))).collect::<Vec<_>>(),
        [
            json!([
                1,
                false,
                "passed",
                "Succeeded",
                "https://ci.example/runs/7",
                "ci",
                null,
                "2026-01-31T12:00:00.000Z"
            ]),
            json!([2, true, "failed", "failed", null, null, "token=***", "2026-01-31T13:00:00.000Z"]),
        ]
    );
    let where_ = ["workspace", "application", "workload", "environment", "deployment_target", "version", "commit"];
    assert_eq!(Value::from(told(&rows[0], &where_)), json!([null, null, "web", "prod", null, "1.2.0", null]));

    for (query, found) in [
        ("", 3),
        ("result=failed,pending", 2),
        ("current=true", 2),
        ("workload=web&environment=prod", 2),
        ("environment=dev", 0),
        ("environment=null", 1),
        (format!("commit={hex}").as_str(), 1),
        ("version=1.2.0&current=true", 1),
        ("from=2026-01-31T12:30:00Z&to=2026-01-31T13:30:00Z", 1),
    ] {
        assert_eq!(list(&hub, query).len(), found, "{query}");
    }
    let sql = "SELECT name, result, source, commit FROM verifications WHERE commit IS NOT NULL";
    let answer = hub.post("/api/v1/sql", "text/plain", sql).rows();
    assert_eq!(
        answer,
        [json!({"name": "board", "result": "pending", "source": "push", "commit": format!("sha1:{hex}")})]
    );
}

#[test]
fn the_list_is_paged() {
    let hub = TestHub::spawn();
    let items = (0..5).map(|n| smoke(json!({"version": format!("1.{n}")}))).collect::<Vec<_>>();
    assert_eq!(taken(&hub, &items.into()), (5, 0));
    let whole = list(&hub, "");
    let (mut paged, mut next) = (Vec::new(), Some(format!("{PATH}?limit=2&workload=web&fresh=true")));
    while let Some(path) = next {
        let page = hub.get(&path);
        assert!(page.rows().len() <= 2);
        paged.extend(page.rows());
        next = page.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    assert_eq!(paged, whole);
    assert_eq!(whole.len(), 5);
}

#[test]
fn a_repetition_is_no_news_and_a_later_one_no_row() {
    let hub = TestHub::spawn();
    assert_eq!(taken(&hub, &smoke(json!({}))), (1, 0));
    assert_eq!(taken(&hub, &smoke(json!({}))), (0, 1));
    let untimed = json!({"name": "load", "result": "passed", "commit": commit('a')});
    assert_eq!(taken(&hub, &untimed), (1, 0));
    assert_eq!(taken(&hub, &untimed), (0, 1), "absent time is the time of first receipt");
    taken(&hub, &smoke(json!({"reported_at": "2026-01-31T14:00:00Z"})));
    let rows = list(&hub, "name=smoke");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["last_confirmed_at"], "2026-01-31T14:00:00.000Z");
    let keyed = |body: &Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "run-7")];
        hub.ask("POST", PATH, &headers, body.to_string().as_bytes()).json()["unchanged"].clone()
    };
    let failed = json!({"name": "load", "result": "failed", "commit": commit('a')});
    assert_eq!(keyed(&failed), 0);
    assert_eq!(taken(&hub, &untimed), (1, 0), "it was not the latest any more");
    assert_eq!(keyed(&failed), 1, "the batch is known by its key");
}

#[test]
fn what_is_wrong_with_an_item_is_said_with_what_to_do() {
    let hub = TestHub::spawn();
    let lacks = "the verification lacks name, result, version (or commit, or source_commit)";
    for (item, title, hint) in [
        (json!({}), lacks, "a complete example: {\"name\":\"smoke\""),
        (smoke(json!({"commit": "abc"})), "the verification names version and commit", "by one of version, commit"),
        (smoke(json!({"workload": null})), "the verification of a version lacks workload", "say which workload"),
        (smoke(json!({"result": "purple"})), "the result `purple` is not known", "passed, failed or pending"),
        (smoke(json!({"result": true})), "result: invalid type", "line 1 column"),
        (smoke(json!({"nome": "x"})), "nome: unknown field `nome`", "expected one of"),
        (smoke(json!({"name": " "})), "name is empty", "give name a value"),
        (smoke(json!({"link": "javascript:alert(1)"})), "the link is no http or https address", "https://ci.example"),
        (smoke(json!({"reported_at": "today"})), "reported_at: `today` is not a time", "RFC 3339"),
        (smoke(json!({"environment": "a\u{7}b"})), "environment holds the control character U+0007", "remove control"),
    ] {
        let answer = post(&hub, &item);
        assert!(answer.problem(400).starts_with("no item was taken"), "{item}");
        let said = &answer.json()["items"][0];
        let text = format!("{}: {}", said["title"].as_str().unwrap(), said["detail"].as_str().unwrap());
        assert!(text.starts_with(title) && text.contains(hint), "{text}");
    }
    let some = hub.post(PATH, "application/x-ndjson", format!("{}\n{{}}\n", smoke(json!({}))));
    assert_eq!((some.status, &some.json()["items"][0]["index"]), (207, &json!(1)), "{}", some.text());
    assert_eq!(list(&hub, "").len(), 1);
    hub.get(&format!("{PATH}?nome=smoke")).problem(400);
    assert_eq!(hub.ask("DELETE", PATH, &[], b"").status, 405);
}

#[test]
fn a_time_far_ahead_is_taken_as_received() {
    let hub = TestHub::spawn();
    taken(&hub, &smoke(json!({"reported_at": "2999-01-01T00:00:00Z"})));
    let rows = list(&hub, "time_refused=true");
    assert_eq!(rows[0]["reported_at"], rows[0]["received_at"]);
}

#[test]
fn what_was_judged_survives_a_crash_and_a_stop() {
    let hub = TestHub::spawn();
    let items = json!([smoke(json!({})), smoke(json!({"result": "failed", "reported_at": "2026-01-31T13:00:00Z"}))]);
    assert_eq!(taken(&hub, &items), (2, 0));
    let before = list(&hub, "");
    let hub = hub.crash_and_restart();
    assert_eq!(list(&hub, ""), before);
    let hub = hub.stop_and_restart();
    assert_eq!(list(&hub, ""), before);
    assert_eq!(taken(&hub, &items), (0, 2));
}
