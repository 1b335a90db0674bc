//! The local sealer as one of several, its older keys and its passphrase.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::development::interop_secret;
use crate::remote::{CallError, Failure};
use consigner_rules::command::DataKey;
use futures::future::{BoxFuture, FutureExt as _};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const CLUSTER: ClusterId = ClusterId([0xC1; 16]);
const OTHER_CLUSTER: ClusterId = ClusterId([0xC2; 16]);

fn key_file(folder: &TempDir, name: &str) -> LocalSealer {
    let path = folder.path().join(name);
    if !path.exists() {
        LocalSealer::create_key_file(&path).unwrap();
    }
    LocalSealer::from_key_file(&path).unwrap()
}

fn passphrase(folder: &TempDir, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join(format!("{mode:o}-{}", text.len()));
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn an_older_key_file_opens_and_wraps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = key_file(&folder, "old");
    let (data_key, open) = old.generate(&CLUSTER).now_or_never().unwrap().unwrap();
    assert!(old.is_current(&data_key));
    let sealed = seal(&open, &CLUSTER, &interop_secret(1)).unwrap();

    let new = key_file(&folder, "new").with_previous(key_file(&folder, "older")).with_previous(old);
    assert_eq!(new.master(), key_file(&folder, "new").fingerprint());
    assert!(!new.is_current(&data_key), "there is something to rewrap");
    let reopened = new.unwrap(&data_key, &CLUSTER).now_or_never().unwrap().unwrap();
    unseal(&reopened, &CLUSTER, &sealed).unwrap();
    let (fresh, _) = new.new_data_key(&CLUSTER).unwrap();
    assert!(new.is_current(&fresh));

    let without = key_file(&folder, "new");
    without.unwrap_data_key(&fresh, &CLUSTER).unwrap();
    let error = without.unwrap(&data_key, &CLUSTER).now_or_never().unwrap().unwrap_err();
    assert!(!error.may_pass());
    assert!(matches!(error, SealerError::Record(UnwrapError::OtherKeyFile { .. })), "{error}");
    assert!(error.to_string().contains("name older ones as previous"), "{error}");
}

#[test]
fn a_passphrase_gives_every_node_of_a_cluster_the_same_key_and_no_other_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let path = passphrase(&folder, "correct horse battery staple\n", 0o400);
    let one = LocalSealer::from_passphrase_file(&path, &CLUSTER).unwrap();
    let (data_key, _) = one.new_data_key(&CLUSTER).unwrap();
    let two = LocalSealer::from_passphrase_file(&path, &CLUSTER).unwrap();
    assert_eq!(one.fingerprint(), two.fingerprint());
    two.unwrap_data_key(&data_key, &CLUSTER).unwrap();
    let elsewhere = LocalSealer::from_passphrase_file(&path, &OTHER_CLUSTER).unwrap();
    assert_ne!(elsewhere.fingerprint(), one.fingerprint());
    let error = elsewhere.unwrap_data_key(&data_key, &CLUSTER).map(drop).unwrap_err();
    assert!(matches!(error, UnwrapError::OtherKeyFile { .. }), "{error}");

    // From a passphrase to a key file: the passphrase stays known as an older key.
    let moved = key_file(&folder, "key").with_previous(one);
    moved.unwrap_data_key(&data_key, &CLUSTER).unwrap();
}

#[test]
fn a_passphrase_that_others_can_read_or_that_is_too_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &PathBuf| LocalSealer::from_passphrase_file(path, &CLUSTER).map(drop).unwrap_err();
    let good = "correct horse battery staple";
    assert!(matches!(read(&passphrase(&folder, good, 0o640)), KeyFileError::Mode { mode: 0o640, .. }));
    for text in ["", "\n", "fifteen charact\n", &"long".repeat(300)] {
        let error = read(&passphrase(&folder, text, 0o600));
        assert!(matches!(error, KeyFileError::Passphrase { .. }), "{error}");
        assert!(text.trim().is_empty() || !error.to_string().contains(text.trim()), "{error}");
    }
    assert!(matches!(read(&folder.path().join("none")), KeyFileError::Read { .. }));
}

#[test]
fn a_record_of_another_kind_is_not_the_local_sealers() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = key_file(&folder, "key");
    let (data_key, _) = sealer.new_data_key(&CLUSTER).unwrap();
    let foreign = DataKey { sealer: "aws-kms".into(), ..data_key };
    assert!(!sealer.is_current(&foreign));
    let error = sealer.unwrap_data_key(&foreign, &CLUSTER).map(drop).unwrap_err();
    let expected = UnwrapError::OtherSealer { data_key: foreign.id, sealer: "aws-kms".into(), own: LOCAL_SEALER };
    assert_eq!(error, expected);
}

/// A sealer that is somewhere else.
struct Away(&'static str);

impl Sealer for Away {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn master(&self) -> String {
        format!("master of {}", self.0)
    }

    fn is_current(&self, _: &DataKey) -> bool {
        false
    }

    fn generate<'a>(&'a self, _: &'a ClusterId) -> BoxFuture<'a, Result<(DataKey, PlainDataKey), SealerError>> {
        Box::pin(async { Err(away(Failure::Unreachable).into()) })
    }

    fn unwrap<'a>(&'a self, _: &'a DataKey, _: &'a ClusterId) -> BoxFuture<'a, Result<PlainDataKey, SealerError>> {
        Box::pin(async { Err(away(Failure::Denied).into()) })
    }
}

fn away(failure: Failure) -> CallError {
    let (call, key, hint) = ("test:Call".to_owned(), "key".to_owned(), "look there".to_owned());
    CallError { call, key, failure, hint, cause: Some("refused by peer".into()) }
}

#[test]
fn sealers_are_found_by_kind_and_the_first_of_a_kind_counts() {
    let folder = tempfile::tempdir().unwrap();
    let local: Arc<dyn Sealer> = Arc::new(key_file(&folder, "key"));
    let others: Vec<Arc<dyn Sealer>> = vec![Arc::new(Away("aws-kms")), Arc::new(key_file(&folder, "second"))];
    let sealers = Sealers::new(Arc::clone(&local), others);
    assert!(Arc::ptr_eq(sealers.in_use(), &local));
    assert!(Arc::ptr_eq(sealers.get("local").unwrap(), &local));
    assert_eq!(sealers.get("aws-kms").unwrap().master(), "master of aws-kms");
    assert!(sealers.get("vault-transit").is_none());
    assert_eq!(sealers.iter().count(), 3);
    assert!(format!("{sealers:?}").contains("master of aws-kms"));
    assert!(local.refresh(&CLUSTER).now_or_never().unwrap().is_ok(), "a key file has nobody to ask");
}

#[test]
fn an_error_names_call_key_failure_cure_and_cause() {
    let error = away(Failure::TimedOut(Duration::from_millis(5000)));
    assert_eq!(error.to_string(), "test:Call for key gave no answer within 5000 ms; look there");
    assert_eq!(error.chain(), format!("{error}: refused by peer"));
    let error = SealerError::from(error);
    assert!(error.may_pass());
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "refused by peer");
    assert!(!SealerError::from(away(Failure::Refused)).may_pass());
    let without = CallError { hint: String::new(), ..away(Failure::Throttled) };
    assert_eq!(without.to_string(), "test:Call for key is throttled");
}
