//! Reading keys out of a TOML table, with an error at the right line for whatever is not as it should be.
//!
//! It knows TOML and wording, not what a mapping is.

use super::error::{MappingError, Place};
use super::{LIST_MAX, Located};
use crate::convert::nearest::{listed, meant};
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most keys that a message lists.
const LISTED_MAX: usize = 16;

/// The file that is being read.
#[derive(Clone, Copy)]
pub(super) struct Document<'t> {
    pub(super) file: &'t str,
    pub(super) text: &'t str,
}

impl Document<'_> {
    pub(super) fn error(&self, place: Place, what: impl Into<String>) -> MappingError {
        MappingError::new(self.file, place, what)
    }

    pub(super) fn place(&self, byte: usize) -> Place {
        Place::of(self.text, byte)
    }
}

/// A text, a number or a boolean.
pub(super) enum Scalar {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// One table of the file, all of whose keys are known ones.
pub(super) struct Keys<'t> {
    doc: Document<'t>,
    table: &'t DeTable<'t>,
    /// What the table is, with an article, for messages.
    title: &'static str,
    /// Where it stands.
    pub(super) place: Place,
}

impl<'t> Keys<'t> {
    /// Takes a table whose keys must be among `valid`.
    pub(super) fn new(
        doc: Document<'t>,
        table: &'t DeTable<'t>,
        title: &'static str,
        place: Place,
        valid: &[&str],
    ) -> Result<Self, MappingError> {
        let unknown = table.keys().filter(|key| !valid.contains(&key.as_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let name: &str = key.as_ref();
            let hint = meant(name, valid.iter().copied())
                .map_or(String::new(), |near| format!(": did you mean {near:?}?"));
            let what = format!(
                "unknown key {name:?} in {title}{hint}; valid are {}",
                listed(valid.iter().copied(), LISTED_MAX)
            );
            return Err(doc.error(doc.place(key.span().start), what));
        }
        Ok(Self { doc, table, title, place })
    }

    /// An error at a place of this file.
    pub(super) fn error(&self, place: Place, what: impl Into<String>) -> MappingError {
        self.doc.error(place, what)
    }

    /// Where the key's value stands, if the key is there.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.value(key).map(|value| self.doc.place(value.span().start))
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<Located<String>>, MappingError> {
        self.value(key).map(|value| self.as_text(key, value)).transpose()
    }

    /// A text that must be there; `example` shows how it is written.
    pub(super) fn required_text(&self, key: &str, example: &str) -> Result<Located<String>, MappingError> {
        self.text(key)?.ok_or_else(|| self.lacks(key, example))
    }

    /// That a key is missing; `example` shows how it is written.
    pub(super) fn lacks(&self, key: &str, example: &str) -> MappingError {
        self.error(self.place, format!("{} needs {key:?}, for example: {example}", self.title))
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<Located<T>>, MappingError> {
        let Some(word) = self.text(key)? else { return Ok(None) };
        let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.value) else {
            let valid = listed(choices.iter().map(|(name, _)| *name), LISTED_MAX);
            return Err(self.error(word.place, format!("{key} = {:?}: valid are {valid}", word.value)));
        };
        Ok(Some(Located { value: *value, place: word.place }))
    }

    /// A text, or a whole number as the text that it is.
    pub(super) fn word(&self, key: &str) -> Result<Option<Located<String>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref().as_integer() {
            Some(number) => {
                let place = self.doc.place(value.span().start);
                Ok(Some(Located { value: number.as_str().to_owned(), place }))
            }
            None => self.as_text(key, value).map(Some),
        }
    }

    /// A whole number within a range.
    pub(super) fn integer(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<Located<u32>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let place = self.doc.place(value.span().start);
        match whole(value.get_ref()) {
            Some(number) if range.contains(&number) => Ok(Some(Located { value: number, place })),
            _ => Err(self.error(
                place,
                format!("{key} must be a whole number from {} to {}", range.start(), range.end()),
            )),
        }
    }

    /// So many whole numbers within a range; `names` says what each is.
    pub(super) fn integers<const N: usize>(
        &self,
        key: &str,
        names: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<Located<[u32; N]>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let place = self.doc.place(value.span().start);
        let numbers = value.get_ref().as_array().and_then(|items| {
            let numbers: Option<Vec<u32>> = items.iter().map(|item| whole(item.get_ref())).collect();
            <[u32; N]>::try_from(numbers?).ok()
        });
        match numbers {
            Some(numbers) if numbers.iter().all(|number| range.contains(number)) => {
                Ok(Some(Located { value: numbers, place }))
            }
            _ => {
                let (from, to) = range.into_inner();
                let what = format!("{key} must be {N} whole numbers from {from} to {to}: {key} = {names}");
                Err(self.error(place, what))
            }
        }
    }

    /// A number from 0 to `max`, whole or not.
    pub(super) fn number(&self, key: &str, max: f64) -> Result<Option<f64>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match float(value) {
            Some(number) if (0.0..=max).contains(&number) => Ok(Some(number)),
            _ => {
                let place = self.doc.place(value.span().start);
                Err(self.error(place, format!("{key} must be a number from 0 to {max}")))
            }
        }
    }

    /// True or false.
    pub(super) fn boolean(&self, key: &str) -> Result<Option<Located<bool>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let place = self.doc.place(value.span().start);
        match value.get_ref().as_bool() {
            Some(value) => Ok(Some(Located { value, place })),
            None => Err(self.error(place, format!("{key} must be true or false"))),
        }
    }

    /// A text that is not empty, a number or a boolean.
    pub(super) fn scalar(&self, key: &str) -> Result<Option<Located<Scalar>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let place = self.doc.place(value.span().start);
        let found = match value.get_ref() {
            DeValue::String(_) => {
                return self
                    .as_text(key, value)
                    .map(|text| Some(Located { value: Scalar::Text(text.value), place }));
            }
            DeValue::Boolean(value) => Some(Scalar::Boolean(*value)),
            _ => float(value).filter(|number| number.is_finite()).map(Scalar::Number),
        };
        match found {
            Some(value) => Ok(Some(Located { value, place })),
            None => Err(self.error(
                place,
                format!("{key} must be a text, a number or a boolean, not the type {}", kind_of(value)),
            )),
        }
    }

    /// A list of texts, not empty and none twice.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Located<Vec<Located<String>>>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let place = self.doc.place(value.span().start);
        let wrong =
            || format!("{key} must be a list of texts, for example: {key} = [\"joint_1\", \"joint_2\"]");
        let Some(items) = value.get_ref().as_array() else { return Err(self.error(place, wrong())) };
        if items.is_empty() || items.len() > LIST_MAX {
            return Err(self.error(place, format!("{key} must have 1 to {LIST_MAX} entries")));
        }
        let mut texts: Vec<Located<String>> = Vec::with_capacity(items.len());
        for item in items {
            let text = self.as_text(key, item)?;
            if texts.iter().any(|other| other.value == text.value) {
                return Err(self.error(text.place, format!("{key} names {:?} twice", text.value)));
            }
            texts.push(text);
        }
        Ok(Some(Located { value: texts, place }))
    }

    /// The one table under a key.
    pub(super) fn table(
        &self,
        key: &str,
        title: &'static str,
        valid: &[&str],
    ) -> Result<Option<Keys<'t>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let place = self.doc.place(value.span().start);
        let Some(table) = value.get_ref().as_table() else {
            return Err(self.error(place, format!("{key} must be a table, written [{key}]")));
        };
        Keys::new(self.doc, table, title, place, valid).map(Some)
    }

    /// The tables under a key: an array of tables, inline or not, or a single one.
    pub(super) fn tables(
        &self,
        key: &str,
        title: &'static str,
        valid: &[&str],
        count_max: usize,
    ) -> Result<Vec<Keys<'t>>, MappingError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let items: Vec<&'t Spanned<DeValue<'t>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let place = self.doc.place(value.span().start);
        if items.len() > count_max {
            return Err(self.error(place, format!("at most {count_max} of {key} are allowed")));
        }
        let read = |item: &'t Spanned<DeValue<'t>>| {
            let place = self.doc.place(item.span().start);
            match item.get_ref().as_table() {
                Some(table) => Keys::new(self.doc, table, title, place, valid),
                None => {
                    Err(self.error(place, format!("{key} must hold tables, not the type {}", kind_of(item))))
                }
            }
        };
        items.into_iter().map(read).collect()
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.iter().find(|(name, _)| name.as_ref().as_ref() == key).map(|(_, value)| value)
    }

    fn as_text(&self, key: &str, value: &Spanned<DeValue<'t>>) -> Result<Located<String>, MappingError> {
        let place = self.doc.place(value.span().start);
        match value.get_ref().as_str() {
            Some("") => Err(self.error(place, format!("{key} is empty"))),
            Some(text) => Ok(Located { value: text.to_owned(), place }),
            None => {
                Err(self
                    .error(place, format!("{key} must be a text in quotes, not the type {}", kind_of(value))))
            }
        }
    }
}

fn whole(value: &DeValue<'_>) -> Option<u32> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|number| u32::try_from(number).ok())
}

/// A number, whole or not.
fn float(value: &Spanned<DeValue<'_>>) -> Option<f64> {
    match value.get_ref() {
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
        }
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}

fn kind_of(value: &Spanned<DeValue<'_>>) -> &'static str {
    value.get_ref().type_str()
}
