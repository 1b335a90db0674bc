//! What the value of a configuration key may look like, and how that is told to people.

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A positive integer.
    Id,
    /// An integer from 0 up.
    Count,
    /// A certificate's common name, or a name for people.
    Name,
    /// A file or directory; relative ones start at the directory of the configuration file.
    Path,
    /// A network name, or a file like [`Form::Path`].
    Network,
    /// 16 bytes of hexadecimal.
    ClusterId,
    /// 32 bytes of hexadecimal.
    Root,
    /// `IP:PORT`.
    Listen,
    /// `HOST:PORT`.
    HostPort,
    /// `https://HOST:PORT`.
    HttpsUrl,
    /// A list of host names and addresses.
    Hosts,
    /// A list of common names.
    Names,
    /// A list of files, each like [`Form::Path`].
    Paths,
    /// One line of text.
    Text,
    /// A list of texts.
    Texts,
    /// A list of `name=value`.
    Pairs,
    /// `https://HOST[:PORT]`; `http://` to this machine only.
    Url,
    /// `https://HOST[:PORT]/PATH`; `http://` to this machine only.
    Link,
    /// A list of addresses and networks, or `*`.
    Addresses,
    /// A list of addresses and networks of balancers.
    Balancers,
    /// An amount of memory with a unit.
    Bytes,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A time with a unit.
    Duration,
}

impl Form {
    /// Whether the value is a list.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Hosts | Self::Names | Self::Paths | Self::Texts | Self::Pairs | Self::Addresses | Self::Balancers
        )
    }

    /// The end of an error message: what is allowed, with an example.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Id => "a whole number from 1 up".into(),
            Self::Count => "a whole number from 0 up".into(),
            Self::Name => "a name of 1 to 64 letters, digits and . _ -".into(),
            Self::Path => "a path".into(),
            Self::Network => format!("one of {}, or a network configuration file", super::keys::NETWORKS.join(", ")),
            Self::ClusterId => "16 bytes of hexadecimal, e.g. from `openssl rand -hex 16`".into(),
            Self::Root => "32 bytes of hexadecimal".into(),
            Self::Listen => "IP:PORT, e.g. 127.0.0.1:9000".into(),
            Self::HostPort => "HOST:PORT, e.g. node1.example:9001".into(),
            Self::HttpsUrl => "https://HOST[:PORT] without a path, e.g. https://node1.example:9000".into(),
            Self::Hosts => "a list of host names and addresses without ports, or \"*\" alone".into(),
            Self::Names => "a list of common names, or \"*\" alone for every certificate that the CA issued".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Paths => "a list of paths".into(),
            Self::Text => "one line of text".into(),
            Self::Texts => "a list of texts".into(),
            Self::Pairs => "a list of name=value".into(),
            Self::Url => "https://HOST[:PORT], e.g. https://vault.example:8200; http:// to this machine only".into(),
            Self::Link => {
                "https://HOST[:PORT]/PATH, e.g. https://idp.example/keys; http:// to this machine only".into()
            }
            Self::Addresses => "a list of addresses and networks, e.g. 10.0.0.0/8, or \"*\" alone".into(),
            Self::Balancers => "a list of addresses and networks, e.g. 10.0.0.5".into(),
            Self::Bytes => "an amount of memory with a unit KiB, MiB or GiB, e.g. 512MiB".into(),
            Self::Switch => "true or false".into(),
            Self::Duration => "a time with a unit ms, s or min, e.g. 350ms".into(),
        }
    }
}
