//! Credentials that somebody gives for a while: the container's own address (ECS, EKS pod identity), and STS for the token
//! of a Kubernetes service account. Both over our own connector.

use super::failure::Failure;
use super::options::Environment;
use super::place::Endpoint;
use super::transport::{Exchange, Http, Limits};
use hyper::{Body, Request};
use rusoto_core::credential::AwsCredentials;
use rusoto_core::{Client, Region};
use rusoto_sts::{AssumeRoleWithWebIdentityRequest, Sts, StsClient};
use std::time::Duration;

/// Where a relative address of a container leads.
const CONTAINER_HOST: &str = "http://169.254.170.2";
/// Hosts that may be asked without TLS: this one, and what containers have for it.
const PLAIN_HOSTS: [&str; 6] =
    ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// An answer with credentials is no longer than this.
const ANSWER_BYTES: usize = 64 * 1024;
/// A token is no longer than this.
const TOKEN_BYTES: u64 = 64 * 1024;

/// The address of a container's credentials, when one is set.
///
/// # Errors
/// For one that would send the request over the network in the clear.
pub(super) fn container_url(environment: &Environment) -> Result<Option<String>, String> {
    if let Some(path) = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Ok(Some(format!("{CONTAINER_HOST}{path}")));
    }
    let Some(url) = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") else { return Ok(None) };
    let host = url.strip_prefix("http://").map(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.starts_with('[') { host.split_inclusive(']').next() } else { host.split(':').next() }
            .unwrap_or_default()
    });
    let fits = match host {
        Some(host) => PLAIN_HOSTS.contains(&host) && !url.contains('@'),
        None => url.starts_with("https://"),
    };
    if fits {
        return Ok(Some(url));
    }
    Err("AWS_CONTAINER_CREDENTIALS_FULL_URI: it must be https, or http on this host or the container's own address".into())
}

/// Asks a container's address.
pub(super) async fn container(
    http: &Http,
    timeout: Duration,
    url: &str,
    token: Option<&str>,
    token_file: Option<&str>,
) -> Result<AwsCredentials, Failure> {
    let lasting = |reason: String| Failure::Credentials { reason, may_pass: false };
    let token = match (token_file, token) {
        (Some(file), _) => Some(read_token("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)?),
        (None, token) => token.map(str::to_owned),
    };
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let request = request.body(Body::empty());
    // The error of a header is not repeated: it could be the token's.
    let request =
        request.map_err(|_| lasting(format!("the container's address {url} or its token cannot be")))?;
    let exchange = Exchange::new(http, limits(timeout));
    let sent = exchange.send(request).await;
    let (answer, _) = sent.map_err(|failure| wrap(&format!("the container's address {url}"), &failure))?;
    // What came is not repeated either: it holds the secret.
    serde_json::from_slice(&answer.body)
        .map_err(|_| lasting(format!("the container's address {url} gives no credentials: JSON with AccessKeyId, SecretAccessKey, Token and Expiration is meant")))
}

/// Changes the token in a file into credentials for a role. The file is read each time: its token changes.
pub(super) async fn web_identity(
    http: &Http,
    timeout: Duration,
    sts: &Endpoint,
    region: &str,
    file: &str,
    role: &str,
    session: &str,
) -> Result<AwsCredentials, Failure> {
    let web_identity_token = read_token("AWS_WEB_IDENTITY_TOKEN_FILE", file)?;
    let exchange = Exchange::new(http, limits(timeout));
    let region = Region::Custom { name: region.to_owned(), endpoint: sts.url.clone() };
    let client = StsClient::new_with_client(Client::new_not_signing(exchange.clone()), region);
    let request = AssumeRoleWithWebIdentityRequest {
        role_arn: role.to_owned(),
        role_session_name: session.to_owned(),
        web_identity_token,
        ..AssumeRoleWithWebIdentityRequest::default()
    };
    let whom = format!("{} for {role}", sts.url);
    let asked = client.assume_role_with_web_identity(request).await;
    if let Some(Err(failure)) = exchange.seen() {
        return Err(wrap(&whom, &failure));
    }
    let given = asked.ok().and_then(|given| given.credentials);
    let lasting = || Failure::Credentials { reason: format!("{whom} gives no credentials"), may_pass: false };
    let given = given.ok_or_else(lasting)?;
    let ends = chrono::DateTime::parse_from_rfc3339(&given.expiration).map_err(|_| lasting())?;
    Ok(AwsCredentials::new(
        given.access_key_id,
        given.secret_access_key,
        Some(given.session_token),
        Some(ends.into()),
    ))
}

fn read_token(variable: &str, file: &str) -> Result<String, Failure> {
    let fail = |what: &dyn std::fmt::Display| Failure::Credentials {
        reason: format!("{variable}: {file}: {what}"),
        may_pass: false,
    };
    let meta = std::fs::metadata(file).map_err(|error| fail(&error))?;
    if !meta.is_file() || meta.len() > TOKEN_BYTES {
        return Err(fail(&"it is no file with a token"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| fail(&error))?;
    let token = text.trim();
    if token.is_empty() { Err(fail(&"it is empty")) } else { Ok(token.to_owned()) }
}

fn limits(time: Duration) -> Limits {
    Limits { time, silence: time, sends: 0, takes: ANSWER_BYTES }
}

/// What went wrong while credentials were asked for. A refusal does not pass by itself.
fn wrap(whom: &str, failure: &Failure) -> Failure {
    let what = failure.shown();
    let todo = if failure.may_pass() {
        "trying on"
    } else {
        "check the role, its trust in the token, and the region"
    };
    Failure::Credentials {
        reason: format!("no credentials from {whom}: {what}; {todo}"),
        may_pass: failure.may_pass(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_address_never_leaves_the_host_in_the_clear() {
        let url = |url: &str| container_url(&Environment::of([("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)]));
        for fine in [
            "http://127.0.0.1:9/x",
            "http://localhost/x",
            "http://[::1]:1/x",
            "http://169.254.170.23/v1",
            "https://any/x",
        ] {
            assert_eq!(url(fine).unwrap().as_deref(), Some(fine));
        }
        for wrong in [
            "http://example.com/x",
            "http://127.0.0.1.example.com/",
            "http://localhost:x@example.com/",
            "ftp://localhost/x",
            "localhost",
        ] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
