//! Replaces byte strings by others of the same length in a stream that comes in pieces.
//!
//! For addresses in the answers of a server: lengths stay, so the protocol around them need not be understood.

/// What is replaced by what.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One stream on its way.
#[derive(Debug)]
pub struct Rewriting<'a> {
    pairs: &'a [(Vec<u8>, Vec<u8>)],
    held: Vec<u8>,
}

impl Rewrite {
    /// Replaces `from` by `to` too.
    ///
    /// # Panics
    /// When the two are not of one length, or empty.
    pub fn and(mut self, from: &str, to: &str) -> Self {
        assert!(
            from.len() == to.len() && !from.is_empty(),
            "{from} cannot be replaced by {to}: other length"
        );
        self.pairs.push((from.into(), to.into()));
        self
    }

    /// For one stream.
    pub fn stream(&self) -> Rewriting<'_> {
        Rewriting { pairs: &self.pairs, held: Vec::new() }
    }
}

impl Rewriting<'_> {
    /// The next piece, rewritten; its end may be held back until it is known not to begin a match.
    pub fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend(piece);
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            let whole = self.pairs.iter().find(|(from, _)| rest.starts_with(from));
            if let Some((target, (_, to))) =
                whole.and_then(|pair| Some((rest.get_mut(..pair.1.len())?, pair)))
            {
                target.copy_from_slice(to);
                at += to.len();
            } else if self.pairs.iter().any(|(from, _)| from.starts_with(rest)) {
                self.held = bytes.split_off(at);
                break;
            } else {
                at += 1;
            }
        }
        bytes
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is held back, when nothing more has come.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::Rewrite;

    #[test]
    fn every_match_is_replaced_wherever_the_pieces_are_cut() {
        let rewrite = Rewrite::default()
            .and("127.0.0.1:20001", "127.0.0.1:40001")
            .and("127.0.0.1:20002", "127.0.0.1:50005");
        let text = "a 127.0.0.1:20001, 127.127.0.0.1:20002127.0.0.1:20003 127.0.0.1:2";
        let expected = "a 127.0.0.1:40001, 127.127.0.0.1:50005127.0.0.1:20003 127.0.0.1:2";
        for size in 1..text.len() {
            let mut stream = rewrite.stream();
            let mut out: Vec<u8> =
                text.as_bytes().chunks(size).flat_map(|piece| stream.pass(piece)).collect();
            assert!(stream.holds());
            out.extend(stream.rest());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
        }
    }
}
