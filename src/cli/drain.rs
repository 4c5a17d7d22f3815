//! `roboflow drain`: asks a worker or scanner to stop, over its HTTP surface, and waits for it if told to.

use super::duration::Millis;
use super::exit::{Code, Failure, OrExit, Outcome};
use super::http::AskArgs;
use super::output;
use crate::http::client::{self, Answer, Place};
use crate::http::guard::read_token;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

const AFTER_HELP: &str = "\
Examples:
  roboflow drain --wait                              (the worker on this host: finishes its jobs, then exits)
  roboflow drain --mode interrupt --port 8081
  roboflow drain --url http://worker-0:8080 --admin-token-file token
  roboflow drain --socket /run/roboflow/admin.sock --wait --timeout 5m

It is the same as SIGUSR1 (finish), or, with interrupt, as SIGTERM without waiting for a job that would fit.";

/// Between two looks whether it is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// So many looks in a row without an answer mean that it is gone; one may only mean that its host is busy.
const SILENT_LOOKS: u32 = 3;

/// How hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DrainMode {
    /// Finish the jobs in hand, however long that takes
    Finish,
    /// Stop at the next boundary of a segment, and hand the jobs back
    Interrupt,
}

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DrainArgs {
    /// How hard
    #[arg(long, value_enum, default_value = "finish")]
    mode: DrainMode,
    #[command(flatten)]
    ask: AskArgs,
    /// Show the token in this file: needed unless it is on this host
    #[arg(long, value_name = "FILE", env = "ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// Wait until the process is gone
    #[arg(long)]
    wait: bool,
    /// Wait at most so long [default: as long as it takes]
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<Millis>,
}

pub(super) fn run(args: &DrainArgs) -> Outcome {
    let place = args.ask.place()?;
    let token = args.admin_token_file.as_deref().map(|path| {
        let read = read_token(path)
            .and_then(|token| String::from_utf8(token).map_err(|_| "it holds no token".to_owned()));
        read.map_err(|why| {
            Failure::new(Code::Config, format!("--admin-token-file {}: {why}", path.display()))
        })
    });
    let token = token.transpose()?;
    let path = match args.mode {
        DrainMode::Finish => "/drain",
        DrainMode::Interrupt => "/drain?mode=interrupt",
    };
    let began = Instant::now();
    let answer = client::ask(&place, "POST", path, token.as_deref(), ANSWER_LIMIT)
        .map_err(|error| anyhow::Error::new(error).context(format!("{place} does not answer")))
        .or_exit(Code::Io)?;
    let text = answer.body.trim_end();
    let instance = match answer.status {
        202 => instance(&answer),
        401 | 403 => return Err(Failure::new(Code::Config, format!("{place} refuses: {text}"))),
        status => return Err(Failure::new(Code::Io, format!("{place} says {status}: {text}"))),
    };
    output::notice(&format!("{place} drains"));
    if args.wait {
        let limit = args.timeout.map(|limit| Duration::from_millis(limit.0));
        wait(&place, instance.as_deref(), began, limit)?;
        output::notice(&format!("{place} is gone after {:.1} s", began.elapsed().as_secs_f64()));
    }
    Ok(Code::Ok)
}

fn instance(answer: &Answer) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    answer.get("instance")?.as_str().map(str::to_owned)
}

/// Waits until nobody answers there, or somebody else does.
fn wait(place: &Place, drained: Option<&str>, began: Instant, limit: Option<Duration>) -> Outcome<()> {
    let mut silent = 0;
    while silent < SILENT_LOOKS {
        if let Some(limit) = limit.filter(|limit| began.elapsed() >= *limit) {
            let text =
                format!("{place} still drains after {:.1} s; it goes on by itself", limit.as_secs_f64());
            return Err(Failure::new(Code::No, text));
        }
        match client::ask(place, "GET", "/health", None, ANSWER_LIMIT) {
            Ok(answer) if drained.is_some() && instance(&answer).as_deref() != drained => return Ok(()),
            Ok(_) => silent = 0,
            Err(_) => silent += 1,
        }
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}
