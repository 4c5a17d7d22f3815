//! From threads that block to the runtime on which requests run, and back.
//!
//! Architecture Invariant: nothing on this runtime blocks, and nothing waits for it from within: a wait polls the stop
//! flag, so that whoever asked to stop is obeyed within [`POLL`].

use super::failure::Failure;
use crate::work::StopFlag;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

/// Threads that carry requests.
const THREADS: usize = 2;
/// How often a wait looks at the stop flag.
const POLL: Duration = Duration::from_millis(20);

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// The runtime. Dropped, it drops what is still on its way.
#[derive(Debug)]
pub(super) struct Bridge {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Bridge {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("s3")
            .on_thread_start(|| IS_OURS.set(true))
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Sets something going.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Pending<T> {
        let (sender, receiver) = sync_channel(1);
        let task = self.handle.spawn(async move {
            // Nobody may be waiting any more.
            sender.try_send(work.await).ok();
        });
        Pending { receiver, task: Some(task.abort_handle()) }
    }

    /// Carries something out, unless it is asked to stop before.
    pub(super) fn run<T: Send + 'static>(
        &self,
        stop: &StopFlag,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.spawn(work).wait(stop)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also right where waiting is forbidden, as on another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Something on its way. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Pending<T> {
    receiver: Receiver<Result<T, Failure>>,
    task: Option<AbortHandle>,
}

impl<T> Pending<T> {
    /// Waits for its end, or until it is asked to stop.
    pub(super) fn wait(&self, stop: &StopFlag) -> Result<T, Failure> {
        loop {
            if let Some(result) = self.poll(POLL)? {
                return result;
            }
            if stop.is_set() {
                return Err(Failure::Stopped);
            }
        }
    }

    /// Waits for a while, whatever it was asked.
    pub(super) fn wait_for(&self, time: Duration) -> Option<Result<T, Failure>> {
        self.poll(time).unwrap_or_else(|failure| Some(Err(failure)))
    }

    fn poll(&self, time: Duration) -> Result<Option<Result<T, Failure>>, Failure> {
        if IS_OURS.get() {
            return Err(Failure::Defect("object storage was asked from one of its own threads"));
        }
        match self.receiver.recv_timeout(time) {
            Ok(result) => Ok(Some(result)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Defect("a request was dropped or panicked")),
        }
    }

    /// Lets it go on, with nobody waiting.
    pub(super) fn detach(mut self) {
        self.task = None;
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    #[test]
    fn a_wait_ends_soon_after_the_flag_is_set() {
        let bridge = Bridge::start().unwrap();
        let stop = StopFlag::default();
        let (setter, set_at) = (stop.clone(), Instant::now() + Duration::from_millis(60));
        let thread = std::thread::spawn(move || {
            std::thread::sleep(set_at.saturating_duration_since(Instant::now()));
            setter.set();
        });
        let waited = bridge.run::<()>(&stop, std::future::pending());
        let late = Instant::now().saturating_duration_since(set_at);
        assert!(matches!(waited, Err(Failure::Stopped)) && late < Duration::from_millis(500), "{late:?}");
        thread.join().unwrap();
    }

    #[test]
    fn what_is_no_longer_wanted_is_given_up() {
        struct Gone(Arc<AtomicBool>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let bridge = Bridge::start().unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let held = Gone(Arc::clone(&gone));
        drop(bridge.spawn::<()>(async move {
            let _held = held;
            std::future::pending().await
        }));
        let end = Instant::now() + Duration::from_secs(5);
        while !gone.load(Ordering::Acquire) && Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(gone.load(Ordering::Acquire));
    }

    #[test]
    fn a_wait_on_its_own_thread_is_an_error_and_a_panic_too() {
        let bridge = Arc::new(Bridge::start().unwrap());
        let inner = Arc::clone(&bridge);
        let asked = bridge.run(&StopFlag::default(), async move {
            let asked = inner.run(&StopFlag::default(), async { Ok(1) });
            Ok(matches!(asked, Err(Failure::Defect(_))))
        });
        assert!(asked.unwrap());
        let panicked = bridge.run::<()>(&StopFlag::default(), async { panic!("as ordered") });
        assert!(matches!(panicked, Err(Failure::Defect(_))));
    }
}
