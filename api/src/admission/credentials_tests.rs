#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;

fn headers(values: &[&[u8]]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value).unwrap())).collect()
}

fn read(values: &[&[u8]]) -> Result<(&'static str, String), CredentialProblem> {
    shown(&headers(values)).map(|shown| match shown {
        Shown::Nothing => ("nothing", String::new()),
        Shown::Bearer(text) => ("bearer", text.to_string()),
        Shown::Basic(text) => ("basic", text.to_string()),
    })
}

#[test]
fn a_header_is_read_whatever_its_case_and_space() {
    assert_eq!(read(&[]), Ok(("nothing", String::new())));
    for bearer in [&b"Bearer abc.def"[..], b"bearer abc.def", b"BEARER   abc.def  "] {
        assert_eq!(read(&[bearer]), Ok(("bearer", "abc.def".to_owned())));
    }
    for empty in [&b"Bearer "[..], b"Bearer"] {
        assert_eq!(read(&[empty]), Ok(("bearer", String::new())), "an empty token is a wrong one, not a missing one");
    }
    for (pair, password) in [("vc:cst_1", "cst_1"), (":cst_1", "cst_1"), ("vc:a:b", "a:b"), ("vc:", "")] {
        let header = format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(read(&[header.as_bytes()]), Ok(("basic", password.to_owned())), "{pair}");
    }
}

#[test]
fn hostile_headers_are_refused() {
    let long = [b"Bearer ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let basic = |pair: &[u8]| format!("Basic {}", STANDARD.encode(pair));
    let (spaced, no_colon, not_text) = (basic(b"vc:a b"), basic(b"vc"), basic(b"vc:\xff\xfe"));
    let cases: &[(&[&[u8]], CredentialProblem)] = &[
        (&[b"Bearer a", b"Bearer a"], CredentialProblem::Several),
        (&[b"Bearer a", b""], CredentialProblem::Several),
        (&[&long], CredentialProblem::TooLong),
        (&[b"Bearer \xff\xfe"], CredentialProblem::Characters),
        (&[b"Bearer a\tb"], CredentialProblem::Characters),
        (&[b""], CredentialProblem::Scheme),
        (&[b"cst_0011"], CredentialProblem::Scheme),
        (&[b"Bearer a b"], CredentialProblem::Scheme),
        (&[b"Digest username=\"a\""], CredentialProblem::Scheme),
        (&[b"Basic !!!"], CredentialProblem::Basic),
        (&[spaced.as_bytes()], CredentialProblem::Basic),
        (&[no_colon.as_bytes()], CredentialProblem::Basic),
        (&[not_text.as_bytes()], CredentialProblem::Basic),
    ];
    for (values, problem) in cases {
        assert_eq!(read(values), Err(*problem), "{values:?}");
    }
}

#[test]
fn a_token_has_one_text() {
    let (id, secret) = ("00112233445566ff", "ab".repeat(32));
    let text = format!("cst_{id}_{secret}");
    let claim = token_claim(&text).unwrap();
    assert_eq!(claim.id, [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xff]);
    assert_eq!(claim.hash, token_hash(&text));
    for other in [
        text.to_uppercase(),
        text.replace("ab", "AB"),
        text.replace("cst_", "CST_"),
        text[..text.len() - 1].to_owned(),
        format!("{text}0"),
        format!("cst_{id}{secret}"),
        format!("cst_{}_{secret}", &id[1..]),
        format!("cst_{id}_{secret}_"),
        "cst__".to_owned(),
        String::new(),
    ] {
        assert!(token_claim(&other).is_none(), "{other}");
    }
}
