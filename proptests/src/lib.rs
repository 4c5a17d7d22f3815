//! Simulator, fault injection and models that the tests of this crate share.
//!
//! It holds no tests itself, and nothing of the product.

pub mod api_server;
pub mod collector;
pub mod dev_cluster;
pub mod dying_storage;
pub mod fleet;
pub mod fleet_storm;
pub mod http_proxy;
pub mod manual_clock;
pub mod plain_s3;
pub mod program;
pub mod queue_bench;
pub mod queue_driver;
pub mod queue_model;
pub mod queue_plan;
pub mod queue_step;
pub mod reckoning;
pub mod recording;
pub mod recordings;
pub mod rewrite;
pub mod scan_lab;
pub mod source_contract;
pub mod sources;
pub mod spread_store;
pub mod staged_episodes;
pub mod storage_contract;
pub mod store_contract;
pub mod storm;
pub mod surface;
pub mod tcp_proxy;
pub mod timings;
pub mod worker_lab;
