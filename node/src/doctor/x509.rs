//! What an operator should know of a certificate: names, issuer, validity.
//!
//! In: PEM or DER. Out: [`Certificate`]s. Reads the few fields that it needs (RFC 5280, 4.1) and verifies nothing: whether
//! certificates are good is decided by the TLS stack of `gate`, which `doctor` asks too. Deliberately absent: trust.

use std::net::IpAddr;

/// Certificates of one file that are looked at: no chain and no bundle has more.
const CERTIFICATES_MAX: usize = 256;

// Tags of X.690.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

// Object identifiers, as they stand in DER.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Common name of the subject.
    pub common_name: Option<String>,
    /// DNS names of the subject.
    pub dns_names: Vec<String>,
    /// Addresses of the subject.
    pub addresses: Vec<IpAddr>,
    /// Begin of validity, in seconds since 1970.
    pub not_before: i64,
    /// End of validity, in seconds since 1970.
    pub not_after: i64,
    /// All of it, to tell one from another.
    pub der: Vec<u8>,
}

impl Certificate {
    /// Whether it is made out for a host, by RFC 9525: alternative names only, one label for a leading `*`.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        self.dns_names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
            None => name.eq_ignore_ascii_case(host),
        })
    }

    /// From first to last day.
    #[must_use]
    pub const fn lifetime_days(&self) -> i64 {
        (self.not_after - self.not_before) / 86_400
    }

    /// Reads one certificate; `None` if it is none.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut whole = Der(der);
        let mut certificate = Der(whole.expect(SEQUENCE)?);
        let mut body = Der(certificate.expect(SEQUENCE)?);
        body.optional(VERSION);
        body.expect(INTEGER)?;
        body.expect(SEQUENCE)?;
        body.expect(SEQUENCE)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let common_name = common_name(body.expect(SEQUENCE)?);
        body.expect(SEQUENCE)?;
        let mut names = (Vec::new(), Vec::new());
        while let Some((tag, content)) = body.next() {
            if tag == EXTENSIONS {
                names = alternative_names(content)?;
            }
        }
        let der = der[..der.len() - whole.0.len()].to_vec();
        Some(Self { common_name, dns_names: names.0, addresses: names.1, not_before, not_after, der })
    }
}

/// Reads every certificate of a PEM text, in its order; what is no certificate is left out.
#[must_use]
pub fn from_pem(text: &str) -> Vec<Certificate> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let sections = text.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)).take(CERTIFICATES_MAX);
    sections.filter_map(|(body, _)| Certificate::parse(&base64(body)?)).collect()
}

/// RFC 4648, 4, with white space anywhere.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0_u32);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = ((bits << 6 | u32::from(value)) & 0xff_ffff, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    Some(bytes)
}

/// What is left of a run of DER elements.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// Tag and content of the next element.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first & 0x7f);
        if first & 0x80 != 0 {
            // Four bytes of length are more than any certificate has.
            let bytes = rest.get(..length).filter(|bytes| bytes.len() <= 4)?;
            rest = &rest[length..];
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        }
        let content = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((tag, content))
    }

    fn expect(&mut self, expected: u8) -> Option<&'d [u8]> {
        self.next().filter(|(tag, _)| *tag == expected).map(|(_, content)| content)
    }

    fn optional(&mut self, wanted: u8) -> Option<&'d [u8]> {
        if self.0.first() == Some(&wanted) { self.expect(wanted) } else { None }
    }
}

fn common_name(mut name: &[u8]) -> Option<String> {
    while !name.is_empty() {
        let mut rest = Der(name);
        let mut attribute = Der(Der(rest.expect(SET)?).expect(SEQUENCE)?);
        name = rest.0;
        if attribute.expect(OID)? == COMMON_NAME {
            return attribute.next().map(|(_, text)| String::from_utf8_lossy(text).into_owned());
        }
    }
    None
}

fn alternative_names(extensions: &[u8]) -> Option<(Vec<String>, Vec<IpAddr>)> {
    let mut all = Der(Der(extensions).expect(SEQUENCE)?);
    let (mut dns, mut addresses) = (Vec::new(), Vec::new());
    while let Some(extension) = all.expect(SEQUENCE) {
        let mut extension = Der(extension);
        let id = extension.expect(OID)?;
        extension.optional(BOOLEAN);
        let value = extension.expect(OCTETS)?;
        if id != ALTERNATIVE_NAMES {
            continue;
        }
        let mut names = Der(Der(value).expect(SEQUENCE)?);
        while let Some((tag, name)) = names.next() {
            match tag {
                DNS_NAME => dns.push(String::from_utf8_lossy(name).into_owned()),
                ADDRESS => addresses.extend(address(name)),
                _ => {}
            }
        }
    }
    Some((dns, addresses))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, in seconds since 1970.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            //= RFC 5280, 4.1.2.5.1: 50 to 99 are of the twentieth century.
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |position: usize| rest.get(position..position + 2)?.parse::<i64>().ok();
    let days = days_since_1970(year, part(0)?, part(2)?);
    Some(days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

/// Days of the proleptic Gregorian calendar; years begin in March here, so that the leap day is the last one.
pub(super) const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    fn made(subjects: &[&str]) -> String {
        let subjects: Vec<String> = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        let mut params = CertificateParams::new(subjects).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Operator");
        params.distinguished_name.push(DnType::CommonName, "node1");
        (params.not_before, params.not_after) = (date_time_ymd(2024, 2, 29), date_time_ymd(2051, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn names_and_times_are_those_that_were_written() {
        let text = made(&["node1.example", "*.nodes.example", "127.0.0.1", "::1"]);
        let [certificate] = from_pem(&text).try_into().unwrap();
        assert_eq!(certificate.common_name.as_deref(), Some("node1"));
        assert_eq!(certificate.dns_names, ["node1.example", "*.nodes.example"]);
        assert_eq!((certificate.not_before, certificate.not_after), (1_709_164_800, 2_556_144_000));
        for (host, named) in [
            ("node1.example", true),
            ("NODE1.example", true),
            ("a.nodes.example", true),
            ("a.b.nodes.example", false),
            ("nodes.example", false),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("127.0.0.2", false),
            ("node1", false),
        ] {
            assert_eq!(certificate.names(host), named, "{host}");
        }
    }

    #[test]
    fn a_bundle_gives_all_and_rubbish_none() {
        let bundle = format!("# our CAs\n{}\n{}", made(&[]), made(&["a"]));
        assert_eq!(from_pem(&bundle).len(), 2);
        assert_ne!(from_pem(&bundle)[0].der, from_pem(&bundle)[1].der);
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"] {
            assert_eq!(from_pem(text), []);
        }
    }

    #[test]
    fn no_cut_of_a_certificate_is_a_panic() {
        let der = from_pem(&made(&["a", "10.0.0.1"])).remove(0).der;
        for length in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..length]), None, "{length}");
        }
        for position in 0..der.len() {
            let mut changed = der.clone();
            changed[position] ^= 0x80;
            let _no_panic = Certificate::parse(&changed);
        }
    }
}
