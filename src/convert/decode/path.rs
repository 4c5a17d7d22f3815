//! Paths to fields as a mapping writes them: `pose.position.x`, `data[0:3]`, `transforms[0].transform`. Only their
//! syntax; what they lead to is [`super::target`]'s.

/// A path may be this long.
const MAX_PATH_BYTES: usize = 1_000;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Into a field of a struct.
    Name(String),
    /// Into elements of a list.
    Items(Items),
}

/// Which elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Items {
    /// The one at this index.
    One(u32),
    /// From the first index up to, not including, the second (or the list's end).
    Range(u32, Option<u32>),
}

/// Splits a path. The error says what is wrong with it.
pub(crate) fn parse(path: &str) -> Result<Vec<Segment>, String> {
    if path.is_empty() {
        return Err("it is empty".to_owned());
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(format!("it is longer than {MAX_PATH_BYTES} bytes"));
    }
    let mut segments = Vec::new();
    for part in path.split('.') {
        let (name, mut rest) = match part.find('[') {
            Some(at) => part.split_at_checked(at).unwrap_or((part, "")),
            None => (part, ""),
        };
        if name.is_empty() {
            return Err("a name is missing before, between or behind its dots".to_owned());
        }
        segments.push(Segment::Name(name.to_owned()));
        while !rest.is_empty() {
            let inner = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
            let (inner, after) =
                inner.ok_or_else(|| format!("`{rest}` is not an index like [2] or [0:3]"))?;
            segments.push(Segment::Items(items(inner)?));
            rest = after;
        }
    }
    Ok(segments)
}

fn items(inner: &str) -> Result<Items, String> {
    let wrong = || format!("`[{inner}]` is not an index like [2], a range like [0:3], or [:]");
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
    let Some((from, to)) = inner.split_once(':') else {
        return Ok(Items::One(number(inner)?));
    };
    let from = if from.trim().is_empty() { 0 } else { number(from)? };
    let to = if to.trim().is_empty() { None } else { Some(number(to)?) };
    if to.is_some_and(|to| to <= from) {
        return Err(format!("the range `[{inner}]` is empty"));
    }
    Ok(Items::Range(from, to))
}
