//! Making a client: at the start, for as long as the options say, and with words for a person when it cannot be done.

use super::limits::{ANSWER_MAX_BYTES, PAUSE_MAX, PAUSE_MIN, PROBE_LIMIT};
use super::options::TikvOptions;
use super::{fault, tls};
use crate::store::StoreError;
use tikv_client::{Config, TransactionClient};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Connects, again and again for as long as the options say.
pub(super) async fn first(options: &TikvOptions) -> Result<TransactionClient, StoreError> {
    let name = options.to_string();
    check(&name, options)?;
    let until = Instant::now() + options.connect_within;
    let mut pause = PAUSE_MIN;
    loop {
        let failure = match timeout_at(until, connect(options)).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(failure)) => failure,
            Err(_) => "no answer in time".to_owned(),
        };
        if Instant::now() + pause >= until {
            return Err(unreachable(&name, options, &failure).await);
        }
        tracing::warn!(store = name, failure, "the placement driver does not answer yet");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Refuses options that cannot work, however long one tries.
fn check(name: &str, options: &TikvOptions) -> Result<(), StoreError> {
    let unusable = |reason: String| StoreError::Unusable { store: name.to_owned(), reason };
    if options.endpoints.is_empty() {
        return Err(unusable("no placement driver is named; give host:port with --pd".to_owned()));
    }
    if options.request_timeout.is_zero() {
        return Err(unusable("a request needs more than 0 s; see --store-timeout".to_owned()));
    }
    options.tls.as_ref().map_or(Ok(()), |files| tls::check(files).map_err(unusable))
}

/// Connects, once.
pub(super) async fn connect(options: &TikvOptions) -> Result<TransactionClient, String> {
    let mut config = Config::default()
        .with_timeout(options.request_timeout)
        .with_grpc_max_decoding_message_size(ANSWER_MAX_BYTES);
    if let Some(files) = &options.tls {
        config = config.with_security(&files.ca, &files.cert, &files.key);
    }
    let client = TransactionClient::new_with_config(options.endpoints.clone(), config);
    client.await.map_err(|error| fault::text(&error))
}

/// Says of each endpoint what is wrong with it, as far as a connection can tell.
async fn unreachable(name: &str, options: &TikvOptions, failure: &str) -> StoreError {
    let mut seen = Vec::new();
    for endpoint in &options.endpoints {
        let what = match timeout(PROBE_LIMIT, TcpStream::connect(endpoint)).await {
            Ok(Ok(_)) if options.tls.is_some() => {
                "is there, but does not answer; check that it speaks TLS and accepts the certificate"
                    .to_owned()
            }
            Ok(Ok(_)) => {
                "is there, but does not answer as a placement driver does; it may want TLS".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no connection".to_owned(),
        };
        seen.push(format!("{endpoint}: {what}"));
    }
    StoreError::Unavailable {
        store: name.to_owned(),
        reason: format!(
            "no placement driver answered within {} s: {} ({failure}); check that it runs and that --pd names it",
            options.connect_within.as_secs_f32(),
            seen.join("; "),
        ),
    }
}
