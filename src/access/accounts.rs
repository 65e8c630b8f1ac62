//! The ServiceAccounts that the file of tokens lists: who of a cluster gets in, and what part of the fleet each sees.
//!
//! Invariant: where accounts are listed, one that no entry means does not get in, and a file in which an entry does not say what it
//! sees is refused; so a line that was lost shows nobody more than the file says elsewhere. What an account may *do* is not said
//! here: its roles say it ([`super::reviews`]), and an entry adds nothing to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Client, Restriction, restriction};

/// How API servers name an account: this, its namespace, a colon, its name.
const ONE: &str = "system:serviceaccount:";
/// How they name all accounts, and with a colon and a namespace behind it those of the namespace.
const MANY: &str = "system:serviceaccounts";
/// What an entry says that restricts nothing.
const EVERYTHING: &str = "everything";

/// One account, or those of a namespace, or all, as the file has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Their name for the API server, which roles are bound to as well.
    pub name: String,
    /// The part of the fleet that they see and may tell of; nobody gets in by an entry that does not say it.
    #[serde(default, serialize_with = "said", deserialize_with = "heard")]
    pub sees: Option<Arc<Restriction>>,
}

fn said<S: Serializer>(sees: &Option<Arc<Restriction>>, s: S) -> Result<S::Ok, S::Error> {
    match sees {
        Some(sees) if sees.is_none() => s.serialize_str(EVERYTHING),
        other => other.serialize(s),
    }
}

/// `everything`, or a restriction.
fn heard<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Arc<Restriction>>, D::Error> {
    struct Sees;
    impl<'de> Visitor<'de> for Sees {
        type Value = Arc<Restriction>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "'sees' with 'workspaces', 'hosts' or both, or sees: {EVERYTHING}")
        }

        fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
            if word == EVERYTHING { Ok(Arc::default()) } else { Err(E::invalid_value(Unexpected::Str(word), &self)) }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            restriction::given(MapAccessDeserializer::new(map))
        }
    }
    d.deserialize_any(Sees).map(Some)
}

/// The accounts of a file that lists them.
pub(super) fn listed<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<Account>>, D::Error> {
    let given = Option::<Vec<Account>>::deserialize(d)?;
    given.map(Some).ok_or_else(|| {
        D::Error::custom(
            "'accounts' lists who gets in: write [] where no account does, and leave it out where roles alone say it",
        )
    })
}

impl Account {
    /// What is not sound in it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let known = match (self.name.strip_prefix(ONE), self.name.strip_prefix(MANY)) {
            (Some(one), _) => one.split_once(':').is_some_and(|(namespace, name)| label(namespace) && subdomain(name)),
            (_, Some("")) => true,
            (_, Some(rest)) => rest.strip_prefix(':').is_some_and(label),
            (None, None) => false,
        };
        if !known {
            return Some(format!(
                "'name' is as the API server says it: {ONE}NAMESPACE:NAME for an account, {MANY}:NAMESPACE for those of a namespace, \
                 {MANY} for all"
            ));
        }
        match &self.sees {
            Some(sees) => sees.fault().map(|fault| format!("sees: {fault}")),
            None => Some(format!(
                "it does not say what it sees: 'sees' with 'workspaces', 'hosts' or both, or sees: {EVERYTHING}"
            )),
        }
    }
}

/// What Kubernetes takes for the name of a namespace.
fn label(name: &str) -> bool {
    let within = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(within) && !name.starts_with('-') && !name.ends_with('-')
}

/// What it takes for the name of an account.
fn subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(label)
}

/// The accounts that get in, by name.
#[derive(Clone, Debug)]
pub(super) struct Accounts(HashMap<String, Arc<Restriction>>);

impl Accounts {
    pub(super) fn of(listed: Vec<Account>) -> Accounts {
        Accounts(listed.into_iter().filter_map(|account| Some((account.name, account.sees?))).collect())
    }

    /// What an account sees: by its own entry, else by that of its namespace, else by that of all; nothing where none names it.
    pub(super) fn see(&self, user: &str) -> Option<&Arc<Restriction>> {
        let (namespace, _) = parts(user)?;
        let own = self.0.get(user);
        own.or_else(|| self.0.get(&format!("{MANY}:{namespace}"))).or_else(|| self.0.get(MANY))
    }
}

/// The namespace and the name of an account.
fn parts(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(ONE)?.split_once(':')
}

/// An account as a client. No two have the same name: neither part of it has a slash.
pub(super) fn client(user: &str, sees: &Arc<Restriction>) -> Client {
    let name = parts(user).map_or_else(|| user.to_owned(), |(namespace, name)| format!("{namespace}/{name}"));
    Client { name: format!("account/{name}"), sees: Arc::clone(sees) }
}

#[cfg(test)]
mod tests {
    use super::super::{File, Tokens};
    use super::*;

    const FILE: &str = "
accounts:
  - {name: 'system:serviceaccount:ci:pipeline', sees: {workspaces: [shop]}}
  - {name: 'system:serviceaccounts:ci', sees: {hosts: {region: [eu]}}}
  - {name: 'system:serviceaccount:monitoring:grafana', sees: everything}
";

    fn seen(tokens: &Tokens, user: &str) -> Option<String> {
        tokens.account(user).map(|client| client.sees.to_string())
    }

    #[test]
    fn an_account_sees_what_its_own_entry_says_else_that_of_its_namespace_and_is_not_let_in_without_any() {
        let tokens = Tokens::from(File::parse(FILE).unwrap());
        let of = |user: &str| seen(&tokens, user);
        assert_eq!(of("system:serviceaccount:ci:pipeline").as_deref(), Some("workspaces shop"));
        assert_eq!(of("system:serviceaccount:ci:pipeline2").as_deref(), Some("hosts with region eu"));
        assert_eq!(of("system:serviceaccount:monitoring:grafana").as_deref(), Some(""));
        for stranger in
            ["system:serviceaccount:monitoring:other", "system:serviceaccount:ci2:pipeline", "alice", "ci:pipeline"]
        {
            assert_eq!(of(stranger), None, "{stranger}");
        }
        let all = Tokens::from(
            File::parse(&format!("{FILE}  - {{name: 'system:serviceaccounts', sees: {{workspaces: [x]}}}}")).unwrap(),
        );
        assert_eq!(seen(&all, "system:serviceaccount:else:where").as_deref(), Some("workspaces x"));
        assert_eq!(seen(&all, "system:serviceaccount:ci:other").as_deref(), Some("hosts with region eu"));
        assert_eq!(seen(&all, "alice"), None, "who is no account is among none of them");
    }

    #[test]
    fn a_file_that_lists_no_accounts_leaves_them_to_their_roles_and_one_with_an_empty_list_lets_none_in() {
        let of = |text: &str| seen(&Tokens::from(File::parse(text).unwrap()), "system:serviceaccount:ci:pipeline");
        assert_eq!(of("tokens: []").as_deref(), Some(""));
        assert_eq!(of("accounts: []"), None);
        assert!(File::parse("accounts:").unwrap_err().contains("leave it out"));
        let written = serde_saphyr::to_string(&File::parse("accounts: []").unwrap()).unwrap();
        assert_eq!(of(&written), None, "{written}");
        let written = serde_saphyr::to_string(&File::parse(FILE).unwrap()).unwrap();
        assert_eq!(File::parse(&written), File::parse(FILE));
    }

    #[test]
    fn a_list_that_is_gone_stays_in_force_and_one_that_is_empty_does_not() {
        let of = |text: &str| Tokens::from(File::parse(text).unwrap());
        let pipeline = "system:serviceaccount:ci:pipeline";
        let mut emptied = of("tokens: []");
        assert!(emptied.keep_accounts(&of(FILE)));
        assert_eq!(seen(&emptied, pipeline).as_deref(), Some("workspaces shop"));
        let mut none = of("accounts: []");
        assert!(!none.keep_accounts(&of(FILE)));
        assert_eq!(seen(&none, pipeline), None);
        assert!(!of("tokens: []").keep_accounts(&of("tokens: []")), "none were listed");
    }

    #[test]
    fn a_list_that_is_not_sound_is_refused() {
        let said = |entry: &str| File::parse(&format!("accounts: [{entry}]")).unwrap_err();
        for name in [
            "pipeline",
            "ci/pipeline",
            "system:serviceacount:ci:pipeline",
            "system:serviceaccount:ci",
            "system:serviceaccount:ci:",
            "system:serviceaccount:*:pipeline",
            "system:serviceaccount:ci:a:b",
            "system:serviceaccount:CI:pipeline",
            "system:serviceaccounts:",
            "system:serviceaccounts:ci:pipeline",
            "system:serviceaccountsci",
            "*",
            "",
        ] {
            let why = said(&format!("{{name: '{name}', sees: everything}}"));
            assert!(why.contains("NAMESPACE:NAME"), "{name}: {why}");
        }
        let good = "name: 'system:serviceaccount:ci:a.b-c'";
        let sees = |what: &str| format!("{{{good}, sees: {what}}}");
        assert!(File::parse(&format!("accounts: [{}]", sees("everything"))).is_ok());
        assert!(said(&format!("{}, {}", sees("everything"), sees("{workspaces: [shop]}"))).contains("twice"));
        let lost = said(&format!("{{{good}}}"));
        assert!(lost.contains("account 'system:serviceaccount:ci:a.b-c': it does not say what it sees"), "{lost}");
        for (what, why) in [
            ("all", "sees: everything"),
            ("", "sees: everything"),
            ("[shop]", "sees: everything"),
            ("{}", "'workspaces', 'hosts' or both"),
            ("{workspaces: ['*']}", "names of workspaces"),
            ("{workspaces: []}", "name what is seen"),
            ("{workspace: [shop]}", "workspace"),
        ] {
            assert!(said(&sees(what)).contains(why), "{what}: {}", said(&sees(what)));
        }
        assert!(said(&format!("{{{good}, sees: everything, scopes: [read]}}")).contains("scopes"), "roles say that");
    }

    #[test]
    fn no_two_accounts_speak_under_one_source() {
        let sees = Arc::new(Restriction { workspaces: ["shop".to_owned()].into(), ..Restriction::default() });
        let source = |user: &str, said| client(user, &sees).source(said);
        let pipeline = "system:serviceaccount:ci:pipeline";
        assert_eq!(source(pipeline, None), "account/ci/pipeline");
        assert_eq!(source(pipeline, Some("eu")), "account/ci/pipeline/eu");
        assert_eq!(source(pipeline, Some("account/ci/pipeline/eu")), "account/ci/pipeline/eu");
        assert_eq!(source(pipeline, Some("account/ci/other")), "account/ci/pipeline/account/ci/other");
        assert_ne!(source("system:serviceaccount:ci:a.b", None), source("system:serviceaccount:ci:a", Some("b")));
    }
}
