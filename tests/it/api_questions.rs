//! Malformed questions: whoever asks wrongly is told so, and how to ask, before anything else is looked at.

use std::io::Write;

use serde_json::json;

use crate::hub::{Answer, TestHub, commit, descriptor, report};

#[test]
fn a_tag_the_client_knows_does_not_excuse_a_malformed_question() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    let fresh = hub.get("/api/v1/environments?fresh=true");
    let tag = fresh.header("etag").unwrap();
    let known = |method: &str, path: &str| hub.ask(method, path, &[("if-none-match", tag)], b"");
    for path in ["/api/v1/environments", "/api/v1/environments/dev", "/api/v1/views/drift", "/api/v1/rollouts"] {
        // The first answer is made, the second one kept.
        assert_eq!((known("GET", path).status, known("GET", path).status), (304, 304), "{path}");
        assert_eq!(known("HEAD", path).status, 304, "{path}");
    }
    known("GET", "/api/v1/environments?colour=red").problem(400);
    known("GET", "/api/v1/environments?limit=none").problem(400);
    known("GET", "/api/v1/environments?cursor=zz").problem(400);
    known("GET", "/api/v1/environments?from=soon").problem(400);
    known("GET", "/api/v1/environments?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").problem(400);
    known("GET", "/api/v1/environments/mars").problem(404);
    known("GET", "/api/v1/environments/%ff").problem(400);
    let refused = known("POST", "/api/v1/environments");
    refused.problem(405);
    assert_eq!(refused.header("allow"), Some("GET,HEAD"));
}

#[test]
fn times_are_rfc_3339_or_epoch_milliseconds_of_any_age() {
    let hub = TestHub::spawn();
    let line = report("h1", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", line).status, 200);
    hub.get("/api/v1/hosts?fresh=true").rows();
    let count = |query: &str| hub.get(&format!("/api/v1/transitions?{query}")).rows().len();
    for old in ["0", "-1", "-62167219200000", "0000-01-01T00:00:00Z", "1500-01-01T00:00:00%2B01:00"] {
        assert_eq!((count(&format!("from={old}")), count(&format!("to={old}"))), (1, 0), "{old}");
    }
    for far in ["9999-12-31T23:59:59Z", "253402300799999", "9000000000000", "2262-04-12T00:00:00Z"] {
        assert_eq!((count(&format!("from={far}")), count(&format!("to={far}"))), (0, 1), "{far}");
    }
    for (wrong, said) in [
        ("2026", "a year or seconds"),
        ("1795132800", "a year or seconds"),
        ("1795132800000000", "outside the years 0 to 9999"),
        ("99999999999999999999", "outside the years 0 to 9999"),
        ("tomorrow", "is not a time"),
    ] {
        let refused = hub.get(&format!("/api/v1/transitions?to={wrong}"));
        assert!(refused.problem(400).contains(said), "{wrong}: {}", refused.reason);
        assert!(refused.text().contains("milliseconds since 1970"), "{wrong}");
    }
}

#[test]
fn what_cannot_be_a_name_an_id_a_cursor_or_an_endpoint_is_refused_in_its_own_words() {
    let hub = TestHub::spawn();
    let long = "a".repeat(9000);
    assert!(hub.get(&format!("/api/v1/hosts/{long}")).problem(404).starts_with("no hosts 'aaa"));
    assert!(hub.get(&format!("/api/v1/hosts?host={long}")).problem(400).contains("9000 bytes long"));
    assert!(hub.get("/api/v1/hosts?host=%ff").problem(400).contains("not UTF-8"));
    let gate = "/api/v1/rollouts/status?commit=abc&manifests_endpoint=";
    assert!(hub.get(&format!("{gate}///")).problem(400).contains("names no place"));
    assert_eq!(hub.get(&format!("{gate}https://git.example/x/dev/web")).json()["verdict"], "no_targets");
    // {"e":…,"q":…,"k":[2^63,"h","r"],"s":0} of this store and list, had a page ever ended there.
    let lines: Vec<String> = (0..3).map(|n| report(&format!("h{n}"), "dev", &commit('a'), "success")).collect();
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n")).status, 200);
    let page = hub.get("/api/v1/transitions?limit=1&fresh=true");
    let link = page.header("link").unwrap();
    let cursor = link.split("cursor=").nth(1).unwrap().split('>').next().unwrap();
    let seq = page.rows()[0]["seq"].to_string();
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(cursor.contains(&hex(&seq)));
    let forged = cursor.replace(&hex(&seq), &hex("9223372036854775808"));
    let refused = hub.get(&format!("/api/v1/transitions?limit=1&cursor={forged}"));
    assert_eq!(refused.problem(400), "the cursor is not one of this hub");
}

#[test]
fn a_form_is_a_form_and_not_an_address() {
    let hub = TestHub::spawn();
    let form = |body: &str| hub.post("/api/v1/sql", "application/x-www-form-urlencoded", body);
    assert_eq!(form("sql=SELECT '#1' AS a, '50%' AS b\n&").rows(), [json!({"a": "#1", "b": "50%"})]);
    assert_eq!(form("sql=SELECT+$p+AS+a&p=x+y%26z").rows(), [json!({"a": "x y&z"})]);
    assert!(form("sql=SELECT+1&sql=SELECT+2").problem(400).contains("comes twice"));
    assert!(form("SELECT 1").problem(400).contains("no field 'sql'"));
    assert!(form("sql=SELECT+'%ff'").problem(400).contains("UTF-8"));
}

#[test]
fn an_array_where_an_object_is_due_is_refused_and_never_read_by_position() {
    let hub = TestHub::spawn();
    let sql = hub.post("/api/v1/sql", "application/json", r#"["SELECT 1", []]"#);
    assert!(sql.problem(400).contains("not an object"));
    assert!(sql.json()["detail"].as_str().unwrap().contains(r#""params""#));
    let older = hub.post("/deployment_state", "application/json", r#"["https://git.example/x/dev/web", "abc"]"#);
    assert_eq!(older.status, 400, "{}", older.text());
    assert!(older.json()["error"].as_str().unwrap().contains("expected an object"));
    let place = r#"{"manifests_endpoint": "//", "commit_id": "abc"}"#;
    assert_eq!(hub.post("/deployment_state", "application/json", place).status, 400);
    let flat =
        r#"{"host":"h","reconciler":"r","reconciler_type":"flux","status":"success","manifests":["git","r","b","p"]}"#;
    let refused = hub.post("/api/v1/ingest/reconcilers", "application/json", flat);
    assert!(refused.problem(400).contains("manifests: invalid type: sequence"), "{}", refused.reason);
    let resource = descriptor("dev", "1", &commit('a')).replace(r#"{"name":"shop"}"#, r#"["shop"]"#);
    let refused = hub.post("/api/v1/ingest", "application/json", resource);
    assert!(refused.problem(400).contains("workspace: invalid type: sequence"), "{}", refused.reason);
}

#[test]
fn what_is_sent_in_the_wrong_wrapping_is_refused_with_the_right_one() {
    let hub = TestHub::spawn();
    let form = hub.post("/api/v1/ingest", "multipart/form-data; boundary=x", "--x--");
    assert_eq!(form.problem(415), "multipart forms are not taken; send the file itself");
    let keys = [("idempotency-key", "a"), ("idempotency-key", "b")];
    assert!(hub.ask("POST", "/api/v1/ingest", &keys, b"[]").problem(400).contains("twice"));
    hub.get("/api/v1/hosts?min_seq=-5").problem(400);
    assert_eq!(hub.get("/api/v1/hosts/%C3%A9").problem(404), "no hosts '\\u{e9}'");
    // It is announced as too large, and never sent.
    let mut stream = hub.connect();
    let head = "POST /api/v1/sql HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    Answer::read(&mut stream).problem(413);
}

#[test]
fn a_push_may_come_as_put_for_that_is_what_curl_sends_for_a_file() {
    let hub = TestHub::spawn();
    let line = report("h1", "dev", &commit('a'), "success");
    let taken = hub.ask("PUT", "/api/v1/ingest/reconcilers", &[], line.as_bytes());
    assert_eq!((taken.status, taken.json()["accepted"].clone()), (200, json!(1)), "{}", taken.text());
    let refused = hub.get("/api/v1/ingest");
    assert!(refused.problem(405).contains("use"));
    let mut allowed: Vec<&str> = refused.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["POST", "PUT"]);
}

#[test]
fn a_claimed_time_in_the_far_future_is_taken_as_received_and_flagged() {
    let hub = TestHub::spawn();
    let mut claims: serde_json::Value = serde_json::from_str(&report("h1", "dev", &commit('a'), "success")).unwrap();
    for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "2300-01-01T00:00:00Z"] {
        claims["host"] = json!(never);
        claims["reported_at"] = json!(never);
        let answer = hub.post("/api/v1/ingest/reconcilers", "application/json", claims.to_string());
        assert_eq!((answer.status, answer.json()["accepted"].clone()), (200, json!(1)), "{}", answer.text());
    }
    for row in hub.get("/api/v1/transitions?fresh=true").rows() {
        assert_eq!((&row["reported_at"], &row["time_refused"]), (&row["received_at"], &json!(true)), "{row}");
    }
}
