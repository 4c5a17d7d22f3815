//! Spans on their way to a collector: OTLP over HTTP, in batches, by a thread of the SDK.
//!
//! The HTTP client is the one that the rest of the program has, on the process's runtime. A span that cannot be sent is
//! dropped and counted, and the log says so once until it goes well again.

use crate::error::{Class, Classified};
use crate::metrics::Metrics;
use crate::tls::{self, Connector, Wire};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hyper::body::HttpBody;
use hyper::{Body, Client, Uri};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};
use rustls::RootCertStore;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// What is appended to an endpoint (OTLP specification 1.9, "Endpoint URLs for OTLP/HTTP").
const PATH: &str = "v1/traces";
/// For one request, its answer included.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// What a process that ends gives to the last spans.
const FLUSH_TIME: Duration = Duration::from_millis(500);
/// Of an answer so much is read: it says whether, and why not.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Spells the protocol in the environment that collectors' operators share between programs.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"];
/// The one that is spoken.
const SPOKEN: &str = "http/protobuf";

/// Spans that could not be set up to be exported. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No URL of a collector.
    #[error("{0:?} is no endpoint: give the collector's URL, as in http://otel-collector:4318")]
    Endpoint(String),
    /// A URL that would be shown with what must not be.
    #[error(
        "--otlp-endpoint holds a name or a password: leave them out, and give them by OTEL_EXPORTER_OTLP_HEADERS, which no log shows"
    )]
    Credentials,
    /// The environment asks for what is not spoken.
    #[error(
        "{name}={value}: only {SPOKEN} is spoken; point --otlp-endpoint at the collector's HTTP port, 4318 as a rule"
    )]
    Protocol {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// No authority to trust.
    #[error(
        "{0}: an https:// endpoint needs root certificates: install them (ca-certificates), or name a file by SSL_CERT_FILE"
    )]
    Roots(String),
    /// The exporter refuses.
    #[error("spans cannot be exported: {0}")]
    Refused(String),
}

impl Classified for TraceError {
    fn class(&self) -> Class {
        Class::Permanent
    }
}

/// Takes spans. Copies are the same.
#[derive(Clone)]
pub struct Exporter(Arc<BatchSpanProcessor>);

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// To the collector at this URL, in the name of this worker. Requests are sent on this runtime.
    ///
    /// # Errors
    /// When the endpoint or the environment asks for something that is not possible. Whether the collector can be reached
    /// is not tried: no worker stays away from its work for that.
    pub fn start(
        endpoint: &str,
        worker: &str,
        runtime: Handle,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TraceError> {
        let url = url(endpoint)?;
        check_protocol(|name| std::env::var(name).ok())?;
        let roots = match url.scheme_str() {
            Some("https") => tls::machine_roots().map_err(|error| TraceError::Roots(error.to_string()))?,
            _ => RootCertStore::empty(),
        };
        let wire = Wire { connect_timeout: Some(REQUEST_TIME), ..Wire::default() };
        let http = Http { client: Client::builder().build(tls::connector(roots, &wire)), runtime };
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url.to_string())
            .with_timeout(REQUEST_TIME)
            .with_http_client(http)
            .build()
            .map_err(|error| TraceError::Refused(error.to_string()))?;
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &resource(worker));
        let told = Told { exporter, metrics, is_failing: AtomicBool::new(false) };
        Ok(Self(Arc::new(BatchSpanProcessor::builder(told).build())))
    }

    /// Takes a span that has ended. Never blocks: where too many wait it is dropped.
    pub fn export(&self, span: SpanData) {
        self.0.on_end(span);
    }

    /// Sends what is left, for half a second at most.
    pub fn close(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIME) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Who exports. What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say holds.
fn resource(worker: &str) -> Resource {
    let builder = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", worker.to_owned()),
    ]);
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => builder.build(),
        None => builder.with_service_name("roboflow").build(),
    }
}

fn url(endpoint: &str) -> Result<Uri, TraceError> {
    let refused = || TraceError::Endpoint(endpoint.to_owned());
    if endpoint.contains('@') {
        return Err(TraceError::Credentials);
    }
    let url: Uri = format!("{}/{PATH}", endpoint.trim_end_matches('/')).parse().map_err(|_| refused())?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    if is_http && has_host { Ok(url) } else { Err(refused()) }
}

fn check_protocol(env: impl Fn(&str) -> Option<String>) -> Result<(), TraceError> {
    for name in PROTOCOLS {
        if let Some(value) = env(name).filter(|value| !value.is_empty() && value != SPOKEN) {
            return Err(TraceError::Protocol { name, value });
        }
    }
    Ok(())
}

/// The exporter, whose failures are counted and told.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    metrics: Arc<Metrics>,
    is_failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(exported.is_err(), Ordering::AcqRel);
        match &exported {
            Ok(()) if was_failing => tracing::info!("spans are exported again"),
            Ok(()) => {}
            Err(error) => {
                self.metrics.spans_not_exported.add(spans);
                if !was_failing {
                    tracing::warn!(%error, spans, "spans cannot be exported and are dropped; the work goes on");
                }
            }
        }
        exported
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The program's HTTP client, as the exporter wants it. The exporter's thread has no runtime: requests run on the process's.
#[derive(Debug)]
struct Http {
    client: Client<Connector>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = send(self.client.clone(), request);
        self.runtime.spawn(async { tokio::time::timeout(REQUEST_TIME, sent).await }).await??
    }
}

async fn send(client: Client<Connector>, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let mut ask = hyper::Request::builder().method(parts.method.as_str()).uri(parts.uri.to_string());
    for (name, value) in &parts.headers {
        ask = ask.header(name.as_str(), value.as_bytes());
    }
    let answer = client.request(ask.body(Body::from(body))?).await?;
    let status = answer.status().as_u16();
    let mut made = Response::builder().status(status);
    if let Some(wait) = answer.headers().get(hyper::header::RETRY_AFTER) {
        made = made.header("retry-after", wait.as_bytes());
    }
    let mut body = answer.into_body();
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.data().await {
        whole.extend_from_slice(&chunk?);
        if whole.len() > ANSWER_MAX_BYTES {
            return Err("an answer that does not end".into());
        }
    }
    Ok(made.body(whole.freeze())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_collectors_url() {
        for (endpoint, whole) in [
            ("http://otel:4318", "http://otel:4318/v1/traces"),
            ("https://otel/prefix/", "https://otel/prefix/v1/traces"),
        ] {
            assert_eq!(url(endpoint).unwrap().to_string(), whole);
        }
        for wrong in ["", "otel:4318", "grpc://otel:4317", "http://", "http:///v1", "not a url"] {
            assert!(url(wrong).unwrap_err().to_string().contains("http://otel-collector:4318"), "{wrong}");
        }
        let refused = url("http://me:pass@otel:4318").unwrap_err().to_string();
        assert!(refused.contains("OTEL_EXPORTER_OTLP_HEADERS") && !refused.contains("pass@"), "{refused}");
    }

    #[test]
    fn what_is_not_spoken_is_refused_by_name() {
        let ask = |value: &'static str| {
            check_protocol(move |name| (name == PROTOCOLS[0]).then(|| value.to_owned()))
        };
        assert!(ask("").is_ok() && ask(SPOKEN).is_ok());
        let refused = ask("grpc").unwrap_err().to_string();
        assert!(refused.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), "{refused}");
    }
}
