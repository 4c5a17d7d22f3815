//! A message's own time: `header.stamp`, or a `timestamp` at its top.

use super::binary::Scalar;
use super::error::DecodeError;
use super::extract::Extractor;
use super::schema::Schema;

/// Where a message type keeps its stamp.
#[derive(Debug, Clone)]
pub struct StampPlan {
    extractor: Extractor,
    /// Which of the two numbers is the seconds.
    seconds_first: bool,
}

/// Names of the seconds: ROS 2 and Foxglove, ROS 1, Protobuf.
const SECONDS: [&str; 3] = ["sec", "secs", "seconds"];
/// Names of the rest: ROS 2, ROS 1, Foxglove, Protobuf.
const FRACTIONS: [&str; 4] = ["nanosec", "nsecs", "nsec", "nanos"];
const NANOS_PER_SEC: u64 = 1_000_000_000;

impl StampPlan {
    /// None for types without a header. For JSON without a definition, [`Schema::learn`] must have seen a message.
    #[must_use]
    pub fn compile(schema: &Schema) -> Option<Self> {
        ["header.stamp", "timestamp"].into_iter().find_map(|path| {
            let extractor = Extractor::compile(schema, path).ok()?;
            let names = extractor.element_names()?;
            let is = |at: usize, of: &[&str]| names.get(at).is_some_and(|n| of.contains(&n.as_str()));
            let seconds_first = is(0, &SECONDS) && is(1, &FRACTIONS);
            let seconds_last = is(1, &SECONDS) && is(0, &FRACTIONS);
            (names.len() == 2 && (seconds_first || seconds_last)).then_some(Self { extractor, seconds_first })
        })
    }

    /// Nanoseconds since the epoch.
    ///
    /// # Errors
    /// The message is damaged, or its stamp lies before the epoch or beyond 64 bits.
    pub fn stamp_ns(&self, data: &[u8]) -> Result<u64, DecodeError> {
        let mut parts = [0_u64; 2];
        let mut slots = parts.iter_mut();
        self.extractor.each(data, false, &mut |value| {
            let number = match value {
                Scalar::Unsigned(u) => Some(u),
                Scalar::Signed(i) => u64::try_from(i).ok(),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "in range and whole"
                )]
                Scalar::Float(f) if (0.0..9e15).contains(&f) && f.fract() == 0.0 => Some(f as u64),
                _ => None,
            };
            let number = number.ok_or_else(|| "a stamp before the epoch".to_owned())?;
            if let Some(slot) = slots.next() {
                *slot = number;
            }
            Ok(())
        })?;
        let [first, second] = parts;
        let (seconds, rest) = if self.seconds_first { (first, second) } else { (second, first) };
        seconds.checked_mul(NANOS_PER_SEC).and_then(|ns| ns.checked_add(rest)).ok_or_else(|| {
            DecodeError::Message {
                schema: self.extractor.schema_name().to_owned(),
                offset: 0,
                reason: format!("a stamp of {seconds} s is beyond 64 bits of nanoseconds"),
            }
        })
    }
}
