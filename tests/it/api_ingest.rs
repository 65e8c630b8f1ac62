//! Push: mixed batches, per-item answers, compression, streams that break, restarts.

use std::io::Write;

use serde_json::json;

use crate::hub::{Answer, TestHub, TestHubBuilder, commit, descriptor, report};

#[test]
fn a_batch_is_answered_per_item_and_its_status_says_all_some_or_none() {
    let hub = TestHub::spawn();
    let good = descriptor("dev", "1.0.0", &commit('a'));
    let bad = r#"{"kind": "Pod"}"#;

    assert_eq!(hub.push(&good)["accepted"], 1);
    let all =
        hub.post("/api/v1/ingest", "application/json", format!("[{good}, {}]", descriptor("prod", "1", &commit('b'))));
    assert_eq!(all.status, 200, "{}", all.text());
    let taken = all.json();
    assert_eq!((&taken["accepted"], &taken["unchanged"], &taken["rejected"]), (&json!(1), &json!(1), &json!(0)));
    assert!(taken["seq"].as_u64().unwrap() > 0);

    let some = hub.post("/api/v1/ingest", "application/x-ndjson", format!("{bad}\n{good}\n"));
    assert_eq!(some.status, 207, "{}", some.text());
    assert_eq!(some.json()["items"][0]["index"], 0);
    assert!(!some.json()["items"][0]["detail"].as_str().unwrap().is_empty());

    let none = hub.post("/api/v1/ingest", "application/json", bad);
    assert!(none.problem(400).starts_with("no item was taken"));
    assert_eq!(none.json()["rejected"], 1);
    assert!(hub.post("/api/v1/ingest", "application/json", "").problem(400).contains("empty"));
    assert_eq!(hub.post("/api/v1/ingest", "application/json", "[]").json()["accepted"], 0);
}

#[test]
fn only_the_first_hundred_rejected_items_are_listed() {
    let hub = TestHub::spawn();
    let answer = hub.post("/api/v1/ingest", "application/x-ndjson", "{\"kind\":\"Pod\"}\n".repeat(300));
    answer.problem(400);
    assert_eq!(answer.json()["rejected"], 300);
    assert_eq!(answer.json()["items"].as_array().unwrap().len(), 100);
}

#[test]
fn bad_bodies_are_refused_item_by_item_and_the_hub_lives() {
    let hub = TestHub::spawn();
    let deep = "[".repeat(100_000);
    let long = format!(r#"{{"kind":"Reconciler","spec":{{"name":"{}"}}}}"#, "x".repeat(10 << 20));
    let bodies: [&[u8]; 6] = [
        b"not json",
        b"{\"kind\":\"Reconciler\"",
        b"\xff\xfe\x00",
        b"{\"a\":1,\"a\":2}\0",
        deep.as_bytes(),
        long.as_bytes(),
    ];
    for body in bodies {
        let answer = hub.post("/api/v1/ingest", "application/json", body);
        answer.problem(400);
    }
    assert_eq!(hub.get("/livez").status, 200);
    for query in ["source=a+b", "sauce=push"] {
        hub.post(&format!("/api/v1/ingest?{query}"), "application/json", "[]").problem(400);
    }
}

#[test]
fn compressed_bodies_are_read_and_broken_ones_keep_what_was_whole() {
    let hub = TestHub::spawn();
    let line = format!("{}\n", report("h1", "dev", &commit('a'), "success"));
    let zipped = gzip(line.as_bytes());
    let answer = hub.ask("POST", "/api/v1/ingest/reconcilers", &[("content-encoding", "gzip")], &zipped);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let members = [gzip(line.replace("h1", "h9").as_bytes()), gzip(b"\n"), gzip(line.as_bytes())].concat();
    let answer_to_members =
        hub.ask("POST", "/api/v1/ingest/reconcilers", &[("content-encoding", "x-gzip")], &members).json();
    let taken = answer_to_members["accepted"].as_u64().unwrap() + answer_to_members["unchanged"].as_u64().unwrap();
    assert_eq!(taken, 2, "every member of a gzip body is read: {answer_to_members}");
    let garbage = hub.ask("POST", "/api/v1/ingest/reconcilers", &[("content-encoding", "gzip")], b"garbage");
    garbage.problem(400);

    let mut stream = hub.connect();
    let whole = format!("{}\n", report("h2", "dev", &commit('a'), "success"));
    write!(
        stream,
        "POST /api/v1/ingest/reconcilers HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{whole}{{\"host\":\"h3\"",
        whole.len() + 500
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    while hub.get("/api/v1/hosts?host=h2&fresh=true").rows().is_empty() {}
    assert_eq!(hub.get("/api/v1/hosts?host=h3&fresh=true").rows().len(), 0);
}

#[test]
fn what_was_acknowledged_survives_a_crash_and_a_resent_batch_changes_nothing() {
    let hub = TestHub::spawn();
    let batch = [descriptor("dev", "1.0.0", &commit('a')), descriptor("prod", "1.0.0", &commit('b'))].join("\n");
    hub.push(&batch);
    let reports = report("h1", "dev", &commit('a'), "success");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", &reports).status, 200);
    let before = hub.get("/api/v1/views/environment-state?fresh=true").rows();

    let hub = hub.crash_and_restart();
    let again = hub.push(&batch);
    assert_eq!((&again["accepted"], &again["unchanged"]), (&json!(0), &json!(2)));
    assert_eq!(hub.get("/api/v1/views/environment-state?fresh=true").rows(), before);
    assert_eq!(before.len(), 2);
}

/// Guards against: a confirmation that is acknowledged, waits to be journaled, and takes more with it than seconds of a last-heard
/// time when the process is killed.
#[test]
fn a_crash_costs_seconds_of_a_last_heard_time_and_nothing_else() {
    let hub = TestHub::spawn();
    let now = jiff::Timestamp::now();
    let at = |seconds_ago: i64| format!("{:.3}", now - jiff::SignedDuration::from_secs(seconds_ago));
    let say = |hub: &TestHub, status: &str, seconds_ago: i64| {
        let mut said: serde_json::Value = serde_json::from_str(&report("h1", "dev", &commit('a'), status)).unwrap();
        said["reported_at"] = json!(at(seconds_ago));
        let answer = hub.post("/api/v1/ingest/reconcilers", "application/json", said.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let tables = ["transitions", "deployments", "reconcilers"];
    let shown = |hub: &TestHub| tables.map(|t| hub.get(&format!("/api/v1/{t}?fresh=true")).rows());
    for seconds_ago in [7_200, 3_000, 1_800, 120] {
        say(&hub, "success", seconds_ago);
    }
    // Late words: a change inside the run, and repetitions on either side of it.
    say(&hub, "failure", 2_400);
    say(&hub, "success", 2_000);
    say(&hub, "success", 6_000);
    let before = shown(&hub);
    assert_eq!(before[0].len(), 3, "{before:?}");
    assert_eq!(before[0][2]["last_confirmed_at"], at(120));

    let hub = hub.crash_and_restart();
    assert_eq!(shown(&hub), before, "what was said late comes once, so it is kept at once");

    assert_eq!(say(&hub, "success", 0)["unchanged"], 1, "a heartbeat");
    let hub = hub.crash_and_restart();
    let mut after = shown(&hub);
    let heard = |rows: &mut [Vec<serde_json::Value>; 3]| {
        let last = |row: Option<&mut serde_json::Value>, column: &str| row.map(|row| row[column].take());
        let [transitions, deployments, reconcilers] = rows;
        [
            last(transitions.last_mut(), "last_confirmed_at"),
            last(deployments.last_mut(), "reported_at"),
            last(reconcilers.last_mut(), "reported_at"),
        ]
    };
    let mut before = before;
    heard(&mut before);
    for time in heard(&mut after).into_iter().flatten() {
        assert!([json!(at(120)), json!(at(0))].contains(&time), "{time}");
    }
    assert_eq!(after, before);
}

#[test]
fn each_source_shows_its_own_last_word_and_the_freshest_prevails() {
    let hub = TestHub::spawn();
    let say = |source: &str, status: &str, at: &str| {
        let mut said: serde_json::Value = serde_json::from_str(&report("h1", "dev", &commit('a'), status)).unwrap();
        said["reported_at"] = json!(at);
        let path = format!("/api/v1/ingest/reconcilers?source={source}");
        assert_eq!(hub.post(&path, "application/json", said.to_string()).status, 200);
    };
    let shown = || {
        let sql = "SELECT s.source, s.prevails, s.status, s.reported_at, r.source AS freshest FROM reconciler_sources s \
                   JOIN reconcilers r ON r.reconciler_no = s.reconciler_no ORDER BY s.source";
        let answer = hub.post("/api/v1/sql?fresh=true", "text/plain", sql);
        let words = ["source", "prevails", "status", "reported_at", "freshest"];
        answer.rows().iter().map(|row| json!(words.map(|w| row[w].clone()))).collect::<Vec<_>>()
    };
    let (at1, at3, at5) = ("2026-01-01T00:01:00.000Z", "2026-01-01T00:03:00.000Z", "2026-01-01T00:05:00.000Z");
    say("one", "success", at1);
    // The same words by another source: one run, two sources.
    say("two", "success", at5);
    let two = json!(["two", true, "success", at5, "two"]);
    assert_eq!(shown(), [json!(["one", false, "success", at1, "two"]), two.clone()]);
    say("one", "failure", at3);
    assert_eq!(shown(), [json!(["one", false, "failure", at3, "two"]), two]);
}

#[test]
fn a_client_that_expects_to_be_asked_is_asked() {
    let hub = TestHub::spawn();
    let mut stream = hub.connect();
    let body = descriptor("dev", "1.0.0", &commit('a'));
    write!(
        stream,
        "POST /api/v1/ingest HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    let mut interim = [0u8; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).status, 200);
}

#[test]
fn a_body_that_stops_coming_is_answered_with_what_was_taken() {
    let hub = TestHubBuilder::new().with_arg("--ingest-idle", "300ms").spawn();
    let mut stream = hub.connect();
    let whole = format!("{}\n", report("h1", "dev", &commit('a'), "success"));
    let length = whole.len() + 100;
    write!(stream, "POST /api/v1/ingest/reconcilers HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{whole}")
        .unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.problem(408), "the body stopped coming");
    assert_eq!(answer.json()["accepted"], 1);
}

/// A gzip file of one stored block: enough to test that compression is undone.
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = u16::try_from(data.len()).unwrap();
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(data);
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}
