//! The one connection to the file: opening and refusing it, reading, committing, and what SQLite's errors mean.
//!
//! Blocking: it lives on the store's own thread.

use super::super::optimistic::{Buffer, Slot};
use super::super::{Pair, StoreError, StoreTime};
use super::Durability;
use super::clock::{self, Clock, RECORD_EVERY_MS, Recorded};
use rand::Rng;
use rusqlite::{ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// Marks a file as ours, in SQLite's header: "robo".
const APPLICATION_ID: i32 = 0x726f_626f;
/// The layout of the tables. A greater one was written by a newer program.
const SCHEMA_VERSION: i32 = 1;
/// How long SQLite itself waits for another process's lock.
const BUSY_TIMEOUT_MS: u64 = 50;
/// How long a request is retried while others hold the lock.
const BUSY_BUDGET_MS: u64 = 4_000;
/// The longest pause between two such tries.
const BUSY_PAUSE_MAX_MS: u64 = 20;
/// The write-ahead log is cut back to this many bytes when it has grown beyond.
const LOG_LIMIT_BYTES: i64 = 64 * 1024 * 1024;

const _: () = assert!(BUSY_TIMEOUT_MS * 10 < BUSY_BUDGET_MS, "a request is tried several times");

const CREATE: &str = "
    CREATE TABLE kv(k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE clock(one INTEGER PRIMARY KEY CHECK (one = 1), boot_id TEXT NOT NULL, base_ms INTEGER NOT NULL,
                       high_ms INTEGER NOT NULL);
";

/// Where a failing statement stood, which decides what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before anything can have taken effect.
    Before,
    /// In the COMMIT of a transaction with writes.
    Commit,
}

/// The open connection.
pub(super) struct Connection {
    name: String,
    sqlite: rusqlite::Connection,
    high_ms: u64,
}

impl Connection {
    /// Opens or creates the file.
    pub(super) fn open(path: &Path, durability: Durability) -> Result<(Self, Clock), StoreError> {
        let name = format!("sqlite:{}", path.display());
        let unusable = |reason: String| StoreError::Unusable { store: name.clone(), reason };
        check_path(path).map_err(unusable)?;
        let sqlite = rusqlite::Connection::open(path).map_err(|error| on_open_error(&name, &error))?;
        let mut connection = Self { name: name.clone(), sqlite, high_ms: 0 };
        let recorded = connection.prepare(durability).map_err(|error| match error {
            Refused::Foreign(reason) => unusable(reason),
            Refused::Sqlite(error) => on_open_error(&name, &error),
        })?;
        connection.high_ms = recorded.high_ms;
        Ok((connection, Clock::new(&recorded)))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One key, as it is now.
    pub(super) fn read(&mut self, key: &[u8]) -> Result<Slot, StoreError> {
        self.patiently(Phase::Before, |connection| read(&connection.sqlite, key))
    }

    /// Those of these keys that are there, each as it is now.
    pub(super) fn read_all(&mut self, keys: Vec<Vec<u8>>) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::with_capacity(keys.len());
        for key in keys {
            pairs.extend(self.read(&key)?.map(|value| (key, value)));
        }
        Ok(pairs)
    }

    /// At most `limit` pairs, by one statement and so of one view.
    pub(super) fn range(&mut self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.patiently(Phase::Before, |connection| {
            let mut statement = connection
                .sqlite
                .prepare_cached("SELECT k, v FROM kv WHERE k >= ?1 AND k < ?2 ORDER BY k LIMIT ?3")?;
            let rows =
                statement.query_map(params![start, end, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Compares all that was read and applies all that was written, in one transaction.
    pub(super) fn apply(&mut self, buffer: &Buffer, now: StoreTime) -> Result<(), StoreError> {
        let record = now.0 >= self.high_ms.saturating_add(RECORD_EVERY_MS) && !buffer.writes.is_empty();
        let high_ms = record.then_some(now.0);
        let verified =
            self.patiently(Phase::Before, |connection| stage(&mut connection.sqlite, buffer, high_ms))?;
        if !verified {
            self.roll_back();
            return Err(StoreError::Conflict);
        }
        let phase = if buffer.writes.is_empty() { Phase::Before } else { Phase::Commit };
        self.patiently(phase, |connection| connection.sqlite.execute_batch("COMMIT"))?;
        self.high_ms = high_ms.unwrap_or(self.high_ms);
        Ok(())
    }

    /// Retries while others hold the lock, with jitter and a bound; leaves no transaction open behind a failure.
    fn patiently<T>(
        &mut self,
        phase: Phase,
        mut action: impl FnMut(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        loop {
            let error = match action(self) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let busy = is_busy(&error);
            if !busy || started.elapsed() >= Duration::from_millis(BUSY_BUDGET_MS) {
                self.roll_back();
                return Err(self.classify(phase, busy, &error));
            }
            // A COMMIT that met a lock keeps its transaction and is tried again; anything else starts over.
            if phase == Phase::Before {
                self.roll_back();
            }
            std::thread::sleep(Duration::from_millis(rand::rng().random_range(1..=BUSY_PAUSE_MAX_MS)));
        }
    }

    fn roll_back(&self) {
        if !self.sqlite.is_autocommit()
            && let Err(error) = self.sqlite.execute_batch("ROLLBACK")
        {
            tracing::warn!(store = %self.name, %error, "rollback failed");
        }
    }

    fn classify(&self, phase: Phase, busy: bool, error: &rusqlite::Error) -> StoreError {
        let store = self.name.clone();
        if busy {
            return StoreError::Unavailable {
                store,
                reason: format!("other processes keep it locked: {error}"),
            };
        }
        let code = error.sqlite_error_code();
        match (code, phase) {
            (Some(ErrorCode::DiskFull), _) => StoreError::Unavailable {
                store,
                reason: format!("the disk is full, free some space: {error}"),
            },
            (
                Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory),
                Phase::Before,
            ) => StoreError::Unavailable { store, reason: error.to_string() },
            (_, Phase::Commit) => StoreError::Unknown { reason: format!("{store}: {error}") },
            (
                Some(
                    ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::AuthorizationForStatementDenied,
                ),
                _,
            ) => StoreError::Unusable {
                store,
                reason: format!("it cannot be written, check its permissions: {error}"),
            },
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => StoreError::Unusable {
                store,
                reason: format!("the file is damaged, restore it or move it away and submit again: {error}"),
            },
            _ => StoreError::Unusable { store, reason: error.to_string() },
        }
    }

    /// Checks that the file is ours or empty before anything in it is changed, then sets it up.
    fn prepare(&mut self, durability: Durability) -> Result<Recorded, Refused> {
        self.sqlite.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
        let sqlite = &mut self.sqlite;
        // In one transaction: another process may be setting the file up.
        let fresh = retry_busy(|| {
            let transaction = sqlite.transaction()?;
            is_fresh(&transaction)
        })?;
        if fresh {
            let mode: String = retry_busy(|| {
                Ok(sqlite.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?)
            })?;
            if mode != "wal" {
                return Err(Refused::Foreign(
                    "its file system cannot share memory between processes: put the file on a local disk"
                        .to_owned(),
                ));
            }
        }
        let synchronous = match durability {
            Durability::Normal => "NORMAL",
            Durability::Full => "FULL",
        };
        sqlite.pragma_update(None, "synchronous", synchronous)?;
        sqlite.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
        let boot_id = clock::boot_id().map_err(|error| {
            Refused::Foreign(format!("this host shows no boot id, which its clock needs: {error}"))
        })?;
        retry_busy(|| set_up(sqlite, &boot_id))
    }
}

/// Why a file is not opened.
enum Refused {
    Foreign(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What an error means while the file is opened and set up.
fn on_open_error(name: &str, error: &rusqlite::Error) -> StoreError {
    let store = name.to_owned();
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            format!("it is not a database: choose another path, nothing was changed ({error})")
        }
        Some(ErrorCode::DiskFull) => format!("the disk is full, free some space ({error})"),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => format!(
            "the file and its folder must be readable and writable for this user, check their permissions \
             ({error})"
        ),
        _ if is_busy(error) => {
            return StoreError::Unavailable {
                store,
                reason: format!("other processes keep it locked: {error}"),
            };
        }
        _ => error.to_string(),
    };
    StoreError::Unusable { store, reason }
}

fn check_path(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err(
            "the path is a folder: give the path of a file, for example queue.db inside it".to_owned()
        );
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(parent) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("{} is not a folder", parent.display())),
        Err(error) => {
            Err(format!("its folder {} cannot be used, create it first: {error}", parent.display()))
        }
    }
}

fn retry_busy<T>(mut action: impl FnMut() -> Result<T, Refused>) -> Result<T, Refused> {
    let started = Instant::now();
    loop {
        match action() {
            Err(Refused::Sqlite(error))
                if is_busy(&error) && started.elapsed() < Duration::from_millis(BUSY_BUDGET_MS) =>
            {
                std::thread::sleep(Duration::from_millis(rand::rng().random_range(1..=BUSY_PAUSE_MAX_MS)));
            }
            done => return done,
        }
    }
}

/// Whether the file is still empty; refuses what is not ours.
fn is_fresh(sqlite: &rusqlite::Connection) -> Result<bool, Refused> {
    let id: i32 = sqlite.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = sqlite.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = sqlite.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if id == APPLICATION_ID && version > SCHEMA_VERSION {
        return Err(Refused::Foreign(format!(
            "it was written by a newer roboflow (layout {version}, this one knows {SCHEMA_VERSION}): use that one"
        )));
    }
    if id == APPLICATION_ID && version == SCHEMA_VERSION {
        return Ok(false);
    }
    if id == 0 && version == 0 && tables == 0 {
        return Ok(true);
    }
    Err(Refused::Foreign(
        "it is the database of another program: choose another path, nothing was changed".to_owned(),
    ))
}

/// Creates the tables where they are missing and settles the clock, in one transaction.
fn set_up(sqlite: &mut rusqlite::Connection, boot_id: &str) -> Result<Recorded, Refused> {
    let transaction = sqlite.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_fresh(&transaction)? {
        transaction.execute_batch(CREATE)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    let before = transaction
        .query_row("SELECT boot_id, base_ms, high_ms FROM clock", [], |row| {
            Ok(Recorded { boot_id: row.get(0)?, base_ms: to_ms(row.get(1)?), high_ms: to_ms(row.get(2)?) })
        })
        .optional()?;
    let recorded = clock::on_open(before.as_ref(), boot_id, clock::since_boot_ms(), clock::wall_ms());
    if before.as_ref() != Some(&recorded) {
        transaction.execute(
            "INSERT OR REPLACE INTO clock(one, boot_id, base_ms, high_ms) VALUES (1, ?1, ?2, ?3)",
            params![recorded.boot_id, from_ms(recorded.base_ms), from_ms(recorded.high_ms)],
        )?;
    }
    transaction.commit()?;
    Ok(recorded)
}

fn to_ms(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn from_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn read(sqlite: &rusqlite::Connection, key: &[u8]) -> rusqlite::Result<Slot> {
    sqlite.prepare_cached("SELECT v FROM kv WHERE k = ?1")?.query_row([key], |row| row.get(0)).optional()
}

/// Begins, verifies and writes; the transaction is left open. `false`: a key has changed.
fn stage(sqlite: &mut rusqlite::Connection, buffer: &Buffer, high_ms: Option<u64>) -> rusqlite::Result<bool> {
    sqlite.execute_batch(if buffer.writes.is_empty() { "BEGIN" } else { "BEGIN IMMEDIATE" })?;
    for (key, slot) in &buffer.reads {
        if read(sqlite, key)? != *slot {
            return Ok(false);
        }
    }
    for (key, slot) in &buffer.writes {
        match slot {
            Some(value) => sqlite
                .prepare_cached("INSERT INTO kv(k, v) VALUES (?1, ?2) ON CONFLICT(k) DO UPDATE SET v = ?2")?
                .execute(params![key, value])?,
            None => sqlite.prepare_cached("DELETE FROM kv WHERE k = ?1")?.execute([key])?,
        };
    }
    if let Some(high_ms) = high_ms {
        sqlite.prepare_cached("UPDATE clock SET high_ms = max(high_ms, ?1)")?.execute([from_ms(high_ms)])?;
    }
    Ok(true)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
