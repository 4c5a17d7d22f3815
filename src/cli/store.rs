//! Which queue is meant, as it is typed, for every command that works on one.

use super::duration::Millis;
use super::exit::{Code, Failure, Outcome};
use crate::queue::QueueSettings;
use crate::store::tikv::{TikvOptions, TlsFiles};
use crate::store::{Durability, StorePlace};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// The queue.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Queue")]
pub struct StoreArgs {
    /// A queue in a file of this host: sqlite:PATH. Wins over --pd
    #[arg(long, value_name = "STORE", value_parser = parse_store)]
    pub store: Option<PathBuf>,
    /// A queue in a TiKV cluster: its placement drivers
    #[arg(long, value_name = "HOST:PORT,…", env = "TIKV_PD_ENDPOINTS", value_delimiter = ',', value_parser = parse_endpoint)]
    pub pd: Vec<String>,
    /// Mutual TLS with the cluster: whom to trust, as PEM. Needs --pd-cert and --pd-key
    #[arg(long, value_name = "FILE", env = "TIKV_CA_PATH")]
    pub pd_ca: Option<PathBuf>,
    /// Mutual TLS with the cluster: our certificate, as PEM
    #[arg(long, value_name = "FILE", env = "TIKV_CERT_PATH")]
    pub pd_cert: Option<PathBuf>,
    /// Mutual TLS with the cluster: our certificate's key, as PEM
    #[arg(long, value_name = "FILE", env = "TIKV_KEY_PATH")]
    pub pd_key: Option<PathBuf>,
    /// All keys of the queue begin with this: several queues share a cluster
    #[arg(long, value_name = "TEXT", env = "TIKV_KEY_PREFIX", default_value = "roboflow")]
    pub key_prefix: String,
    /// How long one request to the cluster may take
    #[arg(long, value_name = "DURATION", env = "TIKV_REQUEST_TIMEOUT_SECS", default_value = "2s")]
    pub store_timeout: Millis,
    /// How long a cluster that does not answer is tried at start
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub store_wait: Millis,
}

impl StoreArgs {
    /// The store that is meant; `None` when none was named. `sync` is how hard a file's commits are made durable, if
    /// that was said.
    ///
    /// # Errors
    /// When the options do not fit together: exit 78.
    pub fn place(&self, sync: Option<Durability>) -> Outcome<Option<StorePlace>> {
        if let Some(path) = &self.store {
            let durability = sync.unwrap_or_default();
            return Ok(Some(StorePlace::Sqlite { path: path.clone(), durability }));
        }
        if self.pd.is_empty() {
            return Ok(None);
        }
        if sync.is_some() {
            return Err(refused(
                "--store-sync is for a queue in a file: a cluster's commits are always replicated",
            ));
        }
        if self.store_timeout.0 == 0 {
            return Err(refused("--store-timeout 0: no request could be answered in time"));
        }
        Ok(Some(StorePlace::Tikv(TikvOptions {
            endpoints: self.pd.clone(),
            tls: self.tls()?,
            request_timeout: Duration::from_millis(self.store_timeout.0),
            connect_within: Duration::from_millis(self.store_wait.0),
        })))
    }

    /// As [`StoreArgs::place`], where a queue must be named.
    ///
    /// # Errors
    /// As there, and when none was named: exit 78.
    pub fn required(&self, sync: Option<Durability>) -> Outcome<StorePlace> {
        self.place(sync)?.ok_or_else(|| {
            refused("which queue? Give --store sqlite:PATH, or --pd HOST:PORT (or TIKV_PD_ENDPOINTS)")
        })
    }

    /// These queue settings, under the key prefix that was typed.
    ///
    /// # Errors
    /// When the queue cannot be set so: exit 78.
    pub fn queue_settings(&self, settings: QueueSettings) -> Outcome<QueueSettings> {
        let settings = QueueSettings { prefix: self.key_prefix.clone(), ..settings };
        settings.check().map_err(|error| Failure { code: Code::Config, error: error.into() })?;
        Ok(settings)
    }

    fn tls(&self) -> Outcome<Option<TlsFiles>> {
        match (&self.pd_ca, &self.pd_cert, &self.pd_key) {
            (None, None, None) => Ok(None),
            (Some(ca), Some(cert), Some(key)) => {
                Ok(Some(TlsFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone() }))
            }
            _ => Err(refused(
                "TLS with the cluster is mutual: give --pd-ca, --pd-cert and --pd-key, or none of them",
            )),
        }
    }
}

fn refused(text: &str) -> Failure {
    Failure::new(Code::Config, text)
}

/// Reads the address of a store that is a file.
fn parse_store(text: &str) -> Result<PathBuf, String> {
    match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(format!(
            "{text:?} is no store that this program knows: write sqlite:PATH, or use --pd for a cluster"
        )),
    }
}

/// Takes `host:port`.
fn parse_endpoint(text: &str) -> Result<String, String> {
    let text = text.trim();
    let bare = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    let port =
        bare.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(bare.to_owned()),
        _ => Err(format!("{text:?} is no placement driver: write HOST:PORT, as in pd-0:2379,pd-1:2379")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        store: StoreArgs,
    }

    fn typed(words: &[&str]) -> StoreArgs {
        let words = std::iter::once("roboflow").chain(words.iter().copied());
        Typed::try_parse_from(words).unwrap().store
    }

    #[test]
    fn a_cluster_is_named_by_its_placement_drivers() {
        let StorePlace::Tikv(options) = typed(&["--pd", "a:1,http://b:2"]).required(None).unwrap() else {
            panic!("not a cluster");
        };
        assert_eq!((options.endpoints, options.tls), (vec!["a:1".to_owned(), "b:2".to_owned()], None));
        assert_eq!(options.request_timeout, Duration::from_secs(2));
        for wrong in ["a", "a:", ":1", "a:0", "a:70000", "ftp://a/x"] {
            assert!(parse_endpoint(wrong).unwrap_err().contains("HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_file_wins_over_a_cluster_and_none_is_refused() {
        let both = typed(&["--pd", "a:1", "--store", "sqlite:q.db"]);
        assert_eq!(both.required(None).unwrap().to_string(), "sqlite:q.db");
        let none = StoreArgs { pd: Vec::new(), ..typed(&[]) };
        assert!(none.required(None).unwrap_err().error.to_string().contains("--pd"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (words, sync, says) in [
            (&["--pd", "a:1", "--pd-ca", "ca.pem"][..], None, "mutual"),
            (&["--pd", "a:1"], Some(Durability::Full), "--store-sync"),
            (&["--pd", "a:1", "--store-timeout", "0"], None, "--store-timeout"),
        ] {
            let refused = typed(words).required(sync).unwrap_err();
            assert!(refused.error.to_string().contains(says), "{words:?}: {:?}", refused.error);
        }
        let spaced = typed(&["--key-prefix", "a b"]).queue_settings(QueueSettings::default());
        assert!(spaced.unwrap_err().error.to_string().contains("prefix"));
    }
}
