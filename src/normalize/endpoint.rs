//! Manifests endpoints in one spelling: `<repo>/<branch>/<path>`, the repository in https form.
//!
//! Invariant: parts and the one-string form of the same place give the same text, because both are joined first and then
//! brought into form by one function; that text is its own canonical form. The path keeps its case.

use std::cell::RefCell;

use super::{Rejection, name, redact};
use crate::model::{Endpoint, ManifestsSaid};

/// A manifests endpoint with the parts that a commit log is kept by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Canonical repository; empty when only the one-string form is known.
    pub repo: String,
    /// Branch, tag or other ref; empty when only the one-string form is known.
    pub branch: String,
}

/// The canonical form of an endpoint in parts or as one string.
pub fn endpoint(said: ManifestsSaid) -> Result<Place, Rejection> {
    match said {
        ManifestsSaid::Endpoint { storage_type, endpoint } => {
            let raw = name::name("manifests endpoint", endpoint)?;
            let endpoint = remembered(&storage_type, raw);
            if endpoint.canonical.is_empty() {
                return Err(nowhere(&endpoint.raw));
            }
            Ok(Place { endpoint, repo: String::new(), branch: String::new() })
        }
        ManifestsSaid::Parts { storage_type, repo, branch, path } => {
            let storage_type = storage(&storage_type);
            let repo = name::name("manifests repo", repo)?;
            let branch = name::optional("manifests branch", Some(branch))?.unwrap_or_default();
            let path = name::optional("manifests path", Some(path))?.unwrap_or_default();
            if branch.is_empty() && storage_type == "git" {
                return Err(Rejection::new(
                    "manifests branch is empty",
                    "name the branch, tag or ref of the manifests repository that the target is served from",
                ));
            }
            let tagged = storage_type == "oci" && !branch.is_empty();
            let sign = if !tagged {
                "/"
            } else if branch.contains(':') {
                "@"
            } else {
                ":"
            };
            let raw = redact::url(format!("{}{sign}{branch}/{path}", repo.trim_end_matches('/')));
            let canonical = canonical(&storage_type, &raw);
            if canonical.is_empty() {
                return Err(nowhere(&raw));
            }
            let repo = canonical_repo(&storage_type, &repo);
            let branch = branch.strip_prefix("refs/heads/").map_or(branch.clone(), str::to_owned);
            Ok(Place { endpoint: Endpoint { storage_type, canonical, raw }, repo, branch })
        }
    }
}

/// The canonical form of a repository, bucket or registry URL.
pub fn repository(raw: &str) -> String {
    canonical("git", raw)
}

fn canonical_repo(storage_type: &str, raw: &str) -> String {
    canonical(storage_type, raw)
}

fn nowhere(raw: &str) -> Rejection {
    Rejection::new(
        format!("manifests endpoint `{raw}` names no place"),
        "write it as <repo>/<branch>/<path>, for example https://github.com/org/app-gitops/dev/functional-test",
    )
}

/// The storage type in one spelling; `git` when empty.
pub fn storage(raw: &str) -> String {
    let raw = raw.trim();
    const KNOWN: [(&str, &str); 10] = [
        ("", "git"),
        ("git", "git"),
        ("gitrepository", "git"),
        ("bucket", "bucket"),
        ("azureblob", "azureBlob"),
        ("oci", "oci"),
        ("ocirepository", "oci"),
        ("helm", "helm"),
        ("helmrepository", "helm"),
        ("helmchart", "helm"),
    ];
    match KNOWN.iter().find(|(word, _)| raw.eq_ignore_ascii_case(word)) {
        Some((_, spelling)) => (*spelling).to_owned(),
        None => raw.to_ascii_lowercase(),
    }
}

thread_local! {
    /// A fleet has few endpoints and reports them over and over: the latest of each hash is kept.
    static REMEMBERED: RefCell<Vec<Option<(String, Endpoint)>>> = const { RefCell::new(Vec::new()) };
}

/// Slots of the cache; a power of two.
const SLOTS: usize = 1024;

fn remembered(storage_type: &str, raw: String) -> Endpoint {
    // Endpoints of one fleet differ at their ends; the last bytes spread them well enough for a cache.
    let slot = raw.bytes().rev().take(40).fold(raw.len(), |hash, b| hash.wrapping_mul(31).wrapping_add(usize::from(b)));
    REMEMBERED.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        let slot = &mut slots[(slot ^ (slot >> 10)) & (SLOTS - 1)];
        if let Some((said_type, known)) = slot
            && said_type == storage_type
            && known.raw == raw
        {
            return known.clone();
        }
        // What is scrubbed for display is what is compared next time, so a text with a secret just misses the cache.
        let spelled = storage(storage_type);
        let canonical = canonical(&spelled, &raw);
        let endpoint = Endpoint { storage_type: spelled, canonical, raw: redact::url(raw) };
        *slot = Some((storage_type.to_owned(), endpoint.clone()));
        endpoint
    })
}

/// The canonical text of a repository or an endpoint.
///
/// Strange texts (`git@:443@`) need a second look before they are their own form; real ones pay for one comparison.
fn canonical(storage_type: &str, raw: &str) -> String {
    let mut text = once(storage_type, raw);
    for _ in 0..MAX_LOOKS {
        let next = once(storage_type, &text);
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Each look only takes away, so that a few are enough.
const MAX_LOOKS: usize = 8;

fn once(storage_type: &str, raw: &str) -> String {
    let git = storage_type == "git";
    let text = raw.trim();
    match text.split_once("://") {
        Some((scheme, rest))
            if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') =>
        {
            let scheme = scheme.to_ascii_lowercase();
            let scheme = if git && scheme == "git+ssh" { "ssh".to_owned() } else { scheme };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let mut segments = segments(git, path);
            let authority = authority.split('?').next().unwrap_or_default();
            let mut authority = authority.rsplit('@').next().unwrap_or_default().trim().to_ascii_lowercase();
            // `ssh://git@host:org/repo` is a common slip for the scp form: what is no port is the first folder.
            if git && let Some((host, folder)) = scp(&authority, false) {
                let folder = rest[rest.len() - path.len() - usize::from(rest.contains('/')) - folder.len()..]
                    .split('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                if let Some(folder) = self::segments(git, &folder).pop() {
                    segments.insert(0, folder);
                }
                authority = host.to_owned();
            }
            if git && matches!(scheme.as_str(), "https" | "http" | "ssh" | "git") {
                return assemble("https", &without_default_port(&scheme, authority), &segments);
            }
            assemble(&scheme, &without_default_port(&scheme, authority), &segments)
        }
        _ => plain(git, text),
    }
}

/// Text without a scheme: the scp form `git@host:org/repo`, a host without scheme, or a name that is no URL at all.
fn plain(git: bool, text: &str) -> String {
    let (first, rest) = text.split_once('/').unwrap_or((text, ""));
    if git {
        let user = match (first.find(':'), first.find('@')) {
            (Some(colon), Some(at)) if at < colon => first[..colon].rfind('@'),
            _ => first.rfind('@'),
        };
        let bare = user.map_or(first, |at| &first[at + 1..]);
        if let Some((host, folder)) = scp(bare, user.is_some()) {
            let host = without_default_port("ssh", host.trim().to_ascii_lowercase());
            let mut all = segments(git, folder);
            all.extend(segments(git, rest));
            if !host.is_empty() {
                return assemble("https", &host, &all);
            }
        }
        let mut all = segments(git, bare);
        all.extend(segments(git, rest));
        let all = without_heads(all);
        if all.len() > 1 && is_host(&all[0]) {
            let host = without_default_port("https", all[0].to_ascii_lowercase());
            return assemble("https", &host, &all[1..]);
        }
        return all.join("/");
    }
    segments(git, text).join("/")
}

/// `host:folder`, where the folder is no port; after a user (`git@`) it never is one.
fn scp(authority: &str, user: bool) -> Option<(&str, &str)> {
    let (host, folder) = authority.split_once(':')?;
    let port = !user && folder.bytes().all(|b| b.is_ascii_digit());
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    (!port && plain && !host.is_empty() && !folder.starts_with(':')).then_some((host, folder))
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    port.bytes().all(|b| b.is_ascii_digit())
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}

fn without_default_port(scheme: &str, mut authority: String) -> String {
    let default = match scheme {
        "http" => ":80",
        "ssh" => ":22",
        "git" => ":9418",
        _ => ":443",
    };
    // What becomes https must not keep the port that https implies either.
    loop {
        let kept = authority.trim_end_matches(':').trim_end_matches(default).trim_end_matches(":443").trim_end().len();
        if kept == authority.len() {
            return authority;
        }
        authority.truncate(kept);
    }
}

fn assemble(scheme: &str, host: &str, segments: &[String]) -> String {
    let length: usize = segments.iter().map(|s| s.len() + 1).sum();
    let mut text = String::with_capacity(scheme.len() + 3 + host.len() + length);
    text.push_str(scheme);
    text.push_str("://");
    text.push_str(host);
    for segment in segments {
        text.push('/');
        text.push_str(segment);
    }
    text
}

/// Path segments in form: no empty ones, no `.`, no query, `org/repo.git` as `org/repo`, `refs/heads/main` as `main`.
fn segments(git: bool, path: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(8);
    for raw in path.split('/') {
        let segment = if git { repository_segment(raw) } else { bare_segment(raw) };
        if !segment.is_empty() && segment != "." {
            all.push(segment.to_owned());
        }
    }
    if git { without_heads(all) } else { all }
}

fn without_heads(all: Vec<String>) -> Vec<String> {
    if !all.iter().any(|s| s == "heads") {
        return all;
    }
    let mut kept: Vec<String> = Vec::with_capacity(all.len());
    for segment in all {
        if segment == "heads" && kept.last().is_some_and(|last| last == "refs") {
            kept.pop();
        } else {
            kept.push(segment);
        }
    }
    kept
}

/// A query (a signature, a ref) is not part of the place.
fn bare_segment(raw: &str) -> &str {
    raw.split('?').next().unwrap_or_default().trim()
}

fn repository_segment(raw: &str) -> &str {
    let mut segment = bare_segment(raw);
    while let Some(shorter) = segment.strip_suffix(".git").filter(|s| !s.trim_end().is_empty()) {
        segment = shorter.trim_end();
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> String {
        canonical("git", text)
    }

    fn parts(repo: &str, branch: &str, path: &str) -> Place {
        let said = ManifestsSaid::Parts {
            storage_type: String::new(),
            repo: repo.into(),
            branch: branch.into(),
            path: path.into(),
        };
        endpoint(said).unwrap()
    }

    #[test]
    fn every_spelling_of_a_repository_is_the_https_form() {
        for raw in [
            "https://github.com/Org/app",
            "https://github.com/Org/app/",
            "https://github.com/Org/app.git",
            "http://GitHub.com/Org/app.git/",
            "https://user:token@github.com/Org/app.git",
            "https://github.com:443/Org/app",
            "http://github.com:80/Org/app",
            "git@github.com:Org/app.git",
            "git@github.com:/Org/app",
            "github.com:Org/app.git",
            "ssh://git@github.com/Org/app.git",
            "ssh://git@github.com:22/Org/app",
            "ssh://git@github.com:Org/app.git",
            "git://github.com/Org/app",
            "github.com/Org/app",
            "  https://github.com//Org/./app ",
        ] {
            assert_eq!(repository(raw), "https://github.com/Org/app", "{raw}");
        }
        assert_eq!(repository("https://git.corp:8443/o/r.git"), "https://git.corp:8443/o/r");
        assert_eq!(repository("ssh://git@git.corp:7999/o/r.git"), "https://git.corp:7999/o/r");
        assert_eq!(
            repository("https://dev.azure.com/Org/Pro%20ject/_git/r"),
            "https://dev.azure.com/Org/Pro%20ject/_git/r"
        );
        assert_eq!(repository("file:///srv/git/r.git"), "file:///srv/git/r");
    }

    #[test]
    fn parts_and_one_string_meet() {
        let expected = "https://github.com/o/app-gitops/dev/functional-test/East-US";
        for (repo, branch, path) in [
            ("https://github.com/o/app-gitops", "dev", "./functional-test/East-US"),
            ("https://github.com/o/app-gitops.git", "dev", "functional-test//East-US/"),
            ("git@github.com:o/app-gitops.git", " dev ", "/functional-test/./East-US"),
            ("https://t0ken@GITHUB.com/o/app-gitops/", "refs/heads/dev", "functional-test/East-US"),
        ] {
            let place = parts(repo, branch, path);
            assert_eq!(place.endpoint.canonical, expected);
            assert_eq!((place.repo.as_str(), place.branch.as_str()), ("https://github.com/o/app-gitops", "dev"));
            assert!(!place.endpoint.raw.contains("t0ken"));
            assert_eq!(one(&place.endpoint.raw), expected);
        }
        assert_eq!(one("https://github.com/o/app-gitops/dev/./functional-test/East-US/"), expected);
        assert_eq!(one("git@github.com:o/app-gitops.git/dev/functional-test/East-US"), expected);
        for root in [".", "", "./", "/"] {
            assert_eq!(parts("https://h.x/o/r", "dev", root).endpoint.canonical, "https://h.x/o/r/dev");
        }
    }

    #[test]
    fn other_storage_types_keep_their_form() {
        let oci = |branch: &str| ManifestsSaid::Parts {
            storage_type: "OCIRepository".into(),
            repo: "oci://GHCR.io/Org/app/".into(),
            branch: branch.into(),
            path: "./deploy".into(),
        };
        assert_eq!(endpoint(oci("v1")).unwrap().endpoint.canonical, "oci://ghcr.io/Org/app:v1/deploy");
        assert_eq!(endpoint(oci("sha256:ab")).unwrap().endpoint.canonical, "oci://ghcr.io/Org/app@sha256:ab/deploy");
        assert_eq!(canonical("bucket", "http://minio:9000/b/./p/"), "http://minio:9000/b/p");
        assert_eq!(
            canonical("azureBlob", "https://A.blob.core.windows.net/c?sv=1&sig=x/p"),
            "https://a.blob.core.windows.net/c/p"
        );
        assert_eq!(canonical("bucket", "My-Bucket/p"), "My-Bucket/p");
        assert_eq!(storage(" AzureBlob"), "azureBlob");
    }

    #[test]
    fn an_endpoint_without_a_place_is_refused_with_an_example() {
        for raw in ["", " ", "/", "./."] {
            let said = ManifestsSaid::Endpoint { storage_type: "git".into(), endpoint: raw.into() };
            assert!(endpoint(said).is_err(), "{raw:?}");
        }
        let said = ManifestsSaid::Parts {
            storage_type: String::new(),
            repo: "https://h/r".into(),
            branch: " ".into(),
            path: String::new(),
        };
        assert_eq!(endpoint(said).unwrap_err().title, "manifests branch is empty");
    }

    #[test]
    fn a_remembered_endpoint_equals_a_fresh_one() {
        let said = || ManifestsSaid::Endpoint {
            storage_type: "git".into(),
            endpoint: "https://u:pw@H.x/o/r.git/b/./p".into(),
        };
        let first = endpoint(said()).unwrap();
        assert_eq!(endpoint(said()).unwrap(), first);
        assert_eq!(first.endpoint.raw, "https://***@H.x/o/r.git/b/./p");
        assert_eq!(first.endpoint.canonical, "https://h.x/o/r/b/p");
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(
            raw in "(https?://|ssh://|git@|oci://|file://|HTTP://u:p@|git\\+ssh://)?[a-zA-Z.:@/?#~ \\[\\]0-9-]{0,30}(\\.git|:443|:80|/refs/heads/x|/\\./)?[a-zA-Z./:? @]{0,12}",
            storage_type in prop::sample::select(vec!["git", "bucket", "oci"]),
        ) {
            let once = canonical(storage_type, &raw);
            prop_assert_eq!(canonical(storage_type, &once), once);
        }

        #[test]
        fn no_endpoint_is_too_strange(raw in any::<String>(), branch in any::<String>(), path in any::<String>()) {
            let once = canonical("git", &raw);
            prop_assert_eq!(canonical("git", &once), once);
            let _ = endpoint(ManifestsSaid::Endpoint { storage_type: path.clone(), endpoint: raw.clone() });
            let _ = endpoint(ManifestsSaid::Parts { storage_type: String::new(), repo: raw, branch, path });
        }

        // Real top-level domains: `git@a.pwd:org` reads as a password, and is taken for one.
        #[test]
        fn spellings_of_one_place_meet(
            host in "[a-z]{1,6}\\.(com|io|dev|net|example)", org in "[a-zA-Z0-9-]{1,6}", repo in "[a-zA-Z0-9_-]{1,6}",
            branch in "[a-z]{1,6}(/[a-z0-9]{1,4})?", path in "[a-zA-Z0-9]{1,5}(/[a-zA-Z0-9]{1,5}){0,2}",
        ) {
            let expected = format!("https://{host}/{org}/{repo}/{branch}/{path}");
            for spelled in [
                format!("https://{}/{org}/{repo}.git", host.to_uppercase()),
                format!("git@{host}:{org}/{repo}"),
                format!("ssh://git@{host}/{org}/{repo}.git"),
                format!("https://x:y@{host}/{org}/{repo}/"),
            ] {
                prop_assert_eq!(&parts(&spelled, &branch, &format!("./{path}/")).endpoint.canonical, &expected);
                prop_assert_eq!(&one(&format!("{spelled}/{branch}//{path}")), &expected);
            }
        }
    }
}
