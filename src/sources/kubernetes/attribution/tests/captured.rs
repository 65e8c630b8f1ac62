//! What real controllers wrote, recorded, and told in every order in which two watches may tell it.

use kube::core::DynamicObject;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::sources::kubernetes::{flux, resource_version};

const KUSTOMIZATION: &str = include_str!("../../../../../tests/fixtures/flux/kustomization.watch.jsonl");
const WITHOUT_WAITING: &str = include_str!("../../../../../tests/fixtures/flux/kustomization-wait-false.watch.jsonl");
const REPOSITORY: &str = include_str!("../../../../../tests/fixtures/flux/gitrepository.watch.jsonl");
const APPLIED: &str = include_str!("../../../../../tests/fixtures/flux/applied.txt");

/// The commits in the order of the branch, of the six first digits; most of those that failed were replaced by the next.
const BRANCH: [&str; 15] = [
    "ff5d5a", "ad1045", "721791", "2af09b", "425b27", "b24952", "cc25f4", "796343", "a514e6", "2fa869", "a1ec0b",
    "731bcd", "40a964", "c4987c", "6ce173",
];

/// What each commit that was applied to the end carried.
const RECORDED: [&str; 14] = [
    "w1 burst-21@40a964",
    "w1 burst-22@c4987c",
    "w1 burst-23@6ce173",
    "w1 c10@2fa869",
    "w1 c11@a1ec0b",
    "w1 c12@731bcd",
    "w1 initial@ff5d5a",
    "w1 size-5@ad1045",
    "w1 size-6@796343",
    "w1 size-6@b24952",
    "w1 size-6@cc25f4",
    "w1 size-9@a514e6",
    "w2 created@ad1045",
    "w2 created@b24952",
];

/// Of the Kustomization, before it goes.
const EVENTS: usize = 229;

#[derive(Deserialize)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: String,
    object: DynamicObject,
}

fn events(text: &str) -> Vec<WatchEvent> {
    // What was recorded applied widgets; here they are descriptors.
    let text = text.replace("_example.test_Widget", "_hub.kalypso.io_DeploymentDescriptor");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A write of what was applied: resource version, name, content; `None` for pruned.
type Write = (u64, ObjectName, Option<&'static str>);

fn applied() -> Vec<Write> {
    let read = |line: &'static str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].parse().unwrap(), name(words[1]), Some(words[2]).filter(|content| *content != "-"))
    };
    APPLIED.lines().map(read).collect()
}

/// The API server as the hub sees it: two watches, and an answer to a question as of the newest that was told.
struct Replay {
    attribution: Attribution,
    writes: Vec<(Write, ObjectName)>,
    told: u64,
    generations: HashMap<ObjectName, i64>,
    asked: VecDeque<(ObjectName, HashMap<ObjectName, u64>)>,
    steps: Vec<Step>,
}

impl Replay {
    fn of(writes: Vec<(Write, ObjectName)>) -> Replay {
        let mut attribution = Attribution::default();
        attribution.listing();
        attribution.listed(&HashSet::new());
        Replay { attribution, writes, told: 0, generations: HashMap::new(), asked: VecDeque::new(), steps: Vec::new() }
    }

    fn follow(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Probe { owner } => {
                    let mut now = HashMap::new();
                    for ((version, name, content), _) in
                        self.writes.iter().filter(|((version, ..), by)| *version <= self.told && *by == owner)
                    {
                        now.remove(name);
                        if content.is_some() {
                            now.insert(name.clone(), *version);
                        }
                    }
                    self.asked.push_back((owner, now));
                }
                step => self.steps.push(step),
            }
        }
    }

    fn repository(&mut self) {
        for event in events(REPOSITORY) {
            let name = ObjectName::of(&event.object.metadata);
            let steps = self.attribution.branch(&name, flux::branch(&event.object));
            self.follow(steps);
        }
    }

    fn answer(&mut self) {
        if let Some((owner, now)) = self.asked.pop_front() {
            let steps = self.attribution.probed(&owner, Some(now));
            self.follow(steps);
        }
    }

    fn owner(&mut self, event: &WatchEvent) {
        let name = ObjectName::of(&event.object.metadata);
        let state = flux::kustomization(&event.object);
        self.told = self.told.max(state.resource_version);
        if event.kind == "DELETED" {
            return self.attribution.owner_gone(&name);
        }
        let steps = self.attribution.owner(&name, state);
        self.follow(steps);
    }

    fn descriptor(&mut self, (resource_version, name, content): Write, owner: &ObjectName) {
        self.told = self.told.max(resource_version);
        let steps = match content {
            Some(content) => {
                let generation = self.generations.entry(name.clone()).or_default();
                *generation += 1;
                let generation = *generation;
                let (owner, said) = (Some(owner.clone()), said(content));
                let seen = Seen { uid: name.name.clone(), owner, said, ..seen(generation, resource_version) };
                self.attribution.descriptor(&name, seen)
            }
            None => self.attribution.descriptor_gone(&name, resource_version),
        };
        self.follow(steps);
    }

    /// Everything recorded, in order, as `name content@commit`.
    fn recorded(&self) -> Vec<String> {
        let show = |step: &Step| match step {
            Step::Record(r) => Some(format!("{} {}@{}", r.name.name, r.said.version, short(r.revision.as_deref()?))),
            _ => None,
        };
        self.steps.iter().filter_map(show).collect()
    }

    /// The commits of the branch, in the order in which they were seen.
    fn sighted(&self) -> Vec<&str> {
        let sights = self.steps.iter().filter_map(|step| match step {
            Step::Sight { revision, .. } => Some(short(revision)),
            _ => None,
        });
        sights.collect()
    }
}

/// The first six digits of `main@sha1:ff5d5a04…`.
fn short(revision: &str) -> &str {
    revision.rsplit(':').next().and_then(|commit| commit.get(..6)).unwrap_or(revision)
}

/// Of what was recorded of an object at a commit, the last.
fn last_words(recorded: Vec<String>) -> Vec<String> {
    let mut last = std::collections::BTreeMap::new();
    for line in recorded {
        let (name, rest) = line.split_once(' ').unwrap();
        let commit = rest.split_once('@').unwrap().1;
        last.insert(format!("{name}@{commit}"), line);
    }
    let mut all: Vec<String> = last.into_values().collect();
    all.sort();
    all
}

/// Tells all streams: each object of what was applied so many events of Kustomizations too early or too late, and the source after
/// so many of them.
fn replay(shifts: &[i64], patience: usize, source: usize) -> Replay {
    let owners = events(KUSTOMIZATION);
    let owner = ObjectName::of(&owners[0].object.metadata);
    let mut replay = Replay::of(applied().into_iter().map(|write| (write, owner.clone())).collect());
    let mut due: VecDeque<_> = VecDeque::new();
    let mut at = 0;
    for (written, shift) in applied().into_iter().zip(shifts) {
        let place = owners.iter().filter(|e| resource_version(&e.object.metadata) < written.0).count() as i64;
        // What is told gone is forgotten at once, so it is never told before the last word of its Kustomization.
        let shift = if written.2.is_none() { (*shift).max(0) } else { *shift };
        at = (place + shift).max(at);
        due.push_back((at, written));
    }
    for (index, event) in owners.iter().enumerate() {
        if index == source {
            replay.repository();
        }
        while let Some((_, written)) = due.pop_front_if(|(at, _)| *at <= index as i64) {
            replay.descriptor(written, &owner);
        }
        replay.owner(event);
        if index % (patience + 1) == 0 {
            replay.answer();
        }
    }
    for (_, written) in due {
        replay.descriptor(written, &owner);
    }
    while !replay.asked.is_empty() {
        replay.answer();
    }
    replay
}

#[test]
fn each_commit_that_was_applied_to_the_end_is_recorded_with_what_it_carried() {
    let replay = replay(&[0; 15], 0, 0);
    assert_eq!(
        replay.recorded(),
        [
            "w1 initial@ff5d5a",
            "w1 size-5@ad1045",
            "w2 created@ad1045",
            "w1 size-6@b24952",
            "w2 created@b24952",
            "w1 size-6@cc25f4",
            "w1 size-6@796343",
            "w1 size-9@a514e6",
            // Somebody edits it by hand, and Flux puts it back: the newest names the commit.
            "w1 by-hand@a514e6",
            "w1 size-9@a514e6",
            "w1 c10@2fa869",
            "w1 c11@a1ec0b",
            "w1 c12@731bcd",
            "w1 burst-21@40a964",
            "w1 burst-22@c4987c",
            "w1 burst-23@6ce173",
        ]
    );
    assert_eq!(last_words(replay.recorded()), RECORDED);
    assert_eq!(replay.sighted(), BRANCH);
}

proptest! {
    #[test]
    fn whichever_stream_runs_ahead_the_last_word_on_each_commit_is_the_same(
        shifts in prop::collection::vec(-14i64..15, 15),
        patience in 0usize..6,
        source in 0usize..EVENTS,
    ) {
        let replay = replay(&shifts, patience, source);
        prop_assert_eq!(last_words(replay.recorded()), RECORDED);
        prop_assert_eq!(replay.sighted(), BRANCH);
    }
}

#[test]
fn without_waiting_for_health_a_commit_is_recorded_once_it_is_applied_and_a_dependent_after_it() {
    let (app, second) = (ObjectName::new("flux-system", "app"), ObjectName::new("flux-system", "second"));
    let mut writes = VecDeque::from([
        ((1712, name("w1"), Some("one")), app.clone()),
        ((1738, name("w1"), Some("two")), app),
        ((1749, name("cm2"), Some("two")), second),
    ]);
    let mut replay = Replay::of(writes.iter().cloned().collect());
    for event in events(WITHOUT_WAITING) {
        let now = resource_version(&event.object.metadata);
        while let Some((write, owner)) = writes.pop_front_if(|((at, ..), _)| *at < now) {
            replay.descriptor(write, &owner);
        }
        replay.owner(&event);
        replay.answer();
    }
    assert_eq!(replay.recorded(), ["w1 one@6ce173", "w1 two@53a6de", "cm2 two@53a6de"]);
}
