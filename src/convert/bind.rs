//! A mapping meets a recording: its topics and fields are found there, and every source becomes a lane and a tap.
//!
//! Only the recording's declarations and the first message of a topic are looked at. Errors stand at a place of the
//! mapping file and say what would be valid.

use super::align::Align;
use super::decode::{Encoding, Extractor, Schema, ValueKind};
use super::field::{Field, all_must};
use super::joints::Joints;
use super::mapping::{Content, FeatureMap, Located, Mapping, OnMissing, Rule, Source};
use super::nearest::{listed, nearest};
use super::picture::{Keep, Picture};
use super::plan::Lane;
use super::source::{Recording, TopicId};
use super::tap::{Numbers, Tap, Way};
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
    /// Those of each topic's types.
    schemas: Vec<(TopicId, Vec<Schema>)>,
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
                let (topic, field) = self.field(source, Some(DATA_FIELD))?;
                let keep = if *is_video { Keep::AsTheyCame } else { Keep::Files };
                let mut ways = Vec::new();
                for (schema, extractor) in self.schemas(topic)?.iter().zip(field.all()) {
                    // JSON without a definition does not tell base64 from other texts: the first image will.
                    let is_json = schema.encoding() == Encoding::Json;
                    let may_be = extractor.kind() == ValueKind::Bytes
                        || (is_json && extractor.kind() == ValueKind::Strings);
                    ways.push(may_be.then(|| {
                        let picture = Picture::new(schema, extractor.clone(), *transform, keep);
                        Way::Picture(Box::new(picture))
                    }));
                }
                let Some(tap) = ways.into_iter().collect::<Option<Vec<Way>>>().and_then(Tap::new) else {
                    let path = field_of(source);
                    let all = all_must(self.recording, topic);
                    let what =
                        format!("{} of {} holds no bytes of an image{all}", path.value, source.topic.value);
                    return Err(self.mapping.error(path.place, what).into());
                };
                self.lane(feature, source, topic, *rule, tap);
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
            let (topic, field) = self.field(source, None)?;
            let kind = field.kind(self.recording, topic);
            kind.map_err(|what| self.mapping.error(field_of(source).place, what))?;
            parts.push((source, topic, field));
        }
        let dtype = self.dtype(feature, &parts, rule.align, declared)?;
        for (source, topic, field) in parts {
            let ways = match dtype {
                Dtype::String => field.all().cloned().map(Way::Text).collect(),
                _ => self.numbers(source, topic, &field, rule.align, dtype)?,
            };
            let none = || WorkError::Permanent(format!("{} has no type", source.topic.value));
            self.lane(feature, source, topic, rule, Tap::new(ways).ok_or_else(none)?);
        }
        Ok(dtype)
    }

    /// How numbers are taken from messages of each type.
    fn numbers(
        &mut self,
        source: &Source,
        topic: TopicId,
        field: &Field,
        align: Align,
        dtype: Dtype,
    ) -> Result<Vec<Way>, WorkError> {
        let exact = matches!(dtype, Dtype::Int64 | Dtype::Bool);
        let joints = self.joints(source, topic)?;
        let turns = |at: usize| field.of(at).quaternions();
        if align == Align::Linear
            && source.interpolate.is_none()
            && (0..joints.len()).any(|at| turns(at) != turns(0))
        {
            let path = field_of(source);
            let all = all_must(self.recording, topic);
            let what = format!(
                "{} is a quaternion for some of its messages and for others not{all}; or say how it is aligned: \
                 interpolate = \"slerp\" or \"linear\"",
                path.value
            );
            return Err(self.mapping.error(path.place, what).into());
        }
        let ways = field.all().zip(joints).map(|(extractor, joints)| {
            let label = label(extractor.path(), &source.topic.value);
            let numbers = Numbers::new(extractor.clone(), exact, joints, label).in_parts(source.partial);
            let numbers = match source.interpolate {
                Some(how) => numbers.interpolated(how),
                None => numbers,
            };
            Way::Numbers(Box::new(numbers))
        });
        Ok(ways.collect())
    }

    /// The element type: as written where the fields allow it; else text for a text, bool for a single boolean, and
    /// float32.
    fn dtype(
        &self,
        feature: &FeatureMap,
        parts: &[(&Source, TopicId, Field)],
        align: Align,
        declared: Option<&Located<Dtype>>,
    ) -> Result<Dtype, WorkError> {
        let place = declared.map_or(feature.name.place, |declared| declared.place);
        let refuse = |what: String| Err(self.mapping.error(place, what).into());
        let plans = || parts.iter().flat_map(|(_, _, field)| field.all());
        let kinds = || plans().map(Extractor::kind);
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
                let single = parts.len() == 1 && plans().all(|plan| plan.fixed_len() == Some(1));
                let boolean = single && align != Align::Linear && kinds().all(is_boolean);
                Ok(if boolean { Dtype::Bool } else { Dtype::Float32 })
            }
        }
    }

    /// The names beside a field, for each type of its topic.
    fn joints(&mut self, source: &Source, topic: TopicId) -> Result<Vec<Option<Joints>>, WorkError> {
        let wanted: Vec<String> = source.select.iter().map(|name| name.value.clone()).collect();
        let (field, mapping, recording) = (field_of(source), self.mapping, self.recording);
        let joints = self.schemas(topic)?.iter().map(|schema| {
            let joints = Joints::beside(schema, &field.value, wanted.clone());
            match (joints, source.select.first()) {
                (None, Some(first)) => {
                    let what = format!(
                        "select needs the names beside {}, and {} has none: take elements by their place, for example \
                         field = \"{}[0:3]\"{}",
                        field.value,
                        schema.name(),
                        field.value,
                        all_must(recording, topic)
                    );
                    Err(mapping.error(first.place, what).into())
                }
                (joints, _) => Ok(joints),
            }
        });
        joints.collect()
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
            part: None,
            shift_frames: 0,
            rule,
            source_policy: policy,
            policy,
        });
        self.bound.taps.push(tap);
    }

    /// The source's topic and its field, compiled for each type of it.
    fn field(&mut self, source: &Source, default: Option<&str>) -> Result<(TopicId, Field), WorkError> {
        let topic = find_topic(self.mapping, self.recording, &source.topic)?;
        let (mapping, recording) = (self.mapping, self.recording);
        let schemas = self.schemas(topic)?;
        let path = match (&source.field, default) {
            (Some(field), _) => field.value.as_str(),
            (None, Some(default)) => default,
            (None, None) => {
                let fields = schemas.first().map(Schema::fields).unwrap_or_default();
                let numeric = fields.iter().filter(|field| field.is_numeric() || field.is_string());
                let what = format!(
                    "a source of {} needs its field; {} has {}",
                    source.topic.value,
                    schemas.first().map_or("its type", Schema::name),
                    listed(numeric.map(|field| field.path.as_str()), LISTED_MAX)
                );
                return Err(mapping.error(source.topic.place, what).into());
            }
        };
        let field = Field::compile(recording, topic, schemas, path)
            .map_err(|what| mapping.error(field_of(source).place, what))?;
        Ok((topic, field))
    }

    /// Those of a topic's types, parsed once.
    fn schemas(&mut self, topic: TopicId) -> Result<&[Schema], WorkError> {
        let at = match self.schemas.iter().position(|(known, _)| *known == topic) {
            Some(at) => at,
            None => {
                let schemas = self.recording.schemas(topic, self.stop)?;
                self.schemas.push((topic, schemas));
                self.schemas.len() - 1
            }
        };
        let schemas = self.schemas.get(at).map(|(_, schemas)| schemas.as_slice());
        schemas.ok_or_else(|| WorkError::Permanent("a schema was lost".to_owned()))
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
