//! A collector of OpenTelemetry: takes spans by OTLP over HTTP, and keeps them; or never answers.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "support of tests: what it cannot do is a failed test"
)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What came.
#[derive(Debug, Default)]
struct Taken {
    /// Request lines and headers.
    asked: Vec<String>,
    /// Each with who sent it, by `service.instance.id`.
    spans: Vec<(String, Span)>,
}

/// The collector. It ends with the process.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    taken: Arc<Mutex<Taken>>,
}

/// The text of an attribute; a number's digits.
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Collector {
    /// Answers every request with this status, as in `200 OK`; without one it takes requests, and never answers.
    pub fn start(status: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let taken = Arc::<Mutex<Taken>>::default();
        let into = Arc::clone(&taken);
        thread::spawn(move || {
            for wire in listener.incoming().flatten() {
                let into = Arc::clone(&into);
                thread::spawn(move || while take(&wire, status, &into).is_some() {});
            }
        });
        Self { port, taken }
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests, each with its headers.
    pub fn asked(&self) -> Vec<String> {
        self.taken.lock().unwrap().asked.clone()
    }

    /// The spans, each with the worker that sent it.
    pub fn spans(&self) -> Vec<(String, Span)> {
        self.taken.lock().unwrap().spans.clone()
    }
}

/// One request. `None` when the client has gone.
fn take(wire: &TcpStream, status: Option<&str>, into: &Mutex<Taken>) -> Option<()> {
    let mut reader = BufReader::new(wire);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("spans");
    let mut taken = into.lock().unwrap_or_else(PoisonError::into_inner);
    taken.asked.push(head);
    for spans in request.resource_spans {
        let attributes = spans.resource.expect("a resource").attributes;
        assert_eq!(attribute(&attributes, "service.name").as_deref(), Some("roboflow"));
        let worker = attribute(&attributes, "service.instance.id").expect("a worker");
        let spans = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.spans.extend(spans.map(|span| (worker.clone(), span)));
    }
    drop(taken);
    match status {
        Some(status) => {
            let mut wire = wire;
            wire.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()
        }
        // Until the client goes.
        None => reader.read_to_end(&mut Vec::new()).ok().map(drop),
    }
}
