//! The queue's property tests on the cluster: two handles, each with its own client, and keys in all regions.
//!
//! The cluster meets no faults here; those have tests of their own.

use super::{alone, connect, options};
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use roboflow_proptests::dev_cluster::DevCluster;
use roboflow_proptests::queue_driver::Driver;
use roboflow_proptests::queue_plan::{Plan, config};
use roboflow_proptests::queue_step::{Chance, Step};
use roboflow_proptests::spread_store::Spread;
use std::sync::MutexGuard;

struct OnCluster;

impl StateMachineTest for OnCluster {
    type SystemUnderTest = (Driver, MutexGuard<'static, ()>);
    type Reference = Plan;

    fn init_test(_plan: &Plan) -> Self::SystemUnderTest {
        let cluster = DevCluster::from_env();
        let alone = alone(&cluster);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = options(&cluster);
        let spread = Spread::new("roboflow/");
        let handle = || spread.over(runtime.block_on(connect(&options)));
        let handles = vec![handle(), handle()];
        (Driver::handles(runtime, handles), alone)
    }

    fn apply(
        (mut driver, alone): Self::SystemUnderTest,
        _plan: &Plan,
        (step, chance): (Step, Chance),
    ) -> Self::SystemUnderTest {
        driver.step(step, chance);
        (driver, alone)
    }

    fn teardown((driver, _alone): Self::SystemUnderTest, _plan: Plan) {
        driver.finish();
    }
}

prop_state_machine! {
    #![proptest_config(config(4))]

    #[test]
    fn the_queue_on_the_cluster_is_as_the_model(sequential 1..60 => OnCluster);
}
