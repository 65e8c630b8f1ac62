//! The composite action: its script runs as a runner would run it, with a program in place of `koh` that tells its arguments.
//!
//! Invariant: an input is data; no script of the action has one pasted into it.

use std::process::Command;

use serde_json::Value;

fn action() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.github/actions/wait-for-rollout/action.yml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn steps(action: &Value) -> &[Value] {
    action["runs"]["steps"].as_array().unwrap()
}

#[test]
fn no_script_has_an_input_pasted_into_it_and_every_input_is_used() {
    let action = action();
    for step in steps(&action) {
        assert!(!step["run"].as_str().unwrap().contains("${{"), "{step}");
    }
    let used = action["runs"].to_string();
    for input in action["inputs"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("inputs.{input} ")), "{input}");
    }
}

#[test]
fn inputs_reach_koh_as_options_whatever_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let koh = folder.path().join("koh");
    std::fs::write(&koh, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&koh).status().unwrap().success());
    let action = action();
    let wait = steps(&action).iter().find(|step| step["id"] == "wait").unwrap();
    let hostile = "1.0\"; touch pwned; $(touch pwned) `touch pwned`";
    let mut command = Command::new("bash");
    command.arg("-c").arg(wait["run"].as_str().unwrap()).current_dir(folder.path());
    command.env("PATH", format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap()));
    // What is not given is set and empty, as the runner does it.
    for variable in wait["env"].as_object().unwrap().keys() {
        let value = match variable.as_str() {
            "INPUT_version" => hostile,
            "INPUT_source_commit" => "abc",
            "INPUT_args" => "--min-success-percent=95\n--label=ring=1\n",
            _ => "",
        };
        command.env(variable, value);
    }
    let output = command.output().unwrap();
    let options = ["rollout", "wait", &format!("--version={hostile}"), "--source-commit=abc"].join("\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{options}\n--min-success-percent=95\n--label=ring=1\n"),
        "{output:?}"
    );
    assert!(!folder.path().join("pwned").exists());
}
