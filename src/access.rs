//! Who may do what: tokens, their scopes, and the file they are in, which also lists [`accounts`] of a cluster; [`telling`] judges what
//! a restricted client says, and [`reviews`] asks a cluster about its own accounts.
//!
//! Pure but for the reviews: text and "now" in, an answer out. Invariants: a token's own text is nowhere, only its SHA-256; a slow
//! hash would protect guessable passwords, but a token is 256 random bits that nobody guesses, and one that is checked with every
//! request must be cheap. A file that is not sound is refused as a whole.

mod accounts;
mod restriction;
pub mod reviews;
pub mod telling;

pub use accounts::Account;
pub use restriction::Restriction;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::accounts::Accounts;
use crate::model::Micros;

/// What tokens begin with, so that scanners of secrets know them.
pub const PREFIX: &str = "koh_";
/// Random bytes of a token.
const SECRET: usize = 32;
/// The source of what a token tells that has no source of its own.
pub const SOURCE: &str = "push";
/// The longest name of a token that names a source.
const SOURCE_NAME: usize = 64;

/// What a token allows; `admin` allows everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Asking.
    Read,
    /// Telling: pushes, webhooks, verifications.
    Report,
    /// Everything, declared retirement included.
    Admin,
}

impl Scope {
    /// The word used in files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Report => "report",
            Scope::Admin => "admin",
        }
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a token's text.
    pub fn of(token: &str) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Digest(bytes)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.iter().map(|b| format!("{b:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(d)?;
        let wrong = || serde::de::Error::custom("sha256 is 64 hexadecimal digits; koh token create makes an entry");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Digest(bytes))
    }
}

/// One token as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Who uses it; shown in the access log.
    pub name: String,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// From then on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The part of the fleet that it sees and may tell of; all of it when not given.
    #[serde(default, skip_serializing_if = "Restriction::is_none", deserialize_with = "restriction::given")]
    pub sees: Arc<Restriction>,
    /// Its SHA-256, in hexadecimal. It is written last: where a file is cut short, a token that lost its bounds is none.
    pub sha256: Digest,
}

impl Token {
    /// Makes a token: its text, which is shown once, and its entry.
    pub fn create(
        name: &str,
        scopes: BTreeSet<Scope>,
        expires: Option<Micros>,
        sees: Restriction,
    ) -> Result<(String, Token), getrandom::Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        let text = secret.iter().fold(PREFIX.to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let expires = expires.map(|at| at.to_string());
        let token = Token { name: name.to_owned(), scopes, sha256: Digest::of(&text), expires, sees: Arc::new(sees) };
        Ok((text, token))
    }

    /// Whether it allows this.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// It as a client.
    pub fn client(&self) -> Client {
        Client { name: format!("token/{}", self.name), sees: Arc::clone(&self.sees) }
    }

    /// Whether it is over.
    pub fn expired(&self, now: Micros) -> bool {
        self.expires.as_deref().is_some_and(|at| Micros::parse(at).is_ok_and(|at| at <= now))
    }
}

/// Whoever asks or tells, by a token of the file or as an account; nobody in particular by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    name: String,
    /// The part of the fleet that it sees and may tell of.
    pub sees: Arc<Restriction>,
}

impl Client {
    /// The source under which is filed what it tells, given what the request says. A restricted client has a source that no other
    /// restricted client has, so it never speaks through the carriers of others.
    pub fn source(&self, said: Option<&str>) -> String {
        if self.sees.is_none() {
            return said.unwrap_or(SOURCE).to_owned();
        }
        let own = &self.name;
        match said {
            None => own.clone(),
            Some(said) if said.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) => {
                said.to_owned()
            }
            Some(said) => format!("{own}/{said}"),
        }
    }
}

/// The file as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// The tokens.
    pub tokens: Vec<Token>,
    /// The accounts that get in; without a list those whose roles say so, and they see everything.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "accounts::listed")]
    pub accounts: Option<Vec<Account>>,
}

impl File {
    /// Reads a file (YAML or JSON); the error says what is wrong, and never repeats what was read: it may be a secret.
    pub fn parse(text: &str) -> Result<File, String> {
        let file: Option<File> = serde_saphyr::from_str(text).map_err(|e| without_quotes(&e.to_string()))?;
        let file = file.ok_or("it is empty; a file that lets none in says tokens: []")?;
        file.fault().map_or(Ok(file), Err)
    }

    /// What is not sound in it, if anything.
    pub fn fault(&self) -> Option<String> {
        self.fault_of_tokens().or_else(|| self.fault_of_accounts())
    }

    fn fault_of_accounts(&self) -> Option<String> {
        let mut known = HashSet::new();
        self.accounts.iter().flatten().find_map(|account| {
            let twice = (!known.insert(&account.name)).then(|| "the name is there twice".to_owned());
            let fault = account.fault().or(twice)?;
            Some(format!("account '{}': {fault}", account.name.escape_debug()))
        })
    }

    fn fault_of_tokens(&self) -> Option<String> {
        let (mut known, mut digests) = (HashSet::new(), HashSet::new());
        self.tokens.iter().find_map(|token| {
            let wrong = |what: &str| Some(format!("token '{}': {what}", token.name));
            if token.name.trim().is_empty() {
                return Some("a token has no name".to_owned());
            }
            if !known.insert(&token.name) {
                return wrong("the name is there twice");
            }
            if !digests.insert(token.sha256) {
                return wrong("the same token is there already, under another name");
            }
            if token.scopes.is_empty() {
                return wrong("it has no scopes; there are read, report and admin");
            }
            if token.expires.as_deref().is_some_and(|at| Micros::parse(at).is_err()) {
                return wrong("'expires' is a time as 2027-01-31T00:00:00Z");
            }
            if let Some(fault) = token.sees.fault() {
                return wrong(&format!("sees: {fault}"));
            }
            if !token.sees.is_none() && token.scopes.contains(&Scope::Admin) {
                return wrong("admin is everything: a token for a part of the fleet has the scopes read, report or both");
            }
            if !token.sees.is_none() && token.scopes.contains(&Scope::Report) && !names_a_source(&token.name) {
                return wrong(
                    "what it reports is filed under a source with its name: give it a name of at most 64 letters, digits and . _ -",
                );
            }
            None
        })
    }
}

/// Without a slash, no name and source read like another name and another source.
fn names_a_source(name: &str) -> bool {
    name.len() <= SOURCE_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The first line of a message: what follows it shows the text around the place.
fn without_quotes(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// Who is let in by the file: tokens, and accounts as far as it lists them.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    tokens: HashMap<Digest, Token>,
    accounts: Option<Accounts>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody knows it.
    Unknown,
    /// It is over.
    Expired,
}

impl From<File> for Tokens {
    fn from(file: File) -> Tokens {
        let tokens = file.tokens.into_iter().map(|t| (t.sha256, t)).collect();
        Tokens { tokens, accounts: file.accounts.map(Accounts::of) }
    }
}

impl Tokens {
    /// The token with this hash. Looking it up tells nothing about the token by how long it takes.
    pub fn entry(&self, digest: Digest, now: Micros) -> Result<&Token, Refusal> {
        let token = self.tokens.get(&digest).ok_or(Refusal::Unknown)?;
        if token.expired(now) { Err(Refusal::Expired) } else { Ok(token) }
    }

    /// Lists the accounts that another file listed, where this one lists none; whether it does. A list that is gone - a file that is
    /// empty, a key that was misplaced - would let in all, and show them everything.
    pub fn keep_accounts(&mut self, of: &Tokens) -> bool {
        let gone = self.accounts.is_none() && of.accounts.is_some();
        if gone {
            self.accounts.clone_from(&of.accounts);
        }
        gone
    }

    /// An account as a client, if the file lets it in. What it may do its roles say, and nothing else.
    pub fn account(&self, user: &str) -> Option<Client> {
        let Some(listed) = &self.accounts else { return Some(accounts::client(user, &Arc::default())) };
        listed.see(user).map(|sees| accounts::client(user, sees))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(scopes: &[Scope]) -> BTreeSet<Scope> {
        scopes.iter().copied().collect()
    }

    #[test]
    fn a_file_that_is_cut_short_anywhere_lets_nobody_do_more() {
        let shop = Restriction { workspaces: ["shop".to_owned()].into(), ..Restriction::default() };
        let scopes = BTreeSet::from([Scope::Read]);
        let expires = Some(Micros(1_000_000));
        let made = |name: &str, sees| Token::create(name, scopes.clone(), expires, sees).unwrap().1;
        let file = File { tokens: vec![made("one", shop.clone()), made("two", shop)], accounts: None };
        let text = serde_saphyr::to_string(&file).unwrap();
        let mut taken = 0;
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let Ok(cut) = File::parse(&text[..end]) else { continue };
            taken += 1;
            assert_eq!(cut.tokens[..], file.tokens[..cut.tokens.len()], "cut at {end}");
        }
        assert!(taken > 0, "after the first token it is a file of one");
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_allows_what_its_scopes_say() {
        let (text, token) = Token::create("grafana", all(&[Scope::Read]), None, Restriction::default()).unwrap();
        let (root, admin) = Token::create("root", all(&[Scope::Admin]), None, Restriction::default()).unwrap();
        assert!(text.starts_with(PREFIX) && text.len() == PREFIX.len() + 64);
        let file = File { tokens: vec![token, admin], accounts: None };
        let written = serde_saphyr::to_string(&file).unwrap();
        assert!(!written.contains(&text[PREFIX.len()..]), "{written}");
        let tokens = Tokens::from(File::parse(&written).unwrap());
        let found = tokens.entry(Digest::of(&text), Micros(0)).unwrap();
        assert_eq!((found.allows(Scope::Read), found.allows(Scope::Report)), (true, false));
        assert!(tokens.entry(Digest::of(&root), Micros(0)).unwrap().allows(Scope::Report));
        assert_eq!(tokens.entry(Digest::of("koh_00"), Micros(0)), Err(Refusal::Unknown));
    }

    #[test]
    fn a_token_is_refused_from_the_time_on_at_which_it_expires() {
        let end = Micros::parse("2026-06-01T00:00:00Z").unwrap();
        let (text, token) = Token::create("ci", all(&[Scope::Report]), Some(end), Restriction::default()).unwrap();
        let tokens = Tokens::from(File { tokens: vec![token], accounts: None });
        assert!(tokens.entry(Digest::of(&text), end.plus(-1)).is_ok());
        assert_eq!(tokens.entry(Digest::of(&text), end), Err(Refusal::Expired));
    }

    #[test]
    fn no_two_restricted_tokens_speak_under_one_source() {
        let source = |name: &str, said: Option<&str>, workspaces: &[&str]| {
            let sees = Restriction {
                workspaces: workspaces.iter().map(|w| (*w).to_owned()).collect(),
                ..Restriction::default()
            };
            Token::create(name, all(&[Scope::Report]), None, sees).unwrap().1.client().source(said)
        };
        assert_eq!([source("ci", None, &[]), source("ci", Some("eu"), &[])], ["push", "eu"]);
        let own = |said| source("ci", said, &["shop"]);
        assert_eq!([own(None), own(Some("eu")), own(Some("push"))], ["token/ci", "token/ci/eu", "token/ci/push"]);
        assert_eq!(
            [own(Some("token/ci/eu")), own(Some("token/ci"))],
            ["token/ci/eu", "token/ci"],
            "its own name is its own"
        );
        assert_eq!(own(Some("token/cinema")), "token/ci/token/cinema", "another's is not");
    }

    #[test]
    fn a_file_that_is_not_sound_is_refused_without_repeating_what_it_holds() {
        let entry = |more: &str| format!("tokens: [{{name: a, scopes: [read], sha256: {}{more}}}]", "0".repeat(64));
        assert!(File::parse(&entry("")).is_ok());
        let said = |text: &str| File::parse(text).unwrap_err();
        assert!(said(&entry(", expires: soon")).contains("expires"));
        assert!(said(&entry("").replace("[read]", "[]")).contains("no scopes"));
        assert!(said(&entry("").replace("name: a", "name: ''")).contains("no name"));
        let twice = format!("tokens: [{0}, {0}]", entry("").trim_start_matches("tokens: [").trim_end_matches(']'));
        assert!(said(&twice).contains("twice"), "{twice}");
        let mistaken = said("tokens: [{name: a, scopes: [read], sha256: koh_secretsecret}]");
        assert!(mistaken.contains("64 hexadecimal") && !mistaken.contains("secretsecret"), "{mistaken}");
        let sees = ", sees: {workspaces: [shop], hosts: {region: [eu]}}";
        assert!(!File::parse(&entry(sees)).unwrap().tokens[0].sees.is_none());
        assert!(File::parse(&entry(sees).replace("[read]", "[read, report]")).is_ok());
        assert!(said(&entry(sees).replace("[read]", "[admin]")).contains("admin is everything"));
        let nameless = entry(sees).replace("[read]", "[report]").replace("name: a", "name: a/b");
        assert!(said(&nameless).contains("letters, digits"));
        assert!(said(&entry(", sees: {workspaces: ['*']}")).contains("names of workspaces"));
        assert!(said(&entry(", sees: {workspace: [shop]}")).contains("workspace"));
        assert!(File::parse("tokens: []").unwrap().tokens.is_empty());
        assert!(said("").contains("it is empty") && said("# nobody\n").contains("tokens: []"));
    }

    #[test]
    fn what_would_give_more_than_was_meant_is_refused() {
        let entry =
            |name: &str, more: &str| format!("{{name: {name}, scopes: [read], sha256: {}{more}}}", "0".repeat(64));
        let said = |entries: &[String]| File::parse(&format!("tokens: [{}]", entries.join(", "))).unwrap_err();
        for nothing in ["{}", "", "{workspaces: []}", "{hosts: {}}", "{workspaces: [], hosts: {region: [eu]}}"] {
            let why = said(&[entry("a", &format!(", sees: {nothing}"))]);
            assert!(why.contains("leave") || nothing.is_empty(), "{nothing}: {why}");
        }
        // Which of the two would be in force?
        let twice = said(&[entry("a", ", sees: {workspaces: [shop]}"), entry("b", "")]);
        assert!(twice.contains("token 'b'") && twice.contains("another name"), "{twice}");
    }
}
