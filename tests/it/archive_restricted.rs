//! Who sees a part of the fleet sees that part of what is archived, and nothing else of it.
//!
//! Guards against: old rows that a restricted token loses when they leave the ledger, and files that show it what is not its own.

use koh::model::Micros;
use serde_json::{Value, json};

use crate::access::ask;
use crate::hub::{Answer, TestHub, TestHubBuilder, commit, descriptor, report, token};

const DAY: i64 = 86_400_000_000;

/// Eighty days of two teams that share hosts, told at once.
fn told(hub: &TestHub) {
    let hosts =
        ["eu", "us"].map(|region| json!({"name": format!("{region}-1"), "labels": {"region": region}}).to_string());
    assert_eq!(hub.post("/api/v1/ingest/hosts", "application/x-ndjson", hosts.join("\n")).status, 200);
    let (mut wanted, mut reports) = (Vec::new(), Vec::new());
    for n in 0..9_u8 {
        let (time, sha) = (Micros::now().plus(-(85 - i64::from(n) * 9) * DAY), commit(char::from(b'0' + n)));
        for team in ["shop", "bank"] {
            let theirs = |text: String| -> Value { serde_json::from_str(&text.replace("shop", team)).unwrap() };
            let mut one = theirs(descriptor("prod", &format!("1.{n}"), &sha));
            one["metadata"]["name"] = json!(format!("web-{team}"));
            one["metadata"]["annotations"]["hub.kalypso.io/observed-at"] = json!(time.to_string());
            wanted.push(one.to_string());
            for (host, later) in [("eu-1", 60), ("us-1", 90)] {
                let mut one = theirs(report(host, "prod", &sha, "success"));
                one["reconciler"] = json!(team);
                one["reported_at"] = json!(time.plus(later * 1_000_000).to_string());
                reports.push(one.to_string());
            }
        }
    }
    hub.push(&wanted.join("\n"));
    let taken = hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", reports.join("\n"));
    assert_eq!(taken.status, 200, "{}", taken.text());
}

const QUESTIONS: [&str; 7] = [
    "SELECT * FROM transitions",
    "SELECT * FROM deployments",
    "SELECT host, count(*) AS n FROM transitions GROUP BY host",
    "SELECT count(*) AS n FROM deployments",
    "SELECT count(*) AS n FROM transitions WHERE reported_at < now() - INTERVAL '60 days'",
    "SELECT * FROM version_spans",
    "SELECT * FROM environment_history",
];

fn get(hub: &TestHub, token: &str, path: &str) -> Answer {
    ask(hub, "GET", path, Some(token))
}

/// What a token is answered.
fn answers(hub: &TestHub, token: &str) -> Vec<Vec<String>> {
    let sorted = |answer: Answer| {
        let mut rows: Vec<String> = answer.rows().iter().map(ToString::to_string).collect();
        rows.sort();
        rows
    };
    let ask = |sql: &str| {
        get(hub, token, &format!("/api/v1/sql?fresh=true&q={}", sql.replace(' ', "%20").replace('<', "%3C")))
    };
    let lists = ["transitions", "deployments"].map(|list| get(hub, token, &format!("/api/v1/{list}?limit=1000")));
    QUESTIONS.iter().map(|sql| ask(sql)).chain(lists).map(sorted).collect()
}

#[test]
fn who_sees_a_part_of_the_fleet_sees_that_part_of_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (data, tokens) = (dir.path().join("data"), dir.path().join("tokens.yaml"));
    let of = |name: &str, more: &[&str]| token(&tokens, name, "read", more);
    let all = of("all", &[]);
    let parts = [
        of("shop", &["--workspaces", "shop"]),
        of("eu", &["--hosts", "region=eu"]),
        of("eu-bank", &["--workspaces", "bank", "--hosts", "region=eu"]),
        of("nobody", &["--hosts", "region=mars"]),
    ];
    let hub = TestHubBuilder::over(&data).spawn();
    told(&hub);
    assert!(hub.stop().success());

    let start = || TestHubBuilder::over(&data).with_arg("--tokens", tokens.to_str().unwrap());
    let hub = start().spawn();
    let whole = answers(&hub, &all);
    let before: Vec<_> = parts.iter().map(|token| answers(&hub, token)).collect();
    assert_eq!(before.iter().map(|b| b[0].len()).collect::<Vec<_>>(), [18, 18, 9, 0], "of {}", whole[0].len());
    assert!(hub.stop().success());

    let hub = start().with_arg("--hot-window", "30d").spawn();
    let began = std::time::Instant::now();
    let archived = |metrics: &Answer| {
        let text = metrics.text();
        let rows = text.lines().find_map(|line| line.strip_prefix("koh_archive_rows "));
        rows.is_some_and(|n| n.parse::<f64>().unwrap() > 30.0)
            && text.contains("koh_retention_duration_seconds_count 1")
    };
    while !archived(&get(&hub, &all, "/metrics")) {
        assert!(began.elapsed().as_secs() < 60, "nothing was archived");
    }
    assert_eq!(answers(&hub, &all), whole);
    for (token, before) in parts.iter().zip(&before) {
        for ((now, before), question) in
            answers(&hub, token).iter().zip(before).zip(QUESTIONS.iter().chain(&["list"; 2]))
        {
            assert_eq!(now, before, "{question}");
        }
    }
}
