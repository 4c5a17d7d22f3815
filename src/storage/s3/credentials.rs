//! Who we are to the server: where that is written, and how long it holds.
//!
//! What is set in the environment decides on one source, and that one alone is asked: a source that is set and fails is
//! an error, never a reason to go on as somebody else. Secrets stand in no log, error or `Debug`.

use super::failure::Failure;
use super::options::Environment;
use super::place::Endpoint;
use super::profile;
use super::tokens;
use super::transport::Http;
use rusoto_core::credential::AwsCredentials;
use std::fmt;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// Credentials that end are renewed so long before.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// While they cannot be renewed, the old ones serve until so long before their end.
const LAST_USE_BEFORE: Duration = Duration::from_secs(10);
/// How long a failed renewal is not tried again, while the old ones serve.
const RENEW_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// What is set to give credentials.
const HOW: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or \
    AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or run where AWS_CONTAINER_CREDENTIALS_* is set";

/// Where credentials are from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment { key: String, secret: String, token: Option<String> },
    /// A profile of the shared files.
    Profile(String),
    /// A token in a file, changed into keys for a role.
    WebIdentity { file: String, role: String, session: String, sts: Endpoint },
    /// The container's own address for them.
    Container { url: String, token: Option<String>, token_file: Option<String> },
}

impl Source {
    /// The one that is set. In this order: the environment's own keys, a profile that somebody named, a web identity, a
    /// container's address, the default profile.
    ///
    /// # Errors
    /// When none is set, or one only in part.
    pub(super) fn choose(environment: &Environment, region: &str) -> Result<Self, String> {
        let get = |name: &str| environment.get(name);
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(key), Some(secret)) => {
                return Ok(Self::Environment { key, secret, token: get("AWS_SESSION_TOKEN") });
            }
            (Some(_), None) => {
                return Err(
                    "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: set both or neither".into()
                );
            }
            (None, Some(_)) => {
                return Err(
                    "AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID: set both or neither".into()
                );
            }
            (None, None) => {}
        }
        let (profile, is_named) = profile::name(environment);
        if is_named {
            return Ok(Self::Profile(profile));
        }
        match (get("AWS_WEB_IDENTITY_TOKEN_FILE"), get("AWS_ROLE_ARN")) {
            (Some(file), Some(role)) => {
                let session = get("AWS_ROLE_SESSION_NAME")
                    .unwrap_or_else(|| format!("roboflow-{}", std::process::id()));
                return Ok(Self::WebIdentity {
                    file,
                    role,
                    session,
                    sts: Endpoint::of_sts(environment, region)?,
                });
            }
            (Some(_), None) => {
                return Err(
                    "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN: set both or neither".into()
                );
            }
            _ => {}
        }
        if let Some(url) = tokens::container_url(environment)? {
            let token = get("AWS_CONTAINER_AUTHORIZATION_TOKEN");
            return Ok(Self::Container {
                url,
                token,
                token_file: get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            });
        }
        match profile::read(environment, &profile)? {
            Some(entries) if entries.contains_key("aws_access_key_id") => Ok(Self::Profile(profile)),
            _ => Err(format!("there are no credentials for object storage: {HOW}")),
        }
    }

    /// For messages: never a key.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Environment { .. } => "the environment (AWS_ACCESS_KEY_ID)".to_owned(),
            Self::Profile(name) => format!("profile {name}"),
            Self::WebIdentity { role, file, .. } => format!("role {role} by the token in {file}"),
            Self::Container { url, .. } => format!("the container ({url})"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Credentials in hand.
#[derive(Debug)]
struct Held {
    credentials: AwsCredentials,
    /// None: they do not end.
    ends: Option<SystemTime>,
    renew_not_before: SystemTime,
}

/// The source, and what it gave last.
pub(super) struct Credentials {
    source: Source,
    environment: Environment,
    region: String,
    wire: Option<(Http, Duration)>,
    held: Mutex<Option<Held>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.shown())
    }
}

impl Credentials {
    /// See [`Source::choose`].
    pub(super) fn choose(environment: &Environment, region: &str) -> Result<Self, String> {
        let source = Source::choose(environment, region)?;
        let (environment, region) = (environment.clone(), region.to_owned());
        Ok(Self { source, environment, region, wire: None, held: Mutex::new(None) })
    }

    /// Where they are from, for messages.
    pub(super) fn shown(&self) -> String {
        self.source.shown()
    }

    /// Whether they are asked for over TLS.
    pub(super) fn needs_tls(&self) -> bool {
        match &self.source {
            Source::WebIdentity { sts, .. } => sts.is_tls(),
            Source::Container { url, .. } => url.starts_with("https:"),
            Source::Environment { .. } | Source::Profile(_) => false,
        }
    }

    /// What they are asked for over.
    pub(super) fn connect(&mut self, http: &Http, timeout: Duration) {
        self.wire = Some((http.clone(), timeout));
    }

    /// Credentials that hold for a while yet.
    pub(super) async fn current(&self) -> Result<AwsCredentials, Failure> {
        let mut held = self.held.lock().await;
        let now = SystemTime::now();
        if let Some(held) = held.as_ref()
            && held.ends.is_none_or(|ends| {
                ends > now + RENEW_BEFORE || (held.renew_not_before > now && ends > now + LAST_USE_BEFORE)
            })
        {
            return Ok(held.credentials.clone());
        }
        match self.fetch().await {
            Ok(credentials) => {
                let ends = credentials.expires_at().map(SystemTime::from);
                if ends.is_some_and(|ends| ends <= now) {
                    let reason =
                        format!("{} gave credentials that had ended already: check the clocks", self.shown());
                    return Err(Failure::Credentials { reason, may_pass: true });
                }
                // Those that live shorter than that are renewed less often than each time.
                let renew_not_before = now + RENEW_AGAIN_AFTER;
                *held = Some(Held { credentials: credentials.clone(), ends, renew_not_before });
                Ok(credentials)
            }
            Err(failure) => match held.as_mut() {
                Some(old) if old.ends.is_none_or(|ends| ends > now + LAST_USE_BEFORE) => {
                    tracing::warn!(
                        source = self.shown(),
                        error = failure.shown(),
                        "credentials could not be renewed; the old ones still hold"
                    );
                    old.renew_not_before = now + RENEW_AGAIN_AFTER;
                    Ok(old.credentials.clone())
                }
                _ => Err(failure),
            },
        }
    }

    /// Drops what is held, since a server did not take it. False when the source would only give the same again.
    pub(super) async fn forget(&self) -> bool {
        *self.held.lock().await = None;
        !matches!(self.source, Source::Environment { .. })
    }

    async fn fetch(&self) -> Result<AwsCredentials, Failure> {
        let lasting = |reason: String| Failure::Credentials { reason, may_pass: false };
        let wire = self
            .wire
            .as_ref()
            .ok_or(Failure::Defect("credentials were asked for before the network was there"));
        match &self.source {
            Source::Environment { key, secret, token } => {
                Ok(AwsCredentials::new(key.clone(), secret.clone(), token.clone(), None))
            }
            Source::Profile(name) => {
                let (key, secret, token) = profile::keys(&self.environment, name).map_err(lasting)?;
                Ok(AwsCredentials::new(key, secret, token, None))
            }
            Source::WebIdentity { file, role, session, sts } => {
                let (http, timeout) = wire?;
                tokens::web_identity(http, *timeout, sts, &self.region, file, role, session).await
            }
            Source::Container { url, token, token_file } => {
                let (http, timeout) = wire?;
                tokens::container(http, *timeout, url, token.as_deref(), token_file.as_deref()).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &str) = ("AWS_ACCESS_KEY_ID", "K-hidden");
    const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "S-hidden");
    const TOKEN: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token");
    const ROLE: (&str, &str) = ("AWS_ROLE_ARN", "arn:role");
    const CONTAINER: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/creds");
    const NOBODY: (&str, &str) = ("HOME", "/nowhere");

    fn choose(set: &[(&str, &str)]) -> Result<String, String> {
        Source::choose(&Environment::of(set.iter().copied()), "us-east-1").map(|source| format!("{source:?}"))
    }

    #[test]
    fn the_first_source_that_is_set_decides() {
        let profile = ("AWS_PROFILE", "mine");
        assert!(choose(&[KEY, SECRET, profile, TOKEN, ROLE, CONTAINER]).unwrap().contains("the environment"));
        assert!(choose(&[profile, TOKEN, ROLE, CONTAINER]).unwrap().contains("profile mine"));
        assert!(choose(&[TOKEN, ROLE, CONTAINER]).unwrap().contains("role arn:role"));
        assert!(choose(&[CONTAINER, NOBODY]).unwrap().contains("http://169.254.170.2/creds"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "[default]\naws_access_key_id=K\naws_secret_access_key=S\n").unwrap();
        let file = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
        assert!(choose(&[file, NOBODY]).unwrap().contains("profile default"));
        assert!(choose(&[file, CONTAINER]).unwrap().contains("the container"));
    }

    #[test]
    fn what_is_set_by_half_or_not_at_all_is_refused_with_what_to_do() {
        for (set, word) in [
            (&[KEY][..], "AWS_SECRET_ACCESS_KEY"),
            (&[SECRET], "AWS_ACCESS_KEY_ID"),
            (&[TOKEN], "AWS_ROLE_ARN"),
            (&[NOBODY], "AWS_PROFILE"),
            (
                &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x")],
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            ),
        ] {
            let error = choose(set).unwrap_err();
            assert!(error.contains(word) && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let environment = Environment::of([KEY, SECRET, ("AWS_SESSION_TOKEN", "T-hidden")]);
        let credentials = Credentials::choose(&environment, "x").unwrap();
        assert!(!format!("{credentials:?} {:?}", credentials.source).contains("hidden"));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_anew_once_its_keys_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let write = |key: &str| {
            std::fs::write(&file, format!("[a]\naws_access_key_id={key}\naws_secret_access_key=S\n")).unwrap()
        };
        write("K1");
        let set = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()), ("AWS_PROFILE", "a")];
        let credentials = Credentials::choose(&Environment::of(set), "x").unwrap();
        let key = async || credentials.current().await.unwrap().aws_access_key_id().to_owned();
        assert_eq!(key().await, "K1");
        write("K2");
        assert_eq!(key().await, "K1");
        assert!(credentials.forget().await);
        assert_eq!(key().await, "K2");
    }
}
