//! The threads that decode and encode, shared by all conversions of a process, and the memory that they may use ahead.
//!
//! It knows no recording and no segment.

use super::spare::Spares;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What all conversions of a process may together hold of segments that nobody has asked for yet, in bytes of values.
///
/// Beside it each conversion holds the segment that was asked for, the one being written (twice: its columns and its
/// pages), its reader's chunks, and all together the spare memory of pictures.
pub const AHEAD_BYTES: usize = 48 << 20;
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
        Ok(Self(Arc::new(Inner { pool, open: AtomicUsize::new(0), spares: Spares::default() })))
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

    /// What this conversion may hold of segments that nobody has asked for, in bytes: less the more are open.
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
