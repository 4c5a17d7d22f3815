//! Segments ahead of their time: the memory they take, whom errors and panics reach, and how it all ends.

use super::*;
use crate::convert::crew::AHEAD_BYTES;
use crate::convert::testing::{crew, random};
use crossbeam_channel::{Receiver, Sender, unbounded};
use rand::Rng;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A condition that never comes is a failure after this.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    FailsToRead,
    FailsToFinish,
    PanicsInReading,
    PanicsInFinishing,
    /// Its finishing goes on until it is stopped.
    Hangs,
}

/// Makes numbers into numbers of so many pretended bytes.
struct Fake {
    bytes: usize,
    fate: Box<dyn Fn(u32) -> Fate + Send + Sync>,
    held: Arc<Held>,
    /// Told each number that is read.
    began: Sender<u32>,
}

/// What was read and is not finished and dropped.
#[derive(Default)]
struct Held {
    bytes: AtomicUsize,
    most: AtomicUsize,
    readers: AtomicUsize,
}

struct Load {
    number: u32,
    bytes: usize,
    held: Arc<Held>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

struct Pen(Arc<Held>);

impl Drop for Pen {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Line for Fake {
    type Reader = Pen;
    type Read = Load;
    type Made = Load;

    fn read(&self, number: u32, _: &mut Pen, _: &StopFlag) -> Result<Load, WorkError> {
        match (self.fate)(number) {
            Fate::FailsToRead => return Err(WorkError::Permanent(format!("{number} is torn"))),
            Fate::PanicsInReading => panic!("{number} burns"),
            _ => {}
        }
        let held = self.held.bytes.fetch_add(self.bytes, Ordering::SeqCst) + self.bytes;
        self.held.most.fetch_max(held, Ordering::SeqCst);
        self.began.send(number).ok();
        Ok(Load { number, bytes: self.bytes, held: Arc::clone(&self.held) })
    }

    fn size_bytes(read: &Load) -> usize {
        read.bytes
    }

    fn finish(&self, read: Load, stop: &StopFlag) -> Result<Load, WorkError> {
        match (self.fate)(read.number) {
            Fate::FailsToFinish => Err(WorkError::Transient(format!("{} is bent", read.number))),
            Fate::PanicsInFinishing => panic!("{} explodes", read.number),
            Fate::Hangs => {
                while !stop.is_set() {
                    thread::yield_now();
                }
                Err(WorkError::Stopped)
            }
            _ => Ok(read),
        }
    }
}

struct Lab {
    ahead: Ahead<Fake>,
    held: Arc<Held>,
    began: Receiver<u32>,
}

fn lab(bytes: usize, end: u32, fate: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Lab {
    let held = Arc::new(Held::default());
    let (tell, began) = unbounded();
    let fake = Fake { bytes, fate: Box::new(fate), held: Arc::clone(&held), began: tell };
    held.readers.fetch_add(1, Ordering::SeqCst);
    let (pen, member) = (Pen(Arc::clone(&held)), Arc::new(crew(2).join()));
    let ahead = Ahead::start(Arc::new(fake), member, pen, 0, end).unwrap();
    Lab { ahead, held, began }
}

impl Lab {
    fn take(&self, number: u32) -> Result<u32, WorkError> {
        assert!(self.ahead.is_next(number));
        self.ahead.take(number, &StopFlag::default()).map(|made| made.number)
    }

    /// All has ended that was under way: also what nobody took.
    fn end(self) {
        let Self { ahead, held, .. } = self;
        drop(ahead);
        assert_eq!(held.readers.load(Ordering::SeqCst), 0, "the reading thread has ended");
        let until = Instant::now() + PATIENCE;
        while held.bytes.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < until, "what was read is dropped");
            thread::yield_now();
        }
    }
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    *panic.downcast::<String>().unwrap()
}

#[test]
fn segments_come_in_order_and_are_made_before_they_are_asked_for() {
    let lab = lab(1000, 7, |_| Fate::Fine);
    assert_eq!(lab.take(0).unwrap(), 0);
    let ahead: Vec<u32> = (0..7).map(|_| lab.began.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(ahead, [0, 1, 2, 3, 4, 5, 6], "all are read while nobody asks");
    for number in 1..7 {
        assert_eq!(lab.take(number).unwrap(), number);
    }
    lab.end();
}

#[test]
fn what_is_ahead_stays_within_its_bytes() {
    let mut random = random();
    for share in [3, 5, 20] {
        let bytes = AHEAD_BYTES / share - 1000;
        let lab = lab(bytes, 60, |_| Fate::Fine);
        for number in 0..60 {
            let made = lab.ahead.take(number, &StopFlag::default()).unwrap();
            // Until so many more are read: the one in hand, and those for which there is room.
            for _ in 0..random.random_range(0..3) {
                lab.began.recv_timeout(Duration::from_millis(1)).ok();
            }
            assert_eq!(made.number, number);
        }
        let most = lab.held.most.load(Ordering::SeqCst);
        assert!(most <= AHEAD_BYTES + bytes, "{most} bytes: what is ahead, and the one in hand");
        assert!(most >= 2 * bytes, "{most} bytes: there is something ahead");
        lab.end();
    }
}

#[test]
fn what_has_no_room_ahead_is_read_when_it_is_asked_for() {
    let lab = lab(AHEAD_BYTES + 1, 5, |_| Fate::Fine);
    for number in 0..5 {
        assert_eq!(lab.take(number).unwrap(), number);
        assert_eq!(lab.began.len() as u32, number + 1);
    }
    assert_eq!(lab.held.most.load(Ordering::SeqCst), AHEAD_BYTES + 1);
    lab.end();
}

#[test]
fn small_segments_are_not_all_made_at_once() {
    let lab = lab(0, 1000, |_| Fate::Fine);
    assert_eq!(lab.take(0).unwrap(), 0);
    for _ in 0..=SEGMENTS_MAX {
        lab.began.recv_timeout(PATIENCE).unwrap();
    }
    // The reading thread waits now, or never will.
    assert_eq!(lab.ahead.shared.lock().next, SEGMENTS_MAX + 1);
    lab.end();
}

#[test]
fn errors_and_panics_come_with_their_own_segment() {
    for fate in [Fate::FailsToRead, Fate::FailsToFinish, Fate::PanicsInReading, Fate::PanicsInFinishing] {
        let lab = lab(1, 9, move |number| if number == 3 { fate } else { Fate::Fine });
        for number in 0..3 {
            assert_eq!(lab.take(number).unwrap(), number, "before {fate:?}");
        }
        let taken = catch_unwind(AssertUnwindSafe(|| lab.take(3)));
        let told = match taken {
            Ok(taken) => taken.unwrap_err().to_string(),
            Err(panic) => panic_text(panic),
        };
        let expected = match fate {
            Fate::FailsToRead => "3 is torn",
            Fate::FailsToFinish => "3 is bent",
            Fate::PanicsInReading => "3 burns",
            _ => "3 explodes",
        };
        assert_eq!(told, expected);
        lab.end();
    }
}

#[test]
fn a_stop_ends_the_wait_and_the_end_ends_all_that_is_under_way() {
    let lab = lab(1, 4, |number| if number == 0 { Fate::Fine } else { Fate::Hangs });
    assert_eq!(lab.take(0).unwrap(), 0);
    let stop = StopFlag::default();
    let asked = stop.clone();
    let began = lab.began.clone();
    let asking = thread::spawn(move || {
        while began.recv_timeout(PATIENCE).unwrap() != 1 {}
        asked.set();
    });
    assert!(matches!(lab.ahead.take(1, &stop), Err(WorkError::Stopped)));
    asking.join().unwrap();
    lab.end();
}

#[test]
fn a_second_conversion_halves_what_may_be_ahead() {
    let crew = crew(1);
    let first = crew.join();
    assert_eq!(first.ahead_bytes(), AHEAD_BYTES);
    let second = crew.join();
    assert_eq!((first.ahead_bytes(), second.ahead_bytes()), (AHEAD_BYTES / 2, AHEAD_BYTES / 2));
    drop(first);
    assert_eq!(second.ahead_bytes(), AHEAD_BYTES);
}
