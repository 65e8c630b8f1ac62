//! Numbered migrations: what turns a file of an older format into one this binary reads.
//!
//! Invariant: the list only grows at its end. A file's format is 1 plus the number of migrations behind it; each runs in one
//! transaction together with the new number, so that a crash leaves either format and never a mixture.

use redb::{Database, WriteTransaction};

use super::store::{OpenError, begin};
use super::tables::{FORMAT, META};

/// One step from a format to the next.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// What it does, for the log: `split_hosts_from_reconcilers`.
    pub name: &'static str,
    /// Does it; whatever it wrote is dropped when it fails.
    pub run: fn(&WriteTransaction) -> Result<(), Box<dyn std::error::Error + Send + Sync>>,
}

/// All migrations, oldest first.
///
/// Where a format only adds - a table of blocks, a kind of fact, a word, a newer shape of a record beside the former one - there is nothing
/// to rewrite: the number alone makes a koh that does not know the addition refuse the file.
pub const MIGRATIONS: &[Migration] = &[
    Migration { name: "verifications", run: |_| Ok(()) },
    Migration { name: "hosts_with_selectors", run: |_| Ok(()) },
    Migration { name: "hosts_that_need_not_report", run: |_| Ok(()) },
    Migration { name: "histories_that_were_trimmed", run: |_| Ok(()) },
];

/// The format a file has after all of `list`.
pub fn newest(list: &[Migration]) -> u64 {
    1 + list.len() as u64
}

/// Brings a file of format `found` to the newest one; refuses a file from the future.
pub fn migrate(db: &Database, found: u64, list: &[Migration]) -> Result<(), OpenError> {
    let supported = newest(list);
    if found == 0 || found > supported {
        return Err(OpenError::Newer { found, supported });
    }
    for (format, migration) in (found + 1..).zip(&list[(found - 1) as usize..]) {
        tracing::info!(
            migration = migration.name,
            format,
            "migrating the ledger to format {format}: {}",
            migration.name
        );
        let failed = |source| OpenError::Migration { name: migration.name, source };
        let txn = begin(db).map_err(|e| failed(e.into()))?;
        (migration.run)(&txn).map_err(failed)?;
        let numbered = || -> Result<(), redb::Error> {
            txn.open_table(META)?.insert(FORMAT, format)?;
            txn.commit()?;
            Ok(())
        };
        numbered().map_err(|e| failed(e.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;
    use redb::{ReadableDatabase, ReadableTable};

    fn count(txn: &WriteTransaction, name: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut meta = txn.open_table(META)?;
        let order = meta.get("steps")?.map_or(0, |v| v.value()) + 1;
        meta.insert("steps", order)?;
        meta.insert(name, order)?;
        Ok(())
    }

    const STEPS: [Migration; 3] = [
        Migration { name: "one", run: |txn| count(txn, "one") },
        Migration { name: "two", run: |txn| count(txn, "two") },
        Migration {
            name: "broken",
            run: |txn| {
                count(txn, "broken")?;
                Err("no".into())
            },
        },
    ];

    fn database() -> Database {
        Database::builder().create_with_backend(InMemoryBackend::new()).unwrap()
    }

    fn meta(db: &Database, key: &str) -> Option<u64> {
        db.begin_read().unwrap().open_table(META).unwrap().get(key).unwrap().map(|v| v.value())
    }

    #[test]
    fn an_old_file_goes_through_what_it_has_not_seen_in_order() {
        let db = database();
        migrate(&db, 1, &STEPS[..2]).unwrap();
        assert_eq!((meta(&db, "one"), meta(&db, "two"), meta(&db, FORMAT)), (Some(1), Some(2), Some(3)));
        let db = database();
        migrate(&db, 2, &STEPS[..2]).unwrap();
        assert_eq!((meta(&db, "one"), meta(&db, "two"), meta(&db, FORMAT)), (None, Some(1), Some(3)));
    }

    #[test]
    fn a_migration_that_fails_leaves_the_format_before_it() {
        let db = database();
        let error = migrate(&db, 1, &STEPS).unwrap_err();
        assert_eq!(error.to_string(), "migration \"broken\" failed; the file is unchanged since the step before it");
        assert_eq!((meta(&db, "two"), meta(&db, "broken"), meta(&db, FORMAT)), (Some(2), None, Some(3)));
    }

    #[test]
    fn a_newer_file_is_refused() {
        let error = migrate(&database(), 3, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "written by a newer koh (format 3, this one reads up to 1): upgrade koh or restore a backup"
        );
    }
}
