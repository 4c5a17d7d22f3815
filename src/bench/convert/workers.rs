//! As many threads as recordings are converted at once, and what each of them gave. It knows nothing of what they do.

use crate::bench::BenchError;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does something with each item and its number: whoever of the workers is free takes the next. Gives what each worker's
/// items gave.
///
/// # Errors
/// The first worker's that failed. The others end what they have in hand, and take no more.
pub(super) fn each<I: Sync, T: Send>(
    workers: NonZeroUsize,
    items: &[I],
    one: impl Fn(usize, &I) -> Result<T, BenchError> + Sync,
) -> Result<Vec<Vec<T>>, BenchError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut given = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return Ok(given) };
            match one(number, item) {
                Ok(made) => given.push(made),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.get().min(items.len()))
            .map(|_| thread::Builder::new().spawn_scoped(scope, work))
            .collect();
        let join = |thread: std::io::Result<thread::ScopedJoinHandle<'_, _>>| {
            thread
                .map_err(BenchError::made)?
                .join()
                .unwrap_or_else(|_| Err(BenchError::made("a worker panicked")))
        };
        threads.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn every_item_is_done_once() {
        for count in [1, 2, 7] {
            let given = each(workers(count), &[10, 11, 12, 13], |number, item| Ok((number, *item))).unwrap();
            let mut all: Vec<(usize, i32)> = given.into_iter().flatten().collect();
            all.sort_unstable();
            assert_eq!(all, [(0, 10), (1, 11), (2, 12), (3, 13)]);
        }
    }

    #[test]
    fn an_error_is_told() {
        let fails = |number: usize, _: &i32| if number == 2 { Err(BenchError::made("no")) } else { Ok(()) };
        assert!(each(workers(2), &[0; 5], fails).unwrap_err().to_string().contains("no"));
    }
}
