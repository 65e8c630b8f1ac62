//! The data dictionary `schema/tables.md`, written from the declarations.

use std::fmt::Write as _;

use super::schema::{ANSWERS, SYSTEM, TABLES, TableSchema, VIEWS};

/// The text of `schema/tables.md`.
pub fn tables_md() -> String {
    let mut out = String::from(
        "# Tables and views\n\n\
         Generated from the code; do not edit. Times are UTC microseconds, ids are text (a hash of the natural key, the same\n\
         after a rebuild or an import), commits are in normal form. Every fact of state has a start and an end (null = now):\n\
         \"as of\" an instant is `start <= t AND (end IS NULL OR t < end)`. Columns ending in `_no` number things inside one\n\
         generation, for joins within a statement; they mean nothing outside it.\n\n\
         ## Views\n",
    );
    for view in VIEWS.iter() {
        section(&mut out, &view.schema);
        let _ = writeln!(out, "\nSQL: [views/{0}.sql](views/{0}.sql)", view.schema.name);
    }
    out.push_str("\n## Tables\n");
    for table in TABLES {
        section(&mut out, table);
    }
    out.push_str(
        "\n## The hub itself\n\n\
         Tables of the schema `system` (`SELECT * FROM system.sources`). They are made when they are read, speak of the running\n\
         hub, and are not exported. What else there is to ask: `SHOW TABLES`, `DESCRIBE table`, `SHOW FUNCTIONS` (and\n\
         `information_schema.routines`, which also has those that take arguments of any type).\n",
    );
    for table in SYSTEM {
        section(&mut out, table);
    }
    out.push_str(
        "\n## Answers\n\n\
         Rows of `GET /api/v1/views/…` that are made for the filters and the range of one question; they have\n\
         no name in SQL. `version_spans`, `rollout_successes` and `liveness_spans` hold what they count.\n",
    );
    for table in ANSWERS {
        section(&mut out, table);
    }
    out
}

fn section(out: &mut String, table: &TableSchema) {
    let _ = writeln!(out, "\n### {}\n\n{}\n", table.name, table.doc);
    out.push_str("| column | type | null | meaning |\n|---|---|---|---|\n");
    for c in table.columns {
        let null = if c.nullable { "yes" } else { "" };
        let _ = writeln!(out, "| {} | {} | {null} | {} |", c.name, c.kind.word(), c.doc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_dictionary_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/tables.md");
        let wanted = tables_md();
        if std::env::var_os("KOH_BLESS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == wanted, "schema/tables.md is stale: run this test with KOH_BLESS=1 and commit the file");
    }

    #[test]
    fn names_are_snake_case_and_columns_do_not_repeat() {
        for table in TABLES.iter().copied().chain(SYSTEM).chain(ANSWERS).chain(VIEWS.iter().map(|v| &v.schema)) {
            let mut seen = std::collections::BTreeSet::new();
            for c in table.columns {
                assert!(
                    c.name.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_'),
                    "{}.{}",
                    table.name,
                    c.name
                );
                assert!(seen.insert(c.name), "{}.{} twice", table.name, c.name);
                assert!(!c.doc.is_empty(), "{}.{} has no meaning", table.name, c.name);
            }
        }
    }
}
