//! The program's entry point: the handlers, the command, the exit code.

use roboflow::{cli, signal};
use std::process::ExitCode;

fn main() -> ExitCode {
    let handlers = ctrlc::set_handler(|| signal::BELL.ring());
    cli::main(handlers)
}
