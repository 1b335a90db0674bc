//! Programs of others against all doors: curl, openssl, Java's `HttpClient`, Node's `fetch`.
//!
//! Where a program is not installed its part says `SKIPPED`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "common/world.rs"]
mod world;

use consigner_chaos::oracle::{Content, Message};
use consigner_chaos::perimeter::{Authority, Identity, Subject, Tool, credentials};
use consigner_keys::bls;
use consigner_rules::Signature;
use futures::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{NODES, World, key, until};

/// A client that the nodes list, beside the one of `consigner dev`.
const LISTED: &str = "vc-1";

const OVERLAY: &str = "api: {tls: API_TLS, clients: [dev-client, vc-1]}\npeer: {tls: PEER_TLS}\n";

/// What nobody but this test needs to know.
const PASSWORD: &str = "a password";

/// How often a follower is looked for that still is one when it is asked.
const REDIRECT_TRIES: u32 = 5;

/// A whole request; the empty line ends it, and the connection ends with the answer.
const REQUEST: &str = "GET /api/v1/eth2/publicKeys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_others_are_served_and_refused_as_our_own() {
    let scene = Scene::start().await;
    let begun = Instant::now();
    if let Some(java) = Tool::find("java", "a client on TLS 1.2 that follows no redirect") {
        scene.java_signs_through_a_follower(&java).await;
    }
    if let Some(node) = Tool::find("node", "a client that follows the redirect") {
        scene.fetch_follows_the_redirect(&node).await;
    }
    println!("java and node: {:?}", begun.elapsed());
    let curl = Tool::find("curl", "curl");
    if let Some(curl) = &curl {
        scene.curl(curl).await;
    }
    println!("curl: {:?}", begun.elapsed());
    let openssl = Tool::find("openssl", "handshakes, and resumption after revocation");
    if let Some(openssl) = &openssl {
        scene.openssl(openssl).await;
        println!("openssl: {:?}", begun.elapsed());
        scene.nothing_is_resumed_after_a_revocation(openssl).await;
    }
}

/// A running cluster and callers of every kind.
struct Scene {
    world: World,
    good: Identity,
    unlisted: Identity,
    expired: Identity,
    early: Identity,
    servers_only: Identity,
    revoked: Identity,
    foreign: Identity,
    steps: AtomicU64,
}

impl Scene {
    async fn start() -> Self {
        let world = World::start(OVERLAY, 2).await;
        let revoked = world.identity("revoked", &Subject::client(LISTED));
        let list = world.credentials.clients.revoked(&[revoked.leaf.serial]).unwrap();
        world.lay(&[("certs/clients.crl".to_owned(), list)]);
        let strangers = Authority::new("strangers").unwrap();
        let stranger = strangers.issue(&Subject::client(LISTED)).unwrap();
        let foreign = credentials::identity(world.cluster.dir(), "foreign", stranger).unwrap();
        Self {
            good: world.identity("good", &Subject::client(LISTED)),
            unlisted: world.identity("unlisted", &Subject::client("nobody")),
            expired: world.identity("expired", &Subject::client(LISTED).expired()),
            early: world.identity("early", &Subject::client(LISTED).early()),
            servers_only: world.identity("servers-only", &Subject::client(LISTED).for_servers_only()),
            revoked,
            foreign,
            world,
            steps: AtomicU64::new(0),
        }
    }

    /// A vote that was not asked for before.
    fn vote(&self) -> Message {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let source = self.world.chain.modern_epoch() + step;
        self.world.chain.message(key(0), Content::Attestation { source, target: source + 1 }, 1).unwrap()
    }

    /// The vote as a file.
    fn body(&self, vote: &Message) -> PathBuf {
        self.world.lay(&[("vote.json".to_owned(), String::from_utf8(vote.body.to_vec()).unwrap())]);
        self.world.cluster.dir().join("vote.json")
    }

    fn url(&self, node: u64, path: &str) -> String {
        format!("https://{}{path}", self.world.api(node))
    }

    fn sign_url(&self, node: u64) -> String {
        self.url(node, &format!("/api/v1/eth2/sign/{}", key(0)))
    }

    async fn follower(&self) -> u64 {
        let leader = self.world.leader().await;
        NODES.into_iter().find(|node| *node != leader).unwrap()
    }

    async fn java_signs_through_a_follower(&self, java: &Tool) {
        let Some(openssl) = Tool::find("openssl", "a key store for Java") else { return };
        let store = self.world.cluster.dir().join("identities/good.p12");
        let files = &self.good.files;
        let password = format!("pass:{PASSWORD}");
        let arguments = ["pkcs12", "-export", "-in", text(&files.cert), "-inkey", text(&files.key)];
        let arguments = [&arguments[..], &["-out", text(&store), "-passout", &password]].concat();
        let made = openssl.run(&arguments, "").await.unwrap();
        assert_eq!(made.code, Some(0), "{}", made.text);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/Signer.java");
        let (vote, url) = (self.vote(), self.sign_url(self.follower().await));
        let body = self.body(&vote);
        let arguments = [text(&program), &url, text(&store), PASSWORD, text(&files.ca), text(&body)];
        let said = java.run(&arguments, "").await.unwrap();
        assert!(said.text.starts_with("TLSv1.2\n200\n"), "{}", said.text);
        holds_a_signature(&vote, &said.text);
    }

    async fn fetch_follows_the_redirect(&self, node: &Tool) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/fetch.mjs");
        let files = &self.good.files;
        let files = [text(&files.cert), text(&files.key), text(&files.ca)];
        for tries in 1.. {
            let (vote, url) = (self.vote(), self.sign_url(self.follower().await));
            let body = self.body(&vote);
            let arguments = [text(&program), &url, files[0], files[1], files[2], text(&body)];
            let said = node.run(&arguments, "").await.unwrap();
            if said.text.starts_with("redirected\n200\n") {
                return holds_a_signature(&vote, &said.text);
            }
            // Leadership may move to the node between the two questions.
            assert!(tries < REDIRECT_TRIES, "{}", said.text);
        }
    }

    async fn curl(&self, curl: &Tool) {
        for node in NODES {
            for version in ["1.2", "1.3"] {
                let vote = self.vote();
                let body = format!("@{}", text(&self.body(&vote)));
                let more = ["-H", "Content-Type: application/json", "-H", "Accept: application/json", "-d", &body];
                let said = self.curled(curl, version, Some(&self.good), &self.sign_url(node), &more).await;
                assert_eq!(said.0, Some(0), "node {node}, TLS {version}: {}", said.1);
                assert!(said.1.ends_with("200"), "node {node}, TLS {version}: {}", said.1);
                holds_a_signature(&vote, &said.1);
                self.curl_is_refused(curl, node, version).await;
            }
            let said = self.curled(curl, "1.1", Some(&self.good), &self.url(node, "/upcheck"), &[]).await;
            assert_ne!(said.0, Some(0), "node {node} speaks TLS 1.1: {}", said.1);
        }
    }

    async fn curl_is_refused(&self, curl: &Tool, node: u64, version: &str) {
        let url = self.url(node, "/api/v1/eth2/publicKeys");
        let all = self.outsiders().map(async |(kind, identity)| {
            let said = self.curled(curl, version, identity, &url, &[]).await;
            assert_ne!(said.0, Some(0), "node {node}, TLS {version}, {kind}: {}", said.1);
        });
        join_all(all).await;
        let vote = self.vote();
        let body = format!("@{}", text(&self.body(&vote)));
        let more = ["-H", "Content-Type: application/json", "-d", &body];
        let said = self.curled(curl, version, Some(&self.unlisted), &self.sign_url(node), &more).await;
        assert!(said.0 == Some(0) && said.1.ends_with("403"), "node {node}, TLS {version}: {}", said.1);
        assert!(said.1.contains("nobody"), "the answer names the identity that the node saw: {}", said.1);
    }

    /// Those for whom the handshake fails.
    fn outsiders(&self) -> [(&'static str, Option<&Identity>); 6] {
        [
            ("no certificate", None),
            ("foreign CA", Some(&self.foreign)),
            ("expired", Some(&self.expired)),
            ("not yet valid", Some(&self.early)),
            ("for servers only", Some(&self.servers_only)),
            ("revoked", Some(&self.revoked)),
        ]
    }

    /// Exit code, and body with the status behind it.
    async fn curled(
        &self,
        curl: &Tool,
        version: &str,
        identity: Option<&Identity>,
        url: &str,
        more: &[&str],
    ) -> (Option<i32>, String) {
        let (at_least, at_most) = (format!("--tlsv{version}"), version.to_owned());
        let ca = self.world.cluster.dir().join("certs/ca.pem");
        let mut arguments = vec!["-sS", "--max-time", "60", "-w", "%{http_code}", &at_least, "--tls-max", &at_most];
        arguments.extend(["--cacert", text(&ca)]);
        if let Some(Identity { files, .. }) = identity {
            arguments.extend(["--cert", text(&files.cert), "--key", text(&files.key)]);
        }
        arguments.extend(more);
        arguments.push(url);
        let said = curl.run(&arguments, "").await.unwrap();
        (said.code, said.text)
    }

    async fn openssl(&self, openssl: &Tool) {
        for node in NODES {
            for version in ["-tls1_2", "-tls1_3"] {
                let said = self.shaken(openssl, node, version, Some(&self.good), &[]).await;
                assert!(said.contains("HTTP/1.1 200 "), "node {node}, {version}: {said}");
                let all = self.outsiders().map(async |(kind, identity)| {
                    let said = self.shaken(openssl, node, version, identity, &[]).await;
                    assert!(!said.contains("HTTP/1.1"), "node {node}, {version}, {kind}: {said}");
                });
                join_all(all).await;
            }
            let said = self.shaken(openssl, node, "-tls1_1", Some(&self.good), &[]).await;
            assert!(!said.contains("HTTP/1.1"), "node {node} speaks TLS 1.1: {said}");
        }
    }

    /// A session is kept, its client revoked, and the session shown again.
    async fn nothing_is_resumed_after_a_revocation(&self, openssl: &Tool) {
        let leaver = self.world.identity("leaver", &Subject::client(LISTED));
        let mut sessions = Vec::new();
        for node in NODES {
            for version in ["-tls1_2", "-tls1_3"] {
                let file = self.world.cluster.dir().join(format!("session{node}{version}"));
                let said = self.shaken(openssl, node, version, Some(&leaver), &["-sess_out", text(&file)]).await;
                assert!(said.contains("HTTP/1.1 200 "), "node {node}, {version}: {said}");
                sessions.push((node, version, file));
            }
        }
        let serials = [self.revoked.leaf.serial, leaver.leaf.serial];
        let list = self.world.credentials.clients.revoked(&serials).unwrap();
        self.world.lay(&[("certs/clients.crl".to_owned(), list)]);
        for node in NODES {
            until("the revoked client is out", async || {
                !self.shaken(openssl, node, "-tls1_3", Some(&leaver), &[]).await.contains("HTTP/1.1")
            })
            .await;
        }
        for (node, version, file) in sessions {
            // The server gives out none with 1.2; then there is nothing to show again but the certificate.
            let shown: &[&str] = if file.is_file() { &["-sess_in", text(&file)] } else { &[] };
            for identity in [Some(&leaver), None] {
                let said = self.shaken(openssl, node, version, identity, shown).await;
                assert!(!said.contains("HTTP/1.1"), "node {node}, {version}: a session outlived its client: {said}");
                assert!(!said.contains("Reused,"), "node {node}, {version}: {said}");
            }
        }
    }

    async fn shaken(
        &self,
        openssl: &Tool,
        node: u64,
        version: &str,
        identity: Option<&Identity>,
        more: &[&str],
    ) -> String {
        let (door, ca) = (self.world.api(node).to_string(), self.world.cluster.dir().join("certs/ca.pem"));
        let mut arguments = vec!["s_client", "-connect", &door, version, "-CAfile", text(&ca), "-ign_eof"];
        if let Some(Identity { files, .. }) = identity {
            arguments.extend(["-cert", text(&files.cert), "-key", text(&files.key)]);
        }
        arguments.extend(more);
        openssl.run(&arguments, REQUEST).await.unwrap().text
    }
}

/// The validator's signature over what was asked for stands in the answer.
fn holds_a_signature(vote: &Message, answer: &str) {
    let runs = answer.split(|character: char| !character.is_ascii_hexdigit());
    let signature: Option<Signature> =
        runs.filter(|run| run.len() == 2 * Signature::LENGTH).find_map(|run| run.parse().ok());
    let signature = signature.unwrap_or_else(|| panic!("no signature in {answer}"));
    assert!(bls::verify(&vote.validator, &vote.root, &signature), "a signature of something else: {answer}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
