//! Segments ahead of their time: the memory they take, whom errors and panics reach, and how it all ends.

use super::*;
use crate::convert::crew::Crew;
use crate::convert::ledger::{AHEAD_BYTES, HAND_BYTES};
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
    lab_in(&crew(2), bytes, end, fate)
}

fn lab_in(crew: &Crew, bytes: usize, end: u32, fate: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Lab {
    let held = Arc::new(Held::default());
    let (tell, began) = unbounded();
    let fake = Fake { bytes, fate: Box::new(fate), held: Arc::clone(&held), began: tell };
    held.readers.fetch_add(1, Ordering::SeqCst);
    let (pen, member) = (Pen(Arc::clone(&held)), Arc::new(crew.join()));
    let ahead = Ahead::start(Arc::new(fake), member, pen, (0, end), bytes).unwrap();
    Lab { ahead, held, began }
}

impl Lab {
    fn take(&self, number: u32) -> Result<u32, WorkError> {
        assert!(self.ahead.is_next(number));
        self.ahead.take(number, &StopFlag::default()).map(|(made, _)| made.number)
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
            let (made, _charge) = lab.ahead.take(number, &StopFlag::default()).unwrap();
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

/// Pretended segments of this size, all conversions taking theirs at once. Gives the most bytes that were held, in hand and
/// ahead.
fn all_at_once(conversions: usize, bytes: usize) -> (usize, usize) {
    const SEGMENTS: u32 = 12;
    let crew = crew(2);
    let most = (AtomicUsize::new(0), AtomicUsize::new(0));
    let labs: Vec<Lab> = (0..conversions).map(|_| lab_in(&crew, bytes, SEGMENTS, |_| Fate::Fine)).collect();
    let ledger = Arc::clone(crew.join().ledger());
    let look = || {
        let (in_hand, ahead) = ledger.bytes();
        most.0.fetch_max(in_hand, Ordering::SeqCst);
        most.1.fetch_max(ahead, Ordering::SeqCst);
    };
    thread::scope(|scope| {
        for lab in &labs {
            scope.spawn(|| {
                for number in 0..SEGMENTS {
                    let (made, charge) = lab.ahead.take(number, &StopFlag::default()).unwrap();
                    look();
                    // As long as writing takes.
                    thread::sleep(Duration::from_millis(1));
                    drop((made, charge));
                    look();
                }
            });
        }
    });
    labs.into_iter().for_each(Lab::end);
    assert_eq!(ledger.bytes(), (0, 0), "all is let go");
    (most.0.into_inner(), most.1.into_inner())
}

#[test]
fn all_conversions_together_hold_what_one_may_hold() {
    for (conversions, bytes) in [(1, HAND_BYTES / 3), (8, HAND_BYTES / 3), (20, HAND_BYTES / 10), (3, 1000)] {
        let (in_hand, ahead) = all_at_once(conversions, bytes);
        assert!(in_hand <= HAND_BYTES, "{conversions} conversions of {bytes}: {in_hand} in hand");
        assert!(ahead <= AHEAD_BYTES, "{conversions} conversions of {bytes}: {ahead} ahead");
        assert!(in_hand >= bytes && (conversions < 8 || in_hand >= HAND_BYTES / 2), "{in_hand} in hand");
    }
}

#[test]
fn what_is_larger_than_all_is_in_hand_alone() {
    let (in_hand, ahead) = all_at_once(5, HAND_BYTES * 2);
    assert_eq!((in_hand, ahead), (HAND_BYTES * 2, 0));
}

/// Nobody waits for what another holds ahead and does not ask for.
#[test]
fn a_conversion_that_rests_stops_no_other() {
    let crew = crew(2);
    let resting = lab_in(&crew, AHEAD_BYTES / 2, 9, |_| Fate::Fine);
    assert_eq!(resting.take(0).unwrap(), 0);
    (0..3).for_each(|number| assert_eq!(resting.began.recv_timeout(PATIENCE).unwrap(), number));
    for bytes in [1, AHEAD_BYTES / 2, HAND_BYTES * 3] {
        let other = lab_in(&crew, bytes, 5, |_| Fate::Fine);
        (0..5).for_each(|number| assert_eq!(other.take(number).unwrap(), number));
        other.end();
    }
    resting.end();
}

#[test]
fn who_waits_for_room_stops_when_asked() {
    let crew = crew(2);
    let holder = lab_in(&crew, HAND_BYTES, 2, |_| Fate::Fine);
    let held = holder.ahead.take(0, &StopFlag::default()).unwrap();
    let waiting = lab_in(&crew, HAND_BYTES, 2, |_| Fate::Fine);
    let stop = StopFlag::default();
    let setting = stop.clone();
    let setter = thread::spawn(move || setting.set());
    assert!(matches!(waiting.ahead.take(0, &stop), Err(WorkError::Stopped)));
    setter.join().unwrap();
    waiting.end();
    drop(held);
    let next = lab_in(&crew, HAND_BYTES, 1, |_| Fate::Fine);
    assert_eq!(next.take(0).unwrap(), 0, "who went away holds up nobody");
    next.end();
    holder.end();
}
