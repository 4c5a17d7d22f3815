//! The worker in this process: what it does with answers that are late, lost or wrong, with work that hangs or dies, and
//! with a runtime that has no thread left.

#![expect(clippy::indexing_slicing, reason = "what cannot be done is a failed test")]

use roboflow::fsm::Settings;
use roboflow::fsm::effect::{Exit, Leaf};
use roboflow::fsm::event::{Mode, Signal};
use roboflow::fsm::id::Epoch;
use roboflow::fsm::{Input, Machine, step};
use roboflow::queue::JobStatus;
use roboflow::work::WorkError;
use roboflow_proptests::worker_lab::{DONE, Gate, Latch, WorkerLab, quick, signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Asserts that the only job is ready again, with its checkpoint, and nothing counted but the interruption.
#[track_caller]
fn given_back(lab: &WorkerLab, checkpoint: u32) {
    let jobs = lab.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let job = &jobs[0];
    assert_eq!(job.status, JobStatus::Ready, "{job:?}");
    assert_eq!(
        (job.checkpoint, job.failures, job.crashes, job.interruptions),
        (checkpoint, 0, 0, 1),
        "{job:?}"
    );
    assert_eq!(job.owner, None);
}

#[test]
fn jobs_are_claimed_converted_checkpointed_and_completed() {
    let lab = WorkerLab::new(2, quick());
    lab.submit(5);
    let worker = lab.start(3, |_, _| Ok(DONE));
    lab.until("all jobs", || lab.jobs().iter().all(|job| job.status == JobStatus::Completed));
    worker.inputs().send(&Input::Drain(Mode::Finish));
    let (exit, _departed) = worker.join();
    assert_eq!(exit, Exit::Clean);
    assert!(lab.metrics.frames.get() >= 5 * 3 * 100);
    assert!(lab.jobs().iter().all(|job| job.result.as_ref().unwrap().frames == 300));
    assert_eq!(lab.metrics.stale_answers.get(), 0);
    assert_eq!(lab.metrics.invariant_violations.get(), 0);
    let receipts = lab.ask(lab.queue.receipts(None, 10)).unwrap();
    assert_eq!(receipts.len(), 1, "the last machine left the receipt");
    assert_eq!(receipts[0].farewells.len(), 2, "{receipts:?}");
    assert!(lab.ask(lab.queue.workers(None, 10)).unwrap().is_empty(), "the heartbeat went with it");
}

#[test]
fn steps_replay_through_fresh_machines() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(2);
    let worker = lab.start(2, |_, _| Ok(DONE));
    lab.until("all jobs", || lab.jobs().iter().all(|job| job.status == JobStatus::Completed));
    worker.inputs().send(&signal(Signal::Term));
    worker.join();
    let mut machine = Machine::new(quick());
    for line in lab.steps() {
        assert_eq!(step(&mut machine, line.event), line.effects);
        assert_eq!(machine.leaf(), line.after);
    }
    assert_eq!(machine.leaf(), Leaf::Exited);
}

#[test]
fn pitfall_03_a_claim_in_flight_is_awaited_and_what_it_won_is_given_back() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(1);
    lab.gate(Gate::Held);
    let worker = lab.start(3, |_, _| Ok(DONE));
    lab.until_held();
    worker.inputs().send(&signal(Signal::Term));
    lab.until_step("SIGTERM");
    lab.gate(Gate::Open);
    assert_eq!(worker.join().0, Exit::Clean);
    given_back(&lab, 0);
    assert_eq!(lab.effects("Convert"), 0);
}

#[test]
fn pitfall_03_a_claim_of_unknown_outcome_is_read_back_before_anything_else() {
    for gate in [Gate::AnswerLost, Gate::Lost] {
        let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
        lab.submit(1);
        lab.gate(gate);
        let never = Latch::default();
        let worker = lab.start(3, move |_, stop| never.wait_or_stop(stop).map(|()| DONE));
        lab.until_step("Claim:Unknown");
        lab.gate(Gate::Open);
        lab.until_step("Convert");
        worker.inputs().send(&signal(Signal::Int));
        lab.until_step("SIGINT");
        worker.inputs().send(&signal(Signal::Int));
        assert_eq!(worker.join().0, Exit::Clean);
        given_back(&lab, 0);
        let claims = lab.jobs()[0].epoch.0;
        let expected = if gate == Gate::AnswerLost { 1 } else { claims };
        assert_eq!(claims, expected, "a claim that had won was not made twice");
        assert!(lab.effects("ResolveClaim") >= 1);
    }
}

#[test]
fn pitfall_08_signals_renewals_and_the_deadline_work_while_every_runtime_thread_is_busy() {
    let settings = Settings { drain_budget_ms: 500, force_after_ms: 4_000, ..quick() };
    let lab = WorkerLab::new(1, settings);
    lab.submit(1);
    let latch = Latch::default();
    let held = latch.clone();
    let worker = lab.start(1_000, move |segment, stop| {
        if segment > 0 {
            held.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    lab.until("a segment to wait at", || lab.effects("Convert") >= 2);
    let free = Arc::new(AtomicBool::new(false));
    for _ in 0..16 {
        let free = Arc::clone(&free);
        lab.runtime.spawn(async move {
            while !free.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    let renewals = lab.metrics.renewals.get();
    lab.until("renewals over more than a lease", || lab.metrics.renewals.get() >= renewals + 32);
    worker.inputs().send(&signal(Signal::Term));
    lab.until("the machine to hear it", || worker.board().read()[0].leaf == Leaf::Finishing);
    assert_eq!(worker.join().0, Exit::LeftToLease, "no release can have been written");
    free.store(true, Ordering::Relaxed);
    assert!(!lab.bitten.load(Ordering::SeqCst), "the machine itself kept the deadline");
    assert_eq!(lab.jobs()[0].status, JobStatus::Leased);
}

#[test]
fn pitfall_10_the_first_rung_ends_at_the_segments_boundary() {
    let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
    lab.submit(1);
    let latch = Latch::default();
    let held = latch.clone();
    let worker = lab.start(1_000, move |segment, stop| {
        if segment == 2 {
            held.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    lab.until("the third segment", || lab.effects("Convert") >= 3);
    worker.inputs().send(&signal(Signal::Term));
    lab.until_step("SIGTERM");
    latch.open();
    assert_eq!(worker.join().0, Exit::Clean);
    given_back(&lab, 3);
    assert_eq!((lab.effects("CancelConvert"), lab.effects("Convert")), (0, 3));
}

#[test]
fn pitfall_10_the_second_rung_cancels_the_segment() {
    let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
    lab.submit(1);
    let never = Latch::default();
    let worker = lab.start(1_000, move |segment, stop| {
        if segment == 2 {
            never.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    lab.until("the third segment", || lab.effects("Convert") >= 3);
    worker.inputs().send(&signal(Signal::Int));
    lab.until_step("SIGINT");
    assert_eq!(lab.effects("CancelConvert"), 0);
    worker.inputs().send(&signal(Signal::Int));
    assert_eq!(worker.join().0, Exit::Clean);
    given_back(&lab, 2);
    assert_eq!(lab.effects("CancelConvert"), 1);
}

#[test]
fn pitfall_10_the_drain_budget_cancels_the_segment_by_itself() {
    let lab = WorkerLab::new(1, Settings { finish_if_fits: false, drain_budget_ms: 200, ..quick() });
    lab.submit(1);
    let never = Latch::default();
    let worker = lab.start(1_000, move |segment, stop| {
        if segment == 1 {
            never.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    lab.until("the second segment", || lab.effects("Convert") >= 2);
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
    given_back(&lab, 1);
    assert_eq!(lab.effects("CancelConvert"), 1);
}

#[test]
fn pitfall_10_the_third_rung_leaves_at_once() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(1);
    let hung = Latch::default();
    let held = hung.clone();
    let worker = lab.start(10, move |_, _| {
        held.wait();
        Ok(DONE)
    });
    lab.until_step("Convert");
    for _ in 0..3 {
        worker.inputs().send(&signal(Signal::Int));
    }
    assert_eq!(worker.join().0, Exit::LeftToLease);
    assert_eq!(lab.jobs()[0].status, JobStatus::Leased);
    assert!(!lab.bitten.load(Ordering::SeqCst));
    hung.open();
}

#[test]
fn pitfall_10_the_force_deadline_leaves_by_itself() {
    let lab = WorkerLab::new(1, Settings { drain_budget_ms: 100, force_after_ms: 3_200, ..quick() });
    lab.submit(1);
    let hung = Latch::default();
    let held = hung.clone();
    let worker = lab.start(10, move |_, _| {
        held.wait();
        Ok(DONE)
    });
    lab.until_step("Convert");
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::LeftToLease);
    assert!(!lab.bitten.load(Ordering::SeqCst), "the machine itself kept the deadline");
    hung.open();
}

#[test]
fn pitfall_11_the_lease_is_renewed_all_through_the_drain() {
    let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
    lab.submit(1);
    let latch = Latch::default();
    let held = latch.clone();
    let worker = lab.start(1_000, move |segment, stop| {
        if segment == 1 {
            held.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    lab.until("the second segment", || lab.effects("Convert") >= 2);
    worker.inputs().send(&signal(Signal::Term));
    lab.until_step("SIGTERM");
    let renewals = lab.metrics.renewals.get();
    lab.until("renewals over more than a lease", || {
        assert!(
            lab.ask(lab.queue.reclaim(10)).unwrap().is_empty(),
            "the job was taken back during the drain"
        );
        lab.metrics.renewals.get() >= renewals + 40
    });
    latch.open();
    assert_eq!(worker.join().0, Exit::Clean);
    given_back(&lab, 2);
}

#[test]
fn pitfall_19_after_half_a_lease_without_news_nothing_is_written_before_the_lease_was_read_again() {
    // Half of the lease is 6 s, and the machine may write for 9.6 s after a renewal: the gap lies between.
    let lab = WorkerLab::new(1, Settings { lease_ms: 12_000, renew_interval_ms: 100, ..quick() });
    lab.submit(1);
    let latch = Latch::default();
    let held = latch.clone();
    let worker = lab.start(3, move |segment, stop| {
        if segment == 1 {
            held.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    lab.until("the second segment", || lab.effects("Convert") >= 2);
    lab.lease_gate(Gate::Held);
    let renewals = lab.metrics.renewals.get();
    let silent = std::time::Instant::now();
    lab.until("half a lease", || silent.elapsed() > Duration::from_millis(6_300));
    latch.open();
    lab.until("the checkpoint to be wanted", || lab.effects("Checkpoint") >= 2);
    lab.until("the lease to be asked for", || lab.metrics.lease_rereads.get() >= 1);
    assert_eq!(lab.jobs()[0].checkpoint, 1, "it was written all the same");
    assert!(lab.metrics.renewals.get() <= renewals + 1);
    lab.lease_gate(Gate::Open);
    lab.until("the job", || lab.jobs()[0].status == JobStatus::Completed);
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
}

/// The store is away for longer than the lease allows to go on: the segment is cut, and made again once the lease is confirmed.
#[test]
fn a_segment_cut_for_a_lease_in_doubt_is_made_again_and_costs_no_attempt() {
    for comes_to_its_end in [false, true] {
        let lab = WorkerLab::new(1, Settings { lease_ms: 3_000, renew_interval_ms: 100, ..quick() });
        lab.submit(1);
        let latch = Latch::default();
        let held = latch.clone();
        let worker = lab.start(3, move |segment, stop| {
            if segment == 1 && held.wait_or_stop(stop).is_err() && !comes_to_its_end {
                return Err(WorkError::Stopped);
            }
            Ok(DONE)
        });
        lab.until("the second segment", || lab.effects("Convert") >= 2);
        lab.lease_gate(Gate::Held);
        lab.until("the cut", || lab.effects("CancelConvert") == 1);
        latch.open();
        lab.lease_gate(Gate::Open);
        lab.until("the job", || lab.jobs()[0].status == JobStatus::Completed);
        worker.inputs().send(&signal(Signal::Term));
        assert_eq!(worker.join().0, Exit::Clean);
        let job = &lab.jobs()[0];
        assert_eq!((job.epoch, job.failures, job.interruptions), (Epoch(1), 0, 0), "{job:?}");
    }
}

#[test]
fn pitfall_23_a_release_owns_its_store() {
    let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
    lab.submit(1);
    let worker = lab.start(1_000, |_, _| {
        thread::sleep(Duration::from_millis(1));
        Ok(DONE)
    });
    lab.until("work", || lab.effects("Checkpoint") >= 2);
    lab.gate(Gate::Held);
    worker.inputs().send(&signal(Signal::Term));
    lab.until_step("SIGTERM");
    let inputs = worker.inputs();
    let joining = thread::spawn(move || worker.join().0);
    // All that is left of the worker is inside of its own threads and tasks.
    drop(inputs);
    lab.until_held();
    lab.gate(Gate::Open);
    assert_eq!(joining.join().unwrap(), Exit::Clean);
    let jobs = lab.jobs();
    assert_eq!((jobs[0].status, jobs[0].interruptions), (JobStatus::Ready, 1), "{jobs:?}");
}

#[test]
fn pitfall_24_final_writes_outlive_the_drain_budget() {
    let settings =
        Settings { finish_if_fits: false, drain_budget_ms: 150, force_after_ms: 20_000, ..quick() };
    let lab = WorkerLab::new(1, settings);
    lab.submit(1);
    let worker = lab.start(1_000, |_, _| {
        thread::sleep(Duration::from_millis(1));
        Ok(DONE)
    });
    lab.until("work", || lab.effects("Checkpoint") >= 2);
    lab.gate(Gate::Held);
    lab.until_held();
    worker.inputs().send(&signal(Signal::Term));
    // The budget is over, as the next tick shows; what is in flight is neither cut off nor given up.
    let asked = std::time::Instant::now();
    lab.until("the budget to be over", || asked.elapsed() > Duration::from_millis(400));
    assert!(!worker.has_ended_within(Duration::ZERO));
    lab.gate(Gate::Open);
    assert_eq!(worker.join().0, Exit::Clean);
    let jobs = lab.jobs();
    assert_eq!((jobs[0].status, jobs[0].interruptions), (JobStatus::Ready, 1), "{jobs:?}");
}

#[test]
fn pitfall_26_the_boundary_that_is_saved_is_the_boundary_that_is_stopped_at() {
    for _ in 0..20 {
        let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
        lab.submit(1);
        let worker = lab.start(1_000_000, |_, _| Ok(DONE));
        lab.until("work", || lab.effects("Checkpoint") >= 3);
        worker.inputs().send(&signal(Signal::Term));
        assert_eq!(worker.join().0, Exit::Clean);
        let converted = lab.effects("Convert");
        given_back(&lab, u32::try_from(converted).unwrap());
    }
}

#[test]
fn pitfall_37_a_release_of_unknown_outcome_is_asked_again_until_it_is_known() {
    for gate in [Gate::AnswerLost, Gate::Lost, Gate::Away] {
        let lab = WorkerLab::new(1, Settings { finish_if_fits: false, ..quick() });
        lab.submit(1);
        let latch = Latch::default();
        let held = latch.clone();
        let worker = lab.start(1_000, move |segment, stop| {
            if segment == 2 {
                held.wait_or_stop(stop)?;
            }
            Ok(DONE)
        });
        lab.until("the third segment", || lab.effects("Convert") >= 3);
        // A cancelled segment is not checkpointed: the next write is the release.
        worker.inputs().send(&signal(Signal::Int));
        lab.until_step("SIGINT");
        lab.gate(gate);
        worker.inputs().send(&signal(Signal::Int));
        lab.until("the release to be tried again", || lab.effects("Release") >= 2);
        lab.gate(Gate::Open);
        assert_eq!(worker.join().0, Exit::Clean, "{gate:?}");
        given_back(&lab, 2);
    }
}

#[test]
fn pitfall_38_a_completion_under_a_lost_lease_is_refused_and_counted() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(1);
    let latch = Latch::default();
    let held = latch.clone();
    let worker = lab.start(1, move |_, stop| {
        held.wait_or_stop(stop)?;
        Ok(DONE)
    });
    lab.until_step("Convert");
    // The store loses the worker's record, as an operator's mistake would: its next renewal finds the lease lost.
    let incarnation = lab.ask(lab.queue.workers(None, 1)).unwrap()[0].info.incarnation;
    let key = lab
        .store
        .dump()
        .into_iter()
        .map(|(key, _)| key)
        .find(|key| lab.queue.keys().parse(key) == Some(roboflow::queue::Key::Worker(incarnation)))
        .unwrap();
    lab.store.overwrite(key, None);
    lab.until("the job to be taken back", || {
        lab.ask(lab.queue.reclaim(10)).unwrap();
        lab.jobs()[0].crashes == 1
    });
    lab.until("the lease to be found lost", || lab.metrics.leases_lost.get() >= 1);
    latch.open();
    lab.until("another claim to complete it", || lab.jobs()[0].status == JobStatus::Completed);
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
    let jobs = lab.jobs();
    assert!(jobs[0].epoch.0 >= 2, "the first claim completed nothing: {jobs:?}");
    assert_eq!(jobs[0].crashes, 1);
}
