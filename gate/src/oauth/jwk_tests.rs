#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;

const RSA_KEY: &str = r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#;
const RSA_SIGNED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

const EC_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const EC_SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

const ED_KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const ED_SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn set(keys: &[&str]) -> Keys {
    Keys::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
}

fn verify(keys: &Keys, algorithm: Algorithm, signed: &str) -> Result<(), JwtError> {
    let (message, signature) = signed.rsplit_once('.').unwrap();
    keys.verify(algorithm, None, message.as_bytes(), &bytes(signature).unwrap())
}

#[test]
fn the_examples_of_the_standards_are_verified() {
    //= RFC 7515, appendices A.2 and A.3; RFC 8037, appendix A.4
    let all = set(&[RSA_KEY, EC_KEY, ED_KEY]);
    let examples = [(Algorithm::Rs256, RSA_SIGNED), (Algorithm::Es256, EC_SIGNED), (Algorithm::EdDsa, ED_SIGNED)];
    for (algorithm, signed) in examples {
        assert_eq!(verify(&all, algorithm, signed), Ok(()), "{algorithm:?}");
        let other = signed.replacen("eyJ", "eyK", 1);
        assert_eq!(verify(&all, algorithm, &other), Err(JwtError::Signature), "{algorithm:?}");
    }
    assert_eq!(verify(&set(&[EC_KEY, ED_KEY]), Algorithm::Rs256, RSA_SIGNED), Err(JwtError::UnknownKey));
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    let with = |key: &str, more: &str| key.replacen('{', &format!("{{{more},"), 1);
    let zeros = "A".repeat(43);
    for (what, key) in [
        ("secret", r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}"#.to_owned()),
        ("for encryption", with(RSA_KEY, r#""use":"enc""#)),
        ("usage of another type", with(RSA_KEY, r#""use":["sig"]"#)),
        ("to sign, not to verify", with(EC_KEY, r#""key_ops":["sign"]"#)),
        ("another algorithm", with(RSA_KEY, r#""alg":"RS512""#)),
        ("HMAC with a public key", with(RSA_KEY, r#""alg":"HS256""#)),
        ("another curve's algorithm", with(EC_KEY, r#""alg":"EdDSA""#)),
        ("id of another type", with(ED_KEY, r#""kid":7"#)),
        ("another curve", EC_KEY.replace("P-256", "P-384")),
        ("X25519", ED_KEY.replace("Ed25519", "X25519")),
        ("not on the curve", EC_KEY.replace("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", &zeros)),
        ("too short", ED_KEY.replace("11qYAYKx", "")),
        ("1024 bits", format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#, "_".repeat(171))),
        ("padded", EC_KEY.replace("RVEU", "RVEU=")),
        ("no modulus", r#"{"kty":"RSA","e":"AQAB"}"#.to_owned()),
        ("no exponent", RSA_KEY.replace("AQAB", "AAAA")),
        ("no type", r#"{"crv":"P-256"}"#.to_owned()),
    ] {
        let keys = set(&[&key]);
        assert_eq!((keys.len(), keys.left_out), (0, 1), "{what}");
    }
    for key in [with(RSA_KEY, r#""use":"sig","alg":"RS256""#), with(EC_KEY, r#""key_ops":["verify"],"kid":"a""#)] {
        assert_eq!(set(&[&key]).len(), 1, "{key}");
    }
}

#[test]
fn what_is_no_set_is_refused() {
    let many = vec![ED_KEY; KEYS_MAX + 1].join(",");
    for (text, words) in [
        ("<html>".to_owned(), "not JSON"),
        ("[]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "no list of keys"),
        (r#"{"keys":{}}"#.to_owned(), "no list of keys"),
        (r#"{"keys":["a"]}"#.to_owned(), "not an object"),
        (r#"{"keys":[],"keys":[]}"#.to_owned(), "a name occurs twice"),
        (format!(r#"{{"keys":[{}]}}"#, ED_KEY.replacen('{', r#"{"d":"AA","#, 1)), "a private key"),
        (format!(r#"{{"keys":[{many}]}}"#), "more than 64 keys"),
    ] {
        let Err(OAuthError::KeySet { reason }) = Keys::parse(text.as_bytes()) else { panic!("{text}") };
        assert!(reason.contains(words), "{words:?} is missing in {reason:?}");
    }
    assert_eq!(set(&[]).len(), 0);
}
