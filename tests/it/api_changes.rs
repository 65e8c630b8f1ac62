//! The feed of changes: what external systems follow.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::hub::{TestHub, commit, descriptor, report};

/// The lines of an answer that ends.
#[track_caller]
fn read(hub: &TestHub, query: &str) -> Vec<Value> {
    let answer = hub.get(&format!("/api/v1/changes?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What lines are about: the kind, and the name where there is one.
fn about(lines: &[Value]) -> Vec<String> {
    let name = |line: &Value| match line["kind"].as_str().unwrap() {
        "reconciler" => format!("reconciler {} {}", line["host"], line["reconciler"]),
        "host" => format!("host {}", line["host"]),
        "deployment_target" => format!("target {}", line["environment"]),
        control => control.to_owned(),
    };
    lines.iter().map(|line| name(line).replace('"', "")).collect()
}

fn say(hub: &TestHub, line: &str) -> Value {
    let answer = hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", line);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// An answer that goes on: HTTP/1.0, so that it comes without chunks.
struct Following(BufReader<TcpStream>);

impl Following {
    fn open(hub: &TestHub, query: &str, headers: &str) -> Following {
        let mut stream = hub.connect();
        write!(stream, "GET /api/v1/changes?{query} HTTP/1.0\r\n{headers}accept-encoding: gzip\r\n\r\n").unwrap();
        let mut following = Following(BufReader::new(stream));
        assert!(following.line().unwrap().contains(" 200 "));
        while !following.line().unwrap().is_empty() {}
        following
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let n = self.0.read_line(&mut line).unwrap();
        (n > 0).then(|| line.trim_end().to_owned())
    }

    /// What is told up to the next `through`, which is left out.
    fn round(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let line: Value = serde_json::from_str(&self.line().unwrap()).unwrap();
            if line["kind"] == "through" {
                return lines;
            }
            lines.push(line);
        }
    }

    /// The fields of the next event, comments left out.
    fn event(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        loop {
            match self.line().unwrap() {
                end if end.is_empty() && !fields.is_empty() => return fields,
                field if !field.starts_with(':') && !field.is_empty() => fields.push(field),
                _ => {}
            }
        }
    }
}

#[test]
fn a_reader_that_goes_on_from_where_it_was_misses_nothing_and_reads_nothing_twice() {
    let hub = TestHub::spawn();
    assert_eq!(about(&read(&hub, "")), ["through"]);
    for (nth, environment) in ["dev", "stage", "prod"].into_iter().enumerate() {
        hub.push(&descriptor(environment, "1.0.0", &commit('a')));
        let lines: Vec<String> =
            (0..200).map(|n| report(&format!("h{}", n + 200 * nth), environment, &commit('a'), "success")).collect();
        say(&hub, &lines.join("\n"));
    }
    let (mut since, mut told, mut reads) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let mut lines = read(&hub, &format!("since={since}&limit=1"));
        let through = lines.pop().unwrap();
        assert_eq!(through["kind"], "through");
        assert_eq!(through["cursor"].as_str().unwrap().split_once('-').unwrap().1, through["seq"].to_string());
        since = through["cursor"].as_str().unwrap().to_owned();
        if lines.is_empty() {
            break;
        }
        reads += 1;
        told.extend(lines);
    }
    assert!(reads > 1);
    let once: BTreeSet<String> = about(&told).into_iter().collect();
    assert_eq!((once.len(), told.len()), (3 + 600 + 600, 3 + 600 + 600));
    let seqs: Vec<u64> = told.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted());
}

#[test]
fn whoever_stops_in_the_middle_goes_on_from_the_last_cursor_without_a_loss() {
    let hub = TestHub::spawn();
    let lines: Vec<String> = (0..300).map(|n| report(&format!("h{n}"), "dev", &commit('a'), "success")).collect();
    say(&hub, &lines.join("\n"));
    let all = read(&hub, "since=0");
    let wanted: BTreeSet<String> = about(&all).into_iter().collect();
    for stop in [1, 150, 299, 300, 599] {
        let rest = read(&hub, &format!("since={}", all[stop - 1]["cursor"].as_str().unwrap()));
        let told: BTreeSet<String> = about(&all[..stop]).into_iter().chain(about(&rest)).collect();
        assert_eq!(told, wanted, "stopped after {stop}");
    }
}

#[test]
fn a_line_says_of_an_object_what_the_lists_say() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    let host = r#"{"name":"h1","labels":{"ring":"1"},"contact":"ops"}"#;
    assert_eq!(hub.post("/api/v1/ingest/hosts", "application/json", host).status, 200);
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    let failing = report("h1", "dev", &commit('b'), "failure").replace('}', r#","applied_commit":"APPLIED"}"#);
    say(&hub, &failing.replace("APPLIED", &commit('a')));
    let lines = read(&hub, "since=0");
    assert_eq!(about(&lines), ["target dev", "host h1", "reconciler h1 web", "through"]);
    let (target, told) = (&lines[0], &lines[2]);
    assert_eq!(
        (&told["commit"], &told["attempted_commit"]),
        (&json!(format!("sha1:{}", commit('a'))), &json!(format!("sha1:{}", commit('b'))))
    );
    for (line, list) in lines.iter().zip(["deployment-targets", "hosts", "reconcilers"]) {
        let row = hub.get(&format!("/api/v1/{list}/{}?fresh=true", line["id"].as_str().unwrap())).json();
        for (name, value) in line.as_object().unwrap() {
            if row.get(name).is_some() {
                assert_eq!(&row[name], value, "{list}.{name}");
            }
        }
        assert!(line.as_object().unwrap().keys().filter(|name| row.get(*name).is_some()).count() >= 4, "{list}");
    }
    let state = &hub.get("/api/v1/views/environment-state").rows()[0];
    for name in ["desired_version", "desired_commit", "assigned_at", "workload"] {
        assert_eq!(target[name], state[name], "{name}");
    }
}

#[test]
fn an_object_that_changed_often_is_told_once_and_a_confirmation_is_no_change() {
    let hub = TestHub::spawn();
    let at = |status: &str, time: &str| {
        let line = report("h1", "dev", &commit('a'), status);
        line.replacen('{', &format!(r#"{{"reported_at":"2026-01-01T{time}:00Z","#), 1)
    };
    for (status, time) in [("in_progress", "10:00"), ("failure", "10:01"), ("success", "10:02")] {
        say(&hub, &at(status, time));
    }
    let lines = read(&hub, "since=0");
    assert_eq!(about(&lines), ["host h1", "reconciler h1 web", "through"]);
    assert_eq!(lines[1]["status"], "success");
    let since = lines[2]["cursor"].as_str().unwrap();
    say(&hub, &at("success", "10:30"));
    let moved = read(&hub, &format!("since={since}"));
    assert_eq!(about(&moved), ["through"]);
    say(&hub, &at("failure", "10:31"));
    assert_eq!(about(&read(&hub, &format!("since={since}"))), ["reconciler h1 web", "through"]);
}

#[test]
fn filters_pick_kinds_names_and_reconcilers_by_the_targets_at_their_endpoint() {
    let hub = TestHub::spawn();
    hub.push(&[descriptor("dev", "1.0.0", &commit('a')), descriptor("prod", "1.0.0", &commit('a'))].join("\n"));
    let lines = [
        report("h1", "dev", &commit('a'), "success"),
        report("h2", "prod", &commit('a'), "success"),
        report("h3", "nowhere", &commit('a'), "success"),
    ];
    say(&hub, &lines.join("\n"));
    let told = |query: &str| {
        let mut told = about(&read(&hub, &format!("since=0&{query}")));
        assert_eq!(told.pop().unwrap(), "through");
        told.sort();
        told
    };
    assert_eq!(told("").len(), 8);
    assert_eq!(told("environment=dev"), ["host h1", "reconciler h1 web", "target dev"]);
    assert_eq!(told("workload=web&workspace=shop&kind=reconciler"), ["reconciler h1 web", "reconciler h2 web"]);
    assert_eq!(told("host=h3,h2"), ["host h2", "host h3", "reconciler h2 web", "reconciler h3 web"]);
    assert_eq!(told("host=h1&environment=prod"), [""; 0]);
    assert_eq!(told("reconciler=web").len(), 3);
    assert_eq!(told("kind=deployment_target"), ["target dev", "target prod"]);
    assert_eq!(told("deployment_target=edge&kind=host"), ["host h1", "host h2"]);
}

#[test]
fn what_the_feed_cannot_tell_is_a_resync_and_never_silence() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    let last = read(&hub, "").pop().unwrap();
    let cursor = last["cursor"].as_str().unwrap().to_owned();
    let (epoch, seq) = cursor.split_once('-').unwrap();
    for unknown in [format!("0{}-{seq}", epoch.len()), format!("{epoch}-9999999"), "9999999".to_owned()] {
        let lines = read(&hub, &format!("since={unknown}"));
        assert_eq!(about(&lines), ["resync", "through"], "{unknown}");
        assert_eq!(lines[0]["seq"], last["seq"]);
    }
    let hub = hub.crash_and_restart();
    assert_eq!(about(&read(&hub, "since=0")), ["resync", "through"]);
    assert_eq!(about(&read(&hub, &format!("since={cursor}"))), ["through"], "nothing happened in between");
    hub.push(&descriptor("prod", "1.0.0", &commit('a')));
    assert_eq!(about(&read(&hub, &format!("since={cursor}"))), ["target prod", "through"]);
}

#[test]
fn a_long_poll_answers_when_there_is_something_or_when_its_time_is_over() {
    let hub = TestHub::spawn();
    assert_eq!(about(&read(&hub, "wait=1ms")), ["through"]);
    let mut waiting = Following::open(&hub, "wait=10m&kind=reconciler", "");
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    say(&hub, &report("h1", "dev", &commit('a'), "success"));
    assert_eq!(about(&waiting.round()), ["reconciler h1 web"]);
    assert_eq!(waiting.line(), None);
}

#[test]
fn a_follower_is_told_what_changes_later_and_ends_when_the_hub_stops() {
    let hub = TestHub::spawn();
    let mut following = Following::open(&hub, "follow=true", "");
    assert!(following.round().is_empty(), "it is told where it is");
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    assert_eq!(about(&following.round()), ["target dev"]);
    say(&hub, &report("h1", "dev", &commit('a'), "in_progress"));
    assert_eq!(about(&following.round()), ["reconciler h1 web", "host h1"]);
    let mut limited = Following::open(&hub, "follow=true&since=0&limit=1", "");
    assert_eq!(about(&limited.round()), ["target dev"]);
    assert_eq!(limited.line(), None);
    let status = hub.stop();
    assert!(status.success(), "{status}");
    assert!(following.round().is_empty());
    assert_eq!(following.line(), None);
}

#[test]
fn events_resume_from_the_id_of_the_last_one() {
    let hub = TestHub::spawn();
    hub.push(&descriptor("dev", "1.0.0", &commit('a')));
    let accept = "accept: text/event-stream\r\n";
    let mut events = Following::open(&hub, "since=0", accept);
    assert_eq!(events.event(), ["retry: 1000"]);
    let event = events.event();
    let line: Value = serde_json::from_str(event[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(event[0], format!("id: {}", line["cursor"].as_str().unwrap()));
    assert_eq!((event[1].as_str(), &line["environment"]), ("event: deployment_target", &json!("dev")));
    assert_eq!(events.event()[1], "event: through");
    drop(events);
    hub.push(&descriptor("prod", "1.0.0", &commit('a')));
    let id = line["cursor"].as_str().unwrap();
    let mut events = Following::open(&hub, "since=0", &format!("{accept}last-event-id: {id}\r\n"));
    assert_eq!(events.event(), ["retry: 1000"]);
    assert!(events.event()[2].contains(r#""environment":"prod""#));
    let asked = [("accept", "text/event-stream"), ("last-event-id", "seven")];
    assert!(hub.ask("GET", "/api/v1/changes", &asked, b"").problem(400).contains("Last-Event-ID"));
}

#[test]
fn a_malformed_question_is_taught_how_to_ask() {
    let hub = TestHub::spawn();
    let refused = hub.get("/api/v1/changes?since=yesterday");
    assert_eq!(refused.problem(400), "'since' is a cursor or a sequence number, not 'yesterday'");
    assert!(refused.text().contains("'cursor' of the last line"));
    assert!(hub.get("/api/v1/changes?enviroment=dev").problem(400).contains("unknown parameter"));
    assert!(hub.get("/api/v1/changes?kind=pod").problem(400).contains("no kind 'pod'"));
    for wrong in ["wait=11m", "wait=soon", "follow=maybe", "limit=0", "follow=true&wait=1s", "since=-7"] {
        hub.get(&format!("/api/v1/changes?{wrong}")).problem(400);
    }
}
