//! ROS 1 bags, format 2.0: what of reading a recording is peculiar to them.
//!
//! Format rules: <http://wiki.ros.org/Bags/Format/2.0>. Not by the crate `rosbag`: it maps whole files, and these are
//! read by ranges.

mod connections;
mod index;
mod record;
mod scan;

use super::SourceError;
use super::catalog::Catalog;
use super::chunk::{Body, Packing, Step};
use super::file::File;
use crate::convert::StopFlag;
use bytes::Bytes;
use record::Op;

/// How a bag begins.
pub(super) const MAGIC: &[u8] = b"#ROSBAG V2.0\n";

/// Reads the index at the end, or scans the file once when there is none to rely on.
pub(super) fn open(file: &File, stop: &StopFlag) -> Result<Catalog, SourceError> {
    match index::read(file)? {
        Ok(catalog) => Ok(catalog),
        Err(reason) => Ok(scan::scan(file, stop)?.scanned(file, &reason)),
    }
}

/// A chunk's records, out of its stretch: the chunk record, with its indexes behind it or without.
pub(super) fn unpack(file: &str, at: u64, bytes: &Bytes, spare: Vec<u8>) -> Result<Body, SourceError> {
    let damaged =
        |reason: &str| SourceError::Damaged { file: file.to_owned(), offset: at, reason: reason.to_owned() };
    let framed = record::at(bytes, 0)
        .filter(|framed| framed.op() == Some(Op::Chunk))
        .ok_or_else(|| damaged("no chunk stands where one should"))?;
    let named = framed.header("compression").ok_or_else(|| damaged("a chunk without its compression"))?;
    let size = framed.u32("size").ok_or_else(|| damaged("a chunk without its size"))?;
    let packing = match named {
        b"none" => Packing::None,
        b"bz2" => Packing::Bz2,
        b"lz4" => Packing::Lz4,
        other => {
            let name = String::from_utf8_lossy(other);
            return Err(SourceError::unsupported_compression(file, at, &name));
        }
    };
    packing.unpack(file, at, bytes.slice_ref(framed.data), u64::from(size), spare)
}

/// The record at an offset of a chunk's bytes.
pub(super) fn step(bytes: &[u8], offset: usize) -> Result<Step<'_>, &'static str> {
    let framed = record::at(bytes, offset).ok_or("a record that does not fit in its chunk")?;
    let message = match framed.op() {
        Some(Op::Message) => {
            Some(framed.message().ok_or("a message whose connection or time cannot be read")?)
        }
        _ => None,
    };
    Ok(Step { end: framed.end, message })
}

/// Gives connection, time and offset of each entry of the index records behind a chunk. None when they do not fit.
pub(super) fn entries(bytes: &[u8], take: &mut dyn FnMut(u16, u64, u64)) -> Option<()> {
    let mut offset = 0;
    while offset < bytes.len() {
        let framed = record::at(bytes, offset).filter(|framed| framed.op() == Some(Op::IndexData))?;
        let (connection, entries) = framed.index_data()?;
        entries.for_each(|(stamp_ns, at)| take(connection, stamp_ns, at));
        offset = framed.end;
    }
    Some(())
}
