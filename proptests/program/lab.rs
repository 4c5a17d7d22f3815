//! A folder with recordings, the program, and what the tests ask of them again and again.

use roboflow_proptests::program::{Ended, Program, Running};
use roboflow_proptests::recording::Robot;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The program that this package builds.
pub(crate) fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_roboflow"))
}

/// A folder of its own for one test.
pub(crate) struct Lab {
    folder: TempDir,
    pub(crate) program: Program,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), program: program() }
    }

    /// With some recordings in `in/`.
    pub(crate) fn with(recordings: usize, robot: &Robot) -> Self {
        let lab = Self::new();
        std::fs::create_dir(lab.path("in")).unwrap();
        for number in 0..recordings {
            let robot = Robot { seed: number as u64 + 1, ..robot.clone() };
            robot.write(&lab.path(&format!("in/r{number}.mcap")));
        }
        lab
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `roboflow` with these arguments, separated by blanks.
    pub(crate) fn start(&self, arguments: &str) -> Running {
        self.program.start(self.folder(), arguments.split_whitespace())
    }

    /// Runs `roboflow` with these arguments, separated by blanks.
    pub(crate) fn run(&self, arguments: &str) -> Ended {
        self.start(arguments).wait()
    }

    /// What `jobs list` gives for an output.
    pub(crate) fn jobs(&self, out: &str) -> Vec<Value> {
        listed(&self.run(&format!("jobs list --out {out} --json")))
    }
}

/// The jobs that a `jobs list --json` gave.
pub(crate) fn listed(ended: &Ended) -> Vec<Value> {
    ended.expect_code(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// A recording that takes seconds to convert in a build without optimisation.
pub(crate) fn long() -> Robot {
    Robot { seconds: 400.0, joint_rate: 60.0, cameras: 0, ..Robot::default() }
}

/// A recording that takes a blink.
pub(crate) fn short() -> Robot {
    Robot { seconds: 5.0, ..Robot::default() }
}
