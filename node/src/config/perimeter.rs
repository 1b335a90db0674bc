//! `oauth.*`, `limits.*` and `audit.*`.

use super::resolve::Resolver;
use super::values;
use consigner_gate::oauth::{KeySet, OAuth, OAuthError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once after a pause.
    pub burst: u32,
}

/// See `limits.*`; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Of one identity, where the policy sets none.
    pub identity: Option<Rate>,
    /// Of the API port.
    pub api: Option<Rate>,
    /// Of the key manager's own listener.
    pub keymanager: Option<Rate>,
    /// Of the administrators' own listener.
    pub admin: Option<Rate>,
    /// Of the token door.
    pub token_door: Option<Rate>,
    /// After wrong tokens.
    pub failed_credentials: Option<BackOff>,
}

/// Pauses after wrong tokens, per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// So many go without one.
    pub free: u32,
    /// The first; each further one is doubled.
    pub pause: Duration,
    /// The longest.
    pub pause_max: Duration,
}

/// See `audit.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// Where the record lies.
    pub dir: PathBuf,
    /// Bytes after which a new file is begun.
    pub rotate_bytes: u64,
    /// Files that are kept; 0: all.
    pub files_max: u64,
    /// Of so many attestations (and the like) one is recorded; 0: none.
    pub attestation_sample: u64,
    /// Lines between signed checkpoints.
    pub checkpoint_lines: u64,
    /// Time between them.
    pub checkpoint_interval: Duration,
    /// Between anchors in the replicated state.
    pub anchor_interval: Duration,
}

/// Where the record lies below the data directory, unless `audit.dir` says otherwise.
const AUDIT_DIR: &str = "audit";

/// Below it every file would hold a few lines only.
const ROTATE_BYTES_LEAST: u64 = 64 << 10;

impl Resolver<'_> {
    /// `Some(None)` without an issuer.
    pub(super) fn oauth(&mut self) -> Option<Option<OAuth>> {
        let issuer = self.optional("oauth.issuer", values::text);
        let audiences = self.read("oauth.audience", values::texts);
        let (file, url) = (self.path("oauth.jwks-file"), self.optional("oauth.jwks-url", values::link));
        let ca = self.path("oauth.ca");
        let leeway = self.scalar("oauth.leeway", values::duration);
        let refresh = self.scalar("oauth.refresh", values::duration);
        if !self.is_set("oauth.issuer") {
            for word in ["audience", "jwks-file", "jwks-url", "ca", "leeway", "refresh"] {
                let key = format!("oauth.{word}");
                if self.differs(&key) {
                    self.complain(&key, "set without oauth.issuer: no token would count".to_owned());
                }
            }
            return (audiences.is_some() && leeway.is_some() && refresh.is_some()).then_some(None);
        }
        if audiences.as_ref().is_some_and(Vec::is_empty) {
            let what = "missing; without an audience a token for another service would count here, too";
            self.complain("oauth.audience", what.to_owned());
            return None;
        }
        let keys = self.jwks(file, url, ca);
        let (issuer, audiences, keys, leeway, refresh) = (issuer?, audiences?, keys?, leeway?, refresh?);
        let oauth = OAuth { issuer, audiences, keys, leeway, refresh };
        match oauth.check() {
            Ok(()) => Some(Some(oauth)),
            Err(OAuthError::Setting { setting, reason }) => {
                self.complain(&format!("oauth.{setting}"), reason);
                None
            }
            Err(error) => {
                self.complain("oauth.issuer", error.to_string());
                None
            }
        }
    }

    fn jwks(&mut self, file: Option<PathBuf>, url: Option<String>, ca: Option<PathBuf>) -> Option<KeySet> {
        match (file, url) {
            (Some(_), Some(_)) => {
                let what = "cannot be set together with oauth.jwks-file: the keys come from one place";
                self.complain("oauth.jwks-url", what.to_owned());
                None
            }
            (Some(_), None) if ca.is_some() => {
                self.complain("oauth.ca", "set without oauth.jwks-url: a file is fetched from nowhere".to_owned());
                None
            }
            (Some(file), None) => Some(KeySet::File(file)),
            (None, Some(url)) => Some(KeySet::Url { url, ca }),
            (None, None) => {
                if !self.is_set("oauth.jwks-url") {
                    let what = "missing; oauth.issuer is set, which needs its keys here or in oauth.jwks-file";
                    self.complain("oauth.jwks-url", what.to_owned());
                }
                None
            }
        }
    }

    pub(super) fn limits(&mut self) -> Option<LimitsConfig> {
        let (identity, api) = (self.rate("limits.identity"), self.rate("limits.api"));
        let (keymanager, admin) = (self.rate("limits.keymanager"), self.rate("limits.admin"));
        let (token_door, failed_credentials) = (self.rate("limits.token-door"), self.back_off());
        Some(LimitsConfig {
            identity: identity?,
            api: api?,
            keymanager: keymanager?,
            admin: admin?,
            token_door: token_door?,
            failed_credentials: failed_credentials?,
        })
    }

    /// `Some(None)`: no limit.
    pub(super) fn rate(&mut self, section: &str) -> Option<Option<Rate>> {
        let per_second = self.small(&format!("{section}.per-second"), 0);
        let burst = self.small(&format!("{section}.burst"), 1);
        let rate = Rate { per_second: per_second?, burst: burst? };
        Some((rate.per_second > 0).then_some(rate))
    }

    fn back_off(&mut self) -> Option<Option<BackOff>> {
        let free = self.small("limits.failed-credentials.free", 0);
        let pause = self.scalar("limits.failed-credentials.pause", values::duration);
        let pause_max = self.scalar("limits.failed-credentials.pause-max", values::duration);
        let back_off = BackOff { free: free?, pause: pause?, pause_max: pause_max? };
        if back_off.pause_max < back_off.pause {
            let what = "must be at least limits.failed-credentials.pause".to_owned();
            self.complain("limits.failed-credentials.pause-max", what);
        }
        Some((back_off.free > 0).then_some(back_off))
    }

    /// A number that is never large.
    fn small(&mut self, path: &str, least: u64) -> Option<u32> {
        self.scalar(path, |text| values::number(text, least).and_then(|number| u32::try_from(number).ok()))
    }

    /// `Some(None)` when nothing is recorded.
    pub(super) fn audit(&mut self, data_dir: Option<&Path>) -> Option<Option<AuditConfig>> {
        let enabled = self.scalar("audit.enabled", values::switch);
        let dir = self.path("audit.dir");
        let rotate_bytes = self.scalar("audit.rotate-size", values::bytes);
        let files_max = self.number("audit.files-max", 0);
        let attestation_sample = self.number("audit.attestation-sample", 0);
        let checkpoint_lines = self.number("audit.checkpoint-lines", 1);
        let checkpoint_interval = self.scalar("audit.checkpoint-interval", values::duration);
        let anchor_interval = self.scalar("audit.anchor-interval", values::duration);
        if rotate_bytes.is_some_and(|bytes| bytes < ROTATE_BYTES_LEAST) {
            self.complain("audit.rotate-size", format!("must be at least {} KiB", ROTATE_BYTES_LEAST >> 10));
        }
        if files_max == Some(1) {
            let what = "must be 0 (all are kept) or at least 2: the file before the one being written stays";
            self.complain("audit.files-max", what.to_owned());
        }
        let audit = AuditConfig {
            dir: dir.or_else(|| data_dir.map(|data| data.join(AUDIT_DIR)))?,
            rotate_bytes: rotate_bytes?,
            files_max: files_max?,
            attestation_sample: attestation_sample?,
            checkpoint_lines: checkpoint_lines?,
            checkpoint_interval: checkpoint_interval?,
            anchor_interval: anchor_interval?,
        };
        Some(enabled?.then_some(audit))
    }
}
