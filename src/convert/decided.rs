//! A recording opened by a mapping, with everything decided that the mapping and the recording decide: what a conversion is
//! made from, and what a preview of one shows.
//!
//! Reads the recording's summary (or scans it, when it has none), the indexes of the mapped topics, and the messages of the
//! first kept frame. It writes nothing and starts no encoder.

use super::bind::{Bound, BoundFeature, bind};
use super::mapping::Mapping;
use super::planned::{self, AllPlanned, Planned, plan_all};
use super::rows::Sources;
use super::source::{Recording, TopicId};
use super::spare::Spares;
use super::tap::Tap;
use super::{StopFlag, WorkError, jumps, partial, shape};
use crate::lerobot::feature::Feature;
use crate::lerobot::staged::LeftOut;
use crate::storage::SharedStorage;

/// What stands fixed before the first segment is made.
pub(crate) struct Decided {
    pub(crate) sources: Sources,
    /// One for each lane, as the first kept frame fixed them.
    pub(crate) taps: Vec<Tap>,
    pub(crate) bound: Vec<BoundFeature>,
    /// The dataset's features, in the mapping's order.
    pub(crate) features: Vec<Feature>,
    /// In their order; at least one.
    pub(crate) episodes: Vec<Planned>,
    /// Those that are no part of it.
    pub(crate) left_out: Vec<LeftOut>,
    /// What the user should know of the recording.
    pub(crate) warnings: Vec<String>,
}

impl Decided {
    /// Opens the recording `key` of `input` and decides.
    ///
    /// # Errors
    /// [`WorkError::Permanent`] for a recording that cannot be read or does not fit the mapping, with what to do;
    /// [`WorkError::Transient`] for storage that may come back; [`WorkError::Stopped`].
    pub(crate) fn open(
        input: &SharedStorage,
        key: &str,
        mapping: &Mapping,
        stop: &StopFlag,
    ) -> Result<Self, WorkError> {
        let recording = Recording::open(SharedStorage::clone(input), key, stop)?;
        let mut bound = bind(mapping, &recording, stop)?;
        let messages = recording.index(&bound.topics, mapping.time, stop)?;
        let name = |id: &TopicId| recording.topics().get(id.0).map(|topic| topic.name.clone());
        let names = bound.topics.iter().map(|id| name(id).unwrap_or_default()).collect();
        let lanes = std::mem::take(&mut bound.lanes);
        let mut sources = Sources { recording: recording.clone(), messages, names, lanes };
        let clocks = jumps::warnings(mapping, &mut sources);
        partial::spread(&mut sources, &mut bound, stop)?;
        let Bound { topics, mut taps, features: bound, .. } = bound;
        let AllPlanned { episodes, left_out } = plan_all(mapping, &sources, &topics, input, stop)?;
        // The first kept frame fixes the lengths, names and geometry that all others must have.
        if let Some(Planned { plan: first, .. }) = episodes.first() {
            let (mut reader, spares) = (recording.reader(), Spares::default());
            sources.read(&mut reader, &mut taps, &spares, first, &first.kept.frames(0..1), stop)?;
        }
        let features = shape::features(mapping, &bound, &taps)?;
        let of_file = recording.warnings().iter().cloned();
        let warnings = of_file.chain(clocks).chain(planned::warnings(&left_out)).collect();
        Ok(Self { sources, taps, bound, features, episodes, left_out, warnings })
    }
}
