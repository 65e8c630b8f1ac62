//! Classes of hosts: intervals of their own, what the gate and the tables make of them, and how they change while a hub runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use koh::ledger::{Ledger, Options, Store};
use koh::model::{Body, Fact, Liveness, Micros};
use koh::state::{Heartbeat, Heartbeats};
use serde_json::{Value, json};

use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, report};
use crate::ledger_disk::Disk;
use crate::ledger_facts::{SECOND, dump, host, still};

const MINUTE: i64 = 60 * SECOND;

fn beat(late: i64, silent: i64) -> Heartbeat {
    Heartbeat { late_after: late * MINUTE, silent_after: silent * MINUTE, optional: false }
}

fn classes<const N: usize>(described: [(&str, Heartbeat); N]) -> Heartbeats {
    Heartbeats::new(Heartbeat::default(), described.map(|(name, beat)| (name.to_owned(), beat)))
}

fn of_class(name: &str, class: Option<&str>, labels: &str) -> Fact {
    let mut fact = host(name, 0);
    let Body::Host(said) = &mut fact.body else { panic!("a host") };
    (said.class, said.labels) = (class.map(str::to_owned), labels.to_owned());
    fact
}

/// A ledger with a clock of its own.
struct Timed {
    minutes: Arc<AtomicI64>,
    disk: Disk,
    ledger: Ledger,
}

impl Timed {
    fn options(minutes: &Arc<AtomicI64>, heartbeats: Heartbeats) -> Options {
        let minutes = Arc::clone(minutes);
        let clock = Arc::new(move || Micros(minutes.load(Ordering::Relaxed) * MINUTE));
        Options { heartbeats, clock, ..still() }
    }

    fn open(heartbeats: Heartbeats) -> Timed {
        let (minutes, disk) = (Arc::new(AtomicI64::new(0)), Disk::default());
        let ledger = Ledger::open(Store::backend(disk.clone()), Timed::options(&minutes, heartbeats)).unwrap();
        Timed { minutes, disk, ledger }
    }

    /// What a crash leaves, opened again.
    fn reopened(&self, heartbeats: Heartbeats) -> Timed {
        let minutes = Arc::new(AtomicI64::new(self.minutes.load(Ordering::Relaxed)));
        let disk = Disk::with(self.disk.bytes());
        let ledger = Ledger::open(Store::backend(disk.clone()), Timed::options(&minutes, heartbeats)).unwrap();
        Timed { minutes, disk, ledger }
    }

    /// What every host is at that minute, in the order in which they were heard first.
    async fn at(&self, minute: i64) -> Vec<Liveness> {
        self.minutes.store(minute, Ordering::Relaxed);
        self.ledger.sweep().await.unwrap();
        self.ledger.tables().1.hosts.iter().map(|(_, h)| h.silence).collect()
    }

    /// The changes of one host: minute and what it turned.
    fn changes(&self, host: u32) -> Vec<(i64, Liveness)> {
        let (_, tables) = self.ledger.tables();
        tables.hosts.get(host).unwrap().silences.iter().map(|e| (e.at.0 / MINUTE, e.liveness)).collect()
    }
}

#[tokio::test]
async fn every_class_turns_by_its_own_intervals_and_by_others_once_these_change() {
    use Liveness::{Late, Online, Silent, Unknown};
    let optional = Heartbeat { optional: true, ..Heartbeat::default() };
    let hub = Timed::open(classes([("edge", beat(60, 1_440)), ("laptop", optional)]));
    let labelled = of_class("labelled", None, r#"{"hub.kalypso.io/class":"edge"}"#);
    let both = of_class("both", Some("laptop"), r#"{"hub.kalypso.io/class":"edge"}"#);
    let said = [of_class("plain", Some("other"), ""), of_class("edge", Some("edge"), ""), labelled, both].to_vec();
    hub.ledger.append(said).await.unwrap();
    assert_eq!(hub.at(14).await, [Online; 4]);
    assert_eq!(hub.at(15).await, [Late, Online, Online, Online]);
    assert_eq!(hub.at(60).await, [Silent, Late, Late, Unknown]);

    // Longer: who is not silent by the new interval is so no more, without a word. No class at all: the default.
    hub.minutes.store(70, Ordering::Relaxed);
    hub.ledger.set_heartbeats(classes([("edge", beat(120, 1_440)), ("other", beat(60, 90))]));
    assert_eq!(hub.at(70).await, [Late, Online, Online, Silent]);
    assert_eq!(hub.changes(0), [(15, Late), (60, Silent), (70, Late)]);
    assert_eq!(hub.changes(1), [(60, Late), (70, Online)]);
    assert_eq!(
        hub.changes(3),
        [(60, Unknown), (70, Silent)],
        "not as of a time in which other intervals were in force"
    );
    assert_eq!(hub.at(90).await, [Silent, Online, Online, Silent]);

    // A restart concludes nothing, and takes nothing back: neither by the same intervals nor by shorter ones.
    let (_, before) = hub.ledger.tables();
    let restarted = hub.reopened(classes([("edge", beat(5, 10)), ("other", beat(60, 90))]));
    assert!(dump(&restarted.ledger.tables().1) == dump(&before));
    assert_eq!(restarted.at(94).await, [Silent, Online, Online, Silent]);
    assert_eq!(restarted.at(95).await, [Silent, Late, Late, Silent], "one interval of listening later");
    assert_eq!(restarted.at(100).await, [Silent, Silent, Silent, Silent]);

    // Shorter, while it listens: at once, and as of the change.
    hub.minutes.store(91, Ordering::Relaxed);
    hub.ledger.set_heartbeats(classes([("edge", beat(5, 10)), ("other", optional)]));
    assert_eq!(hub.at(91).await, [Unknown, Silent, Silent, Silent]);
    assert_eq!(hub.changes(2), [(60, Late), (70, Online), (91, Silent)]);
    assert_eq!(hub.changes(0), [(15, Late), (60, Silent), (70, Late), (90, Silent), (91, Unknown)]);
    let restarted = hub.reopened(Heartbeats::default());
    assert_eq!(restarted.at(92).await, [Unknown, Silent, Silent, Silent], "what was concluded of the class stands");
}

fn say(hub: &TestHub, kind: &str, said: &Value) {
    let path = format!("/api/v1/ingest/{kind}");
    let answer = hub.post(&path, "application/json", said.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A report on the commit before the one that is wanted, of a host labelled with a class.
fn behind(name: &str, class: &str) -> Value {
    let mut said: Value = serde_json::from_str(&report(name, "dev", &commit('0'), "success")).unwrap();
    said["labels"] = json!({"hub.kalypso.io/class": class});
    said
}

fn write(file: &Path, edge: &str, laptop: &str) {
    let text = format!("classes: [{{name: edge, {edge}}}, {{name: laptop, {laptop}}}]");
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, file).unwrap();
}

fn sql(hub: &TestHub, statement: &str) -> Vec<Value> {
    hub.post("/api/v1/sql?fresh=true", "text/plain", statement).rows()
}

/// Host, class and liveness, as SQL has them.
fn hosts(hub: &TestHub) -> Vec<[String; 3]> {
    let word = |row: &Value, column: &str| row[column].as_str().unwrap_or("none").to_owned();
    let rows = sql(hub, "SELECT host, class, liveness FROM hosts ORDER BY host");
    rows.iter().map(|row| ["host", "class", "liveness"].map(|column| word(row, column))).collect()
}

/// Waits until the hosts are so.
fn are<const N: usize>(hub: &TestHub, wanted: [[&str; 3]; N]) {
    while hosts(hub) != wanted {}
}

const DEV: &str = "/api/v1/rollouts/status?environment=dev&workload=web&version=1.0";

#[test]
fn a_silent_host_of_the_edge_is_behind_and_a_laptop_that_is_off_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("classes.yaml");
    let (day, optional, short) = ("silent_after: 1d, late_after: 1d", "reporting: optional", "silent_after: 1s");
    write(&file, day, optional);
    let hub = TestHubBuilder::new()
        .with_arg("--late-after", "1s")
        .with_arg("--silent-after", "1s")
        .with_arg("--classes", file.to_str().unwrap())
        .spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    for (name, class) in [("far", "edge"), ("plain", "unheard of"), ("lap", "laptop")] {
        say(&hub, "reconcilers", &behind(name, class));
    }
    let good = report("good", "dev", &commit('a'), "success");
    say(&hub, "reconcilers", &serde_json::from_str(&good).unwrap());
    let expected = json!({
        "name": "new", "class": "laptop", "contact": "it@example.org",
        "expects": [{"workload": "web", "environment": "dev", "deployment_target": "edge"}],
    });
    say(&hub, "hosts", &expected);
    let good = ["good", "none", "silent"];
    let so = |far, lap, new| {
        let (far, lap, new) = (["far", "edge", far], ["lap", "laptop", lap], ["new", "laptop", new]);
        [far, good, lap, new, ["plain", "unheard of", "silent"]]
    };
    are(&hub, so("online", "unknown", "unknown"));

    let buckets = |answer: &Value| {
        let of = |bucket: &str| answer["buckets"][bucket].as_u64().unwrap();
        (answer["total"].as_u64().unwrap(), ["success", "behind", "silent", "never_reported"].map(of))
    };
    let answer = hub.get(DEV).json();
    assert_eq!(buckets(&answer), (3, [1, 1, 1, 0]), "{answer:#}");
    assert_eq!((&answer["left_out"]["total"], &answer["targets"][0]["left_out"]), (&json!(2), &json!(2)));
    let of = |list: &Value| -> Vec<(String, String)> {
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|row| (word(row, "host"), word(row, "bucket"))).collect()
    };
    let pairs = |pairs: [(&str, &str); 2]| pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(of(&answer["hosts"]), pairs([("plain", "silent"), ("far", "behind")]));
    assert_eq!(of(&answer["left_out"]["hosts"]), pairs([("new", "never_reported"), ("lap", "behind")]));
    assert_eq!(answer["left_out"]["hosts"][0]["contact"], "it@example.org");
    let reason = "1 of 3 reconcilers succeeded: 1 behind, 1 silent; 2 left out, not heard for long and of a class that need \
                  not report.";
    assert_eq!(answer["reason"], reason);
    let held = hub.get(&DEV.replace("status", "hosts")).rows();
    assert_eq!(held.len(), 2, "{held:#?}");
    let rollout = hub.get("/api/v1/rollouts?fresh=true&environment=dev").rows().remove(0);
    let shown = ["success", "behind", "silent", "never_reported"].map(|c| rollout[c].as_u64().unwrap());
    assert_eq!(shown, [1, 1, 1, 0], "{rollout:#}");
    let strict = hub.get(&format!("{DEV}&silent=fail&min_success_percent=1")).json();
    assert_eq!((&strict["verdict"], buckets(&strict).0), (&json!("failed"), 3), "the one silent host is the plain one");
    let drifts = hub.get("/api/v1/views/host-state?fresh=true&drift=silent").rows();
    assert_eq!(drifts.iter().map(|r| r["host"].as_str().unwrap()).collect::<Vec<_>>(), ["good", "plain"]);

    // The file changes while somebody waits, and says nonsense meanwhile: nobody is left out any more.
    std::fs::write(&file, "classes: [{name: edge, silent_afer: 1s}]").unwrap();
    write(&file, short, day);
    are(&hub, so("silent", "online", "online"));
    let answer = hub.get(DEV).json();
    assert_eq!(buckets(&answer), (5, [1, 1, 2, 1]), "{answer:#}");
    assert_eq!(answer["left_out"], json!({"total": 0, "hosts": []}));

    // And back: who waits for the laptops hears of it when they are unknown again.
    write(&file, day, optional);
    let waited = hub.get(&format!("{DEV}&silent=ignore&min_success_percent=50&wait=50s")).json();
    assert_eq!((&waited["verdict"], buckets(&waited)), (&json!("complete"), (3, [1, 1, 1, 0])), "{waited:#}");
    are(&hub, so("online", "unknown", "unknown"));
    let rows = sql(&hub, "SELECT liveness FROM host_transitions WHERE host = 'far' ORDER BY started_at");
    let words: Vec<Value> = rows.iter().map(|row| row["liveness"].clone()).collect();
    assert_eq!(words, ["online", "silent", "online"]);

    // A restart keeps what was concluded.
    let hub = hub.crash_and_restart();
    assert_eq!(hosts(&hub), so("online", "unknown", "unknown"));
    let good = report("lap", "dev", &commit('a'), "success");
    say(&hub, "reconcilers", &serde_json::from_str(&good).unwrap());
    let answer = hub.get(DEV).json();
    assert_eq!((buckets(&answer), &answer["left_out"]["total"]), ((4, [2, 1, 1, 0]), &json!(1)), "{answer:#}");
}

#[test]
fn only_hosts_that_need_not_report_are_no_success_and_one_that_did_report_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("classes.yaml");
    write(&file, "late_after: 1h", "reporting: optional");
    let hub = TestHubBuilder::new()
        .with_arg("--late-after", "1s")
        .with_arg("--silent-after", "1s")
        .with_arg("--classes", file.to_str().unwrap())
        .spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    say(&hub, "reconcilers", &behind("lap", "laptop"));
    are(&hub, [["lap", "laptop", "unknown"]]);
    let answer = hub.get(&format!("{DEV}&min_success_percent=0")).json();
    assert_eq!(
        (&answer["verdict"], &answer["total"], &answer["final"]),
        (&json!("in_progress"), &json!(0), &json!(false))
    );
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.starts_with("Nobody who counts subscribes to this target; 1 left out, "), "{reason}");
    let one = |digit, status| serde_json::from_str(&report("one", "dev", &commit(digit), status)).unwrap();
    say(&hub, "reconcilers", &one('a', "success"));
    assert_eq!(hub.get(DEV).json()["verdict"], "complete");
    // It was complete, too, when something else is on its way.
    hub.push(&descriptor("dev", "1.1", &commit('b')));
    say(&hub, "reconcilers", &one('b', "failure"));
    let failed = hub.get(&format!("{}&silent=fail", DEV.replace("1.0", "1.1"))).json();
    assert_eq!((&failed["verdict"], &failed["last_good"]["version"]), (&json!("failed"), &json!("1.0")), "{failed:#}");
}

#[test]
fn a_hub_with_an_unsound_file_of_classes_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("classes.yaml");
    for (text, why) in [
        (
            "classes: [{name: edge, late_aftr: 1h}]",
            "class 'edge': there is no clause 'late_aftr'; did you mean late_after?",
        ),
        (
            "classes: [{name: edge, late_after: 2h, silent_after: 1h}]",
            "class 'edge': silent_after is shorter than late_after",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let started = std::process::Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data", folder.path().to_str().unwrap()])
            .args(["--classes", file.to_str().unwrap()])
            .env_clear()
            .output()
            .unwrap();
        assert!(!started.status.success());
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(said.contains("the host classes cannot be taken: ") && said.contains(why), "{said}");
    }
}
