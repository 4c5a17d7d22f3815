//! What is told when a cluster cannot be reached, or not as the options say.

use roboflow::error::{Class, Classified};
use roboflow::store::tikv::TlsFiles;
use roboflow::store::{StoreError, TikvOptions, TikvStore};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

fn at(endpoints: &[&str], connect_within: Duration) -> TikvOptions {
    TikvOptions {
        endpoints: endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect(),
        tls: None,
        request_timeout: Duration::from_secs(2),
        connect_within,
    }
}

async fn refusal(options: &TikvOptions) -> (StoreError, Duration) {
    let begun = Instant::now();
    let refused = TikvStore::connect(options).await.expect_err("nothing is there");
    (refused, begun.elapsed())
}

#[tokio::test]
async fn nothing_listens() {
    let (error, took) = refusal(&at(&["127.0.0.1:1", "localhost:2"], Duration::from_secs(1))).await;
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    assert_eq!(error.class(), Class::Transient);
    let text = error.to_string();
    for part in ["tikv://127.0.0.1:1,localhost:2", "127.0.0.1:1: Connection refused", "within 1 s", "--pd"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn something_listens_and_stays_silent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let (error, took) = refusal(&at(&[&endpoint], Duration::from_secs(1))).await;
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    let text = error.to_string();
    assert!(text.contains(&endpoint) && text.contains("does not answer"), "{text}");
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let (error, _) = refusal(&at(&["pd.invalid:2379"], Duration::from_millis(500))).await;
    assert!(error.to_string().contains("pd.invalid:2379"), "{error}");
}

#[tokio::test]
async fn no_endpoint_at_all() {
    let (error, took) = refusal(&at(&[], Duration::from_secs(10))).await;
    assert!(took < Duration::from_secs(1) && error.to_string().contains("--pd"), "{error}");
    assert_eq!(error.class(), Class::Permanent);
}

fn tls(folder: &Path, certificate: &str) -> TlsFiles {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        ca: write("ca.pem", certificate),
        cert: write("cert.pem", certificate),
        key: write(
            "key.pem",
            "-----BEGIN PRIVATE KEY-----\nMEtlZXAgdGhpcyBzZWNyZXQ=\n-----END PRIVATE KEY-----\n",
        ),
    }
}

#[tokio::test]
async fn tls_files_that_are_bad_are_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = at(&["127.0.0.1:1"], Duration::from_secs(30));
    let missing = folder.path().join("missing.pem");
    options.tls = Some(TlsFiles { ca: missing.clone(), ..tls(folder.path(), "garbage") });
    let cases = [(missing, "--pd-ca"), (folder.path().join("ca.pem"), "--pd-ca")];
    for (path, option) in cases {
        let (error, took) = refusal(&options).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(error.class(), Class::Permanent);
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains(option), "{text}");
        options.tls = Some(tls(folder.path(), "garbage"));
    }
}

/// What looks like TLS files but is none must not be taken for good, nor must the key show in what is told.
#[tokio::test]
async fn tls_against_something_that_speaks_none() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let certificate = "-----BEGIN CERTIFICATE-----\nMAECAwQ=\n-----END CERTIFICATE-----\n";
    let options = TikvOptions {
        tls: Some(tls(folder.path(), certificate)),
        ..at(&[&endpoint], Duration::from_millis(500))
    };
    let text = refusal(&options).await.0.to_string();
    assert!(text.contains(&endpoint) && text.contains("TLS") && !text.contains("MEtl"), "{text}");
}
