//! Those who wait for an answer of the gate, by what they ask.
//!
//! ```text
//!  published sequence, policies ─┐
//!  time that is due, a new desk ─┴─► round, at most four a second: what may have changed is answered anew ─► all who asked the same
//! ```
//!
//! Invariants: all who ask the same share one answer, so a waiter costs a task and nothing else; an answer is renewed only when
//! something it depends on moved or its time has come, and never replaced by one that was made before it. Whoever begins to wait
//! gets an answer made after that moment, or one of which nothing has changed since.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::hub::Hub;
use crate::model::Micros;
use crate::rollout::{self, Answer, Depends, Links, Question, Rules, Verdict};
use crate::snapshot::Cell;

/// Waiters at once, when nobody says.
pub const MAX_WAITERS: usize = 10_000;
/// The least time between two rounds.
const ROUND: Duration = Duration::from_millis(250);

/// When those whose stream of events broke come back.
const RETRY: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The question as text: who asks the same text asks the same.
    pub text: String,
    /// The question.
    pub question: Question,
    /// The policies.
    pub rules: Rules,
    /// Where to go on from the answer.
    pub links: Links,
}

/// An answer that waiters share.
#[derive(Debug)]
pub struct Heard {
    /// The answer as JSON, a part of the event.
    pub body: Bytes,
    /// The answer as a server-sent event: the same bytes for everybody, however many read slowly.
    pub event: Bytes,
    /// Its verdict.
    pub verdict: Verdict,
    /// Whether there is anything to wait for.
    pub is_final: bool,
    /// Names what it says, apart from times: another id means another answer.
    pub id: String,
}

/// There are as many waiters as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

/// One question and those who wait for its answer.
#[derive(Debug)]
struct Desk {
    text: String,
    /// Whoever answers holds it, so that answers come in the order in which they were made.
    topic: tokio::sync::Mutex<Topic>,
    answer: watch::Sender<Arc<Heard>>,
    made: Mutex<Made>,
}

/// Of what an answer was made.
#[derive(Debug)]
struct Made {
    depends: Depends,
    /// How often the policies had changed.
    policies: u64,
    begun: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Waiters {
    desks: Mutex<HashMap<String, Weak<Desk>>>,
    places: Arc<Semaphore>,
    most: usize,
    /// How often the gate was asked and had to think.
    evaluations: Counter,
    /// There is a new desk, or there are other policies.
    news: Notify,
}

/// Somebody who waits; dropping it is going away.
#[derive(Debug)]
pub struct Waiter {
    hub: Arc<Hub>,
    desk: Arc<Desk>,
    answer: watch::Receiver<Arc<Heard>>,
    _place: OwnedSemaphorePermit,
}

impl Waiter {
    /// The newest answer.
    pub fn current(&self) -> Arc<Heard> {
        Arc::clone(&self.answer.borrow())
    }

    /// Returns when there is another answer.
    pub async fn changed(&mut self) {
        // The sender lives as long as the desk, which this waiter holds.
        let _ = self.answer.changed().await;
    }

    /// The answer as of now.
    pub async fn renewed(&self) -> Arc<Heard> {
        self.desk.renew(&self.hub, Some(Instant::now())).await;
        self.current()
    }
}

impl Waiters {
    pub(super) fn new(limit: usize) -> Waiters {
        let most = limit.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(most));
        Waiters { desks: Mutex::default(), places, most, evaluations: Counter::default(), news: Notify::new() }
    }

    /// An answer is made.
    pub(super) fn evaluated(&self) {
        self.evaluations.inc();
    }

    /// How many wait, for answers to how many questions, and how often an answer was made.
    pub(super) fn counts(&self) -> (usize, usize, u64) {
        let waiting = self.most.saturating_sub(self.places.available_permits());
        (waiting, self.desks().len(), self.evaluations.get())
    }

    /// The rows of `system.gate`.
    pub(super) fn rows(&self) -> Vec<Vec<Cell<'static>>> {
        let row = |desk: Arc<Desk>| {
            let waiting = Cell::Number(i64::try_from(desk.answer.receiver_count()).unwrap_or(i64::MAX));
            let verdict = Cell::Text(desk.answer.borrow().verdict.as_str());
            let due = desk.made.lock().depends.due().map_or(Cell::Null, Cell::time);
            vec![Cell::Made(desk.text.clone()), waiting, verdict, due]
        };
        self.desks().into_iter().map(row).collect()
    }

    /// A place for whoever waits for something else than an answer of the gate.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Crowded> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| Crowded)
    }

    /// Begins to wait.
    pub(super) async fn join(&self, hub: &Arc<Hub>, topic: Topic) -> Result<Waiter, Crowded> {
        let place = self.place()?;
        let known = self.desks.lock().get(&topic.text).and_then(Weak::upgrade);
        let desk = match known {
            Some(desk) => desk,
            None => self.open(hub, topic).await,
        };
        // Also a desk that was just opened: until now no round saw it.
        desk.renew(hub, None).await;
        let answer = desk.answer.subscribe();
        Ok(Waiter { hub: Arc::clone(hub), desk, answer, _place: place })
    }

    async fn open(&self, hub: &Arc<Hub>, mut topic: Topic) -> Arc<Desk> {
        let (answer, made) = ask(hub, &mut topic);
        let heard = Arc::new(heard(hub.recall(answer, &topic.rules.sees).await));
        let mut desks = self.desks.lock();
        // Others may have asked the same meanwhile; theirs is as good.
        if let Some(desk) = desks.get(&topic.text).and_then(Weak::upgrade) {
            return desk;
        }
        let desk = Arc::new(Desk {
            text: topic.text.clone(),
            topic: tokio::sync::Mutex::new(topic),
            answer: watch::Sender::new(heard),
            made: Mutex::new(made),
        });
        desks.insert(desk.text.clone(), Arc::downgrade(&desk));
        drop(desks);
        self.wake();
        desk
    }

    /// Has everything looked at that is answered.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Those at which anybody waits.
    fn desks(&self) -> Vec<Arc<Desk>> {
        let mut living = Vec::new();
        self.desks.lock().retain(|_, desk| desk.upgrade().map(|desk| living.push(desk)).is_some());
        living
    }
}

/// Answers what may have changed, until the hub stops.
pub(super) async fn answer_waiters(hub: Arc<Hub>) {
    let mut published = hub.published();
    loop {
        let due = hub.waiters().desks().iter().filter_map(|d| d.made.lock().depends.due()).min();
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            changed = published.changed() => if changed.is_err() { return },
            () = hub.waiters().news.notified() => {}
            () = until(due) => {}
        }
        let begun = Instant::now();
        for desk in hub.waiters().desks() {
            desk.renew(&hub, None).await;
        }
        // At most half of the time is spent on answers, however many there are.
        let rest = ROUND.max(begun.elapsed() * 2);
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = tokio::time::sleep_until(begun + rest) => {}
        }
    }
}

async fn until(due: Option<Micros>) {
    match due {
        None => std::future::pending().await,
        Some(at) => {
            let left = u64::try_from(at.since(Micros::now())).unwrap_or(0);
            // Timers are not exact to the microsecond, and a deadline met too early would be looked at twice.
            tokio::time::sleep(Duration::from_micros(left) + Duration::from_millis(1)).await;
        }
    }
}

impl Desk {
    /// Answers anew if anything that the answer depends on has moved, or if it was not made `since`; tells those who wait when it
    /// says anything new.
    async fn renew(&self, hub: &Arc<Hub>, since: Option<Instant>) {
        if self.stands(hub, since) {
            return;
        }
        let mut topic = self.topic.lock().await;
        // Others may have done it meanwhile.
        if self.stands(hub, since) {
            return;
        }
        let (answer, made) = ask(hub, &mut topic);
        let heard = Arc::new(heard(hub.recall(answer, &topic.rules.sees).await));
        self.answer.send_if_modified(|known| {
            let news = known.id != heard.id;
            *known = heard;
            news
        });
        *self.made.lock() = made;
    }

    fn stands(&self, hub: &Hub, since: Option<Instant>) -> bool {
        let made = self.made.lock();
        since.is_none_or(|since| made.begun >= since)
            && made.policies == hub.policies().0
            && hub.read(|state| made.depends.stands(state, Micros::now()))
    }
}

fn ask(hub: &Hub, topic: &mut Topic) -> (Answer, Made) {
    let begun = Instant::now();
    let (changes, policies) = hub.policies();
    // A policy that is no longer in the file stays what it was for those who named it.
    if topic.rules.named.as_deref().is_none_or(|name| policies.named(name).is_some()) {
        topic.rules.policies = policies;
    }
    let found = hub.evaluate(|state| rollout::evaluate(state, &topic.question, &topic.rules, Micros::now()));
    let answer = Answer { links: topic.links.clone(), ..found.answer };
    (answer, Made { depends: found.depends, policies: changes, begun })
}

fn heard(answer: Answer) -> Heard {
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    let (verdict, is_final) = (answer.verdict, answer.is_final);
    let id = format!("{:032x}", twox_hash::XxHash3_128::oneshot(&answer.news()));
    // JSON holds no line break, so it is one line of data.
    let head = format!("id: {id}\nevent: answer\nretry: {}\ndata: ", RETRY.as_millis());
    let event = Bytes::from([head.as_bytes(), &body, b"\n\n"].concat());
    Heard { body: event.slice(head.len()..head.len() + body.len()), event, verdict, is_final, id }
}

#[cfg(test)]
mod tests;
