//! A mapping meets a recording: its topics and fields are found there, and every source becomes a lane and a tap.
//!
//! Only the recording's declarations and the first message of a topic are looked at. Errors stand at a place of the
//! mapping file and say what would be valid.

use super::align::Align;
use super::decode::{Encoding, Extractor, Schema, ValueKind};
use super::joints::Joints;
use super::mapping::{Content, FeatureMap, Located, Mapping, OnMissing, Rule, Source};
use super::nearest::{listed, nearest};
use super::picture::{Keep, Picture};
use super::plan::Lane;
use super::source::{Recording, TopicId};
use super::tap::{Numbers, Tap};
use super::{StopFlag, WorkError};
use crate::lerobot::feature::Dtype;
use std::ops::Range;

/// Topics and fields that a message lists.
const LISTED_MAX: usize = 12;
/// The field of images and texts, unless the mapping names another.
const DATA_FIELD: &str = "data";

/// A mapping bound to a recording.
pub(crate) struct Bound {
    /// The topics of all features, each once.
    pub(crate) topics: Vec<TopicId>,
    pub(crate) lanes: Vec<Lane>,
    /// One for each lane.
    pub(crate) taps: Vec<Tap>,
    /// In the mapping's order.
    pub(crate) features: Vec<BoundFeature>,
}

/// A feature, before its shape is known.
#[derive(Debug, Clone)]
pub(crate) struct BoundFeature {
    pub(crate) name: Located<String>,
    pub(crate) dtype: Dtype,
    /// Its lanes.
    pub(crate) lanes: Range<usize>,
    /// The elements' names, if the mapping writes them.
    pub(crate) names: Option<Located<Vec<String>>>,
}

struct Binder<'a> {
    mapping: &'a Mapping,
    recording: &'a Recording,
    stop: &'a StopFlag,
    schemas: Vec<(TopicId, Schema)>,
    bound: Bound,
}

/// Finds every topic and field of the mapping in the recording.
pub(crate) fn bind(mapping: &Mapping, recording: &Recording, stop: &StopFlag) -> Result<Bound, WorkError> {
    let bound = Bound { topics: Vec::new(), lanes: Vec::new(), taps: Vec::new(), features: Vec::new() };
    let mut binder = Binder { mapping, recording, stop, schemas: Vec::new(), bound };
    // Shifted features come after those they shift, and then go to their own places.
    let mut features: Vec<Option<BoundFeature>> = vec![None; mapping.features.len()];
    for (at, feature) in mapping.features.iter().enumerate() {
        if !matches!(feature.content, Content::Shifted { .. }) {
            let bound = binder.feature(feature)?;
            if let Some(place) = features.get_mut(at) {
                *place = Some(bound);
            }
        }
    }
    for (at, feature) in mapping.features.iter().enumerate() {
        if let Content::Shifted { from, shift_frames } = feature.content {
            let base = features.get(from).cloned().flatten();
            let bound = base.map(|base| binder.shifted(feature, &base, shift_frames));
            if let Some(place) = features.get_mut(at) {
                *place = bound;
            }
        }
    }
    let mut bound = binder.bound;
    bound.features = features.into_iter().flatten().collect();
    Ok(bound)
}

/// A topic by its name, or an error at its place that names the nearest ones.
pub(crate) fn find_topic(
    mapping: &Mapping,
    recording: &Recording,
    name: &Located<String>,
) -> Result<TopicId, WorkError> {
    let Some(id) = recording.topic(&name.value) else {
        let all = recording.topics().iter().map(|topic| topic.name.as_str());
        let near = listed(nearest(&name.value, all, usize::MAX), LISTED_MAX);
        let what = format!(
            "topic {:?} is not in {}; its topics, nearest first: {near}",
            name.value,
            recording.name()
        );
        return Err(mapping.error(name.place, what).into());
    };
    Ok(id)
}

impl Binder<'_> {
    fn feature(&mut self, feature: &FeatureMap) -> Result<BoundFeature, WorkError> {
        let begin = self.bound.lanes.len();
        let (dtype, names) = match &feature.content {
            Content::Image { source, rule, transform, is_video } => {
                let (topic, extractor) = self.extractor(source, Some(DATA_FIELD))?;
                // JSON without a definition does not tell base64 from other texts: the first image will.
                let is_json = self.schema(topic)?.encoding() == Encoding::Json;
                let may_be = extractor.kind() == ValueKind::Bytes
                    || (is_json && extractor.kind() == ValueKind::Strings);
                if !may_be {
                    let what =
                        format!("{} of {} holds no bytes of an image", extractor.path(), source.topic.value);
                    return Err(self.mapping.error(field_of(source).place, what).into());
                }
                let keep = if *is_video { Keep::AsTheyCame } else { Keep::Files };
                let picture = Picture::new(self.schema(topic)?, extractor, *transform, keep);
                self.lane(feature, source, topic, *rule, Tap::Picture(Box::new(picture)));
                (if *is_video { Dtype::Video } else { Dtype::Image }, None)
            }
            Content::Vector { sources, rule, dtype, names } => {
                (self.vector(feature, sources, *rule, dtype.as_ref())?, names.clone())
            }
            Content::Shifted { .. } => (Dtype::Float32, None),
        };
        let lanes = begin..self.bound.lanes.len();
        Ok(BoundFeature { name: feature.name.clone(), dtype, lanes, names })
    }

    fn vector(
        &mut self,
        feature: &FeatureMap,
        sources: &[Source],
        rule: Rule,
        declared: Option<&Located<Dtype>>,
    ) -> Result<Dtype, WorkError> {
        let mut parts = Vec::with_capacity(sources.len());
        for source in sources {
            let (topic, extractor) = self.extractor(source, None)?;
            parts.push((source, topic, extractor));
        }
        let dtype = self.dtype(feature, &parts, rule.align, declared)?;
        for (source, topic, extractor) in parts {
            let tap = match dtype {
                Dtype::String => Tap::Text(extractor),
                _ => {
                    let joints = self.joints(source, topic)?;
                    let exact = matches!(dtype, Dtype::Int64 | Dtype::Bool);
                    let label = label(extractor.path(), &source.topic.value);
                    Tap::Numbers(Box::new(Numbers::new(extractor, exact, joints, label)))
                }
            };
            self.lane(feature, source, topic, rule, tap);
        }
        Ok(dtype)
    }

    /// The element type: as written where the fields allow it; else text for a text, bool for a single boolean, and
    /// float32.
    fn dtype(
        &self,
        feature: &FeatureMap,
        parts: &[(&Source, TopicId, Extractor)],
        align: Align,
        declared: Option<&Located<Dtype>>,
    ) -> Result<Dtype, WorkError> {
        let place = declared.map_or(feature.name.place, |declared| declared.place);
        let refuse = |what: String| Err(self.mapping.error(place, what).into());
        let kinds = || parts.iter().map(|(_, _, extractor)| extractor.kind());
        let declared = declared.map(|declared| declared.value);
        if kinds().any(|kind| kind == ValueKind::Strings) {
            if parts.len() != 1
                || align == Align::Linear
                || declared.is_some_and(|dtype| dtype != Dtype::String)
            {
                let what = "a text is a feature of its own: one source, dtype = \"string\", and not align = \"linear\"";
                return refuse(what.to_owned());
            }
            return Ok(Dtype::String);
        }
        let is_boolean = |kind| matches!(kind, ValueKind::Numbers { boolean: true, .. });
        match declared {
            Some(Dtype::String) => refuse("dtype = \"string\" needs a field that holds a text".to_owned()),
            // Whole numbers may come in a field of floats (JSON has no others): each message is held to them.
            Some(dtype) => Ok(dtype),
            None => {
                let single =
                    parts.len() == 1 && parts.iter().all(|(_, _, field)| field.fixed_len() == Some(1));
                let boolean = single && align != Align::Linear && kinds().all(is_boolean);
                Ok(if boolean { Dtype::Bool } else { Dtype::Float32 })
            }
        }
    }

    fn joints(&mut self, source: &Source, topic: TopicId) -> Result<Option<Joints>, WorkError> {
        let wanted: Vec<String> = source.select.iter().map(|name| name.value.clone()).collect();
        let field = field_of(source);
        let schema = self.schema(topic)?;
        let joints = Joints::beside(schema, &field.value, wanted);
        match (joints, source.select.first()) {
            (None, Some(first)) => {
                let what = format!(
                    "select needs the names beside {}, and {} has none: take elements by their place, for example \
                     field = \"{}[0:3]\"",
                    field.value,
                    schema.name(),
                    field.value
                );
                Err(self.mapping.error(first.place, what).into())
            }
            (joints, _) => Ok(joints),
        }
    }

    /// Lanes that look at another feature's sources some frames later.
    fn shifted(&mut self, feature: &FeatureMap, base: &BoundFeature, shift_frames: u32) -> BoundFeature {
        let begin = self.bound.lanes.len();
        let lanes = self.bound.lanes.get(base.lanes.clone()).unwrap_or_default().to_vec();
        let taps = self.bound.taps.get(base.lanes.clone()).unwrap_or_default().to_vec();
        self.bound.taps.extend(taps);
        self.bound.lanes.extend(lanes.into_iter().map(|lane| Lane {
            feature: feature.name.value.clone(),
            shift_frames: u64::from(shift_frames),
            policy: feature.on_missing,
            ..lane
        }));
        BoundFeature {
            name: feature.name.clone(),
            lanes: begin..self.bound.lanes.len(),
            dtype: base.dtype,
            names: base.names.clone(),
        }
    }

    fn lane(&mut self, feature: &FeatureMap, source: &Source, topic: TopicId, rule: Rule, tap: Tap) {
        let topics = &mut self.bound.topics;
        let at = topics.iter().position(|other| *other == topic).unwrap_or_else(|| {
            topics.push(topic);
            topics.len() - 1
        });
        let policy: OnMissing = feature.on_missing;
        self.bound.lanes.push(Lane {
            feature: feature.name.value.clone(),
            topic_name: source.topic.value.clone(),
            topic: at,
            shift_frames: 0,
            rule,
            source_policy: policy,
            policy,
        });
        self.bound.taps.push(tap);
    }

    /// The source's topic and its compiled field.
    fn extractor(
        &mut self,
        source: &Source,
        default: Option<&str>,
    ) -> Result<(TopicId, Extractor), WorkError> {
        let topic = find_topic(self.mapping, self.recording, &source.topic)?;
        let mapping = self.mapping;
        let schema = self.schema(topic)?;
        let path = match (&source.field, default) {
            (Some(field), _) => field.value.as_str(),
            (None, Some(default)) => default,
            (None, None) => {
                let fields = schema.fields();
                let numeric = fields.iter().filter(|field| field.is_numeric() || field.is_string());
                let what = format!(
                    "a source of {} needs its field; {} has {}",
                    source.topic.value,
                    schema.name(),
                    listed(numeric.map(|field| field.path.as_str()), LISTED_MAX)
                );
                return Err(mapping.error(source.topic.place, what).into());
            }
        };
        let extractor = Extractor::compile(schema, path)
            .map_err(|error| mapping.error(field_of(source).place, error.to_string()))?;
        Ok((topic, extractor))
    }

    fn schema(&mut self, topic: TopicId) -> Result<&Schema, WorkError> {
        let at = match self.schemas.iter().position(|(known, _)| *known == topic) {
            Some(at) => at,
            None => {
                let schema = self.recording.schema(topic, self.stop)?;
                self.schemas.push((topic, schema));
                self.schemas.len() - 1
            }
        };
        let schema = self.schemas.get(at).map(|(_, schema)| schema);
        schema.ok_or_else(|| WorkError::Permanent("a schema was lost".to_owned()))
    }
}

/// What a field is called: by the last part of its path, or by its topic where that is just `data`.
fn label(path: &str, topic: &str) -> String {
    let leaf = path.rsplit('.').next().unwrap_or(path);
    match leaf.split('[').next() {
        Some(DATA_FIELD) => leaf.replacen(DATA_FIELD, topic.rsplit('/').next().unwrap_or(topic), 1),
        _ => leaf.to_owned(),
    }
}

/// The field as written, or else the topic's place with the usual field.
fn field_of(source: &Source) -> Located<String> {
    let usual = || Located { value: DATA_FIELD.to_owned(), place: source.topic.place };
    source.field.clone().unwrap_or_else(usual)
}
