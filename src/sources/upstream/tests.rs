//! What becomes of the rows of an export, and what is said of those that are broken.

use super::*;

#[test]
fn an_endpoint_is_taken_apart_where_its_repository_and_branch_end() {
    let of = |endpoint: &str| parts(endpoint).map(|[repo, branch, path]| format!("{repo} {branch} {path}"));
    for (endpoint, expected) in [
        ("https://github.com/org/app/dev/./edge", "https://github.com/org/app dev edge"),
        ("https://github.com/org/app/dev/edge/east", "https://github.com/org/app dev edge/east"),
        ("https://github.com/org/app/release/1.0/./edge", "https://github.com/org/app release/1.0 edge"),
        ("https://github.com/org/app/main/.", "https://github.com/org/app main "),
        ("https://github.com/org/app.git/dev/edge", "https://github.com/org/app.git dev edge"),
        ("https://git.example/group/sub/app.git/dev/edge", "https://git.example/group/sub/app.git dev edge"),
        ("https://dev.azure.com/org/project/_git/app/dev/edge", "https://dev.azure.com/org/project/_git/app dev edge"),
        ("github.com/org/app/dev", "https://github.com/org/app dev "),
    ] {
        assert_eq!(of(endpoint).as_deref(), Some(expected), "{endpoint}");
    }
    for none in ["", "https://github.com/org/app", "https://github.com/org/app/./edge", "edge"] {
        assert_eq!(of(none), None, "{none}");
    }
}

/// An export with one target, two versions and one reconciler that went back to the first one.
fn export(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tables = [
        ("workspace", "1,shop,\n"),
        ("application", "1,store,,1\n"),
        ("workload", "1,web,,git,https://github.com/org/web/main/.,1\n"),
        ("environment", "1,dev,\n"),
        ("deployment_target", "1,edge,,1,1,git,https://github.com/org/web-gitops/dev/./edge\n"),
        ("workload_version", "1,1.0,b1,c1,1,2025-01-01\n2,1.1,b2,c2,1,2025-01-01\n"),
        (
            "deployment_assignment",
            "1,1,1,sha1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,2025-01-01 00:00:00\n\
          2,1,2,sha1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,2025-01-02 00:00:00.5\n",
        ),
        ("host", "1,h1,,,\n"),
        ("reconciler", "1,web,1,,flux,git,https://github.com/org/web-gitops/dev/./edge\n"),
    ];
    for (table, rows) in tables {
        std::fs::write(file(dir.path(), table), rows).unwrap();
    }
    let deployments = format!(
        "updated_on,created_on,status_message,status,reconciler_id,gitops_commit_id,id,updated_by\n\
         2025-01-05T10:00:00,2025-01-01T01:00:00Z,\"back\nagain\",success,1,sha1:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,1,x\n\
         2025-01-02T01:00:00,2025-01-02T01:00:00,,failure,1,bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,2,x\n{more}"
    );
    std::fs::write(file(dir.path(), "deployment"), deployments).unwrap();
    dir
}

use table::file;

fn said(dir: &Path) -> (Vec<Value>, Vec<Value>, Tally) {
    let mut export = Export::open(dir).unwrap();
    let (mut descriptors, mut reports) = (Vec::new(), Vec::new());
    let keep = |line: String, lines: &mut Vec<Value>| {
        lines.push(serde_json::from_str(&line).unwrap());
        Ok(())
    };
    export.descriptors(|line, _| keep(line, &mut descriptors)).unwrap();
    export.reports(|line, _| keep(line, &mut reports)).unwrap();
    (descriptors, reports, export.tally())
}

#[test]
fn what_runs_is_the_row_that_was_updated_last_and_lost_words_are_unknown() {
    let dir = export("");
    let (descriptors, reports, tally) = said(dir.path());
    assert_eq!(descriptors.len(), 2);
    let wanted = &descriptors[1];
    assert_eq!(wanted["gitops_revision"], "dev@sha1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    assert_eq!((&wanted["version"], &wanted["observed_at"]), (&"1.1".into(), &"2025-01-02T00:00:00.500Z".into()));
    let told: Vec<(&str, &str, &str)> = reports
        .iter()
        .map(|r| {
            (r["reported_at"].as_str().unwrap(), &r["commit"].as_str().unwrap()[5..6], r["status"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("2025-01-01T01:00:00.000Z", "a", "unknown"),
            ("2025-01-05T10:00:00.000Z", "a", "success"),
            ("2025-01-02T01:00:00.000Z", "b", "failure"),
        ]
    );
    assert_eq!(reports[1]["message"], "back\nagain");
    let expected = Tally {
        targets: 1,
        assignments: 2,
        hosts: 1,
        reconcilers: 1,
        deployments: 2,
        overwritten: 1,
        rolled_back: 1,
        ..Tally::default()
    };
    assert_eq!(tally, expected);
}

#[test]
fn every_statement_is_one_that_the_hub_takes() {
    let dir = export("");
    let (descriptors, reports, _) = said(dir.path());
    for line in &descriptors {
        let observed = crate::sources::flat::descriptor(line.to_string().as_bytes(), "upstream").unwrap();
        crate::normalize::fact(observed, Micros::now()).unwrap();
    }
    for line in &reports {
        let observed = crate::sources::flat::reconciler(line.to_string().as_bytes(), "upstream").unwrap();
        crate::normalize::fact(observed, Micros::now()).unwrap();
    }
}

#[test]
fn broken_rows_are_counted_and_the_first_are_told_with_their_line() {
    let dir = export("2025-01-05,2025-01-05,,success,9,cccc,3,x\nsoon,soon,,success,1,cccc,4,x\n");
    let (_, reports, tally) = said(dir.path());
    assert_eq!((reports.len(), tally.broken), (3, 2));
    assert_eq!(tally.told[0], "deployment.csv, line 5: there is no reconciler 9");
    assert_eq!(tally.told[1], "deployment.csv, line 6: created_on is no time: soon");
}

#[test]
fn a_table_that_is_missing_or_of_other_columns_is_answered_with_how_to_export_it() {
    let dir = export("");
    std::fs::write(file(dir.path(), "host"), "1,h1\n").unwrap();
    let error = Export::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("2 columns, where 5 are expected") && error.contains("\\copy host to"), "{error}");
    std::fs::remove_file(file(dir.path(), "host")).unwrap();
    let error = Export::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("host.csv") && error.contains("csv header"), "{error}");
}
