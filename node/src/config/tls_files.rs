//! Checks that the TLS files of a configuration hold what their keys say, before anything is opened.
//!
//! In: a configuration whose files are there. Out: a problem per section, by the key of the file at fault. What is loaded
//! here is thrown away; the doors load it again.

use super::error::{Origin, Problem};
use super::{Config, TlsConfig};
use consigner_gate::oauth::{KeySet, TokenVerifier};
use consigner_gate::tls::{ALPN_API, ALPN_PEER};
use consigner_gate::{ReloadableClientTls, ReloadableTls, TlsError, with_causes};
use std::path::Path;

impl Config {
    pub(super) fn check_tls(&self, config_file: &Path) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut complain = |key: String, what: String| {
            let origin = Origin::File { file: config_file.to_owned(), line: 0 };
            problems.push(Problem { origin, key, what });
        };
        let api = ("api", &self.api.tls);
        let own = self.own_doors().into_iter().map(|(section, door)| (section, &door.tls));
        // A listener with the API's files has its problems, too.
        let own = own.filter(|(_, tls)| tls.files() != self.api.tls.files());
        for (section, tls) in std::iter::once(api).chain(own) {
            if let Err(error) = load(tls) {
                complain(at_fault(section, &tls.files(), &error), with_causes(&error));
            }
        }
        let peer = &self.peer.tls;
        let loaded = ReloadableTls::load_door(peer.door(), ALPN_PEER).map(drop);
        if let Err(error) =
            loaded.and_then(|()| ReloadableClientTls::load_outgoing(peer.outgoing(), ALPN_PEER).map(drop))
        {
            complain(at_fault("peer", &peer.files(), &error), with_causes(&error));
        }
        if let Some(oauth) = self.oauth.clone()
            && let Err(error) = TokenVerifier::new(oauth.clone())
        {
            let (word, file) = match &oauth.keys {
                KeySet::File(file) => ("jwks-file", file.as_path()),
                KeySet::Url { ca, .. } => ("ca", ca.as_deref().unwrap_or_else(|| Path::new("the system's CAs"))),
            };
            complain(format!("oauth.{word}"), format!("{}: {}", file.display(), with_causes(&error)));
        }
        problems
    }
}

fn load(tls: &TlsConfig) -> Result<(), TlsError> {
    ReloadableTls::load_door(tls.door(), ALPN_API).map(drop)
}

/// The key of the file that the error names; the section if it names none.
fn at_fault(section: &str, files: &[(&'static str, &Path)], error: &TlsError) -> String {
    let text = error.to_string();
    let named = files.iter().find(|(_, file)| text.contains(&file.display().to_string()));
    named.map_or_else(|| format!("{section}.tls"), |(word, _)| format!("{section}.tls.{word}"))
}
