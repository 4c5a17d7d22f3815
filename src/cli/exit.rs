//! What a command ends with: the exit codes, and an error that carries one.
//!
//! Errors become exit codes here and nowhere else.

use crate::error::{Class, Classified};
use crate::queue::QueueError;
use crate::recordings::InputError;
use crate::session::SessionError;
use crate::storage::StorageError;
use crate::worker::StartError;
use roboflow_fsm::effect::Exit;
use std::process::ExitCode;

/// The exit codes, after sysexits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: done, or drained with nothing left behind.
    Ok,
    /// 1: asked or looked, and the answer is no, or something was found wrong.
    No,
    /// 65: the recordings or the dataset are not what they should be.
    Data,
    /// 66: an input that is not there.
    NoInput,
    /// 70: a fault in this program.
    Fault,
    /// 73: an output that cannot be written, or is not ours.
    CannotCreate,
    /// 74: a store or storage that does not answer.
    Io,
    /// 75: something was left to its lease.
    LeftToLease,
    /// 78: settings that cannot be right, found before anything was opened.
    Config,
}

impl Code {
    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::No => 1,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::Fault => Exit::Fault.code(),
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::LeftToLease => Exit::LeftToLease.code(),
            Self::Config => 78,
        }
    }
}

impl From<Exit> for Code {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Clean => Self::Ok,
            Exit::LeftToLease => Self::LeftToLease,
            Exit::Fault => Self::Fault,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// Why a command did not do what it was asked, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// The error, with its context.
    pub error: anyhow::Error,
}

/// What a command gives back.
pub type Outcome<T = Code> = Result<T, Failure>;

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// The same result, whose error carries this code.
    fn or_exit(self, code: Code) -> Outcome<T>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, code: Code) -> Outcome<T> {
        self.map_err(|error| Failure { code, error: error.into() })
    }
}

impl Failure {
    /// A failure from a sentence.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, error: anyhow::Error::msg(text.into()) }
    }
}

/// The exit code of what a queue refuses or fails at.
pub fn queue_failure(error: QueueError) -> Failure {
    let code = match error {
        QueueError::NotFound { .. } => Code::NoInput,
        QueueError::Refused { .. } => Code::Data,
        _ => Code::Io,
    };
    Failure { code, error: error.into() }
}

/// The exit code of a place that could not be used: `otherwise`, unless it did not answer.
pub fn storage_code(error: &StorageError, otherwise: Code) -> Code {
    match error.class() {
        Class::Transient => Code::Io,
        Class::Permanent | Class::Lost => otherwise,
    }
}

/// The exit code of recordings that could not be found.
pub fn input_failure(error: InputError) -> Failure {
    let code = match &error {
        InputError::Storage(error) => storage_code(error, Code::NoInput),
        InputError::Outside { .. } | InputError::Apart { .. } => Code::Config,
        _ => Code::NoInput,
    };
    Failure { code, error: error.into() }
}

/// The exit code of a session that could not be opened.
pub fn session_failure(error: SessionError) -> Failure {
    let code = match error {
        SessionError::Missing { .. } => Code::NoInput,
        SessionError::Start(StartError::Translog(_)) => Code::CannotCreate,
        SessionError::Store(_) => Code::Io,
        SessionError::Runtime(_) | SessionError::Start(StartError::Thread(_)) => Code::Fault,
    };
    Failure { code, error: error.into() }
}
