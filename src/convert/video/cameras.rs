//! The cameras of a recording that become videos: how each is encoded, and what all of its segments have in common.

use super::{Encode, EncodeError, Encoding, Samples, find_ffmpeg};
use crate::convert::mapping::Mapping;
use crate::convert::{StopFlag, WorkError};
use crate::lerobot::feature::{Dtype, Feature};
use crate::lerobot::video::VideoStream;
use std::collections::BTreeMap;

/// All of them, by their features' names.
#[derive(Debug, Default)]
pub(crate) struct Cameras(BTreeMap<String, Camera>);

/// One camera.
#[derive(Debug)]
pub(crate) struct Camera {
    name: String,
    encoding: Encoding,
    /// What every segment must have.
    pub(crate) stream: VideoStream,
}

impl Cameras {
    /// Tries the encoder for each size there is: what cannot work is found before anything is converted.
    pub(crate) fn open(mapping: &Mapping, features: &[Feature], stop: &StopFlag) -> Result<Self, WorkError> {
        let mut cameras: BTreeMap<String, Camera> = BTreeMap::new();
        for feature in features.iter().filter(|feature| feature.dtype == Dtype::Video) {
            let [height, width, ..] = *feature.shape.as_slice() else { continue };
            let encoding = Encoding { video: mapping.video.clone(), fps: mapping.fps, width, height };
            let known = cameras.values().find(|camera| camera.encoding == encoding);
            let stream = match known {
                Some(camera) => camera.stream.clone(),
                None => {
                    // Another machine may have it.
                    let elsewhere = |error: super::FfmpegError| WorkError::Transient(error.to_string());
                    find_ffmpeg(encoding.video.encoder).map_err(elsewhere)?;
                    encoding.probe(stop).map_err(|error| error.of(&feature.name))?
                }
            };
            let name = feature.name.clone();
            cameras.insert(name.clone(), Camera { name, encoding, stream });
        }
        Ok(Self(cameras))
    }

    pub(crate) fn get(&self, feature: &str) -> Option<&Camera> {
        self.0.get(feature)
    }

    /// What is told of them in an episode.
    pub(crate) fn streams(&self) -> BTreeMap<String, VideoStream> {
        self.0.iter().map(|(name, camera)| (name.clone(), camera.stream.clone())).collect()
    }
}

impl Camera {
    /// An encoder for one segment.
    pub(crate) fn start(&self) -> Result<Box<dyn Encode>, WorkError> {
        self.encoding.start().map_err(|error| self.failed(error))
    }

    pub(crate) fn failed(&self, error: EncodeError) -> WorkError {
        error.of(&self.name)
    }

    /// Makes sure that a segment is what a file of this camera can take: a sample a frame, and the parameters of all others.
    pub(crate) fn check(
        &self,
        stream: &VideoStream,
        samples: &Samples,
        frames: usize,
    ) -> Result<(), WorkError> {
        let what = if samples.sizes.len() != frames {
            format!("{} of {frames} frames came out of the encoder", samples.sizes.len())
        } else if *stream != self.stream {
            "the encoder changed its parameters from one segment to another".to_owned()
        } else {
            return Ok(());
        };
        Err(self.failed(EncodeError::Failed(what)))
    }
}
