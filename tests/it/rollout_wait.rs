//! `koh rollout wait` against a hub that the test plays itself, connection by connection: what it asks, what it makes of broken
//! connections, and how it ends.
//!
//! Invariant: the test decides when the hub speaks, so every order of events is one that was chosen.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 1\n\n";

/// The hub's side.
struct Played {
    listener: TcpListener,
}

/// A waiting `koh` and what it says while it waits.
struct Waiting {
    child: Child,
    progress: BufReader<std::process::ChildStderr>,
}

impl Played {
    fn new() -> Played {
        Played { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koh"));
        command
            .args(["rollout", "wait", "--environment", "prod", "--workload", "web", "--version", "1.0", "--url"])
            .arg(format!("http://{}", self.listener.local_addr().unwrap()))
            .args(args)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn asked(&self, args: &[&str]) -> Waiting {
        Waiting::new(&mut self.command(args))
    }

    /// The next request: its connection and its head, which is that of a question to the stream of events.
    #[track_caller]
    fn accept(&self) -> (TcpStream, String) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("GET /api/v1/rollouts/events?"), "{head}");
        assert!(head.contains("accept: text/event-stream\r\n"), "{head}");
        (stream, head)
    }

    /// The next request, answered with the beginning of a stream and these events.
    #[track_caller]
    fn tell(&self, events: &[(&str, Value)]) -> (TcpStream, String) {
        let (mut stream, head) = self.accept();
        stream.write_all(STREAM.as_bytes()).unwrap();
        events.iter().for_each(|(id, answer)| tell(&mut stream, id, answer));
        (stream, head)
    }

    /// The next request, refused.
    #[track_caller]
    fn refuse(&self, status: &str, media_type: &str, body: &str) {
        let (mut stream, _) = self.accept();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

impl Waiting {
    fn new(command: &mut Command) -> Waiting {
        let mut child = command.spawn().unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap());
        Waiting { child, progress }
    }

    /// Reads progress until a line holds `text`.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        let mut all = String::new();
        while !all.lines().any(|line| line.contains(text)) {
            assert!(self.progress.read_line(&mut all).unwrap() > 0, "{text:?} was not said, but:\n{all}");
        }
        all
    }

    /// Exit code, standard output, and the rest of standard error.
    #[track_caller]
    fn ends(mut self) -> (Option<i32>, String, String) {
        let (mut answer, mut progress) = (String::new(), String::new());
        self.progress.read_to_string(&mut progress).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
        let status: ExitStatus = self.child.wait().unwrap();
        (status.code(), answer, progress)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(stream: &mut TcpStream, id: &str, answer: &Value) {
    write!(stream, "id: {id}\nevent: answer\ndata: {answer}\n\n").unwrap();
}

fn answer(verdict: &str, reason: &str) -> Value {
    json!({"verdict": verdict, "reason": reason, "final": false})
}

fn last(verdict: &str) -> Value {
    json!({"verdict": verdict, "reason": "So it is.", "final": true})
}

#[test]
fn the_exit_code_is_the_final_verdict_and_nothing_escapes_to_a_log() {
    for (verdict, code) in [("complete", 0), ("failed", 1), ("superseded", 6), ("unknown_commit", 4), ("no_targets", 4)]
    {
        let hub = Played::new();
        let waiting = hub.asked(&["--soak", "10m", "--after", "dev,stage", "--failure-grace", "5m"]);
        let (stream, head) =
            hub.tell(&[("1", answer("in_progress", "Wait \u{1b}[31mfor\u{7} it.")), ("2", last(verdict))]);
        for parameter in ["version=1.0", "soak=10m", "after=dev&after=stage", "failure_grace=5m"] {
            assert!(head.contains(parameter), "{head}");
        }
        let (exit, said, progress) = waiting.ends();
        assert_eq!(exit, Some(code), "{said}{progress}");
        assert!(said.starts_with(&format!("{verdict}: So it is.")), "{said}");
        assert!(!said.contains('\u{1b}') && !progress.contains('\u{1b}'), "{said}{progress}");
        drop(stream);
    }
}

#[test]
fn a_stream_that_breaks_off_is_resumed_after_the_answer_that_was_seen_last() {
    let hub = Played::new();
    let mut waiting = hub.asked(&[]);
    let (stream, head) = hub.tell(&[("a:1", answer("in_progress", "One of two."))]);
    assert!(!head.contains("last-event-id"), "{head}");
    assert!(waiting.says("One of two.").contains("waiting for version 1.0 on workload web, environment prod"));
    drop(stream);
    let (mut stream, head) = hub.accept();
    assert!(head.contains("last-event-id: a:1\r\n"), "{head}");
    // Half an event is none.
    write!(stream, "{STREAM}id: a:2\ndata: {}\n", last("failed")).unwrap();
    drop(stream);
    let (_stream, head) = hub.tell(&[("a:3", last("complete"))]);
    assert!(head.contains("last-event-id: a:1\r\n"), "{head}");
    assert_eq!(waiting.ends().0, Some(0));
}

#[test]
fn a_final_answer_that_was_seen_and_still_stands_is_the_answer() {
    let hub = Played::new();
    let mut waiting = hub.asked(&[]);
    drop(hub.tell(&[("1", answer("failed", "One failed."))]).0);
    waiting.says("One failed.");
    let (mut stream, _) = hub.accept();
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert_eq!(waiting.ends().0, Some(1));
}

#[test]
fn a_hub_that_is_restarting_and_a_proxy_that_misses_it_are_waited_for() {
    let hub = Played::new();
    let mut waiting = hub.asked(&[]);
    drop(hub.tell(&[("1", answer("in_progress", "One of two."))]).0);
    hub.refuse("503 Service Unavailable", "application/problem+json", r#"{"title": "the hub is stopping"}"#);
    waiting.says("the hub is stopping; trying again");
    hub.refuse("404 Not Found", "text/html", "<h1>404</h1>");
    hub.refuse("200 OK", "text/html", "<h1>starting</h1>");
    let _stream = hub.tell(&[("2", last("complete"))]);
    assert_eq!(waiting.ends().0, Some(0));
}

#[test]
fn a_refused_question_ends_at_once_and_says_why() {
    let hub = Played::new();
    let waiting = hub.asked(&[]);
    hub.refuse(
        "400 Bad Request",
        "application/problem+json",
        r#"{"title": "no such policy", "detail": "There is 'careful'."}"#,
    );
    let (exit, said, progress) = waiting.ends();
    assert_eq!((exit, said.as_str()), (Some(5), ""));
    assert!(progress.contains("koh: no such policy\nThere is 'careful'.\n"), "{progress}");
}

#[test]
fn when_the_time_is_up_the_last_answer_counts_unless_the_hub_is_gone() {
    let verdicts = [("in_progress", 3), ("stalled", 1), ("failed", 1), ("unknown_commit", 4), ("complete", 5)];
    let hubs = verdicts.map(|_| Played::new());
    let mut waiting: Vec<Waiting> = hubs.iter().map(|hub| hub.asked(&["--timeout", "5s"])).collect();
    let told = hubs.iter().zip(verdicts).map(|(hub, (verdict, _))| hub.tell(&[("1", answer(verdict, "Not yet."))]).0);
    let mut streams: Vec<TcpStream> = told.collect();
    // The last hub goes away.
    waiting[4].says("Not yet.");
    drop((hubs, streams.pop()));
    let gone = waiting.pop().unwrap();
    for (waiting, (verdict, code)) in waiting.into_iter().zip(verdicts) {
        let (exit, said, progress) = waiting.ends();
        assert_eq!(exit, Some(code), "{progress}");
        assert!(said.starts_with(&format!("{verdict}: Not yet.")), "{said}");
        assert!(progress.contains("gave up after 5s"), "{progress}");
    }
    let (exit, said, progress) = gone.ends();
    assert_eq!((exit, said.as_str()), (Some(5), ""), "{progress}");
    assert!(
        progress.contains("cannot reach the hub") && progress.contains("the last answer was complete"),
        "{progress}"
    );
}

#[test]
fn what_stays_unknown_is_given_up_after_its_grace() {
    let hub = Played::new();
    let waiting = hub.asked(&["--unknown-grace", "1s"]);
    let (_stream, head) = hub.tell(&[("1", answer("unknown_commit", "Never heard of it."))]);
    assert!(!head.contains("unknown_grace"), "{head}");
    let (exit, said, progress) = waiting.ends();
    assert_eq!(exit, Some(4), "{progress}");
    assert!(said.contains("the hub has no assignment for version 1.0 on"), "{said}");
}

#[test]
fn whoever_interrupts_is_told_the_last_answer() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let hub = Played::new();
        let mut waiting = hub.asked(&[]);
        let _stream = hub.tell(&[("1", answer("in_progress", "One of two."))]);
        waiting.says("One of two.");
        assert!(Command::new("kill").args([signal, &waiting.child.id().to_string()]).status().unwrap().success());
        let (exit, said, progress) = waiting.ends();
        assert_eq!((exit, said.as_str()), (Some(code), ""));
        assert!(progress.contains("the last answer was in_progress: One of two."), "{progress}");
    }
}

#[test]
fn the_answer_is_printed_as_the_hub_gave_it_or_as_test_results() {
    let target = |name: &str, verdict: &str| json!({"environment": "prod", "workload": "web", "deployment_target": name, "verdict": verdict});
    let answer = json!({"verdict": "failed", "reason": "One <failed>.", "final": true, "later": [1.0],
                        "targets": [target("cloud", "complete"), target("edge", "failed")]});
    let printed = |output: &str| {
        let hub = Played::new();
        let waiting = hub.asked(&["--output", output]);
        let _stream = hub.tell(&[("1", answer.clone())]);
        waiting.ends().1
    };
    assert_eq!(serde_json::from_str::<Value>(&printed("json")).unwrap(), answer);
    let junit = printed("junit");
    assert!(junit.contains(r#"<testsuite name="prod/web" tests="2" failures="1""#), "{junit}");
}

#[test]
fn a_job_of_github_gets_a_summary_and_outputs_and_does_without_where_they_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, output) = (folder.path().join("summary"), folder.path().join("output"));
    std::fs::write(&output, "before=1\n").unwrap();
    let hub = Played::new();
    let mut command = hub.command(&[]);
    let waiting = Waiting::new(command.env("GITHUB_STEP_SUMMARY", &summary).env("GITHUB_OUTPUT", &output));
    let _stream = hub.tell(&[("1", json!({"verdict": "failed", "reason": "One\nverdict=complete", "final": true}))]);
    assert_eq!(waiting.ends().0, Some(1));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "before=1\nverdict=failed\nreason=One verdict=complete\n");
    assert!(
        std::fs::read_to_string(&summary)
            .unwrap()
            .starts_with("### version 1.0 on workload web, environment prod: failed\n")
    );

    let hub = Played::new();
    let mut command = hub.command(&[]);
    let waiting = Waiting::new(command.env("GITHUB_STEP_SUMMARY", folder.path()));
    let _stream = hub.tell(&[("1", last("complete"))]);
    let (exit, _, progress) = waiting.ends();
    assert_eq!(exit, Some(0));
    assert!(progress.contains("koh: warning: GITHUB_STEP_SUMMARY cannot be written"), "{progress}");
}
