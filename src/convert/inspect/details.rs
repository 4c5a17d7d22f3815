//! What only the messages themselves tell: stamps in their order, latencies, sizes, and each camera's first picture.
//!
//! Every message is looked at once and none is kept but pictures, of which there are few and of a bounded size.

use super::histogram::{Bar, Histogram};
use crate::convert::decode::{Encoding, Extractor, Schema, StampPlan};
use crate::convert::image::geometry;
use crate::convert::source::{Message, Recording, Walked};
use crate::convert::{StopFlag, WorkError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// Topics that are looked at so, the first by name.
pub const MAX_TOPICS: usize = 500;
/// Pictures that are kept.
const MAX_PICTURES: usize = 16;
/// A picture is at most this large, as it came.
const MAX_PICTURE_BYTES: usize = 2 << 20;
/// Messages of a topic in which a picture is looked for.
const MAX_PICTURE_TRIES: u32 = 8;

/// What the messages of a topic tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Details {
    /// Messages that were looked at.
    pub messages: u64,
    /// Bytes of all messages, unpacked.
    pub bytes: u64,
    /// Bytes of the largest message.
    pub largest_bytes: u64,
    /// The order of the log stamps.
    pub log: Order,
    /// The order of the publish stamps.
    pub publish: Order,
    /// The order of the stamps in the messages; none of types without one.
    pub header: Option<Order>,
    /// Messages whose own stamp is zero: nobody set it.
    pub header_unset: u64,
    /// Messages whose own stamp cannot be read.
    pub header_unreadable: u64,
    /// Log stamp minus publish stamp.
    pub since_publish: Option<Latency>,
    /// Log stamp minus the stamp in the message; unset ones are left out.
    pub since_header: Option<Latency>,
    /// The first picture of a camera.
    pub picture: Option<Picture>,
    /// Why there is no picture of what looks like a camera.
    pub no_picture: Option<String>,
}

/// How stamps follow each other, from message to message of a topic as they lie in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Order {
    /// Messages that are earlier than the one before.
    pub back: u64,
    /// The largest step back, in milliseconds.
    pub most_back_ms: f64,
    /// Messages with the stamp of the one before.
    pub same: u64,
    #[serde(skip)]
    last_ns: Option<u64>,
    #[serde(skip)]
    most_back_ns: u64,
}

/// How much later one stamp is than another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// Messages that have both.
    pub messages: u64,
    /// Of these, how many have it below zero: two clocks that differ.
    pub negative: u64,
    /// The least.
    pub min_ms: f64,
    /// The mean.
    pub mean_ms: f64,
    /// The middle one, to 3 %.
    pub median_ms: f64,
    /// At least 95 of 100 are no greater, to 3 %.
    pub p95_ms: f64,
    /// At least 99 of 100 are no greater, to 3 %.
    pub p99_ms: f64,
    /// The greatest.
    pub max_ms: f64,
    /// Those of zero and more.
    pub histogram: Vec<Bar>,
}

/// A picture as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Picture {
    /// `image/jpeg` or `image/png`.
    pub media_type: &'static str,
    /// Its kind and size for people: `a JPEG of 640 x 480`.
    pub shown: String,
    /// The log time of its message.
    pub log_ns: u64,
    /// Bytes of the file.
    pub bytes: usize,
    /// The file in base64, for a `data:` URL.
    #[serde(skip)]
    pub base64: String,
}

/// Looks at all messages; for each topic what was found, as far as [`MAX_TOPICS`] goes.
pub(super) fn read(
    recording: &Recording,
    schemas: &[Vec<Schema>],
    stop: &StopFlag,
) -> Result<(Vec<Option<Details>>, Walked), WorkError> {
    let mut seen: Vec<Seen> = schemas.iter().take(MAX_TOPICS).map(|types| Seen::of(types)).collect();
    let mut pictures = 0;
    let walked = recording.walk(stop, &mut |message| {
        if let Some(topic) = seen.get_mut(message.topic.0) {
            topic.take(message, &mut pictures);
        }
    })?;
    let mut details: Vec<Option<Details>> = seen.into_iter().map(|seen| Some(seen.finish())).collect();
    details.resize_with(schemas.len(), || None);
    Ok((details, walked))
}

/// A topic on its way.
#[derive(Debug, Default)]
struct Seen {
    messages: u64,
    bytes: u64,
    largest: u64,
    log: Order,
    publish: Order,
    header: Order,
    /// For each of its types.
    stamps: Vec<Option<StampPlan>>,
    header_unset: u64,
    header_unreadable: u64,
    since_publish: Latencies,
    since_header: Latencies,
    cameras: Vec<Option<Extractor>>,
    tries: u32,
    picture: Option<Picture>,
    no_picture: Option<String>,
}

impl Seen {
    fn of(types: &[Schema]) -> Self {
        let stamps = types.iter().map(StampPlan::compile).collect();
        Self { stamps, cameras: types.iter().map(camera).collect(), ..Self::default() }
    }

    fn take(&mut self, message: &Message<'_>, pictures: &mut usize) {
        self.messages += 1;
        self.bytes += message.data.len() as u64;
        self.largest = self.largest.max(message.data.len() as u64);
        self.log.take(message.log_ns);
        self.publish.take(message.publish_ns);
        self.since_publish.add(message.log_ns, message.publish_ns);
        let plan = self.stamps.get(message.kind).and_then(Option::as_ref);
        match plan.map(|plan| plan.stamp_ns(message.data)) {
            None => {}
            Some(Ok(0)) => self.header_unset += 1,
            Some(Ok(stamp_ns)) => {
                self.header.take(stamp_ns);
                self.since_header.add(message.log_ns, stamp_ns);
            }
            Some(Err(_)) => self.header_unreadable += 1,
        }
        self.look_for_picture(message, pictures);
    }

    fn look_for_picture(&mut self, message: &Message<'_>, pictures: &mut usize) {
        let camera = self.cameras.get(message.kind).and_then(Option::as_ref);
        let Some(camera) = camera.filter(|_| self.picture.is_none()) else { return };
        if self.tries == MAX_PICTURE_TRIES {
            return;
        }
        self.tries += 1;
        if *pictures == MAX_PICTURES {
            self.no_picture = Some(format!("only the first {MAX_PICTURES} cameras are shown"));
            return;
        }
        let bytes = camera.bytes(message.data).map_err(|error| error.to_string());
        let found = bytes.and_then(|bytes| Ok((geometry(&bytes)?, bytes)));
        match found {
            Ok((_, bytes)) if bytes.len() > MAX_PICTURE_BYTES => {
                let limit = MAX_PICTURE_BYTES >> 20;
                self.no_picture = Some(format!("its pictures are larger than {limit} MiB"));
            }
            Ok((geometry, bytes)) => {
                *pictures += 1;
                self.no_picture = None;
                let png = bytes.starts_with(b"\x89PNG");
                self.picture = Some(Picture {
                    media_type: if png { "image/png" } else { "image/jpeg" },
                    shown: geometry.to_string(),
                    log_ns: message.log_ns,
                    bytes: bytes.len(),
                    base64: STANDARD.encode(&bytes),
                });
            }
            Err(why) => self.no_picture = Some(why),
        }
    }

    fn finish(self) -> Details {
        Details {
            messages: self.messages,
            bytes: self.bytes,
            largest_bytes: self.largest,
            log: self.log,
            publish: self.publish,
            header: self.stamps.iter().any(Option::is_some).then_some(self.header),
            header_unset: self.header_unset,
            header_unreadable: self.header_unreadable,
            since_publish: self.since_publish.finish(),
            since_header: self.since_header.finish(),
            picture: self.picture,
            no_picture: self.no_picture,
        }
    }
}

/// The bytes of what may be a camera: `data` beside a `format` or an `encoding`.
fn camera(schema: &Schema) -> Option<Extractor> {
    let fields = schema.fields();
    let is_bytes = fields.iter().any(|field| {
        let base64 = schema.encoding() == Encoding::Json && field.is_string();
        field.path == "data" && (field.is_bytes() || base64)
    });
    let says_how = fields.iter().any(|field| field.path == "format" || field.path == "encoding");
    (is_bytes && says_how).then(|| Extractor::compile(schema, "data").ok()).flatten()
}

impl Order {
    fn take(&mut self, stamp_ns: u64) {
        if let Some(last) = self.last_ns {
            self.back += u64::from(stamp_ns < last);
            self.same += u64::from(stamp_ns == last);
            self.most_back_ns = self.most_back_ns.max(last.saturating_sub(stamp_ns));
            self.most_back_ms = self.most_back_ns as f64 / 1e6;
        }
        self.last_ns = Some(stamp_ns);
    }
}

/// Latencies of either sign.
#[derive(Debug, Default)]
struct Latencies {
    above: Histogram,
    /// How far below zero.
    below: Histogram,
}

impl Latencies {
    fn add(&mut self, later_ns: u64, earlier_ns: u64) {
        match later_ns.checked_sub(earlier_ns) {
            Some(latency) => self.above.add(latency),
            None => self.below.add(earlier_ns - later_ns),
        }
    }

    fn finish(self) -> Option<Latency> {
        let count = self.above.count + self.below.count;
        if count == 0 {
            return None;
        }
        let ms = |ns: u64| ns as f64 / 1e6;
        let (above, below) = (self.above.range(), self.below.range());
        let least = below.map(|(_, most)| -ms(most)).or(above.map(|(least, _)| ms(least)));
        let greatest = above.map(|(_, most)| ms(most)).or(below.map(|(least, _)| -ms(least)));
        let of_hundred = |part: u64| {
            let rank = (u128::from(count) * u128::from(part)).div_ceil(100).max(1);
            let rank = u64::try_from(rank).unwrap_or(u64::MAX);
            match rank.checked_sub(self.below.count) {
                None | Some(0) => -ms(self.below.at_rank(self.below.count + 1 - rank)),
                Some(rank) => ms(self.above.at_rank(rank)),
            }
        };
        Some(Latency {
            messages: count,
            negative: self.below.count,
            min_ms: least.unwrap_or(0.0),
            mean_ms: (self.above.sum as f64 - self.below.sum as f64) / count as f64 / 1e6,
            median_ms: of_hundred(50),
            p95_ms: of_hundred(95),
            p99_ms: of_hundred(99),
            max_ms: greatest.unwrap_or(0.0),
            histogram: self.above.bars(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_below_zero_are_counted_and_ordered() {
        let mut latencies = Latencies::default();
        // -10 ms .. 89 ms in steps of 1 ms.
        (0..100_u64).for_each(|ms| latencies.add(ms * 1_000_000, 10_000_000));
        let found = latencies.finish().unwrap();
        assert_eq!((found.messages, found.negative), (100, 10));
        assert_eq!((found.min_ms, found.max_ms, found.mean_ms), (-10.0, 89.0, 39.5));
        for (found, exact) in [(found.median_ms, 39.0), (found.p95_ms, 84.0), (found.p99_ms, 88.0)] {
            assert!((found / exact - 1.0_f64).abs() < 0.04, "{found} for {exact}");
        }
        assert_eq!(found.histogram.iter().map(|bar| bar.messages).sum::<u64>(), 90);
        let mut early = Latencies::default();
        (1..=100_u64).for_each(|ms| early.add(0, ms * 1_000_000));
        let found = early.finish().unwrap();
        assert_eq!((found.min_ms, found.max_ms, found.negative), (-100.0, -1.0, 100));
        assert!((found.p95_ms + 6.0).abs() < 0.3, "{}", found.p95_ms);
        assert_eq!(Latencies::default().finish(), None);
    }

    #[test]
    fn steps_back_and_equal_stamps_are_counted() {
        let mut order = Order::default();
        [5, 5, 9, 3, 8, 7].into_iter().for_each(|ms| order.take(ms * 1_000_000));
        assert_eq!((order.back, order.same, order.most_back_ms), (2, 1, 6.0));
    }
}
