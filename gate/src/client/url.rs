//! Reads URLs, absolute and in `Location`.

use std::fmt;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use super::ClientError;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_tls: bool,
    pub(super) authority: Authority,
    pub(super) path_and_query: PathAndQuery,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, ClientError> {
        let refuse = |reason: &str| ClientError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|why: http::uri::InvalidUri| refuse(&why.to_string()))?;
        let parts = uri.into_parts();
        let is_tls = match parts.scheme {
            Some(scheme) if scheme == Scheme::HTTPS => true,
            Some(scheme) if scheme == Scheme::HTTP => false,
            _ => return Err(refuse("it must begin with https:// or http://")),
        };
        let authority = parts.authority.ok_or_else(|| refuse("no host"))?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(refuse("the host must be a name or an address"));
        }
        let path_and_query = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { is_tls, authority, path_and_query })
    }

    /// The target of a `Location` found here: absolute, or a path on the same server.
    pub(super) fn join(&self, location: &str) -> Result<Self, ClientError> {
        if !location.starts_with('/') || location.starts_with("//") {
            return Self::parse(location);
        }
        let refuse =
            |why: http::uri::InvalidUri| ClientError::Url { url: location.to_owned(), reason: why.to_string() };
        Ok(Self { path_and_query: location.parse().map_err(refuse)?, ..self.clone() })
    }

    /// For TLS, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
    }

    /// For `connect`: always with a port.
    pub(super) fn host_port(&self) -> String {
        let port = self.authority.port_u16().unwrap_or(if self.is_tls { 443 } else { 80 });
        format!("{}:{port}", self.authority.host())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::Target;

    #[test]
    fn reads_names_addresses_and_ports() {
        for (url, host, host_port, path) in [
            ("https://localhost", "localhost", "localhost:443", "/"),
            ("http://127.0.0.1:9002/metrics", "127.0.0.1", "127.0.0.1:9002", "/metrics"),
            ("https://[::1]:9000/a?b=c", "::1", "[::1]:9000", "/a?b=c"),
            ("https://[::1]/", "::1", "[::1]:443", "/"),
            ("https://h//double", "h", "h:443", "//double"),
        ] {
            let target = Target::parse(url).unwrap();
            let read = (target.host(), target.host_port(), target.path_and_query.as_str());
            assert_eq!(read, (host, host_port.to_owned(), path), "{url}");
        }
        for url in ["", "/path", "localhost:9000", "ftp://a/", "https://", "https://user:pass@host/"] {
            assert!(Target::parse(url).is_err(), "{url:?} should be refused");
        }
    }

    #[test]
    fn joins_locations() {
        let base = Target::parse("https://a:1/x").unwrap();
        assert_eq!(base.join("/y?z").unwrap().to_string(), "https://a:1/y?z");
        assert_eq!(base.join("https://b:2/y").unwrap().to_string(), "https://b:2/y");
        assert!(base.join("//b/y").is_err());
        assert!(base.join("relative").is_err());
    }
}
