//! Who may ask what, at each door: with and without a policy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consigner_api::{
    AdminDoor, AdminProof, KeyManagerDoor, KeyManagerProof, TokenDoor, TokenHash, admin_router, keymanager_router,
    router, token_router,
};
use consigner_gate::{HostAllowlist, PeerCertificate};
use consigner_keys::development::interop_secret;
use http::Method;
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use serde_json::json;
use std::sync::Arc;
use support::keystores::{KEYSTORES, TOKEN, UNHURRIED, enabled};
use support::messages::{EPOCH, attestation, mainnet, randao};
use support::policy::{Issuer, policy};
use support::{Answer, Ask, Node, ask, certificate, get, post, sign_path};

/// A cluster of one node with the first two interop keys.
async fn node() -> Node {
    let (network, root) = mainnet();
    Node::with_keys(network, root, &[interop_secret(0), interop_secret(1)]).await
}

fn key(number: u64) -> String {
    interop_secret(number).public_key().to_string()
}

fn sign(number: u64, body: &serde_json::Value) -> Ask {
    post(&sign_path(&interop_secret(number).public_key()), body.to_string())
}

fn voluntary_exit() -> serde_json::Value {
    let mut body = randao(EPOCH);
    body["type"] = json!("VOLUNTARY_EXIT");
    body["voluntary_exit"] = json!({"epoch": EPOCH.to_string(), "validator_index": "7"});
    body
}

/// `vc` may do duties with the first key, `exits` may exit all, `reader` reads the policy, `jwt` is a group of people.
fn the_policy() -> String {
    let roles = format!(
        "  validator: {{keys: [\"{}\"], operations: [duties]}}\n  exiter: {{keys: all, operations: [VOLUNTARY_EXIT]}}\n  \
         reader: {{operations: [admin.policy-read]}}\n  importer: {{operations: [\"keymanager.*\"]}}\n",
        key(0)
    );
    let clients = "  - {name: vc, certificate: {common-name: client}, roles: [validator]}\n  \
                   - {name: exits, certificate: {uri: \"spiffe://site/exits\"}, roles: [exiter]}\n  \
                   - {name: people, jwt: {issuer: \"https://idp.example\", claims: {groups: ops}}, roles: [reader, importer]}\n";
    policy(&roles, clients)
}

fn spiffe() -> PeerCertificate {
    PeerCertificate { uris: vec!["spiffe://site/exits".to_owned()], ..certificate("anything") }
}

fn hosts() -> HostAllowlist {
    HostAllowlist::parse(&["localhost"]).unwrap()
}

fn basic(user: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))
}

/// All doors of one node.
struct Doors {
    api: Router,
    keymanager_by_token: Router,
    keymanager_by_policy: Router,
    admin: Router,
    admin_optional: Router,
    tokens: Router,
}

impl Doors {
    fn of(node: &Node, issuer: &Issuer) -> Self {
        let app = node.app_with(|app| {
            enabled(app);
            app.clients = consigner_api::ClientPolicy::AnyAccepted;
            app.oauth = Some(issuer.verifier.clone());
        });
        let keymanager =
            |proof| keymanager_router(app.clone(), KeyManagerDoor { hosts: hosts(), proof, rate: UNHURRIED });
        let admin = |proof| admin_router(app.clone(), AdminDoor { hosts: hosts(), proof });
        Self {
            keymanager_by_token: keymanager(KeyManagerProof::Token(TokenHash::of(TOKEN).unwrap())),
            keymanager_by_policy: keymanager(KeyManagerProof::Policy),
            admin: admin(AdminProof::Certificate),
            admin_optional: admin(AdminProof::Optional),
            tokens: token_router(app.clone(), TokenDoor { hosts: hosts() }, Arc::new(|| Ok(()))),
            api: router(app),
        }
    }
}

struct Row<'a> {
    door: &'a Router,
    who: &'static str,
    ask: Ask,
    status: u16,
    /// A part of the sentence.
    says: &'static str,
}

async fn check(rows: Vec<Row<'_>>) {
    for (number, Row { door, who, ask, status, says }) in rows.into_iter().enumerate() {
        let answer = ask.through(door).await;
        assert_eq!(answer.status, status, "row {number} ({who}): {}", answer.body);
        assert!(answer.body.contains(says), "row {number} ({who}): {says:?} is not in {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "one table, a line for each row")]
async fn the_table_of_doors_and_callers_under_a_policy() {
    let (node, issuer) = (node().await, Issuer::new());
    let doors = Doors::of(&node, &issuer);
    node.applied(&the_policy()).await;
    let (_, signs) = node.token("vc-token", &["validator"]).await;
    let (_, operates) = node.token("ops-token", &["operator"]).await;
    let (gone, revoked) = node.token("gone", &["operator"]).await;
    node.revoke(&gone).await;
    let Doors { api, keymanager_by_token, keymanager_by_policy, admin, admin_optional, tokens } = &doors;
    let jwt = issuer.token(|_| {});
    let foreign = issuer.token(|claims| claims["aud"] = json!("another"));
    let expired = issuer.token(|claims| claims["exp"] = json!(1_000_000_000));
    let other_group = issuer.token(|claims| claims["groups"] = json!(["people"]));
    // Only the first two bits of the last character count; these two differ in them.
    let other = if jwt.ends_with('A') { 'Q' } else { 'A' };
    let forged = format!("{}{other}", jwt.split_at(jwt.len() - 1).0);
    let (vote, exit) = (attestation(EPOCH, EPOCH + 1, 1), voluntary_exit());
    let row = |door, who, ask, status, says| Row { door, who, ask, status, says };
    let bare = |ask: Ask| ask.without_certificate();
    let status = || get("/admin/v1/cluster/status");
    let show = || get("/admin/v1/policy");
    let list = || get("/api/v1/eth2/publicKeys");
    check(vec![
        // The API port: certificates.
        row(api, "its duty, its key", sign(0, &vote).by("client"), 200, "0x"),
        row(api, "its duty, another key", sign(1, &vote).by("client"), 403, "does not grant ATTESTATION with key"),
        row(api, "an unknown key is not told apart", sign(9, &vote).by("client"), 403, "does not grant"),
        row(api, "not its type", sign(0, &exit).by("client"), 403, "does not grant VOLUNTARY_EXIT to vc"),
        row(api, "by URI", sign(1, &exit).with_certificate(spiffe()), 200, "0x"),
        row(api, "by URI, not its type", sign(1, &vote).with_certificate(spiffe()), 403, "to exits"),
        row(api, "nobody", sign(0, &vote).by("stranger"), 403, "certificate CN \\\"stranger\\\""),
        row(api, "nobody", list().by("stranger"), 403, "SHA-256 0707"),
        row(api, "no certificate", bare(sign(0, &vote)), 403, "a client certificate is required"),
        row(api, "a token without a certificate", bare(sign(0, &vote)).bearer(&signs), 403, "certificate is required"),
        row(api, "the operator does not sign", sign(0, &vote).by("admin"), 403, "does not grant ATTESTATION to ops"),
        row(api, "the operator", status().by("admin"), 200, "nodes"),
        row(api, "the operator", get(KEYSTORES).by("admin"), 200, "data"),
        row(api, "a client", status().by("client"), 403, "does not grant admin.status to vc"),
        row(api, "a client", get(KEYSTORES).by("client"), 403, "does not grant keymanager.list to vc"),
        row(api, "how a reload went", get("/reload").by("admin"), 200, "idle"),
        row(api, "how a reload went", get("/reload").by("client"), 200, "idle"),
        row(api, "how a reload went", get("/reload").by("stranger"), 403, "knows no client"),
        row(api, "health is for everybody", get("/upcheck").by("stranger"), 200, "OK"),
        // The API port: tokens on top.
        row(api, "a token on top", sign(0, &vote).by("stranger").bearer(&signs), 200, "0x"),
        row(api, "a token on top", sign(1, &vote).by("stranger").bearer(&signs), 403, "token:vc-token"),
        row(api, "an operator's token", status().by("stranger").bearer(&operates), 200, "nodes"),
        row(api, "a revoked one", status().by("admin").bearer(&revoked), 401, "revoked, or never made"),
        row(api, "a JWT on top", show().by("stranger").bearer(&jwt), 200, "policy"),
        row(api, "a JWT may not everything", status().by("stranger").bearer(&jwt), 403, "admin.status to people"),
        row(api, "another audience", show().by("stranger").bearer(&foreign), 401, "another audience"),
        row(api, "expired", show().by("stranger").bearer(&expired), 401, "expired"),
        row(api, "forged", show().by("stranger").bearer(&forged), 401, "access token"),
        row(api, "Basic", sign(0, &vote).by("client").header(AUTHORIZATION, &basic("", &signs)), 401, "token door"),
        // The key manager's own listeners.
        row(keymanager_by_token, "the token file", bare(get(KEYSTORES)).bearer(TOKEN), 401, "policy token create"),
        row(keymanager_by_token, "the token file and a right", get(KEYSTORES).by("admin").bearer(TOKEN), 200, "data"),
        row(keymanager_by_token, "the token file, no right", get(KEYSTORES).by("client").bearer(TOKEN), 403, "to vc"),
        row(keymanager_by_token, "the token file, not it", bare(get(KEYSTORES)).bearer("x"), 401, "not the token"),
        row(keymanager_by_token, "nothing", bare(get(KEYSTORES)), 401, "bearer token is required"),
        row(keymanager_by_token, "a JWT", bare(get(KEYSTORES)).bearer(&jwt), 200, "data"),
        row(keymanager_by_token, "a token", bare(get(KEYSTORES)).bearer(&operates), 200, "data"),
        row(keymanager_by_token, "a token", bare(get(KEYSTORES)).bearer(&signs), 403, "does not grant keymanager.list"),
        row(keymanager_by_token, "the operator", get(KEYSTORES).by("admin"), 200, "data"),
        row(keymanager_by_policy, "a JWT", bare(get(KEYSTORES)).bearer(&jwt), 200, "data"),
        row(
            keymanager_by_policy,
            "a JWT of others",
            bare(get(KEYSTORES)).bearer(&other_group),
            403,
            "by \\\"https://idp",
        ),
        row(keymanager_by_policy, "nothing", bare(get(KEYSTORES)), 401, "is required"),
        row(keymanager_by_policy, "the token file of another door", bare(get(KEYSTORES)).bearer(TOKEN), 401, "JWT"),
        // The administrators' own listeners.
        row(admin, "the operator", status().by("admin"), 200, "nodes"),
        row(admin, "a JWT without a certificate", bare(show()).bearer(&jwt), 403, "certificate is required"),
        row(admin, "a JWT on top", show().by("stranger").bearer(&jwt), 200, "policy"),
        row(admin, "signing", sign(0, &vote).by("client"), 404, "no such path"),
        row(admin_optional, "a JWT", bare(show()).bearer(&jwt), 200, "policy"),
        row(admin_optional, "a JWT", bare(status()).bearer(&jwt), 403, "does not grant admin.status"),
        row(admin_optional, "a token", bare(status()).bearer(&operates), 200, "nodes"),
        row(admin_optional, "nothing", bare(status()), 401, "is required"),
        row(admin_optional, "a certificate", status().by("admin"), 200, "nodes"),
        // The token door.
        row(tokens, "a token", bare(sign(0, &vote)).bearer(&signs), 200, "0x"),
        row(tokens, "Basic", bare(sign(0, &vote)).header(AUTHORIZATION, &basic("vc", &signs)), 200, "0x"),
        row(tokens, "Basic, no token", bare(sign(0, &vote)).header(AUTHORIZATION, &basic("vc", "secret")), 401, "cst_"),
        row(tokens, "another key", bare(sign(1, &vote)).bearer(&signs), 403, "token:vc-token"),
        row(tokens, "a certificate", sign(0, &vote).by("client"), 200, "0x"),
        row(tokens, "nothing", bare(sign(0, &vote)), 401, "is required"),
        row(tokens, "a JWT", bare(sign(0, &vote)).bearer(&jwt), 401, "tokens of the cluster only"),
        row(tokens, "revoked", bare(sign(0, &vote)).bearer(&revoked), 401, "revoked"),
        row(tokens, "health with a token", bare(get("/upcheck")).bearer(&signs), 200, "OK"),
        row(tokens, "health without", bare(get("/upcheck")), 401, "is required"),
        row(tokens, "administration", bare(status()).bearer(&operates), 404, "no such path"),
    ])
    .await;
    let keys = |answer: Answer| answer.json().as_array().unwrap().len();
    assert_eq!(keys(list().by("client").through(api).await), 1, "only what it may sign with");
    assert_eq!(keys(list().with_certificate(spiffe()).through(api).await), 2);
    let challenge = bare(list()).through(tokens).await;
    let offered: Vec<_> = challenge.headers.get_all(WWW_AUTHENTICATE).iter().collect();
    assert_eq!(offered, ["Bearer", "Basic realm=\"consigner\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_names_decide_and_tokens_count_for_nothing() {
    let (node, issuer) = (node().await, Issuer::new());
    let doors = Doors::of(&node, &issuer);
    let Doors { api, keymanager_by_policy, admin_optional, tokens, .. } = &doors;
    let vote = attestation(EPOCH, EPOCH + 1, 1);
    let token = format!("cst_{}_{}", "0".repeat(16), "0".repeat(64));
    let jwt = issuer.token(|_| {});
    let row = |door, who, ask, status, says| Row { door, who, ask, status, says };
    check(vec![
        row(api, "a client", sign(0, &vote).by("client"), 200, "0x"),
        row(api, "an administrator", sign(1, &vote).by("admin"), 200, "0x"),
        row(api, "an administrator", get("/admin/v1/policy").by("admin"), 200, "\"policy\":null"),
        row(api, "a client", get("/admin/v1/policy").by("client"), 403, "api.admins"),
        row(api, "a token", sign(0, &vote).by("client").bearer(&token), 401, "before a policy is applied"),
        row(api, "a JWT", get("/admin/v1/policy").by("admin").bearer(&jwt), 401, "before a policy is applied"),
        row(tokens, "a token", sign(0, &vote).without_certificate().bearer(&token), 401, "before a policy is applied"),
        row(
            admin_optional,
            "a JWT",
            get("/admin/v1/policy").without_certificate().bearer(&jwt),
            401,
            "before a policy",
        ),
        row(admin_optional, "nothing", get("/admin/v1/policy").without_certificate(), 401, "is required"),
        row(keymanager_by_policy, "an administrator", get(KEYSTORES).by("admin"), 200, "data"),
        row(keymanager_by_policy, "a client", get(KEYSTORES).by("client"), 403, "api.admins"),
    ])
    .await;
    let named = node.router_with(consigner_api::FollowerRequests::Auto);
    check(vec![
        row(&named, "not named", sign(0, &vote).by("stranger"), 403, "api.clients"),
        row(&named, "a header of others", sign(0, &vote).by("client").bearer("whatever"), 200, "0x"),
    ])
    .await;
    let answer = post("/admin/v1/policy/tokens", json!({"name": "a", "roles": ["b"]}).to_string());
    let answer = answer.by("admin").of(&node).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.error().contains("consigner policy apply"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_authorization_headers_are_turned_away_at_every_door() {
    let (node, issuer) = (node().await, Issuer::new());
    let doors = Doors::of(&node, &issuer);
    for is_applied in [false, true] {
        if is_applied {
            node.applied(&the_policy()).await;
        }
        let Doors { api, keymanager_by_token, admin_optional, tokens, .. } = &doors;
        for (door, path) in [
            (api, "/api/v1/eth2/publicKeys"),
            (api, "/admin/v1/keys"),
            (keymanager_by_token, KEYSTORES),
            (admin_optional, "/admin/v1/keys"),
            (tokens, "/api/v1/eth2/publicKeys"),
        ] {
            let twice = get(path).by("admin").bearer("one").bearer("two");
            assert_eq!(twice.through(door).await.status, 400, "{path}");
            let long = [b"Bearer ".as_slice(), &vec![b'a'; 1 << 20]].concat();
            for value in [b"Bearer \xff\xfe".as_slice(), b"\x80", &long, b"Bearer", b"Digest a=b", b"Basic ===", b""] {
                let answer = get(path).by("admin").raw_header(AUTHORIZATION, value).through(door).await;
                let is_empty_bearer = value == b"Bearer";
                let legacy = !is_applied && is_empty_bearer && answer.status == 200;
                assert!([400, 401].contains(&answer.status) || legacy, "{path} {is_applied}: {}", answer.body);
                assert!(!answer.body.contains("aaaa"), "what was shown is not repeated");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn this_nodes_own_lists_only_take_away() {
    let node = node().await;
    node.applied(&the_policy()).await;
    let vote = attestation(EPOCH, EPOCH + 1, 1);
    let status = || get("/admin/v1/cluster/status");
    let named = node.app_with(|app| {
        app.clients = consigner_api::ClientPolicy::Named(vec!["other".to_owned()]);
    });
    let (_, signs) = node.token("vc-token", &["validator"]).await;
    let named_tokens = token_router(named.clone(), TokenDoor { hosts: hosts() }, Arc::new(|| Ok(())));
    let named = router(named);
    let row = |door, who, ask, status, says| Row { door, who, ask, status, says };
    check(vec![
        row(&named, "not named here", sign(0, &vote).by("client"), 403, "api.clients of this node"),
        row(&named, "named, not in the policy", sign(0, &vote).by("other"), 403, "the policy knows no client"),
        // Whoever shows a certificate that counts for nothing is no worse off than who shows none.
        row(&named_tokens, "not named here, with a token", sign(0, &vote).by("client").bearer(&signs), 200, "0x"),
        row(&named_tokens, "a token alone", sign(0, &vote).without_certificate().bearer(&signs), 200, "0x"),
        row(&named, "operators are not clients", status().by("admin"), 200, "nodes"),
    ])
    .await;
    let app = node.app_with(|app| {
        enabled(app);
        app.admin_ca_required = true;
    });
    let own_ca = |name| PeerCertificate { from_admin_ca: true, ..certificate(name) };
    let (api, optional) =
        (router(app.clone()), admin_router(app, AdminDoor { hosts: hosts(), proof: AdminProof::Optional }));
    let (_, operates) = node.token("ops", &["operator"]).await;
    check(vec![
        row(&api, "another CA", status().by("admin"), 403, "administrators' CA"),
        row(&api, "another CA", get(KEYSTORES).by("admin"), 403, "administrators' CA"),
        row(&api, "another CA, a token on top", status().by("admin").bearer(&operates), 403, "administrators' CA"),
        row(&api, "its CA", status().with_certificate(own_ca("admin")), 200, "nodes"),
        row(&api, "its CA, no right", status().with_certificate(own_ca("client")), 403, "admin.status to vc"),
        row(&api, "signing needs no such CA", sign(0, &vote).by("client"), 200, "0x"),
        row(&optional, "another CA counts for nothing", status().by("admin"), 403, "policy knows no client"),
        row(&optional, "a token", status().without_certificate().bearer(&operates), 200, "nodes"),
        row(&optional, "its CA", status().with_certificate(own_ca("admin")), 200, "nodes"),
    ])
    .await;
    let elsewhere = router(node.app_with(|app| app.admin_on_api = false));
    check(vec![
        row(&elsewhere, "administration", status().by("admin"), 404, "admin.listen"),
        row(&elsewhere, "reload", ask(Method::POST, "/reload").by("admin"), 404, "admin.listen"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_addresses_of_the_policy_narrow_every_door() {
    let (node, issuer) = (node().await, Issuer::new());
    let doors = Doors::of(&node, &issuer);
    let narrow = the_policy().replacen(
        "roles:",
        "hosts: [localhost]\naddresses: {sign: [10.0.0.0/8], admin: [127.0.0.1], keymanager: [192.0.2.7]}\nroles:",
        1,
    );
    let vote = attestation(EPOCH, EPOCH + 1, 1);
    let by_name = || get("/upcheck").header(HOST, "127.0.0.1:9000");
    assert_eq!(by_name().through(&doors.api).await.status, 200, "the node's own list has it");
    node.applied(&narrow).await;
    let row = |door, who, ask, status, says| Row { door, who, ask, status, says };
    let api = &doors.api;
    check(vec![
        row(api, "a host of the node alone", by_name(), 403, "Host not authorized."),
        row(api, "inside", sign(0, &vote).by("client").from("10.1.2.3"), 200, "0x"),
        row(api, "inside, mapped", sign(0, &vote).by("client").from("::ffff:10.1.2.3"), 200, "0x"),
        row(api, "outside", sign(0, &vote).by("client").from("192.0.2.7"), 403, "from the address 192.0.2.7"),
        row(api, "another group", get("/admin/v1/keys").by("admin").from("10.1.2.3"), 403, "from the address"),
        row(api, "its group", get("/admin/v1/keys").by("admin"), 200, "data"),
        row(api, "its group", get(KEYSTORES).by("admin").from("192.0.2.7"), 200, "data"),
        row(api, "health has no group", get("/upcheck").from("198.51.100.1"), 200, "OK"),
        row(&doors.keymanager_by_token, "its group", get(KEYSTORES).bearer(TOKEN).from("10.1.2.3"), 403, "address"),
    ])
    .await;
}
