//! How samples are written, and those of the machines, read off the board.
//!
//! Names stand in [`super`].

use super::{Definition, Histogram, JOBS, STATE};
use crate::worker::board::Place;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use roboflow_fsm::effect::Leaf;
use std::fmt;

/// Writes samples of definitions.
pub(super) struct Samples<'a, 'e>(pub(super) &'a mut DescriptorEncoder<'e>);

impl Samples<'_, '_> {
    pub(super) fn counter<'l, const N: usize>(
        &mut self,
        definition: &Definition,
        samples: &[([(&'l str, &'l str); N], u64)],
    ) -> Result<(), fmt::Error> {
        let mut family =
            self.0.encode_descriptor(definition.name, definition.help.trim(), None, MetricType::Counter)?;
        for (labels, value) in samples {
            if N == 0 {
                family.encode_counter::<[(&str, &str); 0], _, u64>(value, None)?;
            } else {
                family.encode_family(labels)?.encode_counter::<[(&str, &str); 0], _, u64>(value, None)?;
            }
        }
        Ok(())
    }

    pub(super) fn gauge<'l, const N: usize>(
        &mut self,
        definition: &Definition,
        samples: &[([(&'l str, &'l str); N], f64)],
    ) -> Result<(), fmt::Error> {
        let mut family =
            self.0.encode_descriptor(definition.name, definition.help.trim(), None, MetricType::Gauge)?;
        for (labels, value) in samples {
            if N == 0 {
                family.encode_gauge(value)?;
            } else {
                family.encode_family(labels)?.encode_gauge(value)?;
            }
        }
        Ok(())
    }

    pub(super) fn histogram(
        &mut self,
        definition: &Definition,
        histogram: &Histogram,
    ) -> Result<(), fmt::Error> {
        let mut family =
            self.0.encode_descriptor(definition.name, definition.help.trim(), None, MetricType::Histogram)?;
        let label = definition.labels.first();
        for (value, buckets) in histogram.read(label.is_some()) {
            let Some(label) = label else { return buckets.encode(family) };
            buckets.encode(family.encode_family(&[(*label, value)])?)?;
        }
        Ok(())
    }
}

/// The names of the states that the outside sees, each once.
fn states() -> Vec<&'static str> {
    let mut names: Vec<&str> = Leaf::ALL.iter().map(|leaf| leaf.public_name()).collect();
    names.dedup();
    names
}

/// What became of the claims of a machine.
fn outcomes(place: &Place) -> [(&'static str, u64); 5] {
    let tally = place.tally;
    [
        ("completed", tally.completed),
        ("failed", tally.failed),
        ("released", tally.released),
        ("lost", tally.lost),
        ("left_to_lease", tally.left_to_lease),
    ]
}

/// Writes the samples of all machines.
pub(super) fn show(samples: &mut Samples, places: &[Place]) -> Result<(), fmt::Error> {
    let numbers: Vec<String> = (0..places.len()).map(|number| number.to_string()).collect();
    let states = states();
    let (mut state_samples, mut job_samples) = (Vec::new(), Vec::new());
    for (number, place) in numbers.iter().zip(places) {
        for state in &states {
            let is_in = *state == place.leaf.public_name();
            state_samples
                .push(([("machine", number.as_str()), ("state", state)], f64::from(u8::from(is_in))));
        }
        for (outcome, count) in outcomes(place) {
            job_samples.push(([("machine", number.as_str()), ("outcome", outcome)], count));
        }
    }
    samples.gauge(&STATE, &state_samples)?;
    samples.counter(&JOBS, &job_samples)
}
