//! The embedded database: one file, one process.

use super::{Change, Compare, Engine, EngineError, Entry, Outcome, Revision};
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const VALUES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("values");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const REVISION: &str = "revision";

/// Pages kept in memory: what is used all the time. The rest is in the operating system's cache, and not of this process.
const CACHE: usize = 32 << 20;

/// The inventory in one file of the `redb` format.
pub struct Redb {
    database: Database,
    path: String,
}

impl Redb {
    /// Opens the file, making it (readable by its owner alone) if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a database, is damaged, or belongs to a running daemon.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let shown = path.display().to_string();
        let fail = |reason: String| EngineError {
            path: shown.clone(),
            reason,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| fail(error.to_string()))?;
        let refused = |error: DatabaseError| match error {
            DatabaseError::DatabaseAlreadyOpen => fail("another process has it open".to_owned()),
            other => fail(other.to_string()),
        };
        let backend = FileBackend::new(file).map_err(&refused)?;
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create_with_backend(backend)
            .map_err(&refused)?;
        let this = Self {
            database,
            path: shown,
        };
        this.make_tables().map_err(|error| this.error(&error))?;
        Ok(this)
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let txn = self.database.begin_write()?;
        txn.open_table(VALUES)?;
        txn.open_table(COUNTERS)?;
        txn.commit()?;
        Ok(())
    }

    fn error(&self, error: &redb::Error) -> EngineError {
        EngineError {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }

    fn read(&self, key: &str) -> Result<Option<Entry>, redb::Error> {
        let txn = self.database.begin_read()?;
        let table = txn.open_table(VALUES)?;
        let entry = table.get(key)?.map(|guard| {
            let (revision, value) = guard.value();
            Entry {
                key: key.to_owned(),
                value: value.to_vec(),
                revision,
            }
        });
        Ok(entry)
    }

    fn read_prefix(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Entry>, redb::Error> {
        let txn = self.database.begin_read()?;
        let table = txn.open_table(VALUES)?;
        let mut entries = Vec::new();
        let from = after.map_or(prefix, |after| after.max(prefix));
        for item in table.range(from..)? {
            let (key, guard) = item?;
            let key = key.value();
            if !key.starts_with(prefix) || entries.len() >= most {
                break;
            }
            if after == Some(key) {
                continue;
            }
            let (revision, value) = guard.value();
            entries.push(Entry {
                key: key.to_owned(),
                value: value.to_vec(),
                revision,
            });
        }
        Ok(entries)
    }

    fn write(&self, compares: &[Compare], changes: &[Change]) -> Result<Outcome, redb::Error> {
        let txn = self.database.begin_write()?;
        let revision: Revision;
        {
            let mut values = txn.open_table(VALUES)?;
            for compare in compares {
                let (key, holds) = match compare {
                    Compare::Absent(key) => (key, values.get(key.as_str())?.is_none()),
                    Compare::Unchanged(key, expected) => (
                        key,
                        values
                            .get(key.as_str())?
                            .is_some_and(|guard| guard.value().0 == *expected),
                    ),
                };
                if !holds {
                    let key = key.clone();
                    drop(values);
                    txn.abort()?;
                    return Ok(Outcome::Conflict(key));
                }
            }
            let mut counters = txn.open_table(COUNTERS)?;
            revision = counters.get(REVISION)?.map_or(0, |guard| guard.value()) + 1;
            counters.insert(REVISION, revision)?;
            for change in changes {
                match change {
                    Change::Put(key, value) => {
                        values.insert(key.as_str(), (revision, value.as_slice()))?;
                    }
                    Change::Delete(key) => {
                        values.remove(key.as_str())?;
                    }
                }
            }
        }
        txn.commit()?;
        Ok(Outcome::Committed(revision))
    }
}

impl Engine for Redb {
    fn get(&self, key: &str) -> Result<Option<Entry>, EngineError> {
        self.read(key).map_err(|error| self.error(&error))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, EngineError> {
        self.read_prefix(prefix, None, usize::MAX)
            .map_err(|error| self.error(&error))
    }

    fn list_after(&self, prefix: &str, key: &str, most: usize) -> Result<Vec<Entry>, EngineError> {
        self.read_prefix(prefix, Some(key), most)
            .map_err(|error| self.error(&error))
    }

    fn transact(&self, compares: &[Compare], changes: &[Change]) -> Result<Outcome, EngineError> {
        self.write(compares, changes)
            .map_err(|error| self.error(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &[u8]) -> Change {
        Change::Put(key.to_owned(), value.to_vec())
    }

    #[test]
    fn a_failed_comparison_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let redb = Redb::open(&folder.path().join("i.redb")).unwrap();
        let first = redb
            .transact(
                &[Compare::Absent("a".into())],
                &[put("a", b"1"), put("b", b"2")],
            )
            .unwrap();
        assert_eq!(first, Outcome::Committed(1));
        let refused = redb
            .transact(
                &[
                    Compare::Unchanged("a".into(), 1),
                    Compare::Absent("b".into()),
                ],
                &[put("a", b"9"), Change::Delete("b".into())],
            )
            .unwrap();
        assert_eq!(refused, Outcome::Conflict("b".into()));
        assert_eq!(redb.get("a").unwrap().unwrap().value, b"1");
        let second = redb
            .transact(
                &[Compare::Unchanged("a".into(), 1)],
                &[put("a", b"3"), Change::Delete("b".into())],
            )
            .unwrap();
        assert_eq!(second, Outcome::Committed(2));
        assert_eq!(redb.get("b").unwrap(), None);
        assert_eq!(redb.get("a").unwrap().unwrap().revision, 2);
    }

    #[test]
    fn a_prefix_lists_its_keys_in_order_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let redb = Redb::open(&folder.path().join("i.redb")).unwrap();
        redb.transact(
            &[],
            &[
                put("vm/2", b""),
                put("vm/1", b""),
                put("vm-name/x", b""),
                put("vn", b""),
            ],
        )
        .unwrap();
        let keys: Vec<String> = redb
            .list("vm/")
            .unwrap()
            .into_iter()
            .map(|e| e.key)
            .collect();
        assert_eq!(keys, ["vm/1", "vm/2"]);
        let after = |key: &str, most: usize| -> Vec<String> {
            let entries = redb.list_after("vm/", key, most).unwrap();
            entries.into_iter().map(|entry| entry.key).collect()
        };
        assert_eq!(after("vm/1", 9), ["vm/2"]);
        assert_eq!(after("", 9), ["vm/1", "vm/2"]);
        assert_eq!(after("vm/0", 1), ["vm/1"]);
        assert_eq!(after("vm/2", 9), [""; 0]);
        assert_eq!(after("zz", 9), [""; 0]);
    }

    #[test]
    fn a_second_opener_is_refused_and_the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.redb");
        let _redb = Redb::open(&path).unwrap();
        let error = Redb::open(&path).err().unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn what_is_no_database_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.redb");
        std::fs::write(&path, b"not a database, but somebody's text\n".repeat(40)).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(Redb::open(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
