//! What an error of the client means. The one place that decides it.
//!
//! # Out of `commit`
//! A commit locks all its keys (prewrite), takes a timestamp, and commits the first key, which decides for all. The error
//! does not say which step it comes from, so each kind is judged by what it can come from at worst:
//!
//! | error | worst case | so |
//! |---|---|---|
//! | key error: conflict, locked, retryable, deadlock, already exists, transaction or commit time refused | the lock of the first key is gone without a commit | not committed |
//! | lock not resolved in time, other transaction not found | another's lock stood in the way of the prewrite; committing a key of one's own meets none | not committed |
//! | cannot connect (`Grpc`) | of the deciding request the client says `UndeterminedError` instead | not committed |
//! | undetermined | the deciding request was sent | unknown |
//! | request failed or too late (`GrpcAPI`) | the deciding request was sent and the answer lost | unknown |
//! | region error | the deciding request was sent, its answer lost, and the repetition met a region that moved | unknown |
//! | key error: abort only | the store's own failure, which may have come after the deciding write | unknown |
//! | any other, and no answer in time | anything | unknown |
//!
//! `Not committed` is never committed later either: only this client commits the deciding key, and it has given up. That
//! is why its locks may be rolled back. After an unknown outcome nothing is rolled back: half of a commit could be lost.
//!
//! # Out of reads
//! Reading changes nothing, so a read is tried again, whatever the error is. What differs is whether the client itself may
//! be what is broken.

use tikv_client::{Error, ProtoKeyError};

/// What became of a commit that ended with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not committed, and never will be: another transaction was in the way.
    Conflict,
    /// Not committed, and never will be: a store or the placement driver could not be reached.
    Unreachable,
    /// Nobody knows.
    Unknown,
}

/// What became of a commit that ended with this error.
pub(super) fn of_commit(error: &Error) -> Fate {
    match error {
        Error::KeyError(error) if is_definite(error) => Fate::Conflict,
        Error::ResolveLockError(_) | Error::TxnNotFound(_) => Fate::Conflict,
        Error::Grpc(_) => Fate::Unreachable,
        // Regions are locked side by side, and one that refuses is enough. The deciding key stands alone in its request.
        Error::ExtractedErrors(errors) | Error::MultipleKeyErrors(errors) => {
            let fates = || errors.iter().map(of_commit);
            if fates().any(|fate| fate == Fate::Conflict) {
                Fate::Conflict
            } else if fates().any(|fate| fate == Fate::Unreachable) {
                Fate::Unreachable
            } else {
                Fate::Unknown
            }
        }
        _ => Fate::Unknown,
    }
}

/// Whether a key's error says what became of the key. An abort is the store's own failure, at any point.
fn is_definite(error: &ProtoKeyError) -> bool {
    error.locked.is_some()
        || error.conflict.is_some()
        || error.already_exist.is_some()
        || error.deadlock.is_some()
        || error.commit_ts_expired.is_some()
        || error.commit_ts_too_large.is_some()
        || error.txn_not_found.is_some()
        || !error.retryable.is_empty()
}

/// Whether a new client could do better: not when the stores answered, and it was locks or regions that were in the way.
pub(super) fn is_of_the_client(error: &Error) -> bool {
    match error {
        Error::KeyError(_) | Error::ResolveLockError(_) | Error::TxnNotFound(_) | Error::RegionError(_) => {
            false
        }
        Error::ExtractedErrors(errors) | Error::MultipleKeyErrors(errors) => {
            errors.iter().any(is_of_the_client)
        }
        _ => true,
    }
}

/// The start of the transaction of which the store says that there is none, although it has a lock of it.
pub(super) fn orphan(error: &Error) -> Option<u64> {
    match error {
        Error::TxnNotFound(missing) => Some(missing.start_ts),
        Error::KeyError(error) => error.txn_not_found.as_ref().map(|missing| missing.start_ts),
        Error::ExtractedErrors(errors) | Error::MultipleKeyErrors(errors) => errors.iter().find_map(orphan),
        _ => None,
    }
}

/// The longest text of an error, in bytes: some of the client's print whole requests.
const TEXT_MAX_BYTES: usize = 300;

/// The error in words, of bounded length.
pub(super) fn text(error: &Error) -> String {
    let text = match error {
        Error::ResolveLockError(locks) => {
            let by: Vec<_> = locks.iter().take(3).map(|lock| lock.lock_version.to_string()).collect();
            format!("keys stay locked by other transactions ({})", by.join(", "))
        }
        Error::GrpcAPI(status) => format!("{}: {}", status.code(), status.message()),
        // Its own text is only "transport error"; what happened is behind it.
        Error::Grpc(error) => format!("a store cannot be reached: {}", with_causes(error)),
        error => error.to_string(),
    };
    if text.len() <= TEXT_MAX_BYTES {
        return text;
    }
    format!("{}…", text.get(..text.floor_char_boundary(TEXT_MAX_BYTES)).unwrap_or_default())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_error(change: impl FnOnce(&mut ProtoKeyError)) -> Error {
        let mut error = ProtoKeyError::default();
        change(&mut error);
        Error::KeyError(Box::new(error))
    }

    fn conflict() -> Error {
        key_error(|error| error.conflict = Some(Default::default()))
    }

    fn region_error() -> Error {
        Error::RegionError(Box::default())
    }

    fn lost_answer() -> Error {
        Error::GrpcAPI(tonic::Status::unavailable("connection reset"))
    }

    /// An error of the kind that the client gives when it cannot connect: the type has no public constructor.
    fn cannot_connect() -> Error {
        let endpoint = tonic::transport::Endpoint::from_static("http://127.0.0.1:1");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Error::Grpc(runtime.block_on(endpoint.connect()).unwrap_err())
    }

    #[test]
    fn what_the_deciding_key_said_is_definite() {
        assert_eq!(of_commit(&conflict()), Fate::Conflict);
        let definite: [fn(&mut ProtoKeyError); 7] = [
            |error| error.locked = Some(Default::default()),
            |error| error.already_exist = Some(Default::default()),
            |error| error.deadlock = Some(Default::default()),
            |error| error.commit_ts_expired = Some(Default::default()),
            |error| error.commit_ts_too_large = Some(Default::default()),
            |error| error.txn_not_found = Some(Default::default()),
            |error| error.retryable = "lock not found".to_owned(),
        ];
        for change in definite {
            let error = key_error(change);
            assert_eq!(of_commit(&error), Fate::Conflict, "{error:?}");
        }
        assert_eq!(of_commit(&Error::ResolveLockError(Vec::new())), Fate::Conflict);
        assert_eq!(of_commit(&Error::TxnNotFound(Default::default())), Fate::Conflict);
    }

    #[test]
    fn an_abort_or_an_empty_error_says_nothing() {
        assert_eq!(of_commit(&key_error(|_| {})), Fate::Unknown);
        assert_eq!(of_commit(&key_error(|error| error.abort = "timeout".to_owned())), Fate::Unknown);
    }

    #[test]
    fn conflicts_are_found_however_deep_they_lie() {
        let deep = Error::ExtractedErrors(vec![lost_answer(), Error::MultipleKeyErrors(vec![conflict()])]);
        assert_eq!(of_commit(&deep), Fate::Conflict);
        let none =
            Error::ExtractedErrors(vec![Error::MultipleKeyErrors(vec![key_error(|_| {})]), lost_answer()]);
        assert_eq!(of_commit(&none), Fate::Unknown);
        assert_eq!(of_commit(&Error::ExtractedErrors(Vec::new())), Fate::Unknown);
        let unreachable = Error::ExtractedErrors(vec![lost_answer(), cannot_connect()]);
        assert_eq!(of_commit(&unreachable), Fate::Unreachable);
    }

    #[test]
    fn lost_answers_are_unknown() {
        let unknown = [
            lost_answer(),
            Error::GrpcAPI(tonic::Status::cancelled("Timeout expired")),
            Error::UndeterminedError(Box::new(cannot_connect())),
            Error::UndeterminedError(Box::new(conflict())),
            region_error(),
            Error::ExtractedErrors(vec![region_error()]),
            Error::InternalError { message: "PD cluster failed to respond".to_owned() },
            Error::StringError("2PC commitTS rejected".to_owned()),
            Error::OperationAfterCommitError,
        ];
        for error in unknown {
            assert_eq!(of_commit(&error), Fate::Unknown, "{error:?}");
        }
        assert_eq!(of_commit(&cannot_connect()), Fate::Unreachable, "nothing was sent");
    }

    #[test]
    fn a_new_client_helps_against_lost_connections_but_not_against_locks() {
        assert!(is_of_the_client(&cannot_connect()));
        assert!(is_of_the_client(&lost_answer()));
        assert!(is_of_the_client(&Error::InternalError { message: "channel is closed".to_owned() }));
        assert!(!is_of_the_client(&Error::ExtractedErrors(vec![region_error(), conflict()])));
        assert!(!is_of_the_client(&Error::ResolveLockError(Vec::new())));
    }

    #[test]
    fn locks_without_a_transaction_are_found_however_deep_they_lie() {
        let missing = key_error(|error| {
            let mut missing = error.txn_not_found.take().unwrap_or_default();
            missing.start_ts = 7;
            error.txn_not_found = Some(missing);
        });
        let deep = Error::ExtractedErrors(vec![conflict(), Error::MultipleKeyErrors(vec![missing])]);
        assert_eq!(orphan(&deep), Some(7));
        assert_eq!(orphan(&conflict()), None);
    }

    #[test]
    fn texts_say_what_happened_and_stay_short() {
        assert!(text(&cannot_connect()).contains("refused"), "{}", text(&cannot_connect()));
        assert!(text(&lost_answer()).contains("connection reset"));
        let long = Error::StringError("ä".repeat(1_000));
        assert!(text(&long).len() <= TEXT_MAX_BYTES + "…".len());
    }
}
