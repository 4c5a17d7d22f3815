//! Who we are to a server: wrong keys, missing rights, a wrong clock, other regions, and every source of credentials.
//! Each error says which place it is about and what to do, and none shows a secret.

use crate::servers::{BUCKET, Canned, KEY, SECRET, Server, answer, error, keys, options};
use roboflow::error::{Class, Classified};
use roboflow::storage::s3::{Environment, S3Options};
use roboflow::storage::{Places, SharedStorage, StorageError};
use roboflow::work::StopFlag;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

const URL: &str = "s3://bucket/x";

fn places(endpoint: &str, environment: Environment) -> Places {
    Places::new(S3Options { environment, opening_patience: Duration::from_secs(2), ..options(endpoint) })
}

fn create(endpoint: &str, environment: Environment) -> Result<SharedStorage, StorageError> {
    places(endpoint, environment).create(URL, &StopFlag::default())
}

/// The text of an error that does not pass by itself.
fn refusal(result: Result<SharedStorage, StorageError>, words: &[&str]) -> String {
    let error = result.unwrap_err();
    let text = error.to_string();
    println!("{text}");
    assert_eq!(error.class(), Class::Permanent, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    assert!(!text.contains(SECRET) && !text.contains("hidden") && text.len() < 600, "{text}");
    text
}

fn with(changes: &[(&str, &str)]) -> Environment {
    let mut set =
        vec![("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", "us-east-1")];
    set.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    set.extend_from_slice(changes);
    Environment::of(set)
}

#[test]
fn pitfall_29_wrong_keys_and_buckets_are_refused_by_url_with_what_to_do() {
    let server = Server::s3s();
    let endpoint = server.endpoint();
    create(&endpoint, keys()).unwrap().put("k", b"1").unwrap();
    assert!(server.folder().join(BUCKET).join("x/k").exists(), "on the server, and nowhere else");
    refusal(
        create(&endpoint, with(&[("AWS_SECRET_ACCESS_KEY", "hidden-other")])),
        &[URL, &endpoint, "does not take", "AWS_ACCESS_KEY_ID"],
    );
    refusal(create(&endpoint, with(&[("AWS_ACCESS_KEY_ID", "other")])), &[URL, &endpoint, "does not take"]);
    let moto = Server::shared_moto().endpoint();
    for opened in [
        places(&moto, keys()).create("s3://no-such-bucket/x", &StopFlag::default()),
        places(&moto, keys()).open("s3://no-such-bucket/x", &StopFlag::default()),
    ] {
        refusal(opened, &["s3://no-such-bucket/x", "no bucket no-such-bucket", &moto, "check"]);
    }
}

#[test]
fn a_missing_right_is_named() {
    let server = Server::moto(&[("INITIAL_NO_AUTH_ACTION_COUNT", "5")]); // the bucket was the first action
    let iam = |body: &str| server.ask("POST", "/", "iam", body);
    assert_eq!(iam("Action=CreateUser&UserName=u&Version=2010-05-08").0, 200);
    let (_, made) = iam("Action=CreateAccessKey&UserName=u&Version=2010-05-08");
    let text = |name: &str| {
        let (_, rest) = made.split_once(&format!("<{name}>")).unwrap();
        rest.split_once("</").unwrap().0.to_owned()
    };
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3AListBucket%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
    assert_eq!(
        iam(&format!(
            "Action=PutUserPolicy&UserName=u&PolicyName=p&Version=2010-05-08&PolicyDocument={policy}"
        ))
        .0,
        200
    );
    assert_eq!(
        server.ask("GET", &format!("/{BUCKET}"), "s3", "").0,
        200,
        "the last action that nobody signs"
    );
    let (key, secret) = (text("AccessKeyId"), text("SecretAccessKey"));
    let environment = with(&[("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", &secret)]);
    let endpoint = server.endpoint();
    let reading = places(&endpoint, environment.clone()).open(URL, &StopFlag::default()).unwrap();
    assert_eq!(reading.list("").unwrap().count(), 0);
    let shown = refusal(create(&endpoint, environment), &[URL, "s3:PutObject", BUCKET, &endpoint]);
    assert!(!shown.contains(&secret));
    for result in [reading.read("k", 9).map(drop), reading.delete("k"), reading.put("k", b"1")] {
        let text = result.unwrap_err().to_string();
        assert!(
            ["s3:GetObject", "s3:DeleteObject", "s3:PutObject"].iter().any(|right| text.contains(right)),
            "{text}"
        );
    }
}

#[test]
fn a_clock_that_is_off_and_another_region_are_said_with_numbers_and_names() {
    let ahead = chrono_date(SystemTime::now() + Duration::from_secs(3600));
    let skewed = Canned::start(Box::new(move |_, _| {
        error(403, &format!("Date: {ahead}\r\n"), "RequestTimeTooSkewed", "")
    }));
    let text = refusal(create(&skewed.endpoint(), keys()), &[URL, "clock", "behind", &skewed.endpoint()]);
    assert!(["3598 s", "3599 s", "3600 s"].iter().any(|by| text.contains(by)), "{text}");
    let moved = Canned::start(Box::new(|_, _| {
        error(301, "x-amz-bucket-region: eu-west-1\r\n", "PermanentRedirect", "")
    }));
    refusal(create(&moved.endpoint(), keys()), &[URL, "eu-west-1", "us-east-1", "AWS_REGION"]);
    let malformed = Canned::start(Box::new(|_, _| {
        error(400, "", "AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>")
    }));
    refusal(create(&malformed.endpoint(), keys()), &["eu-north-1", "AWS_REGION"]);
    let page = Canned::start(Box::new(|_, _| answer(200, "", "<html><body>Welcome</body></html>")));
    refusal(create(&page.endpoint(), keys()), &[URL, "not S3's", "--s3-endpoint", &page.endpoint()]);
}

/// As in a `Date` header, without a library: the day does not matter for its check, the time does.
fn chrono_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days, after Howard Hinnant.
    let z = days as i64 + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (weekday, month) = (weekdays[(days % 7) as usize], names[(month - 1) as usize]);
    format!(
        "{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} GMT",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[test]
fn a_server_that_is_not_there_is_named_with_its_address() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{gone}");
    let failure = create(&endpoint, keys()).unwrap_err();
    let text = failure.to_string();
    println!("{text}");
    assert_eq!(failure.class(), Class::Transient);
    assert!([URL, endpoint.as_str(), "refused", "network"].iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn keys_come_from_a_profile() {
    let server = Server::s3s();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    std::fs::write(&file, format!("[robots]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"))
        .unwrap();
    let profile = |name: &str| {
        Environment::of([
            ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
            ("AWS_PROFILE", name),
            ("HOME", "/nowhere"),
        ])
    };
    create(&server.endpoint(), profile("robots")).unwrap().put("k", b"1").unwrap();
    refusal(
        create(&server.endpoint(), profile("robot")),
        &[URL, "no profile robot", "AWS_PROFILE", file.to_str().unwrap()],
    );
}

/// JSON as a container's address gives it.
fn given(key: &str, secret: &str, ends: SystemTime) -> String {
    let ends = chrono_date(ends);
    let words: Vec<&str> = ends.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let month = 1 + "JanFebMarAprMayJunJulAugSepOctNovDec".find(words[2]).unwrap() / 3;
    let ends = format!("{}-{month:02}-{}T{}Z", words[3], words[1], words[4]);
    let body = format!(
        "{{\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{secret}\",\"Token\":\"hidden-token\",\"Expiration\":\"{ends}\"}}"
    );
    answer(200, "Content-Type: application/json\r\n", &body)
}

#[test]
fn a_containers_credentials_are_asked_for_with_its_token_kept_and_renewed() {
    let server = Server::s3s();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let container = Canned::start(Box::new(move |head, _| {
        if !head.to_ascii_lowercase().contains("authorization: bearer t1") {
            return answer(403, "", "who are you");
        }
        // The first end soon: they serve, and are renewed for lasting ones after a while.
        let life = if counter.fetch_add(1, Ordering::AcqRel) == 0 { 12 } else { 7200 };
        given(KEY, SECRET, SystemTime::now() + Duration::from_secs(life))
    }));
    let full = format!("{}/creds", container.endpoint());
    let environment = |token: &str| {
        Environment::of([
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", full.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token),
            ("HOME", "/nowhere"),
        ])
    };
    let storage = create(&server.endpoint(), environment("Bearer t1")).unwrap();
    for _ in 0..10 {
        storage.put("k", b"1").unwrap();
    }
    assert_eq!(asked.load(Ordering::Acquire), 1, "kept");
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while asked.load(Ordering::Acquire) < 2 && std::time::Instant::now() < end {
        storage.put("k", b"1").unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..10 {
        storage.put("k", b"1").unwrap();
    }
    assert_eq!(asked.load(Ordering::Acquire), 2, "renewed before their end, once");
    let text = refusal(create(&server.endpoint(), environment("Bearer hidden")), &[URL, &full, "403"]);
    assert!(!text.contains("who are you"));
    let silly = Canned::start(Box::new(|_, _| answer(200, "", "{\"SecretAccessKey\":\"hidden\"}")));
    let url = silly.endpoint();
    let silly = Environment::of([("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("HOME", "/nowhere")]);
    refusal(create(&server.endpoint(), silly), &[URL, "gives no credentials"]);
}

#[test]
fn a_web_identity_is_changed_into_keys_by_sts() {
    let server = Server::shared_moto();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let sts = roboflow_proptests::http_proxy::HttpProxy::start(server.address, 1);
    let endpoint = sts.endpoint();
    let environment = || {
        Environment::of([
            ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/robots"),
            ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
            ("HOME", "/nowhere"),
        ])
    };
    refusal(
        create(&server.endpoint(), environment()),
        &[URL, "AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()],
    );
    std::fs::write(&file, "header.hidden.signature\n").unwrap();
    let storage = create(&server.endpoint(), environment()).unwrap();
    for _ in 0..5 {
        storage.put("k", b"1").unwrap();
    }
    assert_eq!(sts.requests(), 1, "kept for their life");
    assert!(!format!("{storage:?}").contains("hidden"));
    let denied = Canned::start(Box::new(|_, body| {
        assert!(
            body.contains("Action=AssumeRoleWithWebIdentity") && body.contains("header.hidden.signature"),
            "{body}"
        );
        answer(
            400,
            "",
            "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no provider</Message></Error></ErrorResponse>",
        )
    }));
    let sts_url = denied.endpoint();
    let environment = Environment::of([
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/robots"),
        ("AWS_ENDPOINT_URL_STS", sts_url.as_str()),
    ]);
    refusal(
        create(&server.endpoint(), environment),
        &[URL, &sts_url, "role/robots", "InvalidIdentityToken", "check the role"],
    );
}

#[test]
fn a_session_token_that_ended_is_renewed_once_where_that_is_possible() {
    let answers = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&answers);
    let server = Canned::start(Box::new(move |_, _| {
        if counter.fetch_add(1, Ordering::AcqRel) == 0 {
            error(400, "", "ExpiredToken", "")
        } else {
            answer(200, "", "<ListBucketResult></ListBucketResult>")
        }
    }));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    std::fs::write(&file, "[default]\naws_access_key_id=k\naws_secret_access_key=s\n").unwrap();
    let environment = Environment::of([("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]);
    places(&server.endpoint(), environment).open(URL, &StopFlag::default()).unwrap();
    assert_eq!(answers.load(Ordering::Acquire), 2);
    let always = Canned::start(Box::new(|_, _| error(400, "", "ExpiredToken", "")));
    refusal(
        create(&always.endpoint(), with(&[("AWS_SESSION_TOKEN", "hidden")])),
        &[URL, "session token", "renew"],
    );
}

#[test]
fn a_look_that_is_refused_without_a_word_is_explained_by_a_read() {
    let server = Canned::start(Box::new(|head, _| match head.split(' ').next().unwrap_or_default() {
        "HEAD" => answer(403, "", ""),
        "GET" if !head.contains("list-type") => error(403, "", "RequestTimeTooSkewed", ""),
        _ => answer(200, "", "<ListBucketResult></ListBucketResult>"),
    }));
    let storage = places(&server.endpoint(), keys()).open(URL, &StopFlag::default()).unwrap();
    let text = storage.head("k").unwrap_err().to_string();
    assert!(text.contains("clock") && text.contains(URL), "{text}");
}
