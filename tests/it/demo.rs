//! The demo as a newcomer meets it: the shipped binary, the page it prints, and the commands on that page.
//!
//! Nothing is timed: the demo runs until it is told to stop.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use koh::demo::driver::Client;

/// A demo that ends with the test.
struct Demo {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        Demo::of(&[&["--hosts", "15", "--history-days", "0.5"], arguments].concat())
    }

    fn of(arguments: &[&str]) -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Demo { child, output }
    }

    /// The page, up to its third command.
    fn page(&mut self) -> String {
        let mut page = String::new();
        while page.matches("\n  curl ").count() < 3 {
            let read = self.output.read_line(&mut page).unwrap();
            assert!(read > 0, "the demo ended before it had printed its page:\n{page}");
        }
        page
    }

    /// Asks the demo to stop; returns what it printed last.
    fn stop(mut self) -> String {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        self.ended()
    }

    fn ended(&mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A failed test must not leave a hub behind; an ended demo cannot be killed again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of the hub, as the page says it.
fn base(page: &str) -> &str {
    page.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(':')
}

/// The address and parameters of a printed curl command.
fn request(command: &str) -> (String, Option<String>) {
    let address = command.split(['\'', ' ']).find(|part| part.starts_with("http://")).unwrap().to_string();
    let statement = command.split_once("\"q=").map(|(_, rest)| rest.trim_end_matches('"').to_string());
    (address, statement)
}

#[tokio::test]
async fn every_command_that_the_demo_prints_answers_about_something_that_exists() {
    let mut demo = Demo::start(&[]);
    let (demo, page) = tokio::task::spawn_blocking(move || {
        let page = demo.page();
        (demo, page)
    })
    .await
    .unwrap();
    Client::new(base(&page)).unwrap().ready().await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let commands: Vec<&str> = page.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    let mut answers = Vec::new();
    for command in commands {
        let (address, statement) = request(command);
        let mut url = reqwest::Url::parse(&address).unwrap();
        if let Some(statement) = statement {
            // What was just sent is to be seen, whenever the next generation comes.
            url.query_pairs_mut().append_pair("q", &statement).append_pair("fresh", "true");
        }
        let response = http.get(url).header("accept", "application/json").send().await.unwrap();
        assert!(response.status().is_success(), "{command}: {}", response.text().await.unwrap());
        answers.push(response.json::<serde_json::Value>().await.unwrap());
    }
    let [gate, sql, state] = answers.as_slice() else { panic!("three commands: {page}") };
    let verdict = gate["verdict"].as_str().unwrap();
    assert!(!matches!(verdict, "no_targets" | "unknown_commit"), "{gate}");
    assert!(!sql.as_array().unwrap().is_empty());
    assert!(state.is_array());
    let last = tokio::task::spawn_blocking(move || demo.stop()).await.unwrap();
    assert!(last.contains(" 0 rejected"), "{last}");
}

#[test]
fn a_demo_of_given_length_ends_by_itself_and_nothing_it_sends_is_refused() {
    let mut demo = Demo::start(&["--duration", "1", "--rate", "0"]);
    let last = demo.ended();
    assert!(last.contains(" 0 rejected"), "{last}");
    assert!(!last.contains("refusal"), "{last}");
}

#[test]
fn a_version_passes_the_gates_from_dev_to_prod() {
    let mut demo = Demo::of(&["--speed", "600", "--history-days", "1"]);
    let page = demo.page();
    let output = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promotion.sh"))
        .env("KOH", env!("CARGO_BIN_EXE_koh"))
        .env("KOH_URL", base(&page))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().last().is_some_and(|line| line.starts_with("promoted: ")), "{said}");
}
