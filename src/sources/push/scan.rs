//! Finding the end of a JSON value without reading it: brackets and quotes are all that matters.
//!
//! Invariant: the scanner carries on wherever the bytes are cut, and looks at every byte once.

use memchr::{memchr, memchr3};

use crate::sources::json::MAX_DEPTH;

/// Where a scan got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The value ends before this position.
    Complete(usize),
    /// The value goes on after these bytes.
    Open,
    /// This is no JSON value: where the search for the next one may begin, and why.
    Broken(usize, &'static str),
}

/// Looks for the end of one value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scanner {
    depth: usize,
    /// One bit a level, down to [`MAX_DEPTH`]: set for an array.
    arrays: u128,
    deepest: usize,
    in_text: bool,
    escaped: bool,
    /// A number or word at the top.
    scalar: bool,
    /// The last byte outside texts that is no white space.
    last: u8,
    /// The bytes before these ended with a line.
    after_newline: bool,
}

const _: () = assert!(MAX_DEPTH <= 128, "one bit a level");

impl Scanner {
    /// Whether the value nested deeper than is read.
    pub(super) fn too_deep(&self) -> bool {
        self.deepest > MAX_DEPTH
    }

    /// Whether a search from the first of the broken bytes begins at the start of a line.
    pub(super) fn after_newline(&self) -> bool {
        self.after_newline
    }

    /// Scans the next bytes of the value; the first ones must begin with it.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                at += 1;
                continue;
            }
            if self.in_text {
                let Some(n) = memchr3(b'"', b'\\', b'\n', &bytes[at..]) else { break };
                at += n;
                match bytes[at] {
                    b'\n' => return Scan::Broken(at, "a text goes over the end of its line"),
                    b'\\' => self.escaped = true,
                    _ => {
                        self.in_text = false;
                        if self.depth == 0 {
                            return Scan::Complete(at + 1);
                        }
                    }
                }
                at += 1;
                continue;
            }
            let byte = bytes[at];
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' if self.scalar => return Scan::Complete(at),
                b' ' | b'\t' | b'\r' | b'\n' => {
                    at += 1;
                    continue;
                }
                b',' | b']' | b'}' if self.scalar => return Scan::Complete(at),
                b'"' => self.in_text = true,
                b'{' | b'[' => {
                    if !self.may_open() {
                        return Scan::Broken(at, "a bracket opens where none may");
                    }
                    if self.depth < MAX_DEPTH {
                        self.arrays = (self.arrays << 1) | u128::from(byte == b'[');
                    }
                    self.depth += 1;
                    self.deepest = self.deepest.max(self.depth);
                }
                b'}' | b']' => {
                    let known = self.depth <= MAX_DEPTH;
                    if self.depth == 0 || (known && (self.arrays & 1 == 1) != (byte == b']')) {
                        return Scan::Broken(at, "a bracket closes that was not opened");
                    }
                    if known {
                        self.arrays >>= 1;
                    }
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Scan::Complete(at + 1);
                    }
                }
                _ if self.depth == 0 => self.scalar = true,
                _ => {}
            }
            self.last = byte;
            at += 1;
        }
        self.after_newline = bytes.last() == Some(&b'\n');
        Scan::Open
    }

    /// A value begins after a colon in an object, and after a comma or the bracket in an array.
    fn may_open(&self) -> bool {
        match self.depth {
            0 => self.last == 0,
            depth if depth > MAX_DEPTH => true,
            _ if self.arrays & 1 == 1 => matches!(self.last, b'[' | b','),
            _ => self.last == b':',
        }
    }
}

/// Where the next line that begins with a brace begins, in bytes that may themselves begin a line.
pub(super) fn next_object(bytes: &[u8], after_newline: bool) -> Option<usize> {
    if after_newline && bytes.first() == Some(&b'{') {
        return Some(0);
    }
    let mut from = 0;
    while let Some(n) = memchr(b'\n', &bytes[from..]) {
        from += n + 1;
        if bytes.get(from) == Some(&b'{') {
            return Some(from);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let text = br#"{"a":[{"b":"}\"]"},{}],"c\\":1} tail"#;
        let end = text.len() - 5;
        assert_eq!(Scanner::default().scan(text), Scan::Complete(end));
        for cut in 0..end {
            let mut scanner = Scanner::default();
            assert_eq!(scanner.scan(&text[..cut]), Scan::Open, "{cut}");
            assert_eq!(scanner.scan(&text[cut..]), Scan::Complete(end - cut), "{cut}");
        }
    }

    #[test]
    fn brackets_that_do_not_fit_are_seen() {
        for broken in ["{]", "{\"a\":1{", "{\"a\":[1{", "{\"a\":1,\n{", "{\"a\n\":1}"] {
            assert!(matches!(Scanner::default().scan(broken.as_bytes()), Scan::Broken(..)), "{broken}");
        }
        let deep = [b"[".repeat(500), b"]".repeat(500)].concat();
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(&deep), Scan::Complete(1000));
        assert!(scanner.too_deep());
    }
}
