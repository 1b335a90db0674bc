//! A `ClientHello`, byte by byte (RFC 5246, 7.4.1.2; RFC 8446, 4.1.2).

use std::net::IpAddr;

/// What a hello offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// TLS 1.3 only.
    Tls13,
    /// TLS 1.2 with authenticated suites and forward secrecy.
    Tls12,
    /// TLS 1.1, with everything that was used then.
    Tls11,
    /// TLS 1.0, with everything that was used then.
    Tls10,
    /// TLS 1.2 with suites that nobody should speak any more: RC4, 3DES, CBC, no forward secrecy, no encryption.
    Weak,
}

/// `TLS_AES_{128,256}_GCM_SHA*`, `TLS_CHACHA20_POLY1305_SHA256`.
const SUITES_13: &[u16] = &[0x1301, 0x1302, 0x1303];

/// ECDHE with ECDSA and RSA; AES-GCM and ChaCha20-Poly1305.
const SUITES_12: &[u16] = &[0xc02b, 0xc02c, 0xcca9, 0xc02f, 0xc030, 0xcca8];

/// NULL, RC4, 3DES, AES-CBC with and without forward secrecy, AES-GCM without.
const SUITES_WEAK: &[u16] = &[
    0x0001, 0x0002, 0x003b, 0x0004, 0x0005, 0x000a, 0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d, 0xc007, 0xc008,
    0xc009, 0xc00a, 0xc011, 0xc012, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028,
];

/// x25519, secp256r1, secp384r1.
const GROUPS: &[u16] = &[0x001d, 0x0017, 0x0018];

/// ECDSA, Ed25519, RSA-PSS, RSA PKCS#1 and, for the old versions, SHA-1.
const SIGNATURES: &[u16] = &[0x0403, 0x0503, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201];

// Extension numbers (IANA).
const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// The record with the hello. Its random bytes need not be random: nothing is ever encrypted after it.
#[must_use]
pub fn client_hello(offer: Offer, host: &str) -> Vec<u8> {
    let (version, suites): (u16, Vec<u16>) = match offer {
        Offer::Tls13 => (0x0303, SUITES_13.to_vec()),
        Offer::Tls12 => (0x0303, SUITES_12.to_vec()),
        Offer::Tls11 => (0x0302, SUITES_WEAK.to_vec()),
        Offer::Tls10 => (0x0301, SUITES_WEAK.to_vec()),
        Offer::Weak => (0x0303, SUITES_WEAK.to_vec()),
    };
    let mut body = version.to_be_bytes().to_vec();
    body.extend([0x5a; 32]);
    // No session, so that nothing is resumed.
    body.push(0);
    body.extend(with_length16(&numbers(&suites)));
    // No compression.
    body.extend([1, 0]);
    body.extend(with_length16(&extensions(offer, host)));
    let mut message = vec![1, 0];
    message.extend(with_length16(&body));
    let mut record = vec![0x16, 3, 1];
    record.extend(with_length16(&message));
    record
}

fn extensions(offer: Offer, host: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |number: u16, content: Vec<u8>| {
        all.extend(number.to_be_bytes());
        all.extend(with_length16(&content));
    };
    if host.parse::<IpAddr>().is_err() && !host.is_empty() {
        let mut name = vec![0];
        name.extend(with_length16(host.as_bytes()));
        add(SERVER_NAME, with_length16(&name));
    }
    add(SUPPORTED_GROUPS, with_length16(&numbers(GROUPS)));
    add(POINT_FORMATS, vec![1, 0]);
    add(SIGNATURE_ALGORITHMS, with_length16(&numbers(SIGNATURES)));
    add(EXTENDED_MASTER_SECRET, Vec::new());
    if offer == Offer::Tls13 {
        add(SUPPORTED_VERSIONS, vec![2, 3, 4]);
        // None: the server then names the group that it wants, and with it the version.
        add(KEY_SHARE, vec![0, 0]);
    }
    all
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Never longer than a record: host names are at most 253 bytes.
fn with_length16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let mut all = length.to_be_bytes().to_vec();
    all.extend_from_slice(&content[..usize::from(length)]);
    all
}
