//! Whether this process is ready: not before its keys are imported and open, and not once it is stopping.
//!
//! In: what the assembly and custody know. A key that is open stays open whatever happens to its sealer, so a sealer
//! that goes down later changes nothing here (L2). Out: the reason why not, for the health endpoints of `api`.
//! Deliberately absent: the cluster's own readiness, which `api` asks the cluster for.

use consigner_api::NodeReadiness;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why the process is not ready, if it is not. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Reasons>);

#[derive(Debug, Default)]
struct Reasons {
    importing: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    /// Whether keys are still on their way into the cluster.
    pub fn set_importing(&self, importing: bool) {
        self.0.importing.store(importing, Ordering::Release);
    }

    /// From now on for ever.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Whether [`Self::set_stopping`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// In the form that `api` asks for; `trouble` says which keys of the cluster are not open here.
    #[must_use]
    pub fn for_api(&self, trouble: impl Fn() -> Option<String> + Send + Sync + 'static) -> NodeReadiness {
        let readiness = self.clone();
        Arc::new(move || match readiness.reason().map(str::to_owned).or_else(&trouble) {
            Some(why) => Err(why),
            None => Ok(()),
        })
    }

    pub(super) fn reason(&self) -> Option<&'static str> {
        if self.0.stopping.load(Ordering::Acquire) {
            Some("the node is stopping")
        } else if self.0.importing.load(Ordering::Acquire) {
            Some("keys are being imported")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_and_keys_arrive_and_a_stop_is_for_ever() {
        let readiness = Readiness::default();
        let keys_open = Arc::new(AtomicBool::new(true));
        let seen = keys_open.clone();
        let trouble = move || (!seen.load(Ordering::Relaxed)).then(|| "2 keys wait".to_owned());
        let asked = readiness.for_api(trouble);
        assert_eq!(asked(), Ok(()));
        readiness.set_importing(true);
        assert_eq!(asked(), Err("keys are being imported".to_owned()));
        readiness.set_importing(false);
        assert_eq!(asked(), Ok(()));
        keys_open.store(false, Ordering::Relaxed);
        assert_eq!(asked(), Err("2 keys wait".to_owned()));
        keys_open.store(true, Ordering::Relaxed);
        readiness.set_stopping();
        assert_eq!(asked(), Err("the node is stopping".to_owned()));
        readiness.set_importing(false);
        assert!(asked().is_err());
    }
}
