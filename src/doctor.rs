//! The checks of `roboflow doctor`: whether what a worker needs is there, each with what to do where it is not.
//!
//! Each check stands alone, changes nothing that outlasts it, and never takes longer than its limits. It prints nothing.

use crate::convert::video;
use crate::grace::GraceSettings;
use crate::pod::{OwnPod, PodError, PodTime};
use crate::readable;
use crate::storage::{Places, SharedStorage, StorageError};
use crate::store::{StoreError, StorePlace};
use crate::work::StopFlag;
use roboflow_fsm::Settings;
use rustix::process::{Resource, getrlimit};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that is further from the store's than this is wrong: leases do not mind, logs and S3's signatures do.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);
/// A store whose transactions take longer is too far away for leases of a few seconds.
pub const STORE_SLOW: Duration = Duration::from_millis(500);
/// Files and sockets that a worker has open at once, with room.
pub const FILES_MIN: u64 = 1_024;
/// Room for the queue's file, and for what an encoder leaves for a moment.
pub const DISK_MIN_BYTES: u64 = 1 << 30;
/// How long the API server may take.
const POD_LIMIT: Duration = Duration::from_secs(5);

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It is as it should be.
    Ok,
    /// It is not asked for here.
    Skipped,
    /// It works, and may not for long.
    Warning,
    /// It does not work.
    Bad,
}

/// One check's outcome.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub health: Health,
    /// What was seen.
    pub seen: String,
    /// What to do, where there is something to do.
    pub todo: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, seen: seen.into(), todo: None }
    }

    fn skipped(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, health: Health::Skipped, seen: seen.into(), todo: None }
    }

    fn warning(check: &'static str, seen: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, health: Health::Warning, seen: seen.into(), todo: Some(todo.into()) }
    }

    fn bad(check: &'static str, seen: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, health: Health::Bad, seen: seen.into(), todo: Some(todo.into()) }
    }
}

/// Whether the store answers, how fast, and what its clock says. A file's clock is this host's own.
pub async fn store(place: &StorePlace) -> Vec<Finding> {
    if place.missing_file().is_some() {
        let todo = "'roboflow run' makes one below its --out, 'roboflow submit' makes one where it is told";
        return vec![Finding::bad("store", format!("{place}: there is no queue here"), todo)];
    }
    let begun = Instant::now();
    let read = async {
        let store = place.open().await?;
        let opened = begun.elapsed();
        let asked = Instant::now();
        let mut txn = store.begin().await?;
        txn.get(b"roboflow-doctor").await?;
        Ok::<_, StoreError>((txn.now().0, opened, asked.elapsed()))
    };
    match read.await {
        Err(error) => vec![Finding::bad(
            "store",
            format!("{place}: {error}"),
            "is the address right, does it run, and may this host reach it?",
        )],
        Ok((now_ms, opened, took)) => {
            let seen = format!(
                "{place}: connected in {} ms, a transaction takes {:.1} ms",
                opened.as_millis(),
                took.as_secs_f64() * 1e3
            );
            let reached = if took > STORE_SLOW {
                Finding::warning(
                    "store",
                    seen,
                    "put the workers near it: leases are renewed every few seconds",
                )
            } else {
                Finding::ok("store", seen)
            };
            vec![reached, clock(place, now_ms)]
        }
    }
}

fn clock(place: &StorePlace, store_ms: u64) -> Finding {
    const CHECK: &str = "clock";
    if matches!(place, StorePlace::Sqlite { .. }) {
        return Finding::skipped(CHECK, "the queue is a file: its clock is this host's");
    }
    let own_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let off_ms = own_ms.abs_diff(u128::from(store_ms));
    let seen = format!("{off_ms} ms from the store's");
    if off_ms > CLOCK_OFF_MAX.as_millis() {
        Finding::bad(
            CHECK,
            seen,
            "set this host's clock (NTP): object storage refuses what is signed at a wrong time",
        )
    } else {
        Finding::ok(CHECK, seen)
    }
}

/// Whether the recordings can be listed and one read.
pub fn input(places: &Places, url: &str) -> Finding {
    const CHECK: &str = "input";
    let tried = || -> Result<String, StorageError> {
        let place = places.open(url, &StopFlag::default())?;
        let first = place.list("")?.next().transpose()?;
        let Some(first) = first else {
            return Ok(format!("{}: it can be listed, and is empty", place.location()));
        };
        let bytes = place.read_at(&first, 0, 1)?;
        let key = readable::name(&first.key);
        Ok(format!("{}: listed, and {} byte of {key} read", place.location(), bytes.len()))
    };
    tried().map_or_else(
        |error| {
            Finding::bad(
                CHECK,
                error.to_string(),
                "check the URL, the credentials and their right to list and get",
            )
        },
        |seen| Finding::ok(CHECK, seen),
    )
}

/// Whether an object can be written, read and removed where datasets go.
pub fn output(places: &Places, url: &str) -> Finding {
    const CHECK: &str = "output";
    let key = format!(".roboflow-doctor-{}", uuid::Uuid::new_v4().simple());
    let tried = |place: &SharedStorage| -> Result<(), StorageError> {
        place.put(&key, b"doctor")?;
        place.read(&key, 64)?;
        place.delete(&key)
    };
    let todo = "check the URL, the credentials and their right to put, get and delete";
    match places.open(url, &StopFlag::default()) {
        Err(error) => Finding::bad(CHECK, error.to_string(), todo),
        Ok(place) => match tried(&place) {
            Ok(()) => {
                Finding::ok(CHECK, format!("{}: an object was written, read and removed", place.location()))
            }
            Err(error) => {
                // Whatever was written must not stay.
                place.delete(&key).ok();
                Finding::bad(CHECK, error.to_string(), todo)
            }
        },
    }
}

/// Whether the pod's real grace holds the force deadline.
pub async fn grace(
    pod: Result<Option<OwnPod>, PodError>,
    set: &GraceSettings,
    machine: &Settings,
) -> Finding {
    const CHECK: &str = "grace";
    let pod = match pod {
        Err(error) => {
            return Finding::bad(CHECK, error.to_string(), "see deploy/base for the service account");
        }
        Ok(None) => {
            return match set.check(machine) {
                Err(error) => Finding::bad(CHECK, error.to_string(), "see deploy/README.md, on grace"),
                Ok(()) => Finding::skipped(CHECK, "this is no pod, or one without a service account's token"),
            };
        }
        Ok(Some(pod)) => pod,
    };
    match pod.time(POD_LIMIT).await {
        Err(error) => Finding::bad(
            CHECK,
            error.to_string(),
            "let the service account get its own pod, or give --grace: else a stop may be cut short unseen",
        ),
        Ok(PodTime { grace, .. }) => {
            let real = GraceSettings { grace, ..*set };
            match real.check(machine) {
                Ok(()) => {
                    let seconds =
                        grace.map_or("not said".to_owned(), |grace| format!("{} s", grace.as_secs()));
                    Finding::ok(CHECK, format!("{}: {seconds}", pod.shown()))
                }
                Err(error) => Finding::warning(
                    CHECK,
                    error.to_string(),
                    "as it is, a stop is cut to what the pod has left: segments are thrown away that could have been kept",
                ),
            }
        }
    }
}

/// Whether there is room where this host's files go.
pub fn disk(path: &Path) -> Finding {
    const CHECK: &str = "disk";
    match rustix::fs::statvfs(path) {
        Err(error) => {
            Finding::bad(CHECK, format!("{}: {error}", path.display()), "give a folder that is there")
        }
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let seen = format!("{}: {} free", path.display(), readable::bytes(free));
            if free < DISK_MIN_BYTES {
                Finding::warning(CHECK, seen, "make room: at least 1 GB")
            } else {
                Finding::ok(CHECK, seen)
            }
        }
    }
}

/// Whether the encoder of videos that is part of this program has its vector code.
pub fn encoder() -> Finding {
    const CHECK: &str = "encoder";
    match video::Code::find() {
        Err(error) => Finding::bad(CHECK, error, "this program is damaged: build or fetch it anew"),
        Ok(code) => {
            let seen = format!("openh264 with {code}");
            if code == video::Code::Plain {
                Finding::warning(
                    CHECK,
                    seen,
                    "videos take two to three times as long: install nasm, 'cargo clean -p openh264-sys2', and build again",
                )
            } else {
                Finding::ok(CHECK, seen)
            }
        }
    }
}

/// Whether this process may have enough files open.
pub fn limits() -> Finding {
    const CHECK: &str = "limits";
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(files) if files < FILES_MIN => Finding::bad(
            CHECK,
            format!("{files} open files"),
            format!("raise the limit (ulimit -n) to {FILES_MIN}"),
        ),
        Some(files) => Finding::ok(CHECK, format!("{files} open files")),
        None => Finding::ok(CHECK, "no limit of open files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::s3::S3Options;

    fn places() -> Places {
        Places::new(S3Options::default())
    }

    #[tokio::test]
    async fn a_store_that_is_there_is_well_and_one_that_cannot_be_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = |path: std::path::PathBuf| StorePlace::Sqlite { path, durability: Default::default() };
        place(folder.path().join("queue.db")).open().await.unwrap();
        let found = store(&place(folder.path().join("queue.db"))).await;
        assert_eq!(
            found.iter().map(|f| f.health).collect::<Vec<_>>(),
            [Health::Ok, Health::Skipped],
            "{found:?}"
        );
        let found = store(&place(folder.path().join("other.db"))).await;
        assert_eq!((found.len(), found[0].health), (1, Health::Bad), "{found:?}");
        assert!(!folder.path().join("other.db").exists(), "a look makes nothing");
    }

    #[test]
    fn a_clock_that_is_off_is_bad() {
        let cluster = StorePlace::Tikv(crate::store::TikvOptions {
            endpoints: vec!["pd:1".to_owned()],
            tls: None,
            request_timeout: Duration::from_secs(1),
            connect_within: Duration::from_secs(1),
        });
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        assert_eq!(clock(&cluster, now).health, Health::Ok);
        for off in [now - 61_000, now + 70_000] {
            assert_eq!(clock(&cluster, off).health, Health::Bad);
        }
    }

    #[test]
    fn places_are_tried_and_left_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().display().to_string();
        assert_eq!(input(&places(), &url).health, Health::Ok);
        let found = output(&places(), &url);
        assert_eq!(found.health, Health::Ok, "{found:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        std::fs::write(folder.path().join("a.mcap"), "x").unwrap();
        assert!(input(&places(), &url).seen.contains("a.mcap"));
        let file = folder.path().join("a.mcap").join("below").display().to_string();
        let found = output(&places(), &file);
        assert_eq!(found.health, Health::Bad, "{found:?}");
        assert!(found.todo.unwrap().contains("put"));
    }

    #[tokio::test]
    async fn the_grace_is_judged_without_a_pod_too() {
        let machine = Settings::default();
        let none = grace(Ok(None), &GraceSettings::default(), &machine).await;
        assert_eq!(none.health, Health::Skipped);
        let short = GraceSettings { grace: Some(Duration::from_secs(5)), ..GraceSettings::default() };
        let found = grace(Ok(None), &short, &machine).await;
        assert!(found.health == Health::Bad && found.seen.contains("does not fit"), "{found:?}");
    }

    #[test]
    fn the_host_is_looked_at() {
        assert!(disk(Path::new("/")).seen.contains("free"));
        assert_eq!(disk(Path::new("/no/such/folder")).health, Health::Bad);
        assert!(limits().seen.contains("open files"));
        let encoder = encoder();
        assert!(encoder.seen.starts_with("openh264 with "), "{encoder:?}");
        assert_eq!(encoder.todo.is_some(), encoder.health != Health::Ok, "{encoder:?}");
    }
}
