//! Official vectors, and that signing a hashed root gives what blst's own plain signing gives.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::development::interop_secret;
use crate::vectors::{load, text};
use blst::{blst_p2_affine_serialize, blst_p2_to_affine};
use consigner_rules::primitives::decode_fixed;

/// The order of the group, big-endian.
const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

fn sign(secret: &SecretKey, root: &Root) -> Signature {
    sign_hashed(secret, &hash_to_curve(root))
}

#[test]
fn signs_the_official_vectors() {
    let Some(cases) = load("bls/sign") else { return };
    for (name, case) in cases {
        let secret = SecretKey::from_bytes(&decode_fixed(text(&case, "/input/privkey")).unwrap());
        let root: Root = text(&case, "/input/message").parse().unwrap();
        match case["output"].as_str() {
            None => assert_eq!(secret.err(), Some(BadSecret::Zero), "{name}"),
            Some(expected) => assert_eq!(sign(&secret.unwrap(), &root).to_string(), expected, "{name}"),
        }
    }
}

#[test]
fn the_text_of_a_secret_is_that_secret() {
    for secret in [interop_secret(0), interop_secret(7)] {
        let text = secret.expose_hex();
        assert!(text.len() == 66 && text.capacity() == 66 && text.starts_with("0x"));
        assert_eq!(text.parse::<SecretKey>().unwrap().public_key(), secret.public_key());
    }
}

#[test]
fn verifies_the_official_vectors() {
    let Some(cases) = load("bls/verify") else { return };
    for (name, case) in cases {
        let public_key = text(&case, "/input/pubkey").parse();
        let root = text(&case, "/input/message").parse().unwrap();
        let signature = text(&case, "/input/signature").parse();
        let verdict = match (public_key, signature) {
            (Ok(public_key), Ok(signature)) => verify(&public_key, &root, &signature),
            _ => false,
        };
        assert_eq!(verdict, case["output"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn hashes_the_official_vectors() {
    // The suite of RFC 9380, appendix J.10.1, uses this domain.
    const DOMAIN: &[u8] = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_";
    let Some(cases) = load("bls/hash_to_G2") else { return };
    for (name, case) in cases {
        let point = hash_message(text(&case, "/input/msg").as_bytes(), DOMAIN);
        let coordinates = coordinates(&point);
        for (axis, [real, imaginary]) in ["x", "y"].iter().zip(coordinates) {
            assert_eq!(format!("0x{real},0x{imaginary}"), case["output"][axis], "{name} {axis}");
        }
    }
}

/// `[[real x, imaginary x], [real y, imaginary y]]`.
fn coordinates(point: &HashedRoot) -> [[String; 2]; 2] {
    let mut affine = blst_p2_affine::default();
    let mut bytes = [0_u8; 192];
    // SAFETY: all are live and initialised, and an uncompressed G2 point takes 192 bytes.
    unsafe {
        blst_p2_to_affine(&mut affine, &point.0);
        blst_p2_affine_serialize(bytes.as_mut_ptr(), &affine);
    }
    let part = |index: usize| hex::encode(&bytes[48 * index..48 * (index + 1)]);
    [[part(1), part(0)], [part(3), part(2)]]
}

#[test]
fn signs_all_requests_of_the_executable_specification() {
    // Stated with the vectors: the key of all known answers.
    let secret: SecretKey = "0x000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse().unwrap();
    let Some(cases) = load("signing-kat") else { return };
    assert_eq!(cases.len(), 118);
    for (name, case) in cases {
        assert_eq!(secret.public_key().to_string(), text(&case, "/expected/pubkey"), "{name}");
        let root: Root = text(&case, "/expected/signing_root").parse().unwrap();
        let signature: Signature = text(&case, "/expected/signature").parse().unwrap();
        assert_eq!(sign(&secret, &root), signature, "{name}");
        assert!(verify(&secret.public_key(), &root, &signature), "{name}");
    }
}

#[test]
fn a_hashed_root_signs_as_the_plain_signature() {
    for number in 0..8 {
        let secret = interop_secret(number);
        let plain = min_pk::SecretKey::from_bytes(secret.to_bytes().as_slice()).unwrap();
        let root = Root([u8::try_from(number).unwrap() ^ 0x5A; 32]);
        let expected = plain.sign(root.as_bytes(), ETHEREUM_DST, &[]).compress();
        assert_eq!(sign(&secret, &root), Signature(expected));
        assert_eq!(secret.public_key().0, plain.sk_to_pk().compress());
    }
}

#[test]
fn interop_keys_are_those_of_every_test_network() {
    let known = [
        (
            "25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866",
            "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4bf2d153f649f7b53359fe8b94a38e44c",
        ),
        (
            "51d0b65185db6989ab0b560d6deed19c7ead0e24b9b6372cbecb1f26bdfad000",
            "0xb89bebc699769726a318c8e9971bd3171297c61aea4a6578a7a4f94b547dcba5bac16a89108b6b6a1fe3695d1a874a0b",
        ),
    ];
    for (index, (secret, public_key)) in (0..).zip(known) {
        let key = interop_secret(index);
        assert_eq!(hex::encode(key.to_bytes()), secret);
        assert_eq!(key.public_key().to_string(), public_key);
    }
}

#[test]
fn only_numbers_between_zero_and_the_order_are_secrets() {
    let near_order = |difference: i16| {
        let mut bytes: [u8; 32] = decode_fixed(ORDER).unwrap();
        bytes[31] = u8::try_from(i16::from(bytes[31]) + difference).unwrap();
        SecretKey::from_bytes(&bytes).map(drop)
    };
    assert_eq!(SecretKey::from_bytes(&[0; 32]).map(drop), Err(BadSecret::Zero));
    assert_eq!(near_order(-1), Ok(()));
    assert_eq!(near_order(0), Err(BadSecret::TooLarge));
    assert_eq!(near_order(1), Err(BadSecret::TooLarge));
    assert_eq!(SecretKey::from_bytes(&[0xFF; 32]).map(drop), Err(BadSecret::TooLarge));
}

#[test]
fn secrets_as_text_are_read_strictly() {
    let digits = hex::encode(interop_secret(0).to_bytes());
    for text in [digits.clone(), format!("0x{digits}"), format!("0X{}", digits.to_uppercase())] {
        assert_eq!(text.parse::<SecretKey>().unwrap().public_key(), interop_secret(0).public_key());
    }
    let wrong = ["", "0x", &digits[1..], &format!("{digits}0"), &format!(" {digits}"), &"zz".repeat(32)];
    for text in wrong {
        assert_eq!(text.parse::<SecretKey>().map(drop), Err(BadSecret::Text), "{text:?}");
    }
    assert_eq!("0".repeat(64).parse::<SecretKey>().map(drop), Err(BadSecret::Zero));
}

#[test]
fn bytes_that_are_no_points_verify_nothing() {
    let (secret, root) = (interop_secret(3), Root([3; 32]));
    let (public_key, signature) = (secret.public_key(), sign(&secret, &root));
    assert!(verify(&public_key, &root, &signature));
    assert!(!verify(&public_key, &Root([4; 32]), &signature));
    assert!(!verify(&PublicKey([0; 48]), &root, &signature));
    assert!(!verify(&PublicKey([0xFF; 48]), &root, &signature));
    assert!(!verify(&public_key, &root, &Signature([0; 96])));
    // The point at infinity: valid for every message if it were let through.
    let (mut infinite_key, mut infinite_signature) = ([0; 48], [0; 96]);
    (infinite_key[0], infinite_signature[0]) = (0xC0, 0xC0);
    assert!(!verify(&PublicKey(infinite_key), &root, &Signature(infinite_signature)));
}

#[test]
fn a_scalar_erases_itself() {
    // `SecretKey` promises `ZeroizeOnDrop` on blst's word: its scalar must have a destructor, and the erasing one.
    assert!(std::mem::needs_drop::<blst_scalar>());
    let mut scalar = blst_scalar { b: [0xA5; 32] };
    zeroize::Zeroize::zeroize(&mut scalar);
    assert_eq!(scalar.b, [0; 32]);
}
