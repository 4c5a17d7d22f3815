//! What is announced comes by large requests, once, and ahead of its reads.

use crate::servers::{Server, new_location, options};
use roboflow::storage::{Places, Storage};
use roboflow::work::StopFlag;
use roboflow_proptests::http_proxy::{HttpFault, HttpProxy, Rule};

const PIECE_BYTES: usize = 3_000_000;
/// Bytes of a read, as a copy makes it.
const READ_BYTES: usize = 1 << 20;

fn read_all(storage: &dyn Storage, keys: &[String], body: &[u8]) {
    for key in keys {
        let object = storage.head(key).unwrap();
        let mut got = Vec::new();
        while got.len() < PIECE_BYTES {
            let len = READ_BYTES.min(PIECE_BYTES - got.len());
            got.extend(storage.read_at(&object, 1_000 + got.len() as u64, len).unwrap());
        }
        assert!(got == body[1_000..1_000 + PIECE_BYTES], "{key}");
    }
}

#[test]
fn what_is_announced_is_fetched_once_by_large_requests() {
    let proxy = HttpProxy::start(Server::shared_moto().address, 1);
    let storage =
        Places::new(options(&proxy.endpoint())).create(&new_location(), &StopFlag::default()).unwrap();
    let body: Vec<u8> = (0..PIECE_BYTES + 500_000).map(|at| (at / 4096 % 251) as u8).collect();
    let keys: Vec<String> = (0..8).map(|number| format!("segment-{number}")).collect();
    for key in &keys {
        storage.put(key, &body).unwrap();
    }
    let piece = 1_000..1_000 + PIECE_BYTES as u64;
    let pieces: Vec<_> = keys.iter().map(|key| (storage.head(key).unwrap(), piece.clone())).collect();
    let fetched = |announced: bool| {
        let (requests, bytes) = (proxy.requests(), proxy.answered_bytes());
        storage.announce(if announced { &pieces } else { &[] });
        read_all(storage.as_ref(), &keys, &body);
        // One a look at each.
        (proxy.requests() - requests - keys.len() as u64, proxy.answered_bytes() - bytes)
    };
    assert_eq!(fetched(true), (keys.len() as u64, (keys.len() * PIECE_BYTES) as u64));
    let (requests, bytes) = fetched(false);
    assert!(
        requests > 2 * keys.len() as u64 && bytes > (keys.len() * PIECE_BYTES) as u64,
        "{requests} {bytes}"
    );

    // A request that fails ahead of its read is made again.
    proxy.set([Rule::always(HttpFault::Answer(403, "AccessDenied")).method("GET").times(2)]);
    storage.announce(&pieces);
    let (requests, _) = (proxy.requests(), proxy.set([]));
    read_all(storage.as_ref(), &keys, &body);
    assert!(proxy.requests() > requests);
}
