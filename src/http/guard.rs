//! Who may ask a process for more than to look: whoever is on its own host or in its own pod, or knows the token.
//!
//! A connection from the loopback counts as the host itself only if it shows no sign of having come through a proxy or out
//! of a web page: those speak for somebody else.

use axum::http::header::{AUTHORIZATION, HeaderMap, ORIGIN, VIA};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A token file is not longer than this.
pub const TOKEN_BYTES_MAX: u64 = 4 * 1024;
/// A token is not shorter than this: one that can be guessed is none.
pub const TOKEN_BYTES_MIN: usize = 16;
/// What proxies add to what they pass on.
const PROXY_HEADERS: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-envoy-external-address"];

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address.
    Tcp(IpAddr),
    /// Somebody who may open the socket's file.
    Socket,
}

impl Peer {
    fn is_here(self) -> bool {
        match self {
            Self::Socket => true,
            Self::Tcp(address) => address.to_canonical().is_loopback(),
        }
    }
}

/// Lets in, or does not.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    token_file: Option<PathBuf>,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A token is needed, and none was given.
    TokenNeeded,
    /// The wrong one.
    WrongToken,
    /// From elsewhere, and there is no token that could be given.
    Elsewhere,
    /// The token cannot be read, so nobody can know it.
    Unreadable,
}

impl Guard {
    /// With the token that stands in this file, if any. It is read now, so that a file that cannot be used is found at
    /// start, and again at each request, so that a token can be changed.
    ///
    /// # Errors
    /// A sentence about the file, with what to do. Never its content.
    pub fn new(token_file: Option<PathBuf>) -> Result<Self, String> {
        if let Some(path) = &token_file {
            read_token(path).map_err(|why| format!("--admin-token-file {}: {why}", path.display()))?;
        }
        Ok(Self { token_file })
    }

    /// Whether this request may do more than look.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(&self, peer: Peer, headers: &HeaderMap) -> Result<(), Refused> {
        let given = headers.get(AUTHORIZATION).map(|given| given.as_bytes());
        match (given, &self.token_file) {
            (Some(given), Some(path)) => {
                let token = read_token(path).map_err(|error| {
                    tracing::error!(file = %path.display(), error, "the admin token cannot be read");
                    Refused::Unreadable
                })?;
                let given = bearer(given).ok_or(Refused::WrongToken)?;
                if same(given, &token) { Ok(()) } else { Err(Refused::WrongToken) }
            }
            _ if peer.is_here() && !speaks_for_another(headers) => Ok(()),
            (None, Some(_)) => Err(Refused::TokenNeeded),
            (_, None) => Err(Refused::Elsewhere),
        }
    }
}

fn speaks_for_another(headers: &HeaderMap) -> bool {
    let from_page = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
    from_page || headers.contains_key(VIA) || PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

fn bearer(given: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = given.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Takes the same time whichever bytes differ: digests are compared, all of them.
fn same(given: &[u8], token: &[u8]) -> bool {
    let (given, token) = (Sha256::digest(given), Sha256::digest(token));
    given.iter().zip(token.iter()).fold(0u8, |differ, (one, other)| differ | (one ^ other)) == 0
}

/// Reads a token, without the blanks and line ends around it.
///
/// # Errors
/// What is wrong with the file, without its content.
pub fn read_token(path: &Path) -> Result<Vec<u8>, String> {
    let read = |path| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > TOKEN_BYTES_MAX {
        return Err(format!("it is longer than {TOKEN_BYTES_MAX} bytes, so it holds no token"));
    }
    let token = bytes.trim_ascii();
    if token.len() < TOKEN_BYTES_MIN || !token.iter().all(u8::is_ascii_graphic) {
        return Err(format!(
            "a token is {TOKEN_BYTES_MIN} or more printable characters without blanks, as 'openssl rand -hex 32' makes it"
        ));
    }
    Ok(token.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};
    use std::fs;

    const HERE: Peer = Peer::Tcp(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const TOKEN: &str = "0123456789abcdef";

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        let one = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        of.iter().map(one).collect()
    }

    fn elsewhere() -> Peer {
        Peer::Tcp("10.1.2.3".parse().unwrap())
    }

    #[test]
    fn without_a_token_only_this_host_is_let_in() {
        let guard = Guard::new(None).unwrap();
        let mapped = Peer::Tcp("::ffff:127.0.0.1".parse().unwrap());
        for peer in [HERE, Peer::Socket, mapped, Peer::Tcp("::1".parse().unwrap())] {
            assert_eq!(guard.admit(peer, &HeaderMap::new()), Ok(()), "{peer:?}");
        }
        assert_eq!(guard.admit(elsewhere(), &HeaderMap::new()), Err(Refused::Elsewhere));
        let guessed = headers(&[("authorization", "Bearer 0123456789abcdef")]);
        assert_eq!(guard.admit(elsewhere(), &guessed), Err(Refused::Elsewhere));
    }

    #[test]
    fn whoever_speaks_for_another_is_not_this_host() {
        let guard = Guard::new(None).unwrap();
        for sign in
            ["origin", "via", "x-forwarded-for", "forwarded", "sec-fetch-site", "x-envoy-external-address"]
        {
            assert_eq!(guard.admit(HERE, &headers(&[(sign, "null")])), Err(Refused::Elsewhere), "{sign}");
        }
    }

    #[test]
    fn a_token_lets_in_from_anywhere_and_can_be_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
        let guard = Guard::new(Some(file.path().to_path_buf())).unwrap();
        let with = |token: &str| headers(&[("authorization", token)]);
        assert_eq!(guard.admit(elsewhere(), &with(&format!("Bearer {TOKEN}"))), Ok(()));
        assert_eq!(guard.admit(elsewhere(), &with(&format!("bearer {TOKEN}"))), Ok(()));
        for wrong in ["Bearer 0123456789abcdeF", "Bearer", "Bearer ", "Basic 0123456789abcdef", TOKEN] {
            assert_eq!(guard.admit(elsewhere(), &with(wrong)), Err(Refused::WrongToken), "{wrong}");
            assert_eq!(guard.admit(HERE, &with(wrong)), Err(Refused::WrongToken), "{wrong}");
        }
        assert_eq!(guard.admit(elsewhere(), &HeaderMap::new()), Err(Refused::TokenNeeded));
        assert_eq!(guard.admit(HERE, &HeaderMap::new()), Ok(()));
        fs::write(file.path(), "another-token-of-ours").unwrap();
        assert_eq!(guard.admit(elsewhere(), &with(&format!("Bearer {TOKEN}"))), Err(Refused::WrongToken));
        assert_eq!(guard.admit(elsewhere(), &with("Bearer another-token-of-ours")), Ok(()));
        fs::write(file.path(), "").unwrap();
        assert_eq!(guard.admit(elsewhere(), &with("Bearer ")), Err(Refused::Unreadable));
    }

    #[test]
    fn a_token_file_that_holds_none_is_refused_without_its_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for wrong in ["", "short", "with blanks in its middle", &"x".repeat(5_000)] {
            fs::write(file.path(), wrong).unwrap();
            let refused = Guard::new(Some(file.path().to_path_buf())).unwrap_err();
            assert!(refused.contains("--admin-token-file") && refused.contains("token"), "{refused}");
            assert!(wrong.is_empty() || !refused.contains(wrong), "{refused}");
        }
        let missing = Guard::new(Some("/nowhere/token".into())).unwrap_err();
        assert!(missing.contains("/nowhere/token"), "{missing}");
    }
}
