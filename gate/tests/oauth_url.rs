//! Key sets behind a URL: fetched, refreshed, replaced, away, slow, hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use consigner_gate::ReloadableTls;
use consigner_gate::oauth::{
    JwtError, KeySet, OAuth, OAuthError, OAuthStatus, REFRESH_MAX, REFRESH_MIN, TokenVerifier,
};
use consigner_gate::tls::{ALPN_API, ClientAuth};
use http::{Response, StatusCode};
use http_body_util::Full;
use support::jwt::{AUDIENCE, ISSUER, Signer, claims, set};
use support::pki::Pki;
use support::{Open, config, open_with, status, until};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the issuer's server says.
#[derive(Clone)]
enum Says {
    Set(String),
    Status(StatusCode),
    RedirectTo(String),
    /// Nothing, for ever.
    Nothing,
}

/// The issuer's server.
struct Server {
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    door: Open,
}

impl Server {
    async fn open(name: &str, pki: Option<&Pki>, says: Says) -> Self {
        let tls = pki.map(|pki| ReloadableTls::load_for(pki.server_files(), ClientAuth::Optional, ALPN_API).unwrap());
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(AtomicUsize::new(0)));
        let (heard, count) = (says.clone(), asked.clone());
        let door = open_with(config(name, tls), move |_request| {
            count.fetch_add(1, Ordering::SeqCst);
            let says = heard.lock().unwrap().clone();
            async move {
                match says {
                    Says::Set(text) => Response::new(Full::new(Bytes::from(text))),
                    Says::Status(code) => status(code),
                    Says::RedirectTo(url) => {
                        let mut answer = status(StatusCode::TEMPORARY_REDIRECT);
                        answer.headers_mut().insert("location", url.parse().unwrap());
                        answer
                    }
                    Says::Nothing => std::future::pending().await,
                }
            }
        })
        .await;
        Self { says, asked, door }
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn plain_url(&self) -> String {
        format!("http://127.0.0.1:{}/keys", self.door.addr.port())
    }
}

struct Verifier {
    verifier: Arc<TokenVerifier>,
    _running: DropGuard,
}

impl Verifier {
    fn of(url: String, ca: Option<PathBuf>, refresh: Duration) -> Self {
        let verifier = TokenVerifier::new(oauth(url, ca, refresh)).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(verifier.clone().run(stop.clone()));
        Self { verifier, _running: stop.drop_guard() }
    }

    async fn verify(&self, token: &str) -> Result<(), JwtError> {
        self.verifier.verify(token).await.map(|_claims| ())
    }

    fn status(&self) -> OAuthStatus {
        self.verifier.status()
    }

    async fn fails_with(&self, words: &str) {
        until(words, || self.status().error.is_some_and(|error| error.contains(words))).await;
    }

    async fn is_ready(&self) {
        until("the keys", || self.status().is_usable && self.status().error.is_none()).await;
    }
}

fn oauth(url: String, ca: Option<PathBuf>, refresh: Duration) -> OAuth {
    OAuth {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: KeySet::Url { url, ca },
        leeway: Duration::ZERO,
        refresh,
    }
}

#[tokio::test]
async fn keys_come_over_tls_from_a_server_of_the_configured_ca_only() {
    let (pki, foreign, signer) = (Pki::new(), Pki::named("foreign"), Signer::ec("one"));
    let server = Server::open("idp-tls", Some(&pki), Says::Set(set(&[&signer]))).await;
    let good = Verifier::of(server.door.url("/keys"), Some(pki.ca_file.clone()), REFRESH_MAX);
    good.is_ready().await;
    good.verify(&signer.token(&claims(""))).await.unwrap();
    assert_eq!(good.status().keys, 1);

    let (asked, stranger) = (server.asked(), foreign.ca_file.clone());
    for (url, ca) in [
        (server.door.url("/keys"), Some(stranger)),
        // Of no CA that this machine trusts by itself.
        (server.door.url("/keys"), None),
        // Of another name.
        (server.door.url("/keys").replace("localhost", "[::1]"), Some(pki.ca_file.clone())),
    ] {
        let Ok(verifier) = TokenVerifier::new(oauth(url, ca.clone(), REFRESH_MAX)) else {
            assert_eq!(ca, None, "a machine without roots says so");
            continue;
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(verifier.clone().run(stop.clone()));
        until("the failure", || verifier.status().error.is_some()).await;
        assert_eq!(verifier.verify(&signer.token(&claims(""))).await, Err(JwtError::NoKeys));
        stop.cancel();
        running.await.unwrap();
    }
    assert_eq!(server.asked(), asked, "no request was sent to a server that did not prove itself");
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_and_a_flood_of_them_is_not() {
    let (old, new) = (Signer::ed("old"), Signer::rsa("new"));
    let server = Server::open("rotation", None, Says::Set(set(&[&old]))).await;
    let verifier = Verifier::of(server.plain_url(), None, REFRESH_MAX);
    verifier.is_ready().await;
    assert_eq!(server.asked(), 1);
    verifier.verify(&old.token(&claims(""))).await.unwrap();

    server.says(Says::Set(set(&[&new])));
    // Many at one time: all of them wait for the one fetch.
    let token = new.token(&claims(""));
    let verdicts = futures_of((0..20).map(|_| verifier.verify(&token))).await;
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    assert_eq!(server.asked(), 2, "one fetch for all");
    assert_eq!(verifier.verify(&old.token(&claims(""))).await, Err(JwtError::UnknownKey), "withdrawn");

    let begun = Instant::now();
    for round in 0..200 {
        let stranger = Signer::ed(&format!("nobody-{round}"));
        assert_eq!(verifier.verify(&stranger.token(&claims(""))).await, Err(JwtError::UnknownKey));
    }
    // One more per 10 s at most, however long this machine took.
    let allowed = 2 + begun.elapsed().as_secs() as usize / 10 + 1;
    assert!(server.asked() <= allowed, "{} fetches, {allowed} allowed", server.asked());
}

async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in all.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// A verifier with keys whose server then says something else: it keeps them, and says why.
async fn keeps_its_keys(then: Option<Says>, words: &str) {
    let signer = Signer::ed("one");
    let server = Server::open(words, None, Says::Set(set(&[&signer]))).await;
    let verifier = Verifier::of(server.plain_url(), None, REFRESH_MIN);
    verifier.is_ready().await;
    match then {
        Some(says) => server.says(says),
        None => {
            server.door.close().await;
        }
    }
    verifier.fails_with(words).await;
    verifier.verify(&signer.token(&claims(""))).await.unwrap();
    assert!(verifier.status().is_usable, "{words}");
}

#[tokio::test]
async fn keys_stay_in_use_while_the_server_is_away_or_talks_nonsense() {
    let thief = Signer::ed("thief");
    let elsewhere = Server::open("idp-elsewhere", None, Says::Set(set(&[&thief]))).await;
    let private = set(&[&thief]).replacen("\"kty\"", "\"d\":\"AA\",\"kty\"", 1);
    let mut cases = tokio::task::JoinSet::new();
    for (then, words) in [
        (Some(Says::Status(StatusCode::SERVICE_UNAVAILABLE)), "answered 503"),
        (Some(Says::Status(StatusCode::NO_CONTENT)), "answered 204"),
        (Some(Says::RedirectTo(elsewhere.plain_url())), "answered 307"),
        (Some(Says::Set("<html>sign in</html>".to_owned())), "not JSON"),
        (Some(Says::Set("x".repeat(300 << 10))), "longer than"),
        (Some(Says::Set(private)), "a private key"),
        (Some(Says::Nothing), "no answer within 5s"),
        (None, "cannot connect"),
    ] {
        cases.spawn(keeps_its_keys(then, words));
    }
    cases.join_all().await;
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_keeps_nobody_from_starting() {
    let signer = Signer::ed("one");
    let server = Server::open("idp-late", None, Says::Status(StatusCode::SERVICE_UNAVAILABLE)).await;
    let verifier = Verifier::of(server.plain_url(), None, REFRESH_MAX);
    verifier.fails_with("answered 503").await;
    let why = verifier.verify(&signer.token(&claims(""))).await.expect_err("no keys yet");
    assert!(why == JwtError::NoKeys && why.is_unavailable());
    assert_eq!(verifier.status(), OAuthStatus { keys: 0, fetched_unix: None, ..verifier.status() });
    assert!(!verifier.status().is_usable);
    server.says(Says::Set(set(&[&signer])));
    verifier.is_ready().await;
    verifier.verify(&signer.token(&claims(""))).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_withdraws_all_its_keys_is_obeyed() {
    let signer = Signer::ed("one");
    let server = Server::open("idp-empty", None, Says::Set(set(&[&signer]))).await;
    let verifier = Verifier::of(server.plain_url(), None, REFRESH_MAX);
    verifier.is_ready().await;
    server.says(Says::Set(set(&[])));
    // An unknown key has the set fetched.
    let stranger = Signer::ed("stranger");
    assert_eq!(verifier.verify(&stranger.token(&claims(""))).await, Err(JwtError::UnknownKey));
    assert_eq!(verifier.verify(&signer.token(&claims(""))).await, Err(JwtError::UnknownKey));
}

#[test]
fn a_url_or_bundle_that_cannot_be_used_is_refused_at_the_start() {
    let error = TokenVerifier::new(oauth("http://idp.example/keys".to_owned(), None, REFRESH_MAX)).unwrap_err();
    assert!(matches!(error, OAuthError::Setting { setting: "jwks-url", .. }), "{error}");
    let missing = Some(PathBuf::from("/nowhere/ca.pem"));
    let error = TokenVerifier::new(oauth("https://idp.example/keys".to_owned(), missing, REFRESH_MAX)).unwrap_err();
    assert!(matches!(error, OAuthError::Tls(_)), "{error}");
    assert!(consigner_gate::with_causes(&error).contains("/nowhere/ca.pem"), "{error:?}");
}
