//! The embedded store: one SQLite file, shared by any number of processes of one host. Not for network file systems.
//!
//! One connection on a thread of its own; requests come over a bounded channel and are answered one by one.
//! Reads are single statements; a commit is one short `BEGIN IMMEDIATE` that compares everything the transaction read
//! and applies its writes, so that nothing is locked while a caller thinks, or is stopped.

mod clock;
mod connection;

use super::optimistic::{Buffer, Engine, Optimistic, Slot};
use super::{Pair, Store, StoreError, StoreTime, Txn};
use async_trait::async_trait;
use connection::Connection;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many requests wait for the connection before callers wait too.
const QUEUE_DEPTH: usize = 256;

/// What a commit that returned survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The end of any process, at any instant. A power cut may lose the last commits, but never tears the file.
    #[default]
    Normal,
    /// A power cut too: each commit is flushed to the disk.
    Full,
}

/// A store in one file. Clones share the connection.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    engine: Arc<SqliteEngine>,
}

#[derive(Debug)]
struct SqliteEngine {
    name: String,
    clock: clock::Clock,
    requests: mpsc::Sender<Request>,
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Read { key: Vec<u8>, answer: Answer<Slot> },
    ReadAll { keys: Vec<Vec<u8>>, answer: Answer<Vec<Pair>> },
    Range { start: Vec<u8>, end: Vec<u8>, limit: usize, answer: Answer<Vec<Pair>> },
    Apply { buffer: Buffer, now: StoreTime, answer: Answer<()> },
}

impl SqliteStore {
    /// Opens the file, and creates it where there is none. Blocks for the time of a few disk accesses.
    ///
    /// A file of another program or of a newer version, a folder, a path that cannot be read and written, and a full
    /// disk are [`StoreError::Unusable`] with what to do.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        let (connection, clock) = Connection::open(path, durability)?;
        let name = connection.name().to_owned();
        let (requests, inbox) = mpsc::channel(QUEUE_DEPTH);
        std::thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || serve(connection, inbox))
            .map_err(|error| StoreError::Unavailable {
                store: name.clone(),
                reason: format!("no thread could be started for it: {error}"),
            })?;
        Ok(Self { engine: Arc::new(SqliteEngine { name, clock, requests }) })
    }
}

/// Answers requests until the last handle is gone. A caller that went away gets no answer, but its commit stands.
fn serve(mut connection: Connection, mut inbox: mpsc::Receiver<Request>) {
    while let Some(request) = inbox.blocking_recv() {
        match request {
            Request::Read { key, answer } => {
                let _gone = answer.send(connection.read(&key));
            }
            Request::ReadAll { keys, answer } => {
                let _gone = answer.send(connection.read_all(keys));
            }
            Request::Range { start, end, limit, answer } => {
                let _gone = answer.send(connection.range(&start, &end, limit));
            }
            Request::Apply { buffer, now, answer } => {
                let _gone = answer.send(connection.apply(&buffer, now));
            }
        }
    }
}

impl SqliteEngine {
    fn stopped(&self) -> StoreError {
        StoreError::Unavailable { store: self.name.clone(), reason: "its thread has ended".to_owned() }
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<Option<T>, StoreError> {
        let (answer, reply) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_closed| self.stopped())?;
        reply.await.ok().transpose()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Txn>, StoreError> {
        Ok(Box::new(Optimistic::new(Arc::clone(&self.engine), self.engine.clock.now())))
    }
}

#[async_trait]
impl Engine for Arc<SqliteEngine> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, key: &[u8]) -> Result<Slot, StoreError> {
        let key = key.to_vec();
        self.ask(|answer| Request::Read { key, answer }).await?.ok_or_else(|| self.stopped())
    }

    async fn read_all(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Pair>, StoreError> {
        self.ask(|answer| Request::ReadAll { keys, answer }).await?.ok_or_else(|| self.stopped())
    }

    async fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Pair>, StoreError> {
        let (start, end) = (start.to_vec(), end.to_vec());
        self.ask(|answer| Request::Range { start, end, limit, answer }).await?.ok_or_else(|| self.stopped())
    }

    async fn apply(self, buffer: Buffer, now: StoreTime) -> Result<(), StoreError> {
        let answered = self.ask(|answer| Request::Apply { buffer, now, answer }).await?;
        answered
            .ok_or_else(|| StoreError::Unknown { reason: "its thread ended during the commit".to_owned() })
    }
}
