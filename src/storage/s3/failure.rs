//! What can go wrong with a request, whether it may pass, and what to tell the user.
//!
//! rusoto gives the error of each operation its own type, without the status; so what counts here is the answer itself,
//! as the transport saw it.

use super::transport::Answer;
use crate::storage::StorageError;
use std::time::SystemTime;

/// A server's own words in an error are cut to this many characters.
const MAX_WORDS: usize = 300;

/// Why a request did not come about.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The server answered with an error.
    Refused(Box<Answer>),
    /// No answer, or half of one.
    Transport(String),
    /// The other side is not who it should be.
    Certificate(String),
    /// An answer that is none of S3's.
    Unreadable(String),
    /// More bytes than asked for: how many.
    TooLong(u64),
    /// There are no credentials, or they cannot be had now.
    Credentials {
        /// What was seen and what to do.
        reason: String,
        /// Whether it may pass.
        may_pass: bool,
    },
    /// Another version stands there.
    Changed,
    /// It was asked to stop.
    Stopped,
    /// What never happens in a program without faults.
    Defect(&'static str),
}

/// What is asked of the server, for messages.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// "reading", "writing", "listing", "deleting", "opening".
    pub(super) action: &'static str,
    /// What the credentials must be allowed to do.
    pub(super) permission: &'static str,
    /// Our key or prefix.
    pub(super) key: String,
    /// Bytes that are sent.
    pub(super) sends: usize,
    /// Bytes that are taken at most.
    pub(super) takes: usize,
}

/// Who is asked, for messages.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    pub(super) location: &'a str,
    pub(super) bucket: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    /// Where the credentials are from.
    pub(super) credentials: &'a str,
}

impl Ask {
    /// Answers with XML are bounded by this many bytes: a listing's page has at most 1000 entries.
    const LIST_BYTES: usize = 16 << 20;

    pub(super) fn new(action: &'static str, permission: &'static str, key: &str) -> Self {
        Self { action, permission, key: key.to_owned(), sends: 0, takes: Self::LIST_BYTES }
    }
}

impl Failure {
    /// What one entry of an answer for many says.
    pub(super) fn of_entry(code: Option<String>, message: Option<String>) -> Self {
        let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
        let status = if code == "AccessDenied" { 403 } else { 200 };
        Self::Refused(Box::new(Answer { status, code, message, ..Answer::default() }))
    }

    /// Whether the same request may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(answer) => answer_may_pass(answer),
            Self::Transport(_) => true,
            Self::Credentials { may_pass, .. } => *may_pass,
            _ => false,
        }
    }

    /// Whether other credentials might be taken where these were not.
    pub(super) fn is_expired(&self) -> bool {
        let codes = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"];
        self.is_unexplained()
            || matches!(self, Self::Refused(answer) if codes.contains(&answer.code.as_str()))
    }

    /// Whether a refusal came without its reason, as to a look at an object.
    pub(super) fn is_unexplained(&self) -> bool {
        matches!(self, Self::Refused(answer) if answer.code.is_empty() && matches!(answer.status, 301 | 400 | 401 | 403))
    }

    /// Whether there is no such upload: it was completed, aborted or swept.
    pub(super) fn is_no_upload(&self) -> bool {
        matches!(self, Self::Refused(answer) if answer.code == "NoSuchUpload")
    }

    /// Whether the server does not know the operation.
    pub(super) fn is_not_served(&self) -> bool {
        matches!(self, Self::Refused(answer) if answer.status == 501 || answer.code == "NotImplemented")
    }

    /// For a line of a log.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Refused(answer) => answer.shown(),
            Self::Transport(text) | Self::Certificate(text) | Self::Unreadable(text) => text.clone(),
            Self::TooLong(bytes) => format!("{bytes} bytes, more than asked for"),
            Self::Credentials { reason, .. } => reason.clone(),
            Self::Changed => "another version stands there".to_owned(),
            Self::Stopped => "stopped as asked".to_owned(),
            Self::Defect(text) => (*text).to_owned(),
        }
    }

    /// As an error of storage that says which place, what was seen, and what to do.
    pub(super) fn explain(&self, ask: &Ask, asked: &Asked<'_>) -> StorageError {
        let (location, key) = (asked.location.to_owned(), shown_key(&ask.key));
        let action = ask.action;
        let refused = |reason: String| StorageError::Refused {
            location: location.clone(),
            action,
            key: key.clone(),
            reason,
        };
        let endpoint = asked.endpoint;
        match self {
            Self::Refused(answer) if answer_may_pass(answer) => {
                let reason = format!("{endpoint} answered {} and did so again and again", answer.shown());
                StorageError::Unavailable { location, action, key, reason }
            }
            Self::Refused(answer) => match kind(answer) {
                Kind::NoObject => StorageError::NotFound { location, key },
                Kind::Changed => StorageError::Changed { location, key },
                Kind::NoUpload => {
                    let reason = "its upload is gone: somebody swept it, or it has expired".to_owned();
                    StorageError::Unavailable { location, action, key, reason }
                }
                kind => refused(advice(&kind, answer, ask, asked)),
            },
            Self::Transport(text) => {
                let reason =
                    format!("{endpoint} gives no whole answer: {text}; check the endpoint and the network");
                StorageError::Unavailable { location, action, key, reason }
            }
            Self::Certificate(text) => refused(format!(
                "the certificate of {endpoint} is not trusted ({text}): give its authority's file by AWS_CA_BUNDLE or SSL_CERT_FILE"
            )),
            Self::Unreadable(text) => {
                refused(format!("{endpoint} gives an answer that is not S3's ({text}): check --s3-endpoint"))
            }
            Self::TooLong(bytes) => {
                let reason = format!("it has {bytes} bytes; at most {} are read at once", ask.takes);
                StorageError::Invalid { location, key, reason }
            }
            Self::Credentials { reason, may_pass: false } => refused(reason.clone()),
            Self::Credentials { reason, .. } => {
                StorageError::Unavailable { location, action, key, reason: reason.clone() }
            }
            Self::Changed => StorageError::Changed { location, key },
            Self::Stopped | Self::Defect(_) => {
                StorageError::Unavailable { location, action, key, reason: self.shown() }
            }
        }
    }
}

/// What an answer means that does not pass by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    NoObject,
    NoBucket,
    NoUpload,
    Changed,
    Skewed,
    WrongRegion,
    UnknownKey,
    Expired,
    Denied,
    NotServed,
    Other,
}

fn kind(answer: &Answer) -> Kind {
    match answer.code.as_str() {
        "NoSuchKey" => return Kind::NoObject,
        "NoSuchBucket" => return Kind::NoBucket,
        "NoSuchUpload" => return Kind::NoUpload,
        "PreconditionFailed" | "InvalidRange" => return Kind::Changed,
        "RequestTimeTooSkewed" => return Kind::Skewed,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => {
            return Kind::WrongRegion;
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidClientTokenId"
        | "AuthFailure"
        | "NotSignedUp" => {
            return Kind::UnknownKey;
        }
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" => {
            return Kind::Expired;
        }
        "NotImplemented" => return Kind::NotServed,
        _ => {}
    }
    match answer.status {
        301 | 307 => Kind::WrongRegion,
        401 | 403 => Kind::Denied,
        404 => Kind::NoObject,
        412 | 416 => Kind::Changed,
        501 => Kind::NotServed,
        _ => Kind::Other,
    }
}

fn answer_may_pass(answer: &Answer) -> bool {
    let code = matches!(
        answer.code.as_str(),
        "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "OperationAborted"
            | "IncompleteBody"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
    );
    code || (matches!(answer.status, 408 | 429 | 500..=599) && !matches!(answer.status, 501 | 505))
}

fn advice(kind: &Kind, answer: &Answer, ask: &Ask, asked: &Asked<'_>) -> String {
    let Asked { bucket, endpoint, region, credentials, .. } = asked;
    let said = answer.shown();
    match kind {
        Kind::NoBucket => {
            format!("there is no bucket {bucket} at {endpoint}: check its name and the endpoint, or make it")
        }
        Kind::Skewed => {
            format!("{}, and {endpoint} takes no request so signed: set the clock", skew(answer.date))
        }
        Kind::WrongRegion => {
            let other =
                answer.region.as_deref().map_or("another region".to_owned(), |name| format!("region {name}"));
            format!("bucket {bucket} is in {other}, not in {region}: set AWS_REGION to it")
        }
        Kind::UnknownKey => {
            format!(
                "{endpoint} does not take the credentials of {credentials} ({said}): check the key and its secret"
            )
        }
        Kind::Expired => {
            format!("the session token of {credentials} has expired or is none ({said}): renew it")
        }
        Kind::Denied => format!(
            "the credentials of {credentials} do not allow it: {} on bucket {bucket} at {endpoint} is needed ({said})",
            ask.permission
        ),
        Kind::NotServed => format!("{endpoint} does not serve this kind of request ({said})"),
        Kind::NoObject | Kind::NoUpload | Kind::Changed | Kind::Other => {
            format!("{endpoint} answered {said}")
        }
    }
}

/// How far this host's clock is off a server's.
fn skew(server: Option<SystemTime>) -> String {
    let off = server.map(|server| match SystemTime::now().duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    });
    match off {
        Some((by, way)) => format!("this host's clock is {} s {way} the server's", by.as_secs()),
        None => "this host's clock is too far off the server's".to_owned(),
    }
}

impl Answer {
    /// Status, code and the server's words.
    pub(super) fn shown(&self) -> String {
        let words: String = self.message.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
        let mut shown = self.status.to_string();
        for (text, before) in [(self.code.as_str(), " "), (words.as_str(), ": ")] {
            if !text.is_empty() {
                shown.push_str(before);
                shown.push_str(text);
            }
        }
        shown
    }
}

/// A key for a message: cut to a length that a line of a log bears, and never nothing.
fn shown_key(key: &str) -> String {
    if key.is_empty() { "all of it".to_owned() } else { key.chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Classified};
    use std::time::Duration;

    const ASKED: Asked<'static> = Asked {
        location: "s3://bucket/x",
        bucket: "bucket",
        endpoint: "http://host:1",
        region: "us-east-1",
        credentials: "the environment",
    };

    fn answer(status: u16, code: &str) -> Answer {
        Answer { status, code: code.into(), message: "words".into(), ..Answer::default() }
    }

    fn told(answer: Answer) -> (bool, StorageError) {
        let failure = Failure::Refused(Box::new(answer));
        (failure.may_pass(), failure.explain(&Ask::new("reading", "s3:GetObject", "k"), &ASKED))
    }

    #[test]
    fn answers_are_classified_by_status_and_code() {
        for (status, code, passes, class, words) in [
            (404, "NoSuchKey", false, Class::Permanent, &["no object k"][..]),
            (404, "", false, Class::Permanent, &["no object k"]),
            (404, "NoSuchBucket", false, Class::Permanent, &["no bucket bucket", "http://host:1"]),
            (404, "NoSuchUpload", false, Class::Transient, &["upload is gone"]),
            (412, "PreconditionFailed", false, Class::Transient, &["has changed"]),
            (416, "InvalidRange", false, Class::Transient, &["has changed"]),
            (
                403,
                "AccessDenied",
                false,
                Class::Permanent,
                &["s3:GetObject", "the environment", "http://host:1"],
            ),
            (403, "", false, Class::Permanent, &["s3:GetObject"]),
            (403, "SignatureDoesNotMatch", false, Class::Permanent, &["does not take", "secret"]),
            (403, "InvalidAccessKeyId", false, Class::Permanent, &["does not take", "http://host:1"]),
            (400, "ExpiredToken", false, Class::Permanent, &["expired", "renew"]),
            (400, "AuthorizationHeaderMalformed", false, Class::Permanent, &["AWS_REGION"]),
            (501, "NotImplemented", false, Class::Permanent, &["does not serve"]),
            (400, "Strange", false, Class::Permanent, &["400 Strange: words"]),
            (503, "SlowDown", true, Class::Transient, &["503 SlowDown", "http://host:1"]),
            (500, "InternalError", true, Class::Transient, &["500"]),
            (502, "", true, Class::Transient, &["502"]),
            (429, "", true, Class::Transient, &["429"]),
            (200, "InternalError", true, Class::Transient, &["InternalError"]),
            (400, "RequestTimeout", true, Class::Transient, &["RequestTimeout"]),
        ] {
            let (may_pass, error) = told(answer(status, code));
            let text = error.to_string();
            assert_eq!((may_pass, error.class()), (passes, class), "{status} {code}: {text}");
            assert!(text.contains("s3://bucket/x") && words.iter().all(|word| text.contains(word)), "{text}");
        }
    }

    #[test]
    fn a_skewed_clock_and_another_region_are_told_with_their_numbers() {
        let date = Some(SystemTime::now() + Duration::from_secs(1000));
        let text = told(Answer { date, ..answer(403, "RequestTimeTooSkewed") }).1.to_string();
        assert!(text.contains("clock is 999 s behind") || text.contains("clock is 1000 s behind"), "{text}");
        let text = told(answer(400, "RequestTimeTooSkewed")).1.to_string();
        assert!(text.contains("set the clock"), "{text}");
        let region = Some("eu-west-1".to_owned());
        let text = told(Answer { region, ..answer(301, "PermanentRedirect") }).1.to_string();
        assert!(text.contains("in region eu-west-1, not in us-east-1"), "{text}");
    }

    #[test]
    fn long_and_wild_words_of_a_server_are_cut() {
        let text = told(Answer { message: "a\n\u{1b}b".repeat(1000), ..answer(400, "X") }).1.to_string();
        assert!(text.len() < 600 && !text.contains(['\n', '\u{1b}']), "{text}");
    }
}
