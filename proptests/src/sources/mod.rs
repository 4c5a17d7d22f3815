//! Recordings of one content in every format that is read, and what each format keeps of it.
//!
//! The writers share no code with the readers: MCAP by the `mcap` crate, SQLite by `rusqlite`, bags and message bytes by hand.

mod bodies;
mod files;

pub use bodies::Encoding;
pub use files::{Database, bag, database, folder_metadata, mcap_file};

use std::collections::BTreeMap;

/// The topics of all content.
pub const TOPICS: [&str; 3] = ["/arm/joints", "/camera", "joints"];
/// Which of them is a camera.
pub const CAMERA: usize = 1;

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Of a joint state: names and positions.
    Joints(Vec<(String, f64)>),
    /// Of a compressed image: its bytes.
    Picture(Vec<u8>),
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which of [`TOPICS`].
    pub topic: usize,
    /// When it was recorded, in ns.
    pub log_ns: u64,
    /// When it was published, in ns.
    pub publish_ns: u64,
    /// Its own stamp, in ns.
    pub stamp_ns: u64,
    /// What it says.
    pub body: Body,
}

/// A recording as files: keys below its place, with their bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A format, with how it is written.
#[derive(Clone, Copy)]
pub struct Format {
    /// What it is called in messages.
    pub name: &'static str,
    /// Its messages' encoding.
    pub encoding: Encoding,
    /// The key that it is opened by.
    pub key: &'static str,
    /// Whether it keeps the time of publishing; otherwise that is the log time.
    pub keeps_publish: bool,
    /// Whether messages are found without reading them.
    pub indexed: bool,
    /// Writes messages in this order.
    pub write: fn(&[Sample]) -> Files,
    /// What a file that ends too soon does.
    pub cut: Cut,
}

/// What becomes of a file that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its first messages are read.
    Prefix,
    /// It is refused.
    Refused,
}

/// All formats.
pub const FORMATS: &[Format] = &[
    Format {
        name: "MCAP, CDR, zstd",
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Cdr, samples, &files::zstd())),
        ..MCAP
    },
    Format {
        name: "MCAP, CDR, lz4",
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Cdr, samples, &files::lz4())),
        ..MCAP
    },
    Format {
        name: "MCAP, ROS 1",
        encoding: Encoding::Ros1,
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Ros1, samples, &files::plain())),
        ..MCAP
    },
    Format {
        name: "MCAP, JSON",
        encoding: Encoding::Json,
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Json, samples, &files::zstd())),
        ..MCAP
    },
    Format {
        name: "MCAP, Protobuf",
        encoding: Encoding::Protobuf,
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Protobuf, samples, &files::zstd())),
        ..MCAP
    },
    Format {
        name: "MCAP without chunks",
        indexed: false,
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Cdr, samples, &files::loose())),
        ..MCAP
    },
    Format {
        name: "MCAP without a summary",
        indexed: false,
        write: |samples| files::one("r.mcap", mcap_file(Encoding::Cdr, samples, &files::no_summary())),
        ..MCAP
    },
    Format {
        name: "bag",
        encoding: Encoding::Ros1,
        key: "r.bag",
        keeps_publish: false,
        write: |samples| files::one("r.bag", bag(samples, true)),
        ..MCAP
    },
    Format {
        name: "bag without its index",
        encoding: Encoding::Ros1,
        key: "r.bag",
        keeps_publish: false,
        indexed: false,
        write: |samples| files::one("r.bag", bag(samples, false)),
        ..MCAP
    },
    Format {
        name: "SQLite, schema 4",
        key: "r.db3",
        keeps_publish: false,
        write: |samples| files::one("r.db3", database(samples, Database { schema: 4, page_bytes: 4096 })),
        cut: Cut::Refused,
        ..MCAP
    },
    Format {
        name: "SQLite, schema 1",
        key: "r.db3",
        keeps_publish: false,
        write: |samples| files::one("r.db3", database(samples, Database { schema: 1, page_bytes: 512 })),
        cut: Cut::Refused,
        ..MCAP
    },
    Format {
        name: "folder of MCAP",
        key: "run/metadata.yaml",
        write: |samples| files::folder(samples, "mcap"),
        ..MCAP
    },
    Format {
        name: "folder of SQLite",
        key: "run/metadata.yaml",
        keeps_publish: false,
        write: |samples| files::folder(samples, "db3"),
        cut: Cut::Refused,
        ..MCAP
    },
];

const MCAP: Format = Format {
    name: "",
    encoding: Encoding::Cdr,
    key: "r.mcap",
    keeps_publish: true,
    indexed: true,
    write: |_| Files::new(),
    cut: Cut::Prefix,
};

/// Content that is the same for the same seed: unsorted times, equal stamps, pictures over many pages.
pub fn content(seed: u64, messages: usize) -> Vec<Sample> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below.max(1)
    };
    let mut samples = Vec::with_capacity(messages);
    for number in 0..messages as u64 {
        let topic = if number < TOPICS.len() as u64 { number as usize } else { next(3) as usize };
        // Late by up to 30 of their places, and some at one instant.
        let log_ns = 1_700_000_000_000_000_000 + (number + next(30)) / 2 * 1_000_003;
        let body = if topic == CAMERA {
            let sizes = [0, 1, 400, 5_000, 40_000];
            let len = sizes.get(next(5) as usize).copied().unwrap_or(0) + next(97);
            Body::Picture((0..len).map(|_| next(256) as u8).collect())
        } else {
            let joints = 1 + next(7);
            Body::Joints(
                (0..joints).map(|joint| (format!("j{joint}"), next(1 << 40) as f64 / 1e6 - 5e5)).collect(),
            )
        };
        samples.push(Sample {
            topic,
            log_ns,
            publish_ns: log_ns - next(50_000),
            stamp_ns: log_ns - 1_000_000 - next(5_000_000),
            body,
        });
    }
    samples
}
