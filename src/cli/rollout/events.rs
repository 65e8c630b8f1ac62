//! Server-sent events, read from pieces of a body as they arrive.
//!
//! Invariant: an event is given out when its blank line has come, so that what a connection breaks off is never taken for an answer.

/// The most that one event may hold; a hub's answer names a bounded number of hosts and targets.
const EVENT_MAX: usize = 16 * 1024 * 1024;

/// An event with data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// What to send as `Last-Event-ID` when asking again.
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Takes pieces, gives events.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
    event: Event,
    /// Milliseconds to wait before asking again, as the hub wishes.
    pub(super) retry: Option<u64>,
}

/// The stream is not one of events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Events {
    /// The events that are complete with this piece.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        self.rest.extend_from_slice(piece);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return self.bounded(Vec::new()) };
        let tail = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, tail);
        let mut events = Vec::new();
        for line in String::from_utf8_lossy(&lines).lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "" if line.is_empty() => {
                    let event = std::mem::take(&mut self.event);
                    events.extend((!event.data.is_empty()).then_some(event));
                }
                "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
                "data" => self.event.data.extend(["\n", value]),
                "id" => self.event.id = Some(value.to_owned()),
                "retry" => self.retry = value.parse().ok().or(self.retry),
                // Comments keep the connection alive; the one kind of event that is sent is the answer.
                _ => {}
            }
        }
        self.bounded(events)
    }

    fn bounded(&self, events: Vec<Event>) -> Result<Vec<Event>, TooLong> {
        if self.rest.len() + self.event.data.len() > EVENT_MAX { Err(TooLong) } else { Ok(events) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": hello\nretry: 250\n\nid: 7\nevent: answer\ndata: {\"a\":\ndata: \"\u{e9}\"}\n\r\n:\n\nid: 8\ndata:{}\r\n\n";

    #[test]
    fn events_are_the_same_however_the_body_is_cut() {
        let whole = Events::default().take(STREAM.as_bytes()).unwrap();
        let event = |id: &str, data: &str| Event { id: Some(id.into()), data: data.into() };
        assert_eq!(whole, [event("7", "{\"a\":\n\"\u{e9}\"}"), event("8", "{}")]);
        for size in 1..STREAM.len() {
            let mut events = Events::default();
            let cut: Vec<Event> = STREAM.as_bytes().chunks(size).flat_map(|p| events.take(p).unwrap()).collect();
            assert_eq!((cut, events.retry), (whole.clone(), Some(250)), "pieces of {size}");
        }
    }

    #[test]
    fn half_an_event_is_none_and_endless_ones_are_refused() {
        let mut events = Events::default();
        assert_eq!(events.take(b"data: {\"verdict\":\"complete\"}\n"), Ok(Vec::new()));
        assert_eq!(Events::default().take(&vec![b'x'; EVENT_MAX + 1]), Err(TooLong));
    }
}
