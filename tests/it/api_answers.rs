//! Every answer, whoever makes it: errors are problem documents, headers are in order.

use serde_json::json;

use crate::hub::{TestHub, commit, descriptor, report};

#[test]
fn every_error_is_a_problem_document_with_its_title_as_the_reason_phrase() {
    let hub = TestHub::spawn();
    assert_eq!(hub.get("/nothing/here").problem(404), "nothing is served at /nothing/here");
    assert!(hub.post("/api/v1/hosts", "application/json", "{}").problem(405).starts_with("POST is not served at"));
    assert_eq!(hub.get("/api/v1/hosts?colour=red").problem(400), "unknown parameter 'colour'");
    assert!(hub.get("/api/v1/hosts?colour=red").json()["detail"].as_str().unwrap().contains("cluster_type"));
    assert!(hub.get("/api/v1/sql?q=SELECT+nothing+FROM+hosts").problem(400).contains("nothing"));
    assert!(hub.post("/api/v1/sql", "application/sql", "SELECT 1 ".repeat(80_000)).problem(413).contains("larger"));
    assert!(hub.post("/api/v1/sql", "multipart/form-data; boundary=x", "--x--").problem(415).contains("multipart"));
    assert!(hub.ask("POST", "/api/v1/ingest", &[("content-encoding", "br")], b"{}").problem(415).contains("encoding"));
    assert!(hub.get(&format!("/api/v1/hosts?host={}", "a".repeat(40_000))).problem(414).contains("request target"));
    let large = "b".repeat(40_000);
    assert!(hub.ask("GET", "/livez", &[("x-large", &large)], b"").problem(431).contains("headers"));
    assert!(hub.get("/api/v1/hosts/none").problem(404).contains("no hosts 'none'"));
    assert!(hub.get("/api/v1/rollouts/status?environment=dev").problem(400).contains("version"));
}

#[test]
fn a_request_id_is_taken_over_when_it_is_harmless_and_made_when_it_is_not() {
    let hub = TestHub::spawn();
    let given = hub.ask("GET", "/livez", &[("x-request-id", "build-17")], b"");
    assert_eq!(given.header("x-request-id"), Some("build-17"));
    let made = hub.ask("GET", "/livez", &[("x-request-id", "a b <script>")], b"");
    assert_ne!(made.header("x-request-id"), Some("a b <script>"));
    assert_eq!(made.header("x-request-id").unwrap().len(), 16);
}

#[test]
fn rows_are_bare_arrays_with_a_tag_and_an_empty_answer_is_an_empty_array() {
    let hub = TestHub::spawn();
    let empty = hub.get("//api/v1/views/environment-state?environment=$__all&from=1795132800000");
    assert_eq!(empty.rows().len(), 0);
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    let fresh = hub.get("/api/v1/views/environment-state?fresh=true");
    assert_eq!(fresh.rows()[0]["desired_version"], "1.0.0");
    assert_eq!(fresh.rows()[0]["status"], json!(null));
    assert_eq!(fresh.header("cache-control"), Some("no-cache"));
    assert_eq!(fresh.header("vary"), Some("accept-encoding, authorization"));
    let tag = fresh.header("etag").unwrap();
    assert!(tag.starts_with("W/\""), "{tag}");
    let again = hub.ask("GET", "/api/v1/views/environment-state", &[("if-none-match", tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = hub.ask("HEAD", "/api/v1/views/environment-state", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn large_answers_are_gzip_for_those_who_read_it_and_nothing_else_ever() {
    let hub = TestHub::spawn();
    let lines: Vec<String> = (0..50).map(|n| report(&format!("host-{n}"), "dev", &commit('a'), "success")).collect();
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n")).status, 200);
    let path = "/api/v1/reconcilers?fresh=true";
    let zipped = hub.ask("GET", path, &[("accept-encoding", "br, zstd, deflate, gzip")], b"");
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.body[..2], [0x1f, 0x8b]);
    let plain = hub.ask("GET", path, &[("accept-encoding", "br, zstd, deflate")], b"");
    assert_eq!((plain.header("content-encoding"), plain.rows().len()), (None, 50));
    let small = hub.ask("GET", "/livez", &[("accept-encoding", "gzip")], b"");
    assert_eq!(small.header("content-encoding"), None);
}

#[test]
fn health_and_documents_are_served_without_the_network() {
    let hub = TestHub::spawn();
    assert_eq!(hub.get("/livez").json()["status"], "alive");
    assert_eq!(hub.get("/readyz").json()["status"], "ready");
    let document = hub.get("/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/api/v1/views/host-state"]["get"].is_object());
    assert!(hub.get("/docs/").text().contains("swagger"));
    assert_eq!(hub.get("/docs/swagger-ui-bundle.js").status, 200);
    assert!(hub.get("/").text().contains("/docs/"));
}

#[test]
fn it_refuses_to_listen_beyond_loopback_without_authentication() {
    let data = tempfile::tempdir().unwrap();
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_koh"))
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(data.path())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--insecure-no-auth"), "{said}");
}

#[test]
fn the_reason_of_the_gate_says_that_a_newer_commit_is_being_tried() {
    let hub = TestHub::spawn();
    for (version, digit) in [("1.0", 'a'), ("2.0", 'b')] {
        hub.push(&descriptor("prod", version, &commit(digit)));
    }
    let report = report("h1", "prod", &commit('b'), "failure");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", report).status, 200);
    let answer = hub.get("/api/v1/rollouts/status?environment=prod&workload=web&version=1.0").json();
    assert_eq!(answer["verdict"], "superseded");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("1 of them is trying a newer commit"), "{reason}");
}
