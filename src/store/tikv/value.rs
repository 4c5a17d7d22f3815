//! How a value is stored: with one byte behind it.
//!
//! The protocol was made for values that are not empty, and stores differ in what an empty one means: to some it is the
//! same as none at all. With the byte no value is ever empty, and what does not end with it was written by somebody else.

use crate::store::StoreError;

/// What stands behind every value.
const END: u8 = 0x01;

/// A value as it is stored.
pub(super) fn to_stored(mut value: Vec<u8>) -> Vec<u8> {
    value.push(END);
    value
}

/// A stored value as it was given. An empty one stands for none.
pub(super) fn from_stored(
    store: &str,
    key: &[u8],
    mut stored: Vec<u8>,
) -> Result<Option<Vec<u8>>, StoreError> {
    match stored.pop() {
        None => Ok(None),
        Some(END) => Ok(Some(stored)),
        Some(_) => Err(StoreError::Unusable {
            store: store.to_owned(),
            reason: format!(
                "the key {} was written by another program; use another --key-prefix, or remove it",
                key.escape_ascii()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_and_none_is_stored_empty() {
        for value in [&b""[..], b"\x00", b"\x01", b"text\x01"] {
            let stored = to_stored(value.to_vec());
            assert!(!stored.is_empty());
            assert_eq!(from_stored("s", b"k", stored).unwrap().as_deref(), Some(value));
        }
        assert_eq!(from_stored("s", b"k", Vec::new()).unwrap(), None);
    }

    #[test]
    fn a_foreign_value_is_refused_with_its_key() {
        let error = from_stored("tikv://pd:2379", b"job/\x00", b"{}".to_vec()).unwrap_err().to_string();
        assert!(error.contains(r"job/\x00") && error.contains("tikv://pd:2379"), "{error}");
    }
}
