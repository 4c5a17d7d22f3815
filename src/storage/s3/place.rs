//! Names: `s3://bucket/prefix` URLs, servers' URLs, and keys below a prefix. Nothing is opened here.

use super::options::Environment;
use crate::storage::StorageError;
use crate::storage::key::{MAX_KEY_BYTES, check_key, check_prefix};

/// A bucket's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// Empty, or a key with a `/` behind it.
    pub(super) prefix: String,
    /// As a URL, without a `/` at its end.
    pub(super) location: String,
}

/// Whether a location is object storage's.
pub(crate) fn is_s3(location: &str) -> bool {
    location.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("s3"))
}

impl Place {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`StorageError::Refused`] says what is wrong with it.
    pub(super) fn parse(location: &str) -> Result<Self, StorageError> {
        let refuse = |reason: &str| refused(location, reason);
        let Some((_, rest)) = location.split_once("://").filter(|_| is_s3(location)) else {
            return Err(refuse("it is no s3://bucket/prefix URL"));
        };
        if rest.contains(['%', '?', '#']) {
            return Err(refuse(
                "names are written as they are in an s3:// URL: `%`, `?` and `#` are not taken",
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(bucket).map_err(refuse)?;
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let location = format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned();
        if prefix.is_empty() {
            if rest.ends_with("//") {
                return Err(refuse("a prefix has no empty parts"));
            }
            return Ok(Self { bucket: bucket.into(), prefix: String::new(), location });
        }
        check_key(&location, prefix).map_err(|error| match error {
            StorageError::Invalid { reason, .. } => refuse(&reason.replace("a key", "a prefix")),
            other => other,
        })?;
        Ok(Self { bucket: bucket.into(), prefix: format!("{prefix}/"), location })
    }

    /// The bucket's key for one of ours.
    pub(super) fn key(&self, key: &str) -> Result<String, StorageError> {
        check_key(&self.location, key)?;
        self.bounded(key)
    }

    /// The bucket's prefix for one of ours.
    pub(super) fn prefix(&self, prefix: &str) -> Result<String, StorageError> {
        check_prefix(&self.location, prefix)?;
        self.bounded(prefix)
    }

    /// Our key for one of the bucket's; none for what is not ours: folder markers, names that no storage takes.
    pub(super) fn own<'k>(&self, full: &'k str) -> Option<&'k str> {
        full.strip_prefix(self.prefix.as_str()).filter(|key| check_key(&self.location, key).is_ok())
    }

    fn bounded(&self, name: &str) -> Result<String, StorageError> {
        let full = format!("{}{name}", self.prefix);
        if full.len() <= MAX_KEY_BYTES {
            return Ok(full);
        }
        let reason = format!("with the prefix of its place it has over {MAX_KEY_BYTES} bytes");
        let key = name.chars().take(200).collect();
        Err(StorageError::Invalid { location: self.location.clone(), key, reason })
    }
}

/// That a place cannot be opened.
pub(super) fn refused(location: &str, reason: &str) -> StorageError {
    let (location, reason) = (location.to_owned(), reason.to_owned());
    StorageError::Refused { location, action: "opening", key: "it".into(), reason }
}

/// As S3 has them, and names from before its rules with capitals and underscores.
fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    if bucket.is_empty() {
        Err("it names no bucket: s3://bucket/prefix is meant")
    } else if bucket.contains('@') || bucket.contains(':') {
        Err("a bucket stands where a user, host or port seems to: a server is given by --s3-endpoint")
    } else if !(3..=63).contains(&bucket.len()) {
        Err("a bucket's name has 3 to 63 characters")
    } else if !bucket.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-' | b'_')) {
        Err("a bucket's name is made of letters, digits, `.`, `-` and `_`")
    } else if !bucket.bytes().next().is_some_and(plain) || !bucket.bytes().last().is_some_and(plain) {
        Err("a bucket's name begins and ends with a letter or digit")
    } else if bucket.contains("..") {
        Err("a bucket's name has no `..`")
    } else {
        Ok(())
    }
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `http(s)://host[:port]`.
    pub(super) url: String,
    /// Whether it is not the cloud's own.
    pub(super) is_given: bool,
}

impl Endpoint {
    /// The server for object storage.
    pub(super) fn of_s3(
        given: Option<&str>,
        environment: &Environment,
        region: &str,
    ) -> Result<Self, String> {
        let named = given
            .filter(|url| !url.is_empty())
            .map(|url| ("--s3-endpoint or AWS_ENDPOINT_URL_S3", url.to_owned()));
        Self::choose("s3", named, "AWS_ENDPOINT_URL_S3", environment, region)
    }

    /// The server that gives credentials for a token.
    pub(super) fn of_sts(environment: &Environment, region: &str) -> Result<Self, String> {
        Self::choose("sts", None, "AWS_ENDPOINT_URL_STS", environment, region)
    }

    fn choose(
        service: &str,
        named: Option<(&'static str, String)>,
        own: &'static str,
        environment: &Environment,
        region: &str,
    ) -> Result<Self, String> {
        let from = |name: &'static str| environment.get(name).map(|url| (name, url));
        let Some((source, url)) = named.or_else(|| from(own)).or_else(|| from("AWS_ENDPOINT_URL")) else {
            let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            return Ok(Self { url: format!("https://{service}.{region}.{domain}"), is_given: false });
        };
        let wrong = |what: &str| Err(format!("{source}: {what}; http://host:port or https://host is meant"));
        let Some((scheme, host)) = url.split_once("://") else { return wrong("it has no scheme") };
        let scheme = scheme.to_ascii_lowercase();
        let host = host.strip_suffix('/').unwrap_or(host);
        if !matches!(scheme.as_str(), "http" | "https") {
            return wrong("its scheme is not served");
        }
        // The URL itself is not repeated here: it may hold a password.
        if host.contains('@') {
            return wrong("it holds a user or password: credentials are not given by URL");
        }
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return wrong("it has a path or no host");
        }
        let url = format!("{scheme}://{host}");
        let port =
            host.rsplit_once(']').map_or(host, |(_, behind)| behind).split_once(':').map(|(_, port)| port);
        if url.parse::<hyper::Uri>().is_err() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return wrong("its host or port cannot be");
        }
        Ok(Self { url, is_given: true })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.url.starts_with("https:")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_prefix() {
        for (url, bucket, prefix, location) in [
            ("s3://bucket", "bucket", "", "s3://bucket"),
            ("S3://bucket/", "bucket", "", "s3://bucket"),
            ("s3://my.bucket-1/a", "my.bucket-1", "a/", "s3://my.bucket-1/a"),
            ("s3://bucket/a/b c/ä/", "bucket", "a/b c/ä/", "s3://bucket/a/b c/ä"),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!(
                (place.bucket.as_str(), place.prefix.as_str(), place.location.as_str()),
                (bucket, prefix, location)
            );
            assert_eq!(place.key("x/y").unwrap(), format!("{prefix}x/y"));
            assert_eq!(place.own(&format!("{prefix}x/y")), Some("x/y"));
        }
    }

    #[test]
    fn pitfall_29_wrong_urls_are_refused_with_what_is_meant() {
        for (url, word) in [
            ("s3://", "no bucket"),
            ("s3:///x", "no bucket"),
            ("s3://ab/x", "3 to 63"),
            ("s3://Buck et/x", "letters, digits"),
            ("s3://-bucket/x", "begins and ends"),
            ("s3://buc..ket/x", "`..`"),
            ("s3://key:secret@host/x", "--s3-endpoint"),
            ("s3://localhost:9000/x", "--s3-endpoint"),
            ("s3://bucket/a%20b", "as they are"),
            ("s3://bucket/a?version=1", "as they are"),
            ("s3://bucket/a//b", "empty"),
            ("s3://bucket//", "empty"),
            ("s3://bucket/../b", "`..`"),
        ] {
            let error = Place::parse(url).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(url), "{error}");
        }
        let place = Place::parse(&format!("s3://bucket/{}", "p".repeat(1000))).unwrap();
        assert!(place.key(&"k".repeat(30)).unwrap_err().to_string().contains("1024"));
        assert_eq!(place.own("other/x"), None);
        assert_eq!(Place::parse("s3://bucket").unwrap().own("folder/"), None);
    }

    #[test]
    fn servers_are_given_by_option_then_environment() {
        let environment =
            Environment::of([("AWS_ENDPOINT_URL", "http://all:1/"), ("AWS_ENDPOINT_URL_STS", "https://sts")]);
        let url =
            |given, environment: &Environment| Endpoint::of_s3(given, environment, "eu-west-1").unwrap().url;
        assert_eq!(url(Some("https://given"), &environment), "https://given");
        assert_eq!(url(None, &environment), "http://all:1");
        assert_eq!(
            url(Some(""), &Environment::of([("AWS_ENDPOINT_URL_S3", "HTTP://s3:9000")])),
            "http://s3:9000"
        );
        let none = Environment::of::<String, String>([]);
        assert_eq!(url(None, &none), "https://s3.eu-west-1.amazonaws.com");
        assert_eq!(Endpoint::of_sts(&environment, "x").unwrap().url, "https://sts");
        assert_eq!(
            Endpoint::of_sts(&none, "cn-north-1").unwrap().url,
            "https://sts.cn-north-1.amazonaws.com.cn"
        );
        for wrong in [
            "host:9000",
            "ftp://host",
            "http://",
            "http://host/path",
            "http://user:hidden@host",
            "http://ho st",
            "http://host:port",
        ] {
            let error = Endpoint::of_s3(Some(wrong), &none, "x").unwrap_err();
            assert!(error.contains("--s3-endpoint") && !error.contains("hidden"), "{wrong}: {error}");
        }
    }
}
