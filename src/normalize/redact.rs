//! Messages without secrets, at most 4 KiB.
//!
//! Invariant: what leaves here holds no token, password, key or connection string that the patterns know, and scrubbing it
//! again changes nothing. A message is scrubbed before it is cut, so that no half of a secret survives at the cut.
//! Every pattern is linear in the message; a cheap pass over the bytes spares most messages the patterns.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The longest message that is kept, in bytes, with the mark.
pub const LIMIT: usize = 4096;
/// What stands in place of a secret.
const SCRUBBED: &str = "***";
/// What ends a message that was cut.
const CUT: &str = " [... cut at 4 KiB]";

/// How much of a long message is scrubbed: enough for a private key or token that begins before the cut.
const WINDOW: usize = 4 * LIMIT;

/// How often the patterns look again at what they changed.
const MAX_PASSES: usize = 4;

/// Scrubs a message and cuts it.
pub fn message(mut raw: String) -> String {
    if raw.len() > WINDOW {
        raw.truncate(floor(&raw, WINDOW));
    }
    if raw.contains('\0') {
        raw = raw.replace('\0', "\u{fffd}");
    }
    let mut text = match scrub(&raw) {
        Cow::Borrowed(_) => raw,
        Cow::Owned(scrubbed) => scrubbed,
    };
    if text.len() > LIMIT {
        text.truncate(floor(&text, LIMIT - CUT.len()));
        text.push_str(CUT);
    }
    text
}

/// Scrubs a text of any length; borrowed when there was nothing to scrub.
pub fn scrub(text: &str) -> Cow<'_, str> {
    if !suspicious(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    // What one pattern leaves may be what another looks for; secrets are rare, so a second look costs little.
    let mut current = Cow::Borrowed(text);
    for _ in 0..MAX_PASSES {
        let before = current.clone();
        for pattern in PATTERNS.iter() {
            if let Cow::Owned(next) =
                pattern.regex.replace_all(&current, |found: &Captures<'_>| (pattern.replace)(found))
            {
                current = Cow::Owned(next);
            }
        }
        if current == before {
            break;
        }
    }
    if current == text { Cow::Borrowed(text) } else { current }
}

/// Scrubs a URL or endpoint that is kept for display: user info and signatures go.
pub(super) fn url(raw: String) -> String {
    match scrub(&raw) {
        Cow::Borrowed(_) => raw,
        Cow::Owned(scrubbed) => scrubbed,
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

struct Pattern {
    regex: Regex,
    replace: fn(&Captures<'_>) -> String,
}

fn group<'t>(found: &Captures<'t>, n: usize) -> &'t str {
    found.get(n).map_or("", |m| m.as_str())
}

/// Words after a key or scheme that are prose ("token: expired") are no secrets.
fn looks_secret(value: &str) -> bool {
    let value = value.trim_matches(|c| matches!(c, '"' | '\''));
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    (value.len() >= 8 && digits >= 1) || value.len() >= 24
}

static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let pattern = |regex: &str, replace: fn(&Captures<'_>) -> String| Pattern {
        regex: Regex::new(regex).expect("the pattern is constant and valid"),
        replace,
    };
    vec![
        pattern(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)", |_| {
            SCRUBBED.to_owned()
        }),
        // scheme://user:password@host, scheme://token@host; `git@` alone is everybody's user.
        pattern(r#"(?i)\b([a-z][a-z0-9+.-]*://)([^\s/"'<>]*)@"#, |found| {
            let user = group(found, 2);
            let kept = if user == "git" { user } else { SCRUBBED };
            format!("{}{kept}@", group(found, 1))
        }),
        pattern(
            r#"(?i)\b(authorization["']?\s*[:=]\s*["']?)((?:bearer|basic|token|negotiate|digest)\s+)?[^\s"',;]+"#,
            |found| format!("{}{}{SCRUBBED}", group(found, 1), group(found, 2)),
        ),
        pattern(r"(?i)\b(bearer|basic)(\s+)([a-z0-9._~+/=-]{6,})", |found| {
            let token = group(found, 3);
            let kept = if looks_secret(token) || token.ends_with('=') { SCRUBBED } else { token };
            format!("{}{}{kept}", group(found, 1), group(found, 2))
        }),
        pattern(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_.-]*)?", |_| SCRUBBED.to_owned()),
        pattern(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|gl[a-z]{2,4}-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{8,}|(?:AKIA|ASIA)[0-9A-Z]{16}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{20,}|AIza[0-9A-Za-z_-]{30,}|hvs\.[A-Za-z0-9_-]{16,}|ya29\.[A-Za-z0-9_-]{16,}|dckr_pat_[A-Za-z0-9_-]{16,})",
            |_| SCRUBBED.to_owned(),
        ),
        // Shared access signatures are query parameters; the other parameters say what they were for and stay.
        pattern(
            r#"(?i)([?&;\s](?:sig|x-amz-signature|x-amz-credential|x-amz-security-token)=)[^&\s;"'<>]+"#,
            |found| format!("{}{SCRUBBED}", group(found, 1)),
        ),
        // key=value, "key": "value", key: value. The key ends with the telling word, so that secretRef and tokenName stay.
        pattern(
            r#"(?i)([\w.-]*(?:password|passwd|passphrase|pwd|secret|token|credentials?|api[-_ ]?key|access[-_ ]?key(?:[-_ ]?id)?|account[-_ ]?key|private[-_ ]?key|signing[-_ ]?key|encryption[-_ ]?key|shared[-_ ]?access[-_ ]?key|connection[-_ ]?string)\\?["']?)(\s*=\s*|\s*:\s*|\s*:=\s*)(\\?"[^"\\]*\\?"?|'[^']*'?|[^\s,;&"'\\})\]]+)"#,
            |found| {
                let (key, sign, value) = (group(found, 1), group(found, 2), group(found, 3));
                let lower = key.to_ascii_lowercase();
                let vague = ["token", "secret", "credential", "credentials"].iter().any(|word| lower.ends_with(word));
                let prose =
                    vague && sign.contains(':') && !value.starts_with(['"', '\'', '\\']) && !looks_secret(value);
                if prose {
                    return format!("{key}{sign}{value}");
                }
                let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).map(String::from);
                let open = if value.starts_with("\\\"") { "\\\"".to_owned() } else { quote.unwrap_or_default() };
                let close = if value.len() > open.len() && value.ends_with(&open) { open.as_str() } else { "" };
                format!("{key}{sign}{open}{SCRUBBED}{close}")
            },
        ),
        pattern(
            r#"(?i)(--?[\w-]*(?:password|passwd|secret|token|api-key|access-key|account-key)\s+)("[^"]*"?|'[^']*'?|[^\s"'-][^\s"']*)"#,
            |found| format!("{}{SCRUBBED}", group(found, 1)),
        ),
    ]
});

/// Three letters that every pattern above needs, folded to 5 bits each: one look-up a byte.
const TRIGGERS: [&[u8; 3]; 23] = [
    b"ssw", b"ssp", b"pwd", b"cre", b"tok", b"key", b"sig", b"bea", b"bas", b"eyj", b"---", b"aut", b"ghp", b"gho",
    b"ghu", b"ghs", b"ghr", b"xox", b"aki", b"asi", b"aiz", b"hvs", b"npm",
];
/// The same for what two letters and a sign begin.
const SIGNED: [&[u8; 3]; 11] = [b"sk-", b"_pa", b"ya2", b"glp", b"gld", b"glr", b"glo", b"gls", b"glf", b"glc", b"str"];

const fn class(byte: u8) -> usize {
    match byte {
        b'a'..=b'z' => (byte - b'a') as usize + 1,
        b'A'..=b'Z' => (byte - b'A') as usize + 1,
        b'-' => 27,
        b'_' => 28,
        b'2' => 29,
        _ => 0,
    }
}

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class(byte as u8) as u8;
        byte += 1;
    }
    table
};

const fn with(mut table: [u64; 512], triggers: &[&[u8; 3]]) -> [u64; 512] {
    let mut n = 0;
    while n < triggers.len() {
        let t = triggers[n];
        let index = (class(t[0]) << 10) | (class(t[1]) << 5) | class(t[2]);
        table[index >> 6] |= 1 << (index & 63);
        n += 1;
    }
    table
}

static TABLE: [u64; 512] = with(with([0; 512], &TRIGGERS), &SIGNED);

fn suspicious(text: &[u8]) -> bool {
    let mut window = 0usize;
    let (mut at, mut scheme) = (false, false);
    let mut last = 0u8;
    for &byte in text {
        window = ((window << 5) | usize::from(CLASS[usize::from(byte)])) & 0x7fff;
        if TABLE[window >> 6] >> (window & 63) & 1 == 1 {
            return true;
        }
        at |= byte == b'@';
        scheme |= byte == b'/' && last == b'/';
        last = byte;
    }
    at && scheme
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scrubbed(text: &str) -> String {
        message(text.to_owned())
    }

    #[test]
    fn secrets_go_and_what_they_were_for_stays() {
        let jwt = ["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0In0", "c2lnbmF0dXJl"].join(".");
        let key = format!("-----BEGIN RSA {k}-----\nMIIEow\n-----END RSA {k}-----", k = "PRIVATE KEY");
        let cases = [
            ("password=hunter2 rejected", "password=*** rejected"),
            (r#"{"password": "hun ter2", "user": "bob"}"#, r#"{"password": "***", "user": "bob"}"#),
            (r#"{\"clientSecret\":\"abc\",\"x\":1}"#, r#"{\"clientSecret\":\"***\",\"x\":1}"#),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
            ("Server=db;User Id=sa;Pwd=p@ss;Encrypt=true", "Server=db;User Id=sa;Pwd=***;Encrypt=true"),
            (
                "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=abc+/==;EndpointSuffix=core",
                "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=***;EndpointSuffix=core",
            ),
            ("clone https://bob:s3cret@git.host/o/r failed", "clone https://***@git.host/o/r failed"),
            ("clone https://tok3n@git.host/o/r failed", "clone https://***@git.host/o/r failed"),
            ("clone ssh://git@git.host/o/r failed", "clone ssh://git@git.host/o/r failed"),
            ("postgres://u:p@db:5432/x", "postgres://***@db:5432/x"),
            ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
            ("sent bearer abcdef0123456789 to server", "sent bearer *** to server"),
            ("sent Basic dXNlcjpwYXNz= to server", "sent Basic *** to server"),
            (
                "GET https://a.blob.net/c?sv=2020&sig=aB%2Bc%3D&se=1 403",
                "GET https://a.blob.net/c?sv=2020&sig=***&se=1 403",
            ),
            ("az login --password hunter2 --tenant t", "az login --password *** --tenant t"),
            ("token: abcdef0123456789", "token: ***"),
        ];
        for (raw, expected) in cases {
            assert_eq!(scrubbed(raw), expected);
        }
        assert_eq!(scrubbed(&format!("got {jwt} back")), "got *** back");
        assert_eq!(scrubbed(&format!("key {key} end")), "key *** end");
        assert_eq!(scrubbed(&format!("cut off {}", &key[..40])), "cut off ***");
        for token in [
            ["gh", "p_abcdefghijklmnopqrst0123456789"].concat(),
            ["AK", "IAABCDEFGHIJKLMNOP"].concat(),
            ["gl", "pat-abcdefghijklmnop1234"].concat(),
            ["xo", "xb-12345678-abcdefgh"].concat(),
            ["github", "_pat_abcdefghijklmnop_123"].concat(),
        ] {
            assert_eq!(scrubbed(&format!("bad {token}!")), "bad ***!", "{token}");
        }
    }

    #[test]
    fn ordinary_messages_stay_as_they_are() {
        for text in [
            "Applied revision: main@sha1:530af36eb38818ff7c4a8840f2068998ec8ec065",
            "HelmRelease/keycloak: install retries exhausted",
            "invalid token: expired",
            "failed to get secret: not found",
            "basic authentication failed for https://git.host/o/r",
            "monkey patch created; signal received",
            "spec.secretRef: regcred",
            "dependency 'cluster-config/cluster-config-infra' is not ready",
        ] {
            assert_eq!(scrubbed(text), text);
        }
    }

    #[test]
    fn long_messages_are_cut_on_a_character_with_a_mark() {
        let cut = scrubbed(&"ü".repeat(5000));
        assert!(cut.len() <= LIMIT && cut.len() > LIMIT - 4);
        assert!(cut.ends_with(CUT));
        assert_eq!(scrubbed(&cut), cut);
    }

    #[test]
    fn a_secret_across_the_cut_leaves_nothing_behind() {
        let text = format!("{} password={}", "x".repeat(LIMIT - 40), "s".repeat(9000));
        assert!(!scrubbed(&text).contains("sss"));
    }

    #[test]
    fn a_nul_is_shown_as_a_replacement_character() {
        assert_eq!(scrubbed("a\0b"), "a\u{fffd}b");
    }

    proptest! {
        #[test]
        fn scrubbing_twice_is_scrubbing_once(raw in "([a-z:/@ =;\"'&?-]{0,6}(password|token|Bearer |https://|sig=|secret|--token | eyJ|AccountKey)){0,3}[ -~]{0,20}") {
            let once = scrubbed(&raw);
            prop_assert_eq!(scrubbed(&once), once);
        }

        #[test]
        fn no_message_is_too_strange(raw in any::<String>()) {
            let _ = message(raw);
        }
    }
}
