//! Random sequences of steps of several workers and two scanners, with crashes, expiries, pauses, unknown commits, cancels
//! and retries: the queue against a plain model, and Q1–Q4 over the whole keyspace after every step.
//!
//! `SEED=` replays a run, `CASES=` sets how many sequences are tried.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test at once")]

use proptest_state_machine::{StateMachineTest, prop_state_machine};
use roboflow_proptests::queue_driver::Driver;
use roboflow_proptests::queue_plan::{Plan, config};
use roboflow_proptests::queue_step::{Chance, Step};

struct OnMemory;

impl StateMachineTest for OnMemory {
    type SystemUnderTest = Driver;
    type Reference = Plan;

    fn init_test(_plan: &Plan) -> Driver {
        Driver::memory()
    }

    fn apply(mut driver: Driver, _plan: &Plan, (step, chance): (Step, Chance)) -> Driver {
        driver.step(step, chance);
        driver
    }

    fn teardown(driver: Driver, _plan: Plan) {
        driver.finish();
    }
}

struct OnSqlite;

/// A driver and the folder its file lies in.
type InFolder = (Driver, tempfile::TempDir);

impl StateMachineTest for OnSqlite {
    type SystemUnderTest = InFolder;
    type Reference = Plan;

    fn init_test(_plan: &Plan) -> InFolder {
        let folder = tempfile::tempdir().unwrap();
        (Driver::sqlite(&folder.path().join("queue.db")), folder)
    }

    fn apply((mut driver, folder): InFolder, _plan: &Plan, (step, chance): (Step, Chance)) -> InFolder {
        driver.step(step, chance);
        (driver, folder)
    }

    fn teardown((driver, _folder): InFolder, _plan: Plan) {
        driver.finish();
    }
}

prop_state_machine! {
    #![proptest_config(config(200))]

    #[test]
    fn the_queue_is_as_the_model_under_faults(sequential 1..120 => OnMemory);
}

prop_state_machine! {
    #![proptest_config(config(12))]

    #[test]
    fn the_queue_on_two_handles_of_one_file_is_as_the_model(sequential 1..80 => OnSqlite);
}
