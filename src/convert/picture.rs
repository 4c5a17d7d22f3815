//! What a lane of pictures takes from a message: a file as it came, or raw pixels by the fields beside them.
//!
//! For a dataset of images what is not stored as it came becomes a PNG here, so that a segment never holds raw pixels; for
//! a video the pictures are kept as they came until they are encoded. It knows no frames and no topics.

use super::decode::{DecodeError, Extractor, Schema, ValueKind};
use super::image::{Format, Geometry, Pixels, Raw, Transform, depth_png, geometry};
use std::borrow::Cow;

/// What pictures are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Files as they will stand in the dataset: transformed, and such that loaders see red, green and blue, or depth.
    Files,
    /// Whatever came, for an encoder that transforms them. Raw rows lose their padding, 16-bit numbers have their high
    /// byte first.
    AsTheyCame,
}

/// What a lane takes.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    data: Extractor,
    /// The message's text on what the data is, if it has one.
    format: Option<Extractor>,
    raw: Option<Box<RawFields>>,
    keep: Keep,
    transform: Transform,
    /// What the first message had.
    came: Option<Geometry>,
    pixels: Pixels,
    /// Raw rows on their way into a file.
    rows: Vec<u8>,
}

/// The fields that say what raw pixels are.
#[derive(Debug, Clone)]
struct RawFields {
    encoding: Extractor,
    width: Extractor,
    height: Extractor,
    step: Extractor,
    big_endian: Option<Extractor>,
}

/// A message's raw pixels.
struct RawImage {
    raw: Raw,
    geometry: Geometry,
    step: usize,
    big_endian: bool,
}

impl Picture {
    /// Compiles what is read of a message type beside `data`.
    pub(crate) fn new(schema: &Schema, data: Extractor, transform: Transform, keep: Keep) -> Self {
        let beside = data.path().rsplit_once('.').map_or(String::new(), |(parent, _)| format!("{parent}."));
        let sibling = |name: &str| Extractor::compile(schema, &format!("{beside}{name}")).ok();
        let text = |name: &str| sibling(name).filter(|field| field.kind() == ValueKind::Strings);
        let number =
            |name: &str| sibling(name).filter(|field| matches!(field.kind(), ValueKind::Numbers { .. }));
        let raw = || {
            Some(Box::new(RawFields {
                encoding: text("encoding")?,
                width: number("width")?,
                height: number("height")?,
                step: number("step")?,
                big_endian: number("is_bigendian"),
            }))
        };
        Self {
            format: text("format"),
            raw: raw(),
            data,
            keep,
            transform,
            came: None,
            pixels: Pixels::default(),
            rows: Vec::new(),
        }
    }

    /// What pictures of another message type were is what all must be.
    pub(crate) fn adopt(&mut self, before: &Self) {
        self.came = before.came;
    }

    /// The field that holds the bytes.
    pub(crate) fn path(&self) -> &str {
        self.data.path()
    }

    /// What is still to be done to the pictures that are kept.
    pub(crate) fn transform(&self) -> Transform {
        match self.keep {
            Keep::Files => Transform::default(),
            Keep::AsTheyCame => self.transform,
        }
    }

    /// What the kept pictures are, once one was taken.
    pub(crate) fn kept(&self) -> Option<Geometry> {
        let came = self.came?;
        if self.keep == Keep::AsTheyCame || self.passes(came) {
            return Some(came);
        }
        let (width, height) = self.transform.size(came.width, came.height).ok()?;
        let format = if came.is_depth() { Format::Depth } else { Format::Png };
        Some(Geometry { format, width, height, is_rgb: !came.is_depth() })
    }

    /// Height, width and channels as the dataset describes them, once a picture was taken: three channels, or one of
    /// distances.
    pub(crate) fn shape(&self) -> Option<[u32; 3]> {
        let came = self.came?;
        let (width, height) = self.transform.size(came.width, came.height).ok()?;
        Some([height, width, if came.is_depth() { 1 } else { 3 }])
    }

    /// Kind and size of a message's picture, without taking it.
    ///
    /// # Errors
    /// As [`Picture::take`].
    pub(crate) fn look(&self, message: &[u8]) -> Result<Geometry, String> {
        match &self.raw {
            Some(raw) => {
                let image = raw.read(message)?;
                image.check(&self.data.bytes(message).map_err(|error| error.to_string())?)?;
                Ok(image.geometry)
            }
            None => geometry(&self.file(message)?),
        }
    }

    /// Appends a message's picture. The first one taken fixes kind and size.
    ///
    /// # Errors
    /// Says what is wrong with it, or how it differs from the first.
    pub(crate) fn take(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let Some(raw) = &self.raw else {
            let file = self.file(message)?;
            let geometry = geometry(&file)?;
            self.same(geometry)?;
            if self.keep == Keep::AsTheyCame || self.passes(geometry) {
                out.extend_from_slice(&file);
                return Ok(());
            }
            return self.pixels.png(&file, geometry, &self.transform, out);
        };
        let image = raw.read(message)?;
        let data = self.data.bytes(message).map_err(|error| error.to_string())?;
        self.same(image.geometry)?;
        match self.keep {
            Keep::AsTheyCame => image.rows(&data, out),
            Keep::Files => {
                let mut rows = std::mem::take(&mut self.rows);
                rows.clear();
                let made = image
                    .rows(&data, &mut rows)
                    .and_then(|()| self.pixels.png(&rows, image.geometry, &self.transform, out));
                self.rows = rows;
                made
            }
        }
    }

    /// Whether a file goes into the dataset as it came.
    fn passes(&self, geometry: Geometry) -> bool {
        let is_file = matches!(geometry.format, Format::Jpeg | Format::Png | Format::Depth);
        is_file && self.transform.is_none() && (geometry.is_rgb || geometry.is_depth())
    }

    fn same(&mut self, this: Geometry) -> Result<(), String> {
        if let Some(first) = self.came {
            if this != first {
                return Err(format!(
                    "the image is {this}, and the first one is {first}; a feature's images are all alike"
                ));
            }
            return Ok(());
        }
        if self.keep == Keep::AsTheyCame && this.is_depth() {
            return Err(format!(
                "{this} cannot become a video: its values would be lost; use kind = \"image\""
            ));
        }
        self.transform.size(this.width, this.height)?;
        self.came = Some(this);
        Ok(())
    }

    /// A message's file, without what stands before the PNG of compressed depth.
    fn file<'a>(&self, message: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
        let bytes = self.data.bytes(message).map_err(|error| error.to_string())?;
        let mut formats = Vec::new();
        if let Some(format) = &self.format {
            format.strings(message, &mut formats).map_err(|error| error.to_string())?;
        }
        let format = formats.first().map_or("", String::as_str);
        Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(depth_png(bytes, format)?),
            Cow::Owned(bytes) => Cow::Owned(depth_png(&bytes, format)?.to_vec()),
        })
    }
}

impl RawFields {
    /// # Errors
    /// A field is damaged, or says what cannot be.
    fn read(&self, message: &[u8]) -> Result<RawImage, String> {
        let text = |error: DecodeError| error.to_string();
        let mut encodings = Vec::new();
        self.encoding.strings(message, &mut encodings).map_err(text)?;
        let raw = Raw::named(encodings.first().map_or("", String::as_str))?;
        let (width, height) = (number(&self.width, message)?, number(&self.height, message)?);
        let geometry = Geometry { format: Format::Raw(raw), width, height, is_rgb: false }.checked()?;
        raw.check_size(width, height)?;
        let step = number(&self.step, message)? as usize;
        let row = raw.row_bytes(width as usize);
        if step < row {
            return Err(format!("step is {step}, and a row of {geometry} has {row} bytes"));
        }
        let big_endian = match &self.big_endian {
            Some(field) => number(field, message)? != 0,
            None => false,
        };
        Ok(RawImage { raw, geometry, step, big_endian })
    }
}

impl RawImage {
    /// How many rows of bytes there are, and how long each is without padding.
    ///
    /// # Errors
    /// The data are too few for them.
    fn check(&self, data: &[u8]) -> Result<(usize, usize), String> {
        let row = self.raw.row_bytes(self.geometry.width as usize);
        let count = self.raw.rows(self.geometry.height as usize);
        // The last row's padding is left out by some writers.
        let needed = self.step.checked_mul(count - 1).and_then(|before| before.checked_add(row));
        if needed.is_none_or(|needed| needed > data.len()) {
            return Err(format!(
                "{} has {} bytes of data, too few for {count} rows of step {}",
                self.geometry,
                data.len(),
                self.step
            ));
        }
        Ok((count, row))
    }

    /// Appends the rows of pixels, without padding.
    fn rows(&self, data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let (count, row) = self.check(data)?;
        let swap = self.raw == Raw::Depth && !self.big_endian;
        for row in data.chunks(self.step).take(count).filter_map(|padded| padded.get(..row)) {
            if swap {
                out.extend(row.as_chunks::<2>().0.iter().flat_map(|[low, high]| [*high, *low]));
            } else {
                out.extend_from_slice(row);
            }
        }
        Ok(())
    }
}

/// A field's whole number.
fn number(field: &Extractor, message: &[u8]) -> Result<u32, String> {
    let mut values = Vec::with_capacity(1);
    field.integers(message, &mut values).map_err(|error| error.to_string())?;
    let value = values.first().copied().unwrap_or(-1);
    u32::try_from(value).map_err(|_| format!("{} is {value}: not a size of pictures", field.path()))
}

#[cfg(test)]
mod tests;
