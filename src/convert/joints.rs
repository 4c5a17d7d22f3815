//! Elements by their names: where each wanted one stands in a message, whatever the order there.
//!
//! Without a selection it only makes sure that the order never changes, since values would silently change their places.

use super::decode::{Extractor, Schema, ValueKind};
use super::nearest::listed;

/// What an array of names beside an array of values is called.
const NAME_FIELDS: [&str; 3] = ["name", "names", "joint_names"];
/// Names that a message lists.
const LISTED_MAX: usize = 20;

/// The names of one message after another.
#[derive(Debug, Clone)]
pub(crate) struct Joints {
    names: Extractor,
    /// The selected ones in their order; empty: all, as they come.
    wanted: Vec<String>,
    /// The names' bytes in the message looked at last: equal bytes need no second look.
    span: Option<Vec<u8>>,
    /// The names in the message looked at last.
    here: Vec<String>,
    /// Where each wanted one stands in it.
    order: Vec<usize>,
    /// Without a selection, the first names that were not empty.
    first: Vec<String>,
}

impl Joints {
    /// The names beside a field (`position` → `name`), for a selection also further up (`points[0].positions` →
    /// `joint_names`). None when there are none.
    pub(crate) fn beside(schema: &Schema, field: &str, wanted: Vec<String>) -> Option<Self> {
        let mut level = parent(field);
        loop {
            let found = NAME_FIELDS.iter().find_map(|name| {
                let path = level.map_or((*name).to_owned(), |level| format!("{level}.{name}"));
                let names = Extractor::compile(schema, &path).ok()?;
                (names.kind() == ValueKind::Strings).then_some(names)
            });
            match (found, level) {
                (Some(names), _) => {
                    return Some(Self {
                        names,
                        wanted,
                        span: None,
                        here: Vec::new(),
                        order: Vec::new(),
                        first: Vec::new(),
                    });
                }
                (None, Some(inner)) if !wanted.is_empty() => level = parent(inner),
                (None, _) => return None,
            }
        }
    }

    /// The names that messages of another type began with are those of all.
    pub(crate) fn adopt(&mut self, before: &Self) {
        self.first.clone_from(&before.first);
    }

    /// The selected ones.
    pub(crate) fn selected(&self) -> &[String] {
        &self.wanted
    }

    /// The names in the message looked at last.
    pub(crate) fn here(&self) -> &[String] {
        &self.here
    }

    /// The same with another selection, before any message.
    pub(crate) fn selecting(&self, wanted: &[String]) -> Self {
        Self {
            names: self.names.clone(),
            wanted: wanted.to_vec(),
            span: None,
            here: Vec::new(),
            order: Vec::new(),
            first: Vec::new(),
        }
    }

    /// Which of the selected ones a message with so many values in the field `path` carries. One without values carries none.
    ///
    /// # Errors
    /// There are values, and not as many as names.
    pub(crate) fn carried(
        &mut self,
        data: &[u8],
        path: &str,
        values: usize,
        out: &mut Vec<bool>,
    ) -> Result<(), String> {
        let span = self.names.span(data).map_err(|error| error.to_string())?;
        if span.is_none() || span != self.span.as_deref() {
            self.read(data)?;
            self.span = span.map(<[u8]>::to_vec);
        }
        if values != 0 && values != self.here.len() {
            return Err(self.uneven(path, values));
        }
        out.extend(self.wanted.iter().map(|wanted| values != 0 && self.here.contains(wanted)));
        Ok(())
    }

    fn read(&mut self, data: &[u8]) -> Result<(), String> {
        self.span = None;
        self.here.clear();
        self.names.strings(data, &mut self.here).map_err(|error| error.to_string())
    }

    fn uneven(&self, path: &str, values: usize) -> String {
        format!("{path} has {values} values for the {} names in {}", self.here.len(), self.names.path())
    }

    /// Reads a message's names.
    ///
    /// # Errors
    /// A selected one is missing, or without a selection they differ from the first.
    pub(crate) fn look(&mut self, data: &[u8]) -> Result<(), String> {
        let span = self.names.span(data).map_err(|error| error.to_string())?;
        if span.is_some() && span == self.span.as_deref() {
            return Ok(());
        }
        self.read(data)?;
        if self.wanted.is_empty() {
            self.compare()?;
        } else {
            self.find()?;
        }
        self.span = span.map(<[u8]>::to_vec);
        Ok(())
    }

    fn compare(&mut self) -> Result<(), String> {
        if self.here.is_empty() || self.here == self.first {
            return Ok(());
        }
        if self.first.is_empty() {
            self.first.clone_from(&self.here);
            return Ok(());
        }
        Err(format!(
            "{} is {} here and was {} before: choose and order the elements by select = [{}]",
            self.names.path(),
            listed(self.here.iter().map(String::as_str), LISTED_MAX),
            listed(self.first.iter().map(String::as_str), LISTED_MAX),
            listed(self.first.iter().map(String::as_str), LISTED_MAX),
        ))
    }

    fn find(&mut self) -> Result<(), String> {
        self.order.clear();
        for wanted in &self.wanted {
            let Some(at) = self.here.iter().position(|name| name == wanted) else {
                let here = listed(self.here.iter().map(String::as_str), LISTED_MAX);
                return Err(format!(
                    "{} has no {wanted:?}, which is selected; there are: {here}; where messages carry some of the joints \
                     each, write partial = true beside select",
                    self.names.path()
                ));
            };
            self.order.push(at);
        }
        Ok(())
    }

    /// Appends the values in the wanted order. `path` is the values' field, for the error.
    ///
    /// # Errors
    /// There are not as many values as names.
    pub(crate) fn arrange<T: Copy>(&self, path: &str, values: &[T], out: &mut Vec<T>) -> Result<(), String> {
        if self.wanted.is_empty() {
            out.extend_from_slice(values);
            return Ok(());
        }
        if values.len() != self.here.len() {
            return Err(self.uneven(path, values.len()));
        }
        out.extend(self.order.iter().filter_map(|at| values.get(*at)));
        Ok(())
    }

    /// The names of the values that [`Joints::arrange`] gives.
    pub(crate) fn names(&self) -> Vec<String> {
        if self.wanted.is_empty() { self.first.clone() } else { self.wanted.clone() }
    }
}

/// The struct that a field stands in; none at the top.
fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('.').map(|(parent, _)| parent)
}
