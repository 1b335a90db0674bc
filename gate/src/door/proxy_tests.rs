#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn head(command: u8, family: u8, length: u16) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..12].copy_from_slice(SIGNATURE);
    (head[12], head[13]) = (command, family);
    head[14..].copy_from_slice(&length.to_be_bytes());
    head
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x23, 0x28];

fn v6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let mut body = source.octets().to_vec();
    body.extend([0; 16]);
    body.extend([0x30, 0x39, 0x23, 0x28]);
    body
}

fn read_of(command: u8, family: u8, body: &[u8]) -> Result<Origin, HeaderError> {
    let head = head(command, family, body.len() as u16);
    assert_eq!(body_length(&head), Ok(body.len()));
    origin(&head, body)
}

fn client(addr: &str) -> Result<Origin, HeaderError> {
    Ok(Origin::Client(addr.parse().unwrap()))
}

#[test]
fn names_the_client_of_both_families() {
    assert_eq!(read_of(0x21, 0x11, &V4), client("192.0.2.7:12345"));
    assert_eq!(read_of(0x21, 0x21, &v6("2001:db8::9")), client("[2001:db8::9]:12345"));
    assert_eq!(read_of(0x21, 0x21, &v6("::ffff:192.0.2.7")), client("192.0.2.7:12345"), "one client, one address");
}

#[test]
fn extensions_are_skipped_if_whole() {
    let with = |extensions: &[u8]| read_of(0x21, 0x11, &[&V4, extensions].concat());
    assert_eq!(with(&[4, 0, 0]), client("192.0.2.7:12345"));
    assert_eq!(with(&[2, 0, 3, b'a', b'b', b'c', 4, 0, 1, 0]), client("192.0.2.7:12345"));
    for broken in [&[4][..], &[4, 0], &[4, 0, 1], &[2, 0xff, 0xff, 1]] {
        assert_eq!(with(broken), Err(HeaderError::Extension), "{broken:?}");
    }
}

#[test]
fn a_local_connection_is_the_balancers_own() {
    for family in [0x00, 0x11, 0x21, 0x77] {
        assert_eq!(read_of(0x20, family, &[]), Ok(Origin::Local));
        assert_eq!(read_of(0x20, family, &[0; 99]), Ok(Origin::Local));
    }
}

#[test]
fn everything_else_is_refused() {
    for command in [0x00, 0x10, 0x11, 0x22, 0x31, 0xff] {
        assert_eq!(read_of(command, 0x11, &V4), Err(HeaderError::Command), "{command:#x}");
    }
    // No family, UDP, Unix sockets, and what does not exist.
    for family in [0x00, 0x01, 0x10, 0x12, 0x22, 0x31, 0x32, 0x41, 0xff] {
        assert_eq!(read_of(0x21, family, &[0; 216]), Err(HeaderError::Family), "{family:#x}");
    }
    for (family, length) in [(0x11, 0), (0x11, 11), (0x21, 12), (0x21, 35)] {
        assert_eq!(read_of(0x21, family, &vec![1; length]), Err(HeaderError::TooShort));
    }
    for source in [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]] {
        let mut body = V4;
        body[..4].copy_from_slice(&source);
        assert_eq!(read_of(0x21, 0x11, &body), Err(HeaderError::Address), "{source:?}");
    }
    assert_eq!(body_length(&head(0x21, 0x11, BODY_BYTES_MAX as u16 + 1)), Err(HeaderError::TooLong));
    assert_eq!(body_length(b"PROXY TCP4 10.0."), Err(HeaderError::Missing));
    assert_eq!(body_length(&[0; HEAD_BYTES]), Err(HeaderError::Missing));
}
