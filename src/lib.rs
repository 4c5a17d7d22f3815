//! Converts robot recordings into LeRobot v3.0 datasets, on one machine or on a fleet that comes and goes.
//!
//! # Bird's eye
//! A recording becomes a job on a queue. A worker claims it, converts it segment by segment, checkpoints each durable
//! segment, and completes it; when a batch's recordings are done, one more job assembles the dataset. What a worker does
//! next is decided by a pure state machine; everything else carries out what that decided.
//!
//! ```text
//! signals · lease · timers · answers        ┌──────── roboflow-fsm (no_std, pure) ────────┐
//!        └──── Event ──▶ driver ──────────▶ │ step(&mut Machine, Event) -> Effects        │
//!                          ▲                └──────────────────┬──────────────────────────┘
//!                          │ answer                            ▼ effects, as data
//!                          └──────────────────────── executor (one match)
//!                                                    queue ▶ store {sqlite, tikv, memory}
//!                                                    convert, lerobot ▶ storage {fs, s3, memory}
//! ```
//!
//! # Where to begin
//! - `main.rs`, then [`cli::main`]: the process from its first statement to its exit code.
//! - [`driver::Driver`]: one machine's loop. [`executor::Executor::execute`]: what each effect does.
//! - [`worker::Worker`]: the threads of a process, and why each is there.
//! - [`run::run`]: the command that people try first, built from the same parts.
//!
//! # Map
//! | module | is | Architecture Invariant |
//! |---|---|---|
//! | [`fsm`] | the machine | no IO, clock, chance, threads, runtime or logging |
//! | [`signal`] | the stream of signals | with `main.rs` alone in touching signals; decides nothing |
//! | [`driver`] | a machine's loop | the only caller of `step`; decides nothing |
//! | [`executor`] | effects carried out | the only IO for an effect; each request answered exactly once |
//! | [`worker`] | a process's threads | shutdown is a parameter; never reads a signal |
//! | [`worker::lease`] | renewals | own thread, runtime and store handle; stops only when nothing is owned |
//! | [`worker::watchdog`] | the last resort | needs no runtime, store or machine; the one place that ends the process |
//! | [`worker::conversion`] | a machine's converting thread | knows no queue, lease or signal |
//! | [`health`] | what a process tells of itself | read off what the drivers wrote in their steps; polls and remembers nothing |
//! | [`http`](mod@http) | the HTTP surface | own thread and runtime; touches no store, queue or storage; stops last |
//! | [`metrics`] | every metric | defined once; serves nothing |
//! | [`reaper`] | what any worker does for all | holds nothing |
//! | [`queue`] | jobs and their transactions | no engine, no clock but the store's, no conversion |
//! | [`store`] | transactional keys and values | no engine's name above it; knows no job |
//! | [`convert`] | recordings to segments | knows no queue, lease or signal |
//! | [`lerobot`] | the dataset's format | knows no recording, queue or signal |
//! | [`storage`] | objects under keys | knows nothing of what the bytes mean; no fall-back to another place |
//! | [`recordings`] | inputs to names | opens no recording; the same names wherever the recordings lie |
//! | [`submit`] | an output made a batch's own | writes two small objects, and nothing over anybody else's |
//! | [`batch`] | how far a batch is | touches no job but the assembly it opens |
//! | [`grace`] | how long a stop may take | only ever shortens a stop; begins none |
//! | [`pod`] | the own pod, read | one request, `get`; writes nothing |
//! | [`doctor`] | what a worker needs, tried | leaves nothing behind; puts nothing right |
//! | [`dataset`] | jobs opened as work | the one place that knows both jobs and conversion |
//! | [`session`] | opened in order, closed in order | the store is closed against the proof that all machines departed |
//! | [`scanner`] | new recordings to batches, and housekeeping | each write of a leader is compared with its term by the queue |
//! | [`run`] | the `run` command | nothing of its own: queue, worker and assembly as a fleet has them |
//! | [`bench`](mod@bench) | measurements of the `bench` commands | prints nothing, leaves nothing behind |
//! | [`readable`] | numbers and names for people | pure; what a recording names never steers a terminal |
//! | [`cli`] | what was typed | the only texts for errors (anyhow), the only writer of stdout |
//! | [`config`] | what was checked | opens nothing; refuses before anything is opened |
//! | [`traces`] | jobs as OpenTelemetry spans | derived from steps; nothing waits for it |
//! | [`translog`] | every step as JSON | no state is ever restored from it |

pub mod batch;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod convert;
pub mod dataset;
pub mod doctor;
pub mod driver;
pub mod error;
pub mod executor;
pub mod grace;
pub mod health;
pub mod http;
pub mod lerobot;
pub mod metrics;
pub mod pod;
pub mod queue;
pub mod readable;
pub mod reaper;
pub mod recipe;
pub mod recordings;
pub mod run;
pub mod scanner;
pub mod session;
pub mod signal;
pub mod storage;
pub mod store;
pub mod submit;
pub mod telemetry;
mod tls;
pub mod traces;
pub mod translog;
pub mod work;
pub mod worker;

pub use roboflow_fsm as fsm;
