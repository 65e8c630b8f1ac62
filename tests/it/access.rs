//! Who may do what: every route with every token.

use crate::hub::{Answer, TestHub, TestHubBuilder, commit, descriptor, koh_with, token};

pub(crate) fn ask(hub: &TestHub, method: &str, path: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|t| format!("Bearer {t}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|b| ("authorization", b.as_str())).collect();
    hub.ask(method, path, &headers, b"")
}

#[test]
fn every_route_asks_for_the_token_that_its_rule_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let read = token(&file, "reader", "read", &[]);
    let report = token(&file, "reporter", "report", &[]);
    let admin = token(&file, "operator", "admin", &[]);
    let hub = TestHubBuilder::new().with_arg("--tokens", file.to_str().unwrap()).spawn();
    let document = hub.get("/openapi.json").json();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let open = ["/livez", "/readyz", "/openapi.json", "/docs"].iter().any(|o| path.starts_with(o));
            let tells = method != "GET" && !["/api/v1/sql", "/deployment_state"].contains(&path.as_str());
            let of_operators = ["/api/v1/backup", "/api/v1/check"].contains(&path.as_str());
            let path = path.replace(['{', '}'], "");
            let status = |token: Option<&str>| ask(&hub, &method, &path, token).status;
            let (none, wrong) = (status(None), status(Some("koh_00")));
            if open {
                assert!(none < 400, "{method} {path}: {none}");
                continue;
            }
            assert_eq!((none, wrong), (401, 401), "{method} {path}");
            let (reader, reporter, operator) = (status(Some(&read)), status(Some(&report)), status(Some(&admin)));
            assert_eq!((reader == 403, reporter == 403), (tells || of_operators, !tells), "{method} {path}");
            assert!(![401, 403].contains(&operator), "{method} {path}: {operator}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
    let refused = ask(&hub, "GET", "/api/v1/hosts", None);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"koh\""));
    assert_eq!(refused.problem(401), "a token is needed");
    assert_eq!(
        ask(&hub, "POST", "/api/v1/ingest/hosts", Some(&read)).problem(403),
        "the token lacks the scope 'report'"
    );
    // What is not there is no different from what is, for whoever may not look.
    assert_eq!(ask(&hub, "GET", "/api/v1/nothing", None).status, 401);
    assert_eq!(ask(&hub, "GET", "/api/v1/nothing", Some(&read)).status, 404);
    assert_eq!(ask(&hub, "DELETE", "/api/v1/hosts", Some(&read)).status, 403);
}

#[test]
fn tokens_are_made_and_revoked_while_the_hub_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let name = file.to_str().unwrap();
    let first = token(&file, "first", "read,report", &[]);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains(&first[10..]), "the file holds the token itself: {written}");
    let hub = TestHubBuilder::new().with_arg("--tokens", name).spawn();
    let headers = [("authorization", format!("Bearer {first}")), ("content-type", "application/json".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(
        hub.ask("POST", "/api/v1/ingest", &headers, descriptor("dev", "1.0", &commit('a')).as_bytes()).status,
        200
    );

    let second = token(&file, "second", "read", &[]);
    while ask(&hub, "GET", "/api/v1/hosts", Some(&second)).status == 401 {}
    assert!(koh_with(&["token", "revoke", "--name", "first", "--tokens", name], &[]).status.success());
    while ask(&hub, "GET", "/api/v1/hosts", Some(&first)).status != 401 {}
    assert_eq!(ask(&hub, "GET", "/api/v1/hosts", Some(&second)).status, 200);

    // A hub that runs as somebody else may read what he could read before, by the name that he has for it.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |file: &std::path::Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600, "where there was none");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.yaml");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        token(&link, "third", "read", &[]);
        assert!(koh_with(&["token", "revoke", "--name", "third", "--tokens", name], &[]).status.success());
        assert_eq!((mode(&file), link.is_symlink()), (0o640, true));
    }

    let listed = koh_with(&["token", "list", "--tokens", name], &[]);
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "second\tread\tdoes not expire\n");
    let again = koh_with(&["token", "create", "--name", "second", "--scopes", "read", "--tokens", name], &[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a token 'second' already"));

    let url = format!("http://{}", hub.address);
    let statement = ["sql", "--url", &url, "select count(*) as n from assignments"];
    let with = koh_with(&statement, &[("KOH_TOKEN", &second)]);
    assert!(String::from_utf8_lossy(&with.stdout).contains('1'), "{}", String::from_utf8_lossy(&with.stderr));
    let without = koh_with(&statement, &[]);
    assert!(String::from_utf8_lossy(&without.stderr).contains("a token is needed"));
    let held = folder.path().join("token");
    std::fs::write(&held, format!("{second}\n")).unwrap();
    let status = ["rollout", "status", "--url", &url, "--environment", "dev", "--workload", "web", "--version", "1.0"];
    let answered = koh_with(&status, &[("KOH_TOKEN_FILE", held.to_str().unwrap())]);
    assert_eq!(answered.status.code(), Some(3), "{}", String::from_utf8_lossy(&answered.stderr));
}

#[test]
fn a_hub_that_others_can_reach_asks_for_tokens_or_is_told_not_to() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = |more: &[&str]| {
        let args = ["serve", "--listen", "192.0.2.1:0", "--data", data.to_str().unwrap()];
        let ended = koh_with(&[&args[..], more].concat(), &[]);
        assert!(!ended.status.success());
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    assert!(serve(&[]).contains("koh token create"));
    let file = folder.path().join("tokens.yaml");
    token(&file, "reader", "read", &[]);
    // With tokens, and without by its own wish, it goes on to listen, where it fails: the address is nobody's.
    assert!(serve(&["--tokens", file.to_str().unwrap()]).contains("cannot listen on"));
    assert!(serve(&["--insecure-no-auth"]).contains("cannot listen on"));
    std::fs::write(&file, "tokens: [{name: x, scopes: [read], sha256: koh_nothash}]").unwrap();
    let unsound = serve(&["--tokens", file.to_str().unwrap()]);
    assert!(unsound.contains("64 hexadecimal digits") && !unsound.contains("nothash"), "{unsound}");
}

#[test]
fn a_token_without_a_file_is_printed_with_its_entry_beside_it() {
    let made = koh_with(&["token", "create", "--name", "ci", "--scopes", "report", "--expires-in", "30d"], &[]);
    let text = String::from_utf8(made.stdout).unwrap();
    assert!(text.starts_with("koh_") && text.lines().count() == 1, "{text}");
    let entry = String::from_utf8(made.stderr).unwrap();
    assert!(entry.contains("sha256") && entry.contains("expires") && !entry.contains(text.trim()), "{entry}");
}

#[test]
fn accounts_of_a_file_are_listed_and_outlive_what_is_done_with_its_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.yaml");
    let name = file.to_str().unwrap();
    let accounts = "accounts:
  - {name: 'system:serviceaccount:ci:pipeline', sees: {workspaces: [shop]}}
  - {name: 'system:serviceaccounts:monitoring', sees: everything}
";
    std::fs::write(&file, accounts).unwrap();
    token(&file, "reader", "read", &[]);
    let lines = "system:serviceaccount:ci:pipeline\tby its roles\twhile they last\trestricted to workspaces shop
system:serviceaccounts:monitoring\tby its roles\twhile they last
";
    let listed = || String::from_utf8(koh_with(&["token", "list", "--tokens", name], &[]).stdout).unwrap();
    assert_eq!(listed(), format!("reader\tread\tdoes not expire\n{lines}"));
    assert!(koh_with(&["token", "revoke", "--name", "reader", "--tokens", name], &[]).status.success());
    assert_eq!(listed(), lines);
    std::fs::write(&file, accounts.replace("serviceaccounts:", "serviceacounts:")).unwrap();
    let refused = koh_with(&["serve", "--tokens", name, "--data", folder.path().join("data").to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("account 'system:serviceacounts:monitoring': 'name' is"),
        "{said}"
    );
}
