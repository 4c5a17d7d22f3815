//! How one lane's values come out of its messages: which field, which of its elements, and that every message is like the first.
//! A topic whose messages have several types has a way for each; what the first message fixed holds for all.
//!
//! It knows no frames and no files: whoever reads messages names those in errors.

use super::decode::{Extractor, Quaternions};
use super::joints::Joints;
use super::mapping::Interpolate;
use super::picture::Picture;
use super::slerp::QUATERNION;
use super::spare::Spares;

/// Most bytes that a column makes room for before they come.
const ROOM_BYTES_MAX: usize = 32 << 20;

/// Values of one lane's messages, in the order they were read.
#[derive(Debug)]
pub(crate) enum Column {
    /// Numbers, the tap's width of them a message.
    Floats(Vec<f64>),
    /// Whole numbers and booleans, the tap's width of them a message.
    Integers(Vec<i64>),
    /// One text a message.
    Texts(Vec<String>),
    /// Files behind each other, and where each ends.
    Files { bytes: Vec<u8>, ends: Vec<usize> },
}

impl Default for Column {
    fn default() -> Self {
        Self::Floats(Vec::new())
    }
}

/// What a lane takes from a message, by the message's type.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    first: Way,
    /// Those of the topic's other types.
    more: Vec<Way>,
    /// The type of the message taken last.
    kind: usize,
}

/// What is taken from a message of one type.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Numbers(Box<Numbers>),
    Text(Extractor),
    Picture(Box<Picture>),
}

/// Numbers of a field.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    extractor: Extractor,
    /// Whole numbers are kept exact; otherwise all are floats.
    exact: bool,
    joints: Option<Joints>,
    /// What an element is called whose message gives it no name.
    label: String,
    /// How many the first message had.
    width: Option<usize>,
    /// Which are quaternions; none where the mapping wants them as other numbers.
    quaternions: Option<Quaternions>,
    /// The mapping says that all are.
    all_quaternions: bool,
    /// Whether the mapping says that messages carry some of the selected joints each.
    partial: Option<bool>,
    /// Values of a message that is only looked at.
    looked_at: Vec<f64>,
}

impl Numbers {
    pub(crate) fn new(extractor: Extractor, exact: bool, joints: Option<Joints>, label: String) -> Self {
        let quaternions = joints.is_none().then(|| extractor.quaternions().clone());
        Self {
            extractor,
            exact,
            joints,
            label,
            width: None,
            quaternions,
            all_quaternions: false,
            partial: None,
            looked_at: Vec::new(),
        }
    }

    /// As the mapping says: messages carry some of the selected joints each, or all.
    pub(crate) fn in_parts(self, partial: Option<bool>) -> Self {
        Self { partial, ..self }
    }

    /// Which of the selected joints a message carries: those that its names list, unless the field is empty.
    fn carried(&mut self, data: &[u8], out: &mut Vec<bool>) -> Result<(), String> {
        let Some(joints) = &mut self.joints else { return Ok(()) };
        self.looked_at.clear();
        self.extractor.numbers(data, &mut self.looked_at).map_err(|error| error.to_string())?;
        joints.carried(data, self.extractor.path(), self.looked_at.len(), out)
    }

    /// As the mapping says instead of the types: all values are quaternions, or none is.
    pub(crate) fn interpolated(self, how: Interpolate) -> Self {
        match how {
            Interpolate::Linear => Self { quaternions: None, ..self },
            Interpolate::Slerp => {
                Self { quaternions: Some(Quaternions::throughout()), all_quaternions: true, ..self }
            }
        }
    }

    fn take(&mut self, data: &[u8], column: &mut Column) -> Result<(), String> {
        if let Some(joints) = &mut self.joints {
            joints.look(data)?;
        }
        match column {
            Column::Floats(floats) => {
                let mut values = Vec::with_capacity(self.width.unwrap_or(0));
                self.extractor.numbers(data, &mut values).map_err(|error| error.to_string())?;
                self.append(values, floats)
            }
            Column::Integers(integers) => {
                let mut values = Vec::with_capacity(self.width.unwrap_or(0));
                self.extractor.integers(data, &mut values).map_err(|error| error.to_string())?;
                self.append(values, integers)
            }
            Column::Texts(_) | Column::Files { .. } => {
                Err("numbers do not go into another column".to_owned())
            }
        }
    }

    fn append<T: Copy>(&mut self, values: Vec<T>, out: &mut Vec<T>) -> Result<(), String> {
        let before = out.len();
        let path = self.extractor.path();
        match &self.joints {
            Some(joints) => joints.arrange(path, &values, out)?,
            None => out.extend(values),
        }
        let width = out.len() - before;
        match self.width {
            None if width == 0 => Err(format!("{path} is empty")),
            None if self.all_quaternions && !width.is_multiple_of(QUATERNION) => Err(format!(
                "{path} has {width} values, and interpolate = \"slerp\" takes them four by four: choose those of a \
                 quaternion, for example {path}[0:4]"
            )),
            None => {
                self.width = Some(width);
                Ok(())
            }
            Some(first) if first != width => Err(format!(
                "{path} has {width} values here and had {first} before; a feature's length is fixed: \
                 take single elements ({path}[0]), or leave the topic out"
            )),
            Some(_) => Ok(()),
        }
    }

    /// The elements' names, as well as the messages tell; all the width of them.
    fn names(&self) -> Vec<String> {
        let width = self.width.unwrap_or(0);
        let fits = |names: &Vec<String>| names.len() == width;
        let from_joints = self.joints.as_ref().map(Joints::names).filter(fits);
        let of_type = || self.extractor.element_names().filter(fits).filter(|_| width > 1);
        from_joints.or_else(of_type).unwrap_or_else(|| match width {
            1 => vec![self.label.clone()],
            _ => (0..width).map(|at| format!("{}_{at}", self.label)).collect(),
        })
    }
}

impl Tap {
    /// One that takes messages by these ways, one for each type; none without any.
    pub(crate) fn new(ways: impl IntoIterator<Item = Way>) -> Option<Self> {
        let mut ways = ways.into_iter();
        Some(Self { first: ways.next()?, more: ways.collect(), kind: 0 })
    }

    /// Appends a message's values. The first message taken fixes their number, their names and the picture's kind and size.
    /// `kind` is the message's type among those of its topic.
    ///
    /// # Errors
    /// Says what is wrong with the message, or how it differs from the first.
    pub(crate) fn take(&mut self, kind: usize, data: &[u8], column: &mut Column) -> Result<(), String> {
        if kind != self.kind {
            let before = self.way().clone();
            self.kind = kind;
            self.way_mut().adopt(before);
        }
        self.way_mut().take(data, column)
    }

    /// The way of the message taken last.
    fn way(&self) -> &Way {
        self.kind.checked_sub(1).and_then(|at| self.more.get(at)).unwrap_or(&self.first)
    }

    fn way_mut(&mut self) -> &mut Way {
        self.kind.checked_sub(1).and_then(|at| self.more.get_mut(at)).unwrap_or(&mut self.first)
    }

    /// An empty column for its values.
    pub(crate) fn column(&self) -> Column {
        match self.way() {
            Way::Numbers(numbers) if numbers.exact => Column::Integers(Vec::new()),
            Way::Numbers(_) => Column::Floats(Vec::new()),
            Way::Text(_) => Column::Texts(Vec::new()),
            Way::Picture(_) => Column::Files { bytes: Vec::new(), ends: Vec::new() },
        }
    }

    /// How many elements each frame takes from it; 1 before the first message.
    pub(crate) fn width(&self) -> usize {
        self.numbers().map_or(1, |numbers| numbers.width.unwrap_or(1))
    }

    /// Where quaternions begin among the elements of a frame.
    pub(crate) fn quaternions(&self) -> Vec<usize> {
        let numbers = self.numbers();
        let found = numbers.and_then(|numbers| Some((numbers.quaternions.as_ref()?, numbers.width)));
        found.map_or(Vec::new(), |(found, width)| found.among(width.unwrap_or(0)))
    }

    /// The elements' names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.numbers().map_or(Vec::new(), Numbers::names)
    }

    /// What the field is called.
    pub(crate) fn label(&self) -> &str {
        match self.way() {
            Way::Numbers(numbers) => &numbers.label,
            Way::Text(extractor) => extractor.path(),
            Way::Picture(picture) => picture.path(),
        }
    }

    /// The lane of pictures that it may be.
    pub(crate) fn picture(&self) -> Option<&Picture> {
        match self.way() {
            Way::Picture(picture) => Some(picture),
            Way::Numbers(_) | Way::Text(_) => None,
        }
    }

    /// The joints that it takes by their names.
    pub(crate) fn selected(&self) -> &[String] {
        self.numbers().and_then(|numbers| numbers.joints.as_ref()).map_or(&[], Joints::selected)
    }

    /// The names in the message looked at last.
    pub(crate) fn names_here(&self) -> &[String] {
        self.numbers().and_then(|numbers| numbers.joints.as_ref()).map_or(&[], Joints::here)
    }

    /// Whether messages carry some of the selected joints each, if the mapping says.
    pub(crate) fn partial(&self) -> Option<bool> {
        self.numbers().and_then(|numbers| numbers.partial)
    }

    /// Whether it takes the same joints of the same field as another one of its topic.
    pub(crate) fn selects_as(&self, other: &Self) -> bool {
        let key =
            |tap: &Self| tap.numbers().map(|numbers| (numbers.extractor.path().to_owned(), numbers.partial));
        !self.selected().is_empty() && self.selected() == other.selected() && key(self) == key(other)
    }

    /// The same with only these of its joints.
    pub(crate) fn selecting(&self, wanted: &[String]) -> Self {
        let mut tap = self.clone();
        for way in std::iter::once(&mut tap.first).chain(&mut tap.more) {
            if let Way::Numbers(numbers) = way
                && let Some(joints) = &mut numbers.joints
            {
                *joints = joints.selecting(wanted);
            }
        }
        tap
    }

    /// Which of the selected joints a message carries, one flag each.
    ///
    /// # Errors
    /// The message is damaged.
    pub(crate) fn carried(&mut self, kind: usize, data: &[u8], out: &mut Vec<bool>) -> Result<(), String> {
        out.clear();
        self.kind = kind;
        match self.way_mut() {
            Way::Numbers(numbers) => numbers.carried(data, out),
            Way::Text(_) | Way::Picture(_) => Ok(()),
        }
    }

    fn numbers(&self) -> Option<&Numbers> {
        match self.way() {
            Way::Numbers(numbers) => Some(numbers),
            Way::Text(_) | Way::Picture(_) => None,
        }
    }
}

impl Way {
    fn take(&mut self, data: &[u8], column: &mut Column) -> Result<(), String> {
        match (self, column) {
            (Self::Numbers(numbers), column) => numbers.take(data, column),
            (Self::Text(extractor), Column::Texts(texts)) => {
                let before = texts.len();
                extractor.strings(data, texts).map_err(|error| error.to_string())?;
                match texts.len() - before {
                    1 => Ok(()),
                    count => Err(format!("{} has {count} texts; a text feature takes one", extractor.path())),
                }
            }
            (Self::Picture(picture), Column::Files { bytes, ends }) => {
                picture.take(data, bytes)?;
                ends.push(bytes.len());
                Ok(())
            }
            (Self::Text(_) | Self::Picture(_), _) => Err("values do not go into another column".to_owned()),
        }
    }

    /// What messages of another type have fixed holds for this one too.
    fn adopt(&mut self, before: Self) {
        match (self, before) {
            (Self::Numbers(here), Self::Numbers(before)) => {
                here.width = before.width;
                if let (Some(here), Some(before)) = (&mut here.joints, &before.joints) {
                    here.adopt(before);
                }
            }
            (Self::Picture(here), Self::Picture(before)) => here.adopt(&before),
            (Self::Numbers(_) | Self::Text(_) | Self::Picture(_), _) => {}
        }
    }
}

impl Column {
    /// Makes room for so many files, the first of which is there, if they are about as large: in spare memory where there
    /// is some.
    pub(crate) fn expect_files(&mut self, count: usize, spares: &Spares) {
        if let Self::Files { bytes, ends } = self
            && ends.len() == 1
        {
            let room = bytes.len().saturating_mul(count);
            let mut roomy = spares.take((room + room / 8).min(ROOM_BYTES_MAX).max(bytes.len()));
            roomy.extend_from_slice(bytes);
            *bytes = roomy;
        }
    }

    /// It is done with: its memory may be used again.
    pub(crate) fn let_go(self, spares: &Spares) {
        if let Self::Files { bytes, .. } = self {
            spares.give(bytes);
        }
    }

    /// The bytes it holds, about.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Floats(values) => values.len() * size_of::<f64>(),
            Self::Integers(values) => values.len() * size_of::<i64>(),
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            Self::Files { bytes, .. } => bytes.len(),
        }
    }
}
