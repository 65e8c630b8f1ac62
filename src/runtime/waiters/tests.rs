//! What those who wait are told when several things happen at once. The past of a rollout is read on another thread; here that
//! thread is kept busy, so that an answer in the making stays in the making for as long as a test wants.

use std::pin::pin;
use std::sync::mpsc::{Sender, channel};

use futures::future::maybe_done;
use futures::poll;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ledger::{Ledger, Options, Store};
use crate::query::{Engine, Limits};
use crate::rollout::{Asked, Policies};
use crate::runtime::hub::Engines;
use crate::sources::flat;

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap().block_on(test);
}

fn hub() -> Arc<Hub> {
    let ledger = Ledger::open(Store::memory(), Options::default()).unwrap();
    let engine = || Engine::new(Limits::default()).unwrap();
    Arc::new(Hub::new(ledger, Engines { rows: engine(), sql: engine() }, 10, CancellationToken::new()))
}

/// Nothing else is done on other threads until this is dropped.
fn busy() -> Sender<()> {
    let (keep, busy) = channel();
    tokio::task::spawn_blocking(move || busy.recv());
    keep
}

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

/// The version is wanted in dev.
async fn wanted(hub: &Hub, version: &str, digit: char) {
    let said = flat::DESCRIPTOR_EXAMPLE
        .replace("1.0.0", version)
        .replace("530af36eb38818ff7c4a8840f2068998ec8ec065", &commit(digit));
    let observed = flat::descriptor(said.as_bytes(), "test").unwrap();
    hub.append(vec![crate::normalize::fact(observed, hub.receipt(Micros::now())).unwrap()]).await.unwrap();
}

async fn said(hub: &Hub, host: &str, digit: char, status: &str) {
    let said = serde_json::json!({
        "host": host, "reconciler": "app", "reconciler_type": "flux", "commit": commit(digit), "status": status,
        "manifests_endpoint": "https://github.com/org/app-gitops/dev/t", "reported_at": Micros::now().to_string(),
    });
    let observed = flat::reconciler(said.to_string().as_bytes(), "test").unwrap();
    hub.append(vec![crate::normalize::fact(observed, hub.receipt(Micros::now())).unwrap()]).await.unwrap();
}

fn topic(version: &str) -> Topic {
    Topic {
        text: version.to_owned(),
        question: Question::about(Asked::Version(version.to_owned())),
        rules: Rules::default(),
        links: Links::default(),
    }
}

#[test]
fn what_happens_while_a_question_is_first_answered_is_not_missed() {
    run(async {
        let hub = hub();
        wanted(&hub, "1", 'a').await;
        said(&hub, "h", 'a', "success").await;
        wanted(&hub, "2", 'b').await;
        let busy = busy();
        let mut joining = pin!(hub.wait_for(topic("2")));
        assert!(poll!(&mut joining).is_pending());
        said(&hub, "h", 'b', "success").await;
        drop(busy);
        // Nothing happens any more, so nobody would tell it later.
        assert_eq!(joining.await.unwrap().current().verdict, Verdict::Complete);
    });
}

#[test]
fn an_older_answer_never_replaces_a_newer_one() {
    run(async {
        let hub = hub();
        wanted(&hub, "1", 'a').await;
        said(&hub, "h", 'a', "success").await;
        let waiter = hub.wait_for(topic("2")).await.unwrap();
        wanted(&hub, "2", 'b').await;
        let busy = busy();
        let mut older = pin!(waiter.renewed());
        assert!(poll!(&mut older).is_pending());
        said(&hub, "h", 'b', "success").await;
        let mut newer = pin!(maybe_done(waiter.renewed()));
        let _ = poll!(&mut newer);
        drop(busy);
        older.await;
        newer.await;
        assert_eq!(waiter.current().verdict, Verdict::Complete);
    });
}

#[test]
fn other_policies_are_told_to_those_who_wait_though_nothing_else_happens() {
    run(async {
        let hub = hub();
        wanted(&hub, "1", 'a').await;
        said(&hub, "h1", 'a', "success").await;
        said(&hub, "h2", 'a', "in_progress").await;
        let mut waiter = hub.wait_for(topic("1")).await.unwrap();
        assert_eq!(waiter.current().verdict, Verdict::InProgress);
        let driver = tokio::spawn(answer_waiters(Arc::clone(&hub)));
        hub.set_policies(Policies::parse("policies: [{name: default, min_success: 1}]").unwrap());
        waiter.changed().await;
        assert_eq!(waiter.current().verdict, Verdict::Complete);
        hub.stopping().cancel();
        driver.await.unwrap();
    });
}

#[test]
fn a_question_that_was_read_under_older_policies_is_answered_under_those_of_now() {
    run(async {
        let hub = hub();
        wanted(&hub, "1", 'a').await;
        said(&hub, "h1", 'a', "success").await;
        said(&hub, "h2", 'a', "in_progress").await;
        let read = topic("1");
        hub.set_policies(Policies::parse("policies: [{name: default, min_success: 1}]").unwrap());
        assert_eq!(hub.wait_for(read).await.unwrap().current().verdict, Verdict::Complete);
    });
}

#[test]
fn whoever_goes_away_leaves_nothing_behind() {
    run(async {
        let hub = hub();
        let (one, other) = (hub.wait_for(topic("1")).await.unwrap(), hub.wait_for(topic("1")).await.unwrap());
        assert_eq!(hub.waiters().rows().len(), 1);
        drop(one);
        drop(other);
        assert_eq!(hub.waiters().rows().len(), 0);
        assert_eq!(hub.waiters().places.available_permits(), 10);
        assert!(hub.waiters().desks.lock().is_empty());
    });
}
