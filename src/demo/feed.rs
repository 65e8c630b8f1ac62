//! Pacing: which lines leave when, and with which event time.
//!
//! History leaves as fast as the hub takes it, with the times at which it happened. The live part keeps a pace: that of
//! the fleet's clock (`speed`), or a number of lines per second, or none. No line claims a time that has not come yet.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::driver::Batch;
use super::render::{self, Road};
use super::simulation::Simulation;
use super::timeline::{Occurrence, What};
use crate::model::Micros;

/// Lines per request.
pub const BATCH: usize = 500;

/// How often a paced feed sends what has come due.
const TICK: Duration = Duration::from_millis(100);

/// How the live part is paced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Fleet seconds per second.
    Speed(f64),
    /// Lines per second, whatever the fleet's clock says.
    Rate(u64),
    /// As fast as the hub takes them.
    FlatOut,
}

/// A simulation being sent.
#[derive(Debug)]
pub struct Feed {
    simulation: Simulation,
    /// The occurrence that was looked at and is not due yet.
    waiting: Option<Occurrence>,
    /// The instant of fleet time zero.
    origin: Micros,
    batcher: Batcher,
}

impl Feed {
    /// A feed whose fleet time zero is `origin`.
    pub fn new(simulation: Simulation, origin: Micros) -> Feed {
        Feed { simulation, waiting: None, origin, batcher: Batcher::default() }
    }

    /// The simulation as far as it has gone.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Sends everything before fleet time zero. Returns early when `to` is closed.
    pub async fn send_history(&mut self, to: &mpsc::Sender<Batch>) {
        while let Some(occurrence) = self.take_before(0) {
            let time = self.origin.plus(occurrence.at);
            if let Some(full) = self.render(&occurrence.what, time)
                && to.send(full).await.is_err()
            {
                return;
            }
        }
        self.flush(to).await;
    }

    /// Sends the live part at a pace until `stop`, telling the story to `tell`. Returns early when `to` is closed.
    pub async fn send_live(
        &mut self,
        pace: Pace,
        to: &mpsc::Sender<Batch>,
        stop: &CancellationToken,
        mut tell: impl FnMut(&str),
    ) {
        let started = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut lines = 0u64;
        let mut last = Micros::MIN;
        while !stop.is_cancelled() {
            if pace != Pace::FlatOut {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stop.cancelled() => break,
                }
            }
            let elapsed = started.elapsed();
            let (until, quota) = match pace {
                Pace::Speed(speed) => ((elapsed.as_micros() as f64 * speed) as i64, u64::MAX),
                Pace::Rate(rate) => (i64::MAX, (elapsed.as_secs_f64() * rate as f64) as u64),
                Pace::FlatOut => (i64::MAX, lines + BATCH as u64),
            };
            while lines < quota
                && let Some(occurrence) = self.take_before(until)
            {
                let time = match pace {
                    Pace::Speed(speed) => self.origin.plus((occurrence.at as f64 / speed) as i64),
                    // The fleet's clock runs ahead of ours: what happens next in the story happens now.
                    Pace::Rate(_) | Pace::FlatOut => Micros(Micros::now().0.max(last.0 + 1)),
                };
                last = time;
                if let What::Told(chapter) = &occurrence.what {
                    tell(&chapter.line(self.simulation.world()));
                    continue;
                }
                lines += 1;
                if let Some(full) = self.render(&occurrence.what, time)
                    && to.send(full).await.is_err()
                {
                    return;
                }
            }
            self.flush(to).await;
            if to.is_closed() {
                return;
            }
        }
    }

    /// The next occurrence, if it comes before `until`.
    fn take_before(&mut self, until: i64) -> Option<Occurrence> {
        let next = self.waiting.take().or_else(|| self.simulation.next())?;
        if next.at < until {
            return Some(next);
        }
        self.waiting = Some(next);
        None
    }

    fn render(&mut self, what: &What, time: Micros) -> Option<Batch> {
        let (road, line) = render::line(self.simulation.world(), what, time)?;
        self.batcher.push(road, &line)
    }

    async fn flush(&mut self, to: &mpsc::Sender<Batch>) {
        for batch in self.batcher.take_all() {
            if to.send(batch).await.is_err() {
                return;
            }
        }
    }
}

/// Collects lines into batches, one open batch per road.
#[derive(Debug, Default)]
struct Batcher {
    open: [(Vec<u8>, usize); 4],
}

impl Batcher {
    /// Adds a line; returns the batch that it filled.
    fn push(&mut self, road: Road, line: &str) -> Option<Batch> {
        let (body, items) = &mut self.open[road as usize];
        body.extend_from_slice(line.as_bytes());
        body.push(b'\n');
        *items += 1;
        if *items < BATCH { None } else { self.take(road) }
    }

    fn take(&mut self, road: Road) -> Option<Batch> {
        let (body, items) = std::mem::take(&mut self.open[road as usize]);
        (items > 0).then(|| Batch { path: road.path(), body: body.into(), items })
    }

    fn take_all(&mut self) -> Vec<Batch> {
        Road::ALL.into_iter().filter_map(|road| self.take(road)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::simulation::Plot;
    use crate::demo::timeline::HOUR;

    fn feed(hosts: usize) -> Feed {
        let plot = Plot { seed: 1, hosts, history: 12 * HOUR, heartbeats: true };
        Feed::new(Simulation::new(plot), Micros(1_700_000_000_000_000))
    }

    async fn collect(mut batches: mpsc::Receiver<Batch>) -> Vec<Batch> {
        let mut all = Vec::new();
        while let Some(batch) = batches.recv().await {
            all.push(batch);
        }
        all
    }

    #[test]
    fn a_full_batch_is_handed_out_and_the_rest_on_request() {
        let mut batcher = Batcher::default();
        let full: Vec<_> = (0..BATCH + 3).filter_map(|_| batcher.push(Road::Hosts, "{}")).collect();
        assert_eq!(full.len(), 1);
        assert_eq!(full[0].items, BATCH);
        let rest = batcher.take_all();
        assert_eq!((rest.len(), rest[0].items), (1, 3));
        assert!(batcher.take_all().is_empty());
    }

    #[tokio::test]
    async fn history_is_sent_whole_in_batches() {
        let (to, batches) = mpsc::channel(4);
        let receiver = tokio::spawn(collect(batches));
        let mut feed = feed(30);
        feed.send_history(&to).await;
        drop(to);
        let sent: usize = receiver.await.unwrap().iter().map(|b| b.items).sum();
        let plot = Plot { seed: 1, hosts: 30, history: 12 * HOUR, heartbeats: true };
        let told = Simulation::new(plot).take_while(|o| o.at < 0).filter(|o| !matches!(o.what, What::Told(_))).count();
        assert_eq!(sent, told);
    }

    #[tokio::test]
    async fn a_closed_channel_ends_the_feed() {
        let (to, batches) = mpsc::channel(1);
        drop(batches);
        let mut feed = feed(30);
        feed.send_history(&to).await;
        feed.send_live(Pace::FlatOut, &to, &CancellationToken::new(), |_| {}).await;
    }

    #[tokio::test]
    async fn flat_out_times_never_go_back() {
        let (to, mut batches) = mpsc::channel::<Batch>(1);
        let stop = CancellationToken::new();
        let stopper = stop.clone();
        let receiver = tokio::spawn(async move {
            let mut times: Vec<String> = Vec::new();
            while let Some(batch) = batches.recv().await {
                if batch.path == Road::Resources.path() {
                    for line in std::str::from_utf8(&batch.body).unwrap().lines() {
                        let value: serde_json::Value = serde_json::from_str(line).unwrap();
                        let reported = value["spec"]["reportedAt"].as_str();
                        times.extend(reported.map(str::to_string));
                    }
                }
                if times.len() > 2000 {
                    stopper.cancel();
                }
            }
            times
        });
        feed(30).send_live(Pace::FlatOut, &to, &stop, |_| {}).await;
        drop(to);
        let times = receiver.await.unwrap();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
