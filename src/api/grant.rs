//! What was granted to a request - who is behind it, what he sees and may tell of - and whether the file still grants it.
//!
//! Invariant: a grant is looked up anew for every group of what a push tells, and what is looked up asks nobody: that roles of an
//! account were taken back is for [`super::lease`] to find out.

use axum::http::StatusCode;

use super::problem::Problem;
use crate::access::{Client, Digest, Refusal, Scope, Tokens};
use crate::model::Micros;

/// Who was let in; anybody by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody is asked.
    #[default]
    Anybody,
    /// Who presented this token, for which it needs this scope.
    Token(Digest, Scope),
    /// This account of a cluster.
    Account(String),
}

/// What was granted to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) who: Who,
    /// As what he asks or tells.
    pub(super) client: Client,
}

impl Grant {
    /// Whether the file still says so; a stream outlives what let it in.
    pub(super) fn check(&self, known: Option<&Tokens>) -> Result<(), Problem> {
        let now = match (&self.who, known) {
            (Who::Anybody, _) => return Ok(()),
            (Who::Account(account), known) => client_of(account, known)?,
            (Who::Token(..), None) => return Err(untaken(Refusal::Unknown)),
            (Who::Token(digest, scope), Some(known)) => {
                let token = known.entry(*digest, Micros::now()).map_err(untaken)?;
                if !token.allows(*scope) {
                    return Err(lacks(*scope));
                }
                token.client()
            }
        };
        // Source and part of what was said hang on it, and so does what was shown.
        if now == self.client {
            return Ok(());
        }
        let (whose, change) = match self.who {
            Who::Account(_) => ("account", "It is restricted otherwise than when the request began."),
            _ => ("token", "Its name or its restriction is another than when the request began."),
        };
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            format!("the {whose} was changed meanwhile"),
            format!(
                "{change} Send a new request; of a push, items counted here are stored, and the rest goes into the new one."
            ),
        ))
    }
}

/// An account as a client, if the file lets it in.
pub(super) fn client_of(account: &str, known: Option<&Tokens>) -> Result<Client, Problem> {
    let Some(known) = known else { return Ok(Client::default()) };
    known.account(account).ok_or_else(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("{account} is not listed"),
            "The hub's file of tokens lists the accounts that get in, and names neither this one nor its namespace. Add an entry to \
             'accounts' with its name, and with what it 'sees': a part of the fleet, or everything.",
        )
    })
}

/// Why a token is not taken.
pub(super) fn untaken(why: Refusal) -> Problem {
    match why {
        Refusal::Unknown => {
            refused("the token is not known", "It is not in the hub's file of tokens, or not any more.")
        }
        Refusal::Expired => refused("the token has expired", "Ask for a new one: koh token create."),
    }
}

pub(super) fn refused(title: &str, detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail)
}

pub(super) fn lacks(scope: Scope) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("the token lacks the scope '{}'", scope.as_str()),
        "read is for questions, report for pushes and verifications, admin for everything.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::File;

    fn file(text: &str) -> Tokens {
        Tokens::from(File::parse(text).unwrap())
    }

    #[test]
    fn what_the_file_takes_from_an_account_or_narrows_is_granted_no_longer() {
        let account = "system:serviceaccount:ci:pipeline";
        let listed = |sees: &str| file(&format!("accounts: [{{name: '{account}', sees: {sees}}}]"));
        let (all, shop) = (listed("everything"), listed("{workspaces: [shop]}"));
        let granted = |known: &Tokens| Grant {
            who: Who::Account(account.to_owned()),
            client: client_of(account, Some(known)).unwrap(),
        };
        let title =
            |grant: &Grant, known: &Tokens| grant.check(Some(known)).err().map(|problem| problem.title().to_owned());
        for known in [&all, &shop] {
            assert_eq!(title(&granted(known), known), None);
        }
        let changed = Some("the account was changed meanwhile".to_owned());
        assert_eq!(title(&granted(&all), &shop), changed);
        assert_eq!(title(&granted(&shop), &listed("{workspaces: [shop, bank]}")), changed);
        let none = file("accounts: []");
        assert_eq!(title(&granted(&shop), &none), Some(format!("{account} is not listed")));
        assert_eq!(
            title(&granted(&file("tokens: []")), &file("tokens: []")),
            None,
            "where none are listed, roles alone say it"
        );
    }
}
