//! Small things are asked of a storage several at once, and taken in their order: over a long way asking takes longer than what
//! is answered. It knows no storage.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Threads that ask, and answers that wait to be taken.
const AT_ONCE: usize = 8;

/// The answers, in the order of what was asked.
pub(super) struct Answers<R> {
    line: Receiver<Receiver<R>>,
}

impl<R> Iterator for Answers<R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        // Who panicked gives no answer, and its scope passes that on.
        self.line.recv().ok()?.recv().ok()
    }
}

/// What is left to ask, and where the next answer stands in line.
struct Rest<I, R> {
    items: I,
    line: Option<SyncSender<Receiver<R>>>,
}

/// Asks `ask` for each item, a few ahead of what is taken. What nobody takes any more is not asked for.
pub(super) fn in_order<I: Iterator + Send, R: Send, O>(
    items: I,
    ask: impl Fn(I::Item) -> R + Sync,
    take: impl FnOnce(Answers<R>) -> O,
) -> O {
    let (sender, line) = sync_channel(AT_ONCE);
    let rest = Mutex::new(Rest { items, line: Some(sender) });
    let work = || {
        while let Some((item, answer)) = next(&rest) {
            // Nobody may be waiting any more.
            answer.send(ask(item)).ok();
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
        take(Answers { line })
    })
}

/// The next item, and where its answer goes; none when there is no more, or nobody takes it.
fn next<I: Iterator, R>(rest: &Mutex<Rest<I, R>>) -> Option<(I::Item, SyncSender<R>)> {
    // Items and places in the line are given out under one lock: so their order is the same.
    let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
    let item = rest.items.next();
    let (answer, waiting) = sync_channel(1);
    let is_taken = item.is_some() && rest.line.as_ref().is_some_and(|line| line.send(waiting).is_ok());
    if !is_taken {
        rest.line = None;
    }
    item.filter(|_| is_taken).map(|item| (item, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};

    #[test]
    fn answers_come_in_the_order_of_the_items_though_they_are_asked_at_once() {
        // Only when as many ask at once does any of them get on; the first of them ends last.
        let barrier = Arc::new(Barrier::new(AT_ONCE));
        let later = Barrier::new(2);
        let answers: Vec<usize> = in_order(
            0..AT_ONCE,
            |item| {
                barrier.wait();
                if item == 0 || item == AT_ONCE - 1 {
                    later.wait();
                }
                item
            },
            Iterator::collect,
        );
        assert_eq!(answers, (0..AT_ONCE).collect::<Vec<_>>());
        assert_eq!(in_order(0..1000, |item| item * 2, Iterator::sum::<usize>), 999_000);
        assert_eq!(in_order(0..0, |item: usize| item, Iterator::count), 0);
    }

    #[test]
    fn what_nobody_takes_is_not_asked_for() {
        let asked = AtomicUsize::new(0);
        let ask = |item: usize| {
            asked.fetch_add(1, Ordering::SeqCst);
            if item == 3 { Err("wrong") } else { Ok(item) }
        };
        let taken: Result<Vec<usize>, _> = in_order(0..1_000_000, ask, Iterator::collect);
        assert_eq!(taken, Err("wrong"));
        assert!(asked.load(Ordering::SeqCst) <= 4 + 2 * AT_ONCE, "{asked:?}");
    }

    #[test]
    fn a_panic_goes_through() {
        let all = || in_order(0..20, |item| assert!(item != 5, "as asked"), Iterator::count);
        assert!(std::panic::catch_unwind(all).is_err());
    }
}
