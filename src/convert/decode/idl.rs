//! Message definitions in IDL as rosbag2 stores them (`ros2idl`): for each type a line of `=`, `IDL: package/msg/Type`, and the text
//! that ROS 2 has for it.
//!
//! The subset that ROS 2's own interfaces are written in: modules, structs, typedefs, enumerations, sequences, arrays, bounded
//! texts; constants and annotations are read over. Unions, maps, fixed-point numbers, inheritance and bit sets are refused by name.
//! Format rules: OMG IDL 4.2, and the ROS 2 design article on IDL.

use super::error::DecodeError;
use super::rosmsg::{MAX_TEXT_BYTES, canonical};
use super::types::{Count, Field, Kind, MAX_FIELDS, MAX_STRUCTS, Primitive, Struct, Types};
use std::collections::HashMap;

/// A typedef leads to another at most so often.
const MAX_ALIASES: usize = 32;
/// Modules within each other at most.
const MAX_MODULES: usize = 32;

/// What a type's name stands for before it is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    base: Base,
    count: Count,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Base {
    Primitive(Primitive),
    /// As written, with the modules it was written in.
    Name(String, Vec<String>),
}

struct Member {
    name: String,
    of: Named,
}

/// Everything that the text declares, by full names.
#[derive(Default)]
struct Declared {
    structs: Vec<(String, Vec<Member>)>,
    by_name: HashMap<String, usize>,
    aliases: HashMap<String, Named>,
}

/// Reads a definition. `schema` is the main type's name, with or without `/msg/`.
pub(crate) fn parse(schema: &str, text: &[u8]) -> Result<Types, DecodeError> {
    let refuse = |reason: String| DecodeError::Definition { schema: schema.to_owned(), reason };
    if text.len() > MAX_TEXT_BYTES {
        return Err(refuse(format!(
            "its text of {} bytes is over the limit of {MAX_TEXT_BYTES}",
            text.len()
        )));
    }
    let text = std::str::from_utf8(text)
        .map_err(|e| refuse(format!("its text is not UTF-8 after byte {}", e.valid_up_to())))?;
    let mut parser = Parser { tokens: tokens(text), at: 0, scope: Vec::new(), declared: Declared::default() };
    parser.declarations().map_err(refuse)?;
    let types = link(&parser.declared, schema).map_err(refuse)?;
    types.validate(schema)?;
    Ok(types)
}

/// Words, numbers, texts and marks; without comments, lines of the preprocessor, and the heads that rosbag2 puts before each type.
fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut line_begins = true;
    while let Some(first) = rest.chars().next() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        let to_line_end = || rest.find('\n').unwrap_or(rest.len());
        let end = if first == '\n' {
            line_begins = true;
            rest = rest.get(1..).unwrap_or_default();
            continue;
        } else if first.is_whitespace() {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        } else if rest.starts_with("//")
            || (line_begins && (first == '#' || rest.starts_with("===") || rest.starts_with("IDL: ")))
        {
            rest = rest.get(to_line_end()..).unwrap_or_default();
            continue;
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").map_or(rest.len(), |end| end + 2);
            rest = rest.get(end..).unwrap_or_default();
            continue;
        } else if first == '"' {
            text_end(rest)
        } else if rest.starts_with("::") {
            2
        } else if is_word(first) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        line_begins = false;
        let (token, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        out.push(token);
        rest = after;
    }
    out
}

/// Where a text in quotes ends.
fn text_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

struct Parser<'t> {
    tokens: Vec<&'t str>,
    at: usize,
    /// The modules around.
    scope: Vec<String>,
    declared: Declared,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<&'t str, String> {
        let token = self.peek().ok_or_else(|| "its text ends too soon".to_owned())?;
        self.at += 1;
        Ok(token)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        match self.next()? {
            found if found == wanted => Ok(()),
            found => Err(format!("`{wanted}` was expected, and `{}` stands there", shorten(found))),
        }
    }

    fn full(&self, name: &str) -> String {
        self.scope.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::")
    }

    /// Reads over `@name` and `@name(...)`.
    fn annotations(&mut self) -> Result<(), String> {
        while self.take("@") {
            self.next()?;
            while self.take("::") {
                self.next()?;
            }
            if self.peek() == Some("(") {
                let mut depth = 0_usize;
                loop {
                    match self.next()? {
                        "(" => depth += 1,
                        ")" if depth == 1 => break,
                        ")" => depth -= 1,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn declarations(&mut self) -> Result<(), String> {
        loop {
            self.annotations()?;
            let Some(word) = self.peek() else {
                return if self.scope.is_empty() { Ok(()) } else { Err("a module is not closed".to_owned()) };
            };
            self.at += 1;
            match word {
                "module" => {
                    let name = self.next()?.to_owned();
                    self.expect("{")?;
                    if self.scope.len() >= MAX_MODULES {
                        return Err(format!("more than {MAX_MODULES} modules within each other"));
                    }
                    self.scope.push(name);
                }
                "}" if !self.scope.is_empty() => {
                    self.scope.pop();
                    self.take(";");
                }
                "struct" => self.structure()?,
                "typedef" => self.typedef()?,
                "enum" => self.enumeration()?,
                "const" => while self.next()? != ";" {},
                ";" => {}
                other => return Err(format!("`{}` is not read in a definition", shorten(other))),
            }
        }
    }

    fn structure(&mut self) -> Result<(), String> {
        let name = self.next()?;
        let full = self.full(name);
        if self.take(";") {
            return Ok(());
        }
        if self.peek() == Some(":") {
            return Err(format!("{} inherits from another, which is not read", shorten(name)));
        }
        self.expect("{")?;
        let mut members = Vec::new();
        loop {
            self.annotations()?;
            if self.take("}") {
                break;
            }
            let of = self.named()?;
            loop {
                let (name, of) = self.declarator(&of)?;
                members.push(Member { name, of });
                if members.len() > MAX_FIELDS {
                    return Err(format!("{} has more than {MAX_FIELDS} fields", shorten(name_of(&full))));
                }
                if !self.take(",") {
                    break;
                }
            }
            self.expect(";")?;
        }
        self.take(";");
        if self.declared.structs.len() >= MAX_STRUCTS {
            return Err(format!("more than {MAX_STRUCTS} types"));
        }
        // The same type may stand in several places.
        if !self.declared.by_name.contains_key(&full) {
            self.declared.by_name.insert(full.clone(), self.declared.structs.len());
            self.declared.structs.push((full, members));
        }
        Ok(())
    }

    fn typedef(&mut self) -> Result<(), String> {
        let of = self.named()?;
        let (name, of) = self.declarator(&of)?;
        self.expect(";")?;
        let full = self.full(&name);
        self.declared.aliases.insert(full, of);
        Ok(())
    }

    /// Its values are numbers of 32 bits.
    fn enumeration(&mut self) -> Result<(), String> {
        let name = self.next()?;
        let full = self.full(name);
        self.expect("{")?;
        while self.next()? != "}" {}
        self.take(";");
        let of = Named { base: Base::Primitive(Primitive::U32), count: Count::One };
        self.declared.aliases.insert(full, of);
        Ok(())
    }

    /// A name, and what its brackets make of the type before it.
    fn declarator(&mut self, of: &Named) -> Result<(String, Named), String> {
        let name = self.next()?;
        if !name.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') {
            return Err(format!("`{}` is not a name", shorten(name)));
        }
        let mut of = of.clone();
        let mut arrays = 0;
        while self.take("[") {
            let length = number(self.next()?)?;
            self.expect("]")?;
            arrays += 1;
            if arrays > 1 || of.count != Count::One {
                return Err(format!("{} is an array of arrays or lists, which is not read", shorten(name)));
            }
            of.count = Count::Fixed(length);
        }
        Ok((name.to_owned(), of))
    }

    fn named(&mut self) -> Result<Named, String> {
        let one = |primitive| Ok(Named { base: Base::Primitive(primitive), count: Count::One });
        match self.next()? {
            "boolean" => one(Primitive::Bool),
            "octet" | "uint8" | "char" => one(Primitive::U8),
            "int8" => one(Primitive::I8),
            "short" | "int16" => one(Primitive::I16),
            "uint16" => one(Primitive::U16),
            "int32" => one(Primitive::I32),
            "uint32" => one(Primitive::U32),
            "int64" => one(Primitive::I64),
            "uint64" => one(Primitive::U64),
            "float" => one(Primitive::F32),
            "double" => one(Primitive::F64),
            "long" if self.take("long") => one(Primitive::I64),
            "long" if self.peek() == Some("double") => Err("`long double` is not read".to_owned()),
            "long" => one(Primitive::I32),
            "unsigned" => match (self.next()?, self.peek()) {
                ("short", _) => one(Primitive::U16),
                ("long", Some("long")) => {
                    self.at += 1;
                    one(Primitive::U64)
                }
                ("long", _) => one(Primitive::U32),
                (other, _) => Err(format!("`unsigned {}` is no type", shorten(other))),
            },
            text @ ("string" | "wstring") => {
                if self.take("<") {
                    self.next()?;
                    self.expect(">")?;
                }
                one(if text == "string" { Primitive::String } else { Primitive::WString })
            }
            "sequence" => {
                self.expect("<")?;
                let element = self.named()?;
                let bound = if self.take(",") { Some(number(self.next()?)?) } else { None };
                self.expect(">")?;
                if element.count != Count::One {
                    return Err("a list of lists is not read".to_owned());
                }
                Ok(Named { base: element.base, count: Count::Dynamic { bound } })
            }
            refused @ ("map" | "fixed" | "any" | "union" | "wchar" | "Object" | "bitset" | "bitmask") => {
                Err(format!("`{refused}` is not read"))
            }
            "::" => {
                let first = self.next()?;
                self.scoped(first, Vec::new())
            }
            name => self.scoped(name, self.scope.clone()),
        }
    }

    fn scoped(&mut self, first: &str, scope: Vec<String>) -> Result<Named, String> {
        let mut name = first.to_owned();
        while self.take("::") {
            name.push_str("::");
            name.push_str(self.next()?);
        }
        Ok(Named { base: Base::Name(name, scope), count: Count::One })
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("`{}` is not a length; names of constants are not read there", shorten(text)))
}

fn name_of(full: &str) -> &str {
    full.rsplit("::").next().unwrap_or(full)
}

fn link(declared: &Declared, schema: &str) -> Result<Types, String> {
    let main = canonical(schema);
    let is_main = |(full, _): &(String, Vec<Member>)| canonical(&full.replace("::", "/")) == main;
    let first = declared.structs.iter().position(is_main);
    let first = first.ok_or_else(|| format!("it declares no struct {main}"))?;
    // The message itself is the first: it changes places with what is.
    let place = |index: usize| match index {
        0 => first,
        index if index == first => 0,
        index => index,
    };
    let mut structs = Vec::with_capacity(declared.structs.len());
    for index in 0..declared.structs.len() {
        let Some((full, members)) = declared.structs.get(place(index)) else { continue };
        let mut fields = Vec::with_capacity(members.len());
        for member in members {
            let (base, count) = resolve(declared, &member.of)
                .map_err(|why| format!("{} of {}: {why}", shorten(&member.name), name_of(full)))?;
            let kind = match base {
                Ok(primitive) => Kind::Primitive(primitive),
                Err(index) => Kind::Struct(place(index)),
            };
            let hidden = member.name == "structure_needs_at_least_one_member";
            fields.push(Field { name: member.name.clone(), kind, count, hidden });
        }
        structs.push(Struct { name: canonical(&full.replace("::", "/")), fields });
    }
    Ok(Types { structs, tags: Vec::new() })
}

/// A primitive or the index of a struct, and how many.
fn resolve(declared: &Declared, of: &Named) -> Result<(Result<Primitive, usize>, Count), String> {
    let (mut base, mut count) = (of.base.clone(), of.count);
    for _ in 0..MAX_ALIASES {
        let (name, scope) = match base {
            Base::Primitive(primitive) => return Ok((Ok(primitive), count)),
            Base::Name(name, scope) => (name, scope),
        };
        // From the innermost module outwards.
        let found = (0..=scope.len()).rev().find_map(|depth| {
            let outer = scope.get(..depth)?.iter().map(String::as_str);
            let full = outer.chain([name.as_str()]).collect::<Vec<_>>().join("::");
            let index = declared.by_name.get(&full).copied().map(Err);
            index.or_else(|| declared.aliases.get(&full).map(Ok))
        });
        match found {
            Some(Err(index)) => return Ok((Err(index), count)),
            Some(Ok(alias)) => {
                count = match (alias.count, count) {
                    (inner, Count::One) => inner,
                    (Count::One, outer) => outer,
                    _ => return Err("it is an array of arrays or lists, which is not read".to_owned()),
                };
                base = alias.base.clone();
            }
            None => return Err(format!("the type {} is not declared", shorten(&name))),
        }
    }
    Err("a typedef that leads to itself".to_owned())
}

/// Enough of a hostile text to recognise it.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests;
