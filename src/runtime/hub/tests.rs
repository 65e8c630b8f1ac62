//! What a reader gets who asks when something was just said.

use super::*;
use crate::ledger::{Options, Store};
use crate::query::Limits;
use crate::sources::resource;

fn hub() -> Arc<Hub> {
    let ledger = Ledger::open(Store::memory(), Options::default()).unwrap();
    let engine = || Engine::new(Limits::default()).unwrap();
    Arc::new(Hub::new(ledger, Engines { rows: engine(), sql: engine() }, 1, CancellationToken::new()))
}

fn cluster(name: &str) -> Fact {
    let text = format!(
        r#"{{"apiVersion": "hub.kalypso.io/v1alpha1", "kind": "Cluster", "metadata": {{"name": "{name}"}}, "spec": {{}}}}"#
    );
    let observation = resource::decode(text.as_bytes(), "test").unwrap().remove(0).unwrap();
    crate::normalize::fact(observation, Micros::now()).unwrap()
}

async fn recent(hub: &Arc<Hub>) -> u64 {
    hub.generation(Freshness::Recent).await.unwrap().generation.seq
}

#[tokio::test]
async fn once_the_last_awaited_source_is_heard_no_answer_leaves_out_what_it_said() {
    let hub = hub();
    hub.await_source("slow");
    hub.await_source("quick");
    // A generation is taken anew, so that it is good enough for a moment.
    hub.generation(Freshness::Now).await.unwrap();
    hub.append(vec![cluster("one")]).await.unwrap();
    hub.heard_source("quick");
    assert_eq!(recent(&hub).await, hub.seq());
    hub.append(vec![cluster("two")]).await.unwrap();
    hub.heard_source("slow");
    assert!(hub.unheard().is_empty());
    assert_eq!(recent(&hub).await, hub.seq());
}

#[tokio::test]
async fn a_source_that_is_heard_again_renews_nothing() {
    let hub = hub();
    hub.await_source("test");
    hub.heard_source("test");
    let first = hub.generation(Freshness::Recent).await.unwrap();
    let heard = hub.awaited.lock().heard;
    hub.heard_source("test");
    assert_eq!(hub.awaited.lock().heard, heard);
    assert!(heard <= Some(first.taken));
}
