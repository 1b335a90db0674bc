//! Imports and deletions of keys, as the client saw them.
//!
//! In: calls of the key manager API. Out: when each was sent and acknowledged, what history went in or came out.
//! Deliberately absent: the calls themselves (see [`crate::keymanager`]) and judgement.
//!
//! "After the acknowledgement" must mean something between sockets that are read by one program. The time of an
//! acknowledgement is taken a few turns of the reactor after its last byte was read: whatever lay in any other socket
//! by then has been read and stamped with an earlier time. On a runtime of one thread that is exact, however loaded the
//! machine is; what it costs is that a signature which comes less than [`TURNS`] x [`TURN`] too late is not noticed.

use super::history::History;
use super::observation::Marks;
use consigner_rules::PublicKey;
use std::sync::PoisonError;
use std::time::Duration;

/// One turn: the reactor looks at all sockets before a timer of this length fires.
const TURN: Duration = Duration::from_millis(2);

/// A response passes from the connection's task to the caller's, then perhaps once more for its body.
const TURNS: u32 = 3;

/// A key that was brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The node that was asked.
    pub node: u64,
    /// Whose.
    pub validator: PublicKey,
    /// The history that came with it.
    pub marks: Option<Marks>,
    /// When sending began: the key may sign from now on.
    pub sent_at: Duration,
    /// When the answer was complete; `None` if there was none, and then the key may sign at any time.
    pub answered_at: Option<Duration>,
}

/// A key that was to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The node that was asked.
    pub node: u64,
    /// Whose.
    pub validator: PublicKey,
    /// When sending began.
    pub sent_at: Duration,
    /// The promise, if one was given.
    pub promise: Option<Promise>,
}

/// `deleted` or `not_active`: the key signs no more, on no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// When the answer was complete; see the module.
    pub at: Duration,
    /// What the returned interchange says about the key.
    pub marks: Marks,
}

impl Deletion {
    /// From when on the key may sign again because somebody brought it back; `None`: never.
    #[must_use]
    pub fn ends_at(&self, imports: &[Import]) -> Option<Duration> {
        self.is_followed_by(imports).map(|import| import.sent_at)
    }

    /// The first import that may have taken place after the deletion.
    #[must_use]
    pub fn is_followed_by<'i>(&self, imports: &'i [Import]) -> Option<&'i Import> {
        let may_follow = |import: &&Import| {
            import.validator == self.validator && import.answered_at.is_none_or(|answered| answered > self.sent_at)
        };
        imports.iter().filter(may_follow).min_by_key(|import| import.sent_at)
    }
}

impl Import {
    /// From when on every node must know the key: since the acknowledgement, or never.
    #[must_use]
    pub fn known_from(&self) -> Duration {
        self.answered_at.unwrap_or(Duration::MAX)
    }
}

impl History {
    /// Writes an import down before it is sent; answers with its place.
    pub fn importing(&self, node: u64, validator: PublicKey, marks: Option<Marks>) -> usize {
        let sent_at = self.clock().now();
        let mut imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        imports.push(Import { node, validator, marks, sent_at, answered_at: None });
        imports.len() - 1
    }

    /// Writes down that an import was answered, with whatever status.
    pub fn imported(&self, import: usize) {
        let now = self.clock().now();
        let mut imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(import) = imports.get_mut(import) {
            import.answered_at = Some(now);
        }
    }

    /// Writes a deletion down before it is sent; answers with its place.
    pub fn deleting(&self, node: u64, validator: PublicKey) -> usize {
        let sent_at = self.clock().now();
        let mut deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        deletions.push(Deletion { node, validator, sent_at, promise: None });
        deletions.len() - 1
    }

    /// Writes down what was promised.
    pub fn deleted(&self, deletion: usize, promise: Promise) {
        let mut deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deletion) = deletions.get_mut(deletion) {
            deletion.promise = Some(promise);
        }
    }

    /// The time of an acknowledgement that was read just now; see the module.
    pub async fn acknowledged(&self) -> Duration {
        for _ in 0..TURNS {
            // Not synchronisation with the cluster: the timer makes the reactor look at every socket.
            tokio::time::sleep(TURN).await;
        }
        self.clock().now()
    }

    /// All imports so far.
    #[must_use]
    pub fn imports(&self) -> Vec<Import> {
        self.imports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All deletions so far.
    #[must_use]
    pub fn deletions(&self) -> Vec<Deletion> {
        self.deletions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn import(key: u8, sent: u64, answered: Option<u64>) -> Import {
        let answered_at = match answered {
            Some(seconds) => Some(at(seconds)),
            None => None,
        };
        Import { node: 1, validator: PublicKey([key; 48]), marks: None, sent_at: at(sent), answered_at }
    }

    #[test]
    fn a_promise_ends_with_the_first_import_that_may_follow_it() {
        let deletion = Deletion { node: 1, validator: PublicKey([1; 48]), sent_at: at(10), promise: None };
        assert_eq!(deletion.ends_at(&[import(1, 2, Some(3)), import(2, 20, Some(21))]), None);
        let back = [import(1, 2, Some(3)), import(1, 30, Some(31)), import(1, 20, Some(21))];
        assert_eq!(deletion.ends_at(&back), Some(at(20)));
        assert_eq!(deletion.ends_at(&[import(1, 9, Some(12))]), Some(at(9)), "it may have come after the deletion");
        assert_eq!(deletion.ends_at(&[import(1, 2, None)]), Some(at(2)), "it may still be on its way");
    }
}
