//! Which connections there are, and which of them are given up when there is no room for a new one.
//!
//! Invariant: a connection that answers a request is never given up; one that waits for its peer is, those that have not sent a
//! single complete head first and the longest waiting before others. So nobody can shut others out by being connected, only by
//! asking; and of what asks, one address holds no more than its share.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The order of giving up: whether it ever sent a complete head, then since when it waits.
type Turn = (bool, u64);

/// All connections.
#[derive(Debug)]
pub(super) struct Table {
    slots: Arc<Semaphore>,
    per_peer: usize,
    rows: Mutex<Rows>,
    fell_idle: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    idle: BTreeMap<Turn, Arc<Place>>,
    peers: HashMap<IpAddr, usize>,
    next: u64,
}

/// A connection's place in the table.
#[derive(Debug)]
pub(super) struct Place {
    peer: IpAddr,
    /// Cancelled when the place is needed for somebody else.
    pub(super) given_up: CancellationToken,
    /// When it is its turn to be given up; `None` while a request is answered. Changed under the lock of the rows only.
    turn: Mutex<Option<Turn>>,
}

/// An admitted connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Seat {
    table: Arc<Table>,
    place: Arc<Place>,
    _slot: OwnedSemaphorePermit,
}

impl Table {
    pub(super) fn new(connections: usize, per_peer: usize) -> Arc<Table> {
        Arc::new(Table {
            slots: Arc::new(Semaphore::new(connections)),
            per_peer,
            rows: Mutex::default(),
            fell_idle: Notify::new(),
        })
    }

    /// Makes room for a new connection, if need be at the cost of an idle one. `None`: this peer has its share, and all of it is
    /// at work.
    pub(super) async fn admit(self: &Arc<Table>, peer: IpAddr) -> Option<Arc<Seat>> {
        let held = self.rows.lock().peers.get(&peer).copied().unwrap_or(0);
        if held >= self.per_peer && !self.give_up(|place| place.peer == peer) {
            return None;
        }
        loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return Some(self.seat(peer, slot));
            }
            let mut fell_idle = pin!(self.fell_idle.notified());
            fell_idle.as_mut().enable();
            self.give_up(|_| true);
            tokio::select! {
                slot = Arc::clone(&self.slots).acquire_owned() => return slot.ok().map(|slot| self.seat(peer, slot)),
                () = fell_idle => {}
            }
        }
    }

    fn seat(self: &Arc<Table>, peer: IpAddr, slot: OwnedSemaphorePermit) -> Arc<Seat> {
        let place = Arc::new(Place { peer, given_up: CancellationToken::new(), turn: Mutex::new(None) });
        *self.rows.lock().peers.entry(peer).or_default() += 1;
        self.wait_for_peer(&place, false);
        Arc::new(Seat { table: Arc::clone(self), place, _slot: slot })
    }

    /// Gives up the first idle connection that fits; false when there is none.
    fn give_up(&self, fits: impl Fn(&Place) -> bool) -> bool {
        let mut rows = self.rows.lock();
        let Some(turn) = rows.idle.iter().find(|(_, place)| fits(place)).map(|(turn, _)| *turn) else { return false };
        if let Some(place) = rows.idle.remove(&turn) {
            place.given_up.cancel();
        }
        true
    }

    fn wait_for_peer(&self, place: &Arc<Place>, served: bool) {
        let mut rows = self.rows.lock();
        rows.next += 1;
        let turn = (served, rows.next);
        *place.turn.lock() = Some(turn);
        rows.idle.insert(turn, Arc::clone(place));
        drop(rows);
        self.fell_idle.notify_waiters();
    }
}

impl Seat {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// A complete head has come: until what is returned is dropped, the connection is at work.
    pub(super) fn begin(self: &Arc<Seat>) -> AtWork {
        let mut rows = self.table.rows.lock();
        if let Some(turn) = self.place.turn.lock().take() {
            rows.idle.remove(&turn);
        }
        AtWork { seat: Arc::clone(self) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rows = self.table.rows.lock();
        if let Some(turn) = self.place.turn.lock().take() {
            rows.idle.remove(&turn);
        }
        if let Some(held) = rows.peers.get_mut(&self.place.peer) {
            *held -= 1;
            if *held == 0 {
                rows.peers.remove(&self.place.peer);
            }
        }
    }
}

impl Place {
    /// True while a request is answered.
    pub(super) fn at_work(&self) -> bool {
        self.turn.lock().is_none()
    }

    /// True when no complete head has come yet.
    pub(super) fn unheard(&self) -> bool {
        self.turn.lock().is_some_and(|(served, _)| !served)
    }
}

/// A request that is being answered; it holds the seat, so that the seat is the last to go.
#[derive(Debug)]
pub(super) struct AtWork {
    seat: Arc<Seat>,
}

impl AtWork {
    /// The body of the answer; the request is answered when it has been handed over whole.
    pub(super) fn until_sent(self, body: Body) -> Body {
        Body::new(Sent { body, _at_work: self })
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.seat.table.wait_for_peer(&self.seat.place, true);
    }
}

struct Sent {
    body: Body,
    _at_work: AtWork,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn admit(table: &Arc<Table>, peer: IpAddr) -> Option<Arc<Seat>> {
        table.admit(peer).now_or_never().expect("room at once")
    }

    #[test]
    fn those_that_never_sent_a_head_are_given_up_first_and_those_at_work_never() {
        let table = Table::new(3, 3);
        let [served, at_work, unheard] = [A, A, A].map(|peer| admit(&table, peer).unwrap());
        drop(served.begin());
        let work = at_work.begin();
        assert!(table.admit(B).now_or_never().is_none(), "the seat is free when the connection has ended");
        assert!(unheard.place().given_up.is_cancelled());
        assert!(!served.place().given_up.is_cancelled());
        drop(unheard);
        let new = admit(&table, B).unwrap();
        let new_work = new.begin();
        assert!(table.admit(B).now_or_never().is_none());
        assert!(served.place().given_up.is_cancelled());
        drop(served);
        let last = admit(&table, B).unwrap();
        let _last_work = last.begin();
        assert!(table.admit(A).now_or_never().is_none());
        assert!(!at_work.place().given_up.is_cancelled() && !new.place().given_up.is_cancelled());
        drop((work, new_work));
    }

    #[test]
    fn a_peer_has_a_share_and_others_have_the_rest() {
        let table = Table::new(3, 2);
        let seats = [A, A].map(|peer| admit(&table, peer).unwrap());
        let work = seats[0].begin();
        let _other_work = seats[1].begin();
        assert!(admit(&table, A).is_none());
        assert!(admit(&table, B).is_some());
        drop(work);
        assert!(admit(&table, A).is_some(), "one of its own that is idle is given up for it");
        assert!(seats[0].place().given_up.is_cancelled());
    }

    #[test]
    fn a_connection_that_ends_leaves_nothing_behind() {
        let table = Table::new(2, 2);
        let seat = admit(&table, A).unwrap();
        drop(seat.begin());
        drop(seat);
        let rows = table.rows.lock();
        assert!(rows.idle.is_empty() && rows.peers.is_empty());
    }
}
