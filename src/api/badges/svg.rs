//! The picture of a badge.
//!
//! Invariant: well-formed XML for any text. What XML cannot hold is replaced, what it would read as markup is escaped; the width comes
//! from an estimate, and the text is fitted to it, so that no font makes it run out of its box.

/// Texts are cut after so many characters.
const CHARACTERS: usize = 60;
/// Blank space on each side of a text, in tenths of a pixel.
const PADDING: usize = 60;

/// How something is, as a colour says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Failing,
    Progressing,
    Drifted,
    Unknown,
    Success,
}

impl State {
    /// The worst of the states of targets; where there are none, nothing is known.
    pub(super) fn worst<'a>(states: impl Iterator<Item = &'a str>) -> State {
        let one = |state| match state {
            "failing" | "stalled" => State::Failing,
            "progressing" => State::Progressing,
            "drifted" => State::Drifted,
            "in_sync" => State::Success,
            _ => State::Unknown,
        };
        states.map(one).min().unwrap_or(State::Unknown)
    }

    fn word(self) -> &'static str {
        match self {
            State::Failing => "failing",
            State::Progressing => "progressing",
            State::Drifted => "drifted",
            State::Unknown => "unknown",
            State::Success => "success",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            State::Failing => "#c4272e",
            State::Progressing => "#1f60c4",
            State::Drifted => "#b35c00",
            State::Unknown => "#6e6e6e",
            State::Success => "#2a7a2f",
        }
    }
}

/// A badge: a label on the left, a message in the colour of the state on the right.
pub(super) struct Badge<'a> {
    pub(super) label: &'a str,
    pub(super) message: &'a str,
    pub(super) state: State,
}

impl Badge<'_> {
    /// The image.
    pub(super) fn render(&self) -> String {
        let (label, message) = (cut(self.label), cut(self.message));
        let (left, right) = (width(&label), width(&message));
        let (a, b) = ((left + 2 * PADDING) / 10, (right + 2 * PADDING) / 10);
        let title = escaped(&format!("{label}: {message} ({})", self.state.word()));
        let (label, message) = (escaped(&label), escaped(&message));
        let (w, x, y, colour) = (a + b, a * 5, a * 10 + b * 5, self.state.colour());
        let text = |x: usize, width: usize, text: &str| {
            format!(
                r#"<text x="{x}" y="140" transform="scale(.1)" textLength="{width}" lengthAdjust="spacingAndGlyphs">{text}</text>"#
            )
        };
        [
            format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="20" role="img" aria-label="{title}">"#),
            format!("<title>{title}</title>"),
            format!(r##"<clipPath id="r"><rect width="{w}" height="20" rx="3"/></clipPath><g clip-path="url(#r)">"##),
            format!(r##"<rect width="{a}" height="20" fill="#555"/><rect x="{a}" width="{b}" height="20" fill="{colour}"/></g>"##),
            r##"<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="110">"##.into(),
            text(x, left, &label),
            text(y, right, &message),
            "</g></svg>\n".into(),
        ]
        .concat()
    }
}

/// The width of a text in tenths of a pixel, as Verdana 11 would about have it; never 0, which a `textLength` may not be.
fn width(text: &str) -> usize {
    let of = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 40,
        'f' | 'r' | 't' | ' ' | '-' | '(' | ')' | '/' | '"' => 47,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 105,
        'A'..='Z' => 78,
        c if c.is_ascii() => 68,
        // Most of what comes after is as wide as it is high.
        c if u32::from(c) >= 0x1100 => 115,
        _ => 72,
    };
    text.chars().map(of).sum::<usize>().max(10)
}

fn cut(text: &str) -> String {
    let one_line = text.chars().map(|c| if allowed(c) { c } else { ' ' });
    let mut cut: String = one_line.clone().take(CHARACTERS).collect();
    if one_line.count() > CHARACTERS {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// What XML can hold and one line can show.
fn allowed(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_text() {
        let label = "a\"b'<script>alert(1)</script>&\n\u{0}\u{ffff}]]>";
        let svg = Badge { label, message: "1.0 ${x} ü 版本", state: State::Success }.render();
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("a&quot;b&#39;&lt;script&gt;alert(1)&lt;/script&gt;&amp;   ]]&gt;"), "{svg}");
        assert!(svg.contains("1.0 ${x} ü 版本"), "{svg}");
        assert_eq!((svg.matches('<').count(), svg.matches('>').count()), (17, 17), "{svg}");
        assert_eq!(svg.trim_end().lines().count(), 1);
    }

    #[test]
    fn long_texts_are_cut_and_empty_ones_have_a_width() {
        let svg = Badge { label: &"x".repeat(5000), message: "", state: State::Unknown }.render();
        assert!(svg.len() < 2000 && svg.contains('…'), "{svg}");
        assert!(!svg.contains("textLength=\"0\""));
    }

    #[test]
    fn the_worst_target_gives_the_colour() {
        let worst = |states: &[&str]| State::worst(states.iter().copied());
        assert_eq!(worst(&[]), State::Unknown);
        assert_eq!(worst(&["in_sync", "in_sync"]), State::Success);
        assert_eq!(worst(&["in_sync", "nobody"]), State::Unknown);
        assert_eq!(worst(&["in_sync", "drifted", "progressing"]), State::Progressing);
        assert_eq!(worst(&["progressing", "stalled"]), State::Failing);
    }
}
