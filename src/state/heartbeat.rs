//! After how long without a word a host is late, silent or unknown, by its class (design §3.8).
//!
//! Invariants: what was concluded is recorded and stands, also over a restart, until a word or the intervals in force contradict
//! it. A host turns late or silent by the time in which the hub listened to it alone; it turns back by the time of its last word.

use hashbrown::HashMap;

use crate::model::{Liveness, Micros};

use super::host::{HostRecord, class_label};
use super::tables::Tables;

const MINUTE: i64 = 60 * 1_000_000;

/// When hosts of a class turn late and silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Microseconds without a word until a host is late.
    pub late_after: i64,
    /// Microseconds without a word until a host is silent.
    pub silent_after: i64,
    /// Hosts need not report: they are never late, and unknown where others are silent.
    pub optional: bool,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { late_after: 15 * MINUTE, silent_after: 60 * MINUTE, optional: false }
    }
}

impl Heartbeat {
    /// What a host is at `now` of which the last word is of that time, and since when.
    fn after(&self, word: Micros, now: Micros) -> (Liveness, Micros) {
        let quiet = now.since(word);
        if quiet >= self.silent_after {
            let liveness = if self.optional { Liveness::Unknown } else { Liveness::Silent };
            (liveness, word.plus(self.silent_after))
        } else if quiet >= self.late_after && !self.optional {
            (Liveness::Late, word.plus(self.late_after))
        } else {
            (Liveness::Online, word)
        }
    }

    /// What a host must turn at `now`, and since when; `listening_since` is when the hub began to listen to it, and `watched` until
    /// when a watch stood for its word.
    fn turned(
        &self,
        host: &HostRecord,
        listening_since: Micros,
        watched: Option<Micros>,
        now: Micros,
    ) -> Option<(Liveness, Micros)> {
        let or_watched = |word: Micros| watched.map_or(word, |until| until.max(word));
        let (concluded, at) = self.after(or_watched(host.newest_statement().max(listening_since)), now);
        let (told, _) = self.after(or_watched(host.last_word()), now);
        match (self.optional, host.silence) {
            // What another class of the host, or this one before it changed, led to.
            (true, Liveness::Late | Liveness::Silent) => Some((told, now)),
            (false, Liveness::Unknown) if concluded != Liveness::Online => Some((concluded, at)),
            (false, Liveness::Unknown) => (told == Liveness::Online).then_some((told, now)),
            (_, before) if concluded > before => Some((concluded, at)),
            (_, before) if told < before => Some((told, now)),
            _ => None,
        }
    }
}

/// The intervals of all classes.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats {
    default: Heartbeat,
    classes: HashMap<String, Heartbeat>,
    /// Nothing is concluded of a time before: other intervals were in force.
    in_force: Option<Micros>,
    /// The classes that labels (name id) name: many hosts are labelled alike, and reading labels is dear.
    by_labels: HashMap<u32, Heartbeat>,
}

impl Heartbeats {
    /// Of the classes by their names, and of every other host.
    pub fn new(default: Heartbeat, classes: impl IntoIterator<Item = (String, Heartbeat)>) -> Heartbeats {
        Heartbeats { default, classes: classes.into_iter().collect(), ..Heartbeats::default() }
    }

    /// The same, put in force at that time.
    pub fn in_force(self, at: Micros) -> Heartbeats {
        Heartbeats { in_force: Some(at), ..self }
    }

    /// The least time without a word after which any host turns.
    fn shortest(&self) -> i64 {
        let of =
            |beat: &Heartbeat| if beat.optional { beat.silent_after } else { beat.late_after.min(beat.silent_after) };
        self.classes.values().map(of).fold(of(&self.default), i64::min)
    }

    /// The interval of a host's class; one that nobody described is like none.
    fn of(&mut self, t: &Tables, host: &HostRecord) -> Heartbeat {
        if self.classes.is_empty() {
            return self.default;
        }
        let (classes, default) = (&self.classes, self.default);
        let named = |class: &str| classes.get(class).copied().unwrap_or(default);
        if let Some(class) = host.declared.as_ref().and_then(|d| t.some(d.class)) {
            return named(class);
        }
        let labels = host.labels();
        let read = || class_label(t.text(labels)).map_or(default, |class| named(&class));
        *self.by_labels.entry(labels).or_insert_with(read)
    }

    /// Those of a pass over many hosts.
    pub(super) fn pass<'a>(&'a mut self, t: &'a Tables, now: Micros) -> Pass<'a> {
        let shortest = self.shortest();
        Pass { beats: self, t, now, shortest }
    }
}

/// One look at many hosts at one time.
pub(super) struct Pass<'a> {
    beats: &'a mut Heartbeats,
    t: &'a Tables,
    now: Micros,
    shortest: i64,
}

impl Pass<'_> {
    /// What a host must turn, and since when. Until when a watch stood for its word is asked for only where it matters.
    pub(super) fn turned(
        &mut self,
        host: &HostRecord,
        listening_since: Micros,
        watched: impl FnOnce() -> Option<Micros>,
    ) -> Option<(Liveness, Micros)> {
        let online = host.silence == Liveness::Online;
        if online && self.now.since(host.newest_statement().max(listening_since)) < self.shortest {
            return None;
        }
        let beat = self.beats.of(self.t, host);
        let unwatched = beat.turned(host, listening_since, None, self.now);
        if online && unwatched.is_none() {
            return None;
        }
        let turned = match watched() {
            Some(until) => beat.turned(host, listening_since, Some(until), self.now),
            None => unwatched,
        };
        // Conclusions follow each other as they were made, whatever the intervals were.
        let not_before = self.beats.in_force.max(host.silences.last().map(|e| e.at));
        turned.map(|(liveness, at)| (liveness, not_before.map_or(at, |earliest| at.max(earliest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(at: i64) -> HostRecord {
        let mut host = HostRecord::new(1, Micros(at));
        host.hear(Micros(at));
        host
    }

    fn beat(late_after: i64, silent_after: i64) -> Heartbeat {
        Heartbeat { late_after, silent_after, optional: false }
    }

    /// Turns the host if it must; what it turned and when.
    fn turn(host: &mut HostRecord, beat: Heartbeat, since: i64, now: i64) -> Option<(Liveness, i64)> {
        let (liveness, at) = beat.turned(host, Micros(since), None, Micros(now))?;
        assert!(host.turn(liveness, at, host.heard_at).is_some());
        assert_eq!(beat.turned(host, Micros(since), None, Micros(now)), None, "it is what it is by now");
        Some((liveness, at.0))
    }

    #[test]
    fn time_in_which_the_hub_did_not_listen_is_no_silence() {
        let mut h = heard(0);
        assert_eq!(turn(&mut h, beat(10, 20), 100, 105), None);
        assert_eq!(turn(&mut h.clone(), beat(10, 20), 100, 125), Some((Liveness::Silent, 120)));
        assert_eq!(turn(&mut h, beat(10, 20), 100, 110), Some((Liveness::Late, 110)));
        assert_eq!(turn(&mut h, beat(10, 20), 100, 120), Some((Liveness::Silent, 120)));
    }

    #[test]
    fn what_was_concluded_stands_over_a_restart() {
        let mut h = heard(0);
        assert_eq!(turn(&mut h, beat(10, 20), 0, 25), Some((Liveness::Silent, 20)));
        assert_eq!(turn(&mut h, beat(10, 20), 30, 31), None);
    }

    #[test]
    fn a_longer_interval_brings_back_whom_it_does_not_call_silent() {
        let mut h = heard(0);
        assert_eq!(turn(&mut h, beat(10, 20), 0, 25), Some((Liveness::Silent, 20)));
        assert_eq!(turn(&mut h.clone(), beat(100, 200), 0, 30), Some((Liveness::Online, 30)));
        assert_eq!(
            turn(&mut h.clone(), beat(100, 200), 26, 30),
            Some((Liveness::Online, 30)),
            "after a restart as well"
        );
        assert_eq!(turn(&mut h, beat(10, 200), 0, 30), Some((Liveness::Late, 30)));
        assert_eq!(turn(&mut h, beat(10, 200), 0, 200), Some((Liveness::Silent, 200)));
    }

    #[test]
    fn a_declaration_is_no_word_of_a_host_that_was_never_heard() {
        let mut h = HostRecord::new(1, Micros(0));
        let declare = |h: &mut HostRecord, at| {
            h.declared = Some(Box::new(crate::state::host::HostDeclared { at: Micros(at), ..Default::default() }));
        };
        declare(&mut h, 0);
        assert_eq!(turn(&mut h, beat(10, 20), 0, 20), Some((Liveness::Silent, 20)));
        declare(&mut h, 25);
        assert_eq!(turn(&mut h, beat(10, 20), 0, 26), None);
        assert_eq!(turn(&mut h, beat(30, 40), 0, 27), Some((Liveness::Online, 27)));
    }

    #[test]
    fn who_need_not_report_is_never_late_or_silent() {
        let optional = Heartbeat { optional: true, ..beat(10, 20) };
        let mut h = heard(0);
        assert_eq!(turn(&mut h, optional, 0, 19), None);
        assert_eq!(turn(&mut h, optional, 0, 21), Some((Liveness::Unknown, 20)));
        assert_eq!(h.hear(Micros(22)), Some(Liveness::Unknown));
        assert_eq!(turn(&mut h, optional, 0, 30), None);
        // Others are told so when their class changes, and the other way round.
        for (now, told) in [(35, Liveness::Online), (50, Liveness::Unknown)] {
            let mut h = heard(22);
            assert!(turn(&mut h, beat(10, 13), 0, now).is_some());
            assert_eq!(turn(&mut h, optional, 0, now), Some((told, now)));
        }
        let mut unknown = heard(0);
        assert_eq!(turn(&mut unknown, optional, 0, 20), Some((Liveness::Unknown, 20)));
        assert_eq!(turn(&mut unknown.clone(), beat(10, 20), 0, 30), Some((Liveness::Silent, 20)));
        assert_eq!(turn(&mut unknown.clone(), beat(10, 20), 25, 30), None, "the hub has not listened for long enough");
        assert_eq!(turn(&mut unknown, beat(100, 200), 25, 30), Some((Liveness::Online, 30)));
    }

    #[test]
    fn nothing_is_concluded_of_a_time_in_which_other_intervals_were_in_force() {
        let t = Tables::default();
        let mut h = heard(0);
        let mut turned = |beats: &mut Heartbeats, now: i64| {
            let (liveness, at) = beats.pass(&t, Micros(now)).turned(&h, Micros(0), || None)?;
            assert!(h.turn(liveness, at, h.heard_at).is_some());
            Some((liveness, at.0))
        };
        let mut long = Heartbeats::new(beat(50, 100), []);
        assert_eq!(turned(&mut long, 60), Some((Liveness::Late, 50)));
        let mut short = Heartbeats::new(beat(10, 20), []).in_force(Micros(70));
        assert_eq!(turned(&mut short, 71), Some((Liveness::Silent, 70)));
        // A host whose class was told late has concluded later, too.
        assert_eq!(turned(&mut long, 90), Some((Liveness::Late, 90)));
        let mut unforced = Heartbeats::new(beat(10, 20), []);
        assert_eq!(turned(&mut unforced, 91), Some((Liveness::Silent, 90)));
    }
}
