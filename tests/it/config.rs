//! The file of options, and what `koh config` says of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::hub::{TestHub, TestHubBuilder, koh_with, said};

fn file(folder: &Path, text: &str) -> String {
    let file = folder.join("koh.yaml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn every_option_is_shown_with_its_value_and_where_that_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let name =
        file(folder.path(), "late-after: 1h\nsilent_after: 3h\ndrain: 9s\nmax-waiters: 7\nlisten: 127.0.0.1:0\n");
    let environment = [("KOH_DRAIN", "7s"), ("KOH_DEFAULT_CONTACT", "https://chat.example/hook?token=s3cr3ts3cr3t")];
    let shown = koh_with(&["config", "--config", &name, "--late-after", "5m", "--output", "json"], &environment);
    assert!(shown.status.success(), "{}", said(&shown));
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    let of = |option: &str| {
        let row = rows.iter().find(|row| row["option"] == option).unwrap_or_else(|| panic!("no {option} in {rows:?}"));
        (row["value"].clone(), row["from"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("late-after"), ("5m".into(), "option --late-after".into()));
    assert_eq!(of("silent-after"), ("3h".into(), name.clone()));
    assert_eq!(of("drain"), ("7s".into(), "variable KOH_DRAIN".into()));
    assert_eq!(of("max-waiters"), ("7".into(), name.clone()));
    assert_eq!(of("data"), ("koh-data".into(), "default".into()));
    assert_eq!(of("tokens"), (Value::Null, "default".into()));
    assert_eq!(of("kubernetes"), (false.into(), "default".into()));
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("s3cr3t"), "a secret is shown: {rows:?}");
    let table = koh_with(&["config", "--config", &name], &[]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("silent-after") && table.contains(&name), "{table}");
}

#[test]
fn what_is_wrong_with_the_file_is_said_with_its_name_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = |text: &str, command: &str| {
        let name = file(folder.path(), text);
        let ended = koh_with(&[command, "--config", &name, "--data", data.to_str().unwrap()], &[]);
        assert!(!ended.status.success(), "{text}");
        assert!(said(&ended).contains("koh.yaml") || command == "config", "{}", said(&ended));
        said(&ended)
    };
    assert!(serve("late-aftr: 1h", "serve").contains("did you mean late-after?"));
    assert!(serve("late-after: soon", "serve").contains("late-after is set in"));
    assert!(serve("late-after: [1h]", "serve").contains("one value"));
    assert!(serve("late-after: 2h\nsilent-after: 1h", "config").contains("must not be shorter"));
    assert!(serve("listen: 0.0.0.0:0", "config").contains("refusing to listen"));
    let absent = koh_with(&["serve", "--config", "/nowhere/koh.yaml"], &[]);
    assert!(said(&absent).contains("cannot read /nowhere/koh.yaml"), "{}", said(&absent));
    assert!(!data.exists());
    let filter = koh_with(&["serve", "--log", "koh=loud", "--data", data.to_str().unwrap()], &[]);
    assert!(said(&filter).contains("koh=loud") && !data.exists(), "{}", said(&filter));
}

#[test]
fn a_start_that_fails_late_says_so_and_does_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start =
        ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--announce", "/nowhere/address"];
    let ended = koh_with(&start, &[]);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(
        said(&ended).contains("cannot write /nowhere/address") && !said(&ended).contains("panicked"),
        "{}",
        said(&ended)
    );
}

#[cfg(unix)]
#[test]
fn a_file_of_options_without_end_is_refused() {
    let ended = koh_with(&["config", "--config", "/dev/zero"], &[]);
    assert!(!ended.status.success() && said(&ended).contains("it is no plain file"), "{}", said(&ended));
}

#[test]
fn an_option_that_is_given_twice_is_not_blamed_on_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let name = file(folder.path(), "data: here\n");
    let ended = koh_with(&["config", "--config", &name, "--data", "a", "--data", "b"], &[]);
    assert!(said(&ended).contains("multiple times") && !said(&ended).contains("is set in"), "{}", said(&ended));
}

#[test]
fn the_log_level_changes_while_the_hub_runs_and_other_options_are_said_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let name = file(folder.path(), "log: warn\nlisten: 127.0.0.1:0\n");
    let log = folder.path().join("log");
    let mut hub = Command::new(env!("CARGO_BIN_EXE_koh"))
        .args(["serve", "--config", &name, "--data", folder.path().join("data").to_str().unwrap()])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hub.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
    let ask = || koh_with(&["sql", "--url", &format!("http://{address}"), "SELECT 1"], &[]).status.success();
    let logged = || fs::read_to_string(&log).unwrap();
    assert!(ask() && !logged().contains("answered"));
    file(folder.path(), "log: koh::access=info,warn\nlisten: 127.0.0.1:0\ndrain: 3s\n");
    while !logged().contains("the log level changed") {}
    assert!(ask());
    while !logged().contains("answered") {}
    while !logged().contains("these options changed; they are in force after a restart") {}
    assert!(logged().contains("drain"), "{}", logged());
    hub.kill().unwrap();
    hub.wait().unwrap();
}

#[test]
fn a_start_that_fails_says_its_cause_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let serve = |more: &[&str], environment: &[(&str, &str)]| {
        let ended = koh_with(&[&["serve", "--log=off"], more].concat(), environment);
        assert!(!ended.status.success());
        said(&ended)
    };
    let once = |said: &str, beginning: &str, cause: &str| {
        assert!(
            said.contains(beginning) && said.matches(cause).count() == 1,
            "'{cause}' once, after '{beginning}': {said}"
        );
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = serve(&["--data", &place("data"), "--listen", &address], &[]);
    once(&in_use, &format!("koh: cannot listen on {address}"), "Address already in use");

    fs::create_dir_all(folder.path().join("odd/hub.redb")).unwrap();
    let is_a_folder = serve(&["--data", &place("odd"), "--listen", "127.0.0.1:0"], &[]);
    once(&is_a_folder, &format!("koh: cannot open {}", place("odd/hub.redb")), "Is a directory");

    fs::write(folder.path().join("file"), "").unwrap();
    let not_a_folder = serve(&["--data", &place("file/data"), "--listen", "127.0.0.1:0"], &[]);
    once(&not_a_folder, &format!("koh: cannot create the data directory {}", place("file/data")), "Not a directory");

    let context =
        ["--data", &place("data"), "--listen", "127.0.0.1:0", "--kubernetes", "--kubernetes-context", "other"];
    let no_kubeconfig = serve(&context, &[("KUBECONFIG", &place("kubeconfig"))]);
    once(&no_kubeconfig, "koh: the kubeconfig cannot be used", "No such file");
    let no_cluster = serve(&context[..5], &[("HOME", &place("home"))]);
    once(&no_cluster, "koh: no API server is configured", "No such file");
}

/// A question that the hub thinks over for a while: asking on and on would use up the machine's ports.
fn a_moment(hub: &TestHub) {
    hub.get("/api/v1/rollouts/status?environment=e&workload=w&version=1&wait=200ms");
}

#[test]
fn files_that_a_start_would_not_take_are_told_before_it_and_while_the_hub_runs() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies.yaml");
    let name = policies.to_str().unwrap();
    fs::write(&policies, "policies: [{name: default, min_hosts: 1}]").unwrap();
    assert!(koh_with(&["config", "--policies", name], &[]).status.success());
    let hub = TestHubBuilder::new().with_arg("--policies", name).spawn();
    let refused = |hub: &TestHub| hub.get("/metrics").text().contains("koh_file_refused{file=\"policies\"} 1");
    assert!(!refused(&hub) && hub.get("/readyz").json()["refused_files"].is_null());
    fs::write(&policies, "policies: [{name: default, min_host: 1}]").unwrap();
    for (option, value) in [("--policies", name), ("--tokens", "/nowhere/t.yaml"), ("--tls-cert", "/nowhere/c.pem")] {
        let told = koh_with(&["config", option, value], &[]);
        assert!(!told.status.success() && said(&told).contains("koh serve would not start"), "{}", said(&told));
    }
    while !refused(&hub) {
        a_moment(&hub);
    }
    // What cannot be read to its end is refused too, and what comes after it is read.
    #[cfg(unix)]
    {
        fs::remove_file(&policies).unwrap();
        assert!(Command::new("mkfifo").arg(name).status().unwrap().success());
        assert!(said(&koh_with(&["config", "--policies", name], &[])).contains("it is no plain file"));
        fs::remove_file(&policies).unwrap();
    }
    let ready = hub.get("/readyz");
    assert_eq!((ready.status, ready.json()["refused_files"].clone()), (200, serde_json::json!(["policies"])));
    fs::write(&policies, "policies: [{name: default, min_hosts: 1}]").unwrap();
    while refused(&hub) {
        a_moment(&hub);
    }
}

#[test]
fn an_option_that_cannot_be_used_is_no_answer_of_a_hub() {
    for (variable, value, told) in [
        ("KOH_LOG", "koh=inof", "picks nothing"),
        ("KOH_LOG", "warning", "did you mean warn?"),
        ("KOH_TRACE_ENDPOINT", "nonsense", "is not an address"),
    ] {
        for command in [
            &["rollout", "status", "--environment", "dev", "--workload", "web", "--version", "1"][..],
            &["check"],
            &["serve", "--data", "/nowhere"],
        ] {
            let ended = koh_with(command, &[(variable, value)]);
            assert_eq!(ended.status.code(), Some(2), "{command:?} {}", said(&ended));
            assert!(said(&ended).contains(told), "{}", said(&ended));
        }
    }
}

#[test]
fn an_options_file_that_no_start_would_take_is_refused_while_the_hub_runs() {
    let folder = tempfile::tempdir().unwrap();
    let name = file(folder.path(), "log: warn");
    let hub = TestHubBuilder::new().with_arg("--config", &name).spawn();
    let refused = || hub.get("/metrics").text().contains("koh_file_refused{file=\"options\"} 1");
    for unsound in ["late-after: banana", "log: inof"] {
        file(folder.path(), unsound);
        while !refused() {
            a_moment(&hub);
        }
        file(folder.path(), "log: warn");
        while refused() {
            a_moment(&hub);
        }
    }
}

#[test]
fn limits_that_serve_nobody_or_more_than_there_is_are_refused() {
    for (option, value) in [
        ("--max-connections", "0"),
        ("--max-connections-per-peer", "0"),
        ("--max-ingest-streams", "0"),
        ("--max-ingest-streams", "18446744073709551615"),
        ("--answer-within", "0s"),
        ("--backup-every", "0s"),
    ] {
        let ended = koh_with(&["config", option, value], &[]);
        assert_eq!(ended.status.code(), Some(2), "{option}");
        assert!(said(&ended).contains(option), "{}", said(&ended));
    }
}
