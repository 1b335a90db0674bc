//! When certificates and revocation lists end.

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A certificate that we present.
    Certificate,
    /// A CA that may issue the other side's certificate.
    Ca,
    /// A revocation list.
    Crl,
}

/// One end of validity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// What ends.
    pub what: What,
    /// Distinguished name of the certificate, or of the list's issuer.
    pub subject: String,
    /// When, in seconds since 1970.
    pub unix: i64,
}

impl What {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Certificate, Self::Ca, Self::Crl];

    /// For the label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Ca => "ca",
            Self::Crl => "crl",
        }
    }
}
