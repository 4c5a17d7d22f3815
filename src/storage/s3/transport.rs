//! The wire under rusoto: one connector for plain and TLS, one place where answers are read whole and looked at.
//!
//! rusoto's own client speaks no plain HTTP, has no time limits, panics at a header that is not ASCII, logs what signs a
//! request, and hides the status behind each operation's own error type. So requests are sent here, and what was answered
//! is kept for whoever asked.

use super::failure::Failure;
use super::options::{Environment, S3Options, SLOWEST_BYTES_PER_SEC};
use crate::tls::{self, Connector, Wire};
use bytes::{Bytes, BytesMut};
use hyper::body::HttpBody;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Body, HeaderMap, Method, Request, Response};
use rusoto_core::request::{DispatchSignedRequestFuture, HttpDispatchError, HttpResponse};
use rusoto_core::signature::SignedRequest;
use rusoto_core::{ByteStream, DispatchSignedRequest};
use rustls::RootCertStore;
use std::error::Error;
use std::future::Future;
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Connections kept open to a server between requests.
const IDLE_CONNECTIONS: usize = 16;
/// How long; servers close theirs after 20 s and more.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// Of an error's body so much is read.
const ERROR_BYTES: usize = 64 * 1024;
/// What is set aside at once for an answer, whatever length it claims.
const FIRST_RESERVE_BYTES: usize = 16 << 20;

/// The client of all requests; clones share its connections.
pub(super) type Http = hyper::Client<Connector>;

/// Makes the client. Without root certificates it speaks plain HTTP only.
///
/// # Errors
/// Says which file of certificates cannot be read, or what to do when there are none.
pub(super) fn client(options: &S3Options, tls: bool) -> Result<Http, String> {
    let roots = if tls { roots(&options.environment)? } else { RootCertStore::empty() };
    let wire = Wire { connect_timeout: Some(options.connect_timeout), ..Wire::default() };
    Ok(hyper::Client::builder()
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_TIME)
        .build(tls::connector(roots, &wire)))
}

fn roots(environment: &Environment) -> Result<RootCertStore, String> {
    match environment.get("AWS_CA_BUNDLE") {
        None => tls::machine_roots().map_err(|error| {
            format!(
                "root certificates: {error}: install them (ca-certificates), or give a file by AWS_CA_BUNDLE or SSL_CERT_FILE"
            )
        }),
        Some(path) => std::fs::File::open(&path)
            .and_then(|file| tls::pem_roots(BufReader::new(file)))
            .map_err(|error| format!("AWS_CA_BUNDLE: {path}: {error}")),
    }
}

/// What a server answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// S3's code of an error; empty where none was given.
    pub(super) code: String,
    /// The server's words on an error.
    pub(super) message: String,
    /// The bucket's region, where an error names it.
    pub(super) region: Option<String>,
    /// The server's clock.
    pub(super) date: Option<SystemTime>,
    /// `Content-Range`.
    pub(super) range: Option<String>,
    /// `ETag`, as it came.
    pub(super) etag: Option<String>,
    /// Whether the server says that it encrypted: then an ETag is no checksum.
    pub(super) is_encrypted: bool,
    /// The body of what succeeded.
    pub(super) body: Bytes,
}

/// The bounds of one try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For an answer to begin, and again for its body; both beside the time for their bytes.
    pub(super) time: Duration,
    /// For nothing to come within a body.
    pub(super) silence: Duration,
    /// Bytes that are sent.
    pub(super) sends: usize,
    /// Bytes that are taken at most.
    pub(super) takes: usize,
}

impl Limits {
    /// The time for so many bytes.
    fn time_for(&self, bytes: usize) -> Duration {
        self.time + Duration::from_secs((bytes / SLOWEST_BYTES_PER_SEC) as u64)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Failure::Transport(format!("no whole answer within {:.1} s", limit.as_secs_f64()));
    tokio::time::timeout(limit, work).await.map_err(late)?
}

/// One try of one request: what it may take, and what came.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    http: Http,
    limits: Limits,
    seen: Arc<Mutex<Option<Result<Answer, Failure>>>>,
}

impl Exchange {
    pub(super) fn new(http: &Http, limits: Limits) -> Self {
        Self { http: http.clone(), limits, seen: Arc::default() }
    }

    /// What came, once.
    pub(super) fn seen(&self) -> Option<Result<Answer, Failure>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends a request and reads the answer whole.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<(Answer, HeaderMap), Failure> {
        let is_head = request.method() == Method::HEAD;
        let begun = async { self.http.request(request).await.map_err(|error| broken(&error)) };
        let response = within(self.limits.time_for(self.limits.sends), begun).await?;
        let headers = response.headers().clone();
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let is_error = !response.status().is_success();
        let mut answer = Answer {
            status: response.status().as_u16(),
            region: text("x-amz-bucket-region"),
            date: text("date").as_deref().and_then(http_date),
            range: text("content-range"),
            etag: text("etag"),
            is_encrypted: headers.contains_key("x-amz-server-side-encryption"),
            ..Answer::default()
        };
        let body = if is_head { Bytes::new() } else { self.timed_body(response, is_error).await? };
        // Completing an upload and copying can fail behind a 200.
        if is_error || is_error_document(&body) {
            answer.fill_error(&String::from_utf8_lossy(&body));
            return Err(Failure::Refused(Box::new(answer)));
        }
        answer.body = body;
        Ok((answer, headers))
    }

    async fn timed_body(&self, response: Response<Body>, is_error: bool) -> Result<Bytes, Failure> {
        let claimed = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = claimed.unwrap_or(usize::MAX).min(self.limits.takes);
        within(self.limits.time_for(bytes), self.body(response, is_error)).await
    }

    async fn body(&self, response: Response<Body>, is_error: bool) -> Result<Bytes, Failure> {
        let claimed = response.body().size_hint().exact();
        let limit = if is_error { ERROR_BYTES } else { self.limits.takes };
        if let Some(claimed) = claimed.filter(|claimed| *claimed > limit as u64 && !is_error) {
            return Err(Failure::TooLong(claimed));
        }
        let mut body = response.into_body();
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        loop {
            let next = tokio::time::timeout(self.limits.silence, body.data()).await;
            let Ok(next) = next else {
                return Err(Failure::Transport(format!(
                    "silence for {} s within an answer",
                    self.limits.silence.as_secs()
                )));
            };
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(|error| broken(&error))?;
            if first.is_empty() && whole.is_empty() {
                first = chunk;
            } else {
                if whole.is_empty() {
                    whole.reserve(
                        claimed.map_or(0, |n| usize::try_from(n).unwrap_or(0)).min(FIRST_RESERVE_BYTES),
                    );
                    whole.extend_from_slice(&first);
                }
                whole.extend_from_slice(&chunk);
            }
            let got = whole.len().max(first.len());
            if got > limit {
                if is_error {
                    break;
                }
                return Err(Failure::TooLong(got as u64));
            }
        }
        let whole = if whole.is_empty() { first } else { whole.freeze() };
        match claimed {
            // hyper says so too; a server whose answer is cut must never pass for one with a short object.
            Some(claimed) if !is_error && claimed != whole.len() as u64 => {
                Err(Failure::Transport(format!("{claimed} bytes were promised, {} came", whole.len())))
            }
            _ => Ok(whole),
        }
    }
}

impl DispatchSignedRequest for Exchange {
    fn dispatch(&self, request: SignedRequest, _timeout: Option<Duration>) -> DispatchSignedRequestFuture {
        let exchange = self.clone();
        Box::pin(async move {
            let is_object = request.method == "GET" && request.params.is_empty();
            let sent = match as_hyper(request) {
                Ok(request) => exchange.send(request).await,
                Err(text) => Err(Failure::Unreadable(text)),
            };
            let given = match &sent {
                Ok((answer, headers)) => Ok(for_rusoto(answer, headers, is_object)),
                Err(failure) => Err(HttpDispatchError::new(failure.shown())),
            };
            *exchange.seen.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(sent.map(|(answer, _)| answer));
            given
        })
    }
}

/// What rusoto needs to see: an object's bytes it would only pass on, and some headers it takes apart without care.
fn for_rusoto(answer: &Answer, headers: &HeaderMap, is_object: bool) -> HttpResponse {
    let mut passed: HeaderMap<String> = HeaderMap::default();
    for name in ["etag", "last-modified", "x-amz-version-id"] {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            passed.insert(HeaderName::from_static(name), value.to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok());
    if let Some(length) = length.filter(|length| length.parse::<i64>().is_ok()) {
        passed.insert(HeaderName::from_static("content-length"), length.to_owned());
    }
    let body = if is_object { Vec::new() } else { answer.body.to_vec() };
    let status = hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::BAD_GATEWAY);
    HttpResponse { status, body: ByteStream::from(body), headers: passed }
}

fn as_hyper(mut request: SignedRequest) -> Result<Request<Body>, String> {
    let mut url = format!("{}://{}{}", request.scheme(), request.hostname(), request.canonical_path());
    if !request.canonical_query_string().is_empty() {
        url.push('?');
        url.push_str(request.canonical_query_string());
    }
    let body = request.payload.take().map_or_else(Body::empty, |payload| payload.into_body());
    let mut sent =
        Request::builder().method(request.method()).uri(url).body(body).map_err(|error| error.to_string())?;
    for (name, values) in request.headers() {
        for value in values {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_bytes(value).map_err(|error| error.to_string())?;
            sent.headers_mut().append(name, value);
        }
    }
    let agent = concat!("roboflow/", env!("CARGO_PKG_VERSION"));
    sent.headers_mut().insert(hyper::header::USER_AGENT, HeaderValue::from_static(agent));
    Ok(sent)
}

impl Answer {
    fn fill_error(&mut self, text: &str) {
        self.code = element(text, "Code").unwrap_or_default();
        self.message = element(text, "Message").unwrap_or_default();
        self.region = element(text, "Region").or_else(|| self.region.take());
    }
}

fn is_error_document(body: &[u8]) -> bool {
    let start = body.get(..body.len().min(512)).unwrap_or_default();
    let start = String::from_utf8_lossy(start);
    let start = start.trim_start_matches('\u{feff}').trim_start();
    let start =
        if start.starts_with("<?xml") { start.split_once("?>").map_or("", |(_, rest)| rest) } else { start };
    start.trim_start().starts_with("<Error>")
}

/// The text of the first element of that name, where it holds nothing but text.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    (!text.contains('<'))
        .then(|| plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// The time of a `Date` header.
fn http_date(text: &str) -> Option<SystemTime> {
    chrono::DateTime::parse_from_rfc2822(text).ok().map(SystemTime::from)
}

/// What broke a connection, with all that lies under it.
fn broken(error: &hyper::Error) -> Failure {
    let mut text = error.to_string();
    let mut under: Option<&dyn Error> = error.source();
    while let Some(cause) = under {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        under = cause.source();
    }
    let about_trust =
        ["invalid certificate", "invalid peer certificate", "UnknownIssuer", "CertNotValidForName"];
    if about_trust.iter().any(|sign| text.contains(sign)) {
        Failure::Certificate(text)
    } else {
        Failure::Transport(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_behind_a_200_is_seen() {
        let error =
            "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>a &amp; b</Message></Error>";
        assert!(is_error_document(error.as_bytes()));
        let mut answer = Answer::default();
        answer.fill_error(error);
        assert_eq!((answer.code.as_str(), answer.message.as_str()), ("InternalError", "a & b"));
        for fine in
            ["", "<?xml?><ErrorList/>", "<ListBucketResult><Error></Error></ListBucketResult>", "\u{1}\u{2}"]
        {
            assert!(!is_error_document(fine.as_bytes()), "{fine}");
        }
        assert_eq!(element("<Code><b>x</b></Code>", "Code"), None);
    }

    #[test]
    fn a_servers_date_is_read() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(http_date("yesterday"), None);
    }
}
