//! Text that came from elsewhere: hosts, reconcilers and people write it, and it is shown on terminals and in logs of pipelines.
//!
//! Invariant: what has been cleaned is one line, moves no cursor, reverses no reading order, and is no command to the runner of a
//! pipeline that reads the log.

/// One harmless line: line breaks become blanks, other control characters escapes.
pub(super) fn clean(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => line.push(' '),
            c if c.is_control() || turns_text_around(c) => line.extend(c.escape_unicode()),
            // `##vso[...]` and `##[...]` anywhere in a line are commands to the runners of Azure DevOps and GitHub.
            '#' if line.ends_with('#') => line.push_str(" #"),
            c => line.push(c),
        }
    }
    line
}

/// The same for a JSON document, which stays the same document: between values there may be line breaks, inside strings these
/// characters have escapes.
pub(super) fn clean_json(document: &str) -> String {
    let mut line = String::with_capacity(document.len());
    for c in document.trim().chars() {
        match c {
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() || turns_text_around(c) => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            '#' if line.ends_with('#') => line.push_str("\\u0023"),
            c => line.push(c),
        }
    }
    line
}

fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned_text_is_one_line_that_commands_nothing() {
        assert_eq!(clean(" a\r\nb\u{1b}[31m\u{9b}m\u{202e} "), "a  b\\u{1b}[31m\\u{9b}m\\u{202e}");
        assert_eq!(clean("##vso[task.complete]"), "# #vso[task.complete]");
        assert_eq!(clean("issue #12, ünïcödé 東京"), "issue #12, ünïcödé 東京");
    }

    #[test]
    fn a_cleaned_json_document_says_the_same() {
        let document = "{\"a\":\n\"x\u{7f}\u{9b}##[error]\u{202e}\"}";
        let cleaned = clean_json(document);
        assert!(!cleaned.chars().any(char::is_control) && !cleaned.contains("##"), "{cleaned}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&cleaned), value(document));
    }
}
