//! YAML as a tree of texts, over the events of `saphyr-parser`, with limits. Scalars are not typed; anchors are refused, since
//! one line of them can stand for gigabytes.

use saphyr_parser::{Event, Parser};

/// How deep lists and mappings nest.
const MAX_DEPTH: usize = 32;
/// Values and keys of one document.
const MAX_NODES: usize = 1 << 20;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    List(Vec<Self>),
    Mapping(Vec<(String, Self)>),
}

impl Node {
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Mapping(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

/// A list or mapping that is not closed yet.
enum Open {
    List(Vec<Node>),
    Mapping(Vec<(String, Node)>, Option<String>),
}

/// The first document of a text. The error is a reason.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut nodes = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        nodes += 1;
        if nodes > MAX_NODES || open.len() > MAX_DEPTH {
            return Err(format!("it has more than {MAX_NODES} values, or nests deeper than {MAX_DEPTH}"));
        }
        let whole = match event {
            Event::Alias(_) => return Err("it has anchors, which no bag's metadata has".to_owned()),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Vec::new(), None));
                None
            }
            Event::Scalar(text, ..) => Some(Node::Text(text.into_owned())),
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Some(Node::List(items)),
                Some(Open::Mapping(fields, _)) => Some(Node::Mapping(fields)),
                None => None,
            },
            _ => None,
        };
        let Some(whole) = whole else { continue };
        match open.last_mut() {
            None => return Ok(whole),
            Some(Open::List(items)) => items.push(whole),
            Some(Open::Mapping(fields, key)) => match (key.take(), whole) {
                (Some(name), value) => fields.push((name, value)),
                (None, Node::Text(name)) => *key = Some(name),
                (None, _) => return Err("a key that is no text".to_owned()),
            },
        }
    }
    Err("it is empty".to_owned())
}
