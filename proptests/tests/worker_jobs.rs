//! What a worker makes of its jobs: of a conversion that panics or fails, of a job that is cancelled, and of several jobs at
//! once.

use roboflow::fsm::Settings;
use roboflow::fsm::effect::{Exit, Leaf};
use roboflow::fsm::event::{Mode, Signal};
use roboflow::fsm::id::JobId;
use roboflow::fsm::machine::Tally;
use roboflow::queue::JobStatus;
use roboflow::work::WorkError;
use roboflow_proptests::worker_lab::{DONE, Latch, WorkerLab, quick, signal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Three machines in one process: one completes its job, one hands it back, and one hangs.
#[test]
fn each_machine_has_its_own_record_all_one_heartbeat_and_the_worst_exit_is_the_processs() {
    let lab = WorkerLab::new(3, Settings { finish_if_fits: false, ..quick() });
    lab.submit(3);
    let (hung, kept) = (Latch::default(), Latch::default());
    let (hangs, keeps) = (hung.clone(), kept.clone());
    let jobs: Arc<Mutex<Vec<JobId>>> = Arc::default();
    let worker = lab.start_by(1, move |job, _, stop| {
        let nth = {
            let mut seen = jobs.lock().unwrap();
            seen.push(job);
            seen.len()
        };
        match nth {
            1 => {}
            2 => keeps.wait_or_stop(stop)?,
            _ => hangs.wait(),
        }
        Ok(DONE)
    });
    let board = worker.board();
    let completed = || lab.jobs().iter().filter(|job| job.status == JobStatus::Completed).count();
    lab.until("one to complete, two to work", || {
        completed() == 1 && board.read().iter().filter(|place| place.held.is_some()).count() == 2
    });
    let heartbeats = || lab.ask(lab.queue.workers(None, 10)).unwrap();
    lab.until("a heartbeat that tells of all", || {
        heartbeats()[0].note.leaves.iter().filter(|leaf| **leaf == Leaf::Processing).count() == 2
    });
    assert_eq!((heartbeats().len(), heartbeats()[0].info.machines), (1, 3));
    assert_eq!((heartbeats()[0].note.leaves.len(), heartbeats()[0].note.stopping), (3, None));
    worker.inputs().send(&signal(Signal::Int));
    worker.inputs().send(&signal(Signal::Int));
    lab.until("two to end", || {
        board.read().iter().filter(|place| place.exit == Some(Exit::Clean)).count() == 2
    });
    lab.until("a heartbeat that tells of the stop", || heartbeats()[0].note.stopping == Some(Mode::Abort));
    assert!(!worker.has_ended_within(Duration::ZERO), "it goes on while one machine does");
    worker.inputs().send(&signal(Signal::Int));
    assert_eq!(worker.join().0, Exit::LeftToLease);
    let places = board.read();
    let ended = |tell: fn(&Tally) -> u64| places.iter().map(|place| tell(&place.tally)).collect::<Vec<_>>();
    for of_three in
        [ended(|tally| tally.completed), ended(|tally| tally.released), ended(|tally| tally.left_to_lease)]
    {
        assert_eq!(of_three.iter().sum::<u64>(), 1, "{places:?}");
    }
    assert_eq!(ended(|tally| tally.owned).iter().sum::<u64>(), lab.metrics.jobs_claimed.get());
    let stuck = places.iter().find(|place| place.exit == Some(Exit::LeftToLease)).unwrap();
    assert_eq!((stuck.leaf, stuck.stopping, stuck.tally.left_to_lease), (Leaf::Exited, Some(Mode::Abort), 1));
    hung.open();
    kept.open();
}

#[test]
fn a_recording_on_which_the_conversion_panics_is_buried_with_the_text_and_the_worker_goes_on() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(2);
    let first = Mutex::new(None);
    let worker = lab.start_by(3, move |job, _, _| {
        let poison = *first.lock().unwrap().get_or_insert(job);
        assert!(job != poison, "a bug in the converter");
        Ok(DONE)
    });
    lab.until("the other job", || lab.jobs().iter().any(|job| job.status == JobStatus::Completed));
    lab.until("the panic to be told", || lab.jobs().iter().any(|job| job.failures >= 1));
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
    let jobs = lab.jobs();
    let poison = jobs.iter().find(|job| job.failures >= 1).unwrap();
    let text = &poison.errors.last().unwrap().text;
    assert!(text.contains("panicked") && text.contains("a bug in the converter"), "{text}");
    assert!(lab.metrics.conversion_panics.get() >= 1);
}

#[test]
fn a_permanent_error_buries_the_job_with_its_text_and_a_transient_one_is_tried_again() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(1);
    let worker = lab.start(3, |_, _| Err(WorkError::Permanent("topic /joints is missing".to_owned())));
    lab.until("the job to be dead", || lab.jobs()[0].status == JobStatus::Dead);
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
    let jobs = lab.jobs();
    assert_eq!(jobs[0].errors.last().unwrap().text, "topic /joints is missing");

    let lab = WorkerLab::new(1, quick());
    lab.submit(1);
    let failed = AtomicBool::new(false);
    let worker = lab.start(3, move |_, _| {
        if failed.swap(true, Ordering::SeqCst) {
            Ok(DONE)
        } else {
            Err(WorkError::Transient("the disk is full".to_owned()))
        }
    });
    lab.until("the job to be done", || lab.jobs()[0].status == JobStatus::Completed);
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
    assert_eq!(lab.jobs()[0].failures, 1);
}

#[test]
fn a_job_that_is_cancelled_while_held_is_stopped_and_stays_cancelled() {
    let lab = WorkerLab::new(1, quick());
    lab.submit(1);
    let never = Latch::default();
    let worker = lab.start(3, move |_, stop| {
        never.wait_or_stop(stop)?;
        Ok(DONE)
    });
    lab.until_step("Convert");
    lab.ask(lab.queue.cancel(lab.jobs()[0].id)).unwrap();
    lab.until("the job to be cancelled", || lab.jobs()[0].status == JobStatus::Cancelled);
    worker.inputs().send(&signal(Signal::Term));
    assert_eq!(worker.join().0, Exit::Clean);
}
