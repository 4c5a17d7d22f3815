//! A plain S3 client for tests: unsigned, without retries, over one connection a request. The dev cluster's server takes that.
//!
//! It shares no code with the product, so what the product wrote is read by something else.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "support of tests: what it cannot do is a failed test"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// One bucket.
#[derive(Debug, Clone)]
pub struct PlainS3 {
    server: SocketAddr,
    bucket: String,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl PlainS3 {
    /// A bucket of the server there.
    pub fn new(server: SocketAddr, bucket: &str) -> Self {
        Self { server, bucket: bucket.to_owned() }
    }

    /// Its name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Writes an object.
    pub fn put(&self, key: &str, body: &[u8]) {
        self.ask("PUT", key, "", body).expect_ok("putting", key);
    }

    /// Reads an object; none when there is none.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.ask("GET", key, "", b"");
        if answer.status == 404 {
            return None;
        }
        Some(answer.expect_ok("reading", key).body)
    }

    /// All keys that begin so, in order.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut token = String::new();
        loop {
            let query = format!("list-type=2&prefix={}{token}", encode(prefix, false));
            let text = self.ask("GET", "", &query, b"").expect_ok("listing", prefix).text();
            keys.extend(elements(&text, "Key"));
            match elements(&text, "NextContinuationToken").first() {
                Some(next) => token = format!("&continuation-token={}", encode(next, false)),
                None => return keys,
            }
        }
    }

    /// The keys under this prefix that have an unfinished multipart upload.
    pub fn uploads(&self, prefix: &str) -> Vec<String> {
        let query = format!("uploads&prefix={}", encode(prefix, false));
        let text = self.ask("GET", "", &query, b"").expect_ok("listing uploads", prefix).text();
        assert!(!text.contains("<IsTruncated>true"), "more uploads than one page has: {text}");
        elements(&text, "Key")
    }

    /// Removes all objects that begin so.
    pub fn clear(&self, prefix: &str) {
        for key in self.list(prefix) {
            self.ask("DELETE", &key, "", b"");
        }
    }

    fn ask(&self, method: &str, key: &str, query: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.server).expect("the S3 server answers");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
        let path = format!("/{}/{}", self.bucket, encode(key, true));
        let head = format!(
            "{method} {path}?{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: AWS plain:plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.server,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the S3 server listens");
        stream.write_all(body).expect("the S3 server listens");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the S3 server answers to its end");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        assert!(!head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        Answer { status, body }
    }
}

impl Answer {
    #[track_caller]
    fn expect_ok(self, what: &str, key: &str) -> Self {
        if !(200..300).contains(&self.status) {
            panic!("{what} {key}: {} {}", self.status, String::from_utf8_lossy(&self.body));
        }
        self
    }

    fn text(self) -> String {
        String::from_utf8(self.body).expect("XML is UTF-8")
    }
}

/// The texts of all elements of this name.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts = xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next());
    texts
        .map(|text| {
            text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
        })
        .collect()
}

fn encode(text: &str, is_path: bool) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (is_path && byte == b'/');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
