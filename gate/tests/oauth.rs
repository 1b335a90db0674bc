//! Tokens that must be believed, and all those that must not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use consigner_gate::oauth::{Claims, JwtError, KeySet, OAuth, OAuthError, TOKEN_BYTES_MAX, TokenVerifier};
use support::jwt::{AUDIENCE, ISSUER, Signer, claims, claims_with, encode, now, set};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

const LEEWAY: i64 = 30;

/// An issuer with a key of each algorithm, whose key set lies in a file.
struct Issuer {
    dir: TempDir,
    rsa: Signer,
    ec: Signer,
    ed: Signer,
    verifier: Arc<TokenVerifier>,
    _running: DropGuard,
}

fn oauth(keys: KeySet) -> OAuth {
    OAuth {
        issuer: ISSUER.to_owned(),
        audiences: vec!["another".to_owned(), AUDIENCE.to_owned()],
        keys,
        leeway: Duration::from_secs(LEEWAY.unsigned_abs()),
        refresh: Duration::from_secs(600),
    }
}

impl Issuer {
    fn new() -> Self {
        let (rsa, ec, ed) = (Signer::rsa("r"), Signer::ec("c"), Signer::ed("d"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, set(&[&rsa, &ec, &ed])).unwrap();
        let verifier = TokenVerifier::new(oauth(KeySet::File(file))).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(verifier.clone().run(stop.clone()));
        Self { dir, rsa, ec, ed, verifier, _running: stop.drop_guard() }
    }

    fn signers(&self) -> [&Signer; 3] {
        [&self.rsa, &self.ec, &self.ed]
    }

    async fn accepts(&self, token: &str) -> Claims {
        self.verifier.verify(token).await.unwrap_or_else(|why| panic!("{why}: {token}"))
    }

    /// Why not; the reason must not give any of the token away.
    async fn refuses(&self, token: &str) -> JwtError {
        let why = self.verifier.verify(token).await.expect_err(token);
        let said = format!("{why} {why:?}");
        for part in token.split('.').filter(|part| part.len() > 3).chain(["ops@example", ISSUER]) {
            assert!(!said.contains(part), "{said:?} gives {part:?} away");
        }
        why
    }

    async fn refuses_claims(&self, claims: &str) -> JwtError {
        self.refuses(&self.ed.token(claims)).await
    }
}

#[tokio::test]
async fn tokens_of_all_three_algorithms_are_believed_with_their_claims() {
    let issuer = Issuer::new();
    for signer in issuer.signers() {
        let more = r#","groups":["ops","dev"],"scope":"read  write","level":3,"half":0.5,"admin":true,"nested":{"a":1},
            "mixed":["a",1,true],"deep":[["a"]],"none":null,"email":"a@b""#;
        let read = issuer.accepts(&signer.token(&claims(more))).await;
        assert_eq!((read.issuer.as_str(), read.subject.as_str()), (ISSUER, "ops@example"));
        assert!((now() + 590..=now() + 600).contains(&read.expires_unix));
        let value = |name: &str| read.values.get(name).map(|all| all.join("|"));
        for (name, expected) in [
            ("groups", Some("ops|dev")),
            ("scope", Some("read|write")),
            ("level", Some("3")),
            ("half", Some("0.5")),
            ("admin", Some("true")),
            ("mixed", Some("a|1|true")),
            ("email", Some("a@b")),
            ("aud", Some(AUDIENCE)),
            ("nested", None),
            ("deep", None),
            ("none", None),
        ] {
            assert_eq!(value(name).as_deref(), expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let issuer = Issuer::new();
    let strangers = [Signer::rsa("r"), Signer::ec("c"), Signer::ed("d")];
    for (signer, stranger) in issuer.signers().into_iter().zip(&strangers) {
        let good = signer.token(&claims(""));
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = message.split_once('.').unwrap();
        let others = encode(claims(r#","groups":"admins""#).as_bytes());
        for (what, token) in [
            ("of a stranger with the same key id", stranger.token(&claims(""))),
            ("other claims under an old signature", format!("{header}.{others}.{signature}")),
            ("no signature", format!("{header}.{payload}.")),
            ("half a signature", format!("{header}.{payload}.{}", &signature[..40])),
            ("a signature of zeros", format!("{header}.{payload}.{}", encode(&[0; 64]))),
            ("a signature and more", format!("{header}.{payload}.{signature}AAAA")),
        ] {
            assert_eq!(issuer.refuses(&token).await, JwtError::Signature, "{} {what}", signer.algorithm());
        }
        issuer.accepts(&good).await;
    }
}

#[tokio::test]
async fn the_algorithm_is_that_of_the_key() {
    let issuer = Issuer::new();
    for signer in issuer.signers() {
        let payload = encode(claims("").as_bytes());
        for public in signer.public_forms() {
            let header = encode(format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, signer.id).as_bytes());
            let message = format!("{header}.{payload}");
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message.as_bytes());
            let token = format!("{message}.{}", encode(tag.as_ref()));
            assert_eq!(issuer.refuses(&token).await, JwtError::Algorithm, "HMAC with the public key");
        }
        for name in ["none", "None", "NONE", "", "HS512", "rs256", "RS384", "PS256", "ES384", "Ed448", "RSA1_5"] {
            let header = format!(r#"{{"alg":"{name}","kid":"{}"}}"#, signer.id);
            assert_eq!(issuer.refuses(&signer.token_of(&header, &claims(""))).await, JwtError::Algorithm, "{name}");
            let unsigned = format!("{}.{payload}.", encode(header.as_bytes()));
            assert_eq!(issuer.refuses(&unsigned).await, JwtError::Algorithm, "{name}, unsigned");
        }
        for other in issuer.signers().into_iter().filter(|other| other.id != signer.id) {
            let header = format!(r#"{{"alg":"{}","kid":"{}"}}"#, other.algorithm(), signer.id);
            // Nobody's key has both: not worth a wait for the issuer, but the file is read again once.
            let verdict = issuer.verifier.verify(&signer.token_of(&header, &claims(""))).await;
            assert_eq!(verdict, Err(JwtError::UnknownKey), "{header}");
        }
        let header = format!(r#"{{"kid":"{}"}}"#, signer.id);
        assert!(matches!(issuer.refuses(&signer.token_of(&header, &claims(""))).await, JwtError::Malformed(_)));
        let embedded = format!(r#"{{"alg":"{}","kid":"{}","jwk":{}}}"#, signer.algorithm(), signer.id, signer.jwk());
        issuer.accepts(&signer.token_of(&embedded, &claims(""))).await;
        let stranger = Signer::ed("d");
        let embedded = format!(r#"{{"alg":"EdDSA","kid":"d","jwk":{},"jku":"https://evil"}}"#, stranger.jwk());
        let verdict = issuer.refuses(&stranger.token_of(&embedded, &claims(""))).await;
        assert_eq!(verdict, JwtError::Signature, "a key that the token brings along counts for nothing");
    }
}

#[tokio::test]
async fn dates_hold_within_the_leeway_and_must_be_dates() {
    let issuer = Issuer::new();
    let expiring = |when: &str| claims_with(&format!("\"exp\":{}", now() + 600), &format!("\"exp\":{when}"));
    let soon = now();
    issuer.accepts(&issuer.ed.token(&expiring(&(soon - LEEWAY + 20).to_string()))).await;
    issuer.accepts(&issuer.ed.token(&expiring(&format!("{}.5", soon + 20)))).await;
    issuer.accepts(&issuer.ed.token(&expiring("253402300799"))).await;
    for when in [now() - LEEWAY, now() - 86_400, 0] {
        let why = issuer.refuses_claims(&expiring(&when.to_string())).await;
        assert!(matches!(why, JwtError::Expired { seconds } if seconds >= LEEWAY), "{why:?}");
    }
    let malformed = ["-1", "253402300800", "9223372036854775807", "18446744073709551615", "1e300", "-1e300", "1e18"];
    for when in malformed.into_iter().chain(["\"4102444800\"", "null", "true", "[4102444800]", "{}"]) {
        assert_eq!(issuer.refuses_claims(&expiring(when)).await, JwtError::BadClaim("expiry"), "exp {when}");
        let more = format!(",\"nbf\":{when}");
        assert_eq!(issuer.refuses_claims(&claims(&more)).await, JwtError::BadClaim("begin"), "nbf {when}");
        let more = format!(",\"iat\":{when}");
        assert_eq!(issuer.refuses_claims(&claims(&more)).await, JwtError::BadClaim("date of issue"), "iat {when}");
    }
    assert!(matches!(issuer.refuses_claims(&expiring("1e999")).await, JwtError::Malformed(_)));
    let never = claims_with(&format!(",\"exp\":{}", now() + 600), "");
    assert_eq!(issuer.refuses_claims(&never).await, JwtError::Missing("expiry"));

    issuer.accepts(&issuer.ed.token(&claims(&format!(",\"nbf\":{}", now() + LEEWAY)))).await;
    let why = issuer.refuses_claims(&claims(&format!(",\"nbf\":{}", now() + LEEWAY + 20))).await;
    assert!(matches!(why, JwtError::NotYetValid { seconds } if seconds > LEEWAY), "{why:?}");
}

#[tokio::test]
async fn issuer_audience_and_subject_must_be_ours() {
    let issuer = Issuer::new();
    let with_issuer = |value: &str| claims_with(&format!("\"{ISSUER}\""), value);
    for other in
        ["\"https://idp.example/realms/other\"", &format!("\"{ISSUER}/\""), "\"\"", &format!("\"{ISSUER}\\u0000\"")]
    {
        assert_eq!(issuer.refuses_claims(&with_issuer(other)).await, JwtError::Issuer, "{other}");
    }
    for other in ["1".to_owned(), "null".to_owned(), format!("[\"{ISSUER}\"]")] {
        assert_eq!(issuer.refuses_claims(&with_issuer(&other)).await, JwtError::BadClaim("issuer"), "{other}");
    }
    let with_audience = |value: &str| claims_with(&format!("\"{AUDIENCE}\""), value);
    for good in [r#"["consigner"]"#, r#"["x","consigner"]"#, r#""another""#] {
        issuer.accepts(&issuer.ed.token(&with_audience(good))).await;
    }
    for other in [r#""consigner2""#, r#""Consigner""#, r#""""#, "[]", r#"["x"]"#] {
        assert_eq!(issuer.refuses_claims(&with_audience(other)).await, JwtError::Audience, "{other}");
    }
    for other in ["1", "null", r#"{"consigner":1}"#, r#"["consigner",1]"#, r#"[["consigner"]]"#] {
        assert_eq!(issuer.refuses_claims(&with_audience(other)).await, JwtError::BadClaim("audience"), "{other}");
    }
    let without = |claim: &str| claims_with(claim, "");
    assert_eq!(issuer.refuses_claims(&without("\"aud\":\"consigner\",")).await, JwtError::Missing("audience"));
    assert_eq!(issuer.refuses_claims(&without("\"sub\":\"ops@example\",")).await, JwtError::Missing("subject"));
    let of_client = without("\"sub\":\"ops@example\",").replace('}', r#","client_id":"backup"}"#);
    assert_eq!(issuer.accepts(&issuer.ed.token(&of_client)).await.subject, "backup");
    for other in [r#""""#, r#""a\nWARN b""#, "7", "null", &format!("\"{}\"", "x".repeat(513))] {
        let claims = claims_with("\"ops@example\"", other);
        assert_eq!(issuer.refuses_claims(&claims).await, JwtError::BadClaim("subject"), "{other}");
    }
}

#[tokio::test]
async fn whatever_two_readers_could_read_differently_is_refused() {
    let issuer = Issuer::new();
    let signer = &issuer.ed;
    for more in [r#","sub":"root""#, r#","\u0073ub":"root""#, r#","a":{"b":1,"b":2}"#, r#","exp":4102444800"#] {
        assert_eq!(issuer.refuses_claims(&claims(more)).await, JwtError::Malformed("a name occurs twice"), "{more}");
    }
    let headers = [
        (r#"{"alg":"EdDSA","kid":"d","alg":"none"}"#, JwtError::Malformed("a name occurs twice")),
        (r#"{"alg":"EdDSA","kid":"d","crit":["exp"],"exp":1}"#, JwtError::Header("crit")),
        (r#"{"alg":"EdDSA","kid":"d","crit":["b64"],"b64":false}"#, JwtError::Header("crit")),
        (r#"{"alg":"EdDSA","kid":"d","zip":"DEF"}"#, JwtError::Header("zip")),
        (r#"{"alg":"EdDSA","kid":"d","typ":"logout+jwt"}"#, JwtError::Header("another type")),
        (r#"{"alg":"EdDSA","kid":"d","typ":"dpop+jwt"}"#, JwtError::Header("another type")),
        (r#"{"alg":"EdDSA","kid":"d","typ":1}"#, JwtError::Header("another type")),
        (r#"{"alg":"EdDSA","kid":["d"]}"#, JwtError::Header("a malformed key id")),
        (r#"{"alg":["EdDSA"],"kid":"d"}"#, JwtError::Malformed("no algorithm")),
    ];
    for (header, why) in headers {
        assert_eq!(issuer.refuses(&signer.token_of(header, &claims(""))).await, why, "{header}");
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"d","typ":"{kind}"}}"#);
        issuer.accepts(&signer.token_of(&header, &claims(""))).await;
    }
    for (what, payload) in [("not JSON", "hello"), ("a list", "[]"), ("nothing", ""), ("two", "{}{}")] {
        assert!(matches!(issuer.refuses_claims(payload).await, JwtError::Malformed(_)), "{what}");
    }
}

#[tokio::test]
async fn only_the_compact_form_within_its_bound_is_read() {
    let issuer = Issuer::new();
    let good = issuer.ed.token(&claims(""));
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!("{good}.{signature}.{signature}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}+/.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}\u{e4}"),
    ] {
        assert!(matches!(issuer.refuses(&token).await, JwtError::Malformed(_)), "{token:?}");
    }
    let long = |bytes: usize| claims(&format!(",\"pad\":\"{}\"", "x".repeat(bytes)));
    issuer.accepts(&issuer.ed.token(&long(11_000))).await;
    let token = issuer.ed.token(&long(13_000));
    assert!(token.len() > TOKEN_BYTES_MAX);
    assert_eq!(issuer.refuses(&token).await, JwtError::TooLong);
}

#[tokio::test]
async fn a_token_without_a_key_id_must_leave_no_choice() {
    let issuer = Issuer::new();
    let header = r#"{"alg":"EdDSA"}"#;
    issuer.accepts(&issuer.ed.token_of(header, &claims(""))).await;
    let second = Signer::ed("second");
    let file = issuer.dir.path().join("two.json");
    std::fs::write(&file, set(&[&issuer.ed, &second])).unwrap();
    let verifier = TokenVerifier::new(oauth(KeySet::File(file))).unwrap();
    assert_eq!(verifier.verify(&second.token_of(header, &claims(""))).await, Err(JwtError::AmbiguousKey));
    verifier.verify(&second.token(&claims(""))).await.unwrap();
}

#[tokio::test]
async fn a_file_is_watched_and_a_bad_one_changes_nothing() {
    let issuer = Issuer::new();
    let (verifier, file) = (&issuer.verifier, issuer.dir.path().join("keys.json"));
    std::fs::write(&file, "half a fi").unwrap();
    support::until("the bad file to be seen", || verifier.status().error.is_some()).await;
    let status = verifier.status();
    assert!((status.keys, status.is_usable) == (3, true) && status.error.unwrap().contains("not JSON"));
    issuer.accepts(&issuer.ed.token(&claims(""))).await;

    let next = Signer::ec("next");
    std::fs::write(&file, set(&[&next])).unwrap();
    support::until("the new set", || verifier.status().keys == 1).await;
    verifier.verify(&next.token(&claims(""))).await.unwrap();
    assert_eq!(verifier.status().error, None);
    verifier.verify(&issuer.ed.token(&claims(""))).await.expect_err("withdrawn");
}

#[test]
fn a_file_that_cannot_be_used_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    let error = TokenVerifier::new(oauth(KeySet::File(file.clone()))).unwrap_err();
    assert!(matches!(error, OAuthError::Read { .. }) && error.to_string().contains("keys.json"), "{error}");
    for (text, words) in [("{".to_owned(), "not JSON"), ("x".repeat(300_000), "longer than 262144 bytes")] {
        std::fs::write(&file, text).unwrap();
        let error = TokenVerifier::new(oauth(KeySet::File(file.clone()))).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is missing in {error:?}");
    }
}
