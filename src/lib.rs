//! Converts robot recordings into LeRobot v3.0 datasets, on one machine or on a fleet that comes and goes.

pub mod convert;
pub mod error;
pub mod lerobot;
pub mod queue;
pub mod storage;
pub mod store;
pub mod work;

pub use roboflow_fsm as fsm;
