//! The threads that decode and encode, shared by all conversions of a process, and the memory that these share.
//!
//! It knows no recording and no segment. Beside what the [`super::ledger`] counts and the spare memory of pictures, each
//! conversion holds its reader's chunks.

use super::ledger::{AHEAD_BYTES, Ledger};
use super::spare::Spares;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads of a crew at most.
pub const THREADS_MAX: usize = 256;

/// The threads of a process. Copies are the same.
#[derive(Debug, Clone)]
pub struct Crew(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: ThreadPool,
    /// Conversions that are open.
    open: AtomicUsize,
    spares: Spares,
    ledger: Arc<Ledger>,
}

/// A conversion's part in the crew; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Member(Crew);

impl Crew {
    /// Starts so many threads, at most [`THREADS_MAX`].
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn new(threads: NonZeroUsize) -> io::Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.get().min(THREADS_MAX))
            .thread_name(|number| format!("crew-{number}"))
            .build()
            .map_err(io::Error::other)?;
        let (spares, ledger) = (Spares::default(), Arc::default());
        Ok(Self(Arc::new(Inner { pool, open: AtomicUsize::new(0), spares, ledger })))
    }

    /// One thread a core that the process may use.
    pub fn default_threads() -> NonZeroUsize {
        thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    /// Does something on the threads of the crew, and waits for it.
    pub(crate) fn install<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        self.0.pool.install(what)
    }

    /// Memory of pictures to be used again.
    pub(crate) fn spares(&self) -> &Spares {
        &self.0.spares
    }

    pub(crate) fn join(&self) -> Member {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Member(self.clone())
    }
}

impl Member {
    /// Runs a task on one of the threads, soon. It must not panic: that would end the process.
    pub(crate) fn spawn(&self, task: impl FnOnce() + Send + 'static) {
        let Self(Crew(inner)) = self;
        inner.pool.spawn(task);
    }

    /// Memory of pictures to be used again.
    pub(crate) fn spares(&self) -> &Spares {
        self.0.spares()
    }

    /// What segments are entered in before they are read.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        let Self(Crew(inner)) = self;
        &inner.ledger
    }

    /// What this conversion may hold of segments that nobody has asked for, in bytes, beside a first one: less the more are
    /// open.
    pub(crate) fn ahead_bytes(&self) -> usize {
        let Self(Crew(inner)) = self;
        AHEAD_BYTES / inner.open.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Self(Crew(inner)) = self;
        inner.open.fetch_sub(1, Ordering::Relaxed);
    }
}
