//! Waiting for the gate: the long poll and the events, over everything that can happen meanwhile.
//!
//! Nothing is timed: a test that waits is released by what it pushes, and an answer that must not come yet is told from one
//! that has come by the order of events on the stream.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::hub::{TestHub, commit, descriptor, report};

const STATUS: &str = "/api/v1/rollouts/status?environment=dev&workload=web";
const EVENTS: &str = "/api/v1/rollouts/events?environment=dev&workload=web";

/// A stream of server-sent events.
struct Events(BufReader<TcpStream>);

/// One of them.
#[derive(Debug)]
struct Event {
    id: String,
    answer: Value,
}

impl Events {
    fn open(hub: &TestHub, query: &str, last: Option<&str>) -> Events {
        let mut stream = hub.connect();
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET {EVENTS}&{query} HTTP/1.1\r\nhost: hub\r\naccept: text/event-stream\r\n{last}\r\n")
            .unwrap();
        let mut events = Events(BufReader::new(stream));
        let head = events.line().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        while events.line().unwrap() != "" {}
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; `None` when the stream is over.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut answer) = (String::new(), None);
        while let Some(line) = self.line() {
            if let Some(said) = line.strip_prefix("id: ") {
                id = said.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                answer = Some(serde_json::from_str(data).unwrap());
            } else if line.is_empty()
                && let Some(answer) = answer.take()
            {
                return Some(Event { id, answer });
            }
        }
        None
    }

    /// The first event from here on that says so.
    fn until(&mut self, says: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().expect("the stream ended early");
            if says(&event.answer) {
                return event;
            }
        }
    }
}

/// A report at a time of its own.
fn report_at(host: &str, digit: char, status: &str, at: &str) -> String {
    let mut said: Value = serde_json::from_str(&report(host, "dev", &commit(digit), status)).unwrap();
    said["reported_at"] = json!(at);
    said.to_string()
}

fn say(hub: &TestHub, line: &str) {
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", line).status, 200);
}

/// Asks a question that waits, and lets something happen once the hub knows that somebody waits.
fn waiting(hub: &TestHub, query: &str, meanwhile: impl FnOnce()) -> Value {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| hub.get(&format!("{STATUS}&{query}&wait=50s")));
        // Whoever listens to the same question hears the answer that the other waits on.
        let mut events = Events::open(hub, query, None);
        events.next().unwrap();
        meanwhile();
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    })
}

fn verdict(answer: &Value) -> (&str, bool) {
    (answer["verdict"].as_str().unwrap(), answer["final"].as_bool().unwrap())
}

#[test]
fn a_wait_ends_when_the_last_host_has_succeeded() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("one", "dev", &commit('a'), "success"));
    say(&hub, &report("two", "dev", &commit('0'), "success"));
    let answer = waiting(&hub, "version=1.0", || say(&hub, &report("two", "dev", &commit('a'), "success")));
    assert_eq!(verdict(&answer), ("complete", true));
    assert_eq!(answer["buckets"]["success"], 2);
    // What is final is answered at once.
    assert_eq!(verdict(&hub.get(&format!("{STATUS}&version=1.0&wait=50s")).json()), ("complete", true));
}

#[test]
fn a_wait_ends_when_the_version_is_superseded_or_rolled_back() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("one", "dev", &commit('a'), "success"));
    hub.push(&descriptor("dev", "2.0", &commit('b')));
    let answer = waiting(&hub, "version=2.0", || {
        hub.push(&descriptor("dev", "1.0", &commit('c')));
    });
    assert_eq!(verdict(&answer), ("superseded", true));
    assert!(answer["reason"].as_str().unwrap().starts_with("Version 1.0 is wanted by now"), "{answer}");
    say(&hub, &report("one", "dev", &commit('c'), "success"));
    let after = hub.get(&format!("{STATUS}&version=2.0")).json();
    assert_eq!((verdict(&after), &after["hosts"][0]["note"]), (("superseded", true), &json!("rolled_back")));
}

#[test]
fn what_is_unknown_is_waited_for_because_pipelines_ask_before_flux_has_delivered() {
    let hub = TestHub::spawn();
    let answer = waiting(&hub, "version=1.0", || {
        hub.push(&descriptor("dev", "1.0", &commit('a')));
        say(&hub, &report("one", "dev", &commit('a'), "success"));
    });
    assert_eq!(verdict(&answer), ("complete", true));
    // … as long as the question says.
    let given_up = hub.get(&format!("{STATUS}&version=9&wait=50s&unknown_grace=0s")).json();
    assert_eq!(verdict(&given_up), ("unknown_commit", false));
    let nowhere =
        hub.get("/api/v1/rollouts/status?environment=x&workload=web&version=1&wait=50s&unknown_grace=0s").json();
    assert_eq!(verdict(&nowhere), ("no_targets", false));
}

#[test]
fn success_of_an_older_commit_releases_nobody() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("one", "dev", &commit('a'), "in_progress"));
    hub.push(&descriptor("dev", "2.0", &commit('b')));
    let mut events = Events::open(&hub, "version=2.0", None);
    assert_eq!(events.next().unwrap().answer["buckets"]["behind"], 1);
    say(&hub, &report("one", "dev", &commit('a'), "success"));
    say(&hub, &report("one", "dev", &commit('b'), "success"));
    let mut seen = vec![events.next().unwrap()];
    while !verdict(&seen.last().unwrap().answer).1 {
        seen.push(events.next().unwrap());
    }
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(verdict(&last.answer), ("complete", true));
    assert_eq!(last.answer["hosts"], json!([]));
    assert!(before.iter().all(|e| verdict(&e.answer) == ("in_progress", false)), "{before:?}");
}

#[test]
fn a_failure_is_final_once_it_has_stood_for_the_grace() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("one", "dev", &commit('a'), "failure"));
    let fresh = hub.get(&format!("{STATUS}&version=1.0&wait=0s")).json();
    assert_eq!(verdict(&fresh), ("failed", false), "Flux may try again");
    assert_eq!(fresh["failing_clause"]["clause"], "max_failures");
    // One that has failed for long, by the time of the report and not by that of the question.
    hub.push(&descriptor("stage", "1.0", &commit('a')));
    let mut old: Value = serde_json::from_str(&report("old", "stage", &commit('a'), "failure")).unwrap();
    old["reported_at"] = json!("2026-01-01T00:00:00Z");
    say(&hub, &old.to_string());
    let mut descriptor_of_old: Value = serde_json::from_str(&descriptor("stage", "1.0", &commit('a'))).unwrap();
    descriptor_of_old["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!("2025-12-31T00:00:00Z");
    hub.push(&descriptor_of_old.to_string());
    let stood =
        hub.get("/api/v1/rollouts/status?environment=stage&workload=web&version=1.0&wait=50s&min_hosts=1").json();
    assert_eq!(verdict(&stood), ("failed", true));
    // Without any grace the first failure ends the wait.
    let answer = hub.get(&format!("{STATUS}&version=1.0&wait=50s&failure_grace=0s")).json();
    assert_eq!(verdict(&answer), ("failed", true));
    // Time alone makes it final.
    let answer = hub.get(&format!("{STATUS}&version=1.0&wait=50s&failure_grace=1s")).json();
    assert_eq!(verdict(&answer), ("failed", true));
}

#[test]
fn whoever_waits_while_the_hub_restarts_asks_again_and_misses_nothing() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report("one", "dev", &commit('0'), "success"));
    let mut events = Events::open(&hub, "version=1.0", None);
    let first = events.next().unwrap();
    let mut polls = hub.connect();
    write!(polls, "GET {STATUS}&version=1.0&wait=50s HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n").unwrap();
    let hub = hub.stop_and_restart();
    let refused = crate::hub::Answer::read(&mut polls);
    assert!(refused.problem(503).contains("shutting down"));
    assert!(refused.header("retry-after").is_some());
    assert!(events.next().is_none(), "the stream has ended");
    // The same answer has the same id in the next life of the hub.
    let mut again = Events::open(&hub, "version=1.0", Some(&first.id));
    say(&hub, &report("one", "dev", &commit('a'), "success"));
    let next = again.next().unwrap();
    assert_eq!(verdict(&next.answer), ("complete", true));
    assert!(again.next().is_none(), "nothing comes after what is final");
    let over = hub.ask("GET", &format!("{EVENTS}&version=1.0"), &[("last-event-id", &next.id)], b"");
    assert_eq!(over.status, 204);
    let answer = hub.get(&format!("{STATUS}&version=1.0&wait=50s")).json();
    assert_eq!(verdict(&answer), ("complete", true));
}

#[test]
fn a_heartbeat_is_no_news() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, &report_at("one", '0', "success", "2026-01-01T00:00:00Z"));
    let mut events = Events::open(&hub, "version=1.0", None);
    let first = events.next().unwrap();
    say(&hub, &report_at("one", '0', "success", "2026-01-01T00:05:00Z"));
    say(&hub, &report_at("one", 'a', "in_progress", "2026-01-01T00:06:00Z"));
    let second = events.until(|a| a["buckets"]["in_progress"] == 1);
    assert_ne!(first.id, second.id);
    let mut resumed = Events::open(&hub, "version=1.0", Some(&second.id));
    say(&hub, &report_at("one", 'a', "in_progress", "2026-01-01T00:07:00Z"));
    say(&hub, &report_at("one", 'a', "success", "2026-01-01T00:08:00Z"));
    assert_eq!(verdict(&resumed.next().unwrap().answer), ("complete", true));
}

#[test]
fn there_are_only_so_many_waiters_and_a_wait_is_not_endless() {
    let hub = crate::hub::TestHubBuilder::new().with_arg("--max-waiters", "1").spawn();
    let mut one = Events::open(&hub, "version=1.0", None);
    one.next().unwrap();
    let crowded = hub.get(&format!("{STATUS}&version=1.0&wait=1s"));
    assert_eq!(crowded.problem(429), "too many are waiting");
    assert_eq!(hub.get("/api/v1/changes?follow=true").problem(429), "too many are waiting");
    assert_eq!(hub.get("/api/v1/changes").status, 200, "who does not wait needs no place");
    assert!(hub.get(&format!("{STATUS}&version=1.0&wait=11m")).problem(400).contains("longest wait"));
    assert!(hub.get(&format!("{STATUS}&version=1.0&unknown_grace=1m")).problem(400).contains("goes with 'wait'"));
    assert!(hub.get(&format!("{EVENTS}&version=1.0&wait=1m")).problem(400).contains("unknown parameter"));
}
