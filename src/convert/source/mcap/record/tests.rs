//! No length in a record makes the parser reserve more than the record bears out.

use super::*;
use std::process::Command;

/// Address space for the child, in KiB: less than a string of 4 GiB, far more than all tests need.
const CHILD_KIB: u32 = 2 << 20;
const CHILD: &str = "SOURCE_RECORD_CHILD";

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// A whole body of each kind that has strings, with bytes behind it as newer versions may add.
fn bodies() -> [(u8, Vec<u8>); 4] {
    let metadata = prefixed(&[prefixed(b"k"), prefixed(b"v")].concat());
    let trail = vec![0; 24];
    [
        (
            op::SCHEMA,
            [vec![1, 0], prefixed(b"p/M"), prefixed(b"ros2msg"), prefixed(b"x"), trail.clone()].concat(),
        ),
        (
            op::CHANNEL,
            [vec![1, 0, 1, 0], prefixed(b"/a"), prefixed(b"cdr"), metadata, trail.clone()].concat(),
        ),
        (op::CHUNK, [vec![0; 28], prefixed(b"zstd"), vec![0; 8], trail.clone()].concat()),
        (
            op::CHUNK_INDEX,
            [vec![0; 32], prefixed(&[0; 10]), vec![0; 8], prefixed(b"lz4"), vec![0; 16], trail].concat(),
        ),
    ]
}

#[test]
fn whole_records_are_parsed_and_kinds_of_no_interest_are_not() {
    for (opcode, body) in bodies() {
        assert_eq!(parse(Framed { offset: 0, opcode, body: &body }).unwrap().opcode(), opcode);
    }
    // The crate's parser panics on a short attachment.
    for opcode in [op::ATTACHMENT, op::HEADER, op::METADATA, op::METADATA_INDEX, op::ATTACHMENT_INDEX, 0, 200]
    {
        let record = parse(Framed { offset: 0, opcode, body: &[0; 26] });
        assert!(matches!(record, Some(Record::Unknown { .. })), "{opcode}");
    }
}

/// The limit of the address space holds for a whole process, so the work is done in one of its own.
#[test]
fn lengths_that_lie_reserve_nothing() {
    if std::env::var_os(CHILD).is_some() {
        return lie_about_every_length();
    }
    let child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {CHILD_KIB} && exec \"$0\" --exact \"$1\" --test-threads 1")])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("{}::lengths_that_lie_reserve_nothing", module_path!().split_once("::").unwrap().1))
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && said.contains("1 passed"), "{}: {said}", child.status);
}

/// Every four bytes claim 4 GiB, behind every small value that may shift what is read.
fn lie_about_every_length() {
    // What the child would die of is really out of its reach.
    assert!(Vec::<u8>::new().try_reserve_exact(u32::MAX as usize).is_err());
    for (opcode, whole) in bodies() {
        for lie in 0..whole.len() - 4 {
            for shifted in 0..lie.max(1) {
                for shift in 0..24 {
                    let mut body = whole.clone();
                    body[shifted] = shift;
                    body[lie..lie + 4].copy_from_slice(&u32::MAX.to_le_bytes());
                    if let Some(record) = parse(Framed { offset: 0, opcode, body: &body }) {
                        assert_eq!(record.opcode(), opcode);
                    }
                }
            }
        }
    }
}
