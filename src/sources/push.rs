//! An incremental decoder: bytes of a request body in, numbered statements out.
//!
//! A body is one object, an array, NDJSON, or JSON texts one after another (pretty-printed, too). Which one shows in its first
//! bytes. Invariant: at most one item is buffered, never more than [`MAX_ITEM`] bytes of it; every item keeps its number; what
//! is wrong with one item is said of that item, and reading goes on wherever the next item can be found for certain.

mod scan;

use memchr::memchr;
use scan::{Scan, Scanner, next_object};

use super::{flat, json, resource};
use crate::model::Observation;
use crate::normalize::Rejection;

/// The longest item that is taken, in bytes.
pub const MAX_ITEM: usize = 1024 * 1024;

/// What the items of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Custom resources, watch events and lists, in any mixture.
    Resources,
    /// Flat descriptors.
    Descriptors,
    /// Flat reports.
    Reconcilers,
    /// Flat hosts.
    Hosts,
    /// Flat verifications.
    Verifications,
}

/// One item of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number in the body, from 0; the elements of a `List` are numbered one by one.
    pub index: usize,
    /// What it says, or why it was not taken.
    pub observation: Result<Observation, Rejection>,
}

/// How the body is laid out, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Nothing but white space was seen.
    Start,
    /// The first line is not complete yet.
    FirstLine,
    /// One item a line.
    Lines,
    /// Items one after another, over several lines.
    Values,
    /// What is wrong was said; the next line that begins with a brace begins an item. `line`: the bytes begin a line.
    Seek { line: bool },
    /// Elements of an array; `comma`: the next thing is a comma or the end.
    Array { comma: bool },
    /// Nothing more can be read.
    Broken,
}

/// Decodes one body.
#[derive(Debug)]
pub struct Decoder {
    form: Form,
    source: String,
    idempotency_key: Option<String>,
    layout: Layout,
    /// The beginning of the item that is not complete yet.
    buffer: Vec<u8>,
    /// The item at hand is longer than [`MAX_ITEM`]: it is read to its end and refused.
    overlong: bool,
    scanner: Scanner,
    index: usize,
    items: Vec<Item>,
}

impl Decoder {
    /// A decoder for one body of a source. With an idempotency key every item is known again by the key and its number.
    pub fn new(form: Form, source: String, idempotency_key: Option<String>) -> Decoder {
        Decoder {
            form,
            source,
            idempotency_key,
            layout: Layout::Start,
            buffer: Vec::new(),
            overlong: false,
            scanner: Scanner::default(),
            index: 0,
            items: Vec::new(),
        }
    }

    /// Takes the next bytes of the body, already decompressed, and gives the items completed by them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Item> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.layout {
                Layout::Start => self.start(rest),
                Layout::FirstLine => self.first_line(rest),
                Layout::Lines => self.lines(rest),
                Layout::Values => self.values(rest),
                Layout::Seek { line } => self.seek(rest, line),
                Layout::Array { comma } => self.array(rest, comma),
                Layout::Broken => &[],
            };
        }
        std::mem::take(&mut self.items)
    }

    /// The body is complete: gives what was still open.
    pub fn finish(&mut self) -> Vec<Item> {
        match self.layout {
            Layout::Start | Layout::Seek { .. } | Layout::Broken => {}
            Layout::FirstLine | Layout::Lines => self.line_complete(&[]),
            Layout::Values => {
                if !self.buffer.is_empty() || self.overlong {
                    self.value_broken("the body ends inside it");
                }
            }
            Layout::Array { .. } => {
                self.fatal(
                    "the body ends inside the array",
                    "send the array to its closing bracket, or one item a line (NDJSON)",
                );
            }
        }
        self.layout = Layout::Broken;
        std::mem::take(&mut self.items)
    }

    fn start<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        // A byte order mark is white space to everybody but the JSON grammar.
        let blank = |b: &u8| b.is_ascii_whitespace() || matches!(b, 0xef | 0xbb | 0xbf);
        let Some(first) = bytes.iter().position(|b| !blank(b)) else { return &[] };
        self.scanner = Scanner::default();
        if bytes[first] == b'[' {
            self.layout = Layout::Array { comma: false };
            return &bytes[first + 1..];
        }
        self.layout = Layout::FirstLine;
        &bytes[first..]
    }

    /// The first line decides: a whole item means one item a line, a part of one means items over several lines.
    fn first_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.keep(bytes);
            return &[];
        };
        if self.overlong {
            self.layout = Layout::Lines;
            return bytes;
        }
        let whole;
        let line = if self.buffer.is_empty() {
            &bytes[..end]
        } else {
            whole = [&self.buffer, &bytes[..end]].concat();
            &whole
        };
        let object = line.first() == Some(&b'{');
        let open = object && matches!(Scanner::default().scan(line), Scan::Open);
        self.layout = if open { Layout::Values } else { Layout::Lines };
        if open && !self.buffer.is_empty() {
            // What is kept has not been scanned yet.
            self.scanner = Scanner::default();
            let _ = self.scanner.scan(&self.buffer);
        }
        bytes
    }

    fn lines<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(end) = memchr(b'\n', bytes) else {
            self.keep(bytes);
            return &[];
        };
        self.line_complete(&bytes[..end]);
        &bytes[end + 1..]
    }

    /// A line is what is kept and `tail`.
    fn line_complete(&mut self, tail: &[u8]) {
        if self.overlong || self.buffer.len() + tail.len() > MAX_ITEM {
            self.too_long();
            return;
        }
        if self.buffer.is_empty() {
            return self.line(tail);
        }
        let mut line = std::mem::take(&mut self.buffer);
        line.extend_from_slice(tail);
        self.line(&line);
        if self.buffer.is_empty() {
            line.clear();
            self.buffer = line;
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let Err(rejection) = self.decode(line) else { return };
        // Nearly every line is one item; only one that cannot be read is looked at more closely.
        let mut scanner = Scanner::default();
        match scanner.scan(line) {
            Scan::Complete(end) if end < line.len() && line[0] == b'{' => self.several(line, end),
            // A lone brace begins an item over several lines.
            Scan::Open if line == b"{" => {
                self.layout = Layout::Values;
                self.scanner = scanner;
                self.buffer = b"{\n".to_vec();
            }
            _ => self.reject(rejection),
        }
    }

    /// Several items on one line.
    fn several(&mut self, line: &[u8], first: usize) {
        let (mut rest, mut end) = (line, first);
        loop {
            if let Err(rejection) = self.decode(&rest[..end]) {
                self.reject(rejection);
            }
            rest = rest[end..].trim_ascii_start();
            if rest.is_empty() {
                return;
            }
            match Scanner::default().scan(rest) {
                Scan::Complete(next) if rest[0] == b'{' => end = next,
                _ => {
                    return self.reject(Rejection::new(
                        "what follows on the line is not a JSON object",
                        "send one object a line",
                    ));
                }
            }
        }
    }

    fn values<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let inside = self.overlong || !self.buffer.is_empty();
        if !inside {
            let Some(first) = bytes.iter().position(|b| !b.is_ascii_whitespace()) else { return &[] };
            if bytes[first] != b'{' {
                self.value_broken("an item begins without a brace");
                self.layout = Layout::Seek { line: false };
                return &bytes[first..];
            }
            self.scanner = Scanner::default();
            return self.value(&bytes[first..]);
        }
        self.value(bytes)
    }

    fn value<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match self.scanner.scan(bytes) {
            Scan::Complete(end) => {
                let readable = self.complete(&bytes[..end]);
                if !readable {
                    // Its brackets may have closed too early; what is left of it is no item.
                    self.layout = Layout::Seek { line: false };
                }
                &bytes[end..]
            }
            Scan::Open => {
                self.keep(bytes);
                &[]
            }
            Scan::Broken(at, reason) => {
                // An item over several lines begins at the start of a line; from there on items are whole again.
                let line = if at == 0 { self.scanner.after_newline() } else { bytes[at - 1] == b'\n' };
                self.value_broken(reason);
                self.layout = Layout::Seek { line };
                &bytes[at..]
            }
        }
    }

    fn seek<'b>(&mut self, bytes: &'b [u8], line: bool) -> &'b [u8] {
        match next_object(bytes, line) {
            Some(at) => {
                self.layout = Layout::Values;
                &bytes[at..]
            }
            None => {
                self.layout = Layout::Seek { line: bytes.last() == Some(&b'\n') };
                &[]
            }
        }
    }

    fn array<'b>(&mut self, bytes: &'b [u8], comma: bool) -> &'b [u8] {
        if self.buffer.is_empty() && !self.overlong {
            let Some(first) = bytes.iter().position(|b| !b.is_ascii_whitespace()) else { return &[] };
            let rest = &bytes[first..];
            match (rest[0], comma) {
                (b']', _) => {
                    self.layout = Layout::Start;
                    return &rest[1..];
                }
                (b',', true) => {
                    self.layout = Layout::Array { comma: false };
                    return &rest[1..];
                }
                (other, false) if other != b',' => self.scanner = Scanner::default(),
                (other, _) => {
                    let expected = if comma { "a comma or the closing bracket" } else { "an object" };
                    self.fatal(
                        &format!("the array holds `{}` where {expected} belongs", char::from(other).escape_default()),
                        "check the array with a JSON parser; items before this one were taken",
                    );
                    return &[];
                }
            }
            return self.element(rest);
        }
        self.element(bytes)
    }

    fn element<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match self.scanner.scan(bytes) {
            Scan::Complete(end) => {
                self.complete(&bytes[..end]);
                self.layout = Layout::Array { comma: true };
                &bytes[end..]
            }
            Scan::Open => {
                self.keep(bytes);
                &[]
            }
            Scan::Broken(_, reason) => {
                self.fatal(reason, "check the array with a JSON parser; items before this one were taken");
                &[]
            }
        }
    }

    /// An item is complete: what is kept and `tail`. False when it is no JSON at all.
    fn complete(&mut self, tail: &[u8]) -> bool {
        if self.overlong || self.buffer.len() + tail.len() > MAX_ITEM {
            self.too_long();
            return true;
        }
        if self.scanner.too_deep() {
            self.too_deep();
            return true;
        }
        let mut kept = std::mem::take(&mut self.buffer);
        let item = if kept.is_empty() {
            tail
        } else {
            kept.extend_from_slice(tail);
            &kept
        };
        let mut readable = true;
        if let Err(rejection) = self.decode(item) {
            readable = serde_json::from_slice::<serde::de::IgnoredAny>(item).is_ok();
            self.reject(rejection);
        }
        kept.clear();
        self.buffer = kept;
        readable
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.overlong || self.buffer.len() + bytes.len() > MAX_ITEM {
            self.overlong = true;
            self.buffer = Vec::new();
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Answers an item, unless the whole of it cannot be read.
    fn decode(&mut self, item: &[u8]) -> Result<(), Rejection> {
        // The derived readers would take an array for an object, by position.
        if item.trim_ascii_start().first() == Some(&b'[') {
            return Err(Rejection::new("the item is an array", "an item is one JSON object with named fields"));
        }
        let one = match self.form {
            Form::Resources => {
                let all = resource::decode(item, &self.source)?;
                if all.is_empty() {
                    // A bookmark says nothing, but it has a number.
                    self.index += 1;
                }
                for observation in all {
                    self.answer(observation);
                }
                return Ok(());
            }
            Form::Descriptors => flat::descriptor(item, &self.source)?,
            Form::Reconcilers => flat::reconciler(item, &self.source)?,
            Form::Hosts => flat::host(item, &self.source)?,
            Form::Verifications => flat::verification(item, &self.source)?,
        };
        self.answer(Ok(one));
        Ok(())
    }

    fn answer(&mut self, mut observation: Result<Observation, Rejection>) {
        if let (Ok(observation), Some(key)) = (&mut observation, &self.idempotency_key) {
            observation.when.idempotency = Some(format!("{key}/{}", self.index));
        }
        self.items.push(Item { index: self.index, observation });
        self.index += 1;
    }

    fn reject(&mut self, rejection: Rejection) {
        self.answer(Err(rejection));
    }

    fn too_long(&mut self) {
        self.overlong = false;
        self.buffer = Vec::new();
        self.reject(Rejection::new(
            "the item is longer than 1 MiB",
            "send less in one item; a List can be sent as NDJSON, one object a line (`jq -c '.items[]'`)",
        ));
    }

    fn too_deep(&mut self) {
        self.overlong = false;
        self.buffer.clear();
        self.reject(Rejection::new(
            format!("the item nests deeper than {} levels", json::MAX_DEPTH),
            "no shape the hub reads nests that deep; check how the item was made",
        ));
    }

    fn value_broken(&mut self, reason: &str) {
        self.overlong = false;
        self.buffer.clear();
        self.reject(Rejection::new(
            format!("not valid JSON: {reason}"),
            "check the text with a JSON parser, then send it again",
        ));
    }

    /// Nothing after this can be read for certain.
    fn fatal(&mut self, title: &str, detail: &str) {
        self.overlong = false;
        self.buffer.clear();
        self.reject(Rejection::new(title, detail));
        self.layout = Layout::Broken;
    }
}

#[cfg(test)]
mod tests;
