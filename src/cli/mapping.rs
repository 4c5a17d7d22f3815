//! The mapping of a dataset: read from a file, or inferred from its first recording, with what was typed as options written into
//! it. The same for every command that makes one.
//!
//! Options that change a dataset's bytes become keys of the mapping's text: it is what is stored, compared and hashed.

use super::exit::{Code, Failure, OrExit, Outcome};
use super::output::notice;
use super::work_failure;
use crate::convert::find_ffmpeg;
use crate::convert::infer::infer_first;
use crate::convert::mapping::{Content, FeatureMap, MAPPING_BYTES_MAX, Mapping, edit};
use crate::error::{Class, Classified};
use crate::lerobot::assemble::V21_APPEND;
use crate::lerobot::info::Version;
use crate::lerobot::{Wanted, WantedPicture, check_wanted};
use crate::storage::{SharedStorage, Storage};
use crate::work::StopFlag;
use clap::Args;
use std::fs;
use std::path::Path;

/// Keys of the mapping that can be given as options. An option wins over the file.
#[derive(Debug, Clone, Default, Args)]
pub struct MappingArgs {
    /// What encodes videos: openh264, ffmpeg:libx264, ffmpeg:libsvtav1 or ffmpeg:libaom-av1. Becomes [video] encoder of the
    /// mapping; an inferred mapping then makes its cameras videos [default: the mapping's, or openh264]
    #[arg(long, value_name = "NAME")]
    video_encoder: Option<String>,
    /// The version of the dataset's format: v3.0, or v2.1 for older trainers. Becomes format of the mapping [default: the
    /// mapping's, or v3.0]
    #[arg(long, value_name = "VERSION")]
    format: Option<String>,
}

/// An option as the key that it becomes.
struct Setting<'a> {
    option: &'static str,
    /// Tables, then the key.
    path: &'static [&'static str],
    value: &'a str,
}

impl MappingArgs {
    fn settings(&self) -> Vec<Setting<'_>> {
        let encoder = self.video_encoder.as_deref();
        let encoder =
            encoder.map(|value| Setting { option: "--video-encoder", path: &["video", "encoder"], value });
        let format = self.format.as_deref();
        let format = format.map(|value| Setting { option: "--format", path: &["format"], value });
        encoder.into_iter().chain(format).collect()
    }

    /// The first option that was typed.
    pub(crate) fn first(&self) -> Option<&'static str> {
        self.settings().first().map(|setting| setting.option)
    }

    /// A mapping with the options in it, checked. `file` is its name for messages.
    ///
    /// # Errors
    /// When it is no mapping, or not with these options.
    pub(crate) fn apply(&self, file: &str, text: &str) -> Outcome<String> {
        let (mut file, mut text) = (file.to_owned(), text.to_owned());
        for Setting { option, path, value } in self.settings() {
            file = format!("{file} with {option} {value}");
            text = edit::set(&file, &text, path, value).or_exit(Code::Config)?;
        }
        Ok(Mapping::parse(&file, &text).or_exit(Code::Config)?.text)
    }

    /// Refuses a mapping by which nothing can be added to the dataset in `storage`, as far as that can be told before anything
    /// is converted.
    ///
    /// # Errors
    /// When it is one, or the dataset cannot be read.
    pub(crate) fn check_appends(text: &str, storage: &dyn Storage) -> Outcome<()> {
        let mapping = Mapping::parse("the mapping", text).or_exit(Code::Config)?;
        if mapping.format == Version::V21 {
            return Err(Failure::new(Code::Config, V21_APPEND.to_owned()));
        }
        let picture = |feature: &'_ FeatureMap| match feature.content {
            Content::Image { is_video, .. } => Some(is_video.then(|| mapping.video.encoder.codec())),
            _ => None,
        };
        let pictures = mapping.features.iter().filter_map(|feature| {
            Some(WantedPicture { name: &feature.name.value, codec: picture(feature)? })
        });
        let wanted = Wanted {
            fps: mapping.fps,
            robot_type: mapping.robot_type.as_deref(),
            features: mapping.features.iter().map(|feature| feature.name.value.as_str()).collect(),
            pictures: pictures.collect(),
        };
        check_wanted(storage, &wanted).map_err(|error| {
            let code = if error.class() == Class::Permanent { Code::Config } else { Code::Io };
            Failure { code, error: error.into() }
        })
    }

    /// Reads a mapping file and checks it.
    ///
    /// # Errors
    /// When it is not there, or no mapping.
    pub(crate) fn read(&self, path: &Path) -> Outcome<String> {
        let shown = path.display().to_string();
        let failed = |error: std::io::Error| Failure::new(Code::NoInput, format!("{shown}: {error}"));
        let bytes = fs::metadata(path).map_err(failed)?.len();
        if bytes > MAPPING_BYTES_MAX as u64 {
            let text = format!("{shown}: {bytes} bytes are no mapping file: it has at most 1 MiB");
            return Err(Failure::new(Code::Config, text));
        }
        self.apply(&shown, &fs::read_to_string(path).map_err(failed)?)
    }

    /// Infers a mapping from the first recording and shows it.
    ///
    /// # Errors
    /// When the recording cannot be read, or nothing can be made of it.
    pub(crate) fn infer_from(&self, storage: SharedStorage, first: &str, stop: &StopFlag) -> Outcome<String> {
        let mut inferred = infer_first(storage, first, stop).map_err(work_failure)?;
        if self.video_encoder.is_some() {
            inferred = inferred.with_videos();
        }
        let text = self.apply("the inferred mapping", &inferred.mapping_text)?;
        let notes: String = inferred.notes.iter().map(|note| format!("\n  {note}")).collect();
        notice(&format!(
            "no --mapping: inferred this one from {first}, and saved it with the dataset{notes}\n\n{text}"
        ));
        Ok(text)
    }
}

/// What this machine lacks to make a mapping's videos, if anything.
///
/// # Errors
/// When the text is no mapping.
pub(crate) fn missing_here(text: &str) -> Outcome<Option<String>> {
    let mapping = Mapping::parse("the mapping", text).or_exit(Code::Config)?;
    let missing = find_ffmpeg(mapping.video.encoder).err();
    Ok(missing.filter(|_| mapping.has_videos()).map(|missing| missing.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fps = 30\n[task]\ntext = \"t\"\n[[feature]]\nname = \"a\"\nsource = [{ topic = \"/a\", field = \"b\" }]\n";

    #[test]
    fn without_options_a_mapping_stays_as_it_is() {
        assert_eq!(MappingArgs::default().apply("robot.toml", TEXT).unwrap(), TEXT);
        assert_eq!(MappingArgs::default().first(), None);
    }

    #[test]
    fn a_format_becomes_a_key_of_the_root_whatever_tables_there_are() {
        let args = MappingArgs { format: Some("v2.1".to_owned()), ..MappingArgs::default() };
        let text = args.apply("robot.toml", TEXT).unwrap();
        assert_eq!(Mapping::parse("robot.toml", &text).unwrap().format, Version::V21, "{text}");
        let args = MappingArgs { format: Some("v1.0".to_owned()), ..MappingArgs::default() };
        let refused = args.apply("robot.toml", TEXT).unwrap_err().error.to_string();
        assert!(refused.contains("v3.0") && refused.contains("v2.1"), "{refused}");
    }

    #[test]
    fn an_option_that_the_mapping_cannot_take_is_named_in_the_error() {
        let args = MappingArgs { video_encoder: Some("openh264".to_owned()), ..MappingArgs::default() };
        assert_eq!(args.first(), Some("--video-encoder"));
        let failure = args.apply("robot.toml", TEXT).unwrap_err();
        let text = failure.error.to_string();
        assert!(text.starts_with("robot.toml with --video-encoder openh264:8:1: [video]"), "{text}");
    }
}
