//! Asking for the own pod: what the answer means, and what is said when there is none.

use super::*;
use roboflow_proptests::api_server::{AUTHORITY, ApiServer, DATE, OTHER_AUTHORITY, pod};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

fn env(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| pairs.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
}

/// A service account's folder, and a server that answers every request so, once each.
fn served(answers: Vec<String>) -> (tempfile::TempDir, OwnPod, thread::JoinHandle<Vec<String>>) {
    let account = tempfile::tempdir().unwrap();
    std::fs::write(account.path().join("token"), "secret-token\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let own = OwnPod {
        base,
        namespace: "robots".to_owned(),
        name: "w-1".to_owned(),
        account: account.path().to_owned(),
    };
    let server = thread::spawn(move || {
        let mut heard = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut bytes = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let n = stream.read(&mut bytes).unwrap();
                request.extend_from_slice(&bytes[..n]);
            }
            heard.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        heard
    });
    (account, own, server)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nDate: {DATE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn asked(own: &OwnPod) -> Result<PodTime, PodError> {
    own.time(Duration::from_secs(20)).await
}

#[test]
fn the_time_left_is_the_kill_less_the_servers_clock_less_their_resolution() {
    let left = |kill: &str| time_of(pod(Some(kill), 40).as_bytes(), DATE).unwrap().left;
    assert_eq!(left("2026-11-21T18:00:40Z"), Some(Duration::from_secs(39)));
    assert_eq!(left("2026-11-21T19:00:40+01:00"), Some(Duration::from_secs(39)), "a zone is heeded");
    assert_eq!(left("2026-11-21T17:59:00Z"), Some(Duration::ZERO), "what is over is over");
}

#[test]
fn a_pod_that_is_not_deleted_tells_its_grace_only() {
    let told = time_of(pod(None, 40).as_bytes(), DATE).unwrap();
    assert_eq!(told, PodTime { left: None, grace: Some(Duration::from_secs(40)) });
}

#[test]
fn what_is_no_pod_is_refused() {
    for body in ["", "[]", "{}", r#"{"metadata":{"deletionTimestamp":"tomorrow"}}"#] {
        assert!(time_of(body.as_bytes(), DATE).is_err(), "{body}");
    }
    assert!(time_of(pod(Some("2026-11-21T18:00:40Z"), 1).as_bytes(), "now").unwrap_err().contains("Date"));
}

#[tokio::test]
async fn it_gets_its_own_pod_with_its_token() {
    let body = pod(Some("2026-11-21T18:00:06Z"), 5);
    let (_account, own, server) = served(vec![answer("200 OK", &body)]);
    let told = asked(&own).await.unwrap();
    assert_eq!(told.left, Some(Duration::from_secs(5)));
    let heard = server.join().unwrap().remove(0);
    assert!(heard.starts_with("GET /api/v1/namespaces/robots/pods/w-1 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.to_lowercase().contains("authorization: bearer secret-token\r\n"), "{heard}");
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_never_the_token() {
    let (_account, own, server) =
        served(vec![answer("403 Forbidden", "{}"), answer("404 Not Found", "{}"), answer("503 Busy", "{}")]);
    for (word, class) in
        [("role", Class::Permanent), ("POD_NAME", Class::Permanent), ("503", Class::Transient)]
    {
        let error = asked(&own).await.unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(!format!("{error:?}").contains("secret-token"));
        assert_eq!(error.class(), class);
    }
    server.join().unwrap();
}

#[tokio::test]
async fn silence_ends_at_its_limit() {
    let account = tempfile::tempdir().unwrap();
    std::fs::write(account.path().join("token"), "t").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let own = OwnPod { base, namespace: "n".into(), name: "p".into(), account: account.path().to_owned() };
    let error = own.time(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().contains("within 50 ms"), "{error}");
}

#[test]
fn outside_of_a_pod_there_is_none() {
    let account = tempfile::tempdir().unwrap();
    let inside = env(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")]);
    assert!(OwnPod::find("w", account.path(), env(&[])).unwrap().is_none());
    assert!(OwnPod::find("w", account.path(), &inside).unwrap().is_none(), "no token is mounted");
    std::fs::write(account.path().join("token"), "t").unwrap();
    assert!(OwnPod::find("w", account.path(), &inside).unwrap_err().to_string().contains("namespace"));
    std::fs::write(account.path().join("namespace"), "robots\n").unwrap();
    let own = OwnPod::find("w", account.path(), &inside).unwrap().unwrap();
    assert_eq!(own.url(), "https://10.96.0.1:443/api/v1/namespaces/robots/pods/w");
    let six = env(&[("KUBERNETES_SERVICE_HOST", "fd00::1"), ("POD_NAMESPACE", "n")]);
    assert_eq!(
        OwnPod::find("w", account.path(), six).unwrap().unwrap().url(),
        "https://[fd00::1]:443/api/v1/namespaces/n/pods/w"
    );
}

#[tokio::test]
async fn without_an_authority_nothing_is_sent() {
    let account = tempfile::tempdir().unwrap();
    std::fs::write(account.path().join("token"), "t").unwrap();
    let inside = env(&[
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "1"),
        ("POD_NAMESPACE", "n"),
    ]);
    let own = OwnPod::find("w", account.path(), inside).unwrap().unwrap();
    let missing = asked(&own).await.unwrap_err().to_string();
    assert!(missing.contains("ca.crt"), "{missing}");
    std::fs::write(account.path().join("ca.crt"), "no certificate").unwrap();
    assert!(asked(&own).await.unwrap_err().to_string().contains("no certificate that can be used"));
}

#[tokio::test]
async fn it_trusts_the_accounts_authority_and_no_other() {
    let account = tempfile::tempdir().unwrap();
    std::fs::write(account.path().join("token"), "t").unwrap();
    let server = ApiServer::start("200 OK", &pod(Some("2026-11-21T18:00:11Z"), 10));
    let inside = |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some("127.0.0.1".to_owned()),
        "KUBERNETES_SERVICE_PORT" => Some(server.port().to_string()),
        "POD_NAMESPACE" => Some("robots".to_owned()),
        _ => None,
    };
    let own = OwnPod::find("w-1", account.path(), inside).unwrap().unwrap();
    std::fs::write(account.path().join("ca.crt"), OTHER_AUTHORITY).unwrap();
    let error = asked(&own).await.unwrap_err();
    assert!(matches!(error, PodError::Unreachable { .. }), "{error}");
    std::fs::write(account.path().join("ca.crt"), AUTHORITY).unwrap();
    assert_eq!(asked(&own).await.unwrap().left, Some(Duration::from_secs(10)));
    assert_eq!(server.asked().len(), 1, "the token was sent to one of them only");
}
