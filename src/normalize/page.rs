//! Where people read a commit, a pull request or a report: addresses for links, made of canonical repositories.
//!
//! Invariant: what is returned is an http or https address that is percent-encoded, so it may become a link as it is; where no
//! page is known there is none. A forge of an unknown name is taken for one that serves `/commit/`, as GitHub, Gitea and Forgejo do.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What must not stand in an address.
const ADDRESS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'\'')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^');
/// What must not stand in a path either.
const PATH: &AsciiSet = &ADDRESS.add(b'#').add(b'?').add(b'[').add(b']');
/// The least digits of an abbreviated commit; what is shorter is a word.
const DIGITS_MIN: usize = 7;

/// The page of a commit of a canonical repository.
pub fn commit_page(repo: &str, commit: &str) -> Option<String> {
    let digits = digits(commit)?;
    let (host, path) = repo.strip_prefix("https://")?.split_once('/')?;
    let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    if !plain || path.is_empty() {
        return None;
    }
    let path = encoded(path, PATH);
    Some(match host {
        "ssh.dev.azure.com" | "vs-ssh.visualstudio.com" => {
            let mut parts = path.strip_prefix("v3/")?.split('/');
            let (organization, project, name) = (parts.next()?, parts.next()?, parts.next()?);
            format!("https://dev.azure.com/{organization}/{project}/_git/{name}/commit/{digits}")
        }
        _ if host.starts_with("git-codecommit.") => return None,
        "bitbucket.org" => format!("https://{host}/{path}/commits/{digits}"),
        _ if host.split('.').any(|label| label == "gitlab") => format!("https://{host}/{path}/-/commit/{digits}"),
        _ => format!("https://{host}/{path}/commit/{digits}"),
    })
}

/// The text as an address, if it is one of the web.
pub fn web_page(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    let web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (web && !rest.is_empty() && !rest.starts_with('/')).then(|| format!("{scheme}://{}", encoded(rest, ADDRESS)))
}

/// The digits of a git commit; digests of images and versions of charts have no page.
fn digits(commit: &str) -> Option<&str> {
    let digits = commit.strip_prefix("sha1:").unwrap_or(commit);
    ((DIGITS_MIN..=40).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// Encodes what is not encoded yet.
fn encoded(text: &str, set: &'static AsciiSet) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, part) in text.split('%').enumerate() {
        if i > 0 {
            let is_encoded = part.as_bytes().get(..2).is_some_and(|b| b.iter().all(u8::is_ascii_hexdigit));
            out.push_str(if is_encoded { "%" } else { "%25" });
        }
        out.extend(utf8_percent_encode(part, set));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::repository;
    use super::*;
    use proptest::prelude::*;

    const SHA1: &str = "530af36eb38818ff7c4a8840f2068998ec8ec065";

    fn page(repo: &str) -> Option<String> {
        commit_page(&repository(repo), &format!("sha1:{SHA1}"))
    }

    #[test]
    fn every_forge_has_its_own_page_for_a_commit() {
        for (repo, expected) in [
            ("git@github.com:Org/app.git", "https://github.com/Org/app/commit/"),
            ("https://github.corp:8443/Org/app", "https://github.corp:8443/Org/app/commit/"),
            ("https://dev.azure.com/Org/Pro%20ject/_git/r", "https://dev.azure.com/Org/Pro%20ject/_git/r/commit/"),
            ("https://user@dev.azure.com/Org/Pro ject/_git/r", "https://dev.azure.com/Org/Pro%20ject/_git/r/commit/"),
            ("git@ssh.dev.azure.com:v3/Org/Project/r", "https://dev.azure.com/Org/Project/_git/r/commit/"),
            ("https://org.visualstudio.com/Project/_git/r", "https://org.visualstudio.com/Project/_git/r/commit/"),
            ("https://gitlab.com/group/sub/app.git", "https://gitlab.com/group/sub/app/-/commit/"),
            ("ssh://git@gitlab.corp.example/g/app", "https://gitlab.corp.example/g/app/-/commit/"),
            ("git@bitbucket.org:team/app.git", "https://bitbucket.org/team/app/commits/"),
        ] {
            assert_eq!(page(repo), Some(format!("{expected}{SHA1}")), "{repo}");
        }
    }

    #[test]
    fn without_a_page_there_is_no_link() {
        for repo in [
            "",
            "git/ops",
            "file:///srv/git/r",
            "oci://ghcr.io/org/app",
            "http://minio:9000/b",
            "https://h.x",
            "https://a b/r",
        ] {
            assert_eq!(commit_page(repo, &format!("sha1:{SHA1}")), None, "{repo}");
        }
        assert_eq!(page("https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app"), None);
        assert_eq!(page("git@ssh.dev.azure.com:v3/Org"), None);
        for commit in ["", "6.5.4", "abc", "main", &format!("sha256:{SHA1}"), &format!("{SHA1}0")] {
            assert_eq!(commit_page("https://github.com/o/r", commit), None, "{commit}");
        }
        assert!(commit_page("https://github.com/o/r", "0ba6f0d").unwrap().ends_with("/commit/0ba6f0d"));
    }

    #[test]
    fn a_page_is_an_address_of_the_web_or_nothing() {
        assert_eq!(
            web_page(" https://github.com/o/r/pull/7?a=b#c "),
            Some("https://github.com/o/r/pull/7?a=b#c".into())
        );
        assert_eq!(web_page("HTTP://h/a b%20c%"), Some("HTTP://h/a%20b%20c%25".into()));
        for text in
            ["", "7", "#7", "javascript:alert(1)", "javascript://x", "https://", "https:///x", "file:///x", "/d/x"]
        {
            assert_eq!(web_page(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_address_leaves_its_link(repo in any::<String>(), text in any::<String>()) {
            let pages = [commit_page(&format!("https://github.com/{repo}"), SHA1), web_page(&format!("https://h/{text}"))];
            for page in pages.into_iter().flatten() {
                prop_assert!(page.is_ascii() && !page.contains(|c: char| c.is_ascii_control() || " \"'<>`\\".contains(c)), "{}", page);
                prop_assert_eq!(web_page(&page), Some(page));
            }
        }
    }
}
