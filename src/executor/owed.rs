//! An answer that is owed: given once, or gives itself when it is dropped.
//!
//! It knows nothing of what was asked but its family.

use crate::metrics::Metrics;
use crate::worker::mailbox::Mailbox;
use roboflow_fsm::Input;
use roboflow_fsm::effect::{Effect, Family};
use roboflow_fsm::event::{ClaimAnswer, CommitAnswer, ConvertAnswer};
use roboflow_fsm::id::RequestId;
use std::sync::Arc;

/// One owed answer.
#[derive(Debug)]
pub(super) struct Owed {
    mailbox: Mailbox,
    id: RequestId,
    family: Family,
    given: bool,
    metrics: Arc<Metrics>,
}

impl Owed {
    pub(super) fn new(mailbox: Mailbox, effect: &Effect, id: RequestId, metrics: Arc<Metrics>) -> Self {
        let family = effect.request().map_or(Family::Release, |(_, family)| family);
        Self { mailbox, id, family, given: false, metrics }
    }

    /// Gives the answer to a claim or its resolution.
    pub(super) fn claim(mut self, answer: ClaimAnswer) {
        self.give(Input::ClaimAnswered { id: self.id, answer });
    }

    /// Gives the answer to a checkpoint, completion or release.
    pub(super) fn commit(mut self, answer: CommitAnswer) {
        let input = self.committed(answer);
        self.give(input);
    }

    fn committed(&self, answer: CommitAnswer) -> Input {
        match self.family {
            Family::Release => Input::ReleaseAnswered { id: self.id, answer },
            Family::Claim | Family::Convert | Family::Commit => Input::CommitAnswered { id: self.id, answer },
        }
    }

    fn give(&mut self, input: Input) {
        self.given = true;
        self.mailbox.answer(input);
    }
}

impl Drop for Owed {
    /// The task died before it knew: of a write nobody knows then whether it took effect.
    fn drop(&mut self) {
        if self.given {
            return;
        }
        self.metrics.answers_dropped.inc();
        tracing::error!(request = self.id.0, "a task died without its answer");
        let input = match self.family {
            Family::Claim => Input::ClaimAnswered { id: self.id, answer: ClaimAnswer::Unknown },
            Family::Convert => Input::ConvertAnswered { id: self.id, answer: ConvertAnswer::Fault },
            Family::Commit | Family::Release => self.committed(CommitAnswer::Unknown),
        };
        self.give(input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::mailbox::mailbox;
    use roboflow_fsm::id::Nonce;
    use std::time::Duration;

    #[test]
    fn an_answer_is_given_once_and_a_dropped_one_gives_itself() {
        let metrics = Arc::new(Metrics::default());
        let (mailbox, inbox) = mailbox(Arc::clone(&metrics));
        let claim = Effect::Claim { id: RequestId(7), nonce: Nonce(1) };
        let owed = || Owed::new(mailbox.clone(), &claim, RequestId(7), Arc::clone(&metrics));
        owed().claim(ClaimAnswer::Empty);
        drop(owed());
        let got: Vec<&str> =
            std::iter::from_fn(|| inbox.next(Duration::ZERO)).map(|input| input.name()).collect();
        assert_eq!(got, ["Claim:Empty", "Claim:Unknown"]);
        assert_eq!(metrics.answers_dropped.get(), 1);
    }
}
