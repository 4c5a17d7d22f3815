//! A worker that goes from state to state when it is told so, with its HTTP surface: for whoever looks at its page.
//!
//! The first line that it prints is where it serves. For each line that it is given it goes on to the next state and prints
//! the leaf that its first machine stands in then; after the last one an empty line. It ends with its input.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "support of tests: what it cannot do is a failed test"
)]

use roboflow::fsm::event::{Mode, Signal};
use roboflow::fsm::{Input, Settings};
use roboflow::worker::board::Board;
use roboflow_proptests::surface::Served;
use roboflow_proptests::worker_lab::{DONE, Gate, Latch, WorkerLab, signal};
use std::io::{BufRead, stdin};
use std::sync::{Arc, OnceLock};

/// Segments of a job, and at which of them the first one stays.
const SEGMENTS: u32 = 12;
const STAYS_AT: u32 = 5;

fn main() {
    // Nobody is waited for by the clock: who looks at pages may take a while.
    let settings = Settings {
        finish_if_fits: false,
        drain_budget_ms: 3_000_000,
        force_after_ms: 3_600_000,
        ..Settings::default()
    };
    let lab = WorkerLab::new(2, settings);
    let served = Served::of(&lab);
    lab.submit(4);
    let (stay, known) = (Latch::default(), Arc::new(OnceLock::<Arc<Board>>::new()));
    let (held, board) = (stay.clone(), Arc::clone(&known));
    // The first machine's first job stays at a segment; the other machine does all other jobs, and none before that.
    let worker = lab.start_by(SEGMENTS, move |job, segment, stop| {
        let firsts = loop {
            let held = board.get().and_then(|board| board.read().first().and_then(|place| place.held));
            match held {
                Some((firsts, _)) => break firsts,
                None => stop.check()?,
            }
            std::thread::yield_now();
        };
        if firsts == job && segment >= STAYS_AT {
            held.wait_or_stop(stop)?;
        }
        Ok(DONE)
    });
    known.get_or_init(|| worker.board());
    served.health.works(Arc::new(worker.vitals()));
    println!("{}", served.address);
    let inputs = worker.inputs();
    let leaf = || {
        let told = served.json("/machine.json");
        told.pointer("/machines/0/leaf").and_then(|leaf| leaf.as_str()).unwrap_or_default().to_owned()
    };
    let mut states = ["Processing", "Finishing", "Releasing", "Exited"].into_iter();
    for line in stdin().lock().lines() {
        line.unwrap();
        let state = states.next().unwrap_or_default();
        match state {
            "Processing" => lab.until("three jobs", || lab.metrics.jobs_completed.get() == 3),
            "Finishing" => {
                lab.gate(Gate::Held);
                inputs.send(&signal(Signal::Term));
            }
            "Releasing" => inputs.send(&Input::Drain(Mode::Abort)),
            "Exited" => lab.gate(Gate::Open),
            _ => {}
        }
        lab.until(state, || state.is_empty() || leaf() == state);
        println!("{state}");
    }
}
