//! The Host header allowlist: a pure function from header to yes or no.
//!
//! A defence against DNS rebinding, not an IP filter: a caller writes whatever Host it likes. Web3Signer's rules
//! (`--http-host-allowlist`): the port is ignored, letters compare without case, `*` or `all` alone allows any host,
//! `none` alone allows nothing. Deliberately absent: the 403, which `api` answers.

use std::net::IpAddr;

/// Which hosts a request may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAllowlist(Allowed);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Any,
    Hosts(Vec<Host>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Why an allowlist makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostAllowlistError {
    /// `*`, `all` and `none` stand alone.
    #[error("\"{0}\" in a host allowlist must be its only entry")]
    NotAlone(String),
    /// An entry that could match no Host header.
    #[error("\"{0}\" in a host allowlist is not a host name or address (no port, no scheme)")]
    NotAHost(String),
}

impl HostAllowlist {
    /// Reads the entries of a configuration. An empty list allows nothing.
    ///
    /// # Errors
    /// A wildcard beside other entries, or an entry that could never match.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, HostAllowlistError> {
        let mut hosts = Vec::with_capacity(entries.len());
        for entry in entries.iter().map(|entry| entry.as_ref().trim()) {
            let word = entry.to_ascii_lowercase();
            match word.as_str() {
                "*" | "all" | "none" if entries.len() > 1 => return Err(HostAllowlistError::NotAlone(entry.into())),
                "*" | "all" => return Ok(Self(Allowed::Any)),
                "none" => {}
                _ => hosts.push(Host::parse(entry).ok_or_else(|| HostAllowlistError::NotAHost(entry.into()))?),
            }
        }
        Ok(Self(Allowed::Hosts(hosts)))
    }

    /// Whether a request with this `Host` header or `:authority` may pass. An empty host never does, not even under
    /// `*` (Web3Signer answers it with 403 too).
    pub fn allows(&self, host_header_or_authority: &str) -> bool {
        let Some(host) = without_port(host_header_or_authority.trim()) else { return false };
        match &self.0 {
            Allowed::Any => !host.is_empty(),
            Allowed::Hosts(hosts) => Host::parse(host).is_some_and(|host| hosts.contains(&host)),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            // Brackets hold an IPv6 address and nothing else (RFC 3986, 3.2.2).
            return inner.strip_suffix(']')?.parse().ok().map(|address| Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        (!text.is_empty() && text.chars().all(plausible)).then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

/// The host part; `None` if what follows the colon is not a port.
fn without_port(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rsplit_once(':') {
        // More colons outside of brackets: a bare IPv6 address, which has no port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (authority, ""),
        Some((host, port)) => (host, port),
        None => (authority, ""),
    };
    (port.is_empty() || port.parse::<u16>().is_ok()).then_some(host)
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
